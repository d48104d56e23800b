"""Sizes and channels of images that are already decoded: resize, centre crop, gray to RGB and back."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ..memory import require_memory

__all__ = ["center_square", "centred", "convert_channels", "convert_drawn", "fit", "resize_images", "resized_size"]

Images = npt.NDArray[np.uint8]


def fit(image: Image.Image, image_size: int) -> Image.Image:
    """An image whose short side is resized to `image_size` pixels (bilinear, antialiased), and of it the centre square.

    That is what timm's evaluation does, but a very long image costs no more than a square: pixels are resampled at the
    same places, with the pixels beyond the square's edges, and only those of the square.
    """
    width, height = image.size
    if (width, height) == (image_size, image_size):
        return image
    left, top, resized_width, resized_height = center_square(width, height, image_size, image_size)
    across, down = width / resized_width, height / resized_height
    right, bottom = min(width, (left + image_size) * across), min(height, (top + image_size) * down)
    box = (left * across, top * down, right, bottom)
    return image.resize((image_size, image_size), Image.Resampling.BILINEAR, box=box)


def center_square(width: int, height: int, short: int, image_size: int) -> tuple[int, int, int, int]:
    """Return where the centre square lies in an image whose short side is resized, as torchvision and timm reckon.

    Args:
        width: of the image, in pixels.
        height: of the image, in pixels.
        short: the short side after resizing.
        image_size: the square's side.

    Returns:
        Left and top edge of the square in the resized image; that image's width and height.
    """
    resized_width, resized_height = resized_size(width, height, short)
    left, top = (round((side - image_size) / 2) for side in (resized_width, resized_height))
    return left, top, resized_width, resized_height


def resized_size(width: int, height: int, side: int, mode: str = "center") -> tuple[int, int]:
    """Return width and height of an image resized for evaluation, as torchvision and timm reckon.

    Args:
        width: of the image, in pixels.
        height: of the image, in pixels.
        side: what the mode brings to so many pixels.
        mode: ``squash`` for both sides, ``border`` for the long one, else the short one; timm's ``crop_mode``.
    """
    if mode == "squash":
        return side, side
    if mode == "border":
        ratio = max(width, height) / side
        return max(1, round(width / ratio)), max(1, round(height / ratio))
    least = min(width, height)
    return side * width // least, side * height // least


def centred(pixels: Images, side: int, fill: tuple[int, ...]) -> Images:
    """The centre square of an image, with borders where the image is narrower or lower, as timm cuts and pads.

    Args:
        pixels: uint8 [H, W, C].
        side: of the square, in pixels.
        fill: the borders' colour, one value for each channel, or for all.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < side:
        padded = np.empty((max(height, side), max(width, side), pixels.shape[2]), dtype=np.uint8)
        padded[:] = fill
        top, left = max(0, side - height) // 2, max(0, side - width) // 2
        padded[top : top + height, left : left + width] = pixels
        pixels = padded
    top, left = (round((length - side) / 2) for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def resize_images(images: Images, image_size: int) -> Images:
    """Square images of another size, what `fit` makes of each up to rounding; the same array where they have that size.

    Args:
        images: uint8 [N, H, W, C].
        image_size: side in pixels.

    Raises:
        DataError: too little memory for the result.
    """
    height, width = images.shape[1:3]
    if (height, width) == (image_size, image_size):
        return images
    left, top, resized_width, resized_height = center_square(width, height, image_size, image_size)
    shape = (len(images), image_size, image_size, images.shape[3])
    require_memory(math.prod(shape), f"{shape[0]:,} images of {image_size} × {image_size} pixels", "Take smaller ones.")
    resized = np.empty(shape, dtype=np.uint8)
    for start in range(0, len(images), 1024):
        piece = np.ascontiguousarray(images[start : start + 1024])
        # torch's resampling of bytes gives Pillow's values up to rounding, ten times as fast for many small images
        planes = torch.from_numpy(piece).permute(0, 3, 1, 2)
        size = (resized_height, resized_width)
        smaller = functional.interpolate(planes, size=size, mode="bilinear", antialias=True)
        square = smaller[:, :, top : top + image_size, left : left + image_size]
        resized[start : start + 1024] = square.permute(0, 2, 3, 1).numpy()
    return resized


def resize_region(pixels: Images, size: tuple[int, int], resampling: str = "bilinear") -> Images:
    """One image, or a part of one, at another size, antialiased.

    Args:
        pixels: uint8 [H, W, C], as rows of any array; a copy is made where nothing changes.
        size: width and height in pixels.
        resampling: ``bilinear``, ``bicubic``, or another of Pillow's filters by its name in lower case.

    Returns:
        uint8 [height, width, C].
    """
    width, height = size
    if pixels.shape[:2] == (height, width):
        return np.ascontiguousarray(pixels)
    if resampling not in ("bilinear", "bicubic"):
        image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
        resized = np.asarray(image.resize(size, Image.Resampling[resampling.upper()]))
        return resized if resized.ndim == 3 else resized[:, :, None]
    # Pillow's values up to rounding, at a third of the time.
    planes = torch.from_numpy(np.ascontiguousarray(pixels))[None].permute(0, 3, 1, 2)
    smaller = functional.interpolate(planes, size=(height, width), mode=resampling, antialias=True)
    return np.ascontiguousarray(smaller[0].permute(1, 2, 0).numpy())


def convert_channels(images: Images, channels: int) -> Images:
    """Gray images repeated on three channels, or RGB ones as their luma; the same array where nothing changes.

    Luma is ITU-R 601's 0.299 R + 0.587 G + 0.114 B, in the fixed-point arithmetic that Pillow uses, so that a file
    read as gray and an array turned gray agree.

    Args:
        images: uint8 [N, H, W, 1 or 3].
        channels: 1 or 3.
    """
    if images.shape[3] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=3)
    gray = np.empty((*images.shape[:3], 1), dtype=np.uint8)
    for start in range(0, len(images), 256):  # in pieces, so that the wider integers stay in the cache
        red, green, blue = np.moveaxis(images[start : start + 256].astype(np.uint32), -1, 0)
        gray[start : start + 256, ..., 0] = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16
    return gray


def convert_drawn(images: Tensor, image_size: int | None, channels: int | None) -> Tensor:
    """What `resize_images` and `convert_channels` do, for images that are drawn on a device.

    Args:
        images: uint8 [N, H, W, C].
        image_size: side in pixels; None leaves the size.
        channels: 1 or 3; None leaves the channels.
    """
    if channels == 1 and images.shape[3] == 3:
        red, green, blue = images.int().unbind(3)
        images = ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).to(torch.uint8).unsqueeze(3)
    if image_size is not None and images.shape[1:3] != (image_size, image_size):
        left, top, width, height = center_square(images.shape[2], images.shape[1], image_size, image_size)
        planes = images.permute(0, 3, 1, 2).float()
        # In float on every device: only the CPU resamples bytes, and it rounds on the way.
        resized = functional.interpolate(planes, size=(height, width), mode="bilinear", antialias=True)
        smaller = resized[:, :, top : top + image_size, left : left + image_size]
        images = smaller.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    if channels == 3 and images.shape[3] == 1:
        images = images.expand(-1, -1, -1, 3).contiguous()
    return images
