"""Random numbers and the corruptions that are nothing else, against the laws that they follow."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from curriculum_zoo.draws import image_seeds
from curriculum_zoo.views.corruptions.drawn import Draws
from curriculum_zoo.views.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise


def test_normal_and_uniform_numbers_follow_their_laws():
    draws = Draws(image_seeds(50, 1))
    assert stats.kstest(draws.normal(4001).flatten().numpy(), stats.norm.cdf).pvalue > 0.01
    assert stats.kstest(draws.uniform(4001, 1).flatten().numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01
    both = draws.normal(4001)
    assert abs(np.corrcoef(both[:, 1:].flatten(), both[:, :-1].flatten())[0, 1]) < 0.01
    assert draws.normal(4001).var().item() == pytest.approx(1, abs=0.01)


def test_gaussian_and_speckle_noise_have_their_standard_deviations():
    draws, value = Draws(image_seeds(20, 2)), 102 / 255
    gray = torch.full((20, 3, 33, 31), value)
    for noise, deviation in ((gaussian_noise, 0.08), (speckle_noise, 0.08 * value)):
        added = (noise(gray, draws, 0.08) - gray).double()
        assert added.mean().item() == pytest.approx(0, abs=4 * deviation / math.sqrt(added.numel()))
        assert added.std().item() == pytest.approx(deviation, rel=0.01)
        # Every value of every channel for itself.
        channels = np.corrcoef(added.movedim(1, 0).flatten(1).numpy())
        assert np.abs(channels - np.eye(3)).max() < 0.03


@pytest.mark.parametrize("photons", [500, 60, 3])
def test_shot_noise_counts_photons_by_poissons_law(photons):
    for level in (0, 1, 16, 40, 255):
        images = torch.full((8, 3, 48, 48), level / 255)
        counts = shot_noise(images, Draws(image_seeds(8, level)), photons).mul(photons)
        whole = counts.round()
        torch.testing.assert_close(counts, whole, rtol=0, atol=1e-3)
        law = stats.poisson(photons * level / 255)
        seen = np.bincount(whole.flatten().int().numpy(), minlength=int(law.ppf(1 - 1e-9)) + 2)
        expected = law.pmf(np.arange(len(seen))) * whole.numel()
        often = expected > 20
        rest = [seen[~often].sum(), max(expected[~often].sum(), 1e-9)]
        statistic = ((seen - expected)[often] ** 2 / expected[often]).sum()
        if rest[1] > 5:
            statistic += (rest[0] - rest[1]) ** 2 / rest[1]
        assert stats.chi2(max(1, often.sum() - 1)).sf(statistic) > 1e-3 or level == 0, (level, statistic)
        assert level or not seen[1:].any()


def test_impulse_noise_replaces_its_share_half_by_black_and_half_by_white():
    gray = torch.full((30, 3, 40, 40), 0.5)
    for share in (0.01, 0.27):
        got = impulse_noise(gray, Draws(image_seeds(30, 3)), share)
        for value in (0, 1):
            law = stats.binom(gray.numel(), share / 2)
            assert 1e-3 < law.cdf((got == value).sum().item()) < 1 - 1e-3
        assert ((got == 0) | (got == 1) | (got == 0.5)).all()
        # Channels are hit each for itself.
        hit = (got != 0.5).float().mean(1)
        assert (hit == 1).float().mean().item() == pytest.approx(share**3, abs=0.002)
