"""Trackers get the figures of the run's own log, with stage and cost."""

import json
import math

import pytest
from accelerate.tracking import GeneralTracker

from curriculum_zoo import Recipe, cli, train
from curriculum_zoo.errors import TrainingError
from curriculum_zoo.training.progress import Reporter


class Kept(GeneralTracker):
    """Keeps what it is handed."""

    name = "kept"
    requires_logging_directory = False

    def __init__(self):
        super().__init__()
        self.configuration, self.logged, self.finished = {}, [], False

    @property
    def tracker(self):
        return self.logged

    def start(self):
        pass

    def store_init_configuration(self, values):
        self.configuration = values

    def log(self, values, step=None, **options):
        self.logged.append((step, values))

    def finish(self):
        self.finished = True


@pytest.fixture
def recipe(quadrants):
    curriculum = "trd(variant=regular)"
    return Recipe(model="simple_cnn", data=f"npz:{quadrants}", curriculum=curriculum, epochs=2, batch_size=64)


def log_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_tracker_gets_every_epochs_figures_with_stage_and_cost(recipe, tmp_path):
    kept = Kept()
    result = train(recipe, output=tmp_path / "run", device="cpu", reporter=Reporter(), track=[kept])
    lines = log_of(tmp_path / "run")
    *epochs, (_, test) = kept.logged
    assert [step for step, _ in epochs] == [1, 2]
    for (_, figures), line in zip(epochs, lines, strict=True):
        assert figures["stage"] == line["stage"]
        assert figures["relative_flops"] == line["flops"] / line["full_flops"]
        expected = {name: value for name, value in line.items() if value is not None and name != "epoch"}
        assert {name: figures[name] for name in expected} == expected
    assert test == {f"test_accuracy_{which}": result.test[which].top1 for which in ("last", "best")}
    assert kept.configuration["model"] == "simple_cnn"
    assert kept.configuration["optimizer.momentum"] == 0.9
    assert kept.configuration["image_size"] == "null"
    assert kept.finished


def test_a_resumed_run_goes_on_at_its_epoch(recipe, tmp_path):
    class Stopping(Reporter):
        def end_epoch(self, line):
            raise KeyboardInterrupt

    before, after = Kept(), Kept()
    with pytest.raises(KeyboardInterrupt):
        train(recipe, output=tmp_path / "run", device="cpu", reporter=Stopping(), track=[before], checkpoint_minutes=0)
    assert before.finished
    train(recipe, output=tmp_path / "run", device="cpu", reporter=Reporter(), track=[after], resume=True)
    assert [step for step, _ in after.logged] == [2, None]


def test_an_unknown_or_missing_tracker_is_refused_before_anything_is_written(recipe, tmp_path, monkeypatch):
    with pytest.raises(TrainingError, match="Did you mean 'tensorboard'"):
        train(recipe, output=tmp_path / "run", device="cpu", track=["tensorbord"])
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    with pytest.raises(TrainingError, match="pip install tensorboard"):
        train(recipe, output=tmp_path / "run", device="cpu", track=["tensorboard"])
    assert not (tmp_path / "run").exists()


def test_tensorboard_reads_what_the_command_tracked(quadrants, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = tmp_path / "run"
    flags = ["--model", "simple_cnn", "--data", f"npz:{quadrants}", "--epochs", "2", "--batch-size", "64"]
    assert cli.main(["train", *flags, "--device", "cpu", "--output", str(run), "--track", "tensorboard"]) == 0
    events = reader.EventAccumulator(str(run / "curriculum-zoo"))
    events.Reload()
    lines = log_of(run)
    for name in ("validation_accuracy", "image_size", "flops", "seconds"):
        read = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in read] == [1, 2]
        assert all(math.isclose(value, line[name], rel_tol=1e-6) for (_, value), line in zip(read, lines, strict=True))
    assert [event.step for event in events.Tensors("stage/text_summary")] == [1, 2]
