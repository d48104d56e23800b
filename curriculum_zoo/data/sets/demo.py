"""``demo``: a small cut of Fashion-MNIST that ships with the package (made by ``tools/make_demo_set.py``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...citation import published_as
from ...errors import DataError
from .image_set import ImageSet
from .npz import read_npz
from .torchvision_sets import FASHION_MNIST

__all__ = ["demo"]

_SOURCE = "600 + 100 images a class of Fashion-MNIST, Zalando SE 2017, github.com/zalandoresearch/fashion-mnist; MIT"


@published_as(replace(FASHION_MNIST, title="a cut of Fashion-MNIST (`demo`)", config=None, split=None))
def demo(argument: str | None, **_: object) -> ImageSet:
    """6,000 + 1,000 gray pictures of clothes of 28 × 28 pixels in 10 classes; needs no download.

    Cut from Fashion-MNIST (Xiao, Rasul and Vollgraf 2017), whose licence lies beside the file.

    Args:
        argument: must be None.
        **_: not used; `open_dataset` converts size and channels.

    Raises:
        DataError: an argument was given, or the installed file is damaged.
    """
    if argument is not None:
        raise DataError(f"The data set demo takes no argument; write 'demo', not 'demo:{argument}'.")
    return read_npz(Path(__file__).with_name("demo.npz"), name="demo", flip=True, source=_SOURCE)
