"""Which part of a data set a folder, a file or a value is named after: ``Training``, ``val``, ``test_set``."""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["PART_NAMES", "PartName", "part_of"]

PartName = Literal["training", "validation", "test"]

PART_NAMES: dict[PartName, tuple[str, ...]] = {
    "training": ("train", "training"),
    "validation": ("val", "valid", "validation", "validate", "dev", "eval", "evaluation"),
    "test": ("test", "testing"),
}
"""What people call the parts, in lower case; words such as ``set`` or ``images`` may stand beside it."""

_PARTS = {word: part for part, words in PART_NAMES.items() for word in words}
_BESIDE = frozenset({"set", "data", "dataset", "image", "images", "img", "imgs", "split", "seg", "labels"})
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W_A-Za-z]+")


def part_of(name: str) -> PartName | None:
    """Return the part that a name stands for, None where it stands for none.

    Args:
        name: of a folder, or of a file without its ending; in any case, as ``TrainSet``, ``seg_test``, ``VAL``.
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    named = [word for word in words if word not in _BESIDE]
    if len(named) != 1:
        return None
    word = named[0]
    return _PARTS.get(word) or _PARTS.get(re.sub("(set|data|images?)$", "", word))
