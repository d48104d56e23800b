"""`compare`: run what is left of a comparison, wherever that is, and report what there is."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, ComparisonError
from ..files import replace_file
from ..recipes import Recipe
from ..runs.record import RECIPE, RunRecord
from .arms import Arm, Cell, ablated, cells_of, fingerprint, stated_arms
from .cell import FAILURE, forget_data, open_once, run_cell
from .conditions import read_evaluations
from .folder import ComparisonFolder
from .grid import Grid
from .matching import FlopsCounter, with_matched
from .outcomes import failure_of
from .writing import write_report

if TYPE_CHECKING:
    from ..training.run_parts import RunParts
    from .report import Report

__all__ = ["compare"]

RETRIES = 3
"""How often a cell is run again whose worker was lost."""


def compare(
    grid: Grid | None = None,
    folder: str | Path = "runs/comparison",
    *,
    executor: Executor | None = None,
    data_root: str | Path = "data",
    download: bool = False,
    device: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    checkpoint_minutes: float = 10.0,
    shown: bool = True,
) -> Report:
    """Run all cells of a grid that are not finished yet, and report them.

    Cells that are finished are read, those that were interrupted go on from their checkpoint, those that failed before
    are tried again, and one that fails is reported while the others go on. Ctrl-C leaves all of it to be resumed.

    Args:
        grid: what to compare; what the folder states where None.
        folder: where the comparison lies, a run folder for each cell in it.
        executor: runs the cells, as many at a time as it likes; one after the other in this process where None. It is
            not shut down. Its workers must see the same files, and know by import what the grid names.
        data_root: folder of data sets that are known by name.
        download: whether a missing data set may be downloaded there.
        device: ``cpu``, ``cuda``, …; the best there is where None.
        workers: processes that read image files which are not kept in memory.
        threads: that compute on the processor in each cell; as many as its process has where None.
        checkpoint_minutes: longest time without a checkpoint.
        shown: whether progress is shown.

    Raises:
        CurriculumZooError: the grid makes no sense, changes what was stated before finished runs, or there is none.
    """
    place = ComparisonFolder(Path(folder).absolute())
    if grid is None:
        statement = place.read()
        if statement is None:
            raise ComparisonError(f"{folder} holds no comparison. State one: a grid, or models, data and curricula.")
        grid = statement.grid
    open_data = functools.partial(open_once, data_root=data_root, download=download)
    arms = _plan(grid, place, functools.partial(_prepare, open_data, data_root, download, device, workers))
    options: dict[str, Any] = {
        "which": grid.figure,
        "conditions": [condition.to_dict() for condition in grid.evaluate],
        "data_root": str(data_root),
        "download": download,
        "device": device,
        "workers": workers,
        "checkpoint_minutes": checkpoint_minutes,
        "threads": threads,
        "directory": os.getcwd(),
    }
    progress = _Progress(arms, place, grid, shown)
    try:
        left = [cell for cell in cells_of(arms) if not progress.finished(cell)]
        if executor is None:
            for cell in left:
                progress.begin(cell)
                folder = str(place.run_folder(cell))
                progress.end(cell, run_cell(folder, cell.recipe.to_dict(), **options, shown=shown))
        else:
            _run_all(left, executor, options, place, progress)
    finally:
        forget_data()
    return write_report(place.path)


def _plan(grid: Grid, place: ComparisonFolder, prepare: Callable[[Recipe], RunParts]) -> list[Arm]:
    """All arms of a grid, stated and planned in its folder."""
    arms = stated_arms(grid)
    if grid.ablate:
        arms += ablated(arms)
    statement = place.state(grid)
    known = {cell.fingerprint: cell.flops for arm in statement.arms for cell in arm.cells if cell.flops is not None}
    counter = FlopsCounter(prepare, known)
    if grid.matched:
        arms = with_matched(arms, counter)
        for arm in arms:
            for recipe in arm.recipes.values():
                counter(recipe)
    place.plan(arms, counter.known)
    return arms


def _prepare(
    open_data: Callable[[Recipe], Any],
    data_root: str | Path,
    download: bool,
    device: str | None,
    workers: int | None,
    recipe: Recipe,
) -> RunParts:
    from ..training.prepare import prepare

    data = open_data(recipe)
    return prepare(recipe, data=data, data_root=data_root, download=download, device=device, workers=workers)


def _run_all(
    cells: list[Cell], executor: Executor, options: dict[str, Any], place: ComparisonFolder, progress: _Progress
) -> None:
    """Run cells on an executor, those again whose worker was lost."""
    losses: Counter[str] = Counter()
    running: dict[Future[bool], Cell] = {}

    def submit(cell: Cell) -> None:
        folder = place.run_folder(cell)
        try:
            running[executor.submit(run_cell, str(folder), cell.recipe.to_dict(), **options)] = cell
        except BrokenExecutor as error:
            raise ComparisonError(
                f"The executor takes no more work, as it lost a worker ({error}). Run the comparison again with "
                "another one: what is done is kept, and the rest goes on."
            ) from error

    with _cancelled_on_interrupt(executor, running):
        for cell in cells:
            submit(cell)
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                cell = running.pop(future)
                error = future.exception()
                if error is None:
                    progress.end(cell, future.result())
                elif losses[cell.folder_name] < RETRIES:
                    losses[cell.folder_name] += 1
                    progress.lost(cell, error)
                    submit(cell)
                else:
                    _give_up(place.run_folder(cell), error)
                    progress.end(cell, False)


@contextlib.contextmanager
def _cancelled_on_interrupt(executor: Executor, running: dict[Future[bool], Cell]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for future in running:
            future.cancel()
        raise


def _give_up(folder: Path, error: BaseException) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    message = f"its worker was lost {RETRIES + 1} times, at last by: {error}"
    failure = {"error": type(error).__name__, "message": message, "traceback": "", "when": ""}
    replace_file(folder / FAILURE, json.dumps(failure, indent=2) + "\n")


class _Progress:
    """What a person sees of a comparison that runs, and which of its cells are finished."""

    def __init__(self, arms: list[Arm], place: ComparisonFolder, grid: Grid, shown: bool) -> None:
        self._place, self._grid, self._shown = place, grid, shown
        self._count = len(cells_of(arms))
        self._done = 0
        self._ran = 0
        self._started = time.monotonic()

    def finished(self, cell: Cell) -> bool:
        """Whether nothing of a cell is left to do."""
        folder = self._place.run_folder(cell)
        if not (folder / RECIPE).is_file() or not (record := RunRecord.read(folder)).finished:
            return False
        if fingerprint(record.recipe) != fingerprint(cell.recipe):
            raise CheckpointError(
                f"{folder} holds another run than its name says. Put its recipe.json back, or remove the folder."
            )
        known = [(line["condition"], line["which"]) for line in read_evaluations(folder)]
        wanted = [(condition.to_dict(), self._grid.figure) for condition in self._grid.evaluate]
        done = all(one in known for one in wanted)
        self._done += done
        return done

    def begin(self, cell: Cell) -> None:
        """A cell begins in this process."""
        self._print(f"[{self._done + 1}/{self._count}] {cell.arm}, seed {cell.seed}")

    def end(self, cell: Cell, finished: bool) -> None:
        """A cell has ended."""
        self._done += 1
        self._ran += 1
        name = f"[{self._done}/{self._count}] {cell.arm}, seed {cell.seed}"
        folder = self._place.run_folder(cell)
        if not finished:
            self._print(f"{name} failed: {failure_of(folder)}")
            return
        results = RunRecord.read(folder).finished_results()
        passed = time.monotonic() - self._started
        left = passed / self._ran * (self._count - self._done)
        self._print(
            f"{name}: test accuracy {results.top1(self._grid.figure):.2%}, {results.flops / 1e12:.3g} TFLOPs, "
            f"{results.seconds:.0f} s; about {left / 60:.0f} min left"
        )

    def lost(self, cell: Cell, error: BaseException) -> None:
        """A cell's worker was lost, and the cell is run again."""
        self._print(f"{cell.arm}, seed {cell.seed}: its worker was lost ({type(error).__name__}); it goes on elsewhere")

    def _print(self, text: str) -> None:
        if self._shown:
            print(text, flush=True)
