"""What all adapters share: a network kept in the stage of an epoch, and images seen as the stage has them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from ..curricula import Curriculum, Stage
from ..curricula.stage import View, identity
from ..data.normalize import Normalize
from ..errors import CurriculumError

__all__ = ["Normalization", "StageKeeper", "network_in", "reset_optimizer"]

Normalization = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation by channel, of images in [0, 1]."""


class StageKeeper:
    """Brings the stages of a curriculum into a loop that another library walks.

    Args:
        curriculum: the plan of stages.
        normalized: mean and standard deviation that images arrive normalised with. Views see them in [0, 1], and they
            are handed on normalised as they came. None where they arrive in [0, 1].

    Attributes:
        stage: the stage of the present epoch; None outside of one.

    Raises:
        CurriculumError: a stage lets the batch size follow the resolution, which only a loader that is rebuilt can; a
            normalisation that is none.
    """

    def __init__(self, curriculum: Curriculum, normalized: Normalization | None = None) -> None:
        self.curriculum = curriculum
        self.normalized = None if normalized is None else _checked(normalized)
        self.stage: Stage | None = None
        self._looked_at = False
        if any(stage.scale_batch for stage in self.stages()):
            raise CurriculumError(
                f"{curriculum.name}: scale_batch=true lets the batch size follow the resolution, and here the loader "
                "and its batch size are another library's. Leave it out, or train by curriculum-zoo train."
            )
        if any(stage.lr_scales for stage in self.stages()):
            raise CurriculumError(
                f"{curriculum.name} changes the learning rates of parts of the network in some stages, and here rates "
                "are another library's. Leave that out, or train by curriculum-zoo train."
            )

    def stages(self) -> Iterator[Stage]:
        """The stage of each epoch, in order."""
        return (self.curriculum.stage(epoch) for epoch in range(self.curriculum.epochs))

    def require_epochs(self, epochs: int) -> None:
        """Raise now, not after days of training, if the plan is shorter than this many epochs.

        Raises:
            CurriculumError: it is.
        """
        self.curriculum.stage(epochs - 1)

    @contextlib.contextmanager
    def applied(
        self,
        epoch: int,
        network: nn.Module | None = None,
        optimizers: Iterable[Any] = (),
        *,
        wrapped: nn.Module | None = None,
        midway: bool = False,
    ) -> Iterator[View]:
        """Keep the network in the stage of an epoch inside a ``with`` block, which is given what images go through.

        Args:
            epoch: counted from 0.
            network: what is frozen; None where the curriculum freezes nothing.
            optimizers: those of the training; they start afresh if the stage says so.
            wrapped: the network as DDP has it, where it does.
            midway: whether the epoch is gone on with in its middle, so that the optimisers' fresh start is over.

        Raises:
            CurriculumError: the epoch is not planned, a frozen part names nothing in the network, or DDP would wait
                for the gradients of frozen parameters.
        """
        stage = self.curriculum.stage(epoch)
        _refuse_waiting(stage, wrapped)
        if stage.fresh_optimizer and not midway:
            for optimizer in optimizers:
                reset_optimizer(optimizer)
        with stage.applied_to(nn.Identity() if network is None else network):
            self.stage = stage
            try:
                yield partial(self._see, stage)
            finally:
                self.stage = None

    def _see(self, stage: Stage, images: Tensor) -> Tensor:
        """A batch [N, C, H, W] as the stage shows it, in the range and dtype that it came in."""
        if not self._looked_at:
            self._look_at(images)
            self._looked_at = True
        if stage.view is identity and not stage.augment_strength:
            return images
        if self.normalized is None:
            return _shown(stage, images)
        undo, redo = _normalizers(*self.normalized, images.device)
        # Half precision has too few digits to go through [0, 1]; what rounding takes beyond that range is cut off.
        working = images if images.dtype == torch.float64 else images.float()
        return redo(_shown(stage, undo(working).clamp_(0, 1))).to(images.dtype)

    def _look_at(self, images: Tensor) -> None:
        """Refuse images that are not what the user said; of the first batch alone, as it waits for the device."""
        if not isinstance(images, Tensor) or images.ndim != 4 or not images.numel():
            what = f"a tensor {tuple(images.shape)}" if isinstance(images, Tensor) else f"a {type(images).__name__}"
            raise CurriculumError(f"A curriculum shows batches of images [N, C, H, W]; this batch of images is {what}")
        self.curriculum.check_image_size(min(images.shape[2:]))
        if self.normalized is not None:
            if len(self.normalized[0]) not in (1, images.shape[1]):
                raise CurriculumError(
                    f"Images have {images.shape[1]} channels, and the mean they are said to be normalised with has "
                    f"{len(self.normalized[0])}. State one for each channel."
                )
            return
        low, high = (float(bound) for bound in images.aminmax())
        # Interpolation may overshoot [0, 1] a little; normalised images and 8-bit ones exceed it by far.
        if not -0.25 <= low <= high <= 1.25:
            raise CurriculumError(
                f"Images reach from {low:.3g} to {high:.3g}, and a curriculum shows images in [0, 1]. If they are "
                "normalised, state the mean and standard deviation they were normalised with; divide 8-bit ones by 255."
            )


def reset_optimizer(optimizer: Any) -> None:
    """Forget what an optimiser has gathered, momentum and counts of steps, as if it were made anew.

    Its groups and their learning rates stay, so that whatever schedules these goes on undisturbed.

    Args:
        optimizer: one of torch or timm, or one that wraps another, as Accelerate's and timm's Lookahead do.
    """
    for name in ("optimizer", "_base_optimizer"):
        inner = getattr(optimizer, name, None)
        if isinstance(inner, torch.optim.Optimizer):
            return reset_optimizer(inner)
    optimizer.state.clear()
    for group in optimizer.param_groups:
        # Where Lamb, Adan and Lookahead count.
        for counter in ("step", "lookahead_step"):
            group.pop(counter, None)
            if counter in optimizer.defaults:
                group[counter] = optimizer.defaults[counter]
    if isinstance(optimizer, torch.optim.Adagrad):
        # The one that makes its state when it is made, and not when it is needed.
        groups = [{**group} for group in optimizer.param_groups]
        optimizer.state.update(torch.optim.Adagrad(groups, **optimizer.defaults).state)


def network_in(module: nn.Module, path: str | None) -> nn.Module:
    """The network inside a module, whose depth and parameter names a curriculum's frozen parts refer to.

    Args:
        module: what a library trains.
        path: the network's name in it, ``"backbone"`` say, ``""`` for the module itself. Where None, modules that only
            hold another one are looked through: those with one child that has parameters, none of their own, and no
            ``group_matcher`` as timm's networks have.

    Raises:
        CurriculumError: nothing in the module has that name.
    """
    if path is not None:
        try:
            return module.get_submodule(path)
        except AttributeError:
            children = ", ".join(name for name, _ in module.named_children()) or "none"
            raise CurriculumError(
                f"{type(module).__name__} has no network '{path}' in it. Its parts are: {children}."
            ) from None
    while not hasattr(module, "group_matcher"):
        holding = [child for child in module.children() if any(True for _ in child.parameters())]
        if len(holding) != 1 or any(True for _ in module.parameters(recurse=False)):
            break
        module = holding[0]
    return module


def _refuse_waiting(stage: Stage, wrapped: nn.Module | None) -> None:
    if not isinstance(wrapped, nn.parallel.DistributedDataParallel):
        return
    if stage.frozen and not wrapped.find_unused_parameters:
        raise CurriculumError(
            f"Stage '{stage.name}' freezes parts of the network, and DistributedDataParallel would wait for their "
            "gradients. Make it with find_unused_parameters=True; in Lightning by "
            "Trainer(strategy='ddp_find_unused_parameters_true')."
        )


def _checked(normalized: Normalization) -> tuple[tuple[float, ...], tuple[float, ...]]:
    try:
        mean, std = (tuple(float(value) for value in values) for values in normalized)
    except (TypeError, ValueError):
        mean = std = ()
    if not mean or len(mean) != len(std) or min(std) <= 0:
        raise CurriculumError(
            f"A normalisation is a mean and a standard deviation above 0 for each channel; got {normalized!r}"
        )
    return mean, std


@lru_cache(maxsize=16)
def _normalizers(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Normalize, Normalize]:
    """From normalised images to [0, 1], and back."""
    undo = Normalize([-m / s for m, s in zip(mean, std, strict=True)], [1 / s for s in std], device)
    return undo, Normalize(mean, std, device)


def _shown(stage: Stage, images: Tensor) -> Tensor:
    """Images in [0, 1] with the random augmentation that goes with the stage, through its view."""
    if stage.augment_strength:
        from ..data.rand_augment import rand_augment

        # Drawn from torch's own generator, so that the library's seeding, and its resuming, cover it.
        seed = int(torch.randint(2**62, ()))
        images = rand_augment(images, stage.augment_strength, torch.Generator().manual_seed(seed))
    return stage.view(images)
