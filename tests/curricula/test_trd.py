"""TRD, its numbers against the paper's, and its draws."""

from fractions import Fraction

import pytest
from plans import sides

from curriculum_zoo.curricula import TRD, Baseline, Stage
from curriculum_zoo.errors import CurriculumError
from curriculum_zoo.views import ReducedShare, Resize, identity

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
    assert {stage.image_size for stage in curriculum.stages()} == {None, 0.5}
    assert {stage.view for stage in curriculum.stages()} == {identity, Resize(0.5, "bilinear")}
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
    assert long.stages()[:20] == short.stages()


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
    assert {stage.view for stage in curriculum.stages()} == {ReducedShare(0.5, 0.5)}
    assert curriculum.relative_cost(32) == curriculum.expected_cost(32) == 1


@pytest.mark.parametrize("variant", ["random", "regular", "mixed", "batch"])
def test_two_epochs_before_and_after_a_drop_stay_at_full_resolution(variant):
    curriculum = TRD(epochs=20, variant=variant, participation=1.0, drops=(8, 16))
    full = [stage == Stage(name="full") for stage in curriculum.stages()]
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


@pytest.mark.parametrize("variant", ["random", "regular", "three", "mixed", "batch"])
def test_the_final_epochs_stay_at_full_resolution_and_the_others_as_they_are(variant):
    plain, final = (TRD(epochs=20, variant=variant, participation=0.9, final=n) for n in (0, 3))
    assert final.stages()[17:] == [Stage(name="full")] * 3
    assert final.stages()[:17] == plain.stages()[:17]
    assert TRD(epochs=3, final=3).relative_cost(32) == 1
    with pytest.raises(CurriculumError, match="at least 4: final takes 4"):
        TRD(epochs=3, final=4)


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
