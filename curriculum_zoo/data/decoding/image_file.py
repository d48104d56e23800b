"""One image file to pixels: whatever Pillow opens comes out upright, as 8-bit gray or RGB, at the size asked for."""

from __future__ import annotations

import io
import os
import stat
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from ...errors import DataError
from .geometry import convert_channels, fit, resize_region

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "ImageReader",
    "decode_image",
    "image_dimensions",
    "read_bytes",
    "read_image",
    "upright",
]

_OPTIONAL = {"PIL._avif": (".avif",)}
"""Endings that Pillow reads where it was built with a library, by the module that it then has."""

SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".webp", ".gif", ".tif", ".tiff", ".ppm",
    ".pgm", ".pbm", ".pnm",
    *(suffix for module, suffixes in _OPTIONAL.items() if find_spec(module) for suffix in suffixes),
})  # fmt: skip
"""Endings, in lower case, of the files that are taken for images."""

FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "GIF", "TIFF", "PPM") + ("AVIF",) * bool(find_spec("PIL._avif"))
"""Formats, as Pillow calls them, that are decoded, whatever a file's name. Pillow has others, some of which start a
program (EPS starts Ghostscript), and anybody may have made the file."""

Pixels = npt.NDArray[np.uint8]

_ORIENTATION = 0x0112  # the EXIF tag
_SCAN, _END = b"\xff\xda", b"\xff\xd9"  # markers of a JPEG file


def read_image(path: str | Path, *, image_size: int, channels: int = 3) -> Pixels:
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
    return decode_image(read_bytes(path), str(path), image_size=image_size, channels=channels)


def decode_image(content: bytes, name: str, *, image_size: int, channels: int = 3) -> Pixels:
    """What `read_image` makes of a file, from its content.

    Args:
        content: what the file holds.
        name: what to call it in messages.
        image_size: side in pixels.
        channels: 3 for RGB, 1 for gray (luma).

    Returns:
        uint8 [image_size, image_size, channels].

    Raises:
        DataError: not an image, damaged, or of values whose meaning the file does not tell.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            square = fit(upright(image), image_size).convert("L" if channels == 1 else "RGB")
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, EOFError, …
        raise _refusal(name, content, error) from error
    pixels = np.asarray(square)
    return pixels[:, :, None] if channels == 1 else pixels


def read_bytes(path: str | Path) -> bytes:
    """What a file holds.

    Raises:
        DataError: no such file, a folder, a pipe or another thing that is no file, or one that may not be read.
    """
    try:
        kind = os.stat(path).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise DataError(f"{path} is a pipe or a device, not a file. Delete it.")  # reading might never end
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist. Correct the path.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not an image. Give the path of a file.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Replace or delete it.") from error


class ImageReader:
    """An image of which only a part is decoded, no larger than it is needed, and resized once.

    JPEG files, which most photographs are, are decoded by OpenCV: at a half, a quarter or an eighth of their size where
    that is enough, which the format offers by itself. Its pixels are those that Pillow gives, in half of the time.
    All other files, and those that OpenCV does not take, are decoded by Pillow, as `read_image` does it.

    Args:
        content: what the file holds.
        name: what to call it in messages.

    Attributes:
        size: width and height of the upright image, in pixels.

    Raises:
        DataError: not an image, or damaged.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self.name = name
        self._content = content
        try:
            self._image = Image.open(io.BytesIO(content), formats=FORMATS)
            self._turned = _orientation(self._image)
            # Once and for all: decoding by Pillow turns the image in place, and its sides with it.
            width, height = self._image.size
            sideways = self._turned >= 5 and self._image.format != "TIFF"  # whose size Pillow gives upright
            self.size = (height, width) if sideways else (width, height)
        except Exception as error:  # the same as in `decode_image`
            raise _refusal(name, content, error) from error

    def region(
        self,
        box: tuple[int, int, int, int],
        size: tuple[int, int],
        *,
        resampling: str = "bilinear",
        shrinkage: float = 1.0,
    ) -> Pixels:
        """A part of the image, resized.

        Args:
            box: left, top, right and bottom in pixels of the upright image; right and bottom are just outside.
            size: width and height in pixels to resize to.
            resampling: how to; see `resize_region`.
            shrinkage: the image may be decoded smaller than its own size by this factor even where `size` asks for
                more; 1 decodes no fewer pixels than that, where the image has them.

        Returns:
            RGB, uint8 [height, width, 3].

        Raises:
            DataError: damaged, or of values whose meaning the file does not tell.
        """
        left, top, right, bottom = box
        ratio = min((right - left) / size[0], (bottom - top) / size[1])
        pixels = self._decoded(_reduction(max(ratio, shrinkage)))
        # The file decides how many pixels are left of an odd number of them, so its own size tells the scale.
        across, down = pixels.shape[1] / self.size[0], pixels.shape[0] / self.size[1]
        rows = slice(int(top * down), max(int(top * down) + 1, round(bottom * down)))
        columns = slice(int(left * across), max(int(left * across) + 1, round(right * across)))
        resized = resize_region(pixels[rows, columns], size, resampling)
        return convert_channels(resized[None], 3)[0]

    def _decoded(self, reduction: int) -> Pixels:
        """The whole upright image [H, W, C], at one `reduction`-th of its size where the format can; C is 1 or 3."""
        if self._image.format in ("JPEG", "MPO") and self._image.mode in ("RGB", "L"):
            pixels = _decode_jpeg(self._content, reduction)
            if pixels is not None:
                return _turn(pixels, self._turned)
        return self._by_pillow

    @cached_property
    def _by_pillow(self) -> Pixels:
        try:
            pixels = np.array(upright(self._image))
        except Exception as error:  # the same as in `decode_image`
            raise _refusal(self.name, self._content, error) from error
        return pixels if pixels.ndim == 3 else pixels[:, :, None]


def image_dimensions(path: str | Path) -> tuple[int, int] | None:
    """Width and height in pixels as stored, from the file's header alone; None where it has none that can be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with Image.open(path, formats=FORMATS) as image:
            return image.size
    except Exception:  # the same as in `decode_image`, which tells about it
        return None


def _decode_jpeg(content: bytes, reduction: int) -> Pixels | None:
    """A JPEG file as RGB in the orientation it is stored in, at a fraction of its size; None where that fails."""
    try:
        import cv2
    except ImportError:  # it comes with albumentations, which evaluation alone does without
        return None
    # Older OpenCVs hand out files that are cut short, gray from there on. The marker of a scan never occurs within one,
    # so a whole file has its end marker behind the last of them. Whoever fails here is looked at by Pillow.
    if not content.endswith(_END) and content.rfind(_END) < content.rfind(_SCAN):
        return None
    scale = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}.get(
        reduction, cv2.IMREAD_REDUCED_COLOR_8
    )
    try:
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), scale | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if decoded is None else np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, dst=decoded), np.uint8)


def _reduction(ratio: float) -> int:
    """The largest of a JPEG's own reductions, 1, 2, 4 and 8, that does not fall below what is needed."""
    return next((factor for factor in (8, 4, 2) if ratio >= factor), 1)


def _orientation(image: Image.Image) -> int:
    """How the camera held the image, 1 to 8 as EXIF has it; 1 where nothing sensible is said."""
    turned = image.getexif().get(_ORIENTATION, 1)
    return turned if isinstance(turned, int) and 1 <= turned <= 8 else 1


def _turn(pixels: Pixels, orientation: int) -> Pixels:
    """The upright image [H, W, C], as a view of the stored one."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def upright(image: Image.Image) -> Image.Image:
    """An image as it is to be seen, in mode L or RGB, opaque; turned in place.

    Raises:
        ValueError: its values are beyond 16 bit, or of an unknown range.
    """
    ImageOps.exif_transpose(image, in_place=True)
    return _in_eight_bits(image)


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


def _refusal(name: str, content: bytes, error: Exception) -> DataError:
    """The error for content that no decoder takes."""
    if not content:
        return DataError(f"{name} is empty (0 bytes). Replace or delete it.")
    if isinstance(error, UnidentifiedImageError):
        return DataError(f"{name} is not an image, or damaged beyond recognition. Replace or delete it.")
    cause = str(error).rstrip(".") or type(error).__name__
    return DataError(f"{name} cannot be read: {cause}. Replace or delete it.")
