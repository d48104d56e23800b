"""The built-in curricula, numbers against the papers, and what holds for all of them."""

import dataclasses
import json
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.curricula import (
    HRT,
    TRD,
    Baseline,
    Curriculum,
    Frozen,
    LowFrequency,
    ProgressiveResizing,
    ProgressiveSharpening,
    Stage,
    create_curriculum,
    curriculum_from_dict,
    list_curricula,
)
from curriculum_zoo.curricula.views import (
    BoxBlur,
    CannyEdges,
    GaussianBlur,
    LowFrequencyCrop,
    Portions,
    ReducedShare,
    Resize,
    SobelEdges,
    identity,
)
from curriculum_zoo.errors import CurriculumError

BUILT_IN = ["baseline", "fixres", "freeze", "gradual_levels", "hrt", "low_frequency"]
BUILT_IN += ["progressive_resizing", "progressive_sharpening", "trd"]


def stages(curriculum: Curriculum) -> list[Stage]:
    return [curriculum.stage(epoch) for epoch in range(curriculum.epochs)]


def sides(curriculum: Curriculum, full: int) -> list[int]:
    return [stage.pixels(full) for stage in stages(curriculum)]


# All of them ------------------------------------------------------------------------------------------------------


def test_the_built_in_curricula_are_listed():
    assert set(BUILT_IN) <= set(list_curricula())


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("epochs", [5, 10, 23])
def test_every_curriculum_is_pure_hashable_and_survives_json(name, epochs):
    curriculum = create_curriculum(name, epochs=epochs, seed=3)
    assert (curriculum.epochs, curriculum.seed, curriculum.name) == (epochs, 3, name)
    assert stages(curriculum) == stages(create_curriculum(name, epochs=epochs, seed=3))
    described = json.loads(json.dumps(curriculum.to_dict()))
    assert described["name"] == name
    assert curriculum_from_dict(described) == curriculum
    assert type(curriculum).from_dict(described) == curriculum
    assert hash(curriculum_from_dict(described)) == hash(curriculum)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_stage_gives_images_of_the_size_it_states_and_frees_its_optimizer_once(name):
    curriculum = create_curriculum(name, epochs=12, seed=1)
    images = torch.rand(4, 3, 32, 32)
    for stage in stages(curriculum):
        side = stage.pixels(32)
        seen = stage.view(images)
        assert seen.shape == (4, 3, side, side)
        fixed = stage.at_full_size(32)
        assert torch.equal(fixed.view(images), seen)
        assert fixed.view(torch.rand(4, 3, side, side)).shape == seen.shape
    assert sum(stage.fresh_optimizer for stage in stages(curriculum)) == (name in ("fixres", "hrt"))


@pytest.mark.parametrize("name", BUILT_IN)
def test_relative_cost_is_the_mean_of_pixels_seen(name):
    curriculum = create_curriculum(name, epochs=17, seed=2)
    mean = sum(side**2 for side in sides(curriculum, 224)) / 17 / 224**2
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


# Progressive sharpening -------------------------------------------------------------------------------------------


def test_progressive_sharpening_goes_from_five_to_the_original_in_equal_shares():
    views = [stage.view for stage in stages(ProgressiveSharpening(epochs=10))]
    assert views == [view for view in (BoxBlur(5), BoxBlur(4), BoxBlur(3), BoxBlur(2), identity) for _ in range(2)]
    assert ProgressiveSharpening(epochs=10).relative_cost(32) == 1


@given(st.integers(5, 200))
def test_equal_shares_differ_by_one_epoch_at_most(epochs):
    names = [stage.name for stage in stages(ProgressiveSharpening(epochs=epochs))]
    counts = [names.count(name) for name in ("box 5", "box 4", "box 3", "box 2", "full")]
    assert sum(counts) == epochs
    assert max(counts) - min(counts) <= 1


def test_given_epochs_hold_and_the_last_stage_takes_the_rest():
    curriculum = ProgressiveSharpening(epochs=10, kernels=(7, 3, 1), stage_epochs=(1, 4))
    assert [stage.name for stage in stages(curriculum)] == ["box 7"] + ["box 3"] * 4 + ["full"] * 5


def test_gaussian_kernels_have_sigmas():
    curriculum = ProgressiveSharpening(epochs=6, kernel="gaussian", sigmas=(2.0, 0.5, 0.0))
    assert [stage.view for stage in stages(curriculum)][::2] == [GaussianBlur(2.0), GaussianBlur(0.5), identity]


def test_replay_shows_earlier_blurs_in_equal_parts_of_its_share():
    curriculum = ProgressiveSharpening(epochs=3, kernels=(3, 2, 1), replay=0.3)
    first, second, third = (stage.view for stage in stages(curriculum))
    assert first == BoxBlur(3)
    assert second == Portions((BoxBlur(3), BoxBlur(2)), (0.3, 0.7))
    assert third == Portions((BoxBlur(3), BoxBlur(2), identity), (0.15, 0.15, 0.7))
    images = torch.rand(20, 1, 9, 9)
    seen = third(images)
    torch.testing.assert_close(seen[:3], BoxBlur(3)(images[:3]))
    torch.testing.assert_close(seen[3:6], BoxBlur(2)(images[3:6]))
    assert torch.equal(seen[6:], images[6:])


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


# TRD --------------------------------------------------------------------------------------------------------------

# Appendix C.1 and table 1: full FLOPs as printed, participation, reduced share of the side, mFLOPs as printed.
PRINTED = [
    ("90.3", 0.3, 1 / 2, "70.0"),
    ("90.3", 0.5, 1 / 2, "56.5"),
    ("173.3", 0.3, 1 / 2, "134.3"),
    ("173.3", 0.5, 1 / 2, "108.3"),
    ("399.5", 0.3, 1 / 2, "309.6"),
    ("399.5", 0.5, 1 / 2, "249.7"),
    ("297.9", 0.3, 1 / 2, "230.8"),
    ("297.9", 0.5, 1 / 2, "186.2"),
    ("9.4", 0.3, 1 / 2, "7.3"),
    ("9.4", 0.5, 1 / 2, "5.9"),
    ("5.3", 0.3, 1 / 2, "4.1"),
    ("5.3", 0.5, 1 / 2, "3.3"),
    ("693.3", 0.3, 1 / 2, "537.3"),
    ("693.3", 0.5, 1 / 2, "433.3"),
    ("4.1", 0.3, 1 / 2, "3.2"),
    ("4.1", 0.5, 1 / 2, "2.6"),
    ("4.1", 0.7, 1 / 2, "2.0"),
    ("4.1", 0.9, 1 / 2, "1.3"),
    ("4.1", 0.5, 84 / 224, "2.4"),
    ("4.1", 0.7, 84 / 224, "1.6"),
    ("4.1", 0.9, 84 / 224, "0.9"),
    ("4.1", 0.5, 56 / 224, "2.2"),
    ("4.1", 0.7, 56 / 224, "1.4"),
    ("4.1", 0.9, 56 / 224, "0.6"),
    ("7.8", 0.5, 1 / 2, "4.9"),
]


def rounding_interval(printed: str) -> tuple[Fraction, Fraction]:
    """What a number may have been before it was printed with so many digits."""
    half = Fraction(1, 2 * 10 ** len(printed.partition(".")[2]))
    return Fraction(printed) - half, Fraction(printed) + half


@pytest.mark.parametrize(("full", "participation", "share", "reduced"), PRINTED)
def test_expected_cost_reproduces_the_papers_printed_mflops(full, participation, share, reduced):
    cost = TRD(epochs=1, resolution=share, participation=participation).expected_cost(224)
    low, high = (bound * Fraction(cost) for bound in rounding_interval(full))
    printed_low, printed_high = rounding_interval(reduced)
    assert low <= printed_high
    assert high >= printed_low


def test_trd_defaults_are_half_the_side_in_half_the_epochs():
    curriculum = TRD(epochs=200, seed=0)
    assert {stage.image_size for stage in stages(curriculum)} == {None, 0.5}
    assert {stage.view for stage in stages(curriculum)} == {identity, Resize(0.5, "bilinear")}
    assert curriculum.expected_cost(32) == 1 - 0.5 * 0.75
    assert set(sides(TRD(epochs=50, resolution=24), 32)) == {24, 32}


def test_draws_are_fair_and_follow_the_seed():
    for participation in (0.1, 0.5, 0.9):
        plans = [TRD(epochs=100, seed=seed, participation=participation) for seed in range(20)]
        reduced = [plan.reduced(epoch) for plan in plans for epoch in range(100)]
        # Four standard deviations of a binomial count of 2,000.
        assert sum(reduced) / 2000 == pytest.approx(
            participation, abs=4 * (participation * (1 - participation) / 2000) ** 0.5
        )
    plans = {tuple(sides(TRD(epochs=30, seed=seed), 32)) for seed in range(20)}
    assert len(plans) == 20


def test_draws_do_not_depend_on_the_length_of_the_training():
    long, short = TRD(epochs=100, seed=5), TRD(epochs=20, seed=5)
    assert stages(long)[:20] == stages(short)


def test_a_higher_participation_reduces_the_same_epochs_and_more():
    few, many = TRD(epochs=100, participation=0.3), TRD(epochs=100, participation=0.6)
    assert all(many.reduced(epoch) for epoch in range(100) if few.reduced(epoch))
    assert not any(TRD(epochs=50, participation=0.0).reduced(epoch) for epoch in range(50))
    assert all(TRD(epochs=50, participation=1.0).reduced(epoch) for epoch in range(50))


def test_draws_are_equal_in_another_process(python):
    printed = python(
        """
        import json
        from curriculum_zoo.curricula import create_curriculum

        plans = {}
        for variant in ("random", "three", "mixed"):
            curriculum = create_curriculum("trd", epochs=40, seed=9, variant=variant)
            plans[variant] = [curriculum.stage(epoch).pixels(1000) for epoch in range(40)]
        print(json.dumps(plans))
        """
    )
    assert printed == {v: sides(TRD(epochs=40, seed=9, variant=v), 1000) for v in ("random", "three", "mixed")}


def test_regular_trd_reduces_every_even_epoch_and_other_shares_evenly():
    assert [TRD(epochs=9, variant="regular").reduced(epoch) for epoch in range(6)] == [True, False] * 3
    for tenths in range(11):
        curriculum = TRD(epochs=100, variant="regular", participation=tenths / 10)
        for start in range(0, 100, 10):
            assert sum(curriculum.reduced(epoch) for epoch in range(start, start + 10)) == tenths


def test_three_and_mixed_draw_other_resolutions_in_the_same_epochs():
    random, three, mixed = (TRD(epochs=400, variant=variant) for variant in ("random", "three", "mixed"))
    reduced = [random.reduced(epoch) for epoch in range(400)]
    assert [three.reduced(epoch) for epoch in range(400)] == reduced
    assert [mixed.reduced(epoch) for epoch in range(400)] == reduced
    assert set(sides(three, 64)) == {32, 48, 64}
    drawn = [side for side, small in zip(sides(mixed, 64), reduced, strict=True) if small]
    assert set(drawn) >= set(range(34, 63))
    assert min(drawn) >= 32
    for curriculum in (three, mixed):
        assert curriculum.relative_cost(64) == pytest.approx(curriculum.expected_cost(64), abs=0.05)
    with pytest.raises(CurriculumError, match="share of the full side with variant='mixed'"):
        TRD(epochs=5, resolution=32, variant="mixed")


def test_batchwise_trd_reduces_half_of_each_batch_and_costs_what_the_baseline_does():
    curriculum = TRD(epochs=5, variant="batch")
    assert {stage.view for stage in stages(curriculum)} == {ReducedShare(0.5, 0.5)}
    assert curriculum.relative_cost(32) == curriculum.expected_cost(32) == 1


@pytest.mark.parametrize("variant", ["random", "regular", "mixed", "batch"])
def test_two_epochs_before_and_after_a_drop_stay_at_full_resolution(variant):
    curriculum = TRD(epochs=20, variant=variant, participation=1.0, drops=(8, 16))
    full = [stage == Stage(name="full") for stage in stages(curriculum)]
    assert [epoch for epoch in range(20) if full[epoch]] == [6, 7, 8, 9, 14, 15, 16, 17]


def test_drops_of_the_schedule_are_taken_unless_the_user_stated_others():
    assert TRD(epochs=20).with_learning_rate_drops((10,)).drops == (10,)
    assert TRD(epochs=20, drops=(5,)).with_learning_rate_drops((10,)).drops == (5,)
    assert TRD(epochs=20, drops=()).with_learning_rate_drops((10,)).drops == ()
    assert Baseline(epochs=20).with_learning_rate_drops((10,)) == Baseline(epochs=20)


@pytest.mark.parametrize("variant", ["random", "regular", "three", "mixed", "batch"])
@pytest.mark.parametrize("drops", [None, (10, 22)])
def test_expected_cost_is_the_mean_over_seeds(variant, drops):
    plans = [TRD(epochs=30, seed=seed, variant=variant, participation=0.6, drops=drops) for seed in range(150)]
    mean = sum(plan.relative_cost(64) for plan in plans) / len(plans)
    assert plans[0].expected_cost(64) == pytest.approx(mean, abs=0.012)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"resolution": 0}, "at least 1 px"),
        ({"resolution": 1.0}, "between 0 and 1"),
        ({"participation": -0.1}, "at least 0"),
        ({"variant": "often"}, "one of"),
        ({"interpolation": "lanczos"}, "one of"),
        ({"resolution": True}, "expects"),
    ],
)
def test_trd_refuses_what_makes_no_sense(wrong, message):
    with pytest.raises(CurriculumError, match=message):
        TRD(epochs=10, **wrong)


def test_interpolations_reach_the_view():
    for interpolation in ("bilinear", "bicubic", "area", "nearest"):
        curriculum = TRD(epochs=1, participation=1.0, interpolation=interpolation)
        assert curriculum.stage(0).view == Resize(0.5, interpolation)


# HRT --------------------------------------------------------------------------------------------------------------

HALF = Frozen(depth=(0.5, 1.0), least_parts=4)


def test_hrt_is_four_epochs_of_frozen_edges_then_all_with_a_fresh_optimizer():
    plan = stages(HRT(epochs=10))
    assert plan[:4] == [Stage(name="edges", view=SobelEdges(), frozen=(HALF,))] * 4
    assert plan[4] == Stage(name="full", fresh_optimizer=True)
    assert plan[5:] == [Stage(name="full")] * 5


def test_the_arms_of_the_authors_ablation_are_options():
    edges = stages(HRT(epochs=6, freeze=None, fresh_optimizer=False))
    assert edges == [Stage(name="edges", view=SobelEdges())] * 4 + [Stage(name="full")] * 2
    freezing = stages(HRT(epochs=6, edges=None, fresh_optimizer=False))
    assert freezing == [Stage(name="frozen", frozen=(HALF,))] * 4 + [Stage(name="full")] * 2
    fresh = stages(HRT(epochs=6, edges=None, freeze=None))
    assert fresh == [Stage(name="full")] * 4 + [Stage(name="full", fresh_optimizer=True), Stage(name="full")]


def test_canny_patterns_and_held_statistics_are_options():
    stage = HRT(epochs=5, edges="canny", freeze=("layer4.*",), statistics="hold").stage(0)
    assert stage.view == CannyEdges(100, 200)
    assert stage.frozen == (Frozen(("layer4.*",), statistics="hold"),)
    assert HRT(epochs=5, freeze="layer4").stage(0).frozen == (Frozen(("layer4",)),)


def test_a_blur_phase_stands_between_edges_and_full_images():
    plan = stages(HRT(epochs=10, edge_epochs=2, blur_epochs=4, blur_sizes=(5, 3)))
    assert [stage.name for stage in plan] == ["edges"] * 2 + ["box 5"] * 2 + ["box 3"] * 2 + ["full"] * 4
    assert [stage.fresh_optimizer for stage in plan].index(True) == 2
    assert not plan[2].frozen
    gaussian = HRT(epochs=10, blur_epochs=1, blur="gaussian", blur_sizes=(1.5,)).stage(4)
    assert gaussian.view == GaussianBlur(1.5)


def test_staged_unfreezing_lets_ever_deeper_layers_learn_until_all_do():
    plan = stages(HRT(epochs=8, edge_epochs=2, blur_epochs=2, unfreeze="staged", depth=0.2))
    depths = [stage.frozen[0].depth for stage in plan if stage.frozen]
    assert [low for low, _ in depths] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert all(high == 1 for _, high in depths)
    assert [stage.fresh_optimizer for stage in plan] == [False] * 4 + [True] + [False] * 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 4}, "epochs must be at least 5"),
        ({"epochs": 6, "blur_epochs": 2}, "epochs must be at least 7"),
        ({"epochs": 20, "blur_epochs": 1, "blur_sizes": (5.0, 3.0)}, "blur_epochs must be at least 2"),
        ({"epochs": 20, "blur_epochs": 1, "blur_sizes": ()}, "at least one blur"),
        ({"epochs": 20, "blur_epochs": 1, "blur_sizes": (2.5,)}, "whole numbers"),
        ({"epochs": 20, "unfreeze": "staged", "freeze": ("layer4",)}, "needs freeze='auto'"),
        ({"epochs": 20, "edges": "prewitt"}, "'sobel', 'canny'"),
    ],
)
def test_hrt_refuses_what_it_cannot_plan(wrong, message):
    with pytest.raises(CurriculumError, match=message):
        HRT(**wrong)


# Peers ------------------------------------------------------------------------------------------------------------


def test_low_frequency_has_efficienttrains_sizes_and_strengths_at_equal_compute():
    curriculum = LowFrequency(epochs=1000)
    plan = stages(curriculum)
    seen = sides(curriculum, 224)
    assert seen == sorted(seen)
    assert set(seen) == {96, 160, 224}
    strengths = [stage.augment_strength for stage in plan]
    assert sorted(set(strengths)) == list(range(10))
    assert strengths == sorted(strengths)
    compute = [sum(stage.pixels(224) ** 2 for stage in plan if stage.augment_strength == m) for m in range(10)]
    assert max(compute) / min(compute) < 1.05
    assert plan[0].view == LowFrequencyCrop(96 / 224)
    assert plan[-1].view is identity


def test_low_frequency_strength_is_an_option_and_short_trainings_name_their_need():
    assert {stage.augment_strength for stage in stages(LowFrequency(epochs=10, augment_strength=None))} == {None}
    constant = stages(LowFrequency(epochs=10, augment_strength=(5, 5), sizes=(0.5, 1.0)))
    assert {stage.augment_strength for stage in constant} == {5.0}
    with pytest.raises(CurriculumError, match="epochs must be at least 3"):
        LowFrequency(epochs=2)
    with pytest.raises(CurriculumError, match="at least one share"):
        LowFrequency(epochs=2, sizes=())


@given(st.lists(st.floats(0.2, 1), min_size=1, max_size=5), st.integers(1, 40))
def test_low_frequency_names_an_epoch_count_that_is_the_least_to_suffice(shares, epochs):
    try:
        LowFrequency(epochs=epochs, sizes=tuple(shares))
    except CurriculumError as error:
        needed = int(str(error).split("at least ")[1].split(":")[0])
        LowFrequency(epochs=needed, sizes=tuple(shares))
        with pytest.raises(CurriculumError):
            LowFrequency(epochs=needed - 1, sizes=tuple(shares))


def composer_side(epoch: int, epochs: int, full: int, initial: float, delay: float, final: float, multiple: int) -> int:
    """Composer's rule, in its own words: what has elapsed of the growth, clamped, onto the scale."""
    growth = min(max((epoch / epochs - delay) / (1 - delay - final), 0), 1)
    return round((initial + (1 - initial) * growth) * full / multiple) * multiple


@given(st.integers(1, 60), st.sampled_from([32, 64, 224]), st.floats(0.2, 0.9), st.floats(0, 0.5), st.floats(0, 0.4))
def test_progressive_resizing_grows_linearly_between_delay_and_final_part(epochs, full, initial, delay, final):
    curriculum = ProgressiveResizing(epochs=epochs, initial=initial, delay=delay, final=final)
    want = [composer_side(epoch, epochs, full, initial, delay, final, 4) for epoch in range(epochs)]
    assert sides(curriculum, full) == want


def test_progressive_resizing_defaults_are_composers():
    assert sides(ProgressiveResizing(epochs=20), 32) == [16] * 11 + [20, 20, 24, 28, 28] + [32] * 4
    assert set(sides(ProgressiveResizing(epochs=100, size_multiple=32), 224)) == {128, 160, 192, 224}
    with pytest.raises(CurriculumError, match="at most 1 together"):
        ProgressiveResizing(epochs=10, delay=0.7, final=0.4)


@pytest.mark.parametrize("name", ["trd", "low_frequency", "progressive_resizing"])
def test_scale_batch_follows_the_pixels_only_when_asked(name):
    plain = create_curriculum(name, epochs=12)
    scaled = create_curriculum(name, epochs=12, scale_batch=True)
    assert all(stage.batch_scale(64) == 1 for stage in stages(plain))
    assert [stage.batch_scale(64) for stage in stages(scaled)] == [(64 / side) ** 2 for side in sides(scaled, 64)]


# The table --------------------------------------------------------------------------------------------------------


def test_timeline_has_a_row_for_each_run_of_equal_epochs():
    rows = HRT(epochs=10).timeline()
    assert [(row.first, row.last, row.name, row.resolution, row.frozen, row.view, row.cost) for row in rows] == [
        (0, 3, "edges", "full", "depth 0.5–1", "SobelEdges", 1.0),
        (4, 9, "full", "full", "", "", 1.0),
    ]
    assert rows[1].notes == "fresh optimizer"
    assert len(HRT(epochs=6, edges=None, freeze=None).timeline()) == 2


def test_timeline_is_a_table_without_empty_columns():
    lines = str(TRD(epochs=4, participation=1.0, drops=(4,)).timeline(32)).splitlines()
    assert lines[0].split() == ["epochs", "stage", "resolution", "cost", "view"]
    assert set(lines[1]) == {"─"}
    assert lines[2].split() == ["0–1", "50", "%", "16", "px", "25%", "Resize(16)"]
    assert lines[3].split() == ["2–3", "full", "32", "px", "100%"]
    assert all(len(line) <= len(lines[1]) for line in lines)


@pytest.mark.parametrize("name", BUILT_IN)
def test_timeline_covers_every_epoch_once(name):
    for image_size in (None, 32):
        rows = create_curriculum(name, epochs=15).timeline(image_size)
        assert [epoch for row in rows for epoch in range(row.first, row.last + 1)] == list(range(15))
    costs = sum((row.last - row.first + 1) * row.cost for row in rows) / 15
    assert costs == pytest.approx(create_curriculum(name, epochs=15).relative_cost(32))


def test_timeline_tells_what_else_a_stage_asks_for():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Odd(Curriculum):
        def _stage(self, epoch: int) -> Stage:
            return Stage(name="odd", view=torch.neg, image_size=8, levels=2, augment_strength=3.0, scale_batch=True)

    (row,) = Odd(epochs=2).timeline(16)
    assert (row.view, row.resolution, row.cost) == ("neg", "8 px", 0.25)
    assert row.notes == "2 levels, augmentation 3, batch ×4"
    (row,) = Odd(epochs=2).timeline()
    assert (row.resolution, row.cost) == ("8 px", None)
