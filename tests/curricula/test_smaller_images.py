"""Curricula that begin on smaller images: low frequencies, progressive resizing, and the batches that go with them."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from plans import sides

from curriculum_zoo.curricula import LowFrequency, ProgressiveResizing, Stage, create_curriculum
from curriculum_zoo.errors import CurriculumError
from curriculum_zoo.views import LowFrequencyCrop, identity


def test_low_frequency_has_efficienttrains_sizes_and_strengths_at_equal_compute():
    curriculum = LowFrequency(epochs=1000)
    plan = curriculum.stages()
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
    assert {stage.augment_strength for stage in LowFrequency(epochs=10, augment_strength=None).stages()} == {None}
    constant = LowFrequency(epochs=10, augment_strength=(5, 5), sizes=(0.5, 1.0)).stages()
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
    assume(final == 0 or epochs >= 1 / final)
    curriculum = ProgressiveResizing(epochs=epochs, initial=initial, delay=delay, final=final)
    want = [composer_side(epoch, epochs, full, initial, delay, final, 4) for epoch in range(epochs - 1)] + [full]
    assert sides(curriculum, full) == want


def test_progressive_resizing_defaults_are_composers():
    assert sides(ProgressiveResizing(epochs=20), 32) == [16] * 11 + [20, 20, 24, 28, 28] + [32] * 4
    assert set(sides(ProgressiveResizing(epochs=100, size_multiple=32), 224)) == {128, 160, 192, 224}
    with pytest.raises(CurriculumError, match="at most 1 together"):
        ProgressiveResizing(epochs=10, delay=0.7, final=0.4)


@given(st.integers(1, 40), st.floats(0.02, 0.5))
def test_progressive_resizing_ends_at_the_full_size_or_names_the_least_epochs_that_do(epochs, final):
    try:
        curriculum = ProgressiveResizing(epochs=epochs, final=final)
    except CurriculumError as error:
        needed = int(str(error).split("at least ")[1].split(":")[0])
        assert sides(ProgressiveResizing(epochs=needed, final=final), 224)[-1] == 224
        with pytest.raises(CurriculumError):
            ProgressiveResizing(epochs=needed - 1, final=final)
        return
    assert sides(curriculum, 224)[-1] == 224


@pytest.mark.parametrize("name", ["trd", "low_frequency", "progressive_resizing"])
def test_scale_batch_follows_the_pixels_only_when_asked(name):
    plain = create_curriculum(name, epochs=12)
    scaled = create_curriculum(name, epochs=12, scale_batch=True)
    assert all(stage.batch_scale(64) == 1 for stage in plain.stages())
    assert [stage.batch_scale(64) for stage in scaled.stages()] == [(64 / side) ** 2 for side in sides(scaled, 64)]


@given(
    batch_size=st.integers(1, 512),
    multiple=st.integers(1, 24),
    full=st.sampled_from([28, 32, 64, 224]),
    share=st.floats(0.1, 1.0),
)
def test_scaled_batches_are_shared_by_processes_and_the_rate_follows_the_size(batch_size, multiple, full, share):
    stage = Stage(name="small", image_size=share, scale_batch=True)
    size, factor = stage.scaled_batch(batch_size, full, multiple)
    assert factor == size / batch_size
    if stage.pixels(full) == full:
        assert (size, factor) == (batch_size, 1.0)
        return
    assert size > 0
    assert size % multiple == 0
    exact = batch_size * (full / stage.pixels(full)) ** 2
    assert size == multiple or abs(size - exact) <= multiple / 2


def test_a_scaled_batch_of_224_px_can_be_halved():
    # 128 images at 96 of 224 px were 697, which no two processes can share.
    stage = create_curriculum("low_frequency(scale_batch=true)", epochs=12).stage(0)
    assert stage.pixels(224) == 96
    assert stage.scaled_batch(128, 224) == (697, 697 / 128)
    assert stage.scaled_batch(128, 224, 2) == (696, 696 / 128)
    assert stage.scaled_batch(128, 224, 8) == (696, 696 / 128)
    plain = create_curriculum("low_frequency", epochs=12).stage(0)
    assert plain.scaled_batch(127, 224, 2) == (127, 1.0)
