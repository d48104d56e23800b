"""The best epoch is one whose figures are numbers, and what is not finite is null in JSON."""

import dataclasses
import json
import math

import pytest

from curriculum_zoo.runs.record import RunRecord
from curriculum_zoo.training import trainer
from curriculum_zoo.training.result import best_epoch

NAN, INFINITE = math.nan, math.inf


def lines(*figures):
    return [{"validation_accuracy": accuracy, "validation_loss": loss} for accuracy, loss in figures]


@pytest.mark.parametrize(
    ("figures", "by", "best"),
    [
        ([(0.9, NAN), (0.2, 1.0), (0.3, 2.0)], "accuracy", 2),
        ([(0.9, NAN), (0.2, 1.0), (0.3, 2.0)], "loss", 1),
        ([(0.2, 1.0), (0.9, INFINITE)], "accuracy", 0),
        ([(0.2, 1.0), (0.9, NAN)], "loss", 0),
        ([(0.9, None), (0.1, 1.0)], "accuracy", 1),  # as it is read from a file
        ([(0.9, NAN), (0.9, NAN)], "accuracy", 1),
        ([(None, None), (None, None)], "accuracy", 1),
    ],
)
def test_an_epoch_without_a_finite_loss_is_never_the_best(figures, by, best):
    assert best_epoch(lines(*figures), by) == best


def not_json(constant):
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize("broken", [(0,), (0, 1, 2)], ids=["one epoch", "every epoch"])
def test_a_validation_that_is_no_number_is_null_in_all_files_and_told_where_every_epoch_is(
    recipe, train, tmp_path, monkeypatch, recwarn, broken
):
    measured = trainer.Trainer._score

    def score(self, network, batches):
        found = measured(self, network, batches)
        wrong = self.epoch in broken
        return dataclasses.replace(found, loss=NAN, calibration_error=NAN, top1=0.99) if wrong else found

    monkeypatch.setattr(trainer.Trainer, "_score", score)
    result = train(recipe(epochs=3), checkpoint_minutes=0)
    assert result.best_epoch in set(range(3)) - set(broken) or (len(broken) == 3 and result.best_epoch == 2)
    for path in (tmp_path / "run").rglob("*.json*"):
        for line in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
            json.loads(line, parse_constant=not_json)
    record = RunRecord.read(tmp_path / "run")
    assert [line["validation_loss"] is None for line in record.metrics] == [epoch in broken for epoch in range(3)]
    told = [str(warning.message) for warning in recwarn if "in no epoch the loss" in str(warning.message)]
    assert len(told) == (len(broken) == 3)
