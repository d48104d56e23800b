"""What timm's registry says of its own weights, and timm's training script of those that it keeps."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import UnknownNameError
from ..registry import MODELS
from .tensors import Content

__all__ = ["timm_cfg", "training_config"]


def timm_cfg(name: str) -> dict[str, Any]:
    """Return the ``pretrained_cfg`` of weights of timm's, without what it leaves open.

    Args:
        name: ``architecture[.tag]``, without ``timm/``; timm's default weights where there is no tag.

    Raises:
        UnknownNameError: timm has no such network, or no weights of that tag.
    """
    from timm.models import get_pretrained_cfg

    try:
        cfg = get_pretrained_cfg(name)
    except RuntimeError as error:
        raise UnknownNameError(f"timm has no weights 'timm/{name}': {error}") from error
    if cfg is None:
        raise UnknownNameError(f"timm has no network 'timm/{name}'. timm.list_models() lists all.")
    return dict(cfg.to_dict())


def training_config(content: Content) -> dict[str, Any]:
    """Return what a checkpoint of timm's ``train.py`` says of its network, as ``config.json`` has it.

    Images are prepared as timm's ``validate.py`` would: by the options of the training, and where they say nothing, by
    what timm knows of the network.

    Args:
        content: of the file.

    Returns:
        The config, not checked; empty for a file of another kind, and for a network that timm and we do not have.
    """
    name, args = content.beside.get("arch"), content.beside.get("args")
    if not (isinstance(name, str) and isinstance(args, argparse.Namespace)):
        return {}
    from timm.data import resolve_data_config

    options = vars(args)
    try:
        cfg = timm_cfg(name)
    except UnknownNameError:
        if name not in MODELS.names():
            return {}
        cfg = {}
    try:
        data = resolve_data_config(options, pretrained_cfg=cfg)
    except (AssertionError, TypeError, ValueError):  # options of another script
        return {}
    stated = cfg.get("classifier") or "fc"
    weight = f"{stated if isinstance(stated, str) else stated[0]}.weight"
    rows = len(content.tensors[weight]) if weight in content.tensors else cfg.get("num_classes")
    classes = options.get("num_classes") or rows
    kept = {key: cfg[key] for key in ("pool_size", "first_conv", "classifier", "fixed_input_size") if key in cfg}
    given = options.get("model_kwargs")
    pooled = {"global_pool": options["gp"]} if options.get("gp") else {}
    return {
        "architecture": name.partition(".")[0],
        "num_classes": classes,
        "model_args": {**pooled, **(given if isinstance(given, dict) else {})},
        "pretrained_cfg": {
            **kept,
            **{key: list(value) if isinstance(value, tuple) else value for key, value in data.items()},
            "num_classes": classes,
            "custom_load": False,
        },
    }
