"""Ctrl-C and SIGTERM end a training with a checkpoint, from which it goes on to the same bits."""

import argparse
import os
import pickle
import signal
import subprocess
import sys
import threading

import pytest
import torch
from safetensors.torch import load_file

from curriculum_zoo.cli import arguments
from curriculum_zoo.errors import TrainingInterrupted
from curriculum_zoo.training import trainer
from curriculum_zoo.training.checkpoint_interval import CheckpointInterval
from curriculum_zoo.training.interruption import interruptible
from curriculum_zoo.training.progress import Reporter

SIGNALS = [signal.SIGINT] + ([signal.SIGTERM] if os.name == "posix" else [])


@pytest.fixture(autouse=True)
def usual_handlers():
    """Python's own handlers: test runners replace them."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield usual
    for number, handler in before.items():
        signal.signal(number, handler)


class Interrupts(Reporter):
    """Sends this process signals right after a step, the first of the run where none is given."""

    def __init__(self, *signals, at=(0, 1)):
        self._signals, self._moment = signals, at
        self._at = (0, 0)

    def start_epoch(self, epoch, stage, steps, step):
        self._at = epoch, step

    def step(self, images, seconds, figures):
        self._at = self._at[0], self._at[1] + 1
        if self._at == self._moment:
            for number in self._signals:
                signal.raise_signal(number)


def assert_same_weights(first, second):
    for which in ("last", "best"):
        one, other = (load_file(folder / which / "model.safetensors") for folder in (first, second))
        assert all(torch.equal(one[name], other[name]) for name in one)


def checkpoint(folder):
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    return state["epoch"], state["step"]


@pytest.mark.parametrize("moment", [(0, 1), (1, 4), (1, 6)], ids=["first step", "within an epoch", "last step"])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_writes_a_checkpoint_after_the_batch_and_the_run_goes_on_from_it(
    recipe, train, tmp_path, usual_handlers, number, moment
):
    with pytest.raises(TrainingInterrupted, match=f"by {signal.Signals(number).name} at epoch .*run") as raised:
        train(recipe(), reporter=Interrupts(number, at=moment))
    assert raised.value.signal == number
    assert isinstance(raised.value, KeyboardInterrupt)
    assert not isinstance(raised.value, Exception)
    assert checkpoint(tmp_path / "run") == moment
    assert {number: signal.getsignal(number) for number in usual_handlers} == usual_handlers
    train(recipe(), resume=True)
    train(recipe(), "whole")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")


def test_a_signal_in_an_evaluation_is_not_kept_waiting_for_its_end(recipe, train, tmp_path, monkeypatch):
    batches = []

    def collect(model, given, **how):
        given = iter(given)
        batches.append(next(given))
        signal.raise_signal(signal.SIGINT)
        assert next(given, None) is None
        return torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "collect", collect)
        with pytest.raises(TrainingInterrupted):
            train(recipe())
    assert len(batches) == 1
    assert checkpoint(tmp_path / "run") == (0, 6)
    train(recipe(), resume=True)
    train(recipe(), "whole")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")


def test_a_second_ctrl_c_leaves_at_once(recipe, train, tmp_path, usual_handlers):
    with pytest.raises(TrainingInterrupted, match="at once"):
        train(recipe(), reporter=Interrupts(signal.SIGINT, signal.SIGINT))
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
    assert signal.getsignal(signal.SIGINT) is usual_handlers[signal.SIGINT]


def test_a_second_sigterm_is_no_reason_to_leave_the_checkpoint_out(recipe, train, tmp_path):
    with pytest.raises(TrainingInterrupted):
        train(recipe(), reporter=Interrupts(signal.SIGTERM, signal.SIGTERM))
    assert checkpoint(tmp_path / "run") == (0, 1)


def test_signals_that_the_program_handles_or_ignores_are_left_to_it():
    seen = []
    signal.signal(signal.SIGTERM, lambda *_: seen.append("own"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruptible() as interruption:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert seen == ["own"]
    assert interruption.signal is None


def test_outside_the_main_thread_a_training_takes_no_signals(recipe, train, tmp_path, usual_handlers):
    handlers = []

    class Looks(Reporter):
        def step(self, images, seconds, figures):
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=train, args=(recipe(epochs=1),), kwargs={"reporter": Looks()})
    thread.start()
    thread.join()
    assert set(handlers) == {usual_handlers[signal.SIGINT]}
    assert (tmp_path / "run" / "results.json").exists()


def test_an_interruption_travels_between_processes():
    copied = pickle.loads(pickle.dumps(TrainingInterrupted("at step 3", 15)))
    assert (str(copied), copied.signal) == ("at step 3", 15)


def test_after_so_many_steps_a_checkpoint_is_written_whatever_the_time(recipe, train, tmp_path, monkeypatch):
    written = []
    save = trainer.RunFiles.write
    monkeypatch.setattr(
        trainer.RunFiles,
        "write",
        lambda self, state, metrics: [written.append((state["epoch"], state["step"])), save(self, state, metrics)],
    )
    train(recipe(), checkpoint_steps=4)
    # Two steps of the first epoch are left to its end, two more of the next make four.
    assert written == [(0, 4), (1, 2), (2, 0)]
    written.clear()
    train(recipe(), "by one", checkpoint_steps=6)
    assert written == [(1, 0), (2, 0)]


@pytest.mark.parametrize(
    ("interval", "seconds", "steps", "reached"),
    [
        (CheckpointInterval(60), 59.0, 10**9, False),
        (CheckpointInterval(60), 60.0, 0, True),
        (CheckpointInterval(60, 500), 0.0, 499, False),
        (CheckpointInterval(60, 500), 0.0, 500, True),
        (CheckpointInterval(0), 0.0, 0, True),
    ],
)
def test_a_checkpoint_is_due_by_time_or_by_steps(interval, seconds, steps, reached):
    assert interval.reached(seconds, steps) is reached


PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from curriculum_zoo.cli import main
from curriculum_zoo.training import engine, run_files
from curriculum_zoo.training.progress import Reporter

class Interrupts(Reporter):
    def step(self, images, seconds, figures):
        signal.raise_signal(getattr(signal, sys.argv[1]))

engine.make_reporter = lambda shown: Interrupts()
run_files.draw_curves = lambda *_, **__: None
raise SystemExit(main(sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.skipif(os.name != "posix", reason="there is no SIGTERM")
def test_the_command_ends_with_the_usual_code_and_the_command_that_resumes(recipe, tmp_path, name, code):
    recipe(epochs=1).save(tmp_path / "recipe.json")
    arguments = ["train", "--recipe", "recipe.json", "--output", "my run", "--device", "cpu", "--checkpoint-every", "9"]
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, name, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    assert f"interrupted by {name} at epoch 0, step 1" in ended.stderr
    assert ended.stderr.splitlines()[-1] == (
        "curriculum-zoo train --output 'my run' --resume --device cpu --checkpoint-every 9"
    )


@pytest.mark.parametrize(
    ("text", "keywords"),
    [
        ("500", {"checkpoint_steps": 500}),
        ("10min", {"checkpoint_minutes": 10}),
        ("30 s", {"checkpoint_minutes": 0.5}),
        ("1.5h", {"checkpoint_minutes": 90}),
    ],
)
def test_the_interval_is_read_as_steps_or_as_a_time(text, keywords):
    assert arguments.interval(text) == keywords


@pytest.mark.parametrize("text", ["0", "0min", "-5", "1.5", "10 minutes", "min", "", "nan", "1e3"])
def test_what_is_no_interval_is_refused_with_examples(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"as 500, or a time, as 10min"):
        arguments.interval(text)
