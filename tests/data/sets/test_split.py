"""Cutting labelled images in two."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.data.sets.split import stratified_split
from curriculum_zoo.errors import DataError

class_counts = st.lists(st.integers(2, 40), min_size=2, max_size=6)


def shuffled_labels(counts):
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


@given(class_counts, st.floats(0.01, 0.5), st.integers(0, 2**40))
def test_both_sides_together_are_everything_once_and_ascending(counts, share, seed):
    labels = shuffled_labels(counts)
    stay, cut = stratified_split(labels, share, seed)
    assert sorted([*stay, *cut]) == list(range(len(labels)))
    assert (np.diff(stay) > 0).all()
    assert (np.diff(cut) > 0).all()
    assert stay.dtype == cut.dtype == np.int64


@given(class_counts, st.floats(0.01, 0.5), st.integers(0, 100))
def test_each_class_gives_its_share_rounded_and_at_least_one(counts, share, seed):
    labels = shuffled_labels(counts)
    _, cut = stratified_split(labels, share, seed)
    for label, count in enumerate(counts):
        given_away = (labels[cut] == label).sum()
        assert given_away >= 1
        assert abs(given_away - share * count) <= 0.5 or given_away == 1


def test_the_same_seed_cuts_alike_and_another_differently():
    labels = shuffled_labels([50, 50])
    first, again, other = (stratified_split(labels, 0.2, seed)[1] for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_the_cut_is_what_it_was_in_earlier_versions():
    assert stratified_split(np.array([0, 1] * 10), 0.2, 7)[1].tolist() == [1, 2, 8, 9]


def test_no_share_cuts_nothing():
    stay, cut = stratified_split(np.array([0, 0, 1]), 0.0, 0)
    assert (stay.tolist(), cut.tolist()) == ([0, 1, 2], [])


def test_every_image_is_as_likely_to_be_cut_off_as_every_other():
    labels = np.repeat([0, 1], [10, 30])
    times = np.zeros(40)
    for seed in range(2000):
        times[stratified_split(labels, 0.1, seed)[1]] += 1
    assert times.sum() == 2000 * 4
    assert (abs(times - 200) < 5 * np.sqrt(2000 * 0.1 * 0.9)).all()


def test_a_class_that_would_be_left_without_an_image_is_named():
    with pytest.raises(DataError, match=r"Class 'dog' has 1 image\(s\): with a validation share of 0\.1"):
        stratified_split(np.array([0, 0, 1]), 0.1, 0, ("cat", "dog"))
    with pytest.raises(DataError, match="cut off less for test"):
        stratified_split(np.array([0, 0, 1, 1]), 0.9, 0, ("cat", "dog"), purpose="test")
    with pytest.raises(DataError, match=r"Class number 0 has 2 image\(s\): with 4 validation images in all"):
        stratified_split(np.array([0, 0, 1, 1]), 4, 0)


@pytest.mark.parametrize("part", [-0.1, 1.5, 2.5, float("nan"), float("inf")])
def test_what_is_neither_a_share_nor_a_number_of_images_is_refused(part):
    with pytest.raises(DataError, match="must be a share from 0 to below 1 or a whole number of images"):
        stratified_split(np.array([0, 0, 1, 1]), part, 0)


@given(class_counts, st.data())
def test_a_number_of_images_is_met_exactly_with_every_class_in_proportion(counts, data):
    most = min(sum(counts) * (size - 1) // size for size in counts)  # so that no class is used up
    number = data.draw(st.integers(len(counts), max(len(counts), most - len(counts))))
    labels = shuffled_labels(counts)
    stay, cut = stratified_split(labels, number, 3)
    assert len(cut) == number
    assert sorted([*stay, *cut]) == list(range(len(labels)))
    for label, count in enumerate(counts):
        given_away = (labels[cut] == label).sum()
        assert given_away >= 1
        assert abs(given_away - (1 + (number - len(counts)) * count / sum(counts))) <= 1


def test_a_class_of_two_keeps_one_where_another_has_images_to_spare():
    stay, cut = stratified_split(np.repeat([0, 1, 2], [2, 6, 12]), 7, 3)
    assert np.bincount(np.repeat([0, 1, 2], [2, 6, 12])[cut]).tolist() == [1, 2, 4]
    assert len(stay) == 13


def test_too_few_images_for_the_classes_are_refused():
    with pytest.raises(DataError, match=r"2 validation image\(s\) are too few for 3 classes"):
        stratified_split(np.repeat([0, 1, 2], 5), 2, 0)
