"""Checkpoints that other people's scripts write: what is read of them, and what is said of those that are not."""

import argparse
import collections
import pickle
import warnings

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from timm.utils import CheckpointSaver, ModelEmaV3
from torch import nn

from curriculum_zoo import create_model
from curriculum_zoo.errors import WeightsError, WeightsWarning
from curriculum_zoo.evaluation.trained_network import load_trained_network
from curriculum_zoo.training.finetuning import finetuning_recipe
from curriculum_zoo.weights.address import Address

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def randomized(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.1 + 0.1 * (tensor.ndim == 1))
    return model.eval()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return randomized(timm.create_model("test_resnet", num_classes=5))


def options(**given) -> argparse.Namespace:
    """Those of timm's train.py that say something of the network and its images."""
    usual = {"model": "test_resnet", "num_classes": None, "in_chans": None, "img_size": 96, "input_size": None,
             "mean": [0.1, 0.2, 0.3], "std": None, "interpolation": "", "crop_pct": 0.9, "gp": None, "model_kwargs": {},
             "opt_betas": (0.9, 0.99), "lr": 0.1}  # fmt: skip
    return argparse.Namespace(**{**usual, **given})


def timms(folder, network, ema=None, **given):
    """A checkpoint by the class that timm's train.py writes its checkpoints with."""
    optimizer = torch.optim.AdamW(network.parameters())
    saver = CheckpointSaver(network, optimizer, options(**given), model_ema=ema, checkpoint_dir=str(folder),
                            recovery_dir=str(folder))  # fmt: skip
    saver.save_checkpoint(3, metric=np.float64(71.5))
    return folder / "last.pth.tar"


def same(model: nn.Module, other: nn.Module, atol: float = 1e-5) -> bool:
    with torch.no_grad():
        return torch.allclose(model.eval()(IMAGES), other.eval()(IMAGES), atol=atol)


# timm's training script -------------------------------------------------------------------------------------------


def test_a_checkpoint_of_timms_train_starts_warm_and_tells_its_network(network, tmp_path):
    path = timms(tmp_path, network)
    assert same(create_model("timm/test_resnet", num_classes=5, warm_start=str(path)), network)
    assert same(create_model(str(path), pretrained=True), network)
    stored = Address.parse(path).resolve()
    assert (stored.architecture, stored.config["num_classes"]) == ("test_resnet", 5)
    assert stored.cfg["input_size"] == [3, 96, 96]


def test_a_checkpoint_of_timms_train_is_evaluated_as_its_options_say(network, tmp_path):
    trained = load_trained_network(timms(tmp_path, network), device="cpu")
    assert same(trained.model, network)
    assert (trained.num_classes, trained.input_size, trained.crop_pct) == (5, (3, 96, 96), 0.9)
    usual = timm.get_pretrained_cfg("test_resnet")
    mean = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)
    std = torch.tensor(usual.std).view(1, 3, 1, 1)
    torch.testing.assert_close(trained.normalize(IMAGES), (IMAGES - mean) / std)
    assert trained.interpolation == usual.interpolation


def test_a_checkpoint_of_timms_train_is_what_pretrained_takes(network, tmp_path):
    path = timms(tmp_path, network)
    recipe = finetuning_recipe(path, {"data": "folder:photographs"})
    assert (recipe.model, recipe.pretrained, recipe.image_size) == (str(path), True, 96)


def test_averaged_weights_are_taken_before_the_last_ones_and_told(network, tmp_path):
    averaged = ModelEmaV3(network)
    randomized(averaged.module, seed=1)
    path = timms(tmp_path, network, averaged)
    with pytest.warns(WeightsWarning, match=r"averaged weights \(state_dict_ema\).*\(state_dict\): the averaged"):
        model = create_model("timm/test_resnet", num_classes=5, warm_start=str(path))
    assert same(model, averaged.module)
    assert not same(model, network)


def test_options_of_another_script_say_nothing_of_the_network(network, tmp_path):
    state = network.state_dict()
    for number, beside in enumerate([{"arch": "no_such_net", "args": options()}, {"arch": "test_resnet"},
                                     {"arch": "test_resnet", "args": options(img_size="large")}]):  # fmt: skip
        path = tmp_path / f"{number}.pth"
        torch.save({"state_dict": state, **beside}, path)
        with pytest.raises(WeightsError, match=r"does not say what network.*as its warm_start"):
            create_model(str(path), pretrained=True)
        assert same(create_model("timm/test_resnet", num_classes=5, warm_start=str(path)), network)
    torch.save({"state_dict": state, "arch": "test_resnet", "args": options(mean=[0.5, 0.5, 0.5], std=[0, 1, 1])}, path)
    with pytest.raises(WeightsError, match=r"std is .*expected numbers above 0"):
        create_model(str(path), pretrained=True)


@pytest.mark.parametrize("safe", [True, False, "both"])
def test_folders_of_timms_save_for_hf_are_read(network, tmp_path, safe):
    save_for_hf(network, str(tmp_path), safe_serialization=safe)
    assert same(create_model(f"local-dir:{tmp_path}", pretrained=True), network)


# Wrappings --------------------------------------------------------------------------------------------------------


def under(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


WRAPPINGS = {
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": s, "optimizer": {"state": {}}},
    "model_state_dict": lambda s: {"model_state_dict": s, "loss": np.float32(0.5), "best": np.int64(3)},
    "nested": lambda s: {"model": {"state_dict": s}},
    "no average": lambda s: {"state_dict": s, "state_dict_ema": None},
    **{prefix: (lambda s, prefix=prefix: under(prefix, s))
       for prefix in ("module.", "_orig_mod.", "model.", "net.", "backbone.", "encoder.", "network.",
                      "module._orig_mod.", "_orig_mod.module.", "model.module.backbone.")},
    "averaged": lambda s: {"n_averaged": torch.tensor(3), **under("module.", s)},
    "Lightning": lambda s: {"state_dict": under("network.", s), "pytorch-lightning_version": "2.6", "epoch": 1,
                            "hyper_parameters": {"lr": 0.1}, "loops": {}, "optimizer_states": [], "callbacks": {}},
    "arguments": lambda s: {"model": s, "args": argparse.Namespace(lr=0.1)},
}  # fmt: skip


@pytest.mark.parametrize("kind", WRAPPINGS)
def test_the_network_is_found_in_whatever_wraps_it(network, tmp_path, kind):
    torch.save(WRAPPINGS[kind](network.state_dict()), tmp_path / "file.ckpt")
    with warnings.catch_warnings():
        warnings.simplefilter("error", WeightsWarning)
        model = create_model("timm/test_resnet", num_classes=5, warm_start=str(tmp_path / "file.ckpt"))
    assert same(model, network)


def test_safetensors_of_a_wrapped_network_load_too(network, tmp_path):
    save_file(under("model.", network.state_dict()), tmp_path / "file.safetensors")
    model = create_model("timm/test_resnet", num_classes=5, warm_start=str(tmp_path / "file.safetensors"))
    assert same(model, network)


def test_a_hierarchical_network_starts_from_its_wrapped_twin(tmp_path):
    twin = randomized(timm.create_model("resnet18", num_classes=5))
    torch.save(under("backbone.", twin.state_dict()), tmp_path / "file.pth")
    assert same(create_model("hiresnet18", num_classes=5, warm_start=str(tmp_path / "file.pth")), twin, atol=1e-4)


def test_what_stands_beside_the_network_is_left_out_and_told(network, tmp_path):
    state = {**under("network.", network.state_dict()), "criterion.weight": torch.ones(5)}
    torch.save({"state_dict": state}, tmp_path / "file.ckpt")
    with pytest.warns(WeightsWarning, match="network under 'network' is taken; left out is criterion"):
        model = create_model("timm/test_resnet", num_classes=5, warm_start=str(tmp_path / "file.ckpt"))
    assert same(model, network)


def test_a_backbone_without_a_head_leaves_the_networks_own_one_and_tells(network, tmp_path):
    state = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("fc.")}
    torch.save({**under("backbone.", state), "head.weight": torch.ones(5, 8)}, tmp_path / "file.pth")
    with pytest.warns(WeightsWarning) as told:
        model = create_model("timm/test_resnet", num_classes=5, warm_start=str(tmp_path / "file.pth"))
    said = [str(warning.message) for warning in told]
    assert any("left out is head" in text for text in said)
    assert any("has no classifier: the network's own is a new one" in text for text in said)
    loaded = model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items() if tensor.is_floating_point())


def test_two_networks_in_one_file_are_refused_by_their_places(network, tmp_path):
    state = network.state_dict()
    torch.save({**under("student.", state), **under("teacher.", state)}, tmp_path / "file.pth")
    with pytest.raises(WeightsError, match=r"more than once, under 'student' and 'teacher'"):
        create_model("timm/test_resnet", num_classes=5, warm_start=str(tmp_path / "file.pth"))


# Refused ----------------------------------------------------------------------------------------------------------


class Trap:
    """Code that runs as it is unpickled."""

    def __reduce__(self):
        return (print, ("this must not run",))


@pytest.mark.parametrize(
    ("content", "named", "remedy"),
    [
        ({"state_dict": {}, "trap": Trap()}, r"builtin.*print", r"save_file\(model\.state_dict\(\)"),
        ({"args": collections.Counter(a=1), "model": nn.Linear(2, 2)}, r"torch\.nn.*Linear", "build the network"),
        (nn.Linear(2, 2), r"torch\.nn.*Linear", "build the network"),
        ({"x": np.array([object()])}, r"numpy.*reconstruct", "save the tensors alone"),
    ],
)
def test_objects_that_are_code_are_refused_with_their_names_and_no_advice_to_run_them(tmp_path, content, named, remedy):
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(WeightsError, match=rf"holds .*{named}.*only code could make.*{remedy}") as refused:
        create_model("simple_cnn", warm_start=str(tmp_path / "file.pth"))
    told = f"{refused.value} {refused.value.__cause__}"
    assert not any(word in told for word in ("weights_only", "add_safe_globals", "arbitrary code"))


def test_lightnings_own_containers_get_lightnings_remedy(tmp_path):
    data = pytest.importorskip("lightning.fabric.utilities.data")
    torch.save({"state_dict": {}, "hyper_parameters": data.AttributeDict(lr=1)}, tmp_path / "file.ckpt")
    with pytest.raises(WeightsError, match=r"lightning\.fabric.*YourModule\.load_from_checkpoint\(file\)"):
        create_model("simple_cnn", warm_start=str(tmp_path / "file.ckpt"))


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps([1, 2]), b"PK\x03\x04" + b"\0" * 40])
def test_files_of_other_bytes_are_told_as_damaged_without_torchs_advice(tmp_path, content):
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"file\.pth is damaged, or no state dict of torch\.save") as refused:
        create_model("simple_cnn", warm_start=str(tmp_path / "file.pth"))
    assert "weights_only" not in str(refused.value)


def test_reading_leaves_torchs_list_of_safe_classes_as_it_was(network, tmp_path):
    before = torch.serialization.get_safe_globals()
    create_model("timm/test_resnet", num_classes=5, warm_start=str(timms(tmp_path, network)))
    assert torch.serialization.get_safe_globals() == before
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "last.pth.tar", weights_only=True)


def test_lightnings_own_checkpoints_are_read(network, tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")

    class Classifier(lightning.LightningModule):
        def __init__(self, width: int = 3) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.network = network

    trainer = lightning.Trainer(logger=False, enable_progress_bar=False, accelerator="cpu", default_root_dir=tmp_path)
    trainer.strategy.connect(Classifier())
    trainer.save_checkpoint(tmp_path / "file.ckpt")
    assert same(create_model("timm/test_resnet", num_classes=5, warm_start=str(tmp_path / "file.ckpt")), network)


def test_loading_by_the_remedy_works(network, tmp_path):
    save_file(network.state_dict(), tmp_path / "file.safetensors")
    assert load_file(tmp_path / "file.safetensors").keys() == network.state_dict().keys()
    assert same(create_model("timm/test_resnet", num_classes=5, warm_start=str(tmp_path / "file.safetensors")), network)
