"""A curriculum in timm's training script, or in a loop like it: a loader round timm's, and one line in the loop.

Of ``train.py``, three places change: the loader is wrapped once network and optimiser exist, it is told the epoch, and
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

from ..curricula import Curriculum, Stage
from ..errors import CurriculumError
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
            They are frozen from an epoch's first batch until the loop asks for one after its last.
        optimizer: the optimiser; needed if the curriculum starts it afresh.
        mean: by channel, of the normalisation that images arrive with. Where None, that of timm's prefetching loader;
            any other loader does not tell, so give ``data_config["mean"]``, or 0 for images in [0, 1].
        std: the standard deviation that belongs to it, ``data_config["std"]``, or 1.

    Attributes:
        loader: the inner loader.
        epoch: what `set_epoch` was told last; None before.

    Raises:
        CurriculumError: model, optimiser or normalisation are needed and not given; the batch size of a stage follows
            the resolution; mean and deviation are none.
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
    ) -> None:
        self.loader = loader
        self.model = model
        self.optimizer = optimizer
        self.epoch: int | None = None
        self._keeper = StageKeeper(curriculum, _normalization(loader, mean, std))
        stages = list(self._keeper.stages())
        if model is None and any(stage.frozen for stage in stages):
            raise CurriculumError(f"{curriculum.name} freezes parts of the network: give the loader model=")
        if optimizer is None and any(stage.fresh_optimizer for stage in stages):
            raise CurriculumError(f"{curriculum.name} starts the optimiser afresh: give the loader optimizer=")

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next pass is, counted from 0; a sampler is told apart from this, as before.

        Raises:
            CurriculumError: the curriculum plans no such epoch.
        """
        self._keeper.curriculum.stage(epoch)
        self.epoch = epoch

    @property
    def stage(self) -> Stage | None:
        """The stage of the epoch that is under way; None outside of one."""
        return self._keeper.stage

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        if self.epoch is None:
            raise CurriculumError("The loader does not know the epoch: call set_epoch(epoch) at the start of each one")
        optimizers = () if self.optimizer is None else (self.optimizer,)
        with self._keeper.applied(self.epoch, self.model, optimizers, wrapped=self.model) as view:
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


def _normalization(loader: Any, mean: Sequence[float] | None, std: Sequence[float] | None) -> Normalization:
    """The stated normalisation, or the one that timm's prefetching loader does, on the scale of [0, 1]."""
    if (mean is None) is not (std is None):
        raise CurriculumError("Give mean and std together")
    if mean is not None and std is not None:
        return mean, std
    from timm.data.loader import PrefetchLoader

    if not isinstance(loader, PrefetchLoader):
        raise CurriculumError(
            "Only timm's prefetching loader tells how it normalises images: give mean= and std=, data_config['mean'] "
            "and data_config['std'] in timm's script; mean=[0] and std=[1] for images in [0, 1]"
        )
    own_mean, own_std = ((values.double().flatten() / 255).tolist() for values in (loader.mean, loader.std))
    return own_mean, own_std
