"""Class activation maps against computations by hand, and what is refused."""

import sys

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from curriculum_zoo.data.normalize import Normalize
from curriculum_zoo.errors import DataError, ModelError
from curriculum_zoo.evaluation import explain
from curriculum_zoo.evaluation.explanations import explain_networks, first_layer
from curriculum_zoo.evaluation.trained_network import TrainedNetwork
from curriculum_zoo.models import create_model

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
CLASSES = ("cat", "dog", "owl", "rat")


def trained(model, size, *, name="network", classes=CLASSES):
    """A network as if it had been loaded; its weights are random."""
    cpu = torch.device("cpu")
    return TrainedNetwork(
        name, model.eval(), cpu, (3, size, size), Normalize(MEAN, STD, cpu), classes, len(classes), {}
    )


def random_network(name, seed=0, **options):
    torch.manual_seed(seed)
    model = create_model(name, num_classes=len(CLASSES), **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # fresh ones pass all alike, and a HiResNet's projections nothing
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return model


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((160, 160), Image.Resampling.BICUBIC).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def as_given(picture, size, side=None):
    """What a network of that size is given of a picture, normalised, at its own or another resolution."""
    square = Image.open(picture).resize((size, size), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1)[None].float() / 255
    if side is not None:
        pixels = F.interpolate(pixels, size=(side, side), mode="bilinear", antialias=True)
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def by_hand(features, logit):
    """Grad-CAM of maps [1, C, h, w]: each channel weighted by the mean of its gradient, summed."""
    [gradient] = torch.autograd.grad(logit, features)
    total = torch.zeros(features.shape[2:])
    for weight, channel in zip(gradient[0].mean((1, 2)), features[0], strict=True):
        total += weight * channel
    return total.detach().numpy()


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


# Numbers


@pytest.mark.parametrize("name", ["resnet20_cifar", "hiresnet20_cifar"])
@pytest.mark.parametrize("side", [32, 20])
def test_a_map_is_grad_cam_of_the_features_before_the_head(picture, name, side):
    model = random_network(name).eval()
    [explanation] = explain_networks([trained(model, 32)], [picture], resolutions=[side], class_name="owl")
    [[found]] = explanation.maps
    features = model.forward_features(as_given(picture, 32, side))
    logits = model.forward_head(features)
    close(found.cells, by_hand(features, logits[0, 2]))
    assert found.resolution == side
    assert found.probability == pytest.approx(logits.softmax(1)[0, 2].item(), rel=1e-3)
    assert found.predicted == CLASSES[logits.argmax()]
    assert found.predicted_probability == pytest.approx(logits.softmax(1).max().item(), rel=1e-3)


def test_the_cells_add_up_to_the_logit_where_features_are_averaged_and_classified_by_one_layer(picture):
    model = random_network("hiresnet20_cifar").eval()
    [explanation] = explain_networks([trained(model, 32)], [picture], resolutions=[32, 24], class_name="rat")
    for found in explanation.maps[0]:
        with torch.no_grad():
            logit = model(as_given(picture, 32, found.resolution))[0, 3] - model.fc.bias[3]
        assert found.cells.sum() == pytest.approx(logit.item(), rel=1e-3)


def test_a_map_of_a_transformer_is_grad_cam_of_the_tokens_that_its_last_block_is_given(picture):
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=4).eval()
    [explanation] = explain_networks([trained(model, 160)], [picture], resolutions=[160])
    tokens = []
    hook = model.blocks[-1].register_forward_pre_hook(lambda module, given: tokens.append(given[0]))
    logits = model(as_given(picture, 160))
    hook.remove()
    [gradient] = torch.autograd.grad(logits.max(), tokens)
    patches, gradients = tokens[0][0, 1:], gradient[0, 1:]
    close(explanation.maps[0][0].cells, (patches @ gradients.mean(0)).detach().numpy().reshape(10, 10))
    assert explanation.class_name == CLASSES[logits.argmax()]


class Brightness(nn.Module):
    """Speaks for class 0 by how bright the image is, for class 1 by how dark, channels last as some transformers."""

    def __init__(self, channels_last):
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 4, stride=4)
        self.block = Last() if channels_last else nn.Identity()
        self.head = nn.Linear(5, 2)
        nn.init.constant_(self.stem.weight, 1.0)
        nn.init.constant_(self.stem.bias, 100.0)
        nn.init.constant_(self.head.bias, 0.0)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, 5))

    def forward(self, images):
        features = self.block(self.stem(images))
        return self.head(features.mean((1, 2) if isinstance(self.block, Last) else (2, 3)))


class Last(nn.Module):
    def forward(self, maps):
        return maps.permute(0, 2, 3, 1)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("quadrant", range(4))
def test_maps_are_upright_and_of_the_images_size(tmp_path, quadrant, channels_last):
    pixels = np.zeros((32, 32, 3), np.uint8)
    top, left = 16 * (quadrant // 2), 16 * (quadrant % 2)
    pixels[top : top + 16, left : left + 16] = 255
    Image.fromarray(pixels).save(tmp_path / "bright.png")
    subject = trained(Brightness(channels_last), 32, classes=("bright", "dark"))
    [explanation] = explain_networks([subject], [tmp_path / "bright.png"], resolutions=[32, 24, 16])
    for found, side in zip(explanation.maps[0], (32, 24, 16), strict=True):
        assert found.image.shape == (side, side, 3)
        assert found.heat.shape == (side, side)
        assert found.cells.shape == (side // 4, side // 4)
        half = side // 2
        sums = [found.heat[y : y + half, x : x + half].sum() for y in (0, half) for x in (0, half)]
        light = [found.image[y : y + half, x : x + half].sum() for y in (0, half) for x in (0, half)]
        assert int(np.argmax(sums)) == int(np.argmax(light)) == quadrant


def test_heat_is_the_positive_part_alone(picture):
    model = random_network("resnet20_cifar")
    [explanation] = explain_networks([trained(model, 32)], [picture], resolutions=[32])
    found = explanation.maps[0][0]
    assert found.cells.min() < 0
    assert found.heat.min() >= 0
    expected = F.interpolate(torch.from_numpy(found.cells).clamp(min=0)[None, None], (32, 32), mode="bilinear")[0, 0]
    close(found.heat, expected.numpy())


def test_the_same_call_gives_the_same_maps_and_leaves_the_network_as_it_was(picture):
    subject = trained(random_network("hiresnet20_cifar"), 32)
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    runs = [explain_networks([subject], [picture])[0].maps[0] for _ in range(2)]
    for first, second in zip(*runs, strict=True):
        assert np.array_equal(first.cells, second.cells)
    assert all(torch.equal(value, before[name]) for name, value in subject.model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in subject.model.parameters())
    assert not any(module._forward_hooks for module in subject.model.modules())


def test_a_network_none_of_whose_parameters_learn_is_explained_alike(picture):
    model = random_network("resnet20_cifar")
    [free] = explain_networks([trained(model, 32)], [picture], resolutions=[32])
    [still] = explain_networks([trained(model.requires_grad_(False), 32)], [picture], resolutions=[32])
    close(still.maps[0][0].cells, free.maps[0][0].cells)


# Two networks, classes, resolutions, layers


def test_two_networks_are_asked_for_the_same_class_whatever_its_number(picture):
    model = random_network("resnet20_cifar").eval()
    other = random_network("resnet20_cifar").eval()
    with torch.no_grad():  # the same network with its classes in another order
        other.fc.weight.copy_(model.fc.weight.flip(0))
        other.fc.bias.copy_(model.fc.bias.flip(0))
    pair = [trained(model, 32, name="one"), trained(other, 32, name="other", classes=CLASSES[::-1])]
    [explanation] = explain_networks(pair, [picture], resolutions=[32, 16])
    assert [[found.network for found in row] for row in explanation.maps] == [["one"] * 2, ["other"] * 2]
    for first, second in zip(*explanation.maps, strict=True):
        close(second.cells, first.cells)
        assert second.predicted == first.predicted


def test_a_class_that_a_network_does_not_know_is_named_with_the_closest(picture):
    model = random_network("resnet20_cifar")
    with pytest.raises(ModelError, match=r"knows no class 'cart'.*'cat'"):
        explain_networks([trained(model, 32)], [picture], class_name="cart")
    pair = [trained(model, 32), trained(model, 32, classes=("cat", "dog", "ox", "ram"), name="other")]
    with pytest.raises(ModelError, match="other knows no class 'owl'"):
        explain_networks(pair, [picture], class_name="owl")


def test_without_resolutions_the_networks_own_and_half_of_it_are_taken_where_it_takes_both(picture):
    [free] = explain_networks([trained(random_network("resnet20_cifar"), 32)], [picture])
    assert [found.resolution for found in free.maps[0]] == [32, 16]
    of_one_size = timm.create_model("test_vit", num_classes=4, dynamic_img_size=False)
    [fixed] = explain_networks([trained(of_one_size, 160)], [picture])
    assert [found.resolution for found in fixed.maps[0]] == [160]


def test_a_resolution_that_a_network_does_not_take_is_refused(picture):
    subject = trained(timm.create_model("test_vit", num_classes=4, dynamic_img_size=False), 160)
    with pytest.raises(ModelError, match="cannot take images of 80×80 px"):
        explain_networks([subject], [picture], resolutions=[160, 80])


def test_another_layer_can_be_named(picture):
    model = random_network("resnet20_cifar").eval()
    [explanation] = explain_networks(
        [trained(model, 32)], [picture], resolutions=[32], layer="layer2", class_name="cat"
    )
    assert explanation.maps[0][0].cells.shape == (16, 16)
    caught = []
    hook = model.layer2.register_forward_hook(lambda module, given, output: caught.append(output))
    logits = model(as_given(picture, 32))
    hook.remove()
    close(explanation.maps[0][0].cells, by_hand(caught[0], logits[0, 0]))


def test_a_layer_that_is_not_there_is_named_with_the_closest(picture):
    with pytest.raises(ModelError, match=r"CifarResNet has no layer 'layr3'. Did you mean 'layer3'"):
        explain_networks([trained(random_network("resnet20_cifar"), 32)], [picture], layer="layr3")


def test_a_layer_without_a_grid_is_refused(picture):
    with pytest.raises(ModelError, match=r"'fc' .* gives \[1, 4\], which is no grid over images of 32×32 px"):
        explain_networks([trained(random_network("resnet20_cifar"), 32)], [picture], layer="fc")


def test_a_glimpse_pyramid_is_pointed_to_what_it_attended(pyramid, picture):
    with pytest.raises(ModelError, match="curriculum-zoo glimpses"):
        explain(pyramid, [picture], device="cpu")


def test_no_image_is_an_error():
    with pytest.raises(DataError, match="no image to explain"):
        explain_networks([trained(random_network("resnet20_cifar"), 32)], [])


def test_without_captum_it_says_what_to_install(finished_run, picture, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "captum"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(ModelError, match=r"pip install 'curriculum-zoo\[explain\]'"):
        explain(finished_run, [picture], device="cpu")


def test_a_run_is_explained_from_its_folder(finished_run, picture):
    [explanation] = explain(finished_run, [picture], device="cpu", class_name="top left", which="last")
    [[full, half]] = explanation.maps
    assert (explanation.name, explanation.class_name) == (str(picture), "top left")
    assert (full.resolution, half.resolution) == (16, 8)
    assert full.network == str(finished_run)
    assert full.cells.shape == (4, 4)
    assert "image" not in full.to_dict()
    assert np.allclose(explanation.to_dict()["maps"][0][0]["cells"], full.cells)


# First-layer filters


@pytest.mark.parametrize(("name", "layer"), [("resnet20_cifar", "conv1"), ("timm/test_vit", "patch_embed.proj")])
def test_filters_are_the_first_convolutions_weights(name, layer):
    model = random_network(name)
    found = first_layer(trained(model, 32 if layer == "conv1" else 160))
    assert found.layer == layer
    weight = model.get_submodule(layer).weight.detach()
    assert np.array_equal(found.filters, weight.permute(0, 2, 3, 1).numpy())


def test_a_network_without_a_convolution_has_no_filters():
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
    with pytest.raises(ModelError, match="has no convolution"):
        first_layer(trained(model, 4))
