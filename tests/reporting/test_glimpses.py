"""Looks of a glimpse pyramid: what is told of them, the image as it was seen, and the figures."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curriculum_zoo.data import ResidentLoader, open_dataset
from curriculum_zoo.errors import DataError, ModelError
from curriculum_zoo.evaluation import predict
from curriculum_zoo.evaluation.glimpses import as_seen, look_at
from curriculum_zoo.evaluation.trained_network import load_trained_network
from curriculum_zoo.reporting import draw_glimpses
from curriculum_zoo.seeding import derive_seed

ORANGE, BLUE = (230, 159, 0), (0, 144, 208)  # frames of levels 2 and 3


@pytest.fixture(scope="module")
def trained(pyramid):
    return load_trained_network(pyramid, device="cpu")


@pytest.fixture
def pictures(tmp_path):
    """Three files of noise on which the pyramid's choices differ."""
    paths = []
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (56, 56), dtype=np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def nothing(probabilities, level):
    return torch.zeros_like(probabilities, dtype=torch.bool)


# The image as it was seen


def slow_as_seen(image, levels, base):
    """Pixel by pixel: the finest level that covers it, and of that the mean over regions of bilinear samples."""
    seen = np.array(image, dtype=float)
    for y, x in np.ndindex(*seen.shape):
        for regions in levels:
            samples = [
                slow_sample(image[y1:y2, x1:x2], base, y - y1, x - x1)
                for x1, y1, x2, y2 in regions
                if y1 <= y < y2 and x1 <= x < x2
            ]
            if samples:
                seen[y, x] = sum(samples) / len(samples)
    return seen


def slow_sample(region, base, y, x):
    """One pixel of a region that was shrunk to means over blocks and enlarged, centres aligned, edges repeated."""
    block = region.shape[0] // base
    small = [[region[i * block :, j * block :][:block, :block].mean() for j in range(base)] for i in range(base)]
    total = 0.0
    for i, wy in between((y + 0.5) / block - 0.5, base):
        for j, wx in between((x + 0.5) / block - 0.5, base):
            total += wy * wx * small[i][j]
    return total


def between(position, count):
    """The two samples around a position, with their weights."""
    position = min(max(position, 0), count - 1)
    low = min(int(position), count - 1)
    return (low, 1 - (position - low)), (min(low + 1, count - 1), position - low)


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), regions=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=4))
def test_each_pixel_is_seen_at_the_finest_resolution_it_was_looked_at_in(seed, regions):
    image = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(seed))
    second = [(4 * x, 4 * y, 4 * x + 8, 4 * y + 8) for x, y in regions]
    third = [(x1 + 2 * (seed % 3), y1, x1 + 2 * (seed % 3) + 4, y1 + 4) for x1, y1, _, _ in second[:2]]
    levels = [[(0, 0, 16, 16)], second, third]
    expected = slow_as_seen(image[0].numpy(), levels, 4)
    assert np.allclose(as_seen(image, levels, (4, 4))[0].numpy(), expected, atol=1e-6)
    for x1, y1, x2, y2 in third:  # regions of base resolution are seen as they are
        assert torch.allclose(as_seen(image, levels, (4, 4))[:, y1:y2, x1:x2], image[:, y1:y2, x1:x2], atol=1e-6)


def test_a_look_everywhere_sees_the_image_itself_and_one_nowhere_its_blur():
    image = torch.rand(3, 56, 56, generator=torch.Generator().manual_seed(0))
    whole = [(0, 0, 56, 56)]
    tiles = [[(x, y, x + side, y + side) for y in range(0, 56, side) for x in range(0, 56, side)] for side in (28, 14)]
    assert torch.allclose(as_seen(image, [whole, *tiles], (14, 14)), image, atol=1e-6)
    blur = as_seen(image, [whole, [], []], (14, 14))
    small = image.unfold(1, 4, 4).unfold(2, 4, 4).mean((3, 4))
    enlarged = Image.fromarray(small[1].numpy()).resize((56, 56), Image.Resampling.BILINEAR)
    assert np.allclose(blur[1].numpy(), np.asarray(enlarged), atol=1e-5)


# What is told of a look


def test_a_look_tells_what_the_network_did(trained):
    image = torch.rand(1, 56, 56, generator=torch.Generator().manual_seed(1))
    look = look_at(trained, image, seed=9, label="top left")
    torch.manual_seed(derive_seed(9))
    with torch.no_grad():
        glimpses = trained.model.glimpse((image[None] - 0.1) / 0.3)
    assert look.attended == int(glimpses.attended())
    assert len(look.levels) == 3
    assert look.levels[0].regions == ((0, 0, 56, 56),)
    for level, choice in zip(look.levels[1:], glimpses.levels, strict=True):
        assert [list(box) for box in level.regions] == choice.boxes.tolist()
    for level, choice in zip(look.levels, glimpses.levels, strict=False):
        assert np.allclose(level.probabilities, choice.probabilities.numpy(), atol=1e-6)
    for level, logits, (name, probability) in zip(look.levels, glimpses.logits, look.predictions, strict=True):
        assert level.logits == pytest.approx(logits[0].tolist(), abs=1e-5)
        expected = logits[0].double().softmax(0)
        assert name == trained.classes[int(expected.argmax())]
        assert probability == pytest.approx(expected.max().item(), abs=1e-5)


@given(seed=st.integers(0, 1000))
def test_every_region_is_a_cell_of_its_parent(trained, seed):
    image = torch.rand(1, 56, 56, generator=torch.Generator().manual_seed(seed))
    look = look_at(trained, image, seed=seed)
    for before, level in zip(look.levels, look.levels[1:], strict=False):
        assert len(before.probabilities) == len(before.regions)
        assert len(set(zip(level.parents, level.cells, strict=True))) == len(level.regions)
        for (x1, y1, x2, y2), parent, cell in zip(level.regions, level.parents, level.cells, strict=True):
            left, top, right, _ = before.regions[parent]
            quarter = (right - left) // 4
            assert (x1, y1) == (left + cell % 3 * quarter, top + cell // 3 * quarter)
            assert (x2 - x1, y2 - y1) == (2 * quarter, 2 * quarter)
    assert look.levels[-1].probabilities == ()


def test_json_has_all_but_the_pixels(pyramid, pictures):
    [look] = draw_glimpses(pyramid, pictures[:1], levels=2, attend="top_k", device="cpu")
    values = json.loads(json.dumps(look.to_dict()))
    first, second = values["levels"]
    assert values["name"] == str(pictures[0])
    assert (values["size"], values["base"], values["attended"]) == ([56, 56], [14, 14], 2)
    assert (values["label"], values["figure"]) == (None, None)
    assert len(second["regions"]) == len(second["parents"]) == len(second["cells"]) == 2
    best = sorted(range(9), key=first["probabilities"][0].__getitem__)[-2:]
    assert sorted(second["cells"]) == sorted(best)
    for level, told in zip(values["levels"], values["predictions"], strict=True):
        exponentials = [math.exp(logit) for logit in level["logits"]]
        shares = [value / sum(exponentials) for value in exponentials]
        assert list(level["classes"].values()) == pytest.approx(shares)
        assert level["classes"][told["class"]] == told["probability"] == max(level["classes"].values())


def test_an_image_is_looked_at_the_same_way_whatever_others_there_are(pyramid, pictures):
    together = draw_glimpses(pyramid, [pictures[0].parent], attend="sample", device="cpu")
    [alone] = draw_glimpses(pyramid, [pictures[2]], attend="sample", device="cpu")
    assert [look.name for look in together] == list(map(str, pictures))
    assert together[2].levels == alone.levels
    assert len({look.attended for look in together}) > 1
    [other] = draw_glimpses(pyramid, [pictures[2]], seed=1, attend="sample", device="cpu")
    assert other.levels[0].logits == alone.levels[0].logits
    assert other.levels[1].regions != alone.levels[1].regions


def test_a_prediction_is_what_the_figure_shows_after_the_last_level(pyramid, pictures):
    looks = draw_glimpses(pyramid, pictures, seed=4, device="cpu")
    for look, prediction in zip(looks, predict(pyramid, pictures, seed=4, device="cpu"), strict=True):
        name, probability = prediction.classes[0]
        assert look.predictions[-1] == (name, pytest.approx(probability, abs=1e-5))


def test_test_images_are_those_of_an_evaluations_first_repeat(pyramid, canvases):
    looks = draw_glimpses(pyramid, data="canvases", index=(70, 3), seed=2, device="cpu")
    opened = open_dataset("canvases")
    loader = ResidentLoader(opened.test_images, opened.test_labels, batch_size=80, shuffle=False, seed=2,
                            render=opened.render)  # fmt: skip
    [(images, labels, *_)] = loader.batches(0)
    for look, number in zip(looks, (70, 3), strict=True):
        assert look.name == f"canvases test image {number}"
        assert torch.equal(look.image, images[number])
        assert look.label == opened.classes[int(labels[number])]
    assert canvases[0]["seed"] == 3


# Figures


def colours(path):
    """How many pixels of a figure have exactly the colour of a frame of the second and of the third level."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return [int((pixels == colour).all(2).sum()) for colour in (ORANGE, BLUE)]


def test_figures_frame_what_was_attended_at_each_level(pyramid, pictures, tmp_path):
    counts = []
    best = lambda p, level: p == p.amax(1, keepdim=True)  # noqa: E731
    for number, attend in enumerate((nothing, lambda p, level: best(p, level) & (level == 0), best)):
        [look] = draw_glimpses(pyramid, pictures[:1], attend=attend, output=tmp_path / str(number), device="cpu")
        assert look.figure == tmp_path / str(number) / "0.png"
        counts.append([look.attended, *colours(look.figure)])
    none, coarse, fine = counts
    assert [none[0], coarse[0], fine[0]] == [0, 1, 2]
    # The names of the levels are coloured too.
    assert none[1] < 1000 < coarse[1]
    assert none[2] == coarse[2] < 1000 < fine[2]


def test_colour_photographs_and_two_levels_are_drawn(tmp_path):
    from curriculum_zoo.data.normalize import Normalize
    from curriculum_zoo.evaluation.trained_network import TrainedNetwork
    from curriculum_zoo.models import create_model
    from curriculum_zoo.reporting.glimpse_figure import draw_look

    model = create_model("glimpse_pyramid_in_m1", num_classes=3).eval()
    names = ("cat", "a name that is much too long to be written out in full", "$\\frac$ {")
    normalize = Normalize((0.5,) * 3, (0.5,) * 3)
    trained = TrainedNetwork("photographs", model, torch.device("cpu"), (3, 80, 80), normalize, names, 3, {})
    image = torch.rand(3, 80, 80, generator=torch.Generator().manual_seed(0))
    for name in names:
        draw_look(look_at(trained, image, attend="top_k", label=name), tmp_path / "0.png")
        assert Image.open(tmp_path / "0.png").size[0] > 1000


def test_figures_are_named_like_their_images_and_never_replace_one(pyramid, pictures, tmp_path):
    (tmp_path / "more").mkdir()
    Image.open(pictures[1]).save(tmp_path / "more" / "1.bmp")
    before = {path: path.read_bytes() for path in pictures}
    given = [pictures[0], pictures[1], tmp_path / "more" / "1.bmp"]
    looks = draw_glimpses(pyramid, given, levels=1, output=tmp_path, device="cpu")
    assert [look.figure.name for look in looks] == ["0-2.png", "1-2.png", "1-3.png"]
    assert {path: path.read_bytes() for path in pictures} == before
    assert all(look.figure.stat().st_size > 10_000 for look in looks)
    assert not list(tmp_path.glob("*.tmp.png"))


# Bad input


def test_what_makes_no_sense_is_refused(pyramid, finished_run, pictures, tmp_path, canvases):
    with pytest.raises(ModelError, match=r"is a SimpleCNN, which looks at each image once.* Take a glimpse pyramid"):
        draw_glimpses(finished_run, pictures, device="cpu")
    with pytest.raises(DataError, match="no image to look at"):
        draw_glimpses(pyramid, device="cpu")
    with pytest.raises(DataError, match="canvases has no test image 80: there are 80, numbered from 0"):
        draw_glimpses(pyramid, data="canvases", index=(3, 80), device="cpu")
    with pytest.raises(DataError, match=r"gone\.png: there is no such file"):
        draw_glimpses(pyramid, [tmp_path / "gone.png"], device="cpu")
    with pytest.raises(ModelError, match="levels=4 must be an integer of 1 to 3"):
        draw_glimpses(pyramid, pictures, levels=4, device="cpu")
    with pytest.raises(DataError, match=r"0\.png cannot be written to: .*Choose another --output"):
        draw_glimpses(pyramid, pictures, output=pictures[0], device="cpu")
