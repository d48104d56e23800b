"""Reading a ``config.json``, which anyone may have written: timm's format, checked before anything is made of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..documents import read_json
from ..errors import DocumentError, WeightsError

__all__ = ["CONFIG", "checked_config", "class_names", "read_config"]

CONFIG = "config.json"

# What fields of a config must be; which options a network takes is for those to say who build it.
_KINDS: dict[str, Any] = {
    "num_classes": int,
    "model_args": dict,
    "pretrained_cfg": dict,
    "label_names": (list, dict),
    "label_descriptions": (list, dict),
    "curriculum_zoo": dict,
}
_LARGEST_CONFIG = 2**25  # bytes; timm's largest, with 21,841 classes named and described, has a tenth of that
_DIGITS = re.compile("[0-9]{1,7}")
_SHA256 = re.compile("[0-9a-f]{64}")
_DISTRIBUTION = re.compile("[A-Za-z0-9][A-Za-z0-9._ -]*")
_MOST_CLASSES = 10**6
_LARGEST_SIDE = 2**16


def read_config(folder: Path) -> dict[str, Any]:
    """Return the ``config.json`` of a folder of weights, checked; timm's older layout is turned into the present one.

    Raises:
        WeightsError: it is missing, no JSON, names no architecture, or holds what makes no sense there.
    """
    path = folder / CONFIG
    try:
        config = read_json(path, largest=_LARGEST_CONFIG)
    except DocumentError as error:
        raise WeightsError(f"{error}. A folder of weights holds {CONFIG} in timm's format: get it again.") from error
    if not (isinstance(config, dict) and isinstance(config.get("architecture"), str) and config["architecture"]):
        raise WeightsError(f"{path} names no architecture. It must be a config in timm's format: get it again.")
    config = {key: value for key, value in config.items() if value is not None}
    if "pretrained_cfg" not in config and "input_size" in config:
        config = _from_old_layout(config)
    return checked_config(config, path)


def checked_config(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a config in timm's present layout, each number in one home, after it has been checked.

    Args:
        config: its content.
        path: the file that says so, for messages.

    Raises:
        WeightsError: it holds what makes no sense there.
    """
    problem = _problem(config)
    if problem:
        raise WeightsError(f"{path}: {problem}. Get it again from where it came from.")
    return _with_one_home_each(config)


def _with_one_home_each(config: dict[str, Any]) -> dict[str, Any]:
    """The numbers that timm writes in several places, in ``num_classes`` and ``input_size``, as it reads them itself.

    Mean and standard deviation of other channels become their average for each.
    """
    options, cfg = dict(config.get("model_args", {})), dict(config.get("pretrained_cfg", {}))
    classes, channels = _classes(config), options.pop("in_chans", None)
    options.pop("num_classes", None)
    if classes is not None and cfg:
        cfg["num_classes"] = classes
    if "input_size" in cfg:
        side = options.get("img_size") if cfg.get("fixed_input_size") else None
        height, width = [side] * 2 if isinstance(side, int) else side or cfg["input_size"][1:]
        cfg["input_size"] = [channels or cfg["input_size"][0], height, width]
        for key in cfg.keys() & {"mean", "std"}:
            if len(cfg[key]) != cfg["input_size"][0]:
                cfg[key] = [sum(cfg[key]) / len(cfg[key])] * cfg["input_size"][0]
    return {**config, "num_classes": classes, "model_args": options, "pretrained_cfg": cfg}


def _classes(config: dict[str, Any]) -> int | None:
    """The number of classes; what timm's ``pretrained_cfg`` says may be that of the weights trained on from."""
    places = (config, config.get("model_args", {}), config.get("pretrained_cfg", {}))
    return next((place["num_classes"] for place in places if place.get("num_classes") is not None), None)


def _from_old_layout(config: dict[str, Any]) -> dict[str, Any]:
    """Timm's older configs have the fields of ``pretrained_cfg`` at the top."""
    names = {"label_names": config["labels"]} if "labels" in config else {}
    at_top: dict[str, Any] = {
        key: config[key] for key in ("architecture", "num_classes", "num_features") if key in config
    }
    return {**at_top, **names, "pretrained_cfg": {key: config[key] for key in config.keys() - at_top.keys()}}


def class_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the classes, by index, in words where the config has them; empty where it has none.

    Args:
        config: what `read_config` gave.
    """
    names = config.get("label_names") or ()
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    descriptions = config.get("label_descriptions") or {}
    if isinstance(descriptions, list):
        return tuple(descriptions)
    return tuple(descriptions.get(name, name) for name in names)


def _problem(config: dict[str, Any]) -> str:
    """What makes no sense in a config, which anyone may have written; empty where all does."""
    for key, kinds in _KINDS.items():
        if key in config and not isinstance(config[key], kinds):
            return f"{key} is {_short(config[key])}"
    options = config.get("model_args", {})
    side = options.get("img_size")
    if side is not None and not _sides([side, side] if isinstance(side, int) else side, 2):
        return f"model_args.img_size is {_short(side)}"
    cfg = config.get("pretrained_cfg", {})
    facts = config.get("curriculum_zoo", {})
    return _problem_of_input(cfg) or _problem_of_classes(config, cfg) or _problem_of_facts(facts)


def _problem_of_input(cfg: dict[str, Any]) -> str:
    size, mean, std = (cfg.get(key) for key in ("input_size", "mean", "std"))
    if size is not None and not _sides(size, 3):
        return f"pretrained_cfg.input_size is {_short(size)}, expected channels, height and width"
    for key, values in (("mean", mean), ("std", std)):
        if values is not None and not _numbers(values, size[0] if size else 3):
            return f"pretrained_cfg.{key} is {_short(values)}, expected a number for each channel"
    if std is not None and min(std) <= 0:
        return f"pretrained_cfg.std is {_short(std)}, expected numbers above 0"
    return ""


def _problem_of_classes(config: dict[str, Any], cfg: dict[str, Any]) -> str:
    options = config.get("model_args", {})
    for where, fields in (("", config), ("model_args.", options), ("pretrained_cfg.", cfg)):
        for key, most in (("num_classes", _MOST_CLASSES), ("in_chans", _LARGEST_SIDE)):
            number = fields.get(key)
            if number is not None and (type(number) is not int or not 0 <= number <= most):
                return f"{where}{key} is {_short(number)}"
    classes = _classes(config)
    if options.get("num_classes", classes) != classes:
        return f"num_classes is {classes}, and model_args.num_classes {options['num_classes']}"
    names = config.get("label_names")
    if isinstance(names, dict):
        # Timm has a mapping where some indices have no name.
        if not all(_DIGITS.fullmatch(key) and int(key) < (classes or _MOST_CLASSES) for key in names):
            return "label_names has indices of classes that there are not"
        names = list(names.values())
    elif names and classes is not None and len(names) != classes:
        return f"label_names has {len(names)} names for {classes} classes"
    described = config.get("label_descriptions") or []
    described = described.values() if isinstance(described, dict) else described
    if not all(isinstance(name, str) for name in (*(names or ()), *described)):
        return "label_names or label_descriptions hold what is no name"
    return ""


def _problem_of_facts(facts: dict[str, Any]) -> str:
    for key, form in (("sha256", _SHA256), ("distribution", _DISTRIBUTION)):
        if facts.get(key) is not None and not (isinstance(facts[key], str) and form.fullmatch(facts[key])):
            return f"curriculum_zoo.{key} is {_short(facts[key])}"
    return ""


def _sides(values: Any, count: int) -> bool:
    return _numbers(values, count) and all(type(side) is int and 0 < side <= _LARGEST_SIDE for side in values)


def _numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) and math.isfinite(value) for value in values)
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
