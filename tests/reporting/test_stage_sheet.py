"""Sheets of what a network sees: numbers against counts by hand, and pictures whose words keep apart."""

import dataclasses
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from figure_words import assert_apart, words_on
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from curriculum_zoo.cli import main
from curriculum_zoo.curricula import Curriculum, Stage, create_curriculum
from curriculum_zoo.data import open_dataset
from curriculum_zoo.errors import CurriculumError, DataError
from curriculum_zoo.models import create_model
from curriculum_zoo.reporting import draw_stages, figure_files, stage_figure
from curriculum_zoo.reporting.stage_sheet import COLUMNS, look_through
from curriculum_zoo.views import LowFrequencyCrop, Resize, SobelEdges, compose

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def sheet_of(curriculum, epochs=30, images=IMAGES, **options):
    return look_through(create_curriculum(curriculum, epochs=epochs), images, **options)


# Numbers


@pytest.mark.parametrize(
    "curriculum",
    ["baseline", "trd", "trd(variant=mixed)", "trd(variant=batch)", "hrt", "low_frequency", "progressive_resizing",
     "progressive_sharpening", "gradual_levels", "hrt:0.4 > (trd + progressive_sharpening)"],
)  # fmt: skip
def test_the_mean_of_the_costs_is_the_curriculums_relative_cost(curriculum):
    sheet, plan = sheet_of(curriculum), create_curriculum(curriculum, epochs=30)
    assert sheet.relative_cost == pytest.approx(plan.relative_cost(32))
    assert list(sheet.resolutions) == [plan.stage(epoch).pixels(32) for epoch in range(30)]
    assert sorted(epoch for stage in sheet.stages for epoch in stage.epochs) == list(range(30))
    assert all(sheet.resolutions[epoch] == stage.pixels for stage in sheet.stages for epoch in stage.epochs)


def test_the_frozen_share_is_that_of_the_named_parameters():
    curriculum = create_curriculum("freeze(parts=(layer1, layer2), frozen_epochs=2)", epochs=4)
    sheet = look_through(curriculum, IMAGES, model="resnet20_cifar", num_classes=10)
    sizes = {name: p.numel() for name, p in create_model("resnet20_cifar", num_classes=10).named_parameters()}
    still = sum(size for name, size in sizes.items() if name.startswith(("layer1.", "layer2.")))
    assert sheet.frozen == pytest.approx([still / sum(sizes.values())] * 2 + [0] * 2)


def flops_of_training(side):
    """FLOPs of forward and backward of one image, counted without the package's meter."""
    model = create_model("resnet20_cifar", num_classes=10)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(model(torch.rand(2, 3, side, side)), torch.zeros(2, dtype=torch.long)).backward()
    return counter.get_total_flops()


def test_with_a_network_costs_are_its_counted_flops():
    sheet = sheet_of("trd(variant=regular)", epochs=4, model="resnet20_cifar", num_classes=10)
    share = flops_of_training(16) / flops_of_training(32)
    assert sheet.counted
    assert sheet.costs == pytest.approx([share, 1, share, 1], rel=1e-6)
    assert sheet.frozen == (0, 0, 0, 0)


def test_a_network_that_chooses_what_to_compute_keeps_the_cost_by_pixels():
    images = torch.rand(2, 1, 56, 56)
    sheet = sheet_of("gradual_levels", epochs=4, images=images, model="glimpse_pyramid_m1", num_classes=4)
    assert not sheet.counted
    assert sheet.relative_cost == pytest.approx(create_curriculum("gradual_levels", epochs=4).relative_cost(56))


# What is seen


def test_images_are_those_of_the_stages_view_at_their_own_resolution():
    sheet = sheet_of("hrt:0.5 > low_frequency(sizes=(0.5, 1.0), augment_strength=none)", epochs=20)
    edges, full, low = sheet.stages
    assert torch.equal(edges.seen, SobelEdges()(IMAGES))
    assert torch.equal(full.seen, IMAGES)
    torch.testing.assert_close(low.seen, LowFrequencyCrop(0.5)(IMAGES))
    assert [stage.seen.shape[-1] for stage in sheet.stages] == [32, 32, 16]
    assert [stage.epochs[0] for stage in sheet.stages] == [0, 4, 10]


def test_augmentation_is_seen_where_the_stage_has_one_and_drawn_by_seed():
    curriculum = create_curriculum("low_frequency(sizes=(0.5, 0.5, 1.0))", epochs=9)
    first, again, other = (look_through(curriculum, IMAGES, seed=seed) for seed in (0, 0, 1))
    low, strong = first.stages[0], first.stages[-1]
    torch.testing.assert_close(low.seen, LowFrequencyCrop(0.5)(IMAGES))  # strength 0
    assert (strong.seen - IMAGES).abs().max() > 0.1
    assert torch.equal(again.stages[-1].seen, strong.seen)
    assert not torch.equal(other.stages[-1].seen, strong.seen)
    assert first.strengths == tuple(curriculum.stage(epoch).augment_strength for epoch in range(9))


def test_trd_over_ninety_epochs_is_two_stages():
    curriculum = create_curriculum("trd", epochs=90)
    sheet = look_through(curriculum, IMAGES)
    stages = {stage.pixels: stage for stage in sheet.stages}
    assert set(stages) == {16, 32}
    assert stages[16].epochs == tuple(epoch for epoch in range(90) if curriculum.reduced(epoch))
    assert stages[16].view == "Resize(16)"


def test_of_many_stages_eight_are_shown_the_longest_among_them_and_the_others_are_told():
    sheet = sheet_of("trd(variant=mixed)", epochs=90)
    assert len(sheet.stages) > len(sheet.shown) == 8
    assert max(sheet.stages, key=lambda stage: len(stage.epochs)) in sheet.shown
    sides = [stage.pixels for stage in sheet.stages if stage is not sheet.stages[0]]
    assert {min(sides), max(sides)} <= {stage.pixels for stage in sheet.shown}
    missing = len(sheet.stages) - 8
    assert f"{missing} stages of {len(sheet.stages)}" in stage_figure.caption_of(sheet)
    assert "Left out" not in stage_figure.caption_of(sheet_of("trd", epochs=90))


@dataclasses.dataclass(frozen=True)
class Speckled:
    """A view that draws: another one in each epoch."""

    share: float
    seed: int
    epoch: int

    def __call__(self, images):
        return images


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speckling(Curriculum):
    def _stage(self, epoch):
        share = 0.5 if epoch < 3 else 0.1
        view = compose(Speckled(share, self.seed, epoch), Resize(0.5))
        return Stage(name="speckled", view=view, image_size=0.5)


def test_epochs_whose_views_differ_in_their_draws_alone_belong_together():
    sheet = look_through(Speckling(epochs=5), IMAGES)
    assert [stage.epochs for stage in sheet.stages] == [(0, 1, 2), (3, 4)]


# Images


def test_a_data_sets_images_are_one_of_each_class_at_its_own_size(quadrants):
    sheet = draw_stages("baseline", data=f"npz:{quadrants}", count=6)
    stored = open_dataset(f"npz:{quadrants}")
    first = [list(stored.train_labels).index(label) for label in range(4)]
    again = [int(np.flatnonzero(stored.train_labels == label)[1]) for label in range(2)]
    expected = torch.from_numpy(stored.train_images[[*first, *again]]).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(sheet.images, expected)
    assert sheet.image_size == 16
    assert sheet.figure is None


def test_photographs_are_read_as_squares_of_the_size_asked_for(photographs):
    files = sorted((photographs / "cat").iterdir())[:2]
    assert draw_stages("baseline", files, image_size=40).images.shape == (2, 3, 40, 40)
    assert draw_stages("baseline", data=f"folder:{photographs}", image_size=40, count=3).images.shape == (3, 3, 40, 40)


def test_what_makes_no_sense_is_refused(photographs, tmp_path):
    with pytest.raises(DataError, match="not both"):
        draw_stages("baseline", [photographs / "cat"], data="demo")
    with pytest.raises(DataError, match=r"\.png or \.svg"):
        draw_stages("no such curriculum", output=tmp_path / "sheet.pdf")
    with pytest.raises(CurriculumError, match="asks for 40 px, and the images have 28 px"):
        draw_stages("trd(resolution=40)", data="demo")
    with pytest.raises(DataError, match="count=0"):
        draw_stages("baseline", count=0)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"):
        draw_stages("baseline", output=tmp_path / "file" / "sheet.png")


# Pictures


def test_an_svg_is_xml_whose_text_can_be_read(tmp_path):
    curriculum = "hrt:0.5 > low_frequency(sizes=(0.5, 1.0))"
    draw_stages(curriculum, output=tmp_path / "sheet.svg", model="resnet20_cifar", count=1)
    root = ElementTree.parse(tmp_path / "sheet.svg").getroot()
    words = " ".join("".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text"))
    assert root.tag.endswith("}svg")
    for label in (
        curriculum, "A: edges", "C: low 50 %", "28 px", "14 px", "epochs 1–4", "sobel edges", "frozen: depth 0.5–1",
        "resolution", "(px)", "cost of an epoch", "(% of a full one)", "(% of parameters)", "(strength, 0–10)",
        "the run's own", "epoch", "1 training image of demo", "counted from resnet20_cifar",
    ):  # fmt: skip
        assert label in words, label


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_equal_sheets_are_equal_files(tmp_path, suffix):
    for name in ("one", "two"):
        draw_stages("hrt", output=tmp_path / f"{name}{suffix}", count=1)
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"one{suffix}", f"two{suffix}"]


@pytest.mark.parametrize(
    ("curriculum", "stages"),
    [("baseline", 1), ("progressive_sharpening(kernels=(4, 3, 2, 1))", 4), ("low_frequency", 8),
     ("hrt:0.4 > (low_frequency(sizes=(0.5, 1.0)) + progressive_sharpening)", 8)],
)  # fmt: skip
@pytest.mark.parametrize("images", [1, 6])
def test_words_keep_apart_and_stay_on_the_sheet(monkeypatch, tmp_path, curriculum, stages, images):
    pictures = torch.rand(images, 3, 32, 32)
    sheet = look_through(create_curriculum(curriculum, epochs=30), pictures)
    sheet = dataclasses.replace(sheet, curriculum=curriculum)
    assert len(sheet.shown) == stages
    places, page = words_on(monkeypatch, stage_figure, lambda: stage_figure.draw_sheet(sheet, tmp_path / "x.png"))
    assert len(places) > 10
    assert_apart(places, page)


def luminance(colour):
    """As WCAG 2 defines it, of a colour in hexadecimal; 0 to 1."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_each_stage_has_a_colour_of_its_own_and_a_letter_that_can_be_read_on_it():
    assert len(set(figure_files.OKABE_ITO)) == len(set(stage_figure.LETTERS)) == COLUMNS
    for colour in figure_files.OKABE_ITO:
        ink = "#ffffff" if colour in figure_files.DARK_ONES else figure_files.DARK
        dark, light = sorted((luminance(ink), luminance(colour)))
        assert (light + 0.05) / (dark + 0.05) > 3.8, colour


def test_the_command_draws_and_says_what_it_costs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        main(["show", "trd", "--epochs", "10", "--output", "sheet.png", "--count", "2", "--model", "resnet20_cifar"])
        == 0
    )
    told = capsys.readouterr().out
    assert re.fullmatch(r"sheet\.png: all stages, \d\d\.\d% of the cost at full resolution\n", told)
    assert Image.open("sheet.png").size[0] == 1950
    assert main(["show", "tdr"]) == 2
    assert "Did you mean 'trd'" in capsys.readouterr().err
