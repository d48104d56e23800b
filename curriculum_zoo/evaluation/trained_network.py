"""`TrainedNetwork`: a network with trained weights, ready for images, and all that its config says of how to use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data.normalize import Normalize
from ..devices import select_device
from ..errors import ModelError, WeightsError
from ..models import create_model
from ..recipes.augmentation import Augmentation
from ..recipes.photo_options import PhotoOptions
from ..weights.address import Address
from ..weights.folder import Which
from ..weights.preprocess import Preprocess

__all__ = ["TrainedNetwork", "load_trained_network"]


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with trained weights, ready for images.

    Attributes:
        name: what to call it.
        model: the network, in eval mode, on `device`.
        device: where it lies.
        input_size: channels, height and width of the images that it was trained for.
        normalize: from images in [0, 1] to what it takes.
        classes: names of its classes; empty where they are not known.
        num_classes: how many there are.
        recipe: how it was trained, as JSON has it; empty where that is not known.
        interpolation: how photographs are resized for it.
        crop_pct: the part of their short side that it sees.
        crop_mode: as for `Preprocess`.
    """

    name: str
    model: nn.Module
    device: torch.device
    input_size: tuple[int, int, int]
    normalize: Normalize
    classes: tuple[str, ...]
    num_classes: int
    recipe: Mapping[str, Any]
    interpolation: str = "bilinear"
    crop_pct: float = 1.0
    crop_mode: str = "center"

    def side(self) -> int:
        """Return the side of the square images that it was trained for, in pixels.

        Raises:
            ModelError: it was trained for images that are no squares.
        """
        _, height, width = self.input_size
        if height != width:
            raise ModelError(
                f"{self.name} takes images of {height} x {width} px, height first, and this needs squares. Send images "
                "through load_preprocess, or have them classified by predict, which keep that shape."
            )
        return height

    @property
    def preprocess(self) -> Preprocess:
        """The way from any image to what it takes, as its config states it."""
        mean, std = self.normalize.mean, self.normalize.std
        return Preprocess(self.input_size, mean, std, self.interpolation, self.crop_pct, self.crop_mode)

    @property
    def photos(self) -> PhotoOptions:
        """How photographs were read in its training; the defaults where that is not known."""
        return PhotoOptions.from_dict(self.recipe.get("photos", {}))

    @property
    def data_seed(self) -> int:
        """The seed that cut test and validation images off: the training's own in recipes without a ``data_seed``."""
        return int(self.recipe.get("data_seed", self.recipe.get("seed", 0)))

    @property
    def validation(self) -> float:
        """The training images that its recipe held out: a share below 1, or a number of images; 0 for none."""
        share: float = self.recipe.get("validation", 0)
        return share

    @property
    def saw_squares(self) -> bool:
        """Whether it was trained on centre squares kept in memory, resized as those are."""
        return bool(self.recipe) and self.sees_squares

    @property
    def sees_squares(self) -> bool:
        """Whether of each photograph it is evaluated on the centre square, resized as images in memory are."""
        stated = (self.interpolation, self.crop_pct, self.crop_mode, self.photos.eval_pipeline)
        return stated == ("bilinear", 1.0, "center", None)

    @property
    def augmentation(self) -> Augmentation:
        """What its training images went through; nothing where that is not known."""
        return Augmentation.from_dict(self.recipe.get("augmentation", {}))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of its classes; their numbers where the names are not known."""
        return self.classes or tuple(f"class {index}" for index in range(self.num_classes))


def load_trained_network(target: str | Path, *, which: Which = "best", device: str | None = None) -> TrainedNetwork:
    """Load a network with trained weights.

    Args:
        target: any address of weights with a config: a run's folder, a folder of weights, ``architecture[.tag]``,
            ``hf-hub:owner/repo[@revision]``, ``timm/<name>``.
        which: which of a run's weights.
        device: ``cpu``, ``cuda``, …; the best there is where None.

    Raises:
        WeightsError: a folder without weights, or weights that are damaged or do not fit.
        UnknownNameError: neither a folder nor a known model.
    """
    address = Address.parse(target)
    stored = address.find(which=which)
    model = create_model(stored or address, pretrained=True)
    cfg = stored.cfg if stored else getattr(model, "pretrained_cfg", None) or {}
    missing = [key for key in ("input_size", "mean", "std", "num_classes") if not cfg.get(key)]
    if missing:
        raise WeightsError(f"{target} does not state {', '.join(missing)}, so images cannot be prepared for it.")
    channels, height, width = cfg["input_size"]
    placed = select_device(device)
    return TrainedNetwork(
        name=str(target),
        model=model.to(placed).to(memory_format=torch.channels_last).eval(),
        device=placed,
        input_size=(channels, height, width),
        normalize=Normalize(cfg["mean"], cfg["std"], placed),
        classes=(stored.classes if stored else ()) or _imagenet_names(model),
        num_classes=cfg["num_classes"],
        recipe=stored.recipe if stored else {},
        interpolation=cfg.get("interpolation") or "bilinear",
        crop_pct=cfg.get("crop_pct") or 1.0,
        crop_mode=cfg.get("crop_mode") or "center",
    )


def _imagenet_names(model: nn.Module) -> tuple[str, ...]:
    """Timm's own networks carry no class names; those of the 1,000 ImageNet classes come with timm."""
    if (getattr(model, "pretrained_cfg", None) or {}).get("num_classes") != 1000:
        return ()
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return tuple(info.index_to_description(index) for index in range(1000))
