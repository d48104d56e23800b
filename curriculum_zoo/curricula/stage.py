"""What one epoch of training sees, and which parts of the network learn from it: `Stage`, and `Curriculum`, its plan.

A curriculum is a pure function from an epoch to a stage. It keeps no counter, so every process, every resumed run and
every re-run agree on what epoch 17 is.
"""

from __future__ import annotations

import contextlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from torch import nn

from ..configuration import Configuration, setting
from ..errors import CurriculumError
from .freezing import Frozen, freeze
from .views import View, at_full_size, identity, pixels

if TYPE_CHECKING:
    from .timeline import Timeline

__all__ = ["Curriculum", "Stage", "View", "identity", "pixels"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a network sees during one epoch, and which of its parts learn.

    Attributes:
        name: a short name for logs and figures; epochs with equal names belong together.
        view: what is done to a batch [N, C, H, W] in [0, 1], after geometric augmentation and before normalisation.
        image_size: the short side of the images that the view gives, so that a loader can decode at that size already:
            in pixels where an integer, as a share of the full side where a float, full size where None. A loader that
            does so takes its view from `at_full_size`, which leaves such images as they are.
        size_multiple: a share is rounded to the nearest multiple of this many pixels.
        scale_batch: whether batch size and learning rate grow as the images shrink; see `batch_scale`.
        frozen: the parts that do not learn; together they form one set.
        fresh_optimizer: whether the optimiser is made anew before this epoch.
        levels: how many processing levels the network uses, where it has such; all of them where None.
        level_weights: weights of the losses of those levels, first level first; empty for the last level's alone.
        augment_strength: magnitude of the random augmentation that goes with the stage, 0 to 10; None leaves the
            run's own augmentation alone.
        lr_scales: patterns of parameter names (as in `Frozen.patterns`), and what the learning rates of those are
            multiplied by while the stage lasts. As with `fresh_optimizer`, it is the training loop that does so.
    """

    name: str
    view: View = identity
    image_size: int | float | None = None
    size_multiple: int = 1
    scale_batch: bool = False
    frozen: tuple[Frozen, ...] = ()
    fresh_optimizer: bool = False
    levels: int | None = None
    level_weights: tuple[float, ...] = ()
    augment_strength: float | None = None
    lr_scales: tuple[tuple[str, float], ...] = ()

    @contextlib.contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[View]:
        """Freeze the stage's frozen parts of `model`, hand out its view, and thaw them again on leaving.

        Parameters that did not learn before stay as they were. Inside, ``model.train()`` and ``model.eval()`` may be
        called as usual.

        Raises:
            CurriculumError: a frozen part names nothing in this model.
        """
        with freeze(model, self.frozen):
            yield self.view

    def pixels(self, full: int) -> int:
        """The side of the images that the network sees, for images of side `full`, both in pixels."""
        return pixels(self.image_size, full, self.size_multiple)

    def batch_scale(self, full: int) -> float:
        """What batch size and learning rate are multiplied by: the ratio of pixels, where `scale_batch` says so.

        A batch of half the side holds four times the images at the same memory and time a step; the learning rate
        follows it linearly. 1 where `scale_batch` is off, and at the full side.

        Args:
            full: the full side of the images, in pixels.
        """
        return (full / self.pixels(full)) ** 2 if self.scale_batch else 1.0

    def at_full_size(self, full: int) -> Stage:
        """The same stage with its sizes in pixels, for images whose full short side is `full`.

        A share of the full side means something only to a view that sees full images. After this one, the view also
        takes images that a loader decoded at `pixels(full)` already, and leaves their size alone.
        """
        size = None if self.image_size is None else self.pixels(full)
        return replace(self, view=at_full_size(self.view, full), image_size=size)


@dataclass(frozen=True, kw_only=True)
class Curriculum(Configuration, ABC):
    """A training curriculum: a pure function from an epoch to a `Stage`.

    Subclasses are frozen, keyword-only dataclasses that add their parameters as fields (with ranges by `setting`) and
    implement `_stage`. ``a + b`` overlays two curricula and ``a > b`` lets one follow on another; see
    `curriculum_zoo.curricula.compose`.

    Attributes:
        epochs: length of the training that it plans.
        seed: seeds whatever it draws; equal seeds draw equally, on every process.
    """

    _error: ClassVar[type[CurriculumError]] = CurriculumError

    epochs: int = setting(low=1)
    seed: int = 0

    @abstractmethod
    def _stage(self, epoch: int) -> Stage:
        """The stage of an epoch that lies within the plan."""

    def stage(self, epoch: int) -> Stage:
        """What epoch number `epoch`, counted from 0, sees and trains.

        Raises:
            CurriculumError: the epoch is not one of the plan's.
        """
        if not 0 <= epoch < self.epochs:
            raise CurriculumError(
                f"{self.name} plans epochs 0 to {self.epochs - 1}, not {epoch}. Create it with epochs={epoch + 1} or "
                "more to train longer."
            )
        return self._stage(epoch)

    def relative_cost(self, image_size: int) -> float:
        """Its training FLOPs as a share of a full-resolution run's of equal length, by the count of pixels.

        A convolution's FLOPs follow the pixels it sees (TRD's appendix reckons so too). What freezing saves depends
        on the network and is not in this figure; the training engine counts that from the network itself.

        Args:
            image_size: the full side of the images, in pixels.

        Raises:
            CurriculumError: a stage asks for larger images than there are.
        """
        self.check_image_size(image_size)
        stages = (self.stage(epoch) for epoch in range(self.epochs))
        return sum((stage.pixels(image_size) / image_size) ** 2 for stage in stages) / self.epochs

    def check_image_size(self, image_size: int) -> None:
        """Raise if a stage asks for a larger side than the images have.

        Args:
            image_size: the full side of the images, in pixels.

        Raises:
            CurriculumError: one does; the text names both.
        """
        for stage in (self.stage(epoch) for epoch in range(self.epochs)):
            if stage.pixels(image_size) > image_size:
                raise CurriculumError(
                    f"{self.name}: stage '{stage.name}' asks for {stage.pixels(image_size)} px, and the images have "
                    f"{image_size} px. State fewer pixels, or a share of the full side, 0.5 say."
                )

    def timeline(self, image_size: int | None = None) -> Timeline:
        """The plan as a table, a row for each run of epochs with equal stages; ``print`` it.

        Args:
            image_size: the full side of the images in pixels, which sizes and costs are then told for. Without it
                sizes stand as the stages have them.
        """
        from .timeline import Timeline

        return Timeline.of(self, image_size)

    def with_learning_rate_drops(self, drops: tuple[int, ...]) -> Curriculum:
        """This curriculum, told at which epochs the learning rate drops; the same one, if it does not matter to it.

        The training engine calls this with the drops of the recipe's schedule. Drops that the user stated stay.

        Args:
            drops: the first epochs with a lower rate.
        """
        return self

    def require_epochs(self, needed: int, reason: str) -> None:
        """Raise if the plan is shorter than the curriculum needs.

        Raises:
            CurriculumError: it is; the text names how many epochs are needed, and the reason.
        """
        if self.epochs < needed:
            self.fail("epochs", f"must be at least {needed}: {reason}; got {self.epochs}")

    def then(self, other: Curriculum, share: float | None = None) -> Curriculum:
        """This curriculum, and then another one.

        Args:
            other: the one that follows.
            share: the share of the epochs that this one gets; both are then planned anew within this one's number of
                epochs, which must be the other's too. Without it the two run their own epochs, which add up.
        """
        from .compose import follow_on

        return follow_on((self, other), None if share is None else (share, 1 - share))

    def __add__(self, other: Curriculum) -> Curriculum:
        """Both at once: see `curriculum_zoo.curricula.compose.Overlay`."""
        from .compose import overlay

        return overlay(self, other) if isinstance(other, Curriculum) else NotImplemented

    def __gt__(self, other: Curriculum) -> Curriculum:
        """This one and then the other, each for its own epochs: see `then`."""
        return self.then(other) if isinstance(other, Curriculum) else NotImplemented

    def to_dict(self) -> dict[str, Any]:
        """The registered name and the fields as plain JSON values; `from_dict` gives an equal curriculum back."""
        from .factory import registered_name

        return {"name": registered_name(type(self)), **super().to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The curriculum with these fields; those left out take their defaults.

        On `Curriculum` itself, the registered name under ``"name"`` tells the class. On a subclass it may be left out.

        Raises:
            CurriculumError: an unknown or missing field, a value of the wrong type or out of range, another class.
            UnknownNameError: no curriculum has that name.
        """
        from .factory import class_of_dict

        named = class_of_dict(values, cls)
        fields = {name: value for name, value in values.items() if name != "name"}
        return cast("Self", super(Curriculum, named).from_dict(fields))

    @property
    def name(self) -> str:
        """The class's name in snake case, as the registry has it for the built-in ones."""
        return self._title()

    @classmethod
    def _title(cls) -> str:
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
