"""``mnist_canvas`` and ``fashion_mnist_canvas``: small pictures, placed on a large canvas at random at every load."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor
from torch.nn import functional

from ...citation import DataSource, published_as
from ...draws import random_below, random_bits
from ...errors import DataError
from .grass import SIDE, grass
from .image_set import ImageSet
from .torchvision_sets import TorchvisionSet, fashion_mnist, mnist

__all__ = ["NOISE", "Canvas", "fashion_mnist_canvas", "mnist_canvas"]

NOISE = 0.1
"""Share of the pixels that salt and pepper replace, half of them each."""

Variant = Literal["plain", "noisy", "textured"]

_SMALLEST, _LARGEST = 28, 512
_TOP, _LEFT, _CUT, _SPOTS = range(4)  # which of an image's random numbers
_RARE = round(NOISE / 2 * 2**16)  # so many of the 65,536 values that a pixel draws are salt, and so many pepper


@dataclass(frozen=True)
class Canvas:
    """Draws small gray pictures onto larger canvases, as a seed per picture says; the ``render`` of an `ImageSet`.

    Place, noise and background of an image are pure functions of its seed, the same on every device.

    Attributes:
        variant: ``plain``: black canvas. ``noisy``: salt and pepper on top; each pixel becomes 255 with probability
            0.05 and 0 with probability 0.05. ``textured``: a random cut of `grass` behind the picture; each pixel is
            the brighter of both, so that grass shows through black and no dark seam gives a stroke away.
        size: side of the canvas in pixels.
    """

    variant: Variant = "plain"
    size: int = 56

    def __call__(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Draw a batch.

        Args:
            images: uint8 [n, h, w, 1], with h and w at most `size`.
            seeds: int64 [n], one for each image.

        Returns:
            uint8 [n, size, size, 1].

        Raises:
            DataError: images of several channels, or larger than the canvas.
        """
        height, width, channels = images.shape[1:]
        if channels != 1 or max(height, width) > self.size:
            raise DataError(
                f"Images of {height} × {width} × {channels} cannot be drawn on a gray canvas of side {self.size}. Take "
                "a larger one, and images of one channel."
            )
        drawn = self._placed(images.squeeze(3), seeds)
        if self.variant == "textured":
            torch.maximum(drawn, self._cuts(seeds), out=drawn)
        elif self.variant == "noisy":
            self._sprinkle(drawn, seeds)
        return drawn.unsqueeze(3)

    def _placed(self, pictures: Tensor, seeds: Tensor) -> Tensor:
        """Each picture on black, all places that hold it whole being alike likely: [n, size, size]."""
        count, height, width = pictures.shape
        rim = self.size - width
        top = random_below(seeds, self.size - height + 1, 1, _TOP)
        left = random_below(seeds, rim + 1, 1, _LEFT)
        # Rows of a picture, widened so far that a window of the canvas's width fits wherever the picture is, and a
        # black row below them: each row of the canvas is a window of one of these.
        padded = functional.pad(pictures, (rim, rim, 0, 1))
        rows = torch.arange(self.size, device=seeds.device) - top
        rows = torch.where((rows >= 0) & (rows < height), rows, height)
        first = torch.arange(count, device=seeds.device)[:, None] * (height + 1)
        return _windows(padded, (first + rows) * padded.shape[2] + (rim - left), self.size)

    def _cuts(self, seeds: Tensor) -> Tensor:
        """A cut of the grass for each image, all places alike likely: [n, size, size]."""
        ground = _ground(self.size, seeds.device)
        top, left = random_below(seeds, SIDE, 2, _CUT).split(1, dim=1)
        rows = torch.arange(self.size, device=seeds.device) + top
        return _windows(ground, rows * ground.shape[1] + left, self.size)

    def _sprinkle(self, drawn: Tensor, seeds: Tensor) -> None:
        """Salt and pepper onto [n, size, size], in place."""
        pixels = self.size**2
        draws = random_bits(seeds, (pixels + 1) // 2, _SPOTS).view(torch.int16)[:, :pixels].reshape(drawn.shape)
        # Arithmetic instead of masked_fill_, which takes twenty times as long.
        drawn.mul_((draws >= _RARE - 2**15).view(torch.uint8))
        drawn.bitwise_or_((draws >= 2**15 - _RARE).view(torch.uint8).neg_())


def _canvases_of(pictures: TorchvisionSet) -> Callable[[str | None], DataSource | None]:
    """What a card says of pictures on canvases: the pictures' own source, whose figures these are not."""

    def published(argument: str | None) -> DataSource | None:
        if pictures.published is None:
            return None
        title = f"{pictures.published.title} on canvases ({argument or Canvas.variant})"
        return dataclasses.replace(pictures.published, title=title, config=None, split=None)

    return published


@published_as(_canvases_of(mnist))
def mnist_canvas(argument: str | None, *, root: Path, download: bool = False, **_: object) -> ImageSet:
    """MNIST's digits on a canvas: 60,000 + 10,000 gray images in 10 classes, drawn at every load.

    Each digit of 28 × 28 pixels lies at a random place of the canvas; see `Canvas` for the variants. "Image
    classification through top-down image pyramid traversal" (§5.1) has 56 pixels, a photograph of grass where `grass`
    is drawn here, and 5,000 of the training images for validation: a recipe's ``validation=5000``.

    A recipe's augmentation changes the digits before they are placed. A mirrored digit is none, so ``flip`` should be
    off; crops add nothing, since places are drawn anyhow.

    Args:
        argument: ``plain`` (also where None), ``noisy`` or ``textured``, and the canvas's side in pixels where it is
            not 56, 28 to 512: ``"noisy"``, ``"textured,size=112"``, ``"size=84"``.
        root: folder under which ``MNIST/raw`` lies.
        download: whether to download it where it is missing (12 MB).
        **_: not used; `open_dataset` converts size and channels.

    Raises:
        DataError: another argument, or MNIST is missing, damaged, or not to be downloaded.
    """
    return _on_canvas("mnist_canvas", argument, mnist(None, root=root, download=download))


@published_as(_canvases_of(fashion_mnist))
def fashion_mnist_canvas(argument: str | None, *, root: Path, download: bool = False, **_: object) -> ImageSet:
    """Fashion-MNIST's clothes on a canvas: 60,000 + 10,000 gray images in 10 classes, drawn at every load.

    Args:
        argument: as for `mnist_canvas`.
        root: folder under which ``FashionMNIST/raw`` lies.
        download: whether to download it where it is missing (31 MB).
        **_: not used; `open_dataset` converts size and channels.

    Raises:
        DataError: another argument, or Fashion-MNIST is missing, damaged, or not to be downloaded.
    """
    return _on_canvas("fashion_mnist_canvas", argument, fashion_mnist(None, root=root, download=download))


def _on_canvas(name: str, argument: str | None, pictures: ImageSet) -> ImageSet:
    canvas = _parse(name, argument)
    size = "" if canvas.size == Canvas.size else f",size={canvas.size}"
    return dataclasses.replace(pictures, name=f"{name}:{canvas.variant}{size}", render=canvas)


def _parse(name: str, argument: str | None) -> Canvas:
    """The canvas that a data set's argument asks for."""
    if argument is None:
        return Canvas()
    match = re.fullmatch(r"(plain|noisy|textured)?(?:(?:^|(?<=.),)size=([0-9]{1,4}))?", argument)
    size = int(match[2] or Canvas.size) if match and argument else 0
    if match is None or not _SMALLEST <= size <= _LARGEST:
        raise DataError(
            f"{name}:{argument} is not understood. Write plain, noisy or textured after the colon, or size=PIXELS "
            f"from {_SMALLEST} to {_LARGEST}, or both: {name}:noisy, {name}:textured,size=112."
        )
    return Canvas(cast(Variant, match[1] or Canvas.variant), size)


@functools.lru_cache(maxsize=4)
def _ground(size: int, device: torch.device) -> Tensor:
    """The grass on a device, continued so far that a cut of that size may begin at any of its pixels."""
    picture = torch.tensor(grass())
    repeats = -(-(SIDE + size) // SIDE)
    return picture.repeat(repeats, repeats)[: SIDE + size, : SIDE + size].contiguous().to(device)


def _windows(source: Tensor, starts: Tensor, size: int) -> Tensor:
    """Pieces of `size` successive pixels, one for each start: [*starts.shape, size].

    Copying whole rows takes a tenth of the time that indexing single pixels does.
    """
    windows = source.as_strided((source.numel() - size + 1, size), (1, 1))
    return windows.index_select(0, starts.reshape(-1)).view(*starts.shape, size)
