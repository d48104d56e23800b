"""Sizes by batch: pure draws, timm's schedule, and what they cost."""

import pytest
import torch
from timm.data.scheduled_sampler import ScheduledBatchSampler

from curriculum_zoo.curricula import MixSize, create_curriculum
from curriculum_zoo.errors import CurriculumError


def test_each_batch_draws_a_size_by_seed_epoch_and_step():
    plan = MixSize(epochs=4, seed=3)
    sizes = [[plan.stage(epoch).at_step(step).pixels(32) for step in range(300)] for epoch in range(4)]
    assert sizes[0] != sizes[1]
    assert sizes[0] == [MixSize(epochs=9, seed=3).stage(0).at_step(step).pixels(32) for step in range(300)]
    for side in (16, 24, 32):
        assert sizes[0].count(side) / 300 == pytest.approx(1 / 3, abs=0.1)
    assert set(sizes[3]) == {32}
    stage = plan.stage(0).at_step(5)
    assert stage.view(torch.rand(2, 3, 32, 32)).shape[-1] == stage.pixels(32)


def test_the_progressive_schedule_is_timms():
    plan = MixSize(epochs=7, final=0, schedule="progressive", sizes=(0.4, 0.6, 0.8, 1.0))
    theirs = ScheduledBatchSampler(range(100), batch_sizes=[8] * 4, choice_schedule="progressive", schedule_epochs=7)
    for epoch in range(7):
        assert plan.shares(epoch) == pytest.approx(theirs.choice_weights_for_epoch(epoch).tolist(), abs=1e-9)


def test_batches_that_grow_hold_more_of_the_images_so_that_an_epoch_costs_less():
    plain, grown = (MixSize(epochs=2, scale_batch=scale, final=0).relative_cost(32) for scale in (False, True))
    assert plain == pytest.approx((0.25 + 0.5625 + 1) / 3)
    assert grown == pytest.approx(3 / (4 + 1 / 0.5625 + 1))


def test_it_combines_with_what_gives_no_sizes():
    stage = create_curriculum("mix_size + progressive_sharpening + random_subset", epochs=10).stage(0)
    assert stage.at_step(0).view(torch.rand(1, 3, 32, 32)).shape[-1] == stage.at_step(0).pixels(32)
    assert stage.at_step(0).samples == stage.samples
    with pytest.raises(CurriculumError, match="gives each batch a size"):
        create_curriculum("mix_size + trd", epochs=40)
    with pytest.raises(CurriculumError, match="gives each batch a size"):
        create_curriculum("mix_size + mix_size", epochs=4)
