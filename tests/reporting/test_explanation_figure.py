"""Figures of class activation maps and filters: what they say, and that their words keep apart."""

import itertools
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from figure_words import assert_apart, words_on
from PIL import Image

from curriculum_zoo.cli import main
from curriculum_zoo.errors import DataError, ModelError
from curriculum_zoo.evaluation.explanations import ActivationMap, Explanation, FirstLayer
from curriculum_zoo.reporting import draw_explanations, explanation_figure
from curriculum_zoo.reporting.explanation_figure import draw_explanation, draw_filters
from curriculum_zoo.reporting.figure_files import broken

LONG = "runs/some/where/a_network_with_a_name_that_takes_room-and_more.of_it/best"
SYNONYMS = "Egyptian cat, a cat of Egypt with $ and many further names in a row, as WordNet has them, and on"


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    (tmp_path / "pictures").mkdir()
    Image.fromarray(pixels).save(tmp_path / "pictures" / "a picture.png")
    return tmp_path / "pictures" / "a picture.png"


def found(side, *, network=LONG, predicted=SYNONYMS, channels=3, heat=None):
    generator = np.random.default_rng(side)
    image = generator.random((side, side, channels), dtype=np.float32)
    values = generator.random((side, side), dtype=np.float32) if heat is None else np.full((side, side), heat, "f4")
    cells = generator.random((max(1, side // 8),) * 2, dtype=np.float32)
    return ActivationMap(network, "blocks.10.of.something", image, cells, values, 0.123, predicted, 0.987)


@pytest.mark.parametrize(("networks", "sides"), [(1, (32,)), (2, (32, 16)), (2, (224, 160, 128, 64))])
def test_words_keep_apart_and_stay_on_the_figure(monkeypatch, tmp_path, networks, sides):
    maps = tuple(tuple(found(side) for side in sides) for _ in range(networks))
    explanation = Explanation(f"{'x' * 70}.jpg", "an old owl " * 12, maps)
    draw = lambda: draw_explanation(explanation, tmp_path / "x.png")  # noqa: E731
    assert_apart(*words_on(monkeypatch, explanation_figure, draw))


@pytest.mark.parametrize(("networks", "filters"), [(1, 1), (2, 16), (2, 100)])
def test_words_keep_apart_on_figures_of_filters(monkeypatch, tmp_path, networks, filters):
    weights = np.random.default_rng(0).normal(size=(filters, 7, 7, 3)).astype(np.float32)
    layers = [FirstLayer(LONG, "patch_embed.proj", weights)] * networks
    assert_apart(*words_on(monkeypatch, explanation_figure, lambda: draw_filters(layers, tmp_path / "x.png")))


def texts(path):
    root = ElementTree.parse(path).getroot()
    return [" ".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text")]


def test_a_figure_says_class_probability_layer_grid_and_what_the_network_says(tmp_path):
    row = (found(32, predicted="owl"), found(16, predicted="dog"), found(8), found(24, heat=0.0))
    draw_explanation(Explanation("folder/bird.jpg", "owl", (row,)), tmp_path / "bird.svg")
    words = texts(tmp_path / "bird.svg")
    assert "bird.jpg: what speaks for “owl”" in words
    assert [word for word in words if word.endswith(" px")] == ["32 px", "16 px", "8 px", "24 px"]
    assert words.count("12.3% owl") == 4
    assert [word for word in words if "×" in word] == ["4×4", "2×2", "1×1", "3×3"]
    assert [word for word in words if word.startswith("says")] == ["says dog (98.7%)"] + [
        "says Egyptian cat (98.7%)"
    ] * 2
    assert words.count("a single cell: no map") == 1  # a map of one cell tells no place
    assert words.count("nothing speaks for it") == 1
    assert "share of the map's largest value" in words


def test_pixels_of_a_png_are_the_image_above_and_the_map_below(tmp_path):
    image = np.zeros((2, 2, 3), np.float32)
    image[0, 1] = (1, 0, 0)
    heat = np.array([[0, 0], [0.5, 0]], np.float32)
    one = ActivationMap("net", "layer", image, np.ones((2, 2), np.float32), heat, 0.5, "owl", 0.5)
    draw_explanation(Explanation("bird.jpg", "owl", ((one,),)), tmp_path / "bird.png")
    pixels = np.asarray(Image.open(tmp_path / "bird.png").convert("RGB")).astype(int)
    red = np.argwhere((pixels == (255, 0, 0)).all(2))
    side = round(150 * explanation_figure.PANEL)
    left = round(150 * explanation_figure._x(0))
    top = round(150 * (explanation_figure.TITLE + explanation_figure.HEAD))
    assert np.abs(red.min(0) - (top, left + side // 2)).max() <= 2
    assert np.abs(red.max(0) - (top + side // 2, left + side)).max() <= 2
    below = top + side + round(150 * explanation_figure.BETWEEN)
    quarters = [pixels[below + y, left + x].sum() for y, x in itertools.product((side // 4, 3 * side // 4), repeat=2)]
    assert int(np.argmax(quarters)) == 2  # where the heat is


def test_filters_are_scaled_alone_and_zero_is_gray():
    weights = np.zeros((2, 3, 3), np.float32)
    weights[0, 0] = (-4, 0, 2)
    image = explanation_figure._as_image(weights)
    assert image[0, 0].tolist() == [0, 0.5, 0.75]
    assert (image[1] == 0.5).all()
    assert (explanation_figure._as_image(np.zeros((3, 3, 3), np.float32)) == 0.5).all()
    many = np.ones((70, 1, 1, 4), np.float32) * np.arange(70, dtype=np.float32)[:, None, None, None]
    assert explanation_figure._chosen(many)[:, 0, 0, 0].tolist() == list(range(6, 70))
    assert explanation_figure._as_image(many[3]).shape == (1, 1, 1)


def test_names_are_broken_behind_dots_and_slashes():
    assert broken("hiresnet20_cifar.cifar10", 1.4, 10) == ["hiresnet20_cifar.", "cifar10"]
    assert "".join(broken(LONG, 1.0, 10)) == LONG
    assert max(map(len, broken("x" * 90, 1.0, 10))) < 20


# From images to files


def test_a_run_is_drawn_from_its_folder_with_its_filters(finished_run, picture, tmp_path):
    options = {"output": tmp_path / "out", "device": "cpu", "resolutions": (16, 12)}
    [drawn] = draw_explanations(finished_run, [picture], against=finished_run, filters=True, **options)
    assert drawn.figure == tmp_path / "out" / "a_picture.png"
    assert [[one.resolution for one in row] for row in drawn.maps] == [[16, 12]] * 2
    assert Image.open(drawn.figure).size[0] > 900
    assert Image.open(tmp_path / "out" / "filters.png").size[0] > 900
    before = drawn.figure.read_bytes()
    draw_explanations(finished_run, [picture], against=finished_run, **options)
    assert drawn.figure.read_bytes() == before


def test_an_image_is_never_drawn_over(finished_run, picture):
    before = picture.read_bytes()
    (picture.parent / "a_picture.png").write_bytes(before)
    drawn = draw_explanations(finished_run, [picture.parent], output=picture.parent, device="cpu", resolutions=[16])
    assert [each.figure.name for each in drawn] == ["a_picture-2.png", "a_picture-3.png"]
    assert picture.read_bytes() == (picture.parent / "a_picture.png").read_bytes() == before


def test_of_a_glimpse_pyramid_it_is_drawn_what_it_attended(pyramid, picture, tmp_path):
    [look] = draw_explanations(pyramid, [picture], output=tmp_path / "out", device="cpu")
    assert look.attended >= 0
    assert Image.open(look.figure).size[0] > 1000
    with pytest.raises(ModelError, match="no class activation maps to compare"):
        draw_explanations(pyramid, [picture], output=tmp_path / "out", device="cpu", resolutions=[28])


def test_a_format_that_is_none_is_refused_first(picture, tmp_path):
    with pytest.raises(DataError, match=r"\.png or \.svg"):
        draw_explanations("no network", [picture], output=tmp_path, suffix=".pdf")


def test_the_command_prints_probabilities_and_figures(finished_run, picture, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["explain", str(finished_run), str(picture), "--resolutions", "16,8", "--device", "cpu"]
    assert main([*command, "--class", "top left", "--format", "svg"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{picture}: top left; {finished_run} ")
    assert told.endswith("; explained/a_picture.svg\n")
    assert "at 16 px" in told
    assert "at 8 px" in told
    assert main([*command, "--json"]) == 0
    [explained] = json.loads(capsys.readouterr().out)
    assert explained["figure"] == "explained/a_picture.png"
    assert [one["resolution"] for one in explained["maps"][0]] == [16, 8]
    assert main([*command, "--layer", "pol2"]) == 2
    assert "Did you mean 'pool2'" in capsys.readouterr().err
