"""What is evaluated: a run's weights, a folder of weights, or a model by name, with all that belongs to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ..data.augmentation import Augmentation
from ..data.normalize import Normalize
from ..data.photo_options import PhotoOptions
from ..devices import select_device
from ..errors import UnknownNameError, WeightsError
from ..hub.folder import CONFIG, LOCAL, StoredWeights
from ..hub.weights import open_weights
from ..models import create_model

__all__ = ["Subject", "load_subject"]


@dataclass(frozen=True)
class Subject:
    """A trained network, ready to look at images.

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

    @property
    def photos(self) -> PhotoOptions:
        """How its training had photographs; the usual way where that is not known."""
        return PhotoOptions.from_dict(self.recipe.get("photos", {}))

    @property
    def saw_squares(self) -> bool:
        """Whether it was trained on centre squares kept in memory, resized as those are."""
        plain = (self.interpolation, self.crop_pct, self.photos.eval_pipeline) == ("bilinear", 1.0, None)
        return bool(self.recipe) and plain

    @property
    def augmentation(self) -> Augmentation:
        """What its training images went through; nothing where that is not known."""
        return Augmentation.from_dict(self.recipe.get("augmentation", {}))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of its classes; their numbers where the names are not known."""
        return self.classes or tuple(f"class {index}" for index in range(self.num_classes))


def load_subject(target: str | Path, *, which: Literal["best", "last"] = "best", device: str | None = None) -> Subject:
    """Load trained weights with their configuration.

    Args:
        target: a run's folder, a folder of weights, or the name of a model that has trained weights:
            ``architecture[.tag]``, ``hf-hub:owner/repo[@revision]``, ``timm/<name>``.
        which: which of a run's weights.
        device: ``cpu``, ``cuda``, …; the best there is where None.

    Raises:
        WeightsError: a folder without weights, or weights that are damaged or do not fit.
        UnknownNameError: neither a folder nor a known model.
    """
    folder = Path(target)
    name = f"{LOCAL}{_weights_folder(folder, which)}" if folder.is_dir() else str(target)
    stored = _stored(name)
    # The name that stored weights have for themselves is that of one commit, whatever a branch does in between.
    model = create_model(stored.name if stored else name, pretrained=True)
    cfg = stored.config.get("pretrained_cfg", {}) if stored else getattr(model, "pretrained_cfg", None) or {}
    classes = (stored.classes if stored else ()) or _imagenet_names(model)
    return _subject(model, cfg, classes, _recipe(stored), str(target), select_device(device))


def _stored(name: str) -> StoredWeights | None:
    """The weights behind a name, where they come with a config; timm's and plugins' own are theirs to find."""
    try:
        return open_weights(name)
    except UnknownNameError:
        return None


def _weights_folder(folder: Path, which: str) -> Path:
    if (folder / CONFIG).is_file():
        return folder
    if (folder / which / CONFIG).is_file():
        return folder / which
    started = (folder / "recipe.json").is_file()
    raise WeightsError(
        f"{folder} holds no weights yet: its first epoch is not done."
        if started
        else f"{folder} holds neither a run nor weights: there is no recipe.json and no {CONFIG} in it."
    )


def _recipe(weights: StoredWeights | None) -> Mapping[str, Any]:
    """How weights were trained, as far as that is known."""
    recipe = (weights.facts.get("recipe") if weights else None) or {}
    numbers = isinstance(recipe, dict) and (recipe.get("seed", 0), recipe.get("validation", 0))
    if weights and not (numbers and all(type(number) in (int, float) for number in numbers)):
        raise WeightsError(f"{weights.name}: its recipe makes no sense. Get it again from where it came from.")
    return recipe


def _subject(
    model: nn.Module,
    cfg: dict[str, Any],
    classes: tuple[str, ...],
    recipe: Mapping[str, Any],
    name: str,
    device: torch.device,
) -> Subject:
    missing = [key for key in ("input_size", "mean", "std", "num_classes") if not cfg.get(key)]
    if missing:
        raise WeightsError(f"{name} does not state {', '.join(missing)}, so images cannot be prepared for it.")
    channels, height, width = cfg["input_size"]
    return Subject(
        name=name,
        model=model.to(device).to(memory_format=torch.channels_last).eval(),
        device=device,
        input_size=(channels, height, width),
        normalize=Normalize(cfg["mean"], cfg["std"], device),
        classes=classes,
        num_classes=cfg["num_classes"],
        recipe=recipe,
        interpolation=cfg.get("interpolation") or "bilinear",
        crop_pct=cfg.get("crop_pct") or 1.0,
    )


def _imagenet_names(model: nn.Module) -> tuple[str, ...]:
    """Timm's own networks carry no class names; those of the 1,000 ImageNet classes come with timm."""
    if (getattr(model, "pretrained_cfg", None) or {}).get("num_classes") != 1000:
        return ()
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return tuple(info.index_to_description(index) for index in range(1000))
