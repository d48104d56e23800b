"""The glimpse pyramids and baselines by name: the paper's layers, any backbone, timm's interface, files."""

import copy
import json
import pickle

import pytest
import timm
import torch
from timm.models import group_parameters
from torch import nn
from torch.nn import functional as F

from curriculum_zoo import create_model, list_models
from curriculum_zoo.errors import ModelError, UnknownNameError
from curriculum_zoo.models.glimpse.features import BackboneFeatures
from curriculum_zoo.training.run_parts import network_options
from curriculum_zoo.weights.folder import model_config, save_folder

# Tables 1 to 5; the ImageNet networks' classifiers have 1,000 biases more than printed.
PARAMETERS = {
    "glimpse_pyramid_m1": 74_707,
    "glimpse_pyramid_m2": 92_883,
    "glimpse_pyramid_m3": 106_771,
    "glimpse_pyramid_in_m1": 1_495_689 + 1_000,
    "glimpse_pyramid_in_m2": 1_975_177 + 1_000,
    "glimpse_baseline_m1": 9_610,
    "glimpse_baseline_m2": 27_786,
    "glimpse_baseline_m3": 64_714,
    "glimpse_baseline_in_m1": 1_792 + 73_856 + 295_168 + 2 * 65_792 + 256_000 + 1_000,
    "glimpse_baseline_in_m2": 1_792 + 73_856 + 295_168 + 590_080 + 2 * 65_792 + 256_000 + 1_000,
}
MULTIPLY_ADDS = {  # of a crop, of the location module
    "glimpse_pyramid_m1": (112_896, 28_224),
    "glimpse_pyramid_m2": (56_448 + 903_168, 28_224),
    "glimpse_pyramid_m3": (56_448 + 903_168 + 331_776, 5_184),
    "glimpse_pyramid_in_m1": (1_769_472 + 2 * 18_874_368, 147_456),
    "glimpse_pyramid_in_m2": (1_769_472 + 2 * 18_874_368 + 9_437_184, 36_864),
}
BASELINES = {name: [2] if name.endswith("m1") else [2, 0] for name in ("m1", "m2")} | {
    "m3": [2, 3, 0],
    "in_m1": [2, 2, 0],
    "in_m2": [2, 2, 2, 0],
}
each_network = pytest.mark.parametrize("name", PARAMETERS)
BACKBONE = {"backbone": "simple_cnn", "base_size": 16, "num_classes": 4}


def images_for(model, count=2, side=None):
    channels, *size = model.pretrained_cfg["input_size"]
    return torch.rand(count, channels, *(min(side or 64, length) for length in size))


def with_all(model, images, **options):
    return model.glimpse(images, attend=lambda p, level: torch.ones_like(p, dtype=torch.bool), **options)


def test_every_network_is_listed_and_registered():
    assert set(list_models("glimpse_*")) == {*PARAMETERS, "glimpse_pyramid"}
    for name in PARAMETERS:
        cfg = timm.get_pretrained_cfg(name)
        of_mnist = "_in_" not in name
        assert cfg.input_size == ((1, 56, 56) if of_mnist else (3, 256, 256))
        assert cfg.num_classes == (10 if of_mnist else 1000)
        assert (cfg.mean, cfg.std) == (((0.0,), (1.0,)) if of_mnist else ((0.5,) * 3, (0.5,) * 3))
        assert not cfg.has_weights


@each_network
def test_parameters_are_as_many_as_in_the_papers_tables(name):
    model = create_model(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", MULTIPLY_ADDS)
def test_multiply_adds_are_as_many_as_in_the_papers_tables(name):
    model = create_model(name)
    width = model.num_features
    crop, location = MULTIPLY_ADDS[name]
    assert vars(model.costs) == {
        "features": crop,
        "location": location,
        "aggregation": 9 * width * width,
        "merging": 2 * width * width,
        "classification": width * model.num_classes,
    }


@each_network
def test_weights_start_xavier_and_biases_at_zero(name):
    torch.manual_seed(0)
    for key, parameter in create_model(name).named_parameters():
        if key.endswith("bias"):
            assert not parameter.any()
            continue
        taps = parameter[0, 0].numel()
        bound = (6 / (taps * (parameter.shape[0] + parameter.shape[1]))) ** 0.5
        assert 0.9 * bound < parameter.abs().max() <= bound


@pytest.mark.parametrize(("variant", "pools"), BASELINES.items())
def test_baselines_are_the_tables_layers_over_images_of_any_size(variant, pools):
    torch.manual_seed(0)
    model = create_model(f"glimpse_baseline_{variant}").eval()
    weights = model.state_dict()
    for size in ((56, 56), (33, 47)):
        images = torch.rand(2, model.in_chans, *size)
        x = images
        for index, pool in enumerate(pools, start=1):
            x = F.conv2d(x, weights[f"features.conv{index}.weight"], padding="same")
            x = F.leaky_relu(x, 0.2)
            x = F.max_pool2d(x, pool, 2) if pool else x
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        for layer in ("fc1", "fc2"):
            x = F.leaky_relu(x @ weights[f"{layer}.weight"].T, 0.2)
        with torch.no_grad():
            torch.testing.assert_close(model(images), x @ weights["classifier.weight"].T, atol=1e-5, rtol=1e-5)


def test_baselines_refuse_images_that_cannot_be_pooled():
    model = create_model("glimpse_baseline_m3")
    assert model(torch.rand(1, 1, 6, 6)).shape == (1, 10)
    with pytest.raises(ModelError, match="6×6 px and more, got 5×6"):
        model(torch.rand(1, 1, 5, 6))


@pytest.mark.parametrize("name", ["glimpse_pyramid_m3", "glimpse_baseline_m2", "glimpse_pyramid_in_m1"])
def test_metadata_tells_the_truth(name):
    model = create_model(name, attend="top_k") if "pyramid" in name else create_model(name)
    model.eval()
    cfg, state = model.pretrained_cfg, model.state_dict()
    assert f"{cfg['first_conv']}.weight" in state
    assert model.get_submodule(cfg["classifier"]) is model.get_classifier()
    assert model.get_classifier(name_only=True) == cfg["classifier"]
    images = images_for(model)
    with torch.no_grad():
        features = model.forward_features(images)
        assert features.shape == (2, model.num_features) == model.forward_head(features, pre_logits=True).shape
        torch.testing.assert_close(model.forward_head(features), model(images))


@pytest.mark.parametrize("name", ["glimpse_pyramid_m1", "glimpse_baseline_m1"])
def test_the_classifier_can_be_taken_away_and_put_back(name):
    model = create_model(name).eval()
    images = images_for(model, side=14)
    features = model.forward_features(images)
    model.reset_classifier(0)
    assert model.num_classes == 0
    torch.testing.assert_close(model(images), features)
    model.reset_classifier(7, "avg")
    assert model(images).shape == (2, 7)
    assert model.num_classes == 7
    with pytest.raises(ModelError, match="global_pool='max'"):
        model.reset_classifier(7, "max")


@pytest.mark.parametrize("name", ["glimpse_pyramid_m1", "glimpse_baseline_m1", "glimpse_pyramid"])
def test_feature_maps_by_stage_are_one_clear_error(name):
    with pytest.raises(ModelError, match="features"):
        create_model(name, features_only=True)


def test_classes_channels_dropout_device_and_type_can_be_chosen():
    model = create_model("glimpse_pyramid_m2", num_classes=3, in_chans=4, drop_rate=0.5, dtype=torch.float64)
    assert with_all(model, torch.rand(2, 4, 28, 28, dtype=torch.float64)).logits[-1].shape == (2, 3)
    assert 0 in model.forward_head(torch.ones(4, 64, dtype=torch.float64), pre_logits=True)
    assert 0 not in model.eval().forward_head(torch.ones(4, 64, dtype=torch.float64), pre_logits=True)
    for name in PARAMETERS:
        assert all(parameter.is_meta for parameter in create_model(name, device="meta").parameters())


@pytest.mark.parametrize(
    ("name", "options", "groups"),
    [
        ("glimpse_pyramid_m3", {}, 1 + 2 + 1 + 1),
        ("glimpse_baseline_in_m2", {}, 1 + 3 + 1 + 1),
        ("glimpse_pyramid", {"backbone": "resnet20_cifar", "base_size": 16}, 1 + 9 + 1 + 1),
        ("glimpse_pyramid", {"backbone": "timm/vit_tiny_patch16_224", "base_size": 32}, 1 + 12 + 1 + 1),
    ],
)
def test_fine_groups_follow_the_order_of_depth(name, options, groups):
    model = create_model(name, **options)
    found = group_parameters(model, model.group_matcher(coarse=False))
    assert sorted(key for keys in found.values() for key in keys) == sorted(dict(model.named_parameters()))
    assert len(found) == groups
    assert all(key.startswith("features.") for group in list(found)[:-2] for key in found[group])
    assert sorted(key.split(".")[0] for key in found[max(found)]) == ["classifier"] * 2
    first_conv = model.pretrained_cfg["first_conv"]
    assert f"{first_conv}.weight" in found[0]


@pytest.mark.parametrize("matcher", [None, lambda coarse=False: lambda name: 5 if name.startswith("fc") else 2])
def test_backbones_can_group_by_a_function_or_not_at_all(matcher):
    model = create_model("glimpse_pyramid", **BACKBONE)
    backbone = model.features.backbone
    if matcher is None:
        kept = type(backbone).group_matcher
        with pytest.MonkeyPatch.context() as patch:
            patch.delattr(type(backbone), "group_matcher")
            found = group_parameters(model, model.group_matcher())
        assert type(backbone).group_matcher is kept
    else:
        backbone.group_matcher = matcher
        found = group_parameters(model, model.group_matcher())
    tops = [{key.split(".")[0] for key in keys} for keys in found.values()]
    above = [{"location", "aggregation", "merging"}, {"classifier"}]
    assert tops == [{"features"}] * (1 if matcher is None else 2) + above


@pytest.mark.parametrize(
    ("backbone", "base", "map_shape"),
    [
        ("simple_cnn", 16, (64, 4, 4)),
        ("hiresnet20_cifar", 16, (64, 4, 4)),
        ("glimpse_baseline_in_m1", 16, None),
        ("timm/vit_tiny_patch16_224", 32, (192, 2, 2)),
        pytest.param("timm/convnext_atto", 32, (320, 1, 1), marks=pytest.mark.slow),
        pytest.param("timm/resnet18", 32, (512, 1, 1), marks=pytest.mark.slow),
        pytest.param("timm/swin_tiny_patch4_window7_224", 64, (768, 2, 2), marks=pytest.mark.slow),
        pytest.param("timm/efficientnet_b0", 64, (1280, 2, 2), marks=pytest.mark.slow),
        pytest.param("hiresnet18", 64, (512, 2, 2), marks=pytest.mark.slow),
    ],
)
def test_any_network_with_a_feature_map_can_be_the_backbone(backbone, base, map_shape):
    options = {"backbone": backbone, "base_size": base, "num_classes": 3, "attend": "threshold"}
    if map_shape is None:
        with pytest.raises(ModelError, match="no forward_intermediates, and so no feature map"):
            create_model("glimpse_pyramid", **options)
        return
    torch.manual_seed(0)
    model = create_model("glimpse_pyramid", **options)
    assert model.features.map_shape == map_shape
    assert f"{model.pretrained_cfg['first_conv']}.weight" in model.state_dict()
    images = torch.rand(2, 3, 2 * base, 2 * base)
    for answer in (with_all(model, images), model.glimpse(images, attend=lambda p, _: torch.zeros_like(p) > 0)):
        model.zero_grad()
        (sum(logits.sum() for logits in answer.logits) + answer.log_probability().sum()).backward()
        assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []
        assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model.forward_features(images), model._dense(images, 2), atol=1e-4, rtol=1e-4)


def test_a_backbones_map_is_located_in_and_its_pooled_features_are_merged():
    torch.manual_seed(0)
    model = create_model("glimpse_pyramid", **BACKBONE, grid=2, overlap=0.0, attend="threshold").eval()
    images = torch.rand(3, 3, 32, 32)
    backbone = model.features.backbone

    def described(crops):
        maps = backbone.forward_features(F.adaptive_avg_pool2d(crops, 16))
        return maps, backbone.forward_head(maps, pre_logits=True)

    with torch.no_grad():
        maps, vector = described(images)
        probabilities = F.conv2d(maps, model.location.weight, model.location.bias).flatten(1).sigmoid()
        crops = [images[:, :, y : y + 16, x : x + 16] for y in (0, 16) for x in (0, 16)]
        attended = probabilities >= 0.5
        children = torch.stack([described(crop)[1] for crop in crops], 1) * attended[:, :, None]
        grid = children.view(3, 2, 2, -1).permute(0, 3, 1, 2)
        aggregate = F.leaky_relu(F.conv2d(grid, model.aggregation.weight, model.aggregation.bias), 0.2).flatten(1)
        merged = F.leaky_relu(model.merging(torch.cat([vector, aggregate], 1)), 0.2)
        merged = torch.where(attended.any(1, keepdim=True), merged, vector)
        answer = model.glimpse(images)
        torch.testing.assert_close(answer.levels[0].probabilities, probabilities)
        torch.testing.assert_close(answer.logits[-1], model.classifier(merged), atol=1e-5, rtol=1e-5)


def test_a_single_crop_can_be_learned_from_by_batchnorm_over_a_map_of_one_pixel():
    model = create_model("glimpse_pyramid", backbone="resnet20_cifar", base_size=4, num_classes=2).train()
    answer = model.glimpse(
        torch.rand(1, 3, 8, 8), attend=lambda p, level: torch.eye(len(p), p.shape[1], dtype=torch.bool)
    )
    answer.logits[-1].sum().backward()
    assert answer.attended().tolist() == [1]
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def test_an_oblong_base_takes_oblong_images():
    torch.manual_seed(0)
    options = {"backbone": "hiresnet20_cifar", "base_size": (16, 24), "num_classes": 3, "attend": "threshold"}
    model = create_model("glimpse_pyramid", **options).eval()
    assert (model.base_size, model.base) == (16, (16, 24))
    assert [model.levels_for(16, 24), model.levels_for(64, 96), model.levels_for(64, 48)] == [1, 3, 2]
    assert model.pretrained_cfg["input_size"] == (3, 64, 96)
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(model.forward_features(images), model._dense(images, 3), atol=1e-4, rtol=1e-4)
    with pytest.raises(ModelError, match="16×24 px and more, got 24×16"):
        model(torch.rand(1, 3, 24, 16))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"base_size": 0}, "base_size=0"),
        ({"base_size": (16, 16, 3)}, "base_size="),
        ({"base_size": 16.0}, "base_size="),
        ({"base_size": True}, "base_size="),
        ({"base_size": 3}, "4 px and more, got img_size=3"),
        ({"backbone": "timm/vit_tiny_patch16_224", "base_size": (32, 48)}, "cannot take images of 32×48 px, the base"),
        ({"grid": 1}, "grid=1"),
        ({"overlap": 1.0}, "overlap=1.0"),
        ({"attend": "everywhere"}, "attend='everywhere'"),
        ({"top_k": 10}, "top_k=10 must be an integer of 1 to 9"),
        ({"top_k": True}, "top_k=True"),
        ({"threshold": 1.5}, "threshold=1.5"),
        ({"threshold": "half"}, "threshold='half'"),
        ({"backbone": "local-dir:/tmp"}, "must be a registered name"),
        ({"backbone": 7}, "must be a registered name"),
        ({"backbone_options": {"checkpoint_path": "x.pt"}}, "'checkpoint_path'"),
        ({"backbone_options": {"pretrained": True}}, "'pretrained'"),
        ({"backbone_options": {"no_such": 1}}, "no_such"),
        ({"colour": 1}, "takes no option 'colour'"),
    ],
)
def test_options_that_make_no_sense_are_one_clear_error(options, text):
    with pytest.raises(ModelError, match=text):
        create_model("glimpse_pyramid", **{**BACKBONE, **options})


def test_an_unknown_backbone_is_answered_with_the_closest():
    with pytest.raises(UnknownNameError, match="simple_cnn"):
        create_model("glimpse_pyramid", backbone="simple_cn")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("glimpse_pyramid_m3", {"num_classes": 4, "attend": "top_k", "top_k": 3}),
        ("glimpse_baseline_m3", {"num_classes": 4}),
        (
            "glimpse_pyramid",
            {
                **BACKBONE,
                "base_size": (16, 20),
                "grid": 2,
                "overlap": 0.25,
                "attend": "threshold",
                "threshold": 0.4,
                "backbone_options": {"hidden_size": 24},
            },
        ),
    ],
)
def test_a_folder_of_weights_holds_all_that_builds_the_network_again(name, options, tmp_path):
    torch.manual_seed(0)
    model = create_model(name, **options).eval()
    config = model_config(
        model,
        architecture=name,
        options=network_options(model),
        input_size=(model.in_chans, 64, 80),
        mean=(0.5,) * model.in_chans,
        std=(0.5,) * model.in_chans,
        classes=("a", "b", "c", "d"),
        facts={"distribution": "curriculum-zoo"},
    )
    save_folder(tmp_path, model.state_dict(), json.loads(json.dumps(config)))
    again = create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    images = torch.rand(2, model.in_chans, 64, 80)
    torch.testing.assert_close(again(images), model(images), rtol=0, atol=0)
    if "pyramid" in name:
        names = ("grid", "base", "attend", "threshold", "top_k", "num_classes")
        assert [getattr(again, each) for each in names] == [getattr(model, each) for each in names]


def test_a_pretrained_backbone_is_not_fetched_again_to_rebuild_the_network(monkeypatch):
    fetched = []

    def built(self, backbone, size, in_chans, options, pretrained, *placement):
        fetched.append(pretrained)
        kept(self, backbone, size, in_chans, options, False, *placement)

    kept = BackboneFeatures.__init__
    monkeypatch.setattr(BackboneFeatures, "__init__", built)
    asked = {**BACKBONE, "grid": 2, "drop_rate": 0.1, "in_chans": 3}
    model = create_model("glimpse_pyramid", **asked, pretrained_backbone=True)
    assert model._model_args == asked
    create_model("glimpse_pyramid", **model._model_args)
    assert fetched == [True, False]


@pytest.mark.parametrize(("name", "options"), [("glimpse_pyramid_m3", {}), ("glimpse_pyramid", BACKBONE)])
def test_copies_and_pickles_give_the_same(name, options):
    model = create_model(name, attend="threshold", **options).eval()
    images = images_for(model, side=48)
    expected = model(images)
    assert model.costs.features > 0
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(copied(images), expected, rtol=0, atol=0)
        assert copied.costs == model.costs
    fresh = create_model(name, attend="threshold", **options).eval()
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(fresh(images), expected, rtol=0, atol=0)


def test_multiply_adds_of_a_backbone_leave_the_network_as_it_is():
    model = create_model("glimpse_pyramid", backbone="resnet20_cifar", base_size=32).train()
    before = copy.deepcopy(model.state_dict())
    # 3·16·9·32² of the first convolution, then 6 layers each of 16²·9·32², 32²·9·16², 64²·9·8², two of them strided.
    stages = [16 * 16 * 9 * 1024 * 6, 32 * 32 * 9 * 256 * 5.5, 64 * 64 * 9 * 64 * 5.5]
    assert model.costs.features == 3 * 16 * 9 * 1024 + sum(stages)
    assert model.training
    assert all(module.training for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
