"""A run's folder belongs to one process at a time."""

import json
import os
import signal
import subprocess
import sys

import pytest

from curriculum_zoo.errors import CheckpointError
from curriculum_zoo.runs.folder import RunFolder
from curriculum_zoo.runs.lock import HOLDER, LOCK, held

HOLD = """
import sys, time
from pathlib import Path
from curriculum_zoo.runs.lock import held

with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_that_another_process_holds_is_refused_and_the_holder_is_named(tmp_path, other):
    with (
        pytest.raises(CheckpointError, match=rf"in use by process {other.pid} on .*, since 20.*Wait for it"),
        held(tmp_path),
    ):
        pass


def test_a_process_that_is_killed_lets_go(tmp_path, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / HOLDER).exists()
    with held(tmp_path):
        assert json.loads((tmp_path / HOLDER).read_text())["process"] == os.getpid()


def test_a_folder_is_free_afterwards_also_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), held(tmp_path):
        raise ZeroDivisionError
    with held(tmp_path):
        pass
    assert os.listdir(tmp_path) == [LOCK]


@pytest.mark.parametrize("told", ["", "{", "[]", '{"process": 1}'])
def test_a_holder_that_is_not_readable_is_another_process(tmp_path, other, told):
    (tmp_path / HOLDER).write_text(told)
    with pytest.raises(CheckpointError, match="in use by another process"), held(tmp_path):
        pass


def test_a_run_that_trains_at_this_moment_is_neither_resumed_nor_written_to(recipe_of_a_run, tmp_path, other):
    before = (tmp_path / "recipe.json").read_bytes()
    with (
        pytest.raises(CheckpointError, match=f"in use by process {other.pid}"),
        RunFolder(tmp_path).claimed(recipe_of_a_run, resume=True),
    ):
        pass
    assert (tmp_path / "recipe.json").read_bytes() == before


@pytest.fixture
def recipe_of_a_run(tmp_path):
    from curriculum_zoo.recipes import Recipe

    recipe = Recipe(model="simple_cnn", data="demo")
    recipe.save(tmp_path / "recipe.json")
    return recipe


def test_of_two_that_start_a_run_the_one_that_comes_second_finds_it_claimed(recipe_of_a_run, tmp_path):
    """The folder is checked again once it is held: before, the other one may have written its recipe."""
    folder = RunFolder(tmp_path / "run")
    check, calls = RunFolder.check, []

    def overtaken(self, recipe, *, resume):
        check(self, recipe, resume=resume)
        calls.append(resume)
        if len(calls) == 1:
            folder.path.mkdir()
            recipe.save(folder.path / "recipe.json")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "check", overtaken)
        with pytest.raises(CheckpointError, match="holds a run already"), folder.claimed(recipe_of_a_run, resume=False):
            pass
