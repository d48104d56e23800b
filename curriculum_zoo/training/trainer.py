"""A training run in progress: its loop, what it measures, and its position, which can be saved and restored."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..curricula import Stage
from ..data.rand_augment import rand_augment
from ..errors import TrainingError
from ..evaluation.calibrate import calibrate_batchnorm
from ..evaluation.metrics import Scores, collect, score
from ..hub.folder import save_folder
from ..seeding import derive_seed
from .checkpoint import load_checkpoint, save_checkpoint
from .cost import peak_memory
from .curves import draw_curves
from .objectives import Mixer
from .progress import Reporter
from .run_folder import RunFolder
from .schedule import share_of_peak
from .setup import Setup, make_optimizer
from .sums import COUNTS, Sums

__all__ = ["Result", "Trainer"]


@dataclass(frozen=True)
class Result:
    """What a finished run came to.

    Attributes:
        folder: the run's folder.
        metrics: a dictionary an epoch, as in ``metrics.jsonl``.
        test: scores on the test images of the ``last`` and the ``best`` epoch's weights.
        best_epoch: the best epoch on validation images, counted from 0.
        flops: forward and backward FLOPs of the whole training.
        relative_flops: those as a share of a full-resolution training of equal length.
        seconds: time spent training, validation left out.
    """

    folder: Path
    metrics: list[dict[str, Any]]
    test: dict[str, Scores]
    best_epoch: int
    flops: int
    relative_flops: float
    seconds: float


class Trainer:
    """One run in progress: its position, its optimiser, and what it measured so far.

    Args:
        setup: everything the run consists of, checked.
        folder: where it leaves its traces.
        reporter: shows progress.
        checkpoint_minutes: longest time without a checkpoint.
    """

    def __init__(self, setup: Setup, folder: RunFolder, reporter: Reporter, checkpoint_minutes: float) -> None:
        self.setup = setup
        self.recipe = setup.recipe
        self.folder = folder
        self.reporter = reporter
        self.epoch = 0
        self.step = 0
        self.metrics: list[dict[str, Any]] = []
        self.model = setup.accelerator.prepare(setup.trained)
        self.optimizer = self._new_optimizer()
        self.mixer = Mixer(self.recipe, setup.num_classes) if self.recipe.mixing.active else None
        self._checkpoint_seconds = checkpoint_minutes * 60
        self._sums: Sums | None = None

    # -- the run ------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        """Train from the present position to the end."""
        self.reporter.start(self.recipe, self.folder.path, self.epoch)
        with contextlib.closing(self.reporter), contextlib.closing(self.setup.supply):
            for epoch in range(self.epoch, self.recipe.epochs):
                stage = self.setup.curriculum.stage(epoch)
                self._train_epoch(epoch, stage)
                self._finish_epoch(stage)
            return self._finish_run()

    def _train_epoch(self, epoch: int, stage: Stage) -> None:
        loader = self.setup.training_loader(stage)
        if stage.fresh_optimizer and self.step == 0:
            self.optimizer = self._new_optimizer()
        self._sums = self._sums or Sums.start(self.setup.device)
        self.reporter.start_epoch(epoch, stage, loader.steps, self.step)
        self.model.train()
        peaks = self.setup.rates.in_stage(stage, self.optimizer.param_groups)
        # Photographs come at the stage's size already.
        with stage.at_full_size(self.setup.image_size).applied_to(self.setup.network) as view:
            started = saved = time.perf_counter()
            for step, (images, labels) in enumerate(loader.batches(epoch, start=self.step), self.step):
                self._seed(epoch, step)
                progress = (epoch + step / loader.steps) / self.recipe.epochs
                scale = stage.batch_scale(self.setup.image_size)
                self._set_learning_rates(peaks, scale, progress)
                with self._explained(epoch, step, stage, images):
                    self._update(view(self._strengthened(images, stage, epoch, step)), labels, stage)
                now = time.perf_counter()
                self._sums.seconds += now - started
                started = now
                self.step = step + 1
                self.reporter.step(self._sums.images, self._sums.seconds, self._sums.figures)
                if now - saved > self._checkpoint_seconds and self.step < loader.steps:
                    self._save_checkpoint()
                    started = saved = time.perf_counter()
            self._sums.figures()  # the device may still be at work
            self._sums.seconds += time.perf_counter() - started

    def _strengthened(self, images: Tensor, stage: Stage, epoch: int, step: int) -> Tensor:
        """The images with the random augmentation that goes with the stage."""
        if not stage.augment_strength:
            return images
        seed = derive_seed(self.recipe.seed, epoch, step, self.setup.accelerator.process_index)
        generator = torch.Generator(self.setup.device).manual_seed(seed)
        return rand_augment(images, stage.augment_strength, generator)

    def _update(self, images: Tensor, labels: Tensor, stage: Stage) -> None:
        """One step of the optimiser on one batch of seen images."""
        images = self.setup.normalize(images)
        targets = labels
        if self.mixer is not None:
            images, targets = self.mixer(images, labels)
        assert self._sums is not None
        with self._sums.computing():
            self.optimizer.zero_grad(set_to_none=True)
            means, right = self._backward(images, targets, labels, stage)
        self._refuse_infinite(means["loss"])
        with self._sums.computing():
            self.optimizer.step()
        self._remember(means)
        if self.setup.average is not None:
            self.setup.average.update(self.setup.network)
        self._sums.add(len(images), right, means)

    def _backward(
        self, images: Tensor, targets: Tensor, labels: Tensor, stage: Stage
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Accumulate gradients of one batch; its mean loss and other figures, and its count of right predictions."""
        accelerator = self.setup.accelerator
        means: dict[str, Tensor] = {}
        right = torch.zeros((), dtype=torch.float64, device=self.setup.device)
        parts = [tensor.chunk(self.recipe.accumulation) for tensor in (images, targets, labels)]
        for index, (some_images, some_targets, some_labels) in enumerate(zip(*parts, strict=True), 1):
            last = index == len(parts[0])
            weight = len(some_images) / len(images)
            with contextlib.nullcontext() if last else accelerator.no_sync(self.model):
                outcome = self.setup.objective(self.model, some_images, some_targets, stage)
                accelerator.backward(outcome.loss * weight)
            for name, value in outcome.means().items():
                means[name] = means.get(name, 0) + value.double() * weight
            samples = len(outcome.logits) // len(some_images)
            right += (outcome.logits.detach().argmax(1) == some_labels.repeat(samples)).sum() / samples
        return means, right

    def _remember(self, means: dict[str, Tensor]) -> None:
        """Let the objective remember what it is to remember, the same on all processes."""
        figures = {name: value for name, value in means.items() if name != "loss"}
        if figures:
            values = self.setup.accelerator.reduce(torch.stack(list(figures.values())), reduction="mean")
            self.setup.objective.update(dict(zip(figures, values.tolist(), strict=True)))

    def _refuse_infinite(self, loss: Tensor) -> None:
        """Stop before the step where loss or gradients are not finite; clip them where the recipe says so."""
        accelerator = self.setup.accelerator
        gradients = [p.grad for p in self.setup.network.parameters() if p.grad is not None]
        if accelerator.scaler is not None:
            accelerator.unscale_gradients(self.optimizer)
        norm = torch.nn.utils.get_total_norm(gradients)
        # fp16's loss scaling makes infinite gradients now and then, and skips those steps by itself.
        finite = loss.isfinite() if accelerator.scaler is not None else loss.isfinite() & norm.isfinite()
        if not finite.item():
            what = "the loss" if not loss.isfinite().item() else "the gradient norm"
            raise TrainingError(f"{what} is not finite")
        if self.recipe.optimizer.clip_norm is not None:
            parameters = [p for p in self.setup.network.parameters() if p.grad is not None]
            torch.nn.utils.clip_grads_with_norm_(parameters, self.recipe.optimizer.clip_norm, norm)

    # -- after an epoch, after the run --------------------------------------------------------------------------

    def _finish_epoch(self, stage: Stage) -> None:
        assert self._sums is not None
        sums = {name: self._reduce(value) for name, value in self._sums.to_dict().items()}
        network = self._network_to_show()
        held_out = self.setup.validation_batches()
        validation = self._score(network, held_out) if held_out else None
        self.metrics.append(self._metrics_line(stage, sums, validation))
        self.epoch, self.step, self._sums = self.epoch + 1, 0, None
        if self.setup.accelerator.is_main_process:
            facts = {"recipe": self.recipe.to_dict(), "epoch": self.epoch - 1, "metrics": self.metrics[-1]}
            for folder in (self.folder.best, self.folder.last):
                if folder == self.folder.last or self.best_epoch == self.epoch - 1:
                    save_folder(folder, network.state_dict(), self.setup.config(facts))
        self._save_checkpoint()
        self._write_log()
        self._list_skipped()
        self.reporter.end_epoch(self.metrics[-1])

    def _write_log(self) -> None:
        """Bring the lines of metrics and their figure up to the epochs done."""
        if self.setup.accelerator.is_main_process and self.metrics:
            self.folder.write_metrics(self.metrics)
            draw_curves(self.metrics, self.folder.curves, title=f"{self.recipe.model}, {self.recipe.curriculum}")

    def _list_skipped(self) -> None:
        """List the images that were left out, by whichever process."""
        if self.recipe.photos.on_bad_image != "skip":
            return
        from accelerate.utils import gather_object

        skipped = {name: reason for part in gather_object([self.setup.supply.skipped]) for name, reason in part.items()}
        if self.setup.accelerator.is_main_process:
            self.folder.write_skipped(skipped)

    def _metrics_line(self, stage: Stage, sums: dict[str, float], validation: Scores | None) -> dict[str, Any]:
        before = self.metrics[-1] if self.metrics else {"flops": 0, "full_flops": 0, "seconds": 0.0}
        images, processes = int(sums["images"]), self.setup.accelerator.num_processes
        seconds = sums["seconds"] / processes
        on_cpu = self.setup.device.type == "cpu"
        means = {name: total / images for name, total in sums.items() if name not in COUNTS}
        return {
            "epoch": self.epoch,
            "stage": stage.name,
            "image_size": stage.pixels(self.setup.image_size),
            "lr": max(group["lr"] for group in self.optimizer.param_groups),
            "train_loss": means.pop("loss"),
            "train_accuracy": means.pop("right"),
            "validation_loss": validation.loss if validation else None,
            "validation_accuracy": validation.top1 if validation else None,
            "images_per_second": images / seconds,
            "flops": before["flops"] + images * self.setup.cost.of(stage, means),
            "full_flops": before["full_flops"] + images * self.setup.cost.full(),
            "seconds": before["seconds"] + seconds,
            "peak_memory_bytes": peak_memory(self.setup.device),
            # A GPU computes while the host goes on, so there this share cannot be read off the host's clock.
            "overhead": 1 - sums["compute_seconds"] / sums["seconds"] if on_cpu else None,
            **means,
        }

    @property
    def best_epoch(self) -> int:
        """The best epoch so far on validation images; the last one where none are held out."""
        if self.metrics[-1]["validation_loss"] is None:
            return len(self.metrics) - 1
        if self.recipe.best == "loss":
            return min(range(len(self.metrics)), key=lambda epoch: self.metrics[epoch]["validation_loss"])
        return max(range(len(self.metrics)), key=lambda epoch: self.metrics[epoch]["validation_accuracy"])

    def _finish_run(self) -> Result:
        """Take the figures on the test images: of the last weights, and of the best epoch's."""
        from safetensors.torch import load_file

        self.setup.accelerator.wait_for_everyone()
        test = {}
        network = copy.deepcopy(self.setup.network)
        for which, path in (("last", self.folder.last), ("best", self.folder.best)):
            network.load_state_dict(load_file(path / "model.safetensors"))
            test[which] = self._score(network, self.setup.test_batches())
        line = self.metrics[-1]
        result = Result(
            folder=self.folder.path,
            metrics=self.metrics,
            test=test,
            best_epoch=self.best_epoch,
            flops=line["flops"],
            relative_flops=line["flops"] / line["full_flops"],
            seconds=line["seconds"],
        )
        if self.setup.accelerator.is_main_process:
            facts = dataclasses.asdict(result) | {"test": {which: scores.to_dict() for which, scores in test.items()}}
            del facts["folder"], facts["metrics"]
            self.folder.write_results(facts)
        self.reporter.finish(result.test, result.relative_flops, result.seconds, self.folder.path)
        return result

    def _network_to_show(self) -> nn.Module:
        """The network whose figures are taken and whose weights are kept: averaged and calibrated where wanted."""
        average, batches = self.setup.average, self.recipe.calibrate_batchnorm
        network: nn.Module = self.setup.network if average is None else average.module
        if batches:
            network = calibrate_batchnorm(copy.deepcopy(network), self.setup.calibration_batches(batches))
        elif self.setup.accelerator.num_processes > 1:
            # Each process gathers running statistics from its own images; the first one's are those that are kept.
            for buffer in network.buffers():
                torch.distributed.broadcast(buffer, src=0)
        return network

    def _score(self, network: nn.Module, batches: Iterator[tuple[Tensor, Tensor]]) -> Scores:
        from accelerate.utils import gather_object

        self._seed(self.epoch, self.step)  # for networks that draw where to look
        normalized = ((self.setup.normalize(images), labels) for images, labels in batches)
        own = collect(network, normalized, device=self.setup.device, precision=self.recipe.precision)
        parts = gather_object([own])
        return score(torch.cat([logits for logits, _ in parts]), torch.cat([labels for _, labels in parts]))

    # -- position -----------------------------------------------------------------------------------------------

    def _save_checkpoint(self) -> None:
        if not self.setup.accelerator.is_main_process:
            return
        scaler = self.setup.accelerator.scaler
        state = {
            "recipe": self.recipe.to_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "metrics": self.metrics,
            "sums": self._sums.to_dict() if self._sums else None,
            "model": self.setup.network.state_dict(),
            "average": self.setup.average.state_dict() if self.setup.average else None,
            "optimizer": self.optimizer.state_dict(),
            "objective": self.setup.objective.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
            "rng": torch.get_rng_state(),
        }
        save_checkpoint(self.folder.path, state)

    def restore(self) -> None:
        """Go back to the position of the folder's newest checkpoint; to the start where there is none.

        Raises:
            CheckpointError: no checkpoint can be read.
        """
        state = load_checkpoint(self.folder.path)
        if state is None:
            return
        self.epoch, self.step, self.metrics = state["epoch"], state["step"], state["metrics"]
        self._sums = Sums.start(self.setup.device, state["sums"]) if state["sums"] else None
        self.setup.network.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.setup.objective.load_state_dict(state["objective"])
        torch.set_rng_state(state["rng"])
        if self.setup.average is not None:
            self.setup.average.load_state_dict(state["average"])
        if self.setup.accelerator.scaler is not None:
            self.setup.accelerator.scaler.load_state_dict(state["scaler"])
        self._write_log()  # a kill may have come after the checkpoint and before its line

    # -- small parts --------------------------------------------------------------------------------------------

    def _new_optimizer(self) -> Any:
        return self.setup.accelerator.prepare(
            make_optimizer(self.setup.network, self.recipe.optimizer, self.setup.rates)
        )

    def _set_learning_rates(self, peaks: list[float], scale: float, progress: float) -> None:
        """Set the rates of the optimiser's groups, whose peaks these are, for a share of training done."""
        for group, peak in zip(self.optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * (scale * share_of_peak(self.recipe.schedule, progress, peak))

    def _seed(self, epoch: int, step: int) -> None:
        """Set every generator that networks and libraries draw from, so that no state needs to be carried along."""
        seed = derive_seed(self.recipe.seed, epoch, step, self.setup.accelerator.process_index)
        torch.manual_seed(seed)
        if self.mixer is not None:
            np.random.seed(seed % 2**32)  # noqa: NPY002  timm's Mixup draws from it

    def _reduce(self, value: float) -> float:
        if self.setup.accelerator.num_processes == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.setup.device)
        return float(self.setup.accelerator.reduce(tensor, reduction="sum").item())

    @contextlib.contextmanager
    def _explained(self, epoch: int, step: int, stage: Stage, images: Tensor) -> Iterator[None]:
        """Turn what goes wrong inside a step into one error that says where, and what to do."""
        where = f"epoch {epoch}, step {step}, stage '{stage.name}'"
        try:
            yield
        except TrainingError as error:
            raise TrainingError(
                f"Training stopped at {where}: {error}. Lower the learning rate, clip gradients "
                "(optimizer.clip_norm), or use fp32; --resume goes on from the last checkpoint."
            ) from None
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
                raise
            raise TrainingError(
                f"Out of memory at {where}: a batch of {len(images)} images of {stage.pixels(self.setup.image_size)} "
                f"px. Lower batch_size, or raise accumulation above {self.recipe.accumulation}."
            ) from error
