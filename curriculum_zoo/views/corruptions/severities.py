"""The published strengths of the corruptions: parameters for five severities at three sizes of images.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations" (ICLR
2019), and the scripts in its repository, github.com/hendrycks/robustness, that made the three sets: CIFAR-10-C (32 px),
Tiny ImageNet-C (64 px) and ImageNet-C (224 px). The paper prints no parameters; the scripts are their only home.
"""

from __future__ import annotations

from typing import Any

__all__ = ["SEVERITIES", "parameters_of", "published_side"]

SEVERITIES = range(1, 6)
"""The severities there are, mildest first."""


def published_side(side: int) -> int:
    """The side of the published images whose parameters serve for images with this short side: 32, 64 or 224.

    The nearest on a logarithmic scale: 32 up to 45 px, 64 from 46 to 119 px, 224 from 120 px on. What the parameters
    give in pixels is not scaled, so that 28 px are treated as CIFAR's 32 px and 256 px as ImageNet's 224 px.

    Args:
        side: short side in pixels.
    """
    return 32 if side**2 < 32 * 64 else 64 if side**2 < 64 * 224 else 224


def parameters_of(kind: str, severity: int, side: int) -> tuple[Any, ...]:
    """What the corruption's function takes beside images and draws.

    Args:
        kind: name of the corruption.
        severity: 1 to 5.
        side: short side of the images in pixels.
    """
    chosen = _PARAMETERS[kind][published_side(side)][severity - 1]
    return chosen if isinstance(chosen, tuple) else (chosen,)


_LIGHTER = 0.1, 0.2, 0.3, 0.4, 0.5
_FLATTER = 0.4, 0.3, 0.2, 0.1, 0.05
_STEPS = (0.01, 7), (0.01, 12), (0.01, 16), (0.01, 21), (0.01, 26)
"""Step and number of the zooms, from 1 on. Rounding lengthened the first two of the published ranges by one."""


def _frost(*weights: tuple[float, float], grain: float, relief: float) -> tuple[tuple[float, ...], ...]:
    return tuple((*pair, grain, relief) for pair in weights)


_PARAMETERS: dict[str, dict[int, tuple[Any, ...]]] = {
    # Standard deviation.
    "gaussian_noise": {
        32: (0.04, 0.06, 0.08, 0.09, 0.10),
        64: (0.04, 0.08, 0.12, 0.15, 0.18),
        224: (0.08, 0.12, 0.18, 0.26, 0.38),
    },
    # Photons that make white.
    "shot_noise": {32: (500, 250, 100, 75, 50), 64: (250, 100, 50, 30, 15), 224: (60, 25, 12, 5, 3)},
    # Share of values replaced.
    "impulse_noise": {
        32: (0.01, 0.02, 0.03, 0.05, 0.07),
        64: (0.01, 0.02, 0.05, 0.08, 0.14),
        224: (0.03, 0.06, 0.09, 0.17, 0.27),
    },
    # Standard deviation, as a share of the value.
    "speckle_noise": {
        32: (0.06, 0.1, 0.12, 0.16, 0.2),
        64: (0.15, 0.2, 0.25, 0.3, 0.35),
        224: (0.15, 0.2, 0.35, 0.45, 0.6),
    },
    # Radius of the disk, standard deviation of the Gaussian that softens it, in pixels.
    "defocus_blur": {
        32: ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        64: ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        224: ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    },
    # Standard deviation of the Gaussian in pixels, reach of the shuffling in pixels, rounds.
    "glass_blur": {
        32: ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        64: ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        224: ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    },
    # Radius and standard deviation in pixels.
    "motion_blur": {
        32: ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        64: ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        224: ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    },
    "zoom_blur": {32: _STEPS, 64: _STEPS, 224: ((0.01, 12), (0.01, 16), (0.02, 11), (0.02, 13), (0.03, 11))},
    # Standard deviation in pixels.
    "gaussian_blur": {32: (0.4, 0.6, 0.7, 0.8, 1), 64: (0.5, 0.75, 1, 1.25, 1.5), 224: (1, 2, 3, 4, 6)},
    # Mean and standard deviation of the flakes' noise, zoom, threshold, radius and standard deviation of their motion
    # in pixels, share of the image that stays as it is where all else is whitened.
    "snow": {
        32: (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        64: (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        224: (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    },
    # Weight of the image and weight of the frost; grain and relief of the frost are this package's own.
    "frost": {
        32: _frost((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45), grain=1.05, relief=0.42),
        64: _frost((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55), grain=1.0, relief=0.46),
        224: _frost((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75), grain=0.9, relief=0.55),
    },
    # Weight of the fog, and the square root of what its detail weakens by from scale to half the scale.
    "fog": {
        32: ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        64: ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        224: ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    },
    # What is added to the value of HSV.
    "brightness": {32: (0.05, 0.1, 0.15, 0.2, 0.3), 64: _LIGHTER, 224: _LIGHTER},
    # Share of the contrast that is left.
    "contrast": {32: (0.75, 0.5, 0.4, 0.3, 0.15), 64: _FLATTER, 224: _FLATTER},
    # Amplitude of the displacements before smoothing, standard deviation of their smoothing, reach of the corners'
    # displacement, all in pixels.
    "elastic_transform": {
        32: ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
        64: ((0, 0, 5.12), (3.2, 19.2, 3.84), (6.4, 5.12, 3.84), (6.4, 1.92, 1.92), (10.24, 1.92, 1.28)),
        224: (
            (488, 170.8, 24.4),
            (488, 19.52, 48.8),
            (12.2, 2.44, 4.88),
            (17.08, 2.44, 4.88),
            (29.28, 2.44, 4.88),
        ),
    },
    # Share of the side that is left.
    "pixelate": {
        32: (0.95, 0.9, 0.85, 0.75, 0.65),
        64: (0.9, 0.8, 0.7, 0.6, 0.5),
        224: (0.6, 0.5, 0.4, 0.3, 0.25),
    },
    # Quality.
    "jpeg_compression": {32: (80, 65, 58, 50, 40), 64: (65, 58, 50, 40, 25), 224: (25, 18, 15, 10, 7)},
    # Factor and summand of the saturation of HSV.
    "saturate": {
        32: ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        64: ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
        224: ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    },
}
