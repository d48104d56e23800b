"""What all adapters share: a network kept in the stage of an epoch, and images seen as the stage has them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from ..curricula import Curriculum, Stage
from ..curricula.depth import plain_name, unwrapped
from ..curricula.parameter_values import values_by_parameter
from ..data.normalize import Normalize
from ..errors import CurriculumError
from ..views import RandAugment, View, compose, identity
from .optimizers import reset_optimizer, scaled_rates
from .sampler import CurriculumSampler

__all__ = ["Normalization", "StageKeeper", "network_in"]

Normalization = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation by channel, of images in [0, 1]."""


class StageKeeper:
    """Brings the stages of a curriculum into a loop that another library runs.

    Args:
        curriculum: the plan of stages.
        normalized: mean and standard deviation that images arrive normalised with. Views see them in [0, 1], and they
            are handed on normalised as they came. None where they arrive in [0, 1].
        scales_batches: whether the adapter can give each epoch a batch size of its own.
        image_size: the full side of the images in pixels, which batch sizes that follow the resolution depend on.
        sampler: the loader's, of the same curriculum, where this chooses images.

    Attributes:
        stage: the stage of the present epoch; None outside of one.

    Raises:
        CurriculumError: a stage asks for what the adapter cannot give: a batch size of its own, or processing levels;
            or `image_size` is needed and missing; or a normalisation that is none; or images are chosen, and there is
            no sampler.
    """

    def __init__(
        self,
        curriculum: Curriculum,
        normalized: Normalization | None = None,
        *,
        scales_batches: bool = False,
        image_size: int | None = None,
        sampler: CurriculumSampler | None = None,
    ) -> None:
        self.curriculum = curriculum
        self.normalized = None if normalized is None else _checked(normalized)
        self.image_size = image_size
        self.stage: Stage | None = None
        self._checked_images = False
        stages = curriculum.stages()
        self.scales_batch = any(stage.scale_batch for stage in stages)
        if self.scales_batch and not scales_batches:
            raise CurriculumError(
                f"{curriculum.name}: scale_batch=true lets the batch size follow the resolution, and here the loader, "
                "and with it the number of steps, is fixed when training begins. Leave it out."
            )
        if self.scales_batch and image_size is None:
            raise CurriculumError(
                f"{curriculum.name}: scale_batch=true lets the batch size follow the resolution. State the full side "
                "of the images in pixels: image_size=224."
            )
        if any(stage.samples is not None for stage in stages) and (sampler is None or sampler.curriculum != curriculum):
            raise CurriculumError(
                f"{curriculum.name} chooses which images are seen, which is for the loader's sampler to do. Make the "
                "loader with sampler = CurriculumSampler(curriculum, count), and give that here too: sampler=sampler."
            )
        if any(stage.batch_sizes is not None for stage in stages):
            raise CurriculumError(
                f"{curriculum.name} gives each batch a size of its own, which here is not known. With by=epoch all of "
                "an epoch share one; in a loop of your own, stage.at_step(step).view shows a batch; or train by "
                "curriculum-zoo train."
            )
        if any(stage.levels is not None or stage.level_weights for stage in stages):
            raise CurriculumError(
                f"{curriculum.name} states how many processing levels the network uses, and here another library calls "
                "the network. With set_levels=false the resolution alone decides; or train by curriculum-zoo train."
            )

    def require_epochs(self, epochs: int) -> None:
        """Raise now, not after days of training, if the plan is shorter than this many epochs.

        Raises:
            CurriculumError: it is.
        """
        self.curriculum.stage(epochs - 1)

    def scaled_batch(self, epoch: int, batch_size: int, multiple: int = 1) -> tuple[int, float]:
        """Return an epoch's batch size and its factor of learning rates: see `Stage.scaled_batch`."""
        if self.image_size is None:
            return batch_size, 1.0
        return self.curriculum.stage(epoch).scaled_batch(batch_size, self.image_size, multiple)

    @contextlib.contextmanager
    def applied(
        self,
        epoch: int,
        network: nn.Module | None = None,
        optimizers: Iterable[Any] = (),
        *,
        wrapped: nn.Module | None = None,
        midway: bool = False,
        rate: float = 1.0,
    ) -> Iterator[View]:
        """Keep the network in the stage of an epoch inside a ``with`` block, whose value is what images go through.

        Args:
            epoch: counted from 0.
            network: what is frozen, and whose parameters have learning rates of their own; None where the curriculum
                does neither.
            optimizers: those of the training; they start afresh if the stage says so.
            wrapped: the network as DDP has it, where it does.
            midway: whether training was resumed in the middle of the epoch, so that the optimisers' fresh start is
                over.
            rate: what all learning rates are multiplied by, as goes with the epoch's batch size.

        Raises:
            CurriculumError: the epoch is not planned, a pattern names nothing in the network, or DDP would wait for
                the gradients of frozen parameters.
        """
        stage = self.curriculum.stage(epoch)
        optimizers = list(optimizers)
        _refuse_waiting(stage, wrapped)
        if stage.fresh_optimizer and not midway:
            for optimizer in optimizers:
                reset_optimizer(optimizer)
        with contextlib.ExitStack() as stack:
            stack.enter_context(stage.applied_to(nn.Identity() if network is None else network))
            factors = _rate_factors(stage, network, optimizers)
            if factors or rate != 1:
                scaled = {parameter: factor * rate for parameter, factor in factors.items()}
                for optimizer in optimizers:
                    stack.enter_context(scaled_rates(optimizer, scaled, rate))
            self.stage = stage
            stack.callback(setattr, self, "stage", None)
            yield partial(self._show, self._augmented(stage, epoch))

    def _augmented(self, stage: Stage, epoch: int) -> View:
        """The stage's view after the random augmentation that goes with it, drawn from seed, epoch and image alone."""
        if not stage.augment_strength:
            return stage.view
        return compose(RandAugment(stage.augment_strength, key=(self.curriculum.seed, epoch)), stage.view)

    def _show(self, view: View, images: Tensor) -> Tensor:
        """Show a batch [N, C, H, W] through a view, in the range and dtype that it came in."""
        if not self._checked_images:
            self._check(images)
            self._checked_images = True
        if view is identity:
            return images
        if self.normalized is None:
            return view(images)
        undo, redo = _normalizers(*self.normalized, images.device)
        # Half precision has too few digits to go through [0, 1]; what rounding takes beyond that range is cut off.
        working = images if images.dtype == torch.float64 else images.float()
        return redo(view(undo(working).clamp_(0, 1))).to(images.dtype)

    def _check(self, images: Tensor) -> None:
        """Refuse images that are not what the user said; of the first batch alone, as it waits for the device."""
        if not isinstance(images, Tensor) or images.ndim != 4 or not images.numel():
            what = f"a tensor {tuple(images.shape)}" if isinstance(images, Tensor) else f"a {type(images).__name__}"
            raise CurriculumError(f"A curriculum shows batches of images [N, C, H, W]; this batch of images is {what}")
        side = min(images.shape[2:])
        self.curriculum.check_image_size(side)
        if self.scales_batch and side != self.image_size:
            raise CurriculumError(f"Images have {side} px, and image_size is {self.image_size}. State their own side.")
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


def network_in(module: nn.Module, path: str | None) -> nn.Module:
    """Return the network inside a module, whose depth and parameter names a curriculum refers to.

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


def _rate_factors(stage: Stage, network: nn.Module | None, optimizers: list[Any]) -> dict[nn.Parameter, float]:
    """Return what the stage multiplies learning rates by, keyed by parameter of the network."""
    if not stage.lr_scales or network is None:
        return {}
    values = values_by_parameter(network, dict(stage.lr_scales), f"Stage '{stage.name}': lr_scales")
    factors = {p: values[n] for name, p in unwrapped(network).named_parameters() if (n := plain_name(name)) in values}
    if not any(p in factors for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]):
        raise CurriculumError(
            f"Stage '{stage.name}' scales the learning rates of {', '.join(pattern for pattern, _ in stage.lr_scales)},"
            " and no optimiser has these parameters as the network does: it works on copies or flattened ones."
        )
    return factors


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
