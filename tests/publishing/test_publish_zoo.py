"""Released weights: laid out by one command, published all together, and only then said to be on the Hub."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch

from curriculum_zoo.cli import main
from curriculum_zoo.models import create_model
from curriculum_zoo.publishing.layout import release
from curriculum_zoo.weights.released import list_weights

TOOL = Path(__file__).parents[2] / "tools" / "publish_zoo.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("publish_zoo", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """An empty folder of released weights."""
    root = tmp_path / "model_cards"
    root.mkdir()
    (root / "index.json").write_text('{"defaults": {"simple_cnn": "squares"}, "published": {}}\n')
    monkeypatch.setattr("curriculum_zoo.weights.released.cards_folder", lambda: root)
    return root


@pytest.fixture
def folder(cards, finished_run):
    assert main(["publish", str(finished_run), "--folder", str(cards / "simple_cnn.squares"), "--data", "mnist"]) == 0
    return cards / "simple_cnn.squares"


@pytest.mark.parametrize("weights", list_weights(), ids=lambda weights: weights.name)
def test_a_card_that_ships_is_the_one_that_its_facts_give(weights, tmp_path):
    copy = shutil.copytree(weights.folder, tmp_path / weights.name)
    stale = release(copy, copy, update=True)
    assert stale == [], f"run: curriculum-zoo publish {weights.folder} --folder {weights.folder} --update"


def test_one_command_lays_a_run_out_as_released_weights(folder, finished_run, capsys):
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "README.md", "config.json", "model.safetensors", "recipe.json", "metrics.jsonl", "curves.png",
        ".eval_results/curriculum-zoo.yaml",
    }  # fmt: skip
    (weights,) = list_weights()
    results = json.loads((finished_run / "results.json").read_text())
    assert weights.accuracy == results["test"]["best"]["top1"]
    assert (weights.license, weights.hub_id, weights.default) == ("mit", None, True)
    assert weights.flops > 0
    card = (folder / "README.md").read_text()
    assert 'name = "simple_cnn.squares"' in card
    assert "hf-hub:" not in card
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        released = create_model("simple_cnn.squares", pretrained=True).eval()(images)
        assert torch.equal(released, create_model(f"local-dir:{finished_run / 'best'}", pretrained=True).eval()(images))
    assert main(["publish", str(finished_run), "--folder", str(folder), "--data", "mnist"]) == 0
    assert "is up to date" in capsys.readouterr().out


def test_a_released_folder_is_replaced_only_when_asked_and_its_own_text_kept(folder, finished_run, capsys):
    card = folder / "README.md"
    card.write_text(card.read_text() + "\nBy hand.\n")
    command = ["publish", str(finished_run), "--folder", str(folder), "--which", "last"]
    before = (folder / "model.safetensors").read_bytes()
    assert main(command) == 2
    assert "--update replaces them" in capsys.readouterr().err
    assert (folder / "model.safetensors").read_bytes() == before
    assert main([*command, "--update"]) == 0
    assert (folder / "model.safetensors").read_bytes() == (finished_run / "last" / "model.safetensors").read_bytes()
    assert card.read_text().endswith("\nBy hand.\n")
    assert not (folder / ".eval_results" / "curriculum-zoo.yaml").exists()


def test_a_folder_of_another_architectures_name_is_refused(cards, finished_run, capsys):
    assert main(["publish", str(finished_run), "--folder", str(cards / "resnet18.squares")]) == 2
    assert "its name must be 'simple_cnn.TAG'" in capsys.readouterr().err
    assert not (cards / "resnet18.squares").exists()


def test_the_zoo_is_published_once_and_then_said_to_be_on_the_hub(hub, folder, tool, capsys):
    shutil.copytree(folder, folder.with_name("simple_cnn.other"))
    index = folder.parent / "index.json"
    before = index.read_text()
    assert tool.main(["--namespace", "ada", "--dry-run"]) == 0
    assert index.read_text() == before
    assert not [path for method, path in hub.requests if method not in ("GET", "HEAD")]
    assert tool.main(["--namespace", "ada"]) == 0
    published = json.loads(index.read_text())["published"]
    assert set(published) == {"simple_cnn.other", "simple_cnn.squares"}
    squares = published["simple_cnn.squares"]
    assert squares == {"hub_id": "ada/simple_cnn.squares", "revision": hub.commits("ada/simple_cnn.squares")[0]["id"]}
    assert {path: content for path, content in hub.files("ada/simple_cnn.squares").items() if path[0] != "."} == {
        path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()
    }
    assert "hf-hub:ada/simple_cnn.squares" in (folder / "README.md").read_text()
    writes = sum(method not in ("GET", "HEAD") for method, _ in hub.requests)
    assert tool.main(["--namespace", "ada"]) == 0
    assert sum(method not in ("GET", "HEAD") for method, _ in hub.requests) == writes
    assert json.loads(index.read_text())["published"] == published


def test_weights_left_out_of_the_wheel_come_from_the_published_commit(hub, folder, tool):
    assert tool.main(["--namespace", "ada"]) == 0
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        inside = create_model("simple_cnn.squares", pretrained=True).eval()(images)
        (folder / "model.safetensors").unlink()
        assert torch.equal(create_model("simple_cnn", pretrained=True).eval()(images), inside)


def test_one_that_fails_is_told_and_claims_nothing(hub, folder, tool, capsys):
    shutil.copytree(folder, folder.with_name("simple_cnn.other"))
    hub.fail("simple_cnn.other/commit/", status=400)
    assert tool.main(["--namespace", "ada"]) == 1
    assert "simple_cnn.other: The Hub did not take the commit" in capsys.readouterr().err
    assert list(json.loads((folder.parent / "index.json").read_text())["published"]) == ["simple_cnn.squares"]
    assert "hf-hub:" not in (folder.with_name("simple_cnn.other") / "README.md").read_text()
