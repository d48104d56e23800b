"""A picture of grass, drawn blade by blade: a background that distracts, from no photograph."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from ...seeding import derive_seed

__all__ = ["SIDE", "grass"]

SIDE = 512
"""Side of the picture in pixels, a power of two; it continues seamlessly over its borders."""

_BLADES = 16_000
_ALONG, _ACROSS = 72, 9  # points that a blade is drawn with
_BLOCK = 1000  # blades at a time

Floats = npt.NDArray[np.float64]


@functools.cache
def grass(seed: int = 0) -> npt.NDArray[np.uint8]:
    """A gray picture of grass seen from above, uint8 [512, 512]; the same at every call, drawn at the first.

    Blades of 16 to 52 pixels' length and 2 to 5 pixels' width, tapered, bent, and lit from one side, are painted over
    each other, the lower ones darker. Their strokes are about as wide and long as those of a digit, and the brightest
    of them nearly as bright: the gray values have a mean of 88 and a deviation of 31.

    Args:
        seed: says where which blade grows.
    """
    draws = _uniform(seed, _BLADES, 8)
    picture = np.zeros(SIDE * SIDE)
    for start in range(0, _BLADES, _BLOCK):
        depth = (np.arange(start, min(start + _BLOCK, _BLADES)) + 1) / _BLADES
        places, values = _blades(draws[start : start + _BLOCK], depth)
        picture[places.ravel()] = values.ravel()  # where blades cross, the later one is assigned last and stays
    soft = picture.reshape(SIDE, SIDE)
    for axis in (0, 1):
        soft = np.roll(soft, 1, axis) / 4 + soft / 2 + np.roll(soft, -1, axis) / 4
    finished = np.rint(soft.clip(0, 255)).astype(np.uint8)
    finished.setflags(write=False)
    return finished


def _blades(draws: Floats, depth: Floats) -> tuple[npt.NDArray[np.int32], Floats]:
    """Places and brightness of the points of some blades, [blades, along, across].

    A blade is the curve root + length · (s · direction + bend · s² · normal), s from 0 to 1, of a width that shrinks
    towards its tip.
    """
    y, x, angle, length, width, bend, shade, gloss = draws[:, :, None, None].swapaxes(0, 1)
    angle, length, width = angle * 2 * np.pi, 16 + 36 * length, 2 + 3 * width
    dy, dx = np.sin(angle), np.cos(angle)
    along = np.linspace(0, 1, _ALONG)[:, None]
    across = np.linspace(-0.5, 0.5, _ACROSS)
    forward = length * along
    aside = length * (bend - 0.5) * along**2 + width * (1 - along**2) * across
    rows = np.rint(SIDE * y + forward * dy + aside * dx).astype(np.int32) & (SIDE - 1)
    columns = np.rint(SIDE * x + forward * dx - aside * dy).astype(np.int32) & (SIDE - 1)
    lit = 1 + across * (1.2 * dx + 0.6 * dy)  # light falls in from one side, so each blade has a bright edge
    tone = (16 + 32 * depth[:, None, None] + 112 * shade) * (0.8 + 0.4 * along * gloss)
    return rows * SIDE + columns, np.broadcast_to(tone * lit, rows.shape)


def _uniform(seed: int, *shape: int) -> Floats:
    """Numbers from 0 to 1 from the raw stream of a bit generator, which never changes between NumPy versions."""
    words = np.random.PCG64(derive_seed(seed)).random_raw(int(np.prod(shape)))
    return (words >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53
