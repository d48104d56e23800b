"""Mixup and cutmix by image: what is mixed, how much of it, and by whose draw."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from timm.data.mixup import rand_bbox

from curriculum_zoo.draws import seeds_of
from curriculum_zoo.recipes import Mixing
from curriculum_zoo.views.mixing import beta_quantiles, mix

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
KINDS = [Mixing(mixup=0.4), Mixing(cutmix=1.0), Mixing(mixup=0.8, cutmix=1.0, probability=0.7, switch=0.3)]


def pairs(count: int, side: tuple[int, int] = (9, 12)) -> tuple[torch.Tensor, ...]:
    """Images of 1 to 2, labels 0 to 2, their partners of -2 to -1 with labels 3 to 5, and seeds."""
    generator = torch.Generator().manual_seed(count)
    images = 1 + torch.rand(count, 3, *side, generator=generator)
    labels = torch.randint(3, (count,), generator=generator)
    return images, labels, -images.roll(1, 0), labels.roll(1) + 3, seeds_of(torch.arange(count), 4)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2, 0.3, 0.4, 0.8, 1.0, 2.0, 8.0, 32.0, 100.0])
def test_quantiles_are_those_of_the_beta_distribution(alpha):
    chances = (torch.arange(2**12) + 0.5) / 2**12
    want = torch.from_numpy(stats.beta.ppf(chances.double().numpy(), alpha, alpha)).float()
    torch.testing.assert_close(beta_quantiles(chances, alpha), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@given(order=st.permutations(range(8)), cut=st.integers(1, 7))
def test_images_are_mixed_alike_in_any_batch(kind, order, cut):
    everything = pairs(8)
    images, targets = mix(*everything, kind, 6)
    for part in (order[:cut], order[cut:]):
        own_images, own_targets = mix(*(values[part] for values in everything), kind, 6)
        assert torch.equal(own_images, images[part])
        assert torch.equal(own_targets, targets[part])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
def test_images_are_mixed_alike_on_every_device_wherever_the_seeds_lie(kind, device):
    *everything, seeds = pairs(50)
    images, targets = mix(*everything, seeds, kind, 6)
    for theirs in (seeds, seeds.to(device)):
        there, those = mix(*(values.to(device) for values in everything), theirs, kind, 6)
        torch.testing.assert_close(there.cpu(), images, rtol=0, atol=0 if device == "cpu" else 1e-6)
        torch.testing.assert_close(those.cpu(), targets, rtol=0, atol=0 if device == "cpu" else 1e-6)


def test_mixup_blends_images_and_targets_by_shares_of_the_beta_distribution():
    images, labels, partners, others, seeds = pairs(3000)
    mixed, targets = mix(images, labels, partners, others, seeds, Mixing(mixup=0.4), 6)
    share = targets.gather(1, labels[:, None])
    torch.testing.assert_close(targets.gather(1, others[:, None]), 1 - share)
    torch.testing.assert_close(targets.sum(1), torch.ones(3000))
    weights = share[:, :, None, None]
    torch.testing.assert_close(mixed, weights * images + (1 - weights) * partners, rtol=0, atol=1e-5)
    assert stats.kstest(share[:, 0].numpy(), stats.beta(0.4, 0.4).cdf).pvalue > 1e-3


def test_cutmix_pastes_a_rectangle_of_the_partner_and_targets_go_by_its_area():
    images, labels, partners, others, seeds = pairs(500)
    mixed, targets = mix(images, labels, partners, others, seeds, Mixing(cutmix=1.0), 6)
    pasted = mixed[:, 0] < 0
    assert torch.equal(mixed, torch.where(pasted[:, None], partners, images))
    # A rectangle is every row that has some of it times every column that has some of it.
    assert torch.equal(pasted, pasted.any(2, keepdim=True) & pasted.any(1, keepdim=True))
    torch.testing.assert_close(targets.gather(1, others[:, None])[:, 0], pasted.float().mean((1, 2)))
    torch.testing.assert_close(targets.sum(1), torch.ones(500))


def test_boxes_are_as_large_as_timms_and_stand_anywhere():
    images, labels, partners, others, seeds = pairs(4000, (32, 32))
    pasted = mix(images, labels, partners, others, seeds, Mixing(cutmix=1.0), 6)[0][:, 0] < 0
    np.random.seed(0)  # noqa: NPY002  timm draws from it
    boxes = [rand_bbox((1, 3, 32, 32), share) for share in torch.linspace(0, 1, 4000).tolist()]
    area = sum((bottom - top) * (right - left) for top, bottom, left, right in boxes) / len(boxes) / 32**2
    assert pasted.float().mean() == pytest.approx(area, abs=0.02)
    where = pasted.float().mean(0)
    torch.testing.assert_close(where, where.flip(0), rtol=0, atol=0.06)
    torch.testing.assert_close(where, where.flip(1), rtol=0, atol=0.06)
    torch.testing.assert_close(where, where.mT, rtol=0, atol=0.06)


def test_probability_and_switch_are_those_of_each_image():
    images, labels, partners, others, seeds = pairs(4000, (32, 32))
    kind = Mixing(mixup=1.0, cutmix=1.0, probability=0.6, switch=0.25)
    mixed, targets = mix(images, labels, partners, others, seeds, kind, 6)
    alone = (mixed == images).all(1).all(1).all(1)
    whole = (mixed == images) | (mixed == partners)
    assert torch.equal(targets[alone].argmax(1), labels[alone])
    blended = ~whole.all(1).all(1).all(1)
    assert blended.float().mean() == pytest.approx(0.6 * 0.75, abs=0.03)
    # Some boxes are smaller than a pixel.
    assert alone.float().mean() == pytest.approx(0.4, abs=0.03)
    never = mix(images, labels, partners, others, seeds, Mixing(mixup=1.0, probability=0.0), 6)[0]
    assert torch.equal(never, images)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_and_its_partner_of_one_class_keep_it_and_the_memory_format(kind):
    images, labels, partners, _, seeds = pairs(20)
    images, partners = (some.contiguous(memory_format=torch.channels_last) for some in (images, partners))
    before = images.clone()
    mixed, targets = mix(images, labels, partners, labels, seeds, kind, 6)
    torch.testing.assert_close(targets, torch.nn.functional.one_hot(labels, 6).float())
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)
