"""The augmentation's settings."""

import pytest

from curriculum_zoo.errors import RecipeError
from curriculum_zoo.recipes import Augmentation


def test_nothing_is_done_by_default():
    assert not Augmentation().any
    for some in ({"flip": True}, {"crop_padding": 1}, {"cutout": 1}):
        assert Augmentation(**some).any


def test_it_travels_through_json():
    augmentation = Augmentation(flip=True, crop_padding=4, padding="reflect", cutout=8)
    assert Augmentation.from_dict(augmentation.to_dict()) == augmentation


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop_padding": -1}, "crop_padding must be at least 0, got -1"),
        ({"cutout": -1}, "cutout must be at least 0, got -1"),
        ({"padding": "mirror"}, "padding expects one of 'zeros', 'reflect', got 'mirror'"),
        ({"flip": 1}, "flip expects true or false or 'alternating', got 1"),
    ],
)
def test_values_out_of_range_are_named(settings, message):
    with pytest.raises(RecipeError, match=message):
        Augmentation(**settings)
