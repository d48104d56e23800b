"""Where a run goes that was given no folder."""

import re
from pathlib import Path

import pytest

from curriculum_zoo.errors import CheckpointError
from curriculum_zoo.recipes import Recipe
from curriculum_zoo.runs.folder import RunFolder


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ("cifar10", "cifar10"),
        ("npz:/somewhere/far/cifar.npz", "cifar"),
        ("npz:cifar.npz", "cifar"),
        ("folder:a/photographs", "photographs"),
        ("folder:photographs", "folder_photographs"),
        ("mnist_canvas:noisy", "mnist_canvas_noisy"),
        ("fashion_mnist_canvas:noisy,size=112", "fashion_mnist_canvas_noisy_size_112"),
    ],
)
def test_a_folders_name_tells_model_data_curriculum_and_seed(data, named):
    recipe = Recipe(model="timm/resnet18", data=data, curriculum="trd(variant=regular)", seed=3)
    assert RunFolder.of(recipe).path.as_posix() == f"runs/timm_resnet18-{named}-trd_variant_regular-3"


def named(**settings):
    return RunFolder.of(Recipe(**{"model": "simple_cnn", "data": "demo", **settings})).path


@pytest.mark.parametrize("argument", [".", "./", ""])
def test_a_run_on_the_folder_that_one_stands_in_is_called_after_it(argument, tmp_path, monkeypatch):
    (tmp_path / "photographs").mkdir()
    monkeypatch.chdir(tmp_path / "photographs")
    assert named(data=f"folder:{argument}").name == "simple_cnn-photographs-baseline-0"
    assert named(data="folder:..").name == f"simple_cnn-{re.sub(r'[^a-zA-Z0-9.]+', '_', tmp_path.name)}-baseline-0"


@pytest.mark.parametrize(
    "settings",
    [
        {"curriculum": "sequence(" + ", ".join(f"(trd(resolution={16 + n}), 0.02)" for n in range(41)) + ")"},
        {"data": "folder:deep/" + "a" * 250},
        {"data": "folder:deep/" + "\N{HIRAGANA LETTER A}" * 80},
        {"model": "local-dir:" + "m" * 240},
    ],
    ids=["41 phases", "long data", "data of three bytes a letter", "long weights"],
)
def test_a_long_name_is_cut_so_that_every_file_system_takes_it(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = named(seed=7, **settings)
    (path / "last").mkdir(parents=True)
    assert len(path.name.encode()) <= 120
    assert path.name.endswith("-7")
    changed = {key: value.replace("a" * 9, "b" * 9).replace("16", "17") for key, value in settings.items()}
    assert (named(seed=7, **changed) == path) is (changed == settings)
    assert named(seed=8, **settings) != path


@pytest.mark.parametrize(
    ("data", "output", "refused"),
    [
        ("folder:.", "runs/a", True),
        ("folder:.", ".", True),
        ("folder:.", "../a", False),
        ("folder:cats", "cats/runs/a", True),
        ("folder:cats", "./cats/../cats/a", True),
        ("folder:cats", "runs/a", False),
        ("folder:cats", "cats2/a", False),
        ("hf:cats", "cats/a", True),
        ("imagenet_folder:cats", "cats/a", True),
        ("npz:cats/a.npz", "cats/a", False),
        ("demo", "runs/a", False),
    ],
)
def test_a_run_does_not_write_into_its_own_data(data, output, refused, tmp_path, monkeypatch):
    (tmp_path / "here" / "cats").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    recipe = Recipe(model="simple_cnn", data=data)
    if refused:
        with pytest.raises(CheckpointError, match=r"lies within the data, .*here.*Choose an --output elsewhere"):
            RunFolder(Path(output)).check(recipe, resume=False)
    else:
        RunFolder(Path(output)).check(recipe, resume=False)
    assert sorted(path.name for path in (tmp_path / "here").rglob("*")) == ["cats"]


def test_data_in_another_place_are_left_to_their_fingerprint_and_others_are_refused(tmp_path):
    folder, before = RunFolder(tmp_path), Recipe(model="simple_cnn", data="folder:/old/cats")
    with folder.claimed(before, resume=False):
        pass
    folder.check(before.changed({"data": "folder:/new/cats"}), resume=True)
    for other in ("npz:/old/cats", "demo", "folder"):
        with pytest.raises(CheckpointError, match=r"differs in data \('folder:/old/cats' there"):
            folder.check(before.changed({"data": other}), resume=True)
