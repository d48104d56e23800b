"""Seeds derived from what they are for."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.seeding import derive_seed


@given(st.lists(st.integers()))
def test_a_seed_fits_every_generator(parts):
    seed = derive_seed(*parts)
    assert 0 <= seed < 2**63
    torch.Generator().manual_seed(seed)
    np.random.default_rng(seed)


@given(st.lists(st.integers(), max_size=4), st.lists(st.integers(), max_size=4))
def test_other_parts_give_another_seed(first, second):
    assert (derive_seed(*first) == derive_seed(*second)) == (first == second)


def test_seeds_stay_what_they_were_in_earlier_versions():
    # from coreutils: printf 0,17,3 | b2sum -l 64
    assert derive_seed(0, 17, 3) == 0x29611E50AA3E2E9C >> 1


def test_one_bit_more_changes_about_half_the_bits():
    flipped = [(derive_seed(seed, 5) ^ derive_seed(seed + 1, 5)).bit_count() for seed in range(500)]
    assert 30 < np.mean(flipped) < 33


def test_numpy_integers_count_as_integers_and_fractions_do_not():
    assert derive_seed(np.int64(7), np.uint8(2)) == derive_seed(7, 2)
    with pytest.raises(TypeError):
        derive_seed(0.5)
