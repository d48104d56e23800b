"""The same image more than once: in training and in test, which makes scores too good, or in two classes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_READ", "repeats_in_memory", "repeats_of_files"]

MOST_READ = 100_000
"""Files of a size that others have too, above which repeats are not looked for: that would take as long as an epoch."""

_PIECE = 4096  # bytes at a file's end that are compared before the whole


def repeats_in_memory(images: Sequence[npt.NDArray[np.uint8]], labels: npt.NDArray[np.int64], test_from: int,
                      name: Callable[[int], str]) -> tuple[str, ...]:  # fmt: skip
    """Return sentences on images that are there more than once, to the pixel.

    Args:
        images: training images and test images, uint8 [N, H, W, C] each.
        labels: class numbers of all.
        test_from: number of the first test image among all.
        name: what to call an image, by its number.
    """
    digests = [hashlib.blake2b(image.data, digest_size=16).digest() for part in images for image in part]
    return _sentences(_groups(range(len(digests)), digests), labels, test_from, name)


def repeats_of_files(paths: Callable[[int], str], count: int, labels: npt.NDArray[np.int64],
                     test_from: int) -> tuple[str, ...]:  # fmt: skip
    """Return sentences on files that are there more than once, to the byte.

    Only files of equal size are read: their last bytes, and all of those whose last bytes are equal.

    Args:
        paths: returns an image's path, by its number.
        count: how many there are.
        labels: class numbers of all.
        test_from: number of the first test image.
    """
    groups = _groups(range(count), [_size(paths(index)) for index in range(count)])
    suspects = sum(map(len, groups))
    if suspects > MOST_READ:
        return (f"repeated images are not looked for: {suspects:,} files have the size of another one",)
    with ThreadPoolExecutor() as pool:
        for digest in (_digest_of_end, _digest):
            members = [index for group in groups for index in group]
            digests = dict(zip(members, pool.map(digest, map(paths, members)), strict=True))
            groups = [same for group in groups for same in _groups(group, [digests[index] for index in group])]
    return _sentences(groups, labels, test_from, paths)


def _groups(members: Iterable[int], keys: Iterable[Hashable]) -> list[list[int]]:
    """Those that share a key with another one, in order; None is nobody's."""
    groups: dict[Hashable, list[int]] = {}
    for member, key in zip(members, keys, strict=True):
        if key is not None:
            groups.setdefault(key, []).append(member)
    return [group for group in groups.values() if len(group) > 1]


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size or None
    except OSError:  # told when it is read
        return None


def _digest(path: str, start: int = 0) -> bytes | None:
    try:
        with open(path, "rb") as file:
            file.seek(start)
            return hashlib.blake2b(file.read(), digest_size=16).digest()
    except OSError:
        return None


def _digest_of_end(path: str) -> bytes | None:
    return _digest(path, max(0, (_size(path) or 0) - _PIECE))


def _sentences(
    groups: Sequence[Sequence[int]], labels: npt.NDArray[np.int64], test_from: int, name: Callable[[int], str]
) -> tuple[str, ...]:
    sentences = []
    both = [group for group in groups if group[0] < test_from <= group[-1]]
    if both:
        count = sum(index >= test_from for group in both for index in group)
        sentences.append(
            f"{count:,} of {len(labels) - test_from:,} test images {'is a' if count == 1 else 'are'} training "
            f"image{'s' * (count > 1)} too, as {name(both[0][-1])} is {name(both[0][0])}: scores on them mean little"
        )
    unlike = [group for group in groups if len(np.unique(labels[list(group)])) > 1]
    if unlike:
        first = next(index for index in unlike[0] if labels[index] != labels[unlike[0][0]])
        sentences.append(
            f"{len(unlike):,} image{'s are' if len(unlike) > 1 else ' is'} in two classes or more, as "
            f"{name(unlike[0][0])} and {name(first)}"
        )
    return tuple(sentences)
