"""Random numbers for single images, against the same arithmetic in NumPy, and as random numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from curriculum_zoo.draws import content_seeds, image_seeds, random_below, random_bits, seeds_of, uniform
from curriculum_zoo.seeding import derive_seed

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


def splitmix(number, base):
    """Steele, Lea and Flood's splitmix64 on Python's integers."""
    word = (number * 0x9E3779B97F4A7C15 + base) % 2**64
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
    return word ^ word >> 31


@given(numbers=st.lists(st.integers(0, 2**40), min_size=1, max_size=5), parts=st.lists(int64, min_size=1, max_size=3))
def test_seeds_by_number_are_those_of_plain_integer_arithmetic(numbers, parts):
    given = seeds_of(torch.tensor(numbers), *parts)
    assert given.numpy().view(np.uint64).tolist() == [splitmix(number, derive_seed(*parts)) for number in numbers]


@pytest.mark.parametrize("device", DEVICES)
def test_an_image_has_the_same_seed_in_any_batch(device):
    numbers = torch.randperm(1000, generator=torch.Generator().manual_seed(0), device="cpu").to(device)
    whole = seeds_of(numbers, 3, 17)
    parts = torch.cat([seeds_of(part, 3, 17) for part in numbers.split(37)])
    assert torch.equal(whole, parts)
    assert len(set(whole.tolist())) == 1000
    assert not set(whole.tolist()) & set(seeds_of(numbers, 3, 18).tolist())


@given(seed=int64, count=st.integers(1, 5), stream=st.integers(0, 9))
def test_uniform_numbers_are_the_upper_24_bits_of_the_words(seed, count, stream):
    numbers = uniform(torch.tensor([seed]), count, stream)
    assert numbers.dtype == torch.float32
    assert numbers.tolist() == [[(word >> 8) / 2**24 for word in words(seed, count, stream)]]


def test_uniform_numbers_are_uniform():
    assert kstest(uniform(seeds_of(torch.arange(2000), 5), 10).flatten().numpy(), "uniform").pvalue > 1e-3


def levels_of(image):
    """Eight levels a word, lowest first, in the order of channel, row and column."""
    levels = [min(255, max(0, round(value * 255))) for value in image.flatten().tolist()]
    levels += [0] * (-len(levels) % 8)
    return [int.from_bytes(bytes(levels[start : start + 8]), "little") for start in range(0, len(levels), 8)]


@given(
    shape=st.tuples(st.integers(1, 3), st.sampled_from([1, 3]), st.integers(1, 5), st.integers(1, 5)),
    parts=st.lists(int64, max_size=3),
)
def test_seeds_by_content_are_those_of_plain_integer_arithmetic(shape, parts):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))
    sums = [
        sum(splitmix(0, word + splitmix(place, 0)) for place, word in enumerate(levels_of(image))) for image in images
    ]
    given = content_seeds(images, *parts)
    assert given.numpy().view(np.uint64).tolist() == [splitmix(sum_ % 2**64, derive_seed(*parts)) for sum_ in sums]


@pytest.mark.parametrize("device", DEVICES)
def test_seeds_by_content_depend_on_the_levels_of_the_image_alone(device):
    images = (torch.rand(60, 3, 9, 11) * 255).round() / 255
    seeds = content_seeds(images)
    assert torch.equal(content_seeds(images.to(device)).cpu(), seeds)
    assert torch.equal(torch.cat([content_seeds(part) for part in images.split(7)]), seeds)
    assert torch.equal(content_seeds(images.contiguous(memory_format=torch.channels_last)), seeds)
    assert torch.equal(content_seeds(images.double() + 1e-4), seeds)
    assert len(set(seeds.tolist())) == 60
    for pixel in range(images[0].numel()):
        other = images[:1].clone()
        other.view(-1)[pixel] = 1 - other.view(-1)[pixel]
        assert content_seeds(other) != seeds[0]


def test_images_whose_levels_differ_in_any_two_places_have_other_seeds():
    images = torch.zeros(0, 1, 4, 16)
    for place in range(64):
        for other in range(place):
            image = torch.zeros(1, 1, 4, 16)
            image.view(-1)[[place, other]] = torch.tensor([1 / 255, 128 / 255])
            images = torch.cat([images, image])
    assert len(set(content_seeds(images).tolist())) == len(images)
    assert not set(content_seeds(images).tolist()) & set(content_seeds(images, 1).tolist())
