"""A curriculum in timm's training script, or in a loop like it: a loader round timm's, and one line in the loop.

Of ``train.py``, three places change: the loader is wrapped once network and optimiser exist, its epoch is set, and
a network that is partly frozen is wrapped for DDP with ``find_unused_parameters=True``::

    loader_train = create_loader(...)                                                  # as it was
    curriculum = create_curriculum("hrt", epochs=num_epochs)                           # new
    loader_train = CurriculumLoader(loader_train, curriculum, model, optimizer)        # new

    for epoch in range(start_epoch, num_epochs):
        loader_train.set_epoch(epoch)                                                  # new
        train_one_epoch(epoch, model, loader_train, optimizer, ...)                    # as it was
        validate(model, loader_eval, ...)                                              # as it was

Resuming needs nothing more, since a stage follows from the epoch alone. Mixup in the loader (timm's with its
prefetcher) comes before the view, mixup in the loop after it.

Example:
    The whole of a small training::

        import torch
        from timm.data import create_loader
        from timm.optim import create_optimizer_v2
        from torchvision.datasets import FakeData

        from curriculum_zoo import create_curriculum, create_model
        from curriculum_zoo.adapters.timm_loader import CurriculumLoader

        model = create_model("resnet20_cifar", num_classes=10)
        optimizer = create_optimizer_v2(model, opt="sgd", lr=0.1, momentum=0.9)
        loader = create_loader(
            FakeData(16, (3, 32, 32)), 32, 8, is_training=True, num_workers=0, device=torch.device("cpu")
        )
        loader = CurriculumLoader(loader, create_curriculum("hrt(edge_epochs=1)", epochs=2), model, optimizer)

        for epoch in range(2):
            loader.set_epoch(epoch)
            model.train()
            for images, labels in loader:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn
from torch.utils.data import BatchSampler

from ..curricula import Curriculum, Stage
from ..errors import CurriculumError
from .sampler import CurriculumSampler
from .stage_keeper import Normalization, StageKeeper

__all__ = ["CurriculumLoader"]


class CurriculumLoader:
    """A training loader that shows images as a curriculum's stage has them, and keeps the network in that stage.

    Everything else is the inner loader's: ``len``, ``sampler``, ``batch_sampler``, ``dataset``, ``mixup_enabled`` (to
    read and to set), and any other attribute.

    Args:
        loader: what timm's ``create_loader`` gave, or any loader of batches (images, targets, …) with images
            [N, C, H, W].
        curriculum: the plan of stages.
        model: the network, wrapped for DDP or compiled where it is; needed if the curriculum freezes parts of it.
            They are frozen from an epoch's first batch until the loop asks for one after its last. Also needed if the
            curriculum scales learning rates of parts.
        optimizer: the optimiser; needed if the curriculum starts it afresh, or scales learning rates.
        mean: by channel, of the normalisation that images arrive with. Where None, that of timm's prefetching loader;
            any other loader does not say, so give ``data_config["mean"]``, or 0 for images in [0, 1].
        std: the standard deviation that belongs to it, ``data_config["std"]``, or 1.
        image_size: the full side of the images in pixels; needed if the curriculum lets batches grow as images shrink
            (``scale_batch=true``). `set_epoch` then gives the loader the epoch's batch size, an even one if its own is,
            and learning rates follow it; ``len(loader)`` is that of the epoch.
        sampler: a `CurriculumSampler` of the same curriculum, where this chooses images; it takes the place of the
            loader's own, and `set_epoch` sets its epoch.

    Attributes:
        loader: the inner loader.
        epoch: the epoch last given to `set_epoch`; None before.

    Raises:
        CurriculumError: model, optimiser, image size or normalisation are needed and not given; batches are to grow,
            and the loader cannot change their size; mean and deviation are none; stages state processing levels.
    """

    def __init__(
        self,
        loader: Any,
        curriculum: Curriculum,
        model: nn.Module | None = None,
        optimizer: Any = None,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        image_size: int | None = None,
        sampler: CurriculumSampler | None = None,
    ) -> None:
        self.loader = loader
        self.model = model
        self.optimizer = optimizer
        self.epoch: int | None = None
        self._rate = 1.0
        normalized = _normalization(loader, mean, std)
        self._keeper = StageKeeper(curriculum, normalized, scales_batches=True, image_size=image_size, sampler=sampler)
        self._sampler = sampler
        if sampler is not None:
            _batch_sampler(loader, "a curriculum that chooses images").sampler = sampler
        self._batches = _batch_sampler(loader, "scale_batch=true") if self._keeper.scales_batch else None
        self._batch_size = None if self._batches is None else self._batches.batch_size
        stages = curriculum.stages()
        if model is None and any(stage.frozen or stage.lr_scales for stage in stages):
            raise CurriculumError(f"{curriculum.name} treats parts of the network differently: give the loader model=")
        stepping = any(stage.fresh_optimizer or stage.lr_scales or stage.scale_batch for stage in stages)
        if optimizer is None and stepping:
            raise CurriculumError(f"{curriculum.name} resets the optimiser or scales rates: give the loader optimizer=")

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass, counted from 0; a sampler's epoch is set apart from this, as before.

        Raises:
            CurriculumError: the curriculum plans no such epoch.
        """
        self._keeper.curriculum.stage(epoch)
        self.epoch = epoch
        if self._sampler is not None:
            self._sampler.set_epoch(epoch)
        if self._batches is not None and self._batch_size is not None:
            # timm mixes the images of a batch in pairs.
            multiple = 2 if self._batch_size % 2 == 0 else 1
            self._batches.batch_size, self._rate = self._keeper.scaled_batch(epoch, self._batch_size, multiple)

    @property
    def stage(self) -> Stage | None:
        """The stage of the epoch that is under way; None outside of one."""
        return self._keeper.stage

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        if self.epoch is None:
            raise CurriculumError("The loader does not know the epoch: call set_epoch(epoch) at the start of each one")
        optimizers = () if self.optimizer is None else (self.optimizer,)
        with self._keeper.applied(self.epoch, self.model, optimizers, wrapped=self.model, rate=self._rate) as view:
            for batch in self.loader:
                if not isinstance(batch, list | tuple):
                    raise CurriculumError(f"A batch must be (images, targets, …); the loader gave {type(batch)}")
                yield (view(batch[0]), *batch[1:])

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        if name == "loader":
            # Not there yet while a copy is being unpickled; asking the inner loader would ask for it again.
            raise AttributeError(name)
        return getattr(self.loader, name)

    @property
    def mixup_enabled(self) -> bool:
        """Whether the loader mixes images; timm's script turns it off towards the end."""
        enabled: bool = self.loader.mixup_enabled
        return enabled

    @mixup_enabled.setter
    def mixup_enabled(self, enabled: bool) -> None:
        self.loader.mixup_enabled = enabled


def _batch_sampler(loader: Any, reason: str) -> BatchSampler:
    """Return the sampler whose batch size and images hold for the loader's next pass.

    Raises:
        CurriculumError: the loader has none, or goes on drawing from it between passes.
    """
    batches = getattr(loader, "batch_sampler", None)
    if not isinstance(batches, BatchSampler):
        raise CurriculumError(
            f"{reason} changes the batches from epoch to epoch, which needs a loader with a BatchSampler of torch's; "
            f"this one has {type(batches).__name__}. Use neither timm's use_multi_epochs_loader nor a stream."
        )
    return batches


def _normalization(loader: Any, mean: Sequence[float] | None, std: Sequence[float] | None) -> Normalization:
    """The stated normalisation, or the one that timm's prefetching loader does, on the scale of [0, 1]."""
    if (mean is None) is not (std is None):
        raise CurriculumError("Give mean and std together")
    if mean is not None and std is not None:
        return mean, std
    from timm.data.loader import PrefetchLoader

    if not isinstance(loader, PrefetchLoader):
        raise CurriculumError(
            "Only timm's prefetching loader says how it normalises images: give mean= and std=, data_config['mean'] "
            "and data_config['std'] in timm's script; mean=[0] and std=[1] for images in [0, 1]"
        )
    own_mean, own_std = ((values.double().flatten() / 255).tolist() for values in (loader.mean, loader.std))
    return own_mean, own_std
