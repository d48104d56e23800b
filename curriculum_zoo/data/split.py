"""Cutting a set of labelled images in two, class by class and by seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..seeding import derive_seed

__all__ = ["stratified_split"]


def stratified_split(
    labels: npt.NDArray[np.int64], share: float, seed: int, classes: Sequence[str] = (), purpose: str = "validation"
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cut a share off each class; pure in its arguments.

    Of each class ``share`` of the images are taken, rounded to the nearest whole number but at least one.

    Args:
        labels: class numbers [N].
        share: part to cut off, from 0 (nothing) to below 1.
        seed: says which images.
        classes: names of the classes, for the error.
        purpose: what the part cut off is for, for the error.

    Returns:
        Indices that stay and indices cut off, both ascending, both int64.

    Raises:
        DataError: `share` is out of range, or a class has too few images to be on both sides.
    """
    if not 0 <= share < 1:
        raise DataError(f"The {purpose} share must be at least 0 and below 1, got {share:g}.")
    taken = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels) if share else ():
        members = np.flatnonzero(labels == label)
        count = max(1, int(share * len(members) + 0.5))
        if count >= len(members):
            name = repr(classes[label]) if label < len(classes) else f"number {label}"
            raise DataError(
                f"Class {name} has {len(members)} image(s): with a {purpose} share of {share:g} none would be left to "
                f"train on. Add images of that class, or take a smaller {purpose} share."
            )
        # The raw stream of a bit generator never changes between NumPy versions; that of `permutation` may.
        keys = np.random.PCG64(derive_seed(seed, int(label))).random_raw(len(members))
        taken[members[np.argsort(keys, kind="stable")[:count]]] = True
    return np.flatnonzero(~taken), np.flatnonzero(taken)
