"""What a person sees of a run: a bar on a terminal, plain lines elsewhere."""

import io
import sys
from pathlib import Path

import pytest

from curriculum_zoo.curricula import Stage
from curriculum_zoo.evaluation.metrics import Scores
from curriculum_zoo.recipes import Recipe
from curriculum_zoo.training.progress import Bar, Lines, Reporter, make_reporter

LINE = {
    "epoch": 1,
    "stage": "edges",
    "image_size": 16,
    "train_loss": 1.25,
    "train_accuracy": 0.5,
    "validation_loss": 1.5,
    "validation_accuracy": 0.4,
    "images_per_second": 12345.6,
    "seconds": 60.0,
}


class Screen(io.StringIO):
    """A terminal that remembers."""

    def isatty(self):
        return True


def tell(reporter):
    """A run of 4 epochs, resumed at its second one."""
    reporter.start(Recipe(model="simple_cnn", data="demo", epochs=4, calibrate_batchnorm=3), Path("runs/x"), 1)
    reporter.start_epoch(1, Stage(name="edges"), 3, 1)
    for step in (2, 3):
        reporter.step(32 * step, 0.5 * step, lambda: (1.5, 0.25))
    reporter.end_epoch(LINE)
    scores = Scores(images=10, top1=0.75, top5=None, loss=1.0, calibration_error=0.1, per_class=())
    reporter.finish({"last": scores, "best": scores}, 0.625, 75.0, Path("runs/x"))
    reporter.close()


def test_elsewhere_than_on_a_terminal_lines_are_plain(capsys):
    reporter = make_reporter()
    assert type(reporter) is Lines
    tell(reporter)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\r" not in shown
    start, epoch, end = shown.splitlines()
    assert "4 epochs from epoch 2, seed 0, fp32 -> runs/x" in start
    assert "calibrated on 3 batches" in start
    assert epoch == (
        "epoch 2/4 edges 16 px: train 1.250 50.00%, validation 1.500 40.00%, 12,346 images/s, about 0:01:00 left"
    )
    assert "last 75.00%, best 75.00%; 0.62x the FLOPs of full resolution; trained for 0:01:15" in end


def test_a_terminal_gets_a_bar_that_is_gone_afterwards(monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    reporter = make_reporter()
    assert type(reporter) is Bar
    tell(reporter)
    shown = screen.getvalue()
    assert "epoch 2/4 edges" in shown
    assert "3/3" in shown
    assert "loss 1.500, 25.00%, 64 images/s, about 0:00:03 left" in shown
    assert "\x1b[?25l" in shown
    assert shown.rstrip().endswith("\x1b[2K")
    assert "\x1b[?25h" in shown


def test_other_processes_keep_silent(capsys):
    reporter = make_reporter(shown=False)
    assert type(reporter) is Reporter
    tell(reporter)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kind", [Lines, Bar])
def test_an_epoch_without_validation_says_nothing_of_it(kind):
    sentence = kind().sentence({**LINE, "validation_loss": None, "validation_accuracy": None})
    assert "validation" not in sentence


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("terminal", [False, True])
def test_output_that_lacks_letters_shows_escapes_and_ends_no_run(encoding, terminal, monkeypatch):
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding, newline="\n")
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", "300")
    reporter = make_reporter()
    reporter.describe_data(["classes: 2, 'caf\u00e9', '\u732b'", "passed over: b\udce9"])
    reporter.start(Recipe(model="simple_cnn", data="folder:\u2192", epochs=4), Path("runs/\u732b"), 0)
    reporter.close()
    stream.flush()
    shown = buffer.getvalue().decode(encoding)
    assert ("caf\u00e9" if encoding != "ascii" else r"caf\xe9") in shown
    assert ("'\u732b'" if encoding == "utf-8" else r"'\u732b'") in shown
    assert r"b\udce9" in shown
    assert "curriculum baseline, 4 epochs" in shown
