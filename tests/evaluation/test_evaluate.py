"""Evaluation of trained weights, against numbers taken from the files by other means."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from curriculum_zoo.errors import DataError, ModelError, UnknownNameError, WeightsError
from curriculum_zoo.evaluation import evaluate
from curriculum_zoo.evaluation.trained_network import load_trained_network


@pytest.fixture(scope="module")
def arrays(quadrants):
    return dict(np.load(quadrants))


def forward(weights, images):
    """SimpleCNN from its weights alone, in double precision."""
    w = {name: tensor.double() for name, tensor in weights.items()}
    x = F.max_pool2d(F.conv2d(images, w["conv1.weight"], w["conv1.bias"], padding=1).relu(), 2)
    x = F.max_pool2d(F.conv2d(x, w["conv2.weight"], w["conv2.bias"], padding=1).relu(), 2)
    x = F.adaptive_avg_pool2d(x, 4).flatten(1)
    return F.linear(F.linear(x, w["fc1.weight"], w["fc1.bias"]).relu(), w["fc2.weight"], w["fc2.bias"])


def expected(run, arrays, side, which="best"):
    """Top-1, loss and accuracy by class on the test images at a resolution."""
    trained = load_trained_network(run, which=which, device="cpu")
    mean, std = (
        torch.tensor(values, dtype=torch.float64).view(-1, 1, 1)
        for values in (trained.normalize.mean, trained.normalize.std)
    )
    images = torch.from_numpy(arrays["x_test"]).permute(0, 3, 1, 2).double() / 255
    if side != 16:
        images = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
    logits = forward(load_file(run / which / "model.safetensors"), (images - mean) / std)
    labels = torch.from_numpy(arrays["y_test"])
    right = logits.argmax(1) == labels
    by_class = [right[labels == label].double().mean().item() for label in range(4)]
    return right.double().mean().item(), F.cross_entropy(logits, labels).item(), by_class


def test_resolutions_are_evaluated_in_the_order_asked_for(finished_run, arrays, quadrants):
    sweep = evaluate(finished_run, f"npz:{quadrants}", resolutions=(16, 12, 6, 20), batch_size=33, device="cpu")
    assert [evaluation.resolution for evaluation in sweep] == [16, 12, 6, 20]
    for evaluation in sweep:
        top1, loss, by_class = expected(finished_run, arrays, evaluation.resolution)
        assert evaluation.scores.images == 80
        assert evaluation.scores.top1 == pytest.approx(top1)
        assert evaluation.scores.loss == pytest.approx(loss, rel=1e-3, abs=1e-6)
        assert evaluation.scores.per_class == pytest.approx(by_class)
        assert evaluation.scores.top5 is None
        assert evaluation.classes == ("top left", "top right", "bottom left", "bottom right")


@pytest.mark.parametrize("side", [16, 8])
def test_flops_of_an_image_are_two_for_each_weight_it_meets(finished_run, quadrants, side):
    [evaluation] = evaluate(finished_run, f"npz:{quadrants}", resolutions=(side,), device="cpu")
    convolutions = 2 * 9 * (3 * 32 * side**2 + 32 * 64 * (side // 2) ** 2)
    assert evaluation.flops == convolutions + 2 * (64 * 16 * 128 + 128 * 4)


def test_which_tells_the_weights_of_the_last_epoch_from_the_best(finished_run, arrays, quadrants):
    losses = {}
    for which in ("last", "best"):
        [evaluation] = evaluate(finished_run, f"npz:{quadrants}", which=which, device="cpu")
        losses[which] = evaluation.scores.loss
        assert losses[which] == pytest.approx(expected(finished_run, arrays, 16, which)[1], rel=1e-3, abs=1e-6)
    [folder] = evaluate(finished_run / "last", f"npz:{quadrants}", device="cpu")
    assert folder.scores.loss == losses["last"]


def test_bf16_gives_nearly_the_same(finished_run, quadrants):
    [exact] = evaluate(finished_run, f"npz:{quadrants}", device="cpu")
    [rough] = evaluate(finished_run, f"npz:{quadrants}", precision="bf16", device="cpu")
    assert rough.scores.loss == pytest.approx(exact.scores.loss, rel=0.2, abs=0.01)
    assert rough.scores.loss != exact.scores.loss


def test_as_json_the_accuracy_of_a_class_stands_under_its_name(finished_run, quadrants):
    [evaluation] = evaluate(finished_run, f"npz:{quadrants}", device="cpu")
    values = evaluation.to_dict()
    assert list(values["per_class"]) == ["top left", "top right", "bottom left", "bottom right"]
    assert math.isclose(sum(values["per_class"].values()) / 4, values["top1"])
    assert values["resolution"] == 16


def test_a_resolution_below_what_the_network_takes_is_named(finished_run, quadrants):
    with pytest.raises(ModelError, match=r"cannot take images of 3 px .*Leave that resolution out"):
        evaluate(finished_run, f"npz:{quadrants}", resolutions=(16, 3), device="cpu")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"y_train": 3, "y_test": 3, "classes": 3}, "tells 4 classes apart, .* has 3"),
        ({"classes": ["a", "top right", "bottom left", "bottom right"]}, r"\('top left' against 'a'\)"),
    ],
)
def test_another_data_sets_classes_are_refused(finished_run, arrays, tmp_path, change, named):
    other = dict(arrays)
    for key, value in change.items():
        if isinstance(value, list):
            other[key] = np.array(value)
        else:
            other[key] = arrays[key] % value if key != "classes" else arrays[key][:value]
    np.savez(tmp_path / "other.npz", **other)
    with pytest.raises(DataError, match=named):
        evaluate(finished_run, f"npz:{tmp_path / 'other.npz'}", device="cpu")


def test_images_of_another_size_and_without_colour_are_brought_to_the_networks(finished_run, arrays, tmp_path):
    gray = {key: value.repeat(2, axis=1).repeat(2, axis=2)[..., 0] for key, value in arrays.items() if key[0] == "x"}
    np.savez(tmp_path / "gray.npz", **{**arrays, **gray})
    [evaluation] = evaluate(finished_run, f"npz:{tmp_path / 'gray.npz'}", device="cpu")
    assert evaluation.resolution == 16
    assert evaluation.scores.top1 > 0.9


def test_calibration_takes_statistics_at_each_resolution(quadrants, tmp_path):
    from curriculum_zoo import Recipe, train
    from curriculum_zoo.training.progress import Reporter

    recipe = Recipe(model="timm/test_resnet", data=f"npz:{quadrants}", epochs=2, batch_size=48)
    train(recipe, output=tmp_path, device="cpu", reporter=Reporter())
    plain, calibrated = (
        evaluate(tmp_path, f"npz:{quadrants}", resolutions=(32, 16), calibrate=count, device="cpu") for count in (0, 1)
    )
    again = evaluate(tmp_path, f"npz:{quadrants}", resolutions=(16,), calibrate=1, device="cpu")
    assert plain[0].scores.loss != calibrated[0].scores.loss
    assert again[0].scores == calibrated[1].scores


def test_what_is_no_run_and_no_model_is_refused(tmp_path, quadrants):
    with pytest.raises(WeightsError, match=r"neither a run nor weights.*config\.json"):
        evaluate(tmp_path, f"npz:{quadrants}")
    (tmp_path / "recipe.json").touch()
    with pytest.raises(WeightsError, match="first epoch is not done"):
        evaluate(tmp_path, f"npz:{quadrants}")
    with pytest.raises(UnknownNameError, match="'hiresnet18'"):
        evaluate("hiresnet81", f"npz:{quadrants}")
