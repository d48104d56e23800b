"""CIFAR-10, CIFAR-100, MNIST and Fashion-MNIST, read and, where asked for, downloaded by torchvision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from .image_set import ImageSet

__all__ = ["cifar10", "cifar100", "fashion_mnist", "mnist"]


@dataclass(frozen=True)
class _Source:
    """One of torchvision's data sets: its class there, its folder under the root, and facts about it."""

    name: str
    loader: str
    folder: str
    flip: bool
    source: str
    classes: tuple[str, ...] | None = None


_CIFAR = "Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html; no licence stated"
_CIFAR10 = _Source("cifar10", "CIFAR10", "cifar-10-batches-py", True, f"CIFAR-10, {_CIFAR}")
_CIFAR100 = _Source("cifar100", "CIFAR100", "cifar-100-python", True, f"CIFAR-100, {_CIFAR}")
_MNIST = _Source(
    "mnist",
    "MNIST",
    "MNIST/raw",
    False,
    "MNIST, LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist; CC BY-SA 3.0",
    tuple("0123456789"),
)
_FASHION_MNIST = _Source(
    "fashion_mnist",
    "FashionMNIST",
    "FashionMNIST/raw",
    True,
    "Fashion-MNIST, Zalando SE 2017, https://github.com/zalandoresearch/fashion-mnist; MIT",
)


def cifar10(argument: str | None, *, root: Path, download: bool = False, **_: object) -> ImageSet:
    """CIFAR-10: 50,000 + 10,000 colour photographs of 32 × 32 pixels in 10 classes.

    Args:
        argument: must be None.
        root: folder under which ``cifar-10-batches-py`` lies.
        download: whether to download it where it is missing (170 MB).
        **_: not used; `open_dataset` converts size and channels.

    Raises:
        DataError: missing, damaged, or not to be downloaded.
    """
    return _open(_CIFAR10, argument, root, download)


def cifar100(argument: str | None, *, root: Path, download: bool = False, **_: object) -> ImageSet:
    """CIFAR-100: 50,000 + 10,000 colour photographs of 32 × 32 pixels in 100 classes.

    Args:
        argument: must be None.
        root: folder under which ``cifar-100-python`` lies.
        download: whether to download it where it is missing (169 MB).
        **_: not used; `open_dataset` converts size and channels.

    Raises:
        DataError: missing, damaged, or not to be downloaded.
    """
    return _open(_CIFAR100, argument, root, download)


def mnist(argument: str | None, *, root: Path, download: bool = False, **_: object) -> ImageSet:
    """MNIST: 60,000 + 10,000 gray handwritten digits of 28 × 28 pixels.

    Args:
        argument: must be None.
        root: folder under which ``MNIST/raw`` lies.
        download: whether to download it where it is missing (12 MB).
        **_: not used; `open_dataset` converts size and channels.

    Raises:
        DataError: missing, damaged, or not to be downloaded.
    """
    return _open(_MNIST, argument, root, download)


def fashion_mnist(argument: str | None, *, root: Path, download: bool = False, **_: object) -> ImageSet:
    """Fashion-MNIST: 60,000 + 10,000 gray pictures of clothes of 28 × 28 pixels in 10 classes.

    Args:
        argument: must be None.
        root: folder under which ``FashionMNIST/raw`` lies.
        download: whether to download it where it is missing (31 MB).
        **_: not used; `open_dataset` converts size and channels.

    Raises:
        DataError: missing, damaged, or not to be downloaded.
    """
    return _open(_FASHION_MNIST, argument, root, download)


def _open(source: _Source, argument: str | None, root: Path, download: bool) -> ImageSet:
    if argument is not None:
        raise DataError(f"The data set {source.name} takes no argument; write '{source.name}', not '…:{argument}'.")
    from torchvision import datasets  # takes a second to import, and only these four sets need it

    folder = root / source.folder
    found = folder.is_dir()
    try:
        loader = getattr(datasets, source.loader)
        parts = {train: loader(str(root), train=train, download=download) for train in (True, False)}
        images = {train: np.asarray(part.data) for train, part in parts.items()}
        labels = {train: np.asarray(part.targets, dtype=np.int64) for train, part in parts.items()}
    except Exception as error:  # RuntimeError, network and file errors, and whatever damaged files lead to
        raise DataError(_explanation(source, folder, found, download, error)) from error
    return ImageSet(
        source.name,
        images[True],
        labels[True],
        images[False],
        labels[False],
        classes=source.classes or tuple(parts[True].classes),
        flip=source.flip,
        source=source.source,
    )


def _explanation(source: _Source, folder: Path, found: bool, download: bool, error: Exception) -> str:
    origin = f"they come from: {source.source}."
    cause = " ".join(str(error).split()) or type(error).__name__
    if found:
        return (
            f"{source.name} in {folder} is incomplete or damaged ({cause}). Delete that folder, then allow the "
            f"download (--download, or download=True) or put the files there anew; {origin}"
        )
    if download:
        return (
            f"{source.name} could not be downloaded to {folder} ({cause}). Try again later, or put the files there "
            f"yourself; {origin}"
        )
    return (
        f"{source.name} is not in {folder}. Allow its download (--download, or download=True), or put the files there "
        f"yourself; {origin}"
    )
