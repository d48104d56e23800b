"""Addresses of weights: every text is a value or one typed error, and a repository is opened once for all who ask."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from curriculum_zoo import cli, create_model, load_preprocess
from curriculum_zoo.errors import CurriculumZooError, UnknownNameError, WeightsError
from curriculum_zoo.evaluation.trained_network import load_trained_network
from curriculum_zoo.recipes import Recipe
from curriculum_zoo.registry import MODELS, Entry
from curriculum_zoo.training import train
from curriculum_zoo.training.progress import Reporter
from curriculum_zoo.weights.address import Address

SCHEMES = ("", "hf-hub:", "local-dir:", "timm/", "./", "../", "/", "~/", "C:\\", "curriculum-zoo/")
PARTS = ("hiresnet18", "resnet20_cifar.cifar10", "owner/repo", "owner/repo@v1", "a@b@c", "..", ".", "plain.safetensors")


@given(st.one_of(st.text(), st.builds("{}{}{}".format, st.sampled_from(SCHEMES), st.sampled_from(PARTS), st.text())))
def test_every_text_is_an_address_or_one_typed_error_and_comes_back_from_its_own_text(text):
    try:
        address = Address.parse(text)
    except WeightsError:
        assert text.startswith("hf-hub:")
        return
    again = Address.parse(str(address))
    assert again == address
    assert str(again) == str(address)
    assert str(address) in (text, f"local-dir:{text}")


@given(st.text(max_size=40).filter(lambda text: not text.startswith("hf-hub:")))
def test_what_is_not_there_is_one_of_our_errors_whatever_the_text(text):
    with contextlib.suppress(CurriculumZooError):
        assert Address.parse(text).resolve().tensors()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hiresnet18", Address("name", "hiresnet18")),
        ("hiresnet18.tiny_imagenet", Address("name", "hiresnet18.tiny_imagenet")),
        ("curriculum-zoo/simple_cnn", Address("name", "curriculum-zoo/simple_cnn")),
        ("timm/resnet18.a1_in1k", Address("timm", "resnet18.a1_in1k")),
        ("hf-hub:owner/repo", Address("hub", "owner/repo")),
        ("hf-hub:owner/repo@v1", Address("hub", "owner/repo", "v1")),
        ("hf-hub:gpt2", Address("hub", "gpt2")),
        ("local-dir:runs/first/best", Address("folder", "runs/first/best")),
        ("plain.safetensors", Address("file", "plain.safetensors")),
        ("weights/plain.pth.tar", Address("file", "weights/plain.pth.tar")),
        ("./plain", Address("file", "./plain")),
        ("C:\\weights\\plain", Address("file", "C:\\weights\\plain")),
        ("nobody/nothing", Address("name", "nobody/nothing")),
        ("", Address("name", "")),
    ],
)
def test_addresses_of_every_kind_are_read_without_a_look_at_what_is_there(text, address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Address.parse(text) == address
    assert str(address) == text
    assert address.local == (address.kind in ("folder", "file"))


def test_a_registered_name_means_the_same_whatever_lies_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("simple_cnn", "simple_cnn.tag", "mine", "other"):
        Path(name).mkdir()
    Path("tensors").touch()
    assert Address.parse("simple_cnn").kind == "name"
    assert Address.parse("simple_cnn.tag").kind == "name"
    assert str(Address.parse("./simple_cnn")) == "local-dir:./simple_cnn"
    assert Address.parse(Path("simple_cnn")) == Address.parse(os.path.join(".", "simple_cnn"))
    assert str(Address.parse("mine")) == "local-dir:mine"
    assert Address.parse("tensors").kind == "file"
    plugged = Entry("model", "other", "some-plugin", "1", "some:plugged", lambda: None)
    monkeypatch.setattr(MODELS, "_session", {"other": plugged})
    assert Address.parse("other").kind == "name"
    assert Address.parse("some-plugin/other").kind == "name"


def test_a_names_entry_is_told_from_its_tag():
    entry, tag = Address.parse("curriculum-zoo/simple_cnn.some.tag").entry()
    assert (entry.name, tag) == ("simple_cnn", "some.tag")
    entry, tag = Address.parse("simple_cnn").entry()
    assert (entry.name, tag) == ("simple_cnn", "")
    with pytest.raises(UnknownNameError, match="simple_cmm"):
        Address.parse("simple_cmm.tag").entry()


# -- runs, folders and files --------------------------------------------------------------------------------------


def test_a_run_gives_its_best_weights_unless_others_are_asked_for(finished_run):
    address = Address.parse(finished_run)
    best, last = address.resolve(), address.resolve(which="last")
    assert best.name == f"local-dir:{finished_run / 'best'}"
    assert last.name == f"local-dir:{finished_run / 'last'}"
    for stored, which in ((best, "best"), (last, "last")):
        assert stored.recipe == json.loads((finished_run / "recipe.json").read_text())
        expected = load_file(finished_run / which / "model.safetensors")
        assert all(torch.equal(tensor, expected[name]) for name, tensor in stored.tensors().items())


def test_a_run_is_a_network_a_warm_start_and_a_preprocessing_by_its_folder_alone(finished_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished_run, "first")
    expected = load_file(finished_run / "best" / "model.safetensors")["fc1.weight"]
    options = {"num_classes": 4, "image_size": 16}
    for text in ("first", "local-dir:first"):
        assert torch.equal(create_model(text, pretrained=True).fc1.weight, expected)
        assert torch.equal(create_model("simple_cnn", warm_start=text, **options).fc1.weight, expected)
        assert load_preprocess(text).input_size == (3, 16, 16)


def test_a_file_of_tensors_starts_a_network_and_names_none(finished_run):
    path = finished_run / "best" / "model.safetensors"
    stored = Address.parse(str(path)).resolve()
    assert (stored.config, stored.classes, stored.stated_sha256) == ({}, (), None)
    assert stored.digest() == Address.parse(finished_run).resolve().digest()
    with pytest.raises(WeightsError, match=r"holds tensors and no config\.json.*warm_start"):
        create_model(str(path), pretrained=True)


def test_a_folder_that_holds_nothing_yet_says_what_it_lacks(tmp_path):
    with pytest.raises(WeightsError, match=r"holds neither a run nor weights: there is no recipe\.json"):
        Address.parse(tmp_path).resolve()
    (tmp_path / "recipe.json").touch()
    with pytest.raises(WeightsError, match="its first epoch is not done"):
        Address.parse(tmp_path).resolve()


@pytest.mark.parametrize("recipe", ["trd", ["trd"], {"seed": "3"}, {"validation": None}, {"data_seed": True}])
def test_a_recipe_that_is_none_is_refused(finished_run, tmp_path, recipe):
    shutil.copytree(finished_run / "best", tmp_path / "weights")
    config = json.loads((tmp_path / "weights" / "config.json").read_text())
    config["curriculum_zoo"]["recipe"] = recipe
    (tmp_path / "weights" / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="its recipe makes no sense"):
        load_trained_network(tmp_path / "weights", device="cpu")


# -- a repository is opened once ----------------------------------------------------------------------------------


@pytest.fixture
def published(hub, finished_run):
    """The weights of a run, as a repository."""
    return hub.put("ada/net", {path.name: path for path in (finished_run / "best").iterdir()})


def asked_for(hub):
    """The last part of every path that was asked for to learn what a revision points to, and those downloaded."""
    resolved = [(method, path) for method, path in hub.requests if "/resolve/" in path]
    return [[os.path.basename(path) for method, path in resolved if method == verb] for verb in ("HEAD", "GET")]


def run(published, quadrants, **settings):
    recipe = Recipe(model="simple_cnn", data=f"npz:{quadrants}", epochs=1, batch_size=96)
    return recipe.changed(settings)


def test_train_pretrained_opens_the_repository_once(hub, published, quadrants, tmp_path, capsys):
    flags = ["--data", f"npz:{quadrants}", "--epochs", "1", "--batch-size", "96", "--device", "cpu"]
    assert cli.main(["train", "--pretrained", "hf-hub:ada/net", *flags, "--output", str(tmp_path / "run")]) == 0
    assert asked_for(hub) == [["config.json", "model.safetensors"]] * 2
    assert Recipe.load(tmp_path / "run" / "recipe.json").model == f"hf-hub:ada/net@{published}"


@pytest.mark.parametrize("field", ["model", "warm_start"])
def test_a_recipe_that_names_a_branch_asks_once_where_it_points(hub, published, quadrants, tmp_path, field):
    settings = {"model": "hf-hub:ada/net", "pretrained": True} if field == "model" else {"warm_start": "hf-hub:ada/net"}
    result = train(run(published, quadrants, **settings), output=tmp_path / "run", device="cpu", reporter=Reporter())
    assert asked_for(hub) == [["config.json", "model.safetensors"]] * 2
    facts = json.loads((result.folder / "last" / "config.json").read_text())["curriculum_zoo"]
    assert facts["started_from"]["weights"] == f"hf-hub:ada/net@{published}"


def test_evaluation_opens_the_repository_once(hub, published, quadrants):
    trained = load_trained_network("hf-hub:ada/net", device="cpu")
    assert (trained.num_classes, trained.recipe["curriculum"]) == (4, "trd(variant=regular)")
    assert asked_for(hub) == [["config.json", "model.safetensors"]] * 2
