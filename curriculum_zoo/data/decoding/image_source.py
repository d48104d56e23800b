"""`ImageSource`: where undecoded images come from, by index: files in a folder, rows of a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

__all__ = ["ImageSource"]


class ImageSource(Protocol):
    """Images as files hold them, by index from 0.

    Several processes read at once, each with a copy of this object, so it can be pickled and keeps no open file.
    """

    def __len__(self) -> int:
        """Return how many images there are."""
        ...

    def name(self, index: int) -> str:
        """Return what to call an image in messages, such as its path."""
        ...

    def content(self, index: int) -> bytes:
        """Return an image as a file holds it: JPEG, PNG or another format that Pillow opens.

        Raises:
            DataError: it cannot be read.
        """
        ...

    def dimensions(self, index: int) -> tuple[int, int] | None:
        """Return width and height of an image in pixels, from its header alone; None where that cannot be read."""
        ...

    def stamps(self) -> Iterable[bytes]:
        """Yield for each image what goes into the set's fingerprint, such as its name and size in bytes.

        It should be had without reading the images, and not depend on where they lie.
        """
        ...
