"""Warm starts: equal outputs from the plain twin's weights, from every source, and an error for every misfit."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import build_model_with_cfg
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn
from torch.nn import functional as F

from curriculum_zoo.errors import UnknownNameError, WeightsError
from curriculum_zoo.models import create_model

PUBLISHED: dict[str, str] = {}


@timm.models.register_model
def warm_twin(pretrained=False, **kwargs):
    """A ResNet-18 in timm's registry whose published weights lie in a local file."""
    kwargs["pretrained_cfg"] = {
        "file": PUBLISHED.get("file"),
        "first_conv": "conv1",
        "classifier": "fc",
        "num_classes": 6,
        "mean": (0.1, 0.2, 0.3),
    }
    return build_model_with_cfg(ResNet, "warm_twin", pretrained, block=BasicBlock, layers=(2, 2, 2, 2), **kwargs)


def randomized(model, seed=0):
    """Random weights and running statistics, as after training."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model.eval()


@pytest.fixture(scope="module")
def twin():
    torch.manual_seed(0)
    return randomized(timm.create_model("resnet18", num_classes=6))


@pytest.fixture(scope="module")
def files(twin, tmp_path_factory):
    """The twin's weights in every kind of file."""
    folder = tmp_path_factory.mktemp("weights")
    state = twin.state_dict()
    save_file(state, folder / "model.safetensors")
    torch.save(state, folder / "plain.pth")
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": state[key] for key in state}}, folder / "wrapped.pth.tar")
    torch.save({key: state[key] for key in state if "num_batches" not in key}, folder / "old.pt")
    PUBLISHED["file"] = str(folder / "plain.pth")
    return folder


IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "source", ["model.safetensors", "plain.pth", "wrapped.pth.tar", "old.pt", "local-dir:", "timm/"]
)
@pytest.mark.parametrize("options", [{}, {"side": "both", "sources": "all"}])
def test_the_twins_outputs_come_out_whatever_the_source(twin, files, source, options):
    path = "timm/warm_twin" if source == "timm/" else f"local-dir:{files}" if source == "local-dir:" else files / source
    model = create_model("hiresnet18", num_classes=6, warm_start=str(path), **options).eval()
    torch.testing.assert_close(model(IMAGES), twin(IMAGES), atol=1e-5, rtol=0)


def test_paths_are_taken_as_texts_are(twin, files):
    path = files / "plain.pth"
    by_path = create_model("hiresnet18", num_classes=6, warm_start=path).state_dict()
    by_text = create_model("hiresnet18", num_classes=6, warm_start=str(path)).state_dict()
    assert all(torch.equal(by_path[key], by_text[key]) for key in by_text if "_sum." not in key)


def test_the_twins_weights_come_from_the_hub_too(twin, files, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--someone--net" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(files / "model.safetensors")
    (snapshot / "config.json").write_text('{"architecture": "resnet18", "num_classes": 6}')
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = create_model("hiresnet18", num_classes=6, warm_start=f"hf-hub:someone/net@{commit}").eval()
    torch.testing.assert_close(model(IMAGES), twin(IMAGES), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "block", "layers", "options"),
    [
        ("hiresnet50", Bottleneck, (3, 4, 6, 3), {}),
        pytest.param("hiresnet34", BasicBlock, (3, 4, 6, 3), {}, marks=pytest.mark.slow),
        pytest.param("hiresnet101", Bottleneck, (3, 4, 23, 3), {}, marks=pytest.mark.slow),
        pytest.param(
            "hiresnext50_32x4d",
            Bottleneck,
            (3, 4, 6, 3),
            {"cardinality": 32, "base_width": 4},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_deeper_twins_give_their_outputs_too(name, block, layers, options, tmp_path):
    torch.manual_seed(0)
    plain = randomized(ResNet(block, layers, num_classes=4, **options))
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    model = create_model(name, num_classes=4, warm_start=str(tmp_path / "plain.pth")).eval()
    assert (model(IMAGES) - plain(IMAGES)).abs().max() <= 1e-5 * plain(IMAGES).abs().max()


def test_how_images_were_prepared_comes_with_timms_weights(files):
    model = create_model("hiresnet18", num_classes=6, warm_start="timm/warm_twin")
    assert model.pretrained_cfg["mean"] == (0.1, 0.2, 0.3)
    assert model.pretrained_cfg["architecture"] == "hiresnet18"


def test_a_feature_extractor_can_start_warm(twin, files):
    source = str(files / "plain.pth")
    model = create_model("hiresnet18", warm_start=source, num_classes=6, features_only=True, out_indices=(1, 3)).eval()
    expected = twin.forward_intermediates(IMAGES, [1, 3], intermediates_only=True)
    for mine, theirs in zip(model(IMAGES), expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_a_hierarchical_networks_own_weights_load_whole(tmp_path):
    model = randomized(create_model("hiresnet20_cifar"))
    torch.save(model.state_dict(), tmp_path / "whole.pth")
    again = create_model("hiresnet20_cifar", warm_start=str(tmp_path / "whole.pth")).eval()
    assert torch.equal(again(IMAGES), model(IMAGES))
    partial = model.state_dict()
    del partial["layer2.2.output_sum.from0.bn.bias"]
    torch.save(partial, tmp_path / "partial.pth")
    with pytest.raises(WeightsError, match=r"layer2\.2\.output_sum\.from0\.bn\.bias is missing"):
        create_model("hiresnet20_cifar", warm_start=str(tmp_path / "partial.pth"))


def test_any_network_can_start_from_its_own_weights(tmp_path):
    model = create_model("simple_cnn", num_classes=4)
    save_file(model.state_dict(), tmp_path / "own.safetensors")
    again = create_model("simple_cnn", num_classes=4, warm_start=str(tmp_path / "own.safetensors"))
    assert torch.equal(again.fc1.weight, model.fc1.weight)
    theirs = timm.create_model("test_resnet", num_classes=3)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    warm = create_model("timm/test_resnet", num_classes=3, warm_start=str(tmp_path / "theirs.pth"))
    assert torch.equal(warm.conv1[0].weight, theirs.conv1[0].weight)


def test_another_number_of_classes_starts_a_new_classifier_when_asked_for(twin, files):
    source = str(files / "plain.pth")
    model = create_model("hiresnet18", num_classes=9, warm_start=source).eval()
    torch.testing.assert_close(model.forward_features(IMAGES), twin.forward_features(IMAGES), atol=1e-5, rtol=1e-5)
    assert model.fc.out_features == 9
    with pytest.raises(WeightsError, match=r"classifies 6 classes.*1000.*num_classes=6"):
        create_model("hiresnet18", warm_start=source)
    bare = create_model("hiresnet18", num_classes=0, warm_start=source).eval()
    assert bare(IMAGES).shape == (2, 512)


@pytest.mark.parametrize("channels", [1, 4])
def test_first_convolutions_for_rgb_adapt_as_timms_do(files, channels):
    model = create_model("hiresnet18", num_classes=6, in_chans=channels, warm_start=str(files / "plain.pth"))
    adapted = timm.create_model("warm_twin", pretrained=True, in_chans=channels)
    assert torch.equal(model.conv1.weight, adapted.conv1.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("layer2.0.conv1.weight"), r"layer2\.0\.conv1\.weight is missing"),
        (lambda state: state.update(stray=torch.zeros(1)), "stray is not the network's"),
        (lambda state: state.update({"bn1.bias": torch.zeros(3)}), r"bn1\.bias has shape \[3\], expected \[64\]"),
        (lambda state: state.update({"bn1.bias": torch.full((64,), torch.nan)}), "bn1.bias holds numbers"),
        (
            lambda state: state.update({"head.weight": state.pop("fc.weight")}),
            r"fc\.weight is missing; head\.weight is",
        ),
    ],
)
def test_every_misfit_is_an_error_naming_the_tensor(twin, tmp_path, change, message):
    state = dict(twin.state_dict())
    change(state)
    torch.save(state, tmp_path / "changed.pth")
    with pytest.raises(WeightsError, match=message):
        create_model("hiresnet18", num_classes=6, warm_start=str(tmp_path / "changed.pth"))


def test_sources_that_cannot_be_read_are_each_one_error(tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("this must not run",))

    (tmp_path / "damaged.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    (tmp_path / "damaged.pth").write_bytes(b"nonsense")
    (tmp_path / "empty.pth").touch()
    torch.save({"weight": Trap()}, tmp_path / "trap.pth")
    torch.save({"weight": "text"}, tmp_path / "text.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    for name in ("damaged.safetensors", "damaged.pth", "empty.pth"):
        with pytest.raises(WeightsError, match=f"{name} is damaged, or no"):
            create_model("simple_cnn", warm_start=str(tmp_path / name))
    with pytest.raises(WeightsError, match=r"trap\.pth holds .*print, which only code could make again"):
        create_model("simple_cnn", warm_start=str(tmp_path / "trap.pth"))
    for name in ("text.pth", "list.pth"):
        with pytest.raises(WeightsError, match="holds no state dict"):
            create_model("simple_cnn", warm_start=str(tmp_path / name))
    with pytest.raises(WeightsError, match=r"There is no file 'someone/net'.*hf-hub:"):
        create_model("simple_cnn", warm_start="someone/net")
    with pytest.raises(WeightsError, match=r"There is no file '.*gone\.pth'"):
        create_model("simple_cnn", warm_start=str(tmp_path / "gone.pth"))
    with pytest.raises(WeightsError, match="holds neither a run nor weights"):
        create_model("simple_cnn", warm_start=f"local-dir:{tmp_path}")
    with pytest.raises(UnknownNameError, match="'no_such_net'"):
        create_model("simple_cnn", warm_start="timm/no_such_net")
    with pytest.raises(WeightsError, match="hf-hub:someone/no-net"):
        create_model("simple_cnn", warm_start="hf-hub:someone/no-net")


def test_timms_names_without_weights_are_an_error():
    with pytest.raises(WeightsError, match=r"'test_resnet\.nonsense' cannot be had"):
        create_model("hiresnet18", warm_start="timm/test_resnet.nonsense")


class PublishedBlock(nn.Module):
    """A basic block as option-A networks are published, with names of its own."""

    def __init__(self, before, width, stride, names):
        super().__init__()
        self.names, self.stride, self.padding = names, stride, (width - before) // 2
        self.add_module(names[0], nn.Conv2d(before, width, 3, stride, 1, bias=False))
        self.add_module(names[1], nn.BatchNorm2d(width))
        self.add_module(names[2], nn.Conv2d(width, width, 3, 1, 1, bias=False))
        self.add_module(names[3], nn.BatchNorm2d(width))

    def forward(self, x):
        first, first_norm, second, second_norm = (getattr(self, name) for name in self.names)
        y = second_norm(second(first_norm(first(x)).relu()))
        if self.stride == 2:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))
        return (x + y).relu()


class PublishedNet(nn.Module):
    """An option-A ResNet of 6n + 2 layers with the names it is given."""

    def __init__(self, n, stem, stages, block_names, classifier):
        super().__init__()
        self.add_module(stem[0], nn.Conv2d(3, 16, 3, 1, 1, bias=False))
        self.add_module(stem[1], nn.BatchNorm2d(16))
        before = 16
        for stage, width in zip(stages, (16, 32, 64), strict=True):
            blocks = [
                PublishedBlock(before if i == 0 else width, width, 1 + (width > before and i == 0), block_names)
                for i in range(n)
            ]
            self.add_module(stage, nn.Sequential(*blocks))
            before = width
        self.add_module(classifier, nn.Linear(64, 10))

    def forward(self, x):
        conv, norm, *stages, linear = self.children()
        x = norm(conv(x)).relu()
        for stage in stages:
            x = stage(x)
        return linear(x.mean((2, 3)))


FAMILIAR = (("conv1", "bn1"), ("layer1", "layer2", "layer3"), ("conv1", "bn1", "conv2", "bn2"), "linear")
FOREIGN = (("stem", "stem_norm"), ("group_a", "group_b", "group_c"), ("left", "left_n", "right", "right_n"), "head")


@pytest.mark.parametrize("names", [FAMILIAR, FOREIGN])
@pytest.mark.parametrize(
    ("name", "n"), [("resnet20_cifar", 3), ("hiresnet20_cifar", 3), ("resnet56_cifar", 9), ("resnet110_cifar", 18)]
)
def test_published_option_a_networks_map_tensor_by_tensor(name, n, names, tmp_path):
    torch.manual_seed(0)
    published = randomized(PublishedNet(n, *names))
    state = {f"module.{key}": tensor for key, tensor in published.state_dict().items()}
    torch.save({"state_dict": state, "best_prec1": 92.1}, tmp_path / "published.th")
    model = create_model(name, warm_start=str(tmp_path / "published.th")).eval()
    images = torch.randn(2, 3, 32, 32)
    expected = published(images)
    assert (model(images) - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1)


def test_published_safetensors_with_familiar_names_map_too(tmp_path):
    published = randomized(PublishedNet(3, *FAMILIAR))
    save_file(published.state_dict(), tmp_path / "published.safetensors")
    model = create_model("resnet20_cifar", warm_start=str(tmp_path / "published.safetensors")).eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(images), published(images), rtol=1e-5, atol=1e-5)


def test_published_weights_that_cannot_map_say_why(tmp_path):
    published = PublishedNet(3, *FOREIGN)
    save_file(published.state_dict(), tmp_path / "unordered.safetensors")
    torch.save(published.state_dict(), tmp_path / "foreign.pth")
    wide = {
        key: tensor.repeat(2, *[1] * (tensor.ndim - 1)) if tensor.ndim else tensor
        for key, tensor in published.state_dict().items()
    }
    torch.save(wide, tmp_path / "wide.pth")
    with pytest.raises(WeightsError, match="does not keep their order"):
        create_model("resnet20_cifar", warm_start=str(tmp_path / "unordered.safetensors"))
    with pytest.raises(WeightsError, match="another depth"):
        create_model("resnet32_cifar", warm_start=str(tmp_path / "foreign.pth"))
    with pytest.raises(WeightsError, match=r"stem\.weight of shape \[32, 3, 3, 3\] meets conv1\.weight"):
        create_model("resnet20_cifar", warm_start=str(tmp_path / "wide.pth"))
