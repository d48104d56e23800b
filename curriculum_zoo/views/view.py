"""What a view is, and how views combine: images as they are, one view after another, sizes in pixels and in shares.

A view is called on a batch [N, C, H, W], floating point in [0, 1], and returns such a batch, of the same dtype and
memory format; height and width may shrink. Arithmetic is done in float32, in float64 where the batch is. Views are
frozen dataclasses: equal parameters make equal views.

What a view shows of an image depends on that image alone, not on the batch: ``view(batch)`` equals the views of its
parts, put together; bit by bit, and to 10⁻⁶ where matrices are multiplied, which libraries do in another order of sums
in a batch of another size.

A view that draws at random has the class attribute ``draws = True`` and takes seeds as a second argument, int64 [N],
one for each image; without them it takes `curriculum_zoo.draws.content_seeds`. Its field ``key`` holds what its draws
depend on beside the image: the curriculum's seed and the epoch. Draws decide what is computed, so they are made on the
CPU: seeds that lie there keep nobody waiting for a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..draws import content_seeds, seeds_of

__all__ = ["Chain", "View", "at_full_size", "compose", "draws", "identity", "look", "pixels", "view_seeds"]

View = Callable[[Tensor], Tensor]
"""A batch of images [N, C, H, W], floating point in [0, 1], to such a batch; height and width may shrink."""


def identity(images: Tensor) -> Tensor:
    """Return the images as they are."""
    return images


def pixels(size: int | float | None, full: int, multiple: int = 1) -> int:
    """Return a side in pixels.

    Args:
        size: pixels where an integer, a share of the full side where a float, the full side where None.
        full: the full side, in pixels.
        multiple: a share is rounded to the nearest multiple of this, at least one of it and at most the full side.
    """
    if size is None:
        return full
    if isinstance(size, int):
        return size
    return min(full, max(multiple, round(size * full / multiple) * multiple))


@dataclass(frozen=True)
class Chain:
    """Views one after the other, first to last; made by `compose`. Each of them has draws of its own."""

    views: tuple[View, ...]

    @property
    def draws(self) -> bool:
        """Whether any of them draws at random."""
        return any(draws(view) for view in self.views)

    def __call__(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Apply them to a batch [N, C, H, W] with seeds [N]."""
        if seeds is None and self.draws:
            seeds = content_seeds(images)
        for place, view in enumerate(self.views):
            images = look(view, images, None if seeds is None else seeds_of(seeds, place))
        return images

    def at_full_size(self, full: int) -> Chain:
        """Return the same views with their sizes in pixels, for images whose full short side is `full`."""
        return Chain(tuple(at_full_size(view, full) for view in self.views))


def compose(*views: View) -> View:
    """Return one view that applies all these, first to last."""
    flat: list[View] = []
    for view in views:
        flat += view.views if isinstance(view, Chain) else [view]
    flat = [view for view in flat if view is not identity]
    if not flat:
        return identity
    return flat[0] if len(flat) == 1 else Chain(tuple(flat))


def draws(view: View) -> bool:
    """Return whether a view draws at random, and so takes seeds."""
    return bool(getattr(view, "draws", False))


def look(view: View, images: Tensor, seeds: Tensor | None = None) -> Tensor:
    """Apply a view to a batch.

    Args:
        view: any view.
        images: a batch [N, C, H, W], floating point in [0, 1].
        seeds: int64 [N], one for each image, for a view that draws; None for seeds from the images' pixels.
    """
    return view(images, seeds) if draws(view) else view(images)  # type: ignore[call-arg]


def view_seeds(images: Tensor, seeds: Tensor | None, *parts: int) -> Tensor:
    """Return the seeds of a view's draws, int64 [N] on the CPU.

    Args:
        images: a batch [N, C, H, W], whose pixels the seeds are made from where none are given.
        seeds: those that the view was given, if any.
        *parts: what else the draws depend on: the view's key, and what they are for.
    """
    return seeds_of((content_seeds(images) if seeds is None else seeds).cpu(), *parts)


def at_full_size(view: View, full: int) -> View:
    """Return the view with its sizes in pixels, which leaves images alone that were loaded at that size already.

    Args:
        view: any view.
        full: the full short side of the images, in pixels.
    """
    fix = getattr(view, "at_full_size", None)
    return view if fix is None else fix(full)
