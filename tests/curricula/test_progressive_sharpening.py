"""Progressive sharpening: order, lengths and replay of its stages."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.curricula import ProgressiveSharpening
from curriculum_zoo.errors import CurriculumError
from curriculum_zoo.views import BoxBlur, GaussianBlur, Portions, identity


def test_progressive_sharpening_goes_from_five_to_the_original_in_equal_shares():
    views = [stage.view for stage in ProgressiveSharpening(epochs=10).stages()]
    assert views == [view for view in (BoxBlur(5), BoxBlur(4), BoxBlur(3), BoxBlur(2), identity) for _ in range(2)]
    assert ProgressiveSharpening(epochs=10).relative_cost(32) == 1


@given(st.integers(5, 200))
def test_equal_shares_differ_by_one_epoch_at_most(epochs):
    names = [stage.name for stage in ProgressiveSharpening(epochs=epochs).stages()]
    counts = [names.count(name) for name in ("box 5", "box 4", "box 3", "box 2", "full")]
    assert sum(counts) == epochs
    assert max(counts) - min(counts) <= 1


def test_given_epochs_hold_and_the_last_stage_takes_the_rest():
    curriculum = ProgressiveSharpening(epochs=10, kernels=(7, 3, 1), stage_epochs=(1, 4))
    assert [stage.name for stage in curriculum.stages()] == ["box 7"] + ["box 3"] * 4 + ["full"] * 5


def test_gaussian_kernels_have_sigmas():
    curriculum = ProgressiveSharpening(epochs=6, kernel="gaussian", sigmas=(2.0, 0.5, 0.0))
    assert [stage.view for stage in curriculum.stages()][::2] == [GaussianBlur(2.0), GaussianBlur(0.5), identity]


def test_replay_shows_earlier_blurs_in_equal_parts_of_its_share():
    curriculum = ProgressiveSharpening(epochs=3, kernels=(3, 2, 1), replay=0.3)
    first, second, third = (stage.view for stage in curriculum.stages())
    assert first == BoxBlur(3)
    assert second == Portions((BoxBlur(3), BoxBlur(2)), (0.3, 0.7))
    assert third == Portions((BoxBlur(3), BoxBlur(2), identity), (0.15, 0.15, 0.7))
    images = torch.rand(1000, 1, 9, 9)
    seen = third(images)
    for view, share in zip(third.views, third.shares, strict=True):
        alike = ((view(images) - seen).abs() < 1e-6).all((1, 2, 3)).float().mean()
        assert alike == pytest.approx(share, abs=0.05)


def test_the_order_may_be_reversed_with_as_many_epochs_of_each_blur():
    for arguments in ({}, {"stage_epochs": (1, 2, 3, 4)}):
        forth, back = (
            ProgressiveSharpening(epochs=13, order=order, **arguments) for order in ("sharpening", "blurring")
        )
        assert back.stages() == forth.stages()[::-1]
    replayed = ProgressiveSharpening(epochs=3, kernels=(3, 2, 1), replay=0.4, order="blurring").stage(2)
    assert replayed.view == Portions((identity, BoxBlur(2), BoxBlur(3)), (0.2, 0.2, 0.6))


def test_a_constant_blur_lasts_as_long_as_all_blurs_and_is_the_middle_one():
    names = [stage.name for stage in ProgressiveSharpening(epochs=10, order="constant").stages()]
    assert names == ["box 3"] * 8 + ["full"] * 2
    given = ProgressiveSharpening(epochs=9, kernels=(7, 3, 1), stage_epochs=(1, 4), order="constant")
    assert [stage.name for stage in given.stages()] == ["box 3"] * 5 + ["full"] * 4
    assert ProgressiveSharpening(epochs=2, kernels=(3,), order="constant").stages()[0].view == BoxBlur(3)


@given(st.integers(3, 40), st.floats(0, 0.9))
def test_mixed_blurs_have_the_shares_that_the_curriculum_gives_them_over_all_epochs(epochs, replay):
    sharpening, mixed = (
        ProgressiveSharpening(epochs=epochs, kernels=(3, 2, 1), replay=replay, order=order)
        for order in ("sharpening", "mixed")
    )
    counted = dict.fromkeys((BoxBlur(3), BoxBlur(2), identity), 0.0)
    for stage in sharpening.stages():
        portions = isinstance(stage.view, Portions)
        for view, share in zip(stage.view.views, stage.view.shares, strict=True) if portions else ((stage.view, 1),):
            counted[view] += share / epochs
    views = [stage.view for stage in mixed.stages()]
    assert all(view == views[0] for view in views)
    assert dict(zip(views[0].views, views[0].shares, strict=True)) == pytest.approx(counted)
    assert len({view.key for view in views}) == epochs


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 4}, "epochs must be at least 5"),
        ({"epochs": 4, "stage_epochs": (1, 1, 1, 1)}, "epochs must be at least 5"),
        ({"epochs": 9, "stage_epochs": (1, 1)}, "4 in all; got 2"),
        ({"epochs": 9, "kernels": ()}, "at least one blur"),
        ({"epochs": 9, "kernels": (3, 0)}, "at least 1"),
        ({"epochs": 9, "replay": 1.0}, "below 1"),
        ({"epochs": 9, "kernel": "median"}, "one of 'box', 'gaussian'"),
    ],
)
def test_progressive_sharpening_refuses_what_it_cannot_plan(wrong, message):
    with pytest.raises(CurriculumError, match=message):
        ProgressiveSharpening(**wrong)
