"""What is evaluated: a run's weights, a folder of weights, or a model by name, with all that belongs to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ..data.augmentation import Augmentation
from ..data.normalize import Normalize
from ..devices import select_device
from ..errors import WeightsError
from ..hub.weights import CONFIG, list_weights, load_folder
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
        augmentation: what its training images went through; nothing where that is not known.
    """

    name: str
    model: nn.Module
    device: torch.device
    input_size: tuple[int, int, int]
    normalize: Normalize
    classes: tuple[str, ...]
    num_classes: int
    augmentation: Augmentation


def load_subject(target: str | Path, *, which: Literal["best", "last"] = "best", device: str | None = None) -> Subject:
    """Load trained weights with their configuration.

    Args:
        target: a run's folder, a folder of weights, or the name of a model that has trained weights.
        which: which of a run's weights.
        device: ``cpu``, ``cuda``, …; the best there is where None.

    Raises:
        WeightsError: a folder without weights, or weights that are damaged or do not fit.
        UnknownNameError: neither a folder nor a known model.
    """
    folder = Path(target)
    chosen = select_device(device)
    if folder.is_dir():
        return _from_folder(_weights_folder(folder, which), str(target), chosen)
    released = [weights for weights in list_weights() if str(target) in (weights.name, weights.architecture)]
    if len(released) == 1:
        return _from_folder(released[0].folder, released[0].name, chosen)
    model = create_model(str(target), pretrained=True)
    cfg = getattr(model, "pretrained_cfg", None) or {}
    return _subject(model, cfg, _imagenet_names(model), Augmentation(), str(target), chosen)


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


def _from_folder(folder: Path, name: str, device: torch.device) -> Subject:
    model, config = load_folder(folder)
    recipe = config.get("curriculum_zoo", {}).get("recipe", {})
    augmentation = Augmentation.from_dict(recipe.get("augmentation", {}))
    classes = tuple(config.get("label_names", ()))
    return _subject(model, config.get("pretrained_cfg", {}), classes, augmentation, name, device)


def _subject(
    model: nn.Module,
    cfg: dict[str, Any],
    classes: tuple[str, ...],
    augmentation: Augmentation,
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
        augmentation=augmentation,
    )


def _imagenet_names(model: nn.Module) -> tuple[str, ...]:
    """Timm's own networks carry no class names; those of the 1,000 ImageNet classes come with timm."""
    if (getattr(model, "pretrained_cfg", None) or {}).get("num_classes") != 1000:
        return ()
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return tuple(info.index_to_description(index) for index in range(1000))
