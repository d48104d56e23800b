"""What is done to each photograph as it is read, by albumentations; nothing else in the package imports that library.

A `Transform` takes the side of the square that is wanted, and a seed; both come with every single image, so the same
transform serves every stage of a curriculum. Another library may take albumentations' place by other transforms.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...documents import read_json
from ...errors import DataError, DocumentError, RecipeError
from ...recipes.photo_options import PhotoOptions
from .geometry import centred, resize_region, resized_size
from .image_file import ImageReader, Pixels

__all__ = ["CenterCrop", "Pipeline", "RandomCrop", "Transform", "eval_transform", "single_threaded", "train_transform"]

_SIZES = frozenset({"size", "height", "width", "max_size", "max_size_hw", "min_height", "min_width", "min_max_height"})
"""Parameters of albumentations that state, in pixels, a size that images are cut, padded or resized to."""


class Transform(Protocol):
    """From an image to the pixels that enter a batch; pure in its arguments."""

    def __call__(self, image: ImageReader, pixels: int, seed: int) -> Pixels:
        """Read and change an image.

        Args:
            image: the image, of which no more is decoded than the transform asks for.
            pixels: side of the square that is wanted.
            seed: decides all that is random.

        Returns:
            RGB, uint8 [pixels, pixels, 3].

        Raises:
            DataError: the image cannot be read.
            RecipeError: the transform fails on the image.
        """
        ...


def train_transform(
    options: PhotoOptions, image_size: int, crop_mode: str = "center", mean: Sequence[float] = ()
) -> Transform:
    """What training images go through.

    Args:
        options: what the recipe says, filled.
        image_size: full side of the images in pixels, which sizes in the recipe's own pipeline are meant for.
        crop_mode: as for `eval_transform`, for training images that are cut as in evaluation.
        mean: as for `eval_transform`.

    Raises:
        RecipeError: the recipe's own pipeline cannot be loaded.
    """
    if options.train_pipeline is not None:
        return Pipeline.load(options.train_pipeline, image_size, field="train_pipeline")
    return RandomCrop(options, image_size, _center_crop(options, crop_mode, mean))


def eval_transform(
    options: PhotoOptions, image_size: int, crop_mode: str = "center", mean: Sequence[float] = ()
) -> Transform:
    """What validation and test images go through.

    Args:
        options: what the recipe says, filled.
        image_size: full side of the images in pixels, which sizes in the recipe's own pipeline are meant for.
        crop_mode: timm's, as the network's configuration states it; see `resized_size`.
        mean: of the images that the network takes, by channel, in [0, 1]: the colour of borders.

    Raises:
        RecipeError: the recipe's own pipeline cannot be loaded.
    """
    if options.eval_pipeline is not None:
        return Pipeline.load(options.eval_pipeline, image_size, field="eval_pipeline")
    return _center_crop(options.filled(), crop_mode, mean)


@dataclass(frozen=True)
class CenterCrop:
    """The centre square of the resized image, as timm's evaluation cuts it out.

    Attributes:
        share: its side as a share of what the resized image's side is.
        interpolation: how it is resized.
        mode: which side that is; see `resized_size`.
        fill: colour of borders, where the resized image is smaller than the square.
    """

    share: float = 1.0
    interpolation: str = "bilinear"
    mode: str = "center"
    fill: tuple[int, ...] = (0,)

    def __call__(self, image: ImageReader, pixels: int, seed: int) -> Pixels:
        """Read the centre; nothing is random."""
        size = resized_size(*image.size, math.floor(pixels / self.share), self.mode)
        whole = image.region((0, 0, *image.size), size, resampling=self.interpolation)
        return centred(whole, pixels, self.fill)


def _center_crop(options: PhotoOptions, crop_mode: str, mean: Sequence[float]) -> CenterCrop:
    fill = tuple(round(255 * value) for value in mean) or (0,)
    return CenterCrop(options.crop_pct or 1.0, options.interpolation or "bilinear", crop_mode, fill)


class RandomCrop:
    """A random crop, resized; mirrored, and changed in brightness, contrast and saturation at random.

    The crop is drawn before anything is decoded, so that no more is decoded than it needs. A stage of half the side is
    shown what full resolution is shown, from images of half the size: a small crop that full resolution would enlarge
    is enlarged as much. Images smaller than the full size are not decoded below the stage's own.

    Args:
        options: how much of each.
        image_size: full side of the images in pixels.
        whole: the crop that evaluation takes, which ``area=[1, 1]`` asks for.
    """

    def __init__(self, options: PhotoOptions, image_size: int, whole: CenterCrop | None = None) -> None:
        albumentations = _albumentations()
        self._whole = (whole or _center_crop(options, "center", ())) if options.area == (1.0, 1.0) else None
        self._interpolation = options.interpolation or "bilinear"
        self._image_size = image_size
        self._crop = albumentations.RandomResizedCrop((1, 1), scale=options.area, ratio=options.aspect, p=1)
        changes = [albumentations.HorizontalFlip(p=0.5)] if options.flip else []
        if options.jitter:
            limits = (1 - options.jitter, 1 + options.jitter)
            # Changes of hue would double the time, and are off in timm's preset too.
            changes.append(albumentations.ColorJitter(limits, limits, limits, (0, 0), p=1))
        self._changes = albumentations.Compose(changes) if changes else None

    def __call__(self, image: ImageReader, pixels: int, seed: int) -> Pixels:
        """Draw a crop, read it, and change it."""
        draws = _draws(seed)
        if self._whole is not None:
            picked = self._whole(image, pixels, seed)
        else:
            width, height = image.size
            self._crop.set_random_state(*draws)
            box = self._crop.get_params_dependent_on_data({"shape": (height, width, 3)}, {})["crop_coords"]
            picked = image.region(
                box,
                (pixels, pixels),
                resampling=self._interpolation,
                shrinkage=min(self._image_size, width, height) / pixels,
            )
        if self._changes is None:
            return picked
        self._changes.set_random_state(*draws)
        return np.asarray(self._changes(image=picked)["image"], dtype=np.uint8)


class Pipeline:
    """Somebody's own albumentations pipeline.

    It is given whole images. Where a stage wants smaller ones, they are decoded smaller by as much, and the sizes that
    the pipeline cuts, pads or resizes to are smaller too. Of what comes out, the centre square is resized if need be.

    Args:
        content: the pipeline as ``albumentations.to_dict`` gives it.
        image_size: the side in pixels that its sizes are meant for.
        name: what to call it in messages.

    Raises:
        RecipeError: it is no pipeline, or does not give RGB images as bytes.
    """

    def __init__(self, content: Mapping[str, Any], image_size: int, name: str) -> None:
        self._content = content
        self._image_size = image_size
        self._name = name
        self._by_size: dict[int, Any] = {}
        self._try()

    @classmethod
    def load(cls, path: str | Path, image_size: int, field: str) -> Pipeline:
        """The pipeline in a JSON file.

        Args:
            path: the file.
            image_size: the side in pixels that its sizes are meant for.
            field: of the recipe, for messages.

        Raises:
            RecipeError: no such file, or none that holds a pipeline.
        """
        try:
            content = read_json(Path(path).expanduser())
        except DocumentError as error:
            raise RecipeError(
                f"recipe: photos.{field} {error}. Correct the path, or write the file by albumentations.save(…)."
            ) from error
        return cls(content, image_size, f"recipe: photos.{field} {path}")

    def __call__(self, image: ImageReader, pixels: int, seed: int) -> Pixels:
        """Decode the whole image, at a share of its size, and send it through."""
        share = pixels / self._image_size
        width, height = image.size
        size = max(1, round(width * share)), max(1, round(height * share))
        whole = image.region((0, 0, width, height), size)
        try:
            changed = self._changed(whole, pixels, seed)
        except RecipeError as error:
            raise RecipeError(f"{self._name} cannot take {image.name}: {error}") from error
        return changed

    def _changed(self, whole: Pixels, pixels: int, seed: int) -> Pixels:
        if pixels not in self._by_size:
            self._by_size[pixels] = self._build(pixels / self._image_size)
        pipeline = self._by_size[pixels]
        try:
            pipeline.set_random_state(*_draws(seed))
            changed = pipeline(image=whole)["image"]
        except Exception as error:  # whatever the transforms raise
            raise RecipeError(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from error
        if not isinstance(changed, np.ndarray) or changed.dtype != np.uint8 or changed.shape[2:] != (3,):
            raise RecipeError(
                f"it gives {_kind(changed)}, where bytes [height, width, 3] are due. Leave Normalize, ToFloat and "
                "ToTensorV2 out: images are normalised after the curriculum has seen them."
            )
        height, width = changed.shape[:2]
        side = min(width, height)
        top, left = (height - side) // 2, (width - side) // 2
        return resize_region(changed[top : top + side, left : left + side], (pixels, pixels))

    def _build(self, share: float) -> Any:
        """The pipeline for images of a share of the full size."""
        albumentations = _albumentations()
        try:
            built = albumentations.from_dict(_resized(self._content, share))
        except Exception as error:  # KeyError, ValueError, pydantic's errors, …
            problem = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RecipeError(f"it makes no pipeline: {problem}. Write it by albumentations.save(…).") from error
        return built if isinstance(built, albumentations.BaseCompose) else albumentations.Compose([built])

    def _try(self) -> None:
        """Send one picture through, so that what cannot work fails before training."""
        side = 2 * self._image_size
        rows, columns = np.meshgrid(np.linspace(0, 255, side), np.linspace(0, 255, side + side // 2), indexing="ij")
        picture = np.stack([rows, columns, 255 - rows], axis=-1).astype(np.uint8)
        try:
            self._changed(picture, self._image_size, 0)
        except RecipeError as error:
            raise RecipeError(f"{self._name}: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_by_size": {}}


def single_threaded() -> None:
    """Keep OpenCV, which decodes and transforms, to the one thread that a worker process is meant to have."""
    import cv2

    cv2.setNumThreads(0)
    cv2.ocl.setUseOpenCL(False)


def _resized(content: Any, share: float) -> Any:
    """A pipeline's description with its sizes at a share of themselves."""
    if isinstance(content, Mapping):
        return {
            key: _scaled(value, share) if key in _SIZES else _resized(value, share) for key, value in content.items()
        }
    return [_resized(item, share) for item in content] if isinstance(content, list | tuple) else content


def _scaled(size: Any, share: float) -> Any:
    if isinstance(size, list | tuple):
        return [_scaled(side, share) for side in size]
    return max(1, round(size * share)) if isinstance(size, int) and not isinstance(size, bool) else size


def _draws(seed: int) -> tuple[np.random.Generator, random.Random]:
    """One stream of each kind for all transforms; their own ``seed`` would let all of them draw the same numbers."""
    return np.random.default_rng(seed), random.Random(seed)


def _kind(changed: object) -> str:
    if isinstance(changed, np.ndarray):
        return f"{changed.dtype} {list(changed.shape)}"
    return f"a {type(changed).__name__}"


def _albumentations() -> Any:
    """The library; it would ask a server for newer versions of itself when it is imported."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        import albumentations
    except ImportError as error:
        raise DataError(
            f"Photographs that are read as they are needed go through albumentations, which cannot be imported "
            f"({error}). Install it: pip install albumentations; or keep the images in memory: photos.resident=true."
        ) from error
    return albumentations
