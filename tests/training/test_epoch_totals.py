"""What adds up over an epoch: exactly, on whatever device, and over any number of processes."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.training.epoch_totals import EpochTotals

SINGLE = st.floats(-1e6, 1e6, width=32)


def filled(batches, read_after=()):
    """Totals of batches (images, right, loss), read after some of them."""
    totals = EpochTotals()
    for number, (images, right, loss) in enumerate(batches):
        totals.add(images, images, torch.tensor(right), {"loss": torch.tensor(loss), "half": torch.tensor(loss / 2)})
        if number in read_after:
            totals.read()
    return totals


BATCHES = st.lists(st.tuples(st.integers(1, 4096), st.integers(0, 4096), SINGLE), min_size=1, max_size=20)


@given(batches=BATCHES, read_after=st.sets(st.integers(0, 19)))
def test_reading_more_often_changes_no_digit(batches, read_after):
    assert filled(batches).to_dict() == filled(batches, read_after).to_dict()


@given(batches=BATCHES)
def test_totals_are_exact_up_to_double_precision(batches):
    told = filled(batches).to_dict()
    loss = sum(images * Fraction(loss) for images, _, loss in batches)
    scale = sum(images * abs(Fraction(loss)) for images, _, loss in batches)
    assert abs(Fraction(told["loss"]) - loss) <= scale * Fraction(1, 2**45)
    assert told["right"] == sum(right for _, right, _ in batches)
    assert isinstance(told["right"], int)
    assert told["images"] == told["rows"] == sum(images for images, _, _ in batches)


@given(batches=BATCHES, cut=st.integers(0, 20))
def test_totals_that_go_on_from_a_checkpoint_are_those_that_went_on(batches, cut):
    first = filled(batches[:cut])
    going_on = EpochTotals.from_dict(first.to_dict())
    for images, right, loss in batches[cut:]:
        means = {"loss": torch.tensor(loss), "half": torch.tensor(loss / 2)}
        going_on.add(images, images, torch.tensor(right), means)
    assert going_on.to_dict() == filled(batches).to_dict()


def test_what_is_on_the_device_is_single_precision():
    totals = EpochTotals()
    totals.add(3, 6, torch.tensor(2), {"loss": torch.tensor(0.1, dtype=torch.float64)})
    [(_, _, _, values)] = totals._unread
    assert values.dtype == torch.float32


def test_loss_and_accuracy_are_means_over_images_and_over_predictions():
    totals = EpochTotals()
    totals.add(4, 8, torch.tensor(6), {"loss": torch.tensor(1.0)})
    totals.add(2, 4, torch.tensor(0), {"loss": torch.tensor(4.0)})
    assert totals.loss_and_accuracy() == (2.0, 0.5)


def test_figures_that_only_some_batches_have_are_kept_apart():
    totals = EpochTotals()
    totals.add(2, 2, torch.tensor(1), {"loss": torch.tensor(1.0)})
    totals.add(2, 2, torch.tensor(1), {"loss": torch.tensor(1.0), "attended": torch.tensor(3.0)})
    totals.add(2, 2, torch.tensor(1), {"loss": torch.tensor(1.0)})
    assert totals.read().figures == {"loss": 6.0, "attended": 6.0}


# Of several processes

PARTS = [
    {"images": 10, "left_out": 0, "rows": 20, "right": 7, "seconds": 4.0, "compute_seconds": 3.0, "loss": 5.0},
    {"images": 10, "left_out": 0, "rows": 20, "right": 9, "seconds": 6.0, "compute_seconds": 5.0, "loss": 7.0},
]


def test_as_many_processes_as_wrote_a_checkpoint_go_on_each_with_its_own():
    assert [EpochTotals.share(PARTS, rank, 2).to_dict() for rank in (0, 1)] == PARTS


@pytest.mark.parametrize("processes", [1, 3])
def test_another_number_of_processes_goes_on_with_all_of_it_once(processes):
    parts = [EpochTotals.share(PARTS, rank, processes).to_dict() for rank in range(processes)]
    told = EpochTotals.summed(parts).to_dict()
    assert {name: told[name] for name in ("images", "rows", "right", "loss")} == {
        "images": 20,
        "rows": 40,
        "right": 16,
        "loss": 12.0,
    }
    assert math.isclose(told["seconds"] / processes, 5.0)
    assert math.isclose(told["compute_seconds"] / processes, 4.0)
