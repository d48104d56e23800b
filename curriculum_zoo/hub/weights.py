"""Weights in folders: ``model.safetensors`` beside a ``config.json`` in timm's format, checked before they are used.

Every folder of weights has this one layout: the best epoch of a run, a released weight in ``model_cards/``, a
repository on the Hub. Nothing in it is code: the config names a registered architecture, the tensors are safetensors.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnknownNameError, WeightsError
from ..registry import MODELS

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "ReleasedWeights",
    "list_weights",
    "load_folder",
    "load_released_weights",
    "load_tensors",
    "model_config",
    "read_config",
    "save_folder",
]

CONFIG = "config.json"
TIMM = "timm"
WEIGHTS = "model.safetensors"

# What fields of a config must be, and options that would load other weights than those beside it.
_KINDS: dict[str, Any] = {
    "num_classes": int,
    "model_args": dict,
    "pretrained_cfg": dict,
    "label_names": (list, dict),
    "curriculum_zoo": dict,
}
_NOT_OPTIONS = frozenset({
    "num_classes", "in_chans", "image_size", "warm_start", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay",
    "pretrained_model_args", "pretrained_strict", "checkpoint_path", "cache_dir", "device", "dtype",
})  # fmt: skip


@dataclass(frozen=True)
class ReleasedWeights:
    """Weights that come with the package.

    Attributes:
        architecture: the model that they fit.
        tag: what tells them from others of that architecture.
        folder: where they lie, laid out as a Hub repository.
        facts: what training recorded of them: data, curriculum, accuracy, cost.
    """

    architecture: str
    tag: str
    folder: Path
    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """``architecture.tag``, as `create_model` takes it."""
        return f"{self.architecture}.{self.tag}"


def list_weights(pattern: str = "*") -> list[ReleasedWeights]:
    """The released weights whose ``architecture.tag`` matches a shell pattern, sorted by it.

    Args:
        pattern: shell-style wildcard.
    """
    package = Path(__file__).parents[1]
    # An installed package carries the folder inside; a checkout has it beside the package.
    roots = (package / "model_cards", package.parent / "model_cards")
    root = next((folder for folder in roots if folder.is_dir()), None)
    found = []
    for folder in sorted(root.iterdir()) if root else ():
        architecture, _, tag = folder.name.partition(".")
        if tag and (folder / CONFIG).is_file() and fnmatch.fnmatchcase(folder.name, pattern):
            found.append(ReleasedWeights(architecture, tag, folder, read_config(folder).get("curriculum_zoo", {})))
    return found


def load_released_weights(model: nn.Module, name: str) -> None:
    """Load released weights into a network of their architecture.

    A classifier of another size than theirs keeps the network's own weights, as in timm.

    Args:
        model: the network.
        name: ``architecture`` where it has one released weight, else ``architecture.tag``.

    Raises:
        WeightsError: there are none of that name, or they do not fit.
    """
    architecture = name.partition(".")[0]
    there_are = list_weights(f"{architecture}.*")
    wanted = [weights for weights in there_are if name in (weights.name, weights.architecture)]
    if len(wanted) != 1:
        names = ", ".join(weights.name for weights in there_are or list_weights()) or "none yet"
        whose = f"of {architecture} " if there_are else ""
        raise WeightsError(f"No released weights '{name}'. Released {whose}are: {names}.")
    tensors = _read_tensors(wanted[0].folder, read_config(wanted[0].folder))
    classifier = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    own = model.state_dict()
    for layer in (classifier,) if isinstance(classifier, str) else classifier:
        for key in (f"{layer}.weight", f"{layer}.bias"):
            if key in own and key in tensors and own[key].shape != tensors[key].shape:
                tensors[key] = own[key]
    load_tensors(model, tensors, source=wanted[0].name)


def model_config(
    model: nn.Module,
    *,
    architecture: str,
    options: Mapping[str, Any],
    input_size: tuple[int, int, int],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    classes: tuple[str, ...],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of a ``config.json``: timm's format, with our own facts under ``curriculum_zoo``.

    Args:
        model: the network.
        architecture: its registered name.
        options: keywords that build it, beyond number of classes and channels.
        input_size: channels, height, width of its images.
        mean: what is subtracted from images in [0, 1], by channel.
        std: what they are then divided by, by channel.
        classes: class names, by index.
        facts: what training knows: recipe, accuracy, cost.
    """
    own: Mapping[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    kept = ("pool_size", "first_conv", "classifier", "fixed_input_size")
    return {
        "architecture": architecture,
        "num_classes": len(classes),
        "num_features": getattr(model, "num_features", None),
        "model_args": dict(options),
        "pretrained_cfg": {
            **{key: own[key] for key in kept if key in own},
            "tag": None,
            "custom_load": False,
            "input_size": list(input_size),
            "num_classes": len(classes),
            "mean": list(mean),
            "std": list(std),
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "center",
        },
        "label_names": list(classes),
        "curriculum_zoo": dict(facts),
    }


def save_folder(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write weights and config into a folder, each file replaced whole; the config gets the weights' SHA-256.

    Args:
        folder: made where it is missing.
        tensors: the network's state.
        config: see `model_config`.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    temporary = folder / f"{WEIGHTS}.tmp"
    save_file(plain, temporary, metadata={"format": "pt"})
    facts = {**config.get("curriculum_zoo", {}), "sha256": _sha256(temporary)}
    os.replace(temporary, folder / WEIGHTS)
    temporary = folder / f"{CONFIG}.tmp"
    temporary.write_text(json.dumps({**config, "curriculum_zoo": facts}, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, folder / CONFIG)


def read_config(folder: Path) -> dict[str, Any]:
    """The ``config.json`` of a folder of weights.

    Raises:
        WeightsError: it is missing, no JSON, names no architecture, or holds what makes no sense there.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}. A folder of weights holds {CONFIG}.") from error
    except ValueError as error:
        raise WeightsError(f"{path} is no JSON: {error}.") from error
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise WeightsError(f"{path} names no architecture; it must be a config in timm's format.")
    config = {key: value for key, value in config.items() if value is not None}
    problem = _problem(config)
    if problem:
        raise WeightsError(f"{path}: {problem}. Get it again from where it came from.")
    return config


def _problem(config: dict[str, Any]) -> str:
    """What makes no sense in a config, which anyone may have written; empty where all does."""
    for key, kinds in _KINDS.items():
        if key in config and not isinstance(config[key], kinds):
            return f"{key} is {config[key]!r}"
    for option in config.get("model_args", {}):
        if option in _NOT_OPTIONS:
            return f"model_args has '{option}', which is no option of a network"
    cfg = config.get("pretrained_cfg", {})
    size, mean, std = (cfg.get(key) for key in ("input_size", "mean", "std"))
    if size is not None and not (_numbers(size, 3) and all(isinstance(side, int) and side > 0 for side in size)):
        return f"pretrained_cfg.input_size is {size!r}, expected channels, height and width"
    for key, values in (("mean", mean), ("std", std)):
        if values is not None and not _numbers(values, size[0] if size else 3):
            return f"pretrained_cfg.{key} is {values!r}, expected a number for each channel"
    if std is not None and min(std) <= 0:
        return f"pretrained_cfg.std is {std!r}, expected numbers above 0"
    names, classes = config.get("label_names"), config.get("num_classes")
    if names and classes is not None and len(names) != classes:
        return f"label_names has {len(names)} names for {classes} classes"
    return ""


def _numbers(values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(type(value) in (int, float) for value in values)


def load_folder(folder: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network that lies in a folder, in eval mode, and its config.

    Args:
        folder: one that holds ``config.json`` and ``model.safetensors``.

    Raises:
        UnknownNameError: the config's architecture is not registered here.
        WeightsError: a file is missing or damaged, or the weights do not fit.
    """
    from ..models import create_model

    folder = Path(folder)
    config = read_config(folder)
    channels, side, *_ = config.get("pretrained_cfg", {}).get("input_size") or (None, None)
    asked: dict[str, Any] = {"num_classes": config.get("num_classes"), "in_chans": channels, "image_size": side}
    try:
        model = create_model(_known_as(config), **asked, **config.get("model_args", {}))
    except UnknownNameError as error:
        raise UnknownNameError(f"{folder / CONFIG}: {error}") from None
    load_tensors(model, _read_tensors(folder, config), source=str(folder))
    return model.eval(), config


def _known_as(config: Mapping[str, Any]) -> str:
    """What `create_model` knows a config's architecture by: timm's format names all bare, ours, timm's and plugins'."""
    architecture: str = config["architecture"]
    distribution = config.get("curriculum_zoo", {}).get("distribution")
    if distribution is None:
        return architecture if architecture in MODELS.names() else f"{TIMM}/{architecture}"
    return f"{distribution}/{architecture}"


def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> None:
    """Load tensors into a network after checking names, shapes, dtypes and finiteness.

    Args:
        model: the network.
        tensors: its whole state.
        source: where they come from, for messages.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape or kind, or not finite.
    """
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own.keys() - tensors.keys()]
    problems += [f"{name} is not the network's" for name in tensors.keys() - own.keys()]
    for name in own.keys() & tensors.keys():
        given, expected = tensors[name], own[name]
        if given.shape != expected.shape:
            problems.append(f"{name} has shape {list(given.shape)}, expected {list(expected.shape)}")
        elif given.is_floating_point() != expected.is_floating_point():
            problems.append(f"{name} is {given.dtype}, expected {expected.dtype}")
        elif given.is_floating_point() and not given.isfinite().all():
            problems.append(f"{name} holds numbers that are not finite")
    if problems:
        listed = "; ".join(sorted(problems)[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise WeightsError(f"The weights of {source} do not fit {type(model).__name__}: {listed}.")
    model.load_state_dict(dict(tensors))


def _read_tensors(folder: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    if not path.is_file():
        raise WeightsError(f"{path} is missing. A folder of weights holds {WEIGHTS} beside {CONFIG}.")
    stated = config.get("curriculum_zoo", {}).get("sha256")
    if stated and stated != _sha256(path):
        raise WeightsError(
            f"{path} is not the file that {CONFIG} was written for: its SHA-256 differs. Get both again."
        )
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged: {error}. Get it again.") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
