"""A curriculum in Transformers: a callback for its ``Trainer``.

Example:
    Edges and a frozen deeper half at first, then photographs and the whole network::

        import torch
        from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments

        from curriculum_zoo import create_curriculum
        from curriculum_zoo.adapters.transformers import CurriculumCallback

        config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic")
        images = [{"pixel_values": torch.randn(3, 32, 32), "labels": i % 2} for i in range(16)]
        deeper = ("resnet.encoder.stages.2", "resnet.encoder.stages.3")
        callback = CurriculumCallback(
            create_curriculum("hrt", epochs=2, edge_epochs=1, freeze=deeper),
            normalized=([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        )
        Trainer(
            ResNetForImageClassification(config),
            TrainingArguments("runs", num_train_epochs=2, report_to="none"),
            train_dataset=images,
            callbacks=[callback],
        ).train()
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import torch
from torch import nn

from ..curricula import Curriculum, Stage
from ..errors import CurriculumError
from ..views import View
from .sampler import CurriculumSampler
from .stage_keeper import Normalization, StageKeeper, network_in

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    raise ImportError("This adapter needs Transformers: pip install 'curriculum-zoo[transformers]'") from error

__all__ = ["CurriculumCallback"]


class CurriculumCallback(TrainerCallback):
    """Trains a model by a curriculum.

    In each epoch, the stage's parts of the model are frozen, and what its ``forward`` is given in training mode has
    gone through the stage's view, on the device; each batch of an accumulated step goes through it once. In evaluation
    mode, also during training, images stay as they are. Where a stage starts the optimiser afresh, it forgets its state
    and keeps groups and learning rates, so that the scheduler goes on. A checkpoint needs nothing of the callback's:
    the stage follows from the epoch that the ``Trainer`` goes on from, and a fresh start that is over is not repeated.

    Learning rates are multiplied by a stage's ``lr_scales`` at the optimiser's step alone: schedulers and logs meet the
    optimiser's own. Batches cannot grow as images shrink (``scale_batch=true`` is refused): a ``Trainer`` counts its
    steps when training begins.

    Models are those of Transformers, or any module whose ``forward`` takes the images by name and gives a loss.

    Args:
        curriculum: the plan of stages; it must plan as many epochs as the ``Trainer`` has.
        normalized: (mean, std) by channel, if images are normalised already, as image processors do
            (``processor.image_mean`` and ``processor.image_std``); they are then brought back to [0, 1] for the view
            and normalised again. With None they must be in [0, 1], and the model normalises them.
        network: where in the model the network stands that is frozen in part, ``"backbone"`` say; ``""`` for the model
            itself. With None its only child with parameters, and the model itself where it has several.
        images: the name of the argument of ``forward`` that is the images.
        sampler: the training loader's `CurriculumSampler`, where the curriculum chooses images: what a ``Trainer``'s
            ``_get_train_sampler`` returns, made with ``rank=0, world_size=1``, as Accelerate shares the batches.

    Raises:
        CurriculumError: the curriculum cannot be had in a ``Trainer``, or later, when training starts, it plans too few
            epochs, does not fit the model, or cannot find images in [0, 1] among what ``forward`` is given.
    """

    def __init__(
        self,
        curriculum: Curriculum,
        *,
        normalized: Normalization | None = None,
        network: str | None = None,
        images: str = "pixel_values",
        sampler: CurriculumSampler | None = None,
    ) -> None:
        self.network = network
        self.images = images
        self._keeper = StageKeeper(curriculum, normalized, sampler=sampler)
        self._training = contextlib.ExitStack()
        self._under_way = contextlib.ExitStack()
        self._view: View | None = None
        self._epoch = 0
        self._midway = False

    @property
    def stage(self) -> Stage | None:
        """The stage of the training epoch that is under way; None outside of one."""
        return self._keeper.stage

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Refuse a training that is longer than the plan, and find out where it begins."""
        self._close()
        # What a Trainer counts to where its data has no length.
        if state.num_train_epochs < sys.maxsize:
            self._keeper.require_epochs(state.num_train_epochs)
        epochs = float(state.epoch or 0)
        self._epoch = int(epochs + 1e-6)
        self._midway = epochs - self._epoch > 1e-6
        # For the whole training, as a compiled model does not notice hooks that come later.
        show = torch.compiler.disable(self._show)
        hook = kwargs["model"].register_forward_pre_hook(show, with_kwargs=True)
        self._training.callback(hook.remove)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Bring the model into the stage of the epoch."""
        network = network_in(kwargs["model"], self.network)
        stage = self._keeper.applied(self._epoch, network, [kwargs["optimizer"]], midway=self._midway)
        self._view = self._under_way.enter_context(stage)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Thaw what was frozen."""
        self._under_way.close()
        self._epoch, self._midway = self._epoch + 1, False

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Let go of the model."""
        self._close()

    def _close(self) -> None:
        self._under_way.close()
        self._training.close()

    def _show(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Put images that went through the view into the place of those that ``forward`` is given."""
        if not model.training or self.stage is None or self._view is None:
            return None
        if self.images not in kwargs:
            raise CurriculumError(
                f"{type(model).__name__} is given no '{self.images}', but {', '.join(kwargs) or 'nothing by name'}. "
                "Give the callback images=, the name under which it is given images."
            )
        return args, {**kwargs, self.images: self._view(kwargs[self.images])}
