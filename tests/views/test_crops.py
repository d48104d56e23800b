"""Cut-outs at random places, against slices made one by one."""

import torch

from curriculum_zoo.curricula import ProgressiveCrops, ProgressiveResizing
from curriculum_zoo.views import RandomCrop, look

IMAGES = torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_every_cut_out_is_a_slice_of_its_image_and_all_places_occur():
    seeds = torch.arange(40) * 7919
    cut = RandomCrop(0.75, key=(1, 2))(IMAGES, seeds)
    assert cut.shape == (40, 3, 12, 12)
    places = set()
    for image, part in zip(IMAGES, cut, strict=True):
        at = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if torch.equal(image[:, top : top + 12, left : left + 12], part)
        ]
        assert len(at) == 1
        places.add(at[0])
    assert {top for top, _ in places} == {left for _, left in places} == set(range(5))


def test_draws_belong_to_the_image_and_the_key():
    seeds = torch.arange(40)
    view = RandomCrop(8, key=(1, 2))
    cut = view(IMAGES, seeds)
    assert torch.equal(cut[30:], view(IMAGES[30:], seeds[30:]))
    assert not torch.equal(cut, RandomCrop(8, key=(1, 3))(IMAGES, seeds))
    assert torch.equal(view(IMAGES), look(view, IMAGES))


def test_images_that_are_no_larger_stay_and_memory_formats_are_kept():
    assert RandomCrop(16)(IMAGES) is IMAGES
    last = IMAGES.contiguous(memory_format=torch.channels_last)
    cut = RandomCrop(8)(last, torch.arange(40))
    assert cut.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(cut, RandomCrop(8)(IMAGES, torch.arange(40)))


def test_progressive_crops_have_the_sides_of_progressive_resizing_and_are_decoded_in_full():
    crops, resized = ProgressiveCrops(epochs=10).stages(), ProgressiveResizing(epochs=10).stages()
    assert [stage.pixels(32) for stage in crops] == [stage.pixels(32) for stage in resized]
    assert {stage.decoded_pixels(32) for stage in crops} == {32}
    assert resized[0].decoded_pixels(32) == 16
