"""Fine-tuning: what comes from the weights, what is new, and what the new run records of them."""

import io
import json
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from curriculum_zoo import create_model, finetune
from curriculum_zoo.cli import main
from curriculum_zoo.data.decoding.image_file import ImageReader
from curriculum_zoo.data.decoding.transforms import eval_transform, train_transform
from curriculum_zoo.errors import CheckpointError, RecipeError, UnknownNameError, WeightsError
from curriculum_zoo.evaluation import evaluate
from curriculum_zoo.recipes import Recipe, load_recipe
from curriculum_zoo.runs.folder import RunFolder
from curriculum_zoo.training import trainer
from curriculum_zoo.training.finetuning import finetuning_recipe
from curriculum_zoo.training.prepare import prepare
from curriculum_zoo.training.progress import Reporter
from curriculum_zoo.weights.folder import open_folder, save_folder, sha256_of

HEAD = {"fc2.weight", "fc2.bias"}


def weights(folder, which="last"):
    return load_file(folder / which / "model.safetensors")


@pytest.fixture
def other_classes(quadrants, tmp_path):
    """The same images under as many other classes, or fewer."""

    def make(names, *, size=16, channels=3):
        arrays = dict(np.load(quadrants))
        for part in ("train", "test"):
            images = np.repeat(np.repeat(arrays[f"x_{part}"], size // 16, 1), size // 16, 2)
            arrays[f"x_{part}"] = images[..., :channels]
            arrays[f"y_{part}"] = arrays[f"y_{part}"] % len(names)
        path = tmp_path / f"{'-'.join(names)}.npz"
        np.savez(path, **{**arrays, "classes": np.array(names)})
        return f"npz:{path}"

    return make


@pytest.fixture
def tune(tmp_path):
    """``tune(pretrained, data, epochs=…)``: fine-tune in silence, one epoch of 6 steps if nothing else is said."""

    def run(pretrained, data, folder="tuned", **settings):
        settings = {"epochs": 1, "batch_size": 48, **settings}
        return finetune(pretrained, data, output=tmp_path / folder, device="cpu", reporter=Reporter(), **settings)

    return run


# What comes from the weights --------------------------------------------------------------------------------------


def test_a_run_is_fine_tuned_to_other_classes_and_records_where_it_came_from(
    finished_run, other_classes, tune, tmp_path
):
    data = other_classes(("left", "right"), size=32)
    result = tune(finished_run, data, curriculum="freeze")
    before, after = open_folder(finished_run / "best").config, open_folder(result.folder / "best").config
    for key in ("mean", "std", "input_size"):
        assert after["pretrained_cfg"][key] == before["pretrained_cfg"][key], key
    assert (after["architecture"], after["label_names"]) == ("simple_cnn", ["left", "right"])
    assert (after["num_classes"], after["pretrained_cfg"]["num_classes"]) == (2, 2)
    facts = after["curriculum_zoo"]
    assert facts["distribution"] == "curriculum-zoo"
    sha256 = sha256_of(finished_run / "best" / "model.safetensors")
    assert facts["started_from"] == {"weights": None, "sha256": sha256}  # the place is this machine's alone
    recipe = RunFolder(result.folder).recipe()
    assert (recipe.model, recipe.pretrained) == (f"local-dir:{finished_run / 'best'}", True)
    assert recipe.start_sha256 == sha256
    assert (recipe.image_size, recipe.normalize) == (16, "model")
    old, new = weights(finished_run, "best"), weights(result.folder)
    assert {name for name in old if old[name].shape != new[name].shape} == HEAD
    assert all(torch.equal(old[name], new[name]) for name in old.keys() - HEAD)
    assert result.test["last"].top1 > 0.8
    [measured] = evaluate(result.folder, data, device="cpu")
    assert measured.scores.top1 == result.test["best"].top1


def test_the_head_is_kept_for_the_same_classes_and_new_for_as_many_others(finished_run, quadrants, other_classes):
    same = prepare(finetuning_recipe(finished_run, {"data": f"npz:{quadrants}"}), device="cpu")
    data = other_classes(("a", "b", "c", "d"))
    others = prepare(finetuning_recipe(finished_run, {"data": data}), device="cpu")
    fresh = prepare(Recipe(model="simple_cnn", data=data), device="cpu")
    old = weights(finished_run, "best")
    for name, tensor in old.items():
        assert torch.equal(same.network.state_dict()[name], tensor), name
        expected = fresh.network.state_dict() if name in HEAD else old
        assert torch.equal(others.network.state_dict()[name], expected[name]), name
    assert not torch.equal(fresh.network.state_dict()["fc2.weight"], old["fc2.weight"])


def test_gray_images_meet_the_average_of_the_weights_statistics(finished_run, other_classes):
    prepared = prepare(finetuning_recipe(finished_run, {"data": other_classes(("a", "b"), channels=1)}), device="cpu")
    cfg = open_folder(finished_run / "best").config["pretrained_cfg"]
    assert prepared.normalize.mean == pytest.approx((np.mean(cfg["mean"]),))
    assert prepared.normalize.std == pytest.approx((np.mean(cfg["std"]),))
    summed = weights(finished_run, "best")["conv1.weight"].sum(1, keepdim=True)
    torch.testing.assert_close(prepared.network.state_dict()["conv1.weight"], summed)


def test_weights_of_a_network_with_options_bring_them_along(tmp_path, other_classes, tune):
    options = {"side": "both", "sources": "all"}
    model = create_model("hiresnet20_cifar", num_classes=7, **options)
    config = {"architecture": "hiresnet20_cifar", "num_classes": 7, "model_args": options}
    cfg = {"input_size": [3, 16, 16], "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}
    save_folder(tmp_path / "start", model.state_dict(), {**config, "pretrained_cfg": cfg})
    result = tune(tmp_path / "start", other_classes(("a", "b")), **{"optimizer.lr": 1e-12})
    [measured] = evaluate(result.folder, other_classes(("a", "b")), device="cpu")
    assert measured.scores.top1 == result.test["best"].top1
    stored = open_folder(result.folder / "best")
    assert stored.config["model_args"] == options
    assert stored.config["curriculum_zoo"]["distribution"] == "curriculum-zoo"
    again = create_model(f"local-dir:{result.folder / 'best'}", pretrained=True)
    torch.testing.assert_close(again.state_dict()["conv1.weight"], model.state_dict()["conv1.weight"])


@pytest.mark.parametrize("mode", ["center", "border"])
def test_photographs_are_resized_and_cut_as_for_the_weights_and_the_new_ones_say_so(finished_run, tmp_path, mode):
    stored = open_folder(finished_run / "best")
    cfg = {**stored.config["pretrained_cfg"], "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": mode}
    save_folder(tmp_path / "start", stored.tensors(), {**stored.config, "pretrained_cfg": cfg})
    for number in range(20):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 24, 3), 10 * number, dtype=np.uint8)).save(path)
    settings = {"data": f"folder:{tmp_path / 'photos'}", "photos.resident": False, "batch_size": 4}
    prepared = prepare(finetuning_recipe(tmp_path / "start", settings), device="cpu", workers=0)
    new = prepared.config({})["pretrained_cfg"]
    kept = ("mean", "std", "interpolation", "crop_pct", "crop_mode", "input_size")
    assert {key: new[key] for key in kept} == {key: cfg[key] for key in kept}
    assert prepared.config({})["label_names"] == ["a", "b"]
    if mode == "border":
        with pytest.raises(RecipeError, match="normalize must be 'model'"):
            prepare(finetuning_recipe(tmp_path / "start", {**settings, "normalize": "data"}), device="cpu", workers=0)


def test_a_run_without_a_folder_is_named_after_the_run_that_it_starts_from(finished_run):
    recipe = finetuning_recipe(finished_run, {"data": "demo", "seed": 3})
    assert RunFolder.of(recipe).path.name == "finished_run-demo-baseline-3"


def test_recipes_keep_what_they_say_and_flags_come_last(finished_run):
    base = Recipe(model="hiresnet18", warm_start="x.pth", data="demo", image_size=24, epochs=3, curriculum="trd")
    made = finetuning_recipe(finished_run, {"epochs": 4, "optimizer.lr": 0.3}, base)
    assert (made.warm_start, made.pretrained, made.model) == (None, True, f"local-dir:{finished_run / 'best'}")
    assert (made.epochs, made.image_size, made.curriculum, made.optimizer.lr) == (4, 24, "trd", 0.3)
    assert finetuning_recipe(finished_run, {"image_size": None}, base).image_size is None
    usual = finetuning_recipe("timm/resnet18.a1_in1k", {"data": "demo"})
    assert (usual.model, usual.image_size, usual.start_sha256) == ("timm/resnet18.a1_in1k", 224, None)
    assert (usual.optimizer.layer_decay, usual.schedule.warmup) == (0.75, 0.1)


def test_released_weights_are_known_by_their_sum():
    recipe = finetuning_recipe("resnet20_cifar.cifar10", {"data": "demo"})
    assert (recipe.model, recipe.image_size) == ("resnet20_cifar.cifar10", 32)
    prepared = prepare(recipe, device="cpu")
    assert prepared.origin.facts["started_from"] == {"weights": recipe.model, "sha256": recipe.start_sha256}
    assert recipe.start_sha256 == prepared.origin.sha256 != None  # noqa: E711


def test_a_branch_on_the_hub_is_pinned_to_the_commit_that_it_points_to(finished_run, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--someone--net" / "snapshots" / commit
    shutil.copytree(finished_run / "best", snapshot)
    (tmp_path / "models--someone--net" / "refs").mkdir()
    (tmp_path / "models--someone--net" / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    recipe = finetuning_recipe("hf-hub:someone/net", {"data": "demo"})
    assert (recipe.model, recipe.image_size) == (f"hf-hub:someone/net@{commit}", 16)
    prepared = prepare(recipe.changed({"batch_size": 64}), device="cpu")
    assert prepared.origin.facts["started_from"] == {"weights": recipe.model, "sha256": recipe.start_sha256}
    assert (prepared.origin.architecture, prepared.origin.distribution) == ("simple_cnn", "curriculum-zoo")


# Parts that start anew --------------------------------------------------------------------------------------------


def test_reset_parts_are_those_of_a_fresh_network_and_no_others(finished_run, quadrants):
    settings = {"data": f"npz:{quadrants}", "seed": 5}
    state = prepare(
        finetuning_recipe(finished_run, {**settings, "reset": ["conv1"]}), device="cpu"
    ).network.state_dict()
    fresh = prepare(Recipe(model="simple_cnn", **settings), device="cpu").network.state_dict()
    for name, old in weights(finished_run, "best").items():
        assert torch.equal(state[name], fresh[name] if name.startswith("conv1.") else old), name


def test_a_reset_part_that_is_none_is_named(finished_run, quadrants):
    with pytest.raises(RecipeError, match=r"reset: 'conv9' names no parameter of SimpleCNN\. Did you mean"):
        prepare(finetuning_recipe(finished_run, {"data": f"npz:{quadrants}", "reset": ["conv9"]}), device="cpu")


# ImageNet weights, by a plain ResNet-18's file --------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain_resnet18(tmp_path_factory):
    """A file of a plain ResNet-18 of 1,000 classes, as one would get it from timm or torchvision."""
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=1000)
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            tensor.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("imagenet") / "resnet18.safetensors"
    save_file(model.state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("model", "name"),
    [("hiresnet18", "hrt-resnet18-caltech256"), ("timm/resnet18", "hrt-resnet18-caltech256-conv1_reset")],
)
def test_caltech_recipes_start_from_a_plain_file_in_place_of_imagenets_weights(
    plain_resnet18, other_classes, model, name
):
    recipe = load_recipe(name)
    assert recipe.warm_start == "timm/resnet18.a1_in1k"
    data = other_classes(tuple("abcdefghij"), size=32)
    recipe = recipe.changed({"model": model, "warm_start": str(plain_resnet18), "data": data, "image_size": 32})
    recipe = recipe.changed({"photos": {}})  # which are for images that are read from files in every epoch
    prepared = prepare(recipe, device="cpu")
    given, state = load_file(plain_resnet18), prepared.network.state_dict()
    anew = {"fc.weight", "fc.bias"} | ({"conv1.weight"} if recipe.reset else set())
    assert state["fc.weight"].shape == (10, 512)
    for name, tensor in given.items():
        assert (tensor.shape == state[name].shape and torch.equal(tensor, state[name])) == (name not in anew), name
    if recipe.reset:
        # Kaiming: a standard deviation of √(2 / (64 · 7 · 7)), not that of the file, which is the same, by other draws
        assert state["conv1.weight"].std() == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.02)
    assert prepared.origin.facts["started_from"]["sha256"] == sha256_of(plain_resnet18)


@pytest.mark.slow
def test_hrt_trains_a_hiresnet_from_a_plain_file_at_the_recipes_rates(plain_resnet18, quadrants, train):
    settings = {"model": "hiresnet18", "warm_start": str(plain_resnet18), "data": f"npz:{quadrants}", "epochs": 2}
    settings |= {"curriculum": "hrt(edge_epochs=1,edge_lr_scales=((conv1,10),(layer1,5)))", "image_size": None}
    settings |= {"photos": {}}
    result = train(load_recipe("hrt-resnet18-caltech256").changed({**settings, "batch_size": 96}))
    rates = [line["lr"] for line in result.metrics]
    # the head's, at the last of 3 steps of each epoch: a cosine from 1e-3 to 1e-5 itself
    expected = [1e-5 + (1e-3 - 1e-5) * (1 + np.cos(np.pi * (epoch + 2 / 3) / 2)) / 2 for epoch in range(2)]
    assert rates == pytest.approx(expected)
    given, best = load_file(plain_resnet18), weights(result.folder, "last")
    assert not torch.equal(given["layer4.0.conv1.weight"], best["layer4.0.conv1.weight"])
    assert best["layer4.1.output_sum.from0.bn.weight"].abs().max() > 0
    moved = {name: (given[f"{name}.weight"] - best[f"{name}.weight"]).abs().max().item() for name in ("conv1", "bn1")}
    assert 0 < max(moved.values()) < 5e-4


def test_caltech_recipes_see_in_training_what_evaluation_sees():
    photos = load_recipe("hrt-resnet18-caltech256").photos
    rows, columns = np.mgrid[:300, :400]
    pixels = np.stack([rows / 300, columns / 400, (rows + columns) / 700], -1) * 255
    pixels = pixels.astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    seen = [make(photos, 224)(ImageReader(file.getvalue(), "x"), 224, 5) for make in (train_transform, eval_transform)]
    assert np.array_equal(*seen)
    # Resized to 256 px and cut at the centre, by another road.
    resized = Image.fromarray(pixels).resize((341, 256), Image.Resampling.BILINEAR)
    cut = np.asarray(resized.crop((58, 16, 58 + 224, 16 + 224)), dtype=float)
    assert np.abs(cut - seen[0]).max() <= 2
    assert np.abs(np.asarray(resized.resize((224, 224)), dtype=float) - seen[0]).max() > 10


# What goes wrong --------------------------------------------------------------------------------------------------


def test_weights_that_are_not_those_of_the_recipe_are_refused(finished_run, quadrants):
    recipe = finetuning_recipe(finished_run, {"data": f"npz:{quadrants}"})
    with pytest.raises(WeightsError, match=r"is not what the recipe starts from: its SHA-256 is [0-9a-f]{64}, and"):
        prepare(recipe.changed({"start_sha256": "0" * 64}), device="cpu")
    with pytest.raises(RecipeError, match="start_sha256 must be 64 hexadecimal digits, got 'abc'"):
        recipe.changed({"start_sha256": "abc"})


@pytest.mark.parametrize(
    ("pretrained", "settings", "error", "message"),
    [
        ("resnet20_cifar", {"model": "hiresnet18"}, RecipeError, "model cannot be set beside them.* warm_start alone"),
        ("resnet20_cifar", {"warm_start": "x"}, RecipeError, "warm_start cannot be set"),
        ("resnet20_cifar", {"epochs": 3}, RecipeError, "data is missing"),
        ("resnet20_cifar.mnist", {"data": "demo"}, WeightsError, "'resnet20_cifar.cifar10'"),
        (".", {"data": "demo"}, WeightsError, "holds neither a run nor weights"),
        ("local-dir:nowhere", {"data": "demo"}, WeightsError, "nowhere"),
    ],
)
def test_a_start_that_is_none_is_refused(pretrained, settings, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        finetuning_recipe(pretrained, settings)


def test_a_name_that_is_no_network_is_refused(quadrants, tune):
    with pytest.raises(UnknownNameError, match="'resnet20_cifar'"):
        tune("resnet20_cifer", f"npz:{quadrants}")


# The command line, and resuming -----------------------------------------------------------------------------------


def test_the_command_line_fine_tunes_a_run_and_resumes_to_the_same_bits(
    finished_run, other_classes, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    data = other_classes(("left", "right"))
    flags = ["train", "--pretrained", str(finished_run), "--data", data, "--epochs", "2", "--device", "cpu"]
    flags += ["--layer-decay", "0.5", "--set", 'reset=["conv2"]', "--curriculum", "fixres(tuned_epochs=1)"]
    assert main([*flags, "--output", "whole"]) == 0
    assert "test accuracy" in capsys.readouterr().out
    assert RunFolder(tmp_path / "whole").recipe().optimizer.layer_decay == 0.5

    class Killed(BaseException):
        pass

    monkeypatch.setattr(trainer, "WRITING_SECONDS", 0.0)

    class KilledInTheSecondEpoch(Reporter):
        def step(self, images, seconds, figures):
            if images == 96 and (tmp_path / "killed" / "last").exists():
                raise Killed

    settings = json.loads((tmp_path / "whole" / "recipe.json").read_text())
    settings = {key: settings[key] for key in ("data", "epochs", "reset", "curriculum", "optimizer")}
    start = {"output": tmp_path / "killed", "device": "cpu", "reporter": KilledInTheSecondEpoch()}
    with pytest.raises(Killed):
        finetune(finished_run, settings.pop("data"), **start, **settings)
    assert main(["train", "--resume", "--output", "killed", "--device", "cpu"]) == 0
    whole, killed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    with pytest.raises(CheckpointError, match="holds a run already"):
        finetune(finished_run, data, **start)


def test_the_command_line_refuses_a_second_network(finished_run, capsys):
    assert main(["train", "--pretrained", str(finished_run), "--model", "hiresnet18", "--data", "demo"]) == 2
    assert "model cannot be set beside them" in capsys.readouterr().err
