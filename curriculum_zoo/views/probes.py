"""What images are reduced to so as to see whether a network goes by shape or by texture.

Patches shuffled keep texture and lose shape (Brendel and Bethge 2019 ask a network for patches alone); low frequencies
keep shape and lose texture, high frequencies keep edges and fine texture without light and shade (Wichmann et al. 2017;
Geirhos et al. 2018); gray images lack colour. Edges alone are `SobelEdges`. Images are batches [N, C, H, W], floating
point in [0, 1]; results have their shape, dtype and memory format.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from ..draws import random_bits
from ..errors import DataError, UnknownNameError
from ..registry import closest
from .edges import SobelEdges
from .image_batches import check_batch, like, on_channels, working_dtype

__all__ = ["PROBES", "Grey", "HighPass", "LowPass", "PatchShuffle", "Probe", "probe_names"]


@dataclass(frozen=True)
class PatchShuffle:
    """Images cut into grid × grid patches, which change places at random.

    Each image has a permutation of its own, keyed by its seed, the same on every device. Rows and columns that the grid
    leaves over stay where they are, half of them on either side.

    Attributes:
        grid: patches in a row and in a column; 1 leaves images as they are.
    """

    grid: int

    def __post_init__(self) -> None:
        if self.grid < 1:
            raise DataError(f"PatchShuffle: grid must be at least 1, got {self.grid}")

    def __call__(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Shuffle the patches of a batch [N, C, H, W] by seeds, int64 [N], one for each image.

        Raises:
            DataError: images with fewer rows or columns than the grid, or seeds that do not fit.
        """
        check_batch(images)
        n, c, height, width = images.shape
        if min(height, width) < self.grid:
            raise DataError(
                f"PatchShuffle: images of {height} × {width} pixels have no {self.grid} × {self.grid} patches."
            )
        if seeds.shape != (n,) or seeds.dtype != torch.int64:
            raise DataError(f"PatchShuffle: seeds must be int64 [{n}]; got {seeds.dtype} {list(seeds.shape)}.")
        down, right = height // self.grid, width // self.grid
        top, left = (height - down * self.grid) // 2, (width - right * self.grid) // 2
        result = images.clone()
        middle = (..., slice(top, top + down * self.grid), slice(left, left + right * self.grid))
        patches = (
            images[middle].reshape(n, c, self.grid, down, self.grid, right).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
        )
        # The order of random numbers is a random permutation.
        order = random_bits(seeds.to(images.device), self.grid**2).sort(dim=1, stable=True).indices
        shuffled = patches[torch.arange(n, device=images.device)[:, None], order]
        shuffled = shuffled.unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 4, 2, 5)
        result[middle] = shuffled.reshape(n, c, down * self.grid, right * self.grid)
        return result


@dataclass(frozen=True)
class LowPass:
    """The frequencies within a circle around zero, cut off sharply; what rings over is cut off at 0 and 1.

    Attributes:
        radius: of the circle, as a share of the highest frequency of rows and of columns, half a cycle per pixel, the
            circle itself included: 0 leaves each channel's mean, √2 everything.
    """

    radius: float

    def __post_init__(self) -> None:
        _check_radius("LowPass", self.radius)

    def __call__(self, images: Tensor) -> Tensor:
        """Filter a batch [N, C, H, W]."""
        check_batch(images)
        return like(_low_frequencies(images, self.radius).clamp_(0, 1), images)


@dataclass(frozen=True)
class HighPass:
    """The frequencies outside a circle around zero, cut off sharply, around a mean gray; cut off at 0 and 1.

    Attributes:
        radius: of the circle, as in `LowPass`: 0 takes away each channel's mean alone.
        gray: what the mean of every channel becomes.
    """

    radius: float
    gray: float = 0.5

    def __post_init__(self) -> None:
        _check_radius("HighPass", self.radius)
        if not 0 <= self.gray <= 1:
            raise DataError(f"HighPass: gray must lie in [0, 1], got {self.gray}")

    def __call__(self, images: Tensor) -> Tensor:
        """Filter a batch [N, C, H, W]."""
        check_batch(images)
        high = images.to(working_dtype(images)) - _low_frequencies(images, self.radius)
        return like(high.add_(self.gray).clamp_(0, 1), images)


@dataclass(frozen=True)
class Grey:
    """The luma, 0.299 R + 0.587 G + 0.114 B, on all channels; of other than 3 channels their mean."""

    def __call__(self, images: Tensor) -> Tensor:
        """Take the colour out of a batch [N, C, H, W]."""
        check_batch(images)
        working = images.to(working_dtype(images))
        if images.shape[1] != 3:
            return on_channels(working.mean(1), images)
        red, green, blue = working.unbind(1)
        return on_channels(red * 0.299 + green * 0.587 + blue * 0.114, images)


def _check_radius(owner: str, radius: float) -> None:
    if not 0 <= radius < math.inf:
        raise DataError(f"{owner}: radius must be at least 0, as a share of the highest frequency; got {radius}")


def _low_frequencies(images: Tensor, radius: float) -> Tensor:
    height, width = images.shape[2:]
    rows = torch.fft.fftfreq(height, device=images.device)[:, None]
    columns = torch.fft.rfftfreq(width, device=images.device)
    # A hair wider than the radius, so that rounding leaves no frequency on the circle out.
    inside = (rows**2 + columns**2).sqrt() <= radius / 2 + 1e-6
    spectrum = torch.fft.rfft2(images.to(working_dtype(images)))
    return torch.fft.irfft2(spectrum * inside, s=(height, width))


@dataclass(frozen=True)
class Probe:
    """One way to reduce images, by name.

    Attributes:
        title: what tables and figures call it.
        leaves: what is left of an image.
        reduce: makes a batch [N, C, H, W] of a batch in [0, 1] and seeds, int64 [N], one for each image.
    """

    title: str
    leaves: str
    reduce: Callable[[Tensor, Tensor], Tensor]


def _unseeded(view: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda images, seeds: view(images)


PROBES: Mapping[str, Probe] = MappingProxyType(
    {
        "patches_2": Probe("patches 2 × 2", "texture and parts", PatchShuffle(2)),
        "patches_4": Probe("patches 4 × 4", "texture and small parts", PatchShuffle(4)),
        "patches_8": Probe("patches 8 × 8", "texture", PatchShuffle(8)),
        "low_pass": Probe("low-pass", "shape", _unseeded(LowPass(0.25))),
        "high_pass": Probe("high-pass", "edges and fine texture", _unseeded(HighPass(0.25))),
        "edges": Probe("edges alone", "outlines", _unseeded(SobelEdges())),
        "grey": Probe("grey", "all but colour", _unseeded(Grey())),
    }
)
"""What networks are probed with. The two filters cut at a quarter of the highest frequency, where their results add up
to the image, but for its mean and what is cut off at 0 and 1."""


def probe_names(selection: Iterable[str] = ()) -> tuple[str, ...]:
    """Return names of probes, each once, in the order of `PROBES`; all of them for an empty selection.

    Args:
        selection: names, or ``"all"``.

    Raises:
        UnknownNameError: a name that is none.
    """
    wanted = set(selection) or {"all"}
    for name in sorted(wanted - {"all"} - set(PROBES)):
        raise UnknownNameError(f"No probe named '{name}'. {closest(name, PROBES)}")
    return tuple(name for name in PROBES if "all" in wanted or name in wanted)
