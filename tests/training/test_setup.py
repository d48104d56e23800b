"""What does not fit together is refused before training starts, by one error that names it."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from curriculum_zoo.errors import (
    CurriculumError,
    DataError,
    ModelError,
    RecipeError,
    TrainingError,
    UnknownNameError,
)
from curriculum_zoo.recipes import Optimizer, Recipe
from curriculum_zoo.registry import register_model
from curriculum_zoo.training.optimizers import make_optimizer
from curriculum_zoo.training.prepare import prepare


@pytest.mark.parametrize(
    ("settings", "error", "named"),
    [
        ({"model": "resnet20_cifer"}, UnknownNameError, "'resnet20_cifar'"),
        ({"model": "timm/resnet81"}, UnknownNameError, "'timm/resnet18'"),
        ({"data": "cifar11"}, UnknownNameError, "'cifar10'"),
        ({"curriculum": "tdr"}, UnknownNameError, "'trd'"),
        ({"curriculum": "trd(participation=1.5)"}, CurriculumError, "participation must be at most 1"),
        ({"curriculum": "trd(participation=0.5"}, CurriculumError, "expected ',' before the end"),
        ({"curriculum": "hrt", "epochs": 3}, CurriculumError, "epochs must be at least 5"),
        ({"curriculum": "trd(resolution=24,variant=regular)"}, CurriculumError, "24 px, and the images have 16 px"),
        ({"curriculum": "hrt(edge_epochs=1,freeze=layer7)"}, CurriculumError, "layer7"),
        ({"curriculum": "trd(scale_batch=true,variant=regular)", "batch_size": 96}, DataError, "one batch of 384"),
        ({"optimizer.name": "adamv"}, RecipeError, "'adamw'"),
        ({"optimizer.options": {"epsilon": 1}}, RecipeError, "optimizer.options .*epsilon"),
        ({"optimizer.name": "fusedadam"}, RecipeError, "'fusedadam' cannot be had here"),
        ({"optimizer.name": "adahessian"}, RecipeError, "'adahessian' needs second derivatives"),
        ({"batch_size": 1000}, RecipeError, "batch_size 1000 exceeds the 288"),
        ({"augmentation.cutout": 17}, RecipeError, "cutout must be at most .* 16"),
        ({"augmentation.crop_padding": 16}, RecipeError, "crop_padding must be below"),
        ({"precision": "fp16"}, TrainingError, "fp16 needs a GPU"),
        ({"model_options": {"widht": 3}}, ModelError, "widht"),
        ({"image_size": 3}, ModelError, "4 px"),
        ({"model": "timm/test_convnext", "image_size": 4}, ModelError, "ConvNeXt cannot train on images of 4x4 px"),
        ({"model": "timm/test_vit", "curriculum": "trd(variant=regular)"}, ModelError, "8x8 px .* stage '50 %'"),
        ({"pretrained": True}, Exception, "No released weights"),
        ({"validation": 0.999}, DataError, "validation"),
    ],
)
def test_a_recipe_that_does_not_fit_together_is_refused(recipe, settings, error, named):
    with pytest.raises(error, match=named):
        prepare(recipe(settings), device="cpu")


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99", "tpu:x"])
def test_an_unknown_device_is_refused(recipe, device):
    with pytest.raises(TrainingError, match=f"no device '{device}' here: .* best there is"):
        prepare(recipe(), device=device)


def test_oblong_images_are_refused_with_the_remedy_which_helps(recipe, tmp_path):
    images, labels = np.zeros((40, 12, 20, 3), dtype=np.uint8), np.arange(40) % 4
    np.savez(tmp_path / "oblong.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    wanted = recipe(data=f"npz:{tmp_path / 'oblong.npz'}", batch_size=8)
    with pytest.raises(RecipeError, match=r"12x20 px\. Set image_size"):
        prepare(wanted, device="cpu")
    assert prepare(wanted.changed({"image_size": 12}), device="cpu").image_size == 12


@pytest.mark.usefixtures("clean_registry")
@pytest.mark.parametrize(
    ("layers", "named"),
    [
        ([nn.Flatten(), nn.ReLU()], "no parameters"),
        ([nn.Flatten(), nn.Linear(768, 3)], r"\[2, 3\] .*expected \[2, 4\]"),
        ([nn.Flatten(), nn.Linear(768, 1)], r"Sequential"),
        ([nn.Flatten(), nn.Linear(500, 4)], r"Sequential cannot train on images of 16x16 px with 3 channels"),
        ([nn.LSTM(16, 4)], "LSTM|Sequential"),
    ],
)
def test_a_network_that_does_not_classify_such_images_is_refused(recipe, layers, named):
    @register_model
    def odd_net(pretrained=False, num_classes=10):
        return nn.Sequential(*layers)

    with pytest.raises(ModelError, match=named):
        prepare(recipe(model="odd_net"), device="cpu")


def test_trying_the_stages_leaves_network_and_generator_as_they_were(recipe):
    wanted = recipe(model="timm/test_resnet", curriculum="trd(variant=regular)", model_options={"drop_rate": 0.5})
    first, state = prepare(wanted, device="cpu"), torch.random.get_rng_state()
    torch.rand(3)
    again = prepare(wanted, device="cpu")
    assert torch.equal(torch.random.get_rng_state(), state)
    for (name, tensor), other in zip(
        first.network.state_dict().items(), again.network.state_dict().values(), strict=True
    ):
        assert torch.equal(tensor, other), name
    assert all(int(count) == 0 for name, count in first.network.state_dict().items() if name.endswith("tracked"))


def test_parts_of_the_training_images_are_disjoint_and_whole(recipe):
    prepared = prepare(recipe(validation=0.25), device="cpu")
    train, validation = set(prepared.train_indices.tolist()), set(prepared.validation_indices.tolist())
    assert (len(train), len(validation)) == (240, 80)
    assert train | validation == set(range(320))


def held_out(recipe):
    """Names of the test images, and numbers of the validation images."""
    prepared = prepare(recipe, device="cpu", workers=0)
    images = prepared.data_set.images
    return [images.name(index) for index in prepared.data_set.test_indices], prepared.validation_indices.tolist()


def test_what_is_held_out_does_not_depend_on_the_training_seed(recipe, photographs):
    settings = {"data": f"folder:{photographs}", "image_size": 16, "photos.resident": False, "batch_size": 8}
    wanted = recipe({**settings, "validation": 0.25})
    first, other_weights = held_out(wanted), held_out(wanted.changed({"seed": 5}))
    other_cut = held_out(wanted.changed({"data_seed": 5}))
    assert first == other_weights
    assert first[0] != other_cut[0]
    assert first[1] != other_cut[1]


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw", "lamb", "lion", "muon", "nadamw"])
def test_optimizers_of_timms_take_a_step(name):
    network = nn.Linear(4, 4)
    before = network.weight.detach().clone()
    optimizer = make_optimizer(network, Optimizer(name=name, lr=0.1))
    network(torch.ones(2, 4)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(network.weight, before)
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    assert sorted(set(decays)) == [0.0, 5e-4]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"num_classes": 5}, "'num_classes', which is said by data, whose classes are counted"),
        ({"in_chans": 1}, "'in_chans', which is said by data"),
        ({"image_size": 8}, "'image_size', which is said by image_size"),
        ({"img_size": 8}, "'img_size', which is said by image_size"),
        ({"pretrained": True}, "'pretrained', which is said by pretrained"),
        ({"name": "simple_cnn"}, "'name', which is said by model"),
        ({"warm_start": "simple_cnn"}, "'warm_start', which is said by warm_start"),
        ({"device": "cpu"}, "'device', which is said by the device"),
        ({"dtype": "float16"}, "'dtype', which is said by precision"),
        ({"features_only": True}, "'features_only', which is said by nothing"),
        ({"out_indices": [1]}, "'out_indices', which is said by nothing"),
        ({"feature_cls": "x"}, "'feature_cls', which is said by nothing"),
    ],
)
def test_options_that_clash_with_what_a_recipe_says_elsewhere_are_refused_by_name(recipe, options, named):
    with pytest.raises(RecipeError, match=rf"model_options has {re.escape(named)}.*Leave it out there"):
        prepare(recipe().changed({"model_options": options}), device="cpu")


@pytest.mark.parametrize("model", ["simple_cnn", "hiresnet20_cifar", "timm/resnet10t"])
@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("side", [1_000_000, 60_000])
def test_images_of_which_no_batch_fits_memory_are_refused_before_a_network_is_built(
    photographs, model, resident, side, monkeypatch
):
    for module in ("data.memory", "data.sets.photos"):
        monkeypatch.setattr(f"curriculum_zoo.{module}.available_memory", lambda: 10**10)
    wanted = Recipe(model=model, data=f"folder:{photographs}", epochs=1, batch_size=8, image_size=side)
    with pytest.raises(
        DataError, match=rf"images of {side} . {side} p.* of memory; 10\.00 GB are available\. .*image_size"
    ):
        prepare(wanted.changed({"photos.resident": resident}), device="cpu")
