"""airbench94 against the paper: layers, parameters, FLOPs, initial weights, whitening, and what never learns."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from curriculum_zoo import create_model
from curriculum_zoo.curricula import Stage
from curriculum_zoo.curricula.freezing import Frozen
from curriculum_zoo.errors import ModelError
from curriculum_zoo.models.airbench import WHITEN_EPS, airbench94, whitening_filters
from curriculum_zoo.recipes.recipe import Optimizer
from curriculum_zoo.testing import check_model
from curriculum_zoo.training.optimizers import make_optimizer
from curriculum_zoo.training.parameter_groups import LearningRates

CONVOLUTIONS = ((24, 64), (64, 64), (64, 256), (256, 256), (256, 256), (256, 256))
SIDES = (31, 15, 15, 7, 7, 3)  # of the maps that those convolutions make at 32 px
NORMS = (64, 64, 256, 256, 256, 256)


def photo_like(count, channels=3, side=32, seed=0):
    """Normalised noise with the 1/f amplitudes of photographs, and colours that go together."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, channels, side, side, generator=generator)
    rows, columns = torch.fft.fftfreq(side), torch.fft.rfftfreq(side)
    amplitude = 1 / (rows[:, None] ** 2 + columns[None, :] ** 2).sqrt().clamp(min=1 / side)
    noise = torch.fft.irfft2(torch.fft.rfft2(noise) * amplitude, s=(side, side))
    images = noise.mean(1, keepdim=True) + 0.3 * noise
    return (images - images.mean((0, 2, 3), keepdim=True)) / images.std((0, 2, 3), keepdim=True)


def moments_by_hand(images, k):
    """The second moments of all k×k patches, cut out one place after the other."""
    _, _, height, width = images.shape
    cuts = [images[:, :, y : y + k, x : x + k] for y in range(height - k + 1) for x in range(width - k + 1)]
    patches = np.concatenate([cut.double().flatten(1).numpy() for cut in cuts])
    return patches.T @ patches / len(patches)


def randomized(model):
    """Random biases and running statistics, so that no layer is the identity."""
    for name, tensor in model.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    return model


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_the_papers_written_out(training):
    torch.manual_seed(0)
    model = randomized(create_model("airbench94", bn_eps=1e-3)).double().train(training)
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    state = copy.deepcopy(model.state_dict())

    def norm(x, name):
        mean, variance, scale, shift = (
            state[f"{name}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        if training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        shape = (1, -1, 1, 1)
        return (x - mean.view(shape)) / (variance.view(shape) + 1e-3).sqrt() * scale.view(shape) + shift.view(shape)

    x = F.gelu(F.conv2d(images, state["whiten.weight"], state["whiten.bias"]))
    for block in ("blocks.0", "blocks.1", "blocks.2"):
        x = F.max_pool2d(F.conv2d(x, state[f"{block}.conv1.weight"], padding=1), 2)
        x = F.gelu(norm(x, f"{block}.norm1"))
        x = F.gelu(norm(F.conv2d(x, state[f"{block}.conv2.weight"], padding=1), f"{block}.norm2"))
    assert x.shape == (3, 256, 3, 3)
    expected = F.max_pool2d(x, 3).flatten(1) @ state["fc.weight"].T / 9
    torch.testing.assert_close(model(images), expected)


def test_its_parameters_are_those_counted_by_hand():
    model = create_model("airbench94")
    still = 24 * 12 + sum(NORMS)
    learning = 24 + sum(9 * before * after for before, after in CONVOLUTIONS) + sum(NORMS) + 256 * 10
    counts = {True: 0, False: 0}
    for parameter in model.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    assert counts == {True: learning, False: still}
    assert learning + still == 1_972_792  # the paper's 1.97 M


def counted(model, *, backward):
    images = torch.randn(2, 3, 32, 32)
    with FlopCounterMode(display=False) as counter:
        logits = model(images)
        if backward:
            logits.sum().backward()
    return counter.get_total_flops() // len(images)


def test_flops_are_those_counted_by_hand_and_come_to_the_published_petaflops():
    model = create_model("airbench94")
    whitening = 2 * 31**2 * 24 * 12
    pairs = [2 * side**2 * 9 * before * after for side, (before, after) in zip(SIDES, CONVOLUTIONS, strict=True)]
    forward = whitening + sum(pairs) + 2 * 256 * 10
    assert counted(model, backward=False) == forward == 236_294_720
    # The backward pass takes twice the forward's, but nothing for the whitening weights and the images.
    training = whitening + 3 * (forward - whitening)
    assert counted(model, backward=True) == training
    model.whiten.bias.requires_grad_(False)
    # Then nothing below the first block learns, and its input needs no gradient.
    later = training - pairs[0]
    assert counted(model, backward=True) == later
    # 48 steps of 1,024 images an epoch, 9.9 epochs, and six views of each test image.
    steps, views = math.ceil(9.9 * (50_000 // 1024)), 6
    total = 1024 * (144 * training + (steps - 144) * later) + views * 10_000 * forward
    assert total == pytest.approx(0.36e15, rel=0.03)


@pytest.mark.parametrize(("size", "sides"), [(9, (8, 4, 2, 1)), (16, (15, 7, 3, 1)), (64, (63, 31, 15, 7))])
def test_other_sizes_end_in_other_maps_which_are_pooled_whole(size, sides):
    model = randomized(create_model("airbench94")).eval()
    images = torch.randn(2, 3, size, size)
    levels = model.forward_intermediates(images, intermediates_only=True)
    assert tuple(level.shape[-1] for level in levels) == sides
    torch.testing.assert_close(model(images), levels[-1].amax((2, 3)) @ model.fc.weight.T / 9)


def test_global_pooling_is_the_published_pooling_at_32_px_in_both_directions():
    torch.manual_seed(0)
    model = create_model("airbench94").double()
    published = copy.deepcopy(model)
    published.global_pool = nn.Sequential(nn.MaxPool2d(3), nn.Flatten())
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    outputs = [network(images) for network in (model, published)]
    assert torch.equal(*outputs)
    for output in outputs:
        output.square().sum().backward()
    for ours, theirs in zip(model.parameters(), published.parameters(), strict=True):
        if ours.requires_grad:
            torch.testing.assert_close(ours.grad, theirs.grad)


def test_too_small_images_are_refused():
    model = create_model("airbench94")
    height, width = model.pretrained_cfg["min_input_size"][1:]
    assert height == width == model.smallest == 9
    with pytest.raises(ModelError, match="9×9 px and more, got 8×9"):
        model(torch.randn(2, 3, 8, 9))
    assert create_model("airbench94", widths=(8,), whiten_kernel_size=3).smallest == 4


def test_convolutions_start_as_the_identity_and_as_pytorch_starts_them():
    torch.manual_seed(0)
    model = create_model("airbench94")
    for block in model.blocks:
        for conv in (block.conv1, block.conv2):
            same, fan_in = conv.in_channels, 9 * conv.in_channels
            images = torch.randn(2, same, 5, 5)
            torch.testing.assert_close(conv(images)[:, :same], images)
            others = conv.weight[same:]
            if len(others):
                assert others.abs().max() <= 1 / math.sqrt(fan_in)
                assert others.std().item() == pytest.approx(1 / math.sqrt(3 * fan_in), rel=0.02)
    assert model.fc.weight.std().item() == pytest.approx(1 / math.sqrt(3 * 256), rel=0.05)
    assert (model.whiten.bias == 0).all()


def test_convolutions_that_narrow_pass_on_as_many_channels_as_they_have_filters():
    first, second, _ = create_model("airbench94", widths=(32, 8, 16)).blocks
    assert not torch.equal(first.conv1.weight[24:], torch.zeros(8, 24, 3, 3))
    images = torch.randn(2, 32, 5, 5)
    torch.testing.assert_close(second.conv1(images), images[:, :8])


@pytest.mark.parametrize(("options", "filters"), [({}, 24), ({"in_chans": 1}, 8), ({"whiten_kernel_size": 3}, 54)])
def test_filters_start_orthonormal_with_their_negatives(options, filters):
    weight = create_model("airbench94", **options).whiten.weight
    half = weight[: filters // 2].flatten(1)
    assert len(weight) == filters
    assert torch.equal(weight[filters // 2 :], -weight[: filters // 2])
    torch.testing.assert_close(half @ half.T, torch.eye(filters // 2))


def test_photo_like_patches_come_out_uncorrelated_with_variance_one():
    model = create_model("airbench94")
    images = photo_like(300)
    before = model.whiten(images).transpose(0, 1).flatten(1)[:12]
    model.init_from_data(images)
    after = model.whiten(images).transpose(0, 1).flatten(1)
    assert torch.equal(after[12:], -after[:12])
    identity = torch.eye(12)
    assert (before @ before.T / before.shape[1] - identity).abs().max() > 0.5
    moments = after[:12] @ after[:12].T / after.shape[1]
    assert (moments - identity).abs().max() < 0.05
    # What is missing is what eps takes from directions of little variance.
    variances = np.linalg.eigvalsh(moments_by_hand(images, 2))[::-1].copy()
    expected = torch.from_numpy(variances / (variances + 5e-4)).float()
    torch.testing.assert_close(moments, torch.diag(expected), atol=1e-4, rtol=1e-4)


@given(channels=st.integers(1, 4), k=st.integers(1, 3), seed=st.integers(0, 2**31 - 1), brightness=st.floats(-1.0, 1.0))
def test_filters_diagonalise_the_moments_of_any_images(channels, k, seed, brightness):
    images = photo_like(6, channels, 8, seed) + brightness
    filters = whitening_filters(images, k)
    assert filters.shape == (channels * k * k, channels, k, k)
    assert filters.dtype == torch.float64
    matrix, moments = filters.flatten(1).numpy(), moments_by_hand(images, k)
    variances = np.linalg.eigvalsh(moments)[::-1]
    np.testing.assert_allclose(matrix @ moments @ matrix.T, np.diag(variances / (variances + WHITEN_EPS)), atol=1e-6)


def test_filters_are_those_of_the_images_and_nothing_else():
    images = photo_like(300)
    original = images.clone()
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = create_model("airbench94", widths=(16, 16)).double()
        before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
        model.init_from_data(images)
        assert torch.equal(torch.get_rng_state(), state)
        changed = {key for key, tensor in model.state_dict().items() if not torch.equal(tensor, before[key])}
        assert changed == {"whiten.weight"}
        models.append(model)
    assert torch.equal(images, original)
    assert torch.equal(models[0].whiten.weight, models[1].whiten.weight)
    assert not models[0].whiten.weight.requires_grad
    torch.testing.assert_close(models[0].whiten.weight[:12], whitening_filters(images, 2))


def test_fewer_filters_are_those_of_the_largest_variances():
    images = photo_like(20)
    few = create_model("airbench94", whiten_width=8)
    few.init_from_data(images)
    every = whitening_filters(images, 2).float()
    assert torch.equal(few.whiten.weight, torch.cat([every[:4], -every[:4]]))
    responses = F.conv2d(images, F.normalize(every.flatten(1)).view_as(every)).square().mean((0, 2, 3))
    assert (responses.diff() < 0).all()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.randn(4, 1, 32, 32), "images of 3 channels"),
        (torch.randn(4, 3, 8, 8), "9×9 px and more"),
        (torch.randn(3, 32, 32), "batch of images"),
        (torch.empty(0, 3, 32, 32), r"shape \[0, 3, 32, 32\]"),
        (torch.full((2, 3, 32, 32), math.nan), "finite"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "torch.uint8"),
    ],
)
def test_images_that_cannot_be_whitened_are_refused_and_change_nothing(images, message):
    model = create_model("airbench94")
    before = model.whiten.weight.clone()
    with pytest.raises(ModelError, match=message):
        model.init_from_data(images)
    assert torch.equal(model.whiten.weight, before)


def test_more_filters_than_patches_have_directions_are_refused():
    with pytest.raises(ModelError, match="Build the network with whiten_width=8"):
        create_model("airbench94", in_chans=1, whiten_width=24).init_from_data(photo_like(4, 1))


def test_weights_for_colour_can_be_taken_for_gray_with_as_many_filters(tmp_path):
    colour = randomized(create_model("airbench94", widths=(16, 16, 16)))
    colour.init_from_data(photo_like(20))
    save_file(colour.state_dict(), tmp_path / "colour.safetensors")
    options = {"widths": (16, 16, 16), "in_chans": 1, "warm_start": str(tmp_path / "colour.safetensors")}
    gray = create_model("airbench94", whiten_width=24, **options)
    images = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(gray.eval()(images), colour.eval()(images.expand(-1, 3, -1, -1)))


def test_one_step_moves_all_that_learns_and_decay_moves_nothing_else():
    torch.manual_seed(0)
    model = randomized(create_model("airbench94"))
    before = {key: parameter.clone() for key, parameter in model.named_parameters()}
    optimizer = make_optimizer(model, Optimizer(lr=0.1, weight_decay=0.1))
    model(torch.randn(8, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    still = {key for key, parameter in model.named_parameters() if torch.equal(parameter, before[key])}
    scales = {f"blocks.{block}.norm{norm}.weight" for block in range(3) for norm in (1, 2)}
    assert still == {"whiten.weight", *scales}


def test_freezing_the_whitening_bias_thaws_no_more_than_it_froze():
    model = create_model("airbench94")
    never = {key for key, parameter in model.named_parameters() if not parameter.requires_grad}
    with Stage(name="later", frozen=(Frozen(("whiten",)),)).applied_to(model):
        model(torch.randn(4, 3, 32, 32)).sum().backward()
        assert model.whiten.bias.grad is None
        assert model.blocks[0].norm1.bias.grad is not None
    assert {key for key, parameter in model.named_parameters() if not parameter.requires_grad} == never


def test_norm_biases_can_have_64_times_the_rate_by_one_pattern():
    model = create_model("airbench94")
    settings = Optimizer(lr=1.5, layer_lr_scale={"*.norm?.bias": 64.0})
    optimizer = make_optimizer(model, settings)
    names = {parameter: key for key, parameter in model.named_parameters()}
    rates = {names[parameter]: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    biases = {f"blocks.{block}.norm{norm}.bias" for block in range(3) for norm in (1, 2)}
    assert {key for key, rate in rates.items() if rate == 96.0} == biases
    assert {rate for key, rate in rates.items() if key not in biases} == {1.5}
    assert LearningRates.of(model, settings).peaks["whiten.bias"] == 1.5


def test_running_statistics_keep_the_papers_share_of_the_old():
    model = create_model("airbench94")
    images = torch.randn(5, 3, 32, 32)
    norm = model.blocks[0].norm1
    x = F.max_pool2d(model.blocks[0].conv1(F.gelu(model.whiten(images))), 2)
    model(images)
    torch.testing.assert_close(norm.running_mean, 0.4 * x.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, 0.6 + 0.4 * x.var((0, 2, 3)))
    assert {module.eps for module in model.modules() if isinstance(module, nn.BatchNorm2d)} == {1e-12}


def test_other_widths_make_the_wider_networks_of_the_paper():
    model = create_model("airbench94", widths=(128, 384, 384), bn_momentum=0.1, scaling_factor=0.2, device="meta")
    assert [level["num_chs"] for level in model.feature_info] == [24, 128, 384, 384]
    assert model.num_features == model.fc.in_features == 384
    assert model.fc.scale == 0.2
    assert {module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)} == {0.1}


@pytest.mark.parametrize(("indices", "kept", "width"), [((0,), set(), 24), ((0, 1), {"0"}, 64)])
def test_features_come_without_what_lies_above_them(indices, kept, width):
    torch.manual_seed(0)
    whole = create_model("airbench94").eval()
    torch.manual_seed(0)
    part = create_model("airbench94", features_only=True, out_indices=indices).eval()
    images = torch.randn(2, 3, 32, 32)
    expected = whole.forward_intermediates(images, list(indices), intermediates_only=True)
    for mine, theirs in zip(part(images), expected, strict=True):
        assert torch.equal(mine, theirs)
    assert {key.split(".")[2] for key in part.state_dict() if ".blocks." in key} == kept
    assert not any(".fc." in key for key in part.state_dict())
    assert part.model.num_features == width


def test_stopping_early_still_gives_the_last_features_where_they_are_asked_for():
    model = create_model("airbench94").eval()
    images = torch.randn(2, 3, 32, 32)
    last, taken = model.forward_intermediates(images, [1], stop_early=True)
    assert torch.equal(last, model.forward_features(images))
    assert [level.shape[1] for level in taken] == [64]


def test_the_classifier_alone_gives_the_logits():
    model = create_model("airbench94", num_classes=7).eval()
    images = torch.randn(2, 3, 32, 32)
    pooled = model.forward_head(model.forward_features(images), pre_logits=True)
    assert torch.equal(model.get_classifier()(pooled), model(images))
    assert model.get_classifier(name_only=True) == "fc"
    assert model.fc.bias is None


def test_dropout_acts_on_the_pooled_features_in_training_alone():
    torch.manual_seed(0)
    model = create_model("airbench94", drop_rate=0.5)
    features = torch.ones(1, 256, 3, 3)
    assert set(model.forward_head(features, pre_logits=True).unique().tolist()) == {0.0, 2.0}
    assert (model.eval().forward_head(features, pre_logits=True) == 1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"global_pool": "median"}, "global_pool='median'"),
        ({"global_pool": ""}, "num_classes=0"),
        ({"widths": ()}, r"widths=\(\)"),
        ({"widths": (8, 0)}, "at least 1"),
        ({"whiten_width": 7}, "an even whiten_width"),
        ({"whiten_kernel_size": 0}, "whiten_kernel_size=0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ModelError, match=message):
        create_model("airbench94", **options)


def test_symbolic_tracing_gives_the_same_outputs():
    model = randomized(create_model("airbench94")).eval()
    images = torch.randn(2, 3, 37, 41)
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(images), model(images))


def test_it_keeps_the_promises_that_plugins_are_held_to():
    check_model(airbench94)
