"""`create_model`: names of every kind, options by keyword, released weights, and one clear error for each mistake."""

import copy
import functools
import json
import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models._features import FeatureGetterNet
from torch import nn

import curriculum_zoo
from curriculum_zoo import create_model, list_models
from curriculum_zoo.errors import ModelError, NameClashError, PluginError, UnknownNameError, WeightsError
from curriculum_zoo.registry import MODELS, Entry
from curriculum_zoo.weights import released as released_weights
from curriculum_zoo.weights.folder import save_folder


@pytest.fixture
def plugin(monkeypatch):
    """``plugin(function)`` registers a model as an installed distribution would."""
    monkeypatch.setattr(MODELS, "_session", {})

    def register(function, name="plugged"):
        MODELS._session[name] = Entry("model", name, "some-plugin", "1.2", "some:plugged", lambda: function)

    return register


@pytest.fixture
def released(monkeypatch, tmp_path):
    """``released(model, tag, **config)`` releases a network's weights, its default, as the package would carry them."""

    def release(model, tag, **config):
        architecture = model.pretrained_cfg["architecture"]
        folder = tmp_path / "model_cards" / f"{architecture}.{tag}"
        config = {"architecture": architecture, "num_classes": model.num_classes, "pretrained_cfg": {}} | config
        save_folder(folder, model.state_dict(), config)
        index = {"defaults": {architecture: tag}}
        (cards / "index.json").write_text(json.dumps(index))

    cards = tmp_path / "model_cards"
    cards.mkdir()
    monkeypatch.setattr(released_weights, "cards_folder", lambda: cards)
    return release


def awake(name, **options):
    model = create_model(name, **options).eval()
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.add_(torch.rand_like(tensor) * 0.1 if "var" in key else torch.randn_like(tensor) * 0.1)
    return model


def test_the_packages_face_offers_the_factory():
    assert curriculum_zoo.create_model is create_model
    assert "hiresnet18" in list_models("hires*")


@pytest.mark.parametrize("name", ["curriculum-zoo/simple_cnn", "simple_cnn"])
def test_a_distribution_can_be_named(name):
    assert type(create_model(name)).__name__ == "SimpleCNN"


def test_options_reach_the_network_and_none_means_its_own_default():
    model = create_model("hiresnet20_cifar", num_classes=4, in_chans=1, side="both", drop_rate=0.25, global_pool=None)
    assert (model.num_classes, model.in_chans, model.drop_rate) == (4, 1, 0.25)
    assert model.layer3[0].input_sum is not None
    assert create_model("hiresnet20_cifar", num_classes=None).num_classes == 10


def test_networks_come_in_training_mode_and_nothing_global_changes():
    threads, precision, state = torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.get_default_dtype()
    assert create_model("simple_cnn").training
    after = torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.get_default_dtype()
    assert after == (threads, precision, state)


def test_timms_names_pass_through_with_every_keyword():
    model = create_model("timm/resnet18.a1_in1k", num_classes=5, in_chans=1, drop_path_rate=0.1, global_pool="max")
    theirs = timm.create_model("resnet18.a1_in1k", num_classes=5, in_chans=1, drop_path_rate=0.1, global_pool="max")
    assert model.state_dict().keys() == theirs.state_dict().keys()
    assert model.pretrained_cfg == theirs.pretrained_cfg
    assert model.global_pool.pool_type == "max"
    features = create_model("timm/test_resnet", features_only=True, out_indices=(1, 3))
    assert len(features(torch.randn(1, 3, 64, 64))) == 2


def test_image_size_reaches_only_networks_that_are_built_for_one_size():
    assert create_model("timm/test_vit", image_size=64).patch_embed.img_size == (64, 64)
    assert create_model("timm/test_resnet", image_size=64, num_classes=2).num_classes == 2
    assert create_model("hiresnet20_cifar", image_size=64).num_classes == 10


@pytest.mark.parametrize(
    ("wrong", "offered"),
    [
        ("hiresnet19", "'hiresnet18'"),
        ("resnet18", "'timm/resnet18'"),
        ("resnet20_cifr", "'resnet20_cifar'"),
        ("timm/resnet-18", "'timm/resnet18'"),
        ("timm/hiresnet18x", "'hiresnet18'"),
        ("convnext_tiny", "'timm/convnext_tiny'"),
        ("simplecnn", "'simple_cnn'"),
        ("zzzzzzzz", "timm.list_models()"),
        ("", "list_models()"),
        ("no-such-plugin/hiresnet18", "'hiresnet18'"),
    ],
)
def test_an_unknown_name_gets_the_closest_of_ours_and_timms(wrong, offered):
    with pytest.raises(UnknownNameError) as failure:
        create_model(wrong)
    assert f"'{wrong}'" in str(failure.value)
    assert offered in str(failure.value)


def test_a_tag_that_timm_does_not_have_gets_those_that_it_has():
    with pytest.raises(UnknownNameError, match=r"'timm/resnet18\.a1_in1k'"):
        create_model("timm/resnet18.nonsense")


@pytest.mark.parametrize("name", ["hiresnet18", "resnet20_cifar", "simple_cnn", "timm/resnet18"])
def test_an_unknown_option_is_an_error_naming_it_and_the_model(name):
    with pytest.raises(ModelError, match=f"{name.removeprefix('timm/')}.*takes no option 'colour'"):
        create_model(name, colour="red")


def test_a_value_that_breaks_the_network_is_an_error_naming_it():
    with pytest.raises(ModelError, match=r"'hiresnet18' cannot be built with act_layer='no_such'"):
        create_model("hiresnet18", act_layer="no_such")
    with pytest.raises(ModelError, match="output_stride=7"):
        create_model("timm/resnet18", output_stride=7)


@pytest.mark.parametrize("option", [{"num_classes": -1}, {"in_chans": 0}, {"image_size": 32.5}, {"num_classes": "ten"}])
def test_counts_that_are_none_are_refused_by_name(option):
    ((name, value),) = option.items()
    with pytest.raises(ModelError, match=f"{name}={value!r} must be an integer of at least"):
        create_model("hiresnet18", **option)


def test_two_sources_of_weights_are_one_too_many():
    with pytest.raises(ModelError, match="Choose one"):
        create_model("hiresnet18", pretrained=True, warm_start="timm/resnet18")


def test_plugins_of_an_older_signature_get_only_what_they_take(plugin):
    def old(pretrained=False, num_classes=1000, in_chans=3):
        return nn.Sequential(nn.Flatten(), nn.Linear(in_chans * 16, num_classes))

    plugin(old)
    model = create_model("plugged", num_classes=5, in_chans=1, image_size=4)
    assert model(torch.randn(2, 1, 4, 4)).shape == (2, 5)
    with pytest.raises(
        ModelError, match=r"'plugged' \(from some-plugin 1.2\) takes no option 'drop_rate'.*num_classes"
    ):
        create_model("plugged", drop_rate=0.1)


def test_plugins_that_know_no_channels_are_given_three_and_refused_others(plugin):
    plugin(lambda num_classes=2: nn.Linear(3, num_classes))
    assert create_model("plugged", num_classes=4, in_chans=3).out_features == 4
    with pytest.raises(ModelError, match="takes no option 'in_chans'"):
        create_model("plugged", in_chans=1)
    with pytest.raises(WeightsError, match="has no weights to load"):
        create_model("plugged", pretrained=True)


def test_plugins_that_want_the_image_size_get_it(plugin):
    plugin(lambda pretrained=False, img_size=8, **kwargs: nn.Linear(img_size, kwargs["num_classes"]))
    assert create_model("plugged", image_size=12, num_classes=2).in_features == 12


def test_plugins_load_their_own_weights_and_tags(plugin):
    seen = {}

    def own(pretrained=False, pretrained_cfg=None, **kwargs):
        seen.update(pretrained=pretrained, pretrained_cfg=pretrained_cfg)
        return nn.Identity()

    plugin(own)
    create_model("plugged", pretrained=True)
    assert seen == {"pretrained": True, "pretrained_cfg": None}
    create_model("plugged.great", pretrained=True)
    assert seen == {"pretrained": True, "pretrained_cfg": "great"}


def test_a_failing_plugin_is_one_error_naming_it(plugin):
    def failing(pretrained=False, **kwargs):
        raise RuntimeError("boom")

    plugin(failing)
    with pytest.raises(PluginError, match=r"'plugged' .*some-plugin 1\.2.*num_classes=2.*RuntimeError: boom"):
        create_model("plugged", num_classes=2)
    plugin(lambda **kwargs: "a string")
    with pytest.raises(PluginError, match="returned a str"):
        create_model("plugged")


def test_a_name_that_two_distributions_claim_is_not_guessed(plugin, monkeypatch):
    def claims(distribution):
        return Entry("model", "contested", distribution, "1", "some:thing", lambda: lambda **kwargs: nn.Identity())

    monkeypatch.setattr(MODELS, "_installed", (*MODELS.entries(), claims("one"), claims("two")))
    with pytest.raises(NameClashError, match="'one/contested' or 'two/contested'"):
        create_model("contested")
    assert isinstance(create_model("two/contested"), nn.Identity)


def test_without_released_weights_the_error_says_what_there_is(released):
    with pytest.raises(WeightsError, match=r"No released weights for 'simple_cnn'.*none yet"):
        create_model("simple_cnn", pretrained=True)
    released(create_model("simple_cnn"), "first")
    with pytest.raises(WeightsError, match=r"'hiresnet20_cifar'. Of other models there are: 'simple_cnn.first'"):
        create_model("hiresnet20_cifar", pretrained=True)
    with pytest.raises(WeightsError, match=r"'simple_cnn.second'. Of simple_cnn there are: 'simple_cnn.first'"):
        create_model("simple_cnn.second")


def test_released_weights_come_with_the_options_that_they_were_trained_with(released):
    model = awake("hiresnet20_cifar", num_classes=4, in_chans=1, sources="all")
    means = {"input_size": [1, 28, 28], "mean": [0.3], "std": [0.2]}
    released(model, "tagged", pretrained_cfg=means, model_args={"sources": "all"})
    images = torch.randn(2, 1, 28, 28)
    for name in ("hiresnet20_cifar.tagged", "hiresnet20_cifar", "curriculum-zoo/hiresnet20_cifar.tagged"):
        loaded = create_model(name, pretrained=True).eval()
        assert torch.equal(loaded(images), model(images))
        assert loaded.pretrained_cfg["mean"] == [0.3]
    empty = create_model("hiresnet20_cifar.tagged")
    assert not torch.equal(empty.fc.weight, model.fc.weight)


def test_released_weights_of_other_classes_leave_the_classifier_new(released):
    model = awake("simple_cnn")
    released(model, "tagged")
    loaded = create_model("simple_cnn", pretrained=True, num_classes=3)
    assert torch.equal(loaded.fc1.weight, model.fc1.weight)
    assert loaded.fc2.out_features == 3


def test_released_weights_keep_the_image_size_that_they_were_trained_at(released):
    model = awake("simple_cnn", img_size=28, in_chans=1)
    released(model, "tagged", pretrained_cfg={"input_size": [1, 28, 28]})
    loaded = create_model("simple_cnn", pretrained=True, image_size=64).eval()
    images = torch.randn(2, 1, 28, 28)
    assert torch.equal(loaded(images), model(images))
    assert create_model("simple_cnn.tagged", image_size=64).grid == (16, 16)


def test_the_default_among_released_weights_is_declared_and_not_guessed(released, tmp_path):
    for tag in ("a", "b"):
        released(create_model("simple_cnn"), tag)
    default = create_model("simple_cnn", pretrained=True)
    assert torch.equal(default.fc1.weight, create_model("simple_cnn.b", pretrained=True).fc1.weight)
    (tmp_path / "model_cards" / "index.json").unlink()
    with pytest.raises(WeightsError, match=r"None of simple_cnn's is its default.*'simple_cnn.a', 'simple_cnn.b'"):
        create_model("simple_cnn", pretrained=True)


def test_released_weights_reach_a_feature_extractor_too(released):
    model = awake("hiresnet20_cifar")
    released(model, "tagged")
    features = create_model("hiresnet20_cifar", pretrained=True, features_only=True, out_indices=(1, 2)).eval()
    assert isinstance(features, FeatureGetterNet)
    images = torch.randn(2, 3, 32, 32)
    expected = model.forward_intermediates(images, [1, 2], intermediates_only=True)
    for mine, theirs in zip(features(images), expected, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.fixture
def folder(tmp_path):
    """A folder laid out as a Hub repository, and the network in it."""
    model = awake("hiresnet20_cifar", num_classes=3)
    config = {"architecture": "hiresnet20_cifar", "num_classes": 3, "pretrained_cfg": dict(model.pretrained_cfg)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    return tmp_path, model


def test_a_local_folder_loads_with_its_config(folder):
    path, model = folder
    loaded = create_model(f"local-dir:{path}", pretrained=True).eval()
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded(images), model(images))
    assert create_model(f"local-dir:{path}", num_classes=8).num_classes == 8


@pytest.mark.parametrize("number", [3, 5, 0])
def test_names_of_classes_go_with_the_classifier_that_is_reset(folder, number):
    path, _ = folder
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "label_names": ["a", "b", "c"]}))
    loaded = create_model(f"local-dir:{path}", pretrained=True)
    copied, pickled = copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))
    for model in (copied, pickled, loaded):
        assert model.class_names == ("a", "b", "c")
        model.reset_classifier(number)
        assert not hasattr(model, "class_names")
        assert model.num_classes == number
        model.reset_classifier(2)  # the network's own again
        assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
    assert "reset_classifier" not in vars(loaded)
    assert loaded.state_dict().keys() == create_model("hiresnet20_cifar").state_dict().keys()


def test_a_hub_repository_in_a_cache_of_ones_own_loads_from_there(folder, tmp_path):
    path, model = folder
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "cache" / "models--someone--net" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (path / name).rename(snapshot / name)
    loaded = create_model(f"hf-hub:someone/net@{commit}", pretrained=True, cache_dir=tmp_path / "cache").eval()
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded(images), model(images))


def test_a_folder_that_holds_no_network_is_one_error(tmp_path):
    with pytest.raises(WeightsError, match=r"config\.json"):
        create_model(f"local-dir:{tmp_path}", pretrained=True)
    (tmp_path / "config.json").write_text('{"architecture": "no_such_thing", "num_classes": 2}')
    with pytest.raises(UnknownNameError, match="no_such_thing"):
        create_model(f"local-dir:{tmp_path}", pretrained=True)


def test_options_are_left_where_timms_own_export_looks_for_them():
    model = create_model("hiresnet20_cifar", side="both", num_classes=3, device="cpu")
    assert model._model_args == {"side": "both", "num_classes": 3}


def test_partial_functions_can_be_registered_too(plugin):
    plugin(functools.partial(lambda width, pretrained=False, **kwargs: nn.Linear(width, kwargs["num_classes"]), 6))
    assert create_model("plugged", num_classes=2).in_features == 6
