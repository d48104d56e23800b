"""Normalisation, against torchvision's."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2.functional import normalize

from curriculum_zoo.data.normalize import Normalize


@given(channels=st.integers(1, 4), seed=st.integers(0, 99), data=st.data())
def test_normalisation_equals_torchvisions(channels, seed, data):
    numbers = st.floats(0.05, 1)
    mean, std = (data.draw(st.lists(numbers, min_size=channels, max_size=channels)) for _ in range(2))
    images = torch.rand(3, channels, 5, 4, generator=torch.Generator().manual_seed(seed))
    before = images.clone()
    assert torch.allclose(Normalize(mean, std)(images), normalize(images, mean, std), atol=1e-5, rtol=1e-5)
    assert torch.equal(images, before)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_normalisation_keeps_the_layout_in_memory(layout):
    images = torch.rand(4, 3, 8, 8).contiguous(memory_format=layout)
    assert Normalize((0.5,) * 3, (0.2,) * 3)(images).is_contiguous(memory_format=layout)
