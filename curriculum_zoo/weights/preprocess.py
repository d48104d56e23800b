"""`load_preprocess`: the way from an image to what a network with given weights takes, as their config states it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from timm.data import create_transform
from timm.data.transforms import CenterCropOrPad, ResizeKeepRatio
from torch import Tensor

from ..data.decoding.geometry import fit
from ..data.decoding.image_file import upright
from ..data.normalize import Normalize
from ..errors import DataError, WeightsError
from .address import Address
from .stored import StoredWeights
from .timm_weights import timm_cfg

__all__ = ["Preprocess", "load_preprocess"]

INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "lanczos", "box", "hamming")
CROP_MODES = ("center", "squash", "border")
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow has it


@dataclass(frozen=True)
class Preprocess:
    """The evaluation transform that belongs to weights: colours, resize, centre crop, normalise.

    Attributes:
        input_size: channels, height and width of what comes out.
        mean: what is subtracted from values in [0, 1], by channel.
        std: what they are then divided by.
        interpolation: ``bilinear``, ``bicubic`` or another that Pillow knows; always antialiased.
        crop_pct: the part of the resized image that the crop keeps, by side.
        crop_mode: ``center``: the short side is resized; ``squash``: both sides are, whatever the image's shape;
            ``border``: the long side is, and the rest filled with the mean.
    """

    input_size: tuple[int, int, int]
    mean: Sequence[float]
    std: Sequence[float]
    interpolation: str = "bicubic"
    crop_pct: float = 0.875
    crop_mode: str = "center"

    @classmethod
    def of(cls, cfg: Mapping[str, Any], name: str) -> Preprocess:
        """Make the transform that a ``pretrained_cfg`` states.

        Args:
            cfg: what weights say of their images.
            name: what to call the weights in messages.

        Raises:
            WeightsError: size, mean or standard deviation are not stated, or something stated makes no sense.
        """
        missing = [key for key in ("input_size", "mean", "std") if not cfg.get(key)]
        if missing:
            raise WeightsError(f"{name} does not state {', '.join(missing)}, so images cannot be prepared for it.")
        stated = {key: cfg[key] for key in ("interpolation", "crop_pct", "crop_mode") if cfg.get(key)}
        for key, choices in (("interpolation", INTERPOLATIONS), ("crop_mode", CROP_MODES)):
            if stated.get(key, choices[0]) not in choices:
                raise WeightsError(f"{name}: {key} is {stated[key]!r}, expected {' or '.join(map(repr, choices))}.")
        share = stated.get("crop_pct", 1.0)
        if type(share) not in (int, float) or not 0.1 <= share <= 1:
            raise WeightsError(f"{name}: crop_pct is {share!r}, expected a number from 0.1 to 1.")
        channels, height, width = cfg["input_size"]
        return cls((channels, height, width), tuple(cfg["mean"]), tuple(cfg["std"]), **stated)

    def __call__(self, image: Image.Image | Tensor) -> Tensor:
        """Turn an image into what the network takes.

        Args:
            image: of Pillow's, of any mode and size, turned upright by its EXIF tag; or a tensor [C, H, W], or a batch
                [N, C, H, W], uint8 in 0 to 255 or floating point in [0, 1].

        Returns:
            float32 [C, H, W], or [N, C, H, W] for a batch, of the network's own size, normalised.

        Raises:
            DataError: neither of both, or an image that cannot be decoded.
        """
        pixels = self.pixels(image)
        return self._normalize(pixels) if pixels.ndim == 4 else self._normalize(pixels[None])[0]

    def pixels(self, image: Image.Image | Tensor) -> Tensor:
        """Return the same before normalisation: float32 [C, H, W] or [N, C, H, W] in [0, 1]."""
        channels = self.input_size[0]
        if isinstance(image, Image.Image):
            try:
                seen = upright(image.copy())
                cut = fit(seen, self.input_size[2]) if self._as_files_are_read else seen
                return self._resized(cut.convert("L" if channels == 1 else "RGB")).float() / 255
            except (OSError, SyntaxError, ValueError) as error:
                raise DataError(f"The image cannot be used: {error}.") from error
        if not isinstance(image, Tensor) or image.ndim not in (3, 4) or image.shape[-3] not in (1, 3, channels):
            what = f"shape {list(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
            raise DataError(f"Expected an image of Pillow's or a tensor [C, H, W] or [N, C, H, W], got {what}.")
        values = image if image.is_floating_point() else image.float() / 255
        return self._resized_tensor(_with_channels(values.float(), channels)).clamp(0, 1)

    @cached_property
    def _normalize(self) -> Normalize:
        return Normalize(self.mean, self.std)

    @cached_property
    def _resized(self) -> Callable[[Any], Tensor]:
        """Timm's resize and crop."""
        stated = {key: getattr(self, key) for key in ("input_size", "interpolation", "crop_pct", "crop_mode")}
        resized: Callable[[Any], Tensor] = create_transform(**stated, mean=self.mean, normalize=False)
        return resized

    def _resized_tensor(self, values: Tensor) -> Tensor:
        """The same of a tensor in [0, 1], which torchvision pads with one number for all channels alone."""
        if self.crop_mode != "border":
            return self._resized(values)
        size = self.input_size[1:]
        larger = tuple(math.floor(side / self.crop_pct) for side in size)
        resize = ResizeKeepRatio(larger, longest=1.0, interpolation=self.interpolation)
        fill = values.new_tensor([round(255 * value) / 255 for value in self.mean])[:, None, None]
        return CenterCropOrPad(size)(resize(values - fill)) + fill

    @property
    def _as_files_are_read(self) -> bool:
        """Whether images are cut as training and evaluation cut image files, which `fit` does to the bit."""
        _, height, width = self.input_size
        return (self.interpolation, self.crop_pct, self.crop_mode, height) == ("bilinear", 1, "center", width)


def load_preprocess(name: str) -> Preprocess:
    """Return the evaluation transform that belongs to weights, by the name that `create_model` loads them by.

    ::

        model = create_model("hiresnet18", pretrained=True).eval()
        logits = model(load_preprocess("hiresnet18")(Image.open("cat.jpg"))[None])

    Args:
        name: any address of weights with a config: ``architecture[.tag]``, ``timm/<name>``,
            ``hf-hub:owner/repo[@revision]``, ``local-dir:path`` of weights or of a run.

    Raises:
        UnknownNameError: nothing has that name.
        WeightsError: the weights' config cannot be had, or does not state how images are prepared.
    """
    address = Address.parse(name)
    return Preprocess.of(timm_cfg(address.place), name) if address.kind == "timm" else _stated(address.resolve(), name)


def _stated(weights: StoredWeights, name: str) -> Preprocess:
    photos = weights.recipe.get("photos")
    pipeline = photos.get("eval_pipeline") if isinstance(photos, dict) else None
    if pipeline:
        raise WeightsError(
            f"{name} was evaluated through a pipeline of its trainer's own, {pipeline!r}, which its config does not "
            "hold. Send images through that pipeline, and give the network what comes out, normalised."
        )
    return Preprocess.of(weights.cfg, name)


def _with_channels(images: Tensor, channels: int) -> Tensor:
    if images.shape[-3] == channels:
        return images
    if channels == 1:
        return torch.einsum("...chw,c->...hw", images, images.new_tensor(LUMA)).unsqueeze(-3)
    repeats = [1] * images.ndim
    repeats[-3] = channels
    return images.repeat(repeats)
