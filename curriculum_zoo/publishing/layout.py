"""A run laid out as its repository on the Hub: what is fit to be published, in the files that others will see.

A repository holds ``README.md`` (the card), ``config.json``, ``model.safetensors``, ``recipe.json``, ``metrics.jsonl``,
``curves.png``, ``comparison.png`` where other runs stand beside it, and one evaluation file. Nothing in it says where
anything lies on the machine that trained: of data files and folders the name alone is kept.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..documents import read_json
from ..errors import PublishError
from ..runs.record import CURVES, METRICS, RECIPE
from ..weights.config import CONFIG
from ..weights.folder import Which
from ..weights.released import list_weights
from ..weights.stored import WEIGHTS
from .card import CARD, EVAL_RESULTS, eval_results, license_of, write_card
from .finished_run import COMPARISON, FinishedRun, loaded
from .previous_card import read_card

__all__ = ["File", "Layout", "lay_out", "release"]


@dataclass(frozen=True)
class File:
    """A file to publish.

    Attributes:
        content: its bytes, or the path of a large one.
    """

    content: bytes | Path

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @property
    def sha256(self) -> str:
        """What large-file storage knows it by."""
        return self._digest(hashlib.sha256())

    @property
    def git_blob(self) -> str:
        """What git knows it by."""
        return self._digest(hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False))

    def bytes(self) -> bytes:
        """Return the content itself."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()

    def _digest(self, digest: Any) -> str:
        if isinstance(self.content, bytes):
            digest.update(self.content)
        else:
            with self.content.open("rb") as file:
                while chunk := file.read(2**20):
                    digest.update(chunk)
        return str(digest.hexdigest())


@dataclass(frozen=True)
class Layout:
    """A repository's content, but for the card, which depends on where it goes and what stands there.

    Attributes:
        config: the content of its ``config.json``, with all facts.
        others: its files beside config and card, by path.
        written: the text of the card that it has already; None where it has none.
        license: of the weights, where their publisher said so.
    """

    config: Mapping[str, Any]
    others: Mapping[str, File]
    written: str | None = None
    license: str | None = None

    @property
    def weights(self) -> Path:
        """Where the tensors lie."""
        content = self.others[WEIGHTS].content
        assert isinstance(content, Path)
        return content

    def settled(self, previous: str | None) -> Layout:
        """With the licence in the config: the publisher's, else that of the previous card or config, else MIT."""
        config = copy.deepcopy(dict(self.config))
        before = license_of(previous) if previous else None
        cfg = config["pretrained_cfg"]
        cfg["license"] = self.license or before or cfg.get("license") or "mit"
        return replace(self, config=config)

    def files(
        self, *, name: str, loads: str, hub_id: str | None = None, previous: str | None = None
    ) -> dict[str, File]:
        """Return all files, keyed by path.

        Args:
            name: the weights' name, the card's title.
            loads: what `create_model` takes to load them.
            hub_id: ``owner/name`` of their repository; None where they have none.
            previous: the card to bring up to date; the one that the layout came with where None.

        Raises:
            PublishError: the previous card cannot be read.
        """
        before = self.written if previous is None else previous
        config = self.settled(before).config
        card = write_card(config, name=name, loads=loads, hub_id=hub_id, previous=before)
        evaluation = eval_results(config)
        files = {
            CARD: File(card.encode()),
            CONFIG: File((json.dumps(config, indent=2) + "\n").encode()),
            **self.others,
        }
        return files if evaluation is None else {**files, EVAL_RESULTS: File(evaluation.encode())}


def lay_out(
    run: str | Path,
    *,
    which: Which = "best",
    data: str | None = None,
    license: str | None = None,
    runs: Sequence[str | Path] = (),
    baselines: Sequence[str | Path] = (),
    evaluations: Sequence[str | Path] = (),
) -> Layout:
    """Check a run and lay it out.

    Args:
        run: the folder of a finished run, or a folder that is laid out already, which is then checked and taken as it
            is but for its card.
        which: which of the run's weights.
        data: the name that others know the data by, as ``cifar10`` for a run on ``npz:cifar10.npz``. It is the
            publisher who says so: a file's name proves nothing.
        license: identifier of the weights' licence, as the Hub has it; where None, that of the card that is brought up
            to date, or else ``mit``.
        runs: folders of further runs by the same recipe with other seeds, for the spread.
        baselines: folders of runs to compare with; the card says what their recipes have different.
        evaluations: files that ``curriculum-zoo evaluate --json`` wrote of these weights: at other resolutions, or the
            mean of many for a network that looks at random.

    Raises:
        PublishError: the run is not finished, its parts do not belong together, or runs are not comparable.
        CurriculumZooError: recipe, config or weights are damaged, or the weights do not fit their network.
    """
    run = Path(run)
    if (run / CONFIG).is_file():
        if which != "best" or data or license or runs or baselines or evaluations:
            raise PublishError(f"{run} is laid out already, and its facts are settled. Lay its run's folder out again.")
        return _laid_out(run)
    config, files = FinishedRun.read(run, which).content(
        data=data,
        runs=[FinishedRun.read(Path(path), which) for path in runs],
        baselines=[FinishedRun.read(Path(path), which) for path in baselines],
        evaluations=evaluations,
    )
    return Layout(config, {path: File(content) for path, content in files.items()}, license=license)


def _laid_out(folder: Path) -> Layout:
    for name in (CARD, WEIGHTS, RECIPE, METRICS):
        if not (folder / name).is_file():
            raise PublishError(f"{folder} is no folder of released weights: {name} is missing. Give a run's folder.")
    loaded(folder)
    config = read_json(folder / CONFIG)
    names = (WEIGHTS, RECIPE, METRICS, CURVES, COMPARISON)
    others = {name: File(folder / name) for name in names if (folder / name).is_file()}
    return Layout(config, others, read_card(folder / CARD))


def release(run: str | Path, folder: str | Path, *, update: bool = False, **options: Any) -> list[str]:
    """Lay a run out as released weights, in a folder ``model_cards/<architecture>.<tag>``.

    Each file is replaced whole. Text of the card that was written by hand is kept.

    Args:
        run: the folder of a finished run, or a laid-out one, whose card is then written again.
        folder: where to; its name is the weights' name.
        update: whether files that are there may be replaced.
        **options: those of `lay_out`.

    Returns:
        The files written, removed ones included; empty where all was there already.

    Raises:
        PublishError: the folder has another name, holds other files and `update` is off, or cannot be written to; and
            all that `lay_out` raises.
    """
    layout, folder = lay_out(run, **options), Path(folder)
    architecture = layout.config["architecture"]
    name = folder.resolve().name
    if not re.fullmatch(rf"{re.escape(architecture)}\.\w[\w-]*", name):
        raise PublishError(f"{folder} is no folder for these weights: its name must be '{architecture}.TAG'.")
    card = folder / CARD
    previous = read_card(card) if card.is_file() else None
    hub_id = next((known.hub_id for known in list_weights(name)), None)
    files = layout.files(name=name, loads=name, hub_id=hub_id, previous=previous)
    changed = [
        path
        for path, file in files.items()
        if not (folder / path).is_file() or (folder / path).read_bytes() != file.bytes()
    ]
    gone = [path for path in (EVAL_RESULTS, COMPARISON) if path not in files and (folder / path).is_file()]
    if (replaced := [path for path in (*changed, *gone) if (folder / path).exists()]) and not update:
        raise PublishError(f"{folder} holds {', '.join(replaced)} already, and others. --update replaces them.")
    try:
        for path in changed:
            content = files[path].bytes()
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            temporary = (folder / path).with_name(f"{Path(path).name}.tmp")
            temporary.write_bytes(content)
            temporary.replace(folder / path)
        for path in gone:
            (folder / path).unlink()
    except OSError as error:
        raise PublishError(f"{folder} cannot be written to: {error}. Choose another folder, or make room.") from error
    return [*changed, *gone]
