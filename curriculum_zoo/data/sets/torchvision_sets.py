"""CIFAR-10, CIFAR-100, MNIST and Fashion-MNIST, read and, where asked for, downloaded by torchvision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...citation import DataSource, Paper
from ...errors import DataError
from .image_set import ImageSet

__all__ = ["FASHION_MNIST", "TorchvisionSet", "cifar10", "cifar100", "fashion_mnist", "mnist"]


@dataclass(frozen=True)
class TorchvisionSet:
    """One of torchvision's data sets; calling it opens it.

    Attributes:
        name: what it is called.
        loader: its class in torchvision.
        folder: under the root, where it lies.
        flip: whether its images mean the same mirrored.
        source: where it comes from, whose it is, and on what terms.
        classes: names of its classes; torchvision's where None.
        published: what a card says of it.
    """

    name: str
    loader: str
    folder: str
    flip: bool
    source: str
    classes: tuple[str, ...] | None = None
    published: DataSource | None = None

    def __call__(self, argument: str | None, *, root: Path, download: bool = False, **_: object) -> ImageSet:
        """Open it.

        Args:
            argument: must be None.
            root: folder of data sets.
            download: whether to download it where it is missing.
            **_: not used; `open_dataset` converts size and channels.

        Raises:
            DataError: missing, damaged, or not to be downloaded.
        """
        if argument is not None:
            raise DataError(f"The data set {self.name} takes no argument; write '{self.name}', not '…:{argument}'.")
        from torchvision import datasets  # takes a second to import, and only these four sets need it

        folder = root / self.folder
        found = folder.is_dir()
        try:
            loader = getattr(datasets, self.loader)
            parts = {train: loader(str(root), train=train, download=download) for train in (True, False)}
            images = {train: np.asarray(part.data) for train, part in parts.items()}
            labels = {train: np.asarray(part.targets, dtype=np.int64) for train, part in parts.items()}
        except Exception as error:  # RuntimeError, network and file errors, and whatever damaged files lead to
            raise DataError(_explanation(self, folder, found, download, error)) from error
        return ImageSet(
            self.name,
            images[True],
            labels[True],
            images[False],
            labels[False],
            classes=self.classes or tuple(parts[True].classes),
            flip=self.flip,
            source=self.source,
        )


FASHION_MNIST = DataSource(
    "Fashion-MNIST",
    "zalando-datasets/fashion_mnist",
    "fashion_mnist",
    "test",
    Paper(
        "fashionmnist",
        "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
        "Han Xiao and Kashif Rasul and Roland Vollgraf",
        year=2017,
    ),
    "Fashion-MNIST is under the MIT licence.",
)
"""What a card says of Fashion-MNIST, and of sets that are made of it."""

_CIFAR_PAPER = Paper("cifar", "Learning Multiple Layers of Features from Tiny Images", "Alex Krizhevsky", year=2009)
_CIFAR_LICENCE = "CIFAR's images carry no licence of their own."
_CIFAR = "Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html; no licence stated"

# 50,000 + 10,000 colour photographs of 32 × 32 px each; downloads of 170 and 169 MB.
cifar10 = TorchvisionSet(
    "cifar10",
    "CIFAR10",
    "cifar-10-batches-py",
    True,
    f"CIFAR-10, {_CIFAR}",
    published=DataSource("CIFAR-10", "uoft-cs/cifar10", "plain_text", "test", _CIFAR_PAPER, _CIFAR_LICENCE),
)
cifar100 = TorchvisionSet(
    "cifar100",
    "CIFAR100",
    "cifar-100-python",
    True,
    f"CIFAR-100, {_CIFAR}",
    published=DataSource("CIFAR-100", "uoft-cs/cifar100", "cifar100", "test", _CIFAR_PAPER, _CIFAR_LICENCE),
)

# 60,000 + 10,000 gray images of 28 × 28 px each; downloads of 12 and 31 MB.
mnist = TorchvisionSet(
    "mnist",
    "MNIST",
    "MNIST/raw",
    False,
    "MNIST, LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist; CC BY-SA 3.0",
    tuple("0123456789"),
    DataSource(
        "MNIST",
        "ylecun/mnist",
        "mnist",
        "test",
        Paper(
            "mnist",
            "Gradient-Based Learning Applied to Document Recognition",
            "Yann LeCun and Léon Bottou and Yoshua Bengio and Patrick Haffner",
            "Proceedings of the IEEE",
            1998,
        ),
    ),
)
fashion_mnist = TorchvisionSet(
    "fashion_mnist",
    "FashionMNIST",
    "FashionMNIST/raw",
    True,
    "Fashion-MNIST, Zalando SE 2017, https://github.com/zalandoresearch/fashion-mnist; MIT",
    published=FASHION_MNIST,
)


def _explanation(source: TorchvisionSet, folder: Path, found: bool, download: bool, error: Exception) -> str:
    origin = f"they come from: {source.source}."
    cause = " ".join(str(error).split()) or type(error).__name__
    if found:
        return (
            f"{source.name} in {folder} is incomplete or damaged ({cause}). Delete that folder, then allow the "
            f"download (--download, or download=True) or put the files there again; {origin}"
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
