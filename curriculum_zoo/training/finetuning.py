"""Fine-tuning: `finetune` goes on from trained weights with a new head for other images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RecipeError
from ..recipes import Optimizer, Recipe, Schedule
from ..weights.address import Address
from ..weights.timm_weights import timm_cfg
from .engine import Result, train
from .progress import Reporter

__all__ = ["finetune", "finetuning_recipe"]

# What fine-tuning does where nothing else is said: gentle rates, the gentler the nearer to the image, and few epochs.
_USUAL: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 32,
    "optimizer": Optimizer(name="adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.75),
    "schedule": Schedule(name="cosine", warmup=0.1, start=0.01, end=0.01),
}


def finetune(
    pretrained: str | Path,
    data: str,
    *,
    output: str | Path | None = None,
    data_root: str | Path = "data",
    download: bool = False,
    device: str | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    reporter: Reporter | None = None,
    workers: int | None = None,
    **settings: Any,
) -> Result:
    """Fine-tune trained weights on a data set.

    The classifier is a new one, unless the data set has the weights' own classes. The size of the images and their mean
    and standard deviation are those that the weights were trained with, and stand in the new weights' config again.
    Where `settings` say nothing else: AdamW at 1e-3, a quarter less with each block away from the head, weight decay
    0.05, one epoch in ten of warm-up and then a cosine, 10 epochs, batches of 32.

    Args:
        pretrained: the weights, as `finetuning_recipe` takes them.
        data: a name that `open_dataset` knows, ``"folder:photographs"`` say.
        output: the run's folder, as for `train`.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.
        device: ``cpu``, ``cuda``, …; the best there is where None.
        resume: go on from the folder's checkpoint.
        allow_changes: resume on other data or processes, as for `train`.
        reporter: shows progress.
        workers: processes that read image files which are not kept in memory, as for `train`.
        **settings: fields of the recipe, nested ones by dotted names:
            ``epochs=5, curriculum="hrt", **{"optimizer.layer_decay": 0.6}``.

    Raises:
        CurriculumZooError: as `train`, and as `finetuning_recipe`.
    """
    recipe = finetuning_recipe(pretrained, {"data": data, **settings})
    return train(
        recipe,
        output=output,
        data_root=data_root,
        download=download,
        device=device,
        resume=resume,
        allow_changes=allow_changes,
        reporter=reporter,
        workers=workers,
    )


def finetuning_recipe(pretrained: str | Path, settings: Mapping[str, Any], recipe: Recipe | None = None) -> Recipe:
    """Return the recipe that starts from trained weights: which they are to the byte, how images are prepared for them.

    Args:
        pretrained: any address of weights with a config: ``architecture[.tag]``, ``timm/<name>``,
            ``hf-hub:owner/repo[@revision]``, ``local-dir:path``, or the folder of a run or of weights.
        settings: what the recipe is to have otherwise, by field, nested ones with dots; these come last.
        recipe: what it goes by; the usual one for fine-tuning where None, and then `settings` must name the data.

    Raises:
        RecipeError: settings that make no recipe, or that name other weights too.
        WeightsError: there are no such weights.
        UnknownNameError: nothing has that name.
    """
    for field in ("model", "warm_start", "pretrained"):
        if field in settings:
            raise RecipeError(
                f"recipe: '{pretrained}' are the weights to start from, and tell the network; {field} cannot be set "
                "beside them. For a network that starts from those of its plain twin, set model and warm_start alone."
            )
    address = Address.parse(pretrained)
    stored = address.find()
    start: dict[str, Any] = {"model": stored.name if stored else str(address), "pretrained": True, "warm_start": None}
    start |= {"start_sha256": stored.stated_sha256 if stored else None, "normalize": "model"}
    if "image_size" not in settings and (recipe is None or recipe.image_size is None):
        cfg = stored.cfg if stored else timm_cfg(address.place) if address.kind == "timm" else {}
        start["image_size"] = _side(cfg)
    if recipe is None:
        if "data" not in settings:
            raise RecipeError("recipe: data is missing; it has no default")
        recipe = Recipe(model=start["model"], data="", **_USUAL)
    return recipe.changed({**start, **settings})


def _side(cfg: Mapping[str, Any]) -> int | None:
    """The side of the images that weights were trained with, in pixels; None where it is not known or not square."""
    _, height, width = cfg.get("input_size") or (None, None, None)
    return height if height == width else None
