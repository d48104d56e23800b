"""Random numbers for single images, against the same arithmetic in NumPy, and as random numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.data.draws import image_seeds, random_below, random_bits

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]

int64 = st.integers(-(2**63), 2**63 - 1)


def mixed(word, key=0):
    """Wellons' lowbias32 on Python's integers, with a key after the first multiplication."""
    word ^= word >> 16
    word = word * 0x7FEB352D % 2**32 ^ key
    word ^= word >> 15
    word = word * 0x846CA68B % 2**32
    return word ^ word >> 16


def words(seed, count, stream=0):
    """What `random_bits` gives for one seed, as unsigned numbers."""
    step = 0x9E3779B9
    low = mixed((seed + stream * (step - 2**32)) % 2**32)
    high = mixed((seed >> 32) % 2**32 ^ low)
    low = mixed((low + high) % 2**32)
    return [mixed((step * counter + low) % 2**32, high) for counter in range(count)]


@given(seeds=st.lists(int64, min_size=1, max_size=4), count=st.integers(0, 9), stream=st.integers(0, 1000))
def test_the_words_are_those_of_plain_integer_arithmetic(seeds, count, stream):
    given = random_bits(torch.tensor(seeds), count, stream)
    assert given.dtype == torch.int32
    assert given.numpy().view(np.uint32).tolist() == [words(seed, count, stream) for seed in seeds]


@given(seed=int64, bound=st.integers(1, 2**31), count=st.integers(1, 5))
def test_numbers_below_a_bound_are_scaled_words(seed, bound, count):
    numbers = random_below(torch.tensor([seed]), bound, count)
    assert numbers.tolist() == [[word * bound >> 32 for word in words(seed, count)]]
    assert (numbers >= 0).all()
    assert (numbers < bound).all()


@pytest.mark.parametrize("device", DEVICES)
def test_an_images_numbers_depend_on_its_own_seed_alone(device):
    seeds = image_seeds(50, 1, 2).to(device)
    together = random_bits(seeds, 7, 3).cpu()
    assert torch.equal(together, torch.cat([random_bits(seed[None], 7, 3).cpu() for seed in seeds]))
    assert torch.equal(together, random_bits(seeds.cpu(), 7, 3))
    assert torch.equal(together[:, :4], random_bits(seeds, 4, 3).cpu())


@pytest.mark.parametrize(
    "seeds",
    [torch.arange(400), torch.arange(400) << 32, image_seeds(400, 0)],
    ids=["counted low", "counted high", "drawn"],
)
def test_every_bit_is_fair_and_independent_of_its_neighbours(seeds):
    bits = np.unpackbits(random_bits(seeds, 100).numpy().view(np.uint8)).reshape(400, 100, 32)
    other = np.unpackbits(random_bits(seeds, 100, stream=1).numpy().view(np.uint8)).reshape(400, 100, 32)
    five = 2.5 / np.sqrt(400 * 100)  # deviations of a share of one half
    assert (abs(bits.mean(axis=(0, 1)) - 0.5) < five).all()
    for first, second in ((bits[1:], bits[:-1]), (bits[:, 1:], bits[:, :-1]), (bits, other)):
        assert (abs((first == second).mean(axis=(0, 1)) - 0.5) < five * 1.1).all()
    assert abs((bits[..., 1:] == bits[..., :-1]).mean() - 0.5) < five


def test_seeds_depend_on_all_that_they_are_made_of():
    first, again, other, swapped = (image_seeds(100, *parts) for parts in ((1, 2), (1, 2), (1, 3), (2, 1)))
    assert (first.dtype, first.shape) == (torch.int64, (100,))
    assert torch.equal(first, again)
    assert len(set(torch.cat([first, other, swapped]).tolist())) == 300


def test_no_global_generator_is_touched():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    random_below(image_seeds(5, 1), 9, 3)
    assert torch.equal(torch.get_rng_state(), before)
