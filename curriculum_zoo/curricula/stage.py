"""What one epoch of training sees, and which parts of the network learn from it: `Stage`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import nn

from ..views import Resize, View, at_full_size, compose, identity, pixels
from .batch_sizes import BatchSizes
from .freezing import Frozen, freeze
from .samples.rule import SampleRule

__all__ = ["Stage"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a network sees during one epoch, and which of its parts learn.

    Attributes:
        name: a short name for logs and figures; epochs with equal names belong together.
        view: what is done to a batch [N, C, H, W] in [0, 1], after geometric augmentation and before normalisation.
        image_size: the short side of the images that the view gives, so that a loader can decode at that size already:
            in pixels where an integer, as a share of the full side where a float, full size where None. A loader that
            does so takes its view from `at_full_size`, which leaves such images as they are.
        crops: whether the view cuts that size out of full images, so that a loader must decode these in full.
        size_multiple: a share is rounded to the nearest multiple of this many pixels.
        scale_batch: whether batch size and learning rate grow as the images shrink; see `scaled_batch`.
        frozen: the parts that do not learn; together they form one set.
        fresh_optimizer: whether the optimiser is created again before this epoch, without momentum or counts.
        levels: how many processing levels the network uses, where it has such; all of them where None.
        level_weights: weights of the losses of those levels, first level first; empty for the last level's alone.
        augment_strength: magnitude of the random augmentation that goes with the stage, 0 to 10; None leaves the
            run's own augmentation alone.
        lr_scales: patterns of parameter names (as in `Frozen.patterns`), and what the learning rates of those are
            multiplied by while the stage lasts. As with `fresh_optimizer`, it is the training loop that does so.
        samples: which images are seen, and with which weights in the loss; all of them alike where None. The training
            loop's loader asks it at the epoch's start.
        batch_sizes: the image size of each batch, where batches of the epoch differ; `image_size` is None then. The
            training loop takes each batch's stage from `at_step`.
    """

    name: str
    view: View = identity
    image_size: int | float | None = None
    crops: bool = False
    size_multiple: int = 1
    scale_batch: bool = False
    frozen: tuple[Frozen, ...] = ()
    fresh_optimizer: bool = False
    levels: int | None = None
    level_weights: tuple[float, ...] = ()
    augment_strength: float | None = None
    lr_scales: tuple[tuple[str, float], ...] = ()
    samples: SampleRule | None = None
    batch_sizes: BatchSizes | None = None

    @property
    def sample_share(self) -> float | None:
        """The share of images that are seen, in expectation; None where that depends on scores of this run."""
        return 1.0 if self.samples is None else self.samples.share

    def relative_cost(self, full: int) -> float:
        """Return the FLOPs of an epoch as a share of a full-resolution one's, by the count of pixels and of images.

        A pass made to choose images counts a third, as a forward pass does of a training step. Where the share of
        images is not known before, all of them count.

        Args:
            full: the full side of the images, in pixels.
        """
        if self.batch_sizes is None:
            return (self.pixels(full) / full) ** 2 * self.sample_cost
        # Batches that grow as images shrink hold more of the images.
        drawn = [(share * stage.batch_scale(full), stage) for stage, share in self.variants()]
        pixels = sum(part * stage.pixels(full) ** 2 for part, stage in drawn) / sum(part for part, _ in drawn)
        return pixels / full**2 * self.sample_cost

    def at_step(self, step: int) -> Stage:
        """Return the stage of one batch: this one, but for an epoch whose batches have sizes of their own.

        Args:
            step: number of the batch in the epoch, from 0.
        """
        return self if self.batch_sizes is None else self._sized(self.batch_sizes, self.batch_sizes.size(step))

    def variants(self) -> list[tuple[Stage, float]]:
        """Return the stages that batches of the epoch may have, each with its probability."""
        drawn = self.batch_sizes
        if drawn is None:
            return [(self, 1.0)]
        return [(self._sized(drawn, s), p) for s, p in zip(drawn.sizes, drawn.shares, strict=True) if p > 0]

    def _sized(self, drawn: BatchSizes, size: int | float) -> Stage:
        resized = compose(Resize(size, drawn.interpolation), self.view)
        return replace(self, batch_sizes=None, view=resized, image_size=size)

    @property
    def sample_cost(self) -> float:
        """The share of images that are trained on, and a third of what is looked at to choose them."""
        share = 1.0 if self.sample_share is None else self.sample_share
        return share + (1 / 3 if self.samples is not None and self.samples.looks else 0.0)

    @contextlib.contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[View]:
        """Freeze the stage's frozen parts of a network inside a ``with`` block, whose value is the stage's view.

        Parameters that did not learn before stay as they were. Inside, ``model.train()`` and ``model.eval()`` may be
        called as usual.

        Raises:
            CurriculumError: a frozen part names nothing in this model.
        """
        with freeze(model, self.frozen):
            yield self.view

    def pixels(self, full: int) -> int:
        """Return the side of the images that the network sees, for images of side `full`, both in pixels."""
        return pixels(self.image_size, full, self.size_multiple)

    def decoded_pixels(self, full: int) -> int:
        """Return the side at which a loader decodes images: that of `pixels`, or the full one where they are cut."""
        return full if self.crops else self.pixels(full)

    def batch_scale(self, full: int) -> float:
        """Return how many times as many images a batch may hold: the ratio of pixels; 1 where `scale_batch` is off.

        Args:
            full: the full side of the images, in pixels.
        """
        return (full / self.pixels(full)) ** 2 if self.scale_batch else 1.0

    def scaled_batch(self, batch_size: int, full: int, multiple: int = 1) -> tuple[int, float]:
        """Return the batch size of the stage, and what learning rates are multiplied by.

        A batch of half the side holds four times the images at the same memory and time a step; the learning rate
        follows the size linearly, as rounded.

        Args:
            batch_size: images a step at the full side.
            full: the full side of the images, in pixels.
            multiple: what a scaled size must be divisible by, the number of processes times the steps of accumulation;
                the size is the nearest multiple of it, and at least one.

        Returns:
            The size, and its ratio to `batch_size`; `batch_size` itself and 1 where nothing is scaled.
        """
        scale = self.batch_scale(full)
        if scale == 1:
            return batch_size, 1.0
        size = max(1, round(batch_size * scale / multiple)) * multiple
        return size, size / batch_size

    def at_full_size(self, full: int) -> Stage:
        """Return the same stage with its sizes in pixels, for images whose full short side is `full`.

        A share of the full side means something only to a view that sees full images. After this one, the view also
        takes images that a loader decoded at `pixels(full)` already, and leaves their size alone.
        """
        size = None if self.image_size is None else self.pixels(full)
        return replace(self, view=at_full_size(self.view, full), image_size=size)
