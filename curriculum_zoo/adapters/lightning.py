"""A curriculum in Lightning: a callback for ``lightning.pytorch.Trainer``.

Example:
    Training at half the resolution in every other epoch::

        import lightning.pytorch as pl
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        from curriculum_zoo import create_curriculum, create_model
        from curriculum_zoo.adapters.lightning import CurriculumCallback

        class Classifier(pl.LightningModule):
            def __init__(self):
                super().__init__()
                self.network = create_model("resnet20_cifar", num_classes=10)

            def training_step(self, batch, batch_idx):
                images, labels = batch
                return torch.nn.functional.cross_entropy(self.network(images), labels)

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

        loader = DataLoader(TensorDataset(torch.rand(16, 3, 32, 32), torch.randint(10, (16,))), batch_size=8)
        curriculum = create_curriculum("trd(variant=regular)", epochs=2)
        trainer = pl.Trainer(max_epochs=2, callbacks=[CurriculumCallback(curriculum)])
        trainer.fit(Classifier(), loader)
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator, MutableMapping
from typing import Any

from torch import Tensor, nn

from ..curricula import Curriculum, Stage
from ..errors import CurriculumError
from ..views import View
from .sampler import CurriculumSampler
from .stage_keeper import Normalization, StageKeeper, network_in

try:
    import lightning.pytorch as pl
except ImportError as error:
    raise ImportError("This adapter needs Lightning: pip install 'curriculum-zoo[lightning]'") from error

__all__ = ["CurriculumCallback"]


class CurriculumCallback(pl.Callback):
    """Trains a ``LightningModule`` by a curriculum.

    In each training epoch, the stage's parts of the network are frozen, and what ``training_step`` is given has gone
    through the stage's view, on the device, after all transfer and batch hooks. Validation, test and prediction batches
    are never touched. Where a stage starts the optimiser afresh, all optimisers of the trainer forget their state, and
    keep groups and learning rates, so that schedulers go on. A checkpoint needs nothing of the callback's: the stage
    follows from ``trainer.current_epoch``, also in an epoch that is gone on with in its middle.

    Where the curriculum lets batches grow as images shrink (``scale_batch=true``), ``train_dataloader`` must make its
    loader with ``batch_size=callback.batch_size(128, self.trainer.current_epoch)``, and the trainer must ask for a new
    one each epoch (``reload_dataloaders_every_n_epochs=1``); learning rates follow the size. Rates are multiplied, here
    and by a stage's ``lr_scales``, at the optimiser's step alone: schedulers and loggers meet the optimiser's own.

    With DDP and frozen parts, use ``strategy="ddp_find_unused_parameters_true"``.

    Args:
        curriculum: the plan of stages; it must plan as many epochs as the trainer has.
        normalized: (mean, std) by channel, if the loader's images are normalised already; they are then brought back to
            [0, 1] for the view and normalised again. With None they must be in [0, 1], and the module or its network
            normalises them.
        network: where in the module the network stands that is frozen in part, ``"backbone"`` say; ``""`` for the
            module itself. With None its only child with parameters, and the module itself where it has several.
        images: where in a batch the images stand: an index into a tuple or list, a key of a mapping. A batch that is a
            tensor is images.
        image_size: the full side of the images in pixels; needed for batches that grow.
        sampler: the training loader's `CurriculumSampler`, where the curriculum chooses images; the trainer must leave
            it alone (``use_distributed_sampler=False``), and sets its epochs.

    Raises:
        CurriculumError: the curriculum cannot be had in Lightning, or later, when training starts, it plans too few
            epochs, does not fit the network, or cannot find images in [0, 1] in the batches.
    """

    def __init__(
        self,
        curriculum: Curriculum,
        *,
        normalized: Normalization | None = None,
        network: str | None = None,
        images: int | str = 0,
        image_size: int | None = None,
        sampler: CurriculumSampler | None = None,
    ) -> None:
        self.network = network
        self.images = images
        self._keeper = StageKeeper(curriculum, normalized, scales_batches=True, image_size=image_size, sampler=sampler)
        self._epoch = contextlib.ExitStack()
        self._rates: dict[int, float] = {}

    @property
    def stage(self) -> Stage | None:
        """The stage of the training epoch that is under way; None outside of one."""
        return self._keeper.stage

    def batch_size(self, batch_size: int, epoch: int) -> int:
        """Return the batch size of an epoch's training loader.

        Args:
            batch_size: images a step at the full side, on each device.
            epoch: counted from 0, ``trainer.current_epoch``.
        """
        size, self._rates[epoch] = self._keeper.scaled_batch(epoch, batch_size)
        return size

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a training that is longer than the plan, or whose loader could not follow it."""
        if self._keeper.scales_batch and trainer.reload_dataloaders_every_n_epochs != 1:
            raise CurriculumError(
                f"{self._keeper.curriculum.name}: scale_batch=true needs a loader for each epoch. Make the Trainer "
                "with reload_dataloaders_every_n_epochs=1."
            )
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            self._keeper.require_epochs(trainer.max_epochs)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Bring the module into the stage of the epoch."""
        self._enter(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Do so in an epoch that was resumed in its middle, for which Lightning calls no start of the epoch."""
        if self.stage is None:
            self._enter(trainer, pl_module, midway=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Thaw what was frozen."""
        self._epoch.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Thaw what was frozen."""
        self._epoch.close()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Thaw what was frozen."""
        self._epoch.close()

    def _enter(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *, midway: bool = False) -> None:
        self._epoch.close()
        epoch_number = trainer.current_epoch
        if self._keeper.scales_batch and epoch_number not in self._rates:
            raise CurriculumError(
                f"{self._keeper.curriculum.name}: scale_batch=true needs a loader of the epoch's batch size: let "
                "train_dataloader make it with batch_size=callback.batch_size(128, self.trainer.current_epoch)."
            )
        network = network_in(pl_module, self.network)
        with contextlib.ExitStack() as epoch:
            training = [module for module in network.modules() if module.training]
            stilled: list[nn.Module] = []
            epoch.callback(_train, stilled)
            view = epoch.enter_context(
                self._keeper.applied(
                    epoch_number,
                    network,
                    trainer.optimizers,
                    wrapped=trainer.strategy.model,
                    midway=midway,
                    rate=self._rates.get(epoch_number, 1.0),
                )
            )
            stilled += [module for module in training if not module.training]
            epoch.enter_context(_step_through(pl_module, view, self.images))
            self._epoch = epoch.pop_all()


def _train(modules: list[nn.Module]) -> None:
    """Bring layers whose statistics were held back into training.

    After validation Lightning sets each module's mode itself, past ``train()``, so the layers do not know that they
    were in training before the stage began.
    """
    for module in modules:
        module.training = True


@contextlib.contextmanager
def _step_through(module: pl.LightningModule, view: View, key: int | str) -> Iterator[None]:
    """Let a module's ``training_step`` see batches whose images went through the view, inside a ``with`` block.

    The batches themselves stay as they are: they may be the data set's own tensors.
    """
    step, own = module.training_step, vars(module).get("training_step")

    @functools.wraps(step)
    def seeing_step(batch: Any, *args: Any, **kwargs: Any) -> Any:
        return step(_with_images(batch, key, view), *args, **kwargs)

    vars(module)["training_step"] = seeing_step
    try:
        yield
    finally:
        del vars(module)["training_step"]
        if own is not None:
            vars(module)["training_step"] = own


def _with_images(batch: Any, key: int | str, view: View) -> Any:
    """Return a batch like this one, with its images seen through the view."""
    if isinstance(batch, Tensor):
        return view(batch)
    try:
        images = batch[key]
    except (LookupError, TypeError):
        raise CurriculumError(
            f"No images stand at {key!r} in a batch, which is a {type(batch).__name__}. Give the callback images=, the "
            "index or key at which they do."
        ) from None
    changed: Any = copy.copy(batch) if isinstance(batch, MutableMapping) else list(batch)
    changed[key] = view(images)
    if isinstance(batch, tuple):
        return type(batch)(*changed) if hasattr(batch, "_fields") else type(batch)(changed)
    return changed
