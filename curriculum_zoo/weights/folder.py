"""A folder of weights: ``model.safetensors`` beside a ``config.json`` in timm's format, written and read with checks.

Every folder of weights has this one layout: the best epoch of a run, a released weight in ``model_cards/``, a
repository on the Hub.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import WeightsError
from ..files import replace_file, to_json, written_aside
from .config import CONFIG, checked_config, read_config
from .stored import WEIGHTS, StoredWeights, sha256_of
from .tensors import keeps_order, read_content
from .timm_weights import training_config

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["LOCAL", "Which", "model_config", "open_file", "open_folder", "open_place", "pool_size_at", "save_folder"]

LOCAL = "local-dir:"
_PICKLED = "pytorch_model.bin"

Which = Literal["best", "last"]
"""Which of a run's weights: those of its best epoch on validation images, or of its last one."""


def open_folder(folder: str | Path) -> StoredWeights:
    """Return the weights that lie in a folder; the tensors are not read yet.

    Args:
        folder: one that holds ``config.json`` and ``model.safetensors``, or ``pytorch_model.bin`` where timm's
            `save_for_hf` wrote no safetensors.

    Raises:
        WeightsError: its config is missing, or is none.
    """
    folder = Path(folder)

    def locate(_: bool) -> Path:
        path = folder / WEIGHTS
        if not path.exists() and (folder / _PICKLED).is_file():
            return folder / _PICKLED
        if not path.is_file():
            raise WeightsError(f"{path} is missing. A folder of weights holds {WEIGHTS} beside {CONFIG}: get it again.")
        return path

    return StoredWeights(f"{LOCAL}{folder}", read_config(folder), locate)


def open_file(path: str | Path, *, name: str | None = None) -> StoredWeights:
    """Return the weights in a file of tensors.

    Such a file says nothing of their network, unless timm's ``train.py`` wrote it, whose checkpoints keep its options.

    Args:
        path: a ``.safetensors`` file, or one of ``torch.save`` with a state dict.
        name: what to call them; the path where None.

    Raises:
        WeightsError: there is no such file; one of ``torch.save`` that cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(
            f"There is no file '{path}'. Give a file of tensors or a folder that holds {WEIGHTS}, or say "
            "'timm/<name>', 'hf-hub:<owner>/<repo>' or '<architecture>.<tag>'."
        )
    config = training_config(read_content(path, mapped=True)) if keeps_order(path) else {}
    return StoredWeights(name or str(path), checked_config(config, path) if config else {}, lambda _: path)


def open_place(folder: str | Path, which: Which = "best") -> StoredWeights:
    """Return the weights of a folder of weights, or of a run's folder.

    Args:
        folder: of weights, of a run, with ``best/`` and ``last/``, or one that has ``model.safetensors`` alone.
        which: of a run's weights.

    Raises:
        WeightsError: none of these; the run's first epoch is not done; or a config is damaged.
    """
    folder = Path(folder)
    for place in (folder, folder / which):
        if (place / CONFIG).exists():  # of whatever kind: reading it says what is wrong with it
            return open_folder(place)
    if (folder / WEIGHTS).is_file():
        return open_file(folder / WEIGHTS, name=f"{LOCAL}{folder}")
    if (folder / "recipe.json").is_file():
        raise WeightsError(f"{folder} holds no weights yet: its first epoch is not done. Train on, by --resume.")
    raise WeightsError(
        f"{folder} holds neither a run nor weights: there is no recipe.json and no {CONFIG} in it. Correct the path."
    )


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
    interpolation: str = "bilinear",
    crop_pct: float = 1.0,
    crop_mode: str = "center",
) -> dict[str, Any]:
    """Return the content of a ``config.json``: timm's format, with our own facts under ``curriculum_zoo``.

    Args:
        model: the network.
        architecture: its registered name.
        options: keywords that build it, beyond number of classes and channels.
        input_size: channels, height, width of its images.
        mean: what is subtracted from images in [0, 1], by channel.
        std: what they are then divided by, by channel.
        classes: class names, by index.
        facts: what training knows: recipe, accuracy, cost. The number of parameters is added.
        interpolation: how images are resized for evaluation.
        crop_pct: the part of their short side that is then cut out of the centre.
        crop_mode: how images that are not square are cut, as timm names it.
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
            **pool_size_at(own, input_size),
            "tag": None,
            "custom_load": False,
            "input_size": list(input_size),
            "num_classes": len(classes),
            "mean": list(mean),
            "std": list(std),
            "interpolation": interpolation,
            "crop_pct": crop_pct,
            "crop_mode": crop_mode,
        },
        "label_names": list(classes),
        "curriculum_zoo": {**facts, "parameters": sum(parameter.numel() for parameter in model.parameters())},
    }


def pool_size_at(cfg: Mapping[str, Any], input_size: tuple[int, int, int]) -> dict[str, list[int]]:
    """Return the ``pool_size`` of a ``pretrained_cfg`` for images of another size; nothing where it states none.

    Args:
        cfg: it states the height and width of the last feature map for images of its own ``input_size``.
        input_size: channels, height and width of the other images.
    """
    if not cfg.get("pool_size") or not cfg.get("input_size"):
        return {}
    sides = zip(cfg["pool_size"], cfg["input_size"][1:], input_size[1:], strict=True)
    return {"pool_size": [math.ceil(pool * other / own) for pool, own, other in sides]}


def save_folder(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write weights and config into a folder, each file replaced whole; the config gets the weights' SHA-256 and size.

    Args:
        folder: made where it is missing.
        tensors: the network's state.
        config: see `model_config`.

    Raises:
        OSError: they cannot be written, as on a full disk.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with written_aside(folder / WEIGHTS) as temporary:
        temporary.unlink(missing_ok=True)
        temporary.touch()
        usual = temporary.stat().st_mode
        try:
            save_file(plain, temporary, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(str(error)) from error
        temporary.chmod(usual)  # safetensors lets nobody but the owner read what it writes
        written = {"sha256": sha256_of(temporary), "size": temporary.stat().st_size}
    content = {**config, "curriculum_zoo": {**config.get("curriculum_zoo", {}), **written}}
    replace_file(folder / CONFIG, to_json(content, indent=2))
