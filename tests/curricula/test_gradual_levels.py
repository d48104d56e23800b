"""Gradual learning: levels, resolutions and weights stage by stage, alone and with other curricula."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.curricula import GradualLevels, create_curriculum, curriculum_from_dict
from curriculum_zoo.errors import CurriculumError
from curriculum_zoo.views import BoxBlur, Resize


def plan(curriculum, *wanted, full=56):
    stages = [curriculum.stage(epoch) for epoch in range(curriculum.epochs)]
    return [
        tuple(stage.pixels(full) if name == "pixels" else getattr(stage, name) for name in wanted) for stage in stages
    ]


def test_each_stage_has_a_level_more_and_the_resolution_that_goes_with_it():
    assert plan(GradualLevels(epochs=4), "levels", "pixels") == [(2, 28)] * 2 + [(3, 56)] * 2
    sessions = plan(GradualLevels(epochs=6, first=1), "levels", "pixels", "name")
    assert sessions == [(1, 14, "1 level")] * 2 + [(2, 28, "2 levels")] * 2 + [(3, 56, "3 levels")] * 2
    imagenet = plan(GradualLevels(epochs=4, levels=4, first=1), "levels", "pixels", full=256)
    assert imagenet == [(1, 32), (2, 64), (3, 128), (4, 256)]


def test_stages_get_their_shares_of_the_epochs():
    levels = plan(GradualLevels(epochs=10, first=1, shares=(0.2, 0.3, 0.5)), "levels")
    assert [level for (level,) in levels] == [1] * 2 + [2] * 3 + [3] * 5


@given(epochs=st.integers(5, 60), levels=st.integers(1, 5), first=st.integers(1, 5))
def test_every_stage_comes_in_turn_and_ends_at_full_resolution(epochs, levels, first):
    if first > levels:
        first, levels = levels, first
    curriculum = GradualLevels(epochs=epochs, levels=levels, first=first)
    planned = [level for (level,) in plan(curriculum, "levels")]
    assert planned == sorted(planned)
    assert set(planned) == set(range(first, levels + 1))
    assert curriculum.stage(epochs - 1).pixels(224) == 224
    longest, shortest = (pick(planned.count(level) for level in set(planned)) for pick in (max, min))
    assert longest - shortest <= 1


def test_smaller_images_are_what_the_network_sees_of_fewer_levels():
    images = torch.rand(2, 1, 56, 56)
    first = GradualLevels(epochs=3, first=1).stage(0)
    second = GradualLevels(epochs=3, first=1).stage(1)
    means = images.unfold(2, 4, 4).unfold(3, 4, 4).mean((4, 5))
    torch.testing.assert_close(first.view(images), means)
    torch.testing.assert_close(Resize(0.5, "area")(second.view(images)), means)
    assert GradualLevels(epochs=3, first=1).stage(2).view(images) is images


def test_one_list_of_weights_serves_all_stages_and_a_list_of_lists_has_one_for_each():
    assert plan(GradualLevels(epochs=2, level_weights=(0.5, 1, 2)), "level_weights") == [
        ((0.5, 1.0),),
        ((0.5, 1.0, 2.0),),
    ]
    own = GradualLevels(epochs=2, level_weights=((1, 1), (0, 0.5, 2)))
    assert plan(own, "level_weights") == [((1.0, 1.0),), ((0.0, 0.5, 2.0),)]
    assert plan(GradualLevels(epochs=2), "level_weights") == [((),), ((),)]


def test_optimizer_is_made_anew_at_each_stage_but_the_first_where_wanted():
    fresh = plan(GradualLevels(epochs=6, first=1, fresh_optimizer=True), "fresh_optimizer")
    assert [new for (new,) in fresh] == [False, False, True, False, True, False]
    assert not any(new for (new,) in plan(GradualLevels(epochs=6, first=1), "fresh_optimizer"))


def test_networks_without_levels_get_the_resolutions_alone():
    assert plan(GradualLevels(epochs=2, set_levels=False), "levels", "pixels") == [(None, 28), (None, 56)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"first": 4}, "first must be at most levels, which is 3; got 4"),
        ({"shares": (0.5, 0.3, 0.2)}, "shares must have one number for each of the 2 stages, of 2 to 3 levels; got 3"),
        ({"shares": (0.5, 0.6)}, "add up to 1"),
        ({"epochs": 2, "first": 1}, "epochs must be at least 3: each of its 3 stages takes one or more; got 2"),
        ({"shares": (0.99, 0.01)}, "10 epochs are too few for shares of 0.99, 0.01"),
        ({"level_weights": (1.0, 1.0)}, r"level_weights must have a weight for each of 3 levels.*got \[1.0, 1.0\]"),
        ({"level_weights": (0.0, 0.0, 1.0)}, r"a weight for each of 2 levels, not all of them 0; got \[0.0, 0.0\]"),
        ({"level_weights": ((1.0, 1.0),)}, r"level_weights must have a weight for each of 2 levels"),
        ({"level_weights": (1.0, 1.0, 1.0), "set_levels": False}, "leave one of them out"),
        ({"ratio": 1.0}, "ratio must be below 1"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields, message):
    with pytest.raises(CurriculumError, match=message):
        GradualLevels(**{"epochs": 10, **fields})


def test_it_is_written_as_a_string_and_as_json():
    written = "gradual_levels(first=1, shares=(0.2,0.3,0.5), level_weights=((1),(1,1),(1,1,2)), fresh_optimizer=true)"
    curriculum = create_curriculum(written.replace("((1)", "((1,)"), epochs=10)
    assert curriculum.stage(9).level_weights == (1.0, 1.0, 2.0)
    assert curriculum_from_dict(json.loads(json.dumps(curriculum.to_dict()))) == curriculum


# With other curricula


def test_sharpening_passes_over_the_images_of_each_stage():
    both = create_curriculum("gradual_levels+progressive_sharpening(kernels=(3,1))", epochs=4)
    assert plan(both, "levels", "pixels") == [(2, 28)] * 2 + [(3, 56)] * 2
    images = torch.rand(2, 1, 56, 56)
    torch.testing.assert_close(both.stage(0).view(images), BoxBlur(3)(Resize(0.5, "area")(images)))


@pytest.mark.parametrize(
    "other", ["trd(variant=regular,resolution=0.5)", "trd(variant=regular,resolution=0.25)", "progressive_resizing"]
)
@pytest.mark.parametrize("order", ["gradual_levels+{}", "{}+gradual_levels"])
def test_lower_resolutions_under_fixed_levels_are_refused(order, other):
    with pytest.raises(CurriculumError, match=r"needs the resolution that goes with its [23] processing levels"):
        create_curriculum(order.format(other), epochs=20)


def test_other_resolutions_may_come_after_it_or_stay_above_its_own():
    after = create_curriculum("gradual_levels:0.5>trd(variant=regular)", epochs=8)
    assert plan(after, "levels")[4:] == [(None,)] * 4
    above = "gradual_levels(levels=2,first=1)+progressive_resizing(initial=0.75,delay=0.5,final=0.5)"
    assert plan(create_curriculum(above, epochs=4), "levels", "pixels") == [(1, 28)] * 2 + [(2, 56)] * 2
