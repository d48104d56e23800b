"""One image file to pixels: whatever Pillow opens comes out upright, as 8-bit gray or RGB, at the size asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import DataError
from .geometry import fit

__all__ = ["SUFFIXES", "image_dimensions", "read_image"]

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
)
"""Endings, in lower case, of the files that are taken for images."""


def read_image(path: str | Path, *, image_size: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    """Read an image file as a square of pixels.

    The camera's orientation (EXIF) is applied. CMYK and palettes become RGB; 16-bit values are scaled to 8 bit;
    transparent parts show white; of an animation the first frame is taken. Then the short side is resized to
    `image_size` (bilinear, antialiased) and the centre cut out.

    Args:
        path: the file.
        image_size: side in pixels.
        channels: 3 for RGB, 1 for gray (luma).

    Returns:
        uint8 [image_size, image_size, channels].

    Raises:
        DataError: no such file, not an image, damaged, or of values whose meaning the file does not tell.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            ImageOps.exif_transpose(image, in_place=True)
            square = fit(_in_eight_bits(image), image_size).convert("L" if channels == 1 else "RGB")
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, EOFError, …
        raise DataError(f"{path} {_problem(path, error)}") from error
    pixels = np.asarray(square)
    return pixels[:, :, None] if channels == 1 else pixels


def image_dimensions(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels, from the file's header alone; None where it has none that can be read."""
    try:
        with Image.open(path) as image:
            return image.size
    except Exception:  # the same as in `read_image`, which tells about it
        return None


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """The image in mode L or RGB, opaque."""
    if image.mode.startswith("I"):
        return _from_sixteen_bits(np.asarray(image))
    if image.mode == "F":
        raise ValueError("it holds floating-point values, whose range it does not tell; save it with 8 or 16 bit")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _from_sixteen_bits(values: npt.NDArray[np.generic]) -> Image.Image:
    """Gray values of 0 to 65535 as 0 to 255; Pillow's own conversion clips them at 255 instead."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ValueError(f"its values go from {low} to {high}, beyond 16 bit; save it with 8 or 16 bit")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _problem(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist. Correct the path."
    if isinstance(error, IsADirectoryError):
        return "is a folder, not an image. Give the path of a file."
    if not isinstance(error, UnidentifiedImageError):
        return f"cannot be read: {str(error) or type(error).__name__}. Replace or delete it."
    if not path.stat().st_size:
        return "is empty (0 bytes). Replace or delete it."
    return "is not an image, or damaged beyond recognition. Replace or delete it."
