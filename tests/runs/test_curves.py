"""Figures: real PNG files of the size that was meant, with what was measured in them."""

import numpy as np
import pytest
from PIL import Image

from curriculum_zoo.runs.curves import draw_arms, draw_curves


def line(epoch, stage="full", **other):
    measured = {"train_loss": 2.0 / (epoch + 1), "train_accuracy": 1 - 0.5 / (epoch + 1)}
    held_out = {"validation_loss": 2.1 / (epoch + 1), "validation_accuracy": 1 - 0.6 / (epoch + 1)}
    return {"epoch": epoch, "stage": stage, "flops": 1e12 * (epoch + 1), **measured, **held_out, **other}


def pixels(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        image.load()
        return np.asarray(image.convert("RGB")).astype(int)


def share(image, colour):
    """Share of the pixels of one colour."""
    return (np.abs(image - colour).max(axis=2) < 12).mean()


BLUE, GREY, ORANGE = (31, 119, 180), (127, 127, 127), (255, 127, 14)
SHADE = (201, 234, 223)  # of the first stage that is not the full image


def test_curves_are_drawn_with_stages_shaded(tmp_path):
    path = tmp_path / "curves.png"
    lines = [line(epoch, stage) for epoch, stage in enumerate(["edges", "edges", "full", "full", "full"])]
    draw_curves(lines, path, title="a run")
    drawn = pixels(path)
    assert drawn.shape == (720, 840, 3)
    assert share(drawn, BLUE) > 0.001
    assert share(drawn, GREY) > 0.001
    # Two epochs of five lie under the shade: two fifths of the axes, which fill most of the figure.
    assert 0.25 < share(drawn, SHADE) < 0.4
    draw_curves([line(epoch) for epoch in range(5)], path, title="a run")
    assert share(pixels(path), SHADE) < 0.001
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]


def test_attended_locations_are_drawn_beneath_against_what_was_aimed_at(tmp_path):
    path = tmp_path / "curves.png"
    counts = [{}, {"attended": 4.0, "attended_target": 2.0}, {"attended": 2.5, "attended_target": 2.0}]
    draw_curves([line(epoch, **count) for epoch, count in enumerate(counts)], path, title="a run")
    drawn = pixels(path)
    assert drawn.shape == (1080, 840, 3)
    assert share(drawn[:720], ORANGE) < 0.0002
    assert share(drawn[720:], ORANGE) > 0.0005


@pytest.mark.parametrize("epochs", [1, 12])
def test_curves_without_validation_show_training_alone(tmp_path, epochs):
    lines = [line(e, validation_loss=None, validation_accuracy=None) for e in range(epochs)]
    draw_curves(lines, tmp_path / "curves.png", title="a run")
    drawn = pixels(tmp_path / "curves.png")
    assert share(drawn, GREY) > 0
    assert share(drawn, BLUE) == 0


def test_arms_are_drawn_as_means_with_their_spread(tmp_path):
    runs = [[line(epoch, validation_accuracy=0.5 + 0.1 * epoch + shift) for epoch in range(4)] for shift in (-0.1, 0.1)]
    draw_arms({"wide": runs, "narrow": [run[:4] for run in runs[:1] * 2]}, tmp_path / "arms.png", title="two arms")
    drawn = pixels(tmp_path / "arms.png")
    assert share(drawn, BLUE) > 0.0003
    assert share(drawn, ORANGE) > 0.0003
    # A fifth of blue over white, between the least and the greatest of the runs that differ.
    assert share(drawn, (210, 228, 240)) > 0.01
