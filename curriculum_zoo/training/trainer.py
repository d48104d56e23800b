"""A training run in progress: its loop, what it measures, and its position, which can be saved and restored."""

from __future__ import annotations

import contextlib
import copy
import functools
import signal
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..curricula import Stage
from ..curricula.samples.run_scores import RunScores
from ..data import Batch
from ..data.loading.loader import Loader
from ..errors import TrainingError, TrainingInterrupted
from ..evaluation.calibrate import calibrate_batchnorm
from ..evaluation.metrics import Scores, collect, score
from ..recipes.schedule import share_of_peak
from ..runs.folder import RunFolder
from ..seeding import derive_seed
from ..views import View
from ..weights.folder import Which
from .accelerator import on_main_process
from .checkpoint_interval import CheckpointInterval
from .environment import environment, unchanging
from .epoch_metrics import metrics_line
from .epoch_totals import EpochTotals
from .input_pipeline import InputPipeline
from .interruption import Interruption
from .out_of_memory import advice, is_out_of_memory, most_that_fit
from .peak_memory import reset_peak_memory
from .progress import Reporter
from .result import Result, best_epoch, measured
from .run_files import WRITING_SECONDS, RunFiles
from .run_parts import RunParts
from .samples import chosen, image_stages, look
from .step_guard import first_breakdown
from .train_step import TrainStep

__all__ = ["CHECK_EVERY", "HEARD_SECONDS", "Trainer"]

CHECK_EVERY = 50
"""Most steps after which the host asks the device whether all went well, and writes a checkpoint where it is time."""

HEARD_SECONDS = 5.0
"""Time in which several processes agree that one of them was interrupted; torchrun kills those that take 30."""


class Trainer:
    """One run in progress: its position, its optimiser, and what it measured so far.

    Args:
        parts: everything the run consists of, checked.
        folder: where it leaves its traces.
        reporter: shows progress.
        interval: longest time without a checkpoint, but for the steps between two checks, and most steps.
        interruption: says whether the run is to end early.

    Attributes:
        epoch: number of the present epoch, or of the next one between two.
        step: steps of it that are done.
        metrics: a line per epoch that is done.
    """

    def __init__(
        self,
        parts: RunParts,
        folder: RunFolder,
        reporter: Reporter,
        interval: CheckpointInterval | None = None,
        interruption: Interruption | None = None,
    ) -> None:
        self.parts = parts
        self.recipe = parts.recipe
        self.folder = folder
        self.reporter = reporter
        self.epoch = 0
        self.step = 0
        self.metrics: list[dict[str, Any]] = []
        rules = [stage.samples for stage in parts.curriculum.stages()]
        self._scores = RunScores(torch.from_numpy(parts.train_indices), rules)
        self.train_step = TrainStep(parts, self._scores)
        self._pipeline = InputPipeline(parts.recipe, parts.normalize, parts.num_classes)
        self._files = RunFiles(folder, f"{self.recipe.model}, {self.recipe.curriculum}")
        self._totals: EpochTotals | None = None
        self._interval = interval or CheckpointInterval()
        self._interruption = interruption or Interruption()
        self._together = parts.accelerator.num_processes > 1
        self._unwritten_steps = 0  # since the last checkpoint
        self._next_check = 0
        self._checked = 0, time.monotonic()
        self._image_stages: list[tuple[Stage, int]] = []

    # -- the run ------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        """Train from the present position to the end."""
        if self.parts.accelerator.is_main_process:  # repeats take time to find
            self.reporter.describe_data([*self.parts.data_set.layout, *self.parts.data_set.repeats])
        self.reporter.start(self.recipe, self.folder.path, self.epoch)
        reset_peak_memory(self.parts.device)
        with contextlib.closing(self.reporter), contextlib.closing(self.parts.loaders):
            for epoch in range(self.epoch, self.recipe.epochs):
                stage = self.parts.curriculum.stage(epoch)
                self._train_epoch(stage)
                self._finish_epoch(stage)
            return self._finish_run()

    def _train_epoch(self, stage: Stage) -> None:
        loader = self.parts.loaders.training(stage)
        if stage.fresh_optimizer and self.step == 0:
            self.train_step.renew_optimizer()
        totals = self._totals = self._totals or EpochTotals()
        self.parts.trained.train()
        peaks = self.parts.rates.in_stage(stage, self.train_step.optimizer.param_groups)
        # Photographs come at the stage's size already.
        with stage.at_full_size(self.parts.image_size).applied_to(self.parts.network) as view:
            started = time.perf_counter()
            loader = self._chosen(loader, stage, view)
            self.reporter.start_epoch(self.epoch, stage, loader.steps, self.step)
            # Several processes must all end at the same step, which they agree on in a check.
            batches = loader.batches(self.epoch, start=self.step)
            batches = batches if self._together else self._until_interrupted(batches)
            self._plan_check()
            for step, batch in enumerate(batches, self.step):
                self._seed(step)
                here = stage.at_step(step)
                _, scale = self.parts.loaders.scaled_batch(here)
                self._set_learning_rates(peaks, scale, (self.epoch + step / loader.steps) / self.recipe.epochs)
                images = targets = None
                try:
                    shown = view if here is stage else here.at_full_size(self.parts.image_size).view
                    images, targets = self._pipeline(batch, here, shown, self.epoch)
                    self.train_step(images, targets, batch, stage, step, totals)
                except (torch.OutOfMemoryError, RuntimeError) as error:
                    if not is_out_of_memory(error):
                        raise
                    raise self._out_of_memory(step, here, batch, images, targets) from None
                now = time.perf_counter()
                totals.seconds += now - started
                started = now
                self.step = step + 1
                self._unwritten_steps += 1
                self.reporter.step(totals.images, totals.seconds, totals.loss_and_accuracy)
                if self._next_check <= self.step < loader.steps and self._check(stage):
                    self._write()
                    started = time.perf_counter()
            self._image_stages = image_stages(loader, stage)
            self._check(stage)
            totals.read()  # the device may still be at work
            totals.seconds += time.perf_counter() - started

    def _chosen(self, loader: Loader, stage: Stage, view: View) -> Loader:
        """The loader of the images that the epoch sees, after a look at all of them where the stage wants one."""
        if stage.samples is not None and stage.samples.looks and self.step == 0:
            notes = look(
                self.parts, loader, stage, self.epoch, lambda batch: self._pipeline(batch, stage, view, self.epoch)
            )
            self._scores.merge(self._gathered(notes.fresh()))
        return chosen(loader, stage, self._scores)

    def _check(self, stage: Stage) -> bool:
        """Return whether it is time for a checkpoint; this waits for the device, and for all processes.

        Raises:
            TrainingError: numbers were not finite, on any process.
            TrainingInterrupted: any process was interrupted; a checkpoint is written.
        """
        due = self._interval.reached(self._files.age, self._unwritten_steps)
        readings = self._gathered(
            (self.train_step.guard.read(), due, self._steps_a_hearing(), self._interruption.signal)
        )
        breakdown = first_breakdown(reading for reading, *_ in readings)
        if breakdown is not None:
            raise TrainingError(
                f"Training stopped at epoch {self.epoch}, step {breakdown.step}, stage '{stage.name}': "
                f"{breakdown.cause}. Lower the learning rate, clip gradients (optimizer.clip_norm), use fp32, or leave "
                f"up to {self.recipe.nonfinite_limit} such steps out by on_nonfinite=skip; --resume goes on from the "
                "last checkpoint."
            )
        self._end_if_interrupted(number for *_, number in readings)
        _, due, steps, _ = readings[0]
        self._plan_check(steps)
        return bool(due)

    def _plan_check(self, most: int | None = None) -> None:
        """Plan the next check, at the same step on all processes; where there are several, soon at first.

        Args:
            most: steps until then, at most.
        """
        usual = 1 if self._together and most is None else CHECK_EVERY
        bounds = (usual, most, self._interval.most_steps(self._unwritten_steps))
        self._next_check = self.step + min(bound for bound in bounds if bound is not None)
        self._checked = self.step, time.monotonic()

    def _steps_a_hearing(self) -> int | None:
        """The steps, at least 1, in which several processes hear of an interruption in time; None for one process."""
        step, then = self._checked
        seconds = max(time.monotonic() - then, 1e-9)
        return max(1, int(HEARD_SECONDS * (self.step - step) / seconds)) if self._together else None

    # -- interruptions ------------------------------------------------------------------------------------------

    def _until_interrupted(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield batches up to the one that is at work when this process is interrupted."""
        given = False
        try:
            for batch in batches:
                yield batch
                given = True
                if self._interruption.signal is not None:
                    return
        except TrainingError:
            # The processes that read images may have been interrupted too, and died of it.
            if self._interruption.signal is None or not given:
                raise

    def _end_if_interrupted(self, signals: Iterable[int | None]) -> None:
        """Write a checkpoint and end the run where any process was interrupted.

        Args:
            signals: the signal of each process that was, None for the others.

        Raises:
            TrainingInterrupted: one was.
        """
        if (number := next((number for number in signals if number is not None), None)) is None:
            return
        self._write()
        self.parts.accelerator.wait_for_everyone()
        raise TrainingInterrupted(
            f"Training was interrupted by {signal.Signals(number).name} at epoch {self.epoch}, step {self.step}; its "
            f"checkpoint is in {self.folder.path}.",
            number,
        )

    # -- after an epoch, after the run --------------------------------------------------------------------------

    def _finish_epoch(self, stage: Stage) -> None:
        assert self._totals is not None
        totals = EpochTotals.summed(self._gathered(self._totals.to_dict()))
        if self._scores.any:
            self._scores.merge(self._gathered(self._scores.fresh()))
        network = self._network_to_show()
        held_out = self.parts.loaders.validation()
        validation = self._score(network, held_out) if held_out else None
        line = metrics_line(self.parts, self.epoch, stage, self._image_stages, totals, validation, self.metrics)
        line["lr"] = max(group["lr"] for group in self.train_step.optimizer.param_groups)
        if self.recipe.on_nonfinite == "skip":
            line["skipped_steps"] = self.train_step.guard.skipped
        self.metrics.append(line)
        done = self.epoch
        self.epoch, self.step, self._totals = done + 1, 0, None
        if self.parts.accelerator.is_main_process:
            which: list[Which] = ["last", "best"] if self.best_epoch == done else ["last"]
            facts = {"recipe": self.recipe.to_dict(), "epoch": done, "metrics": self.metrics[-1]}
            self._files.hold(which, network.state_dict(), self.parts.config(facts))
        age, steps = self._files.age, self._unwritten_steps
        due = age >= WRITING_SECONDS or self._interval.reached(age, steps) or self.epoch == self.recipe.epochs
        if self._gathered(due)[0]:
            self._write()
            self._list_skipped()
        self.reporter.end_epoch(self.metrics[-1])

    @property
    def best_epoch(self) -> int:
        """The best epoch so far on validation images; the last one where none are held out."""
        return best_epoch(self.metrics, self.recipe.best)

    def _finish_run(self) -> Result:
        """Take the figures on the test images: of the last weights, and of the best epoch's."""
        from safetensors.torch import load_file

        self.parts.accelerator.wait_for_everyone()
        test = {}
        network = copy.deepcopy(self.parts.network)
        for which, path in (("last", self.folder.last), ("best", self.folder.best)):
            network.load_state_dict(load_file(path / "model.safetensors"))
            test[which] = self._score(network, self.parts.loaders.test())
        if self.recipe.validation and not any(map(measured, self.metrics)):
            warnings.warn(
                f"{self.folder.path}: in no epoch the loss on validation images was a finite number, so that none is "
                "the best: best/ holds the last one's weights. Lower the learning rate, or clip gradients.",
                stacklevel=2,
            )
        result = Result.of(self.folder.path, self.metrics, test, self.best_epoch)
        on_main_process(self.parts.accelerator, lambda: self.folder.write_results(result.to_dict()))
        self.reporter.finish(result.test, result.relative_flops, result.seconds, self.folder.path)
        return result

    def _network_to_show(self) -> nn.Module:
        """The network whose figures are taken and whose weights are kept: averaged and calibrated where wanted."""
        average, batches = self.parts.average, self.recipe.calibrate_batchnorm
        network: nn.Module = self.parts.network if average is None else average.module
        if batches:
            images = map(self.parts.normalize, self.parts.loaders.calibration(batches))
            network = calibrate_batchnorm(copy.deepcopy(network), images)
        elif self.parts.accelerator.num_processes > 1:
            # Each process gathers running statistics from its own images; the first one's are those that are kept.
            for buffer in network.buffers():
                torch.distributed.broadcast(buffer, src=0)
        return network

    def _score(self, network: nn.Module, batches: Iterator[Batch]) -> Scores:
        self._seed(self.step)  # for networks that draw where to look
        batches = self._until_interrupted(batches)
        normalized = ((self.parts.normalize(batch.images), batch.labels) for batch in batches)
        own = collect(network, normalized, device=self.parts.device, precision=self.recipe.precision)
        shares = self._gathered((*own, self._interruption.signal))
        self._end_if_interrupted(number for *_, number in shares)
        logits, labels, _ = zip(*shares, strict=True)
        return score(torch.cat(logits), torch.cat(labels))

    def _list_skipped(self) -> None:
        """List the images that any process left out."""
        if self.recipe.photos.on_bad_image == "skip":
            shares = self._gathered(self.parts.loaders.factory.skipped)
            if self.parts.accelerator.is_main_process:
                self.folder.write_skipped({name: reason for share in shares for name, reason in share.items()})

    # -- position -----------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """Write all that is due, on the first process; the others hand in their totals of the epoch."""
        totals = self._gathered(self._totals.to_dict()) if self._totals else None
        notes = self._gathered(self._scores.fresh()) if self._scores.any else None

        def write() -> None:
            state = self._state(totals)
            if notes is not None:
                state["samples"] = self._scores.state_dict(notes)
            self._files.write(state, self.metrics)

        on_main_process(self.parts.accelerator, write)
        self._unwritten_steps = 0

    def _state(self, totals: list[dict[str, float]] | None) -> dict[str, Any]:
        """The checkpoint: everything that the rest of the run depends on, and by which it is known."""
        return {
            "recipe": self.recipe.to_dict(),
            "unchanging": self._unchanging,
            "epoch": self.epoch,
            "step": self.step,
            "metrics": self.metrics,
            "totals": totals,
            "model": self.parts.network.state_dict(),
            "average": self.parts.average.state_dict() if self.parts.average else None,
            "objective": self.parts.objective.state_dict(),
            **self.train_step.state_dict(),
        }

    @functools.cached_property
    def _unchanging(self) -> dict[str, Any]:
        return unchanging(environment(self.parts))

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the position of a checkpoint, which another number of processes may have written.

        Args:
            state: the checkpoint.
        """
        accelerator = self.parts.accelerator
        self.epoch, self.step, self.metrics = state["epoch"], state["step"], state["metrics"]
        if state["totals"]:
            self._totals = EpochTotals.share(state["totals"], accelerator.process_index, accelerator.num_processes)
        self.parts.network.load_state_dict(state["model"])
        self.parts.objective.load_state_dict(state["objective"])
        self.train_step.load_state_dict(state)
        if self._scores.any:
            self._scores.load_state_dict(state["samples"])
        if self.parts.average is not None:
            self.parts.average.load_state_dict(state["average"])
        if accelerator.is_main_process:
            self._files.write_log(self.metrics)  # a kill may have come after the checkpoint and before its line

    # -- small parts --------------------------------------------------------------------------------------------

    def _set_learning_rates(self, peaks: list[float], scale: float, progress: float) -> None:
        """Set the rates of the optimiser's groups, whose peaks these are, for a share of training done."""
        for group, peak in zip(self.train_step.optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * (scale * share_of_peak(self.recipe.schedule, progress, peak))

    def _seed(self, step: int) -> None:
        """Seed what networks draw from, at each step, so that no generator's state needs to be carried along."""
        torch.manual_seed(derive_seed(self.recipe.seed, self.epoch, step, self.parts.accelerator.process_index))

    def _gathered(self, value: Any) -> list[Any]:
        """The values of all processes, in their order."""
        from accelerate.utils import gather_object

        return cast("list[Any]", gather_object([value]))

    def _out_of_memory(
        self, step: int, stage: Stage, batch: Batch, images: Tensor | None, targets: Tensor | None
    ) -> TrainingError:
        """The error for exhausted memory in a step; what would fit is found by trying, where no other process waits."""
        accumulation, count, fits = self.recipe.accumulation, len(batch.images), None
        if images is not None and targets is not None and not self._together:
            pair, attempt = (images, targets), self.train_step.attempt
            fits = most_that_fit(lambda n: attempt(pair[0][:n], pair[1][:n], stage), -(-count // accumulation))
        return TrainingError(
            f"Out of memory at epoch {self.epoch}, step {step}, stage '{stage.name}': a batch of {count} images of "
            f"{stage.pixels(self.parts.image_size)} px{f', in {accumulation} parts' if accumulation > 1 else ''}. "
            f"{advice(self.recipe.batch_size, accumulation, count, fits)}"
        )
