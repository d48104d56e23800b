"""Predictions averaged over views of an image: weights, shifts, and what they cost."""

import pytest
import torch
from torch import nn

from curriculum_zoo.errors import ModelError
from curriculum_zoo.evaluation import evaluate
from curriculum_zoo.evaluation.test_time_views import TestTimeViews


class Corner(nn.Module):
    """Answers with the first pixel."""

    def forward(self, images):
        return images[:, :, 0, 0]


def view(image, top, left, mirrored):
    """One view of an image [C, H, W], pixel by pixel: shifted, at the border its reflection, and mirrored."""
    _, height, width = image.shape

    def inside(place, side):
        return -place if place < 0 else 2 * (side - 1) - place if place >= side else place

    seen = torch.stack([
        torch.stack([image[:, inside(y + top, height), inside(x + left, width)] for x in range(width)], 1)
        for y in range(height)
    ], 1)  # fmt: skip
    return seen.flip(2) if mirrored else seen


def test_logits_are_the_weighted_mean_of_six_views():
    images = torch.rand(5, 3, 4, 6, dtype=torch.float64)
    expected = [
        sum(
            weight * view(image, shift, shift, mirrored)[:, 0, 0]
            for shift, weight in ((0, 1 / 4), (-1, 1 / 8), (1, 1 / 8))
            for mirrored in (False, True)
        )
        for image in images
    ]
    assert torch.allclose(TestTimeViews(Corner(), "flip_shift")(images), torch.stack(expected))


def test_flips_are_averaged_and_a_single_view_is_the_network_itself():
    images = torch.rand(5, 3, 4, 6)
    assert torch.equal(TestTimeViews(Corner(), "single")(images), images[:, :, 0, 0])
    assert torch.allclose(TestTimeViews(Corner(), "flip")(images), (images[:, :, 0, 0] + images[:, :, 0, 5]) / 2)


@pytest.mark.parametrize(("views", "times"), [("flip", 2), ("flip_shift", 6)])
def test_evaluation_averages_over_views_and_counts_all_of_them(finished_run, quadrants, views, times):
    [single] = evaluate(finished_run, f"npz:{quadrants}", device="cpu")
    [several] = evaluate(finished_run, f"npz:{quadrants}", device="cpu", views=views)
    assert several.flops == times * single.flops
    assert several.scores.loss != single.scores.loss


def test_views_that_make_no_sense_are_refused(finished_run, quadrants):
    with pytest.raises(ModelError, match=r"views='both' is unknown; choose 'single', 'flip', 'flip_shift'"):
        evaluate(finished_run, f"npz:{quadrants}", device="cpu", views="both")
