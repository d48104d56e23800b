"""A run goes on to another number of epochs where what was trained is what the new plan would have done."""

import json

import pytest
import torch
from safetensors.torch import load_file

from curriculum_zoo.cli import main
from curriculum_zoo.errors import CheckpointError
from curriculum_zoo.recipes import Recipe
from curriculum_zoo.training.plan import check_replanned
from curriculum_zoo.training.progress import Reporter

LEVEL = {"schedule.name": "constant", "schedule.warmup": 0.0}


class Killed(BaseException):
    """Stands for SIGKILL."""


class KilledAfter(Reporter):
    def __init__(self, epoch):
        self._epoch = epoch

    def end_epoch(self, line):
        if line["epoch"] == self._epoch:
            raise Killed


def assert_same_end(first, second):
    results = [json.loads((folder / "results.json").read_text()) for folder in (first, second)]
    assert [result | {"seconds": 0} for result in results[:1]] == [result | {"seconds": 0} for result in results[1:]]
    for which in ("last", "best"):
        one, other = (load_file(folder / which / "model.safetensors") for folder in (first, second))
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_finished_run_is_lengthened_to_what_it_would_have_been(recipe, train, tmp_path):
    train(recipe({**LEVEL, "epochs": 2, "ema_decay": 0.9}), "short")
    train(recipe({**LEVEL, "epochs": 4, "ema_decay": 0.9}), "short", resume=True)
    train(recipe({**LEVEL, "epochs": 4, "ema_decay": 0.9}), "whole")
    assert_same_end(tmp_path / "short", tmp_path / "whole")
    assert Recipe.load(tmp_path / "short" / "recipe.json").epochs == 4


def test_results_of_the_shorter_run_do_not_outlive_it(recipe, train, tmp_path):
    train(recipe({**LEVEL, "epochs": 1}))
    with pytest.raises(Killed):
        train(recipe({**LEVEL, "epochs": 3}), resume=True, reporter=KilledAfter(1))
    assert not (tmp_path / "run" / "results.json").exists()
    train(recipe({**LEVEL, "epochs": 3}), resume=True)
    train(recipe({**LEVEL, "epochs": 3}), "whole")
    assert_same_end(tmp_path / "run", tmp_path / "whole")


def test_a_schedule_over_the_whole_length_is_refused_and_the_run_is_as_it_was(recipe, train, tmp_path, capsys):
    train(recipe(), checkpoint_minutes=0)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.*") if path.suffix != ".lock"}
    command = ["train", "--output", str(tmp_path / "run"), "--device", "cpu", "--resume", "--epochs", "4"]
    assert main(command) == 2
    assert "the schedule 'onecycle' spans the whole length, so that the learning rates" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


STEPS = {"schedule.name": "step", "schedule.warmup": 0.0, "schedule.milestones": (0.5,)}


@pytest.mark.parametrize(
    ("settings", "epochs", "begun", "reason"),
    [
        (LEVEL, (4, 8), 4, None),
        (LEVEL, (4, 3), 3, None),
        (LEVEL, (4, 3), 4, "4 were begun already"),
        ({"schedule.name": "cosine"}, (4, 8), 0, None),
        ({"schedule.name": "cosine", "schedule.warmup": 0.0}, (4, 8), 1, "'cosine' spans the whole length"),
        ({"schedule.name": "constant", "schedule.warmup": 0.25}, (4, 8), 1, "learning rates of epoch 0"),
        (STEPS, (4, 8), 2, None),
        (STEPS, (4, 8), 3, "learning rates of epoch 2"),
        ({**LEVEL, "curriculum": "trd(variant=regular)"}, (8, 16), 4, None),
        (
            {**LEVEL, "curriculum": "trd(final=2)"},
            (8, 16),
            8,
            r"the curriculum 'trd\(final=2\)' plans stage .* epoch 6",
        ),
        ({**LEVEL, "curriculum": "hrt(edge_epochs=2)"}, (6, 9), 6, None),
        ({**LEVEL, "curriculum": "progressive_resizing"}, (8, 16), 6, "plans stage"),
    ],
)
def test_what_can_be_planned_for_another_length_and_what_not(recipe, settings, epochs, begun, reason):
    before, now = (recipe({**settings, "epochs": number}) for number in epochs)
    if reason is None:
        check_replanned(before, now, begun)
    else:
        with pytest.raises(
            CheckpointError, match=f"of {epochs[0]} epochs cannot go on as one of {epochs[1]}: .*{reason}"
        ):
            check_replanned(before, now, begun)
