"""What holds for all built-in curricula."""

import dataclasses
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import BUILT_IN, CHOOSING, sides

from curriculum_zoo import list_curricula
from curriculum_zoo.curricula import HRT, TRD, Baseline, LowFrequency, create_curriculum, curriculum_from_dict
from curriculum_zoo.errors import CurriculumError
from curriculum_zoo.registry import CURRICULA
from curriculum_zoo.views import Resize, SobelEdges, identity, look


def test_the_built_in_curricula_are_listed():
    assert set(BUILT_IN) <= set(list_curricula())


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("epochs", [5, 10, 23])
def test_every_curriculum_is_pure_hashable_and_survives_json(name, epochs):
    curriculum = create_curriculum(name, epochs=epochs, seed=3)
    assert (curriculum.epochs, curriculum.seed, curriculum.name) == (epochs, 3, name)
    assert curriculum.stages() == create_curriculum(name, epochs=epochs, seed=3).stages()
    described = json.loads(json.dumps(curriculum.to_dict()))
    assert described["name"] == name
    assert curriculum_from_dict(described) == curriculum
    assert type(curriculum).from_dict(described) == curriculum
    assert hash(curriculum_from_dict(described)) == hash(curriculum)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_stage_gives_images_of_the_size_it_states_and_frees_its_optimizer_once(name):
    curriculum = create_curriculum(name, epochs=12, seed=1)
    images = torch.rand(4, 3, 32, 32)
    for stage in curriculum.stages():
        side = stage.pixels(32)
        seen = stage.view(images)
        assert seen.shape == (4, 3, side, side)
        fixed = stage.at_full_size(32)
        assert torch.equal(fixed.view(images), seen)
        assert fixed.view(torch.rand(4, 3, side, side)).shape == seen.shape
    assert sum(stage.fresh_optimizer for stage in curriculum.stages()) == (name in ("fixres", "hrt"))


EXPRESSIONS = [*BUILT_IN, "progressive_sharpening(replay=0.5)", "trd(variant=batch)"]
EXPRESSIONS += ["progressive_sharpening(replay=0.5)+trd(variant=batch)+hrt", "baseline > trd+low_frequency"]


@pytest.mark.parametrize("expression", EXPRESSIONS)
@settings(max_examples=5)
@given(data=st.data(), side=st.sampled_from([16, 21, 32]), cut=st.integers(1, 5))
def test_what_every_stage_shows_of_a_batch_is_what_it_shows_of_its_parts(expression, data, side, cut):
    images = torch.rand(6, 3, side, side, generator=torch.Generator().manual_seed(side))
    order = data.draw(st.permutations(range(6)))
    seeds = data.draw(st.sampled_from([None, torch.arange(6)]))
    for stage in create_curriculum(expression, epochs=12, seed=1).stages():
        for view in (stage.view, stage.at_full_size(side).view):
            whole = look(view, images, seeds)
            for part in (order[:cut], order[cut:]):
                alone = look(view, images[part], None if seeds is None else seeds[part])
                # Rounding of 1e-6 in a blur, divided by the largest of faint edges.
                torch.testing.assert_close(alone, whole[part], rtol=0, atol=1e-5)


@pytest.mark.parametrize("expression", ["progressive_sharpening(replay=0.5)", "trd(variant=batch)"])
def test_draws_of_a_stage_follow_the_seed_and_the_epoch_and_leave_stages_equal(expression):
    images = torch.rand(200, 1, 8, 8)
    plan, other = (create_curriculum(expression, epochs=10, seed=seed) for seed in (0, 1))
    assert plan.stage(2) == plan.stage(3) == other.stage(2)
    first, next_epoch, other_seed = (look(s.view, images) for s in (plan.stage(2), plan.stage(3), other.stage(2)))
    assert torch.equal(first, look(plan.stage(2).view, images))
    for changed in (next_epoch, other_seed):
        # Two independent draws of one half each agree on half of the images.
        assert (changed == first).all((1, 2, 3)).float().mean() == pytest.approx(0.5, abs=0.15)
    assert len(plan.timeline()) <= 5


@pytest.mark.parametrize("name", BUILT_IN)
def test_relative_cost_is_the_mean_of_pixels_seen(name):
    curriculum = create_curriculum(name, epochs=17, seed=2)
    shares = [stage.sample_cost for stage in curriculum.stages()]
    assert name in CHOOSING or set(shares) == {1.0}
    if name == "mix_size":
        assert curriculum.relative_cost(224) == pytest.approx((16 * (0.5**2 + 0.75**2 + 1) / 3 + 1) / 17)
        return
    mean = sum(share * side**2 for share, side in zip(shares, sides(curriculum, 224), strict=True)) / 17 / 224**2
    assert curriculum.relative_cost(224) == pytest.approx(mean)


def test_epochs_beyond_the_plan_are_refused():
    curriculum = Baseline(epochs=3)
    for epoch in (-1, 3):
        with pytest.raises(CurriculumError, match="plans epochs 0 to 2"):
            curriculum.stage(epoch)


def test_a_stage_larger_than_the_images_is_refused():
    with pytest.raises(CurriculumError, match="asks for 48 px, and the images have 32 px"):
        TRD(epochs=30, resolution=48).relative_cost(32)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "trd", "epochs": 5, "resolutoin": 3}, "did you mean 'resolution'"),
        ({"name": "trd"}, "epochs is missing"),
        ({"name": "trd", "epochs": "5"}, "epochs expects an integer, got '5'"),
        ({"epochs": 5}, "needs its registered name"),
        ({"name": "trd", "epochs": 5, "participation": 1.5}, "at most 1"),
        ([], "object of fields"),
    ],
)
def test_reading_back_is_strict(values, message):
    with pytest.raises(CurriculumError, match=message):
        curriculum_from_dict(values)


def test_reading_back_another_class_than_asked_for_is_refused():
    with pytest.raises(CurriculumError, match="is of 'trd', not of 'hrt'"):
        HRT.from_dict({"name": "trd", "epochs": 5})


ABLATIONS = [(name, label) for name in BUILT_IN for label in CURRICULA.load(name).ablations]


def test_the_methods_that_are_compared_have_ablations():
    looks = {"hrt", "low_frequency", "mix_size", "progressive_crops", "progressive_sharpening", "trd"}
    assert {name for name, _ in ABLATIONS} == looks | set(CHOOSING) - {"random_subset"}


@pytest.mark.parametrize(("name", "label"), ABLATIONS)
def test_an_ablation_is_another_plan_of_equal_length(name, label):
    more = {"replay": 0.3} if name == "progressive_sharpening" else {}
    method = create_curriculum(name, epochs=20, seed=3, **more)
    change = type(method).ablations[label]
    if isinstance(change, str):
        assert create_curriculum(change, epochs=20, seed=3).relative_cost(32) == pytest.approx(
            method.relative_cost(32), rel=1e-3
        )
        return
    ablated = create_curriculum(name, epochs=20, seed=3, **(more | change))
    assert ablated.stages() != method.stages()
    assert dataclasses.replace(method, **change) == ablated


def test_ablations_take_away_what_they_say():
    hrt = {label: HRT(epochs=8, **change).stages() for label, change in HRT.ablations.items()}
    for label, plan in hrt.items():
        assert any(stage.view == SobelEdges() for stage in plan) == (label == "edges only")
        assert any(stage.frozen for stage in plan) == (label == "freezing only")
        assert any(stage.fresh_optimizer for stage in plan) == (label == "fresh optimiser only")
    method, plain = LowFrequency(epochs=10), LowFrequency(epochs=10, **LowFrequency.ablations["plain resizing"])
    assert sides(plain, 224) == sides(method, 224)
    assert [stage.augment_strength for stage in plain.stages()] == [stage.augment_strength for stage in method.stages()]
    assert {type(stage.view) for stage in plain.stages()} == {Resize, type(identity)}


def test_a_plan_that_ends_on_reduced_images_warns_of_it_below_its_table():
    ends_reduced = TRD(epochs=4, participation=1.0)
    (warning,) = ends_reduced.warnings()
    assert "the last epoch is '50 %'" in warning
    assert "final=1" in warning
    assert str(ends_reduced.timeline(32)).endswith(warning)
    assert (ends_reduced + Baseline(epochs=4)).warnings()
    assert Baseline(epochs=2).then(ends_reduced).warnings()
    for ends_full in (TRD(epochs=4, participation=1.0, final=1), ends_reduced.then(Baseline(epochs=1)), HRT(epochs=5)):
        assert ends_full.warnings() == ends_full.warnings(32) == ()


def test_whether_pixels_are_fewer_than_the_images_have_is_known_with_the_images():
    pixels = TRD(epochs=4, participation=1.0, resolution=16)
    assert pixels.warnings() == pixels.warnings(16) == ()
    assert pixels.warnings(32)


@pytest.mark.parametrize("name", [*(name for name in BUILT_IN if name != "trd"), "trd(final=1)"])
@given(epochs=st.integers(1, 12), seed=st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_the_last_epoch_is_at_full_size_or_so_few_epochs_are_refused(name, epochs, seed):
    check_the_last_epoch(name, epochs, seed)


@given(
    epochs=st.integers(1, 12),
    initial=st.sampled_from((0.25, 0.5, 0.9)),
    delay=st.sampled_from((0.0, 0.5, 1.0)),
    final=st.sampled_from((0.0, 0.2, 0.5)),
)
def test_resizing_ends_at_full_size_whatever_its_shares(epochs, initial, delay, final):
    check_the_last_epoch(f"progressive_resizing({initial=}, {delay=}, {final=})", epochs, 0)


def check_the_last_epoch(expression, epochs, seed):
    try:
        curriculum = create_curriculum(expression, epochs=epochs, seed=seed)
    except CurriculumError:
        assert epochs < 5 or "progressive_resizing(" in expression
        return
    last = curriculum.stage(epochs - 1)
    assert last.image_size is None
    images = torch.rand(2, 3, 32, 32)
    assert look(last.view, images).shape == images.shape
