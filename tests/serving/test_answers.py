"""What a served network tells of an image, beside what the commands tell of the same file."""

import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from curriculum_zoo.errors import CurriculumError, DataError, UnknownNameError
from curriculum_zoo.evaluation import predict
from curriculum_zoo.serving import Showcase, answers


@pytest.fixture(scope="module")
def showcase(finished_run):
    return Showcase.load(finished_run, device="cpu")


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    file = tmp_path_factory.mktemp("pictures") / "noise.png"
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(file)
    return file


def test_classes_are_those_that_predict_tells(showcase, finished_run, picture):
    assert showcase.answer(picture).classes == predict(finished_run, [picture], device="cpu")[0].classes


def test_stages_are_those_of_the_recipe_that_the_weights_were_trained_by(showcase, picture):
    answer = showcase.answer(picture)
    assert answer.stages_note == "trd(variant=regular) over 3 epochs, by which it was trained."
    sides = [int(words.split(" px")[0].split()[-1]) for _, words in answer.stages]
    assert sides == sorted(sides)
    assert sides[0] < sides[-1] == showcase.trained.side()
    for shown, side in zip(answer.stages, sides, strict=True):
        times = shown[0].width // side  # each pixel of the stage is a square of its own
        pixels = np.asarray(shown[0]).reshape(side, times, side, times, 3)
        assert (pixels == pixels[:, :1, :, :1]).all()


def test_another_curriculum_is_shown_where_it_is_asked_for(finished_run, picture):
    answer = Showcase.load(finished_run, curriculum="baseline", device="cpu").answer(picture)
    assert len(answer.stages) == 1
    assert answer.stages_note == "baseline over 3 epochs, as asked for."


def test_a_curriculum_that_is_not_known_is_refused_before_anything_is_served(finished_run):
    with pytest.raises((UnknownNameError, CurriculumError), match="baselime"):
        Showcase.load(finished_run, curriculum="baselime", device="cpu")


@pytest.mark.parametrize(
    ("recipe", "note"),
    [
        ({}, "No recipe is known by which it was trained"),
        ({"curriculum": "of_a_plugin(x=1)", "epochs": 3}, "It was trained by of_a_plugin.x=1., which cannot be shown"),
    ],
)
def test_a_network_without_a_curriculum_to_show_says_why(showcase, picture, monkeypatch, recipe, note):
    trained = dataclasses.replace(showcase.trained, recipe=recipe)
    monkeypatch.setattr(answers, "load_trained_network", lambda *_, **__: trained)
    answer = Showcase.load("anything").answer(picture)
    assert answer.stages == ()
    assert re.match(note, answer.stages_note)
    assert answer.classes


def test_the_figure_shows_the_image_and_its_map(showcase, picture):
    pytest.importorskip("captum", reason="maps are captum's")
    answer = showcase.answer(picture)
    assert answer.figure_note == ""
    assert min(answer.figure.size) > 200
    assert np.asarray(answer.figure).std() > 10


def test_what_a_glimpse_network_attended_is_drawn_in_place_of_a_map(picture):
    answer = Showcase.load("glimpse_pyramid_m1.mnist_canvas_textured", device="cpu").answer(picture)
    assert answer.figure_note == ""
    assert min(answer.figure.size) > 200


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n broken"])
def test_what_is_no_image_is_refused_by_its_name(showcase, tmp_path, content):
    file = tmp_path / "letter.png"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"letter\.png"):
        showcase.answer(file)


def test_an_image_of_inks_turned_by_its_camera_is_read_as_predict_reads_it(showcase, finished_run, tmp_path):
    turned = tmp_path / "turned.jpg"
    pixels = np.random.default_rng(5).integers(0, 256, (60, 40, 4), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels, mode="CMYK").save(turned, exif=exif)
    assert showcase.answer(turned).classes == predict(finished_run, [turned], device="cpu")[0].classes
