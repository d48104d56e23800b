"""Cutting a set of labelled images in two, class by class and by seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...errors import DataError
from ...seeding import derive_seed

__all__ = ["stratified_split"]


def stratified_split(
    labels: npt.NDArray[np.int64], part: float, seed: int, classes: Sequence[str] = (), purpose: str = "validation"
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cut a part off a set, of each class alike; pure in its arguments.

    Of a share, each class gives that share of its images, rounded to the nearest whole number but at least one. Of a
    number of images, each class gives one, and of all others as many as its size asks for, up to rounding, so that
    the number is met exactly.

    Args:
        labels: class numbers [N].
        part: what to cut off: a share below 1, 0 for nothing, or a whole number of images.
        seed: says which images.
        classes: names of the classes, for the error.
        purpose: what the part cut off is for, for the error.

    Returns:
        Indices that stay and indices cut off, both ascending, both int64.

    Raises:
        DataError: `part` is neither, or a class has too few images to be on both sides.
    """
    if not part >= 0 or (part > 1 and part % 1):
        raise DataError(
            f"The {purpose} part must be a share from 0 to below 1 or a whole number of images, got {part:g}."
        )
    taken = np.zeros(len(labels), dtype=bool)
    names, members = np.unique(labels, return_counts=True)
    for label, size, count in zip(names, members, _counts(members, part, purpose), strict=True) if part else ():
        if count >= size:
            name = repr(classes[label]) if label < len(classes) else f"number {label}"
            wanted = f"a {purpose} share of {part:g}" if part < 1 else f"{part:g} {purpose} images in all"
            raise DataError(
                f"Class {name} has {size} image(s): with {wanted} none would be left to train on. Add images of that "
                f"class, or cut off less for {purpose}."
            )
        # The raw stream of a bit generator never changes between NumPy versions; that of `permutation` may.
        keys = np.random.PCG64(derive_seed(seed, int(label))).random_raw(size)
        taken[np.flatnonzero(labels == label)[np.argsort(keys, kind="stable")[:count]]] = True
    return np.flatnonzero(~taken), np.flatnonzero(taken)


def _counts(members: npt.NDArray[np.int64], part: float, purpose: str) -> npt.NDArray[np.int64]:
    """How many images each class gives."""
    if part < 1:
        return np.maximum(1, (part * members + 0.5).astype(np.int64))
    rest = int(part) - len(members)
    if rest < 0:
        raise DataError(
            f"{int(part)} {purpose} image(s) are too few for {len(members)} classes. Take at least one for each."
        )
    quotas = [divmod(rest * int(size), int(members.sum())) for size in members]
    counts = np.array([1 + whole for whole, _ in quotas])
    # The largest rests first, but no class is used up while another has images to spare.
    largest_rests = sorted(
        range(len(quotas)), key=lambda place: (counts[place] + 1 >= members[place], -quotas[place][1], -members[place])
    )
    counts[largest_rests[: int(part) - int(counts.sum())]] += 1
    return counts
