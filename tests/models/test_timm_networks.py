"""timm's registry knows the released weights: listed, created, fine-tuned and checked by timm's own functions."""

import argparse
import copy
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.optim import create_optimizer_v2, optimizer_kwargs
from timm.utils import CheckpointSaver

import curriculum_zoo.weights.released as released
from curriculum_zoo import create_model, list_weights
from curriculum_zoo.errors import WeightsError
from curriculum_zoo.evaluation import evaluate
from curriculum_zoo.evaluation.trained_network import load_trained_network
from curriculum_zoo.models.timm_networks import default_cfgs_of, load_released

NAMES = [weights.name for weights in list_weights()]


@pytest.mark.parametrize(
    "name", ["hiresnet20_cifar.cifar10", pytest.param("hiresnet18.tiny_imagenet", marks=pytest.mark.slow)]
)
def test_what_timms_train_script_calls_goes_from_released_weights_to_a_checkpoint_that_is_evaluated(name, tmp_path):
    """In the order and with the keywords of train.py --pretrained, for new classes."""
    for number in range(8):
        for part in ("train", "validation"):
            (tmp_path / part / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(np.full((40, 48, 3), 25 * number, dtype=np.uint8))
            picture.save(tmp_path / part / "ab"[number % 2] / f"{number}.png")
    args = argparse.Namespace(model=name, num_classes=2, img_size=None, input_size=None, opt="sgd", lr=0.01, gp=None,
                              weight_decay=0.0, momentum=0.9, opt_eps=None, opt_betas=None)  # fmt: skip
    model = timm.create_model(
        name, pretrained=True, in_chans=3, num_classes=2, drop_rate=0.0, drop_path_rate=None, drop_block_rate=None,
        global_pool=None, bn_momentum=None, bn_eps=None, scriptable=False, checkpoint_path="",
    )  # fmt: skip
    released = create_model(name, pretrained=True).state_dict()
    own = model.state_dict()
    changed = {key for key in own if own[key].shape != released[key].shape or not torch.equal(own[key], released[key])}
    assert changed == {"fc.weight", "fc.bias"}
    stated = resolve_data_config(vars(args), model=model)
    options = {key: stated[key] for key in ("input_size", "interpolation", "mean", "std")}
    folder = create_dataset("", root=str(tmp_path), split="train", is_training=True, batch_size=4)
    loader = create_loader(folder, batch_size=4, is_training=True, use_prefetcher=False, num_workers=0, **options)
    optimizer = create_optimizer_v2(model, **optimizer_kwargs(cfg=args))
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    saver = CheckpointSaver(model, optimizer, args=args, checkpoint_dir=str(tmp_path))
    saver.save_checkpoint(0, metric=50.0)
    trained = load_trained_network(tmp_path / "model_best.pth.tar", device="cpu")
    assert trained.input_size == tuple(stated["input_size"])
    with torch.no_grad():
        torch.testing.assert_close(trained.model(images), model.eval()(images))
    (evaluated,) = evaluate(tmp_path / "model_best.pth.tar", f"folder:{tmp_path}", device="cpu", workers=0)
    assert evaluated.scores.images == 8


def test_timm_lists_every_released_weight():
    assert timm.list_pretrained("hires*") == ["hiresnet18.tiny_imagenet", "hiresnet20_cifar.cifar10"]
    assert {name for name in NAMES if timm.is_model_pretrained(name)} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_timm_creates_them_with_the_same_outputs_and_the_same_preparation_of_images(name):
    theirs = timm.create_model(name, pretrained=True).eval()
    ours = create_model(name, pretrained=True).eval()
    images = torch.rand(2, *ours.pretrained_cfg["input_size"])
    assert torch.equal(theirs(images), ours(images))
    for larger in (False, True):  # validate.py asks for the larger size where a network states one
        stated = resolve_data_config(model=theirs, use_test_size=larger)
        assert stated == resolve_data_config(model=ours, use_test_size=larger)
        [stored] = [weights.open().cfg["input_size"] for weights in list_weights() if weights.name == name]
        assert list(stated["input_size"]) == list(stored)
    bare = timm.create_model(name.partition(".")[0], pretrained=True).eval()
    assert torch.equal(bare(images), ours(images))


def test_an_untagged_name_without_weights_keeps_the_architectures_own_classes():
    assert timm.create_model("hiresnet18").num_classes == 1000
    assert not timm.get_pretrained_cfg("hiresnet18").has_weights


def test_timm_adapts_them_to_other_classes_channels_and_features():
    model = timm.create_model("hiresnet18.tiny_imagenet", pretrained=True, num_classes=7, in_chans=1)
    whole = timm.create_model("hiresnet18.tiny_imagenet", pretrained=True)
    assert model.fc.weight.shape == (7, 512)
    torch.testing.assert_close(model.conv1.weight, whole.conv1.weight.sum(1, keepdim=True))
    assert torch.equal(model.layer4[-1].conv2.weight, whole.layer4[-1].conv2.weight)
    features = timm.create_model("hiresnet18.tiny_imagenet", pretrained=True, features_only=True).eval()
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(features(images)[-1], whole.eval().forward_features(images))


@pytest.mark.parametrize("name", ["hiresnet20_cifar", "airbench94", "simple_cnn"])
def test_features_alone_can_be_checkpointed(name):
    features = timm.create_model(name, features_only=True)
    features.set_grad_checkpointing()
    assert features.model.grad_checkpointing
    features.set_grad_checkpointing(False)
    assert not features.model.grad_checkpointing


@pytest.mark.parametrize("indices", [None, (1,), (0, 2)])
@pytest.mark.parametrize("name", ["hiresnet20_cifar", pytest.param("hiresnet18", marks=pytest.mark.slow)])
def test_gradients_of_features_are_the_same_where_they_are_computed_again(name, indices):
    torch.manual_seed(0)
    chosen = {} if indices is None else {"out_indices": indices}
    features = timm.create_model(name, features_only=True, **chosen).double().train()
    before, images = copy.deepcopy(features.state_dict()), torch.randn(2, 3, 48, 40).double()

    def gradients():
        features.load_state_dict(before)
        features.zero_grad()
        sum(level.square().mean() for level in features(images)).backward()
        return [parameter.grad.clone() for parameter in features.parameters()]

    plain = gradients()
    features.set_grad_checkpointing()
    for again, expected in zip(gradients(), plain, strict=True):
        torch.testing.assert_close(again, expected)


def test_damaged_weights_are_refused_by_their_sha256(tmp_path):
    (weights,) = list_weights("hiresnet20_cifar.cifar10")
    folder = tmp_path / weights.name
    shutil.copytree(weights.folder, folder)
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        load_released(timm.create_model("hiresnet20_cifar"), str(file))


def test_a_damaged_index_is_told_and_leaves_the_architectures(tmp_path, monkeypatch):
    (tmp_path / "index.json").write_text("[")
    monkeypatch.setattr(released, "cards_folder", lambda: tmp_path)
    with pytest.warns(RuntimeWarning, match="timm is not told of released weights"):
        cfgs = default_cfgs_of({"hiresnet18": {"num_classes": 3}})
    assert cfgs["hiresnet18"].cfgs[""].num_classes == 3
