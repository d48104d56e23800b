"""Opens every damaged file in this process, under a limit of memory, and prints what became of each as JSON.

    python tests/hostile/open_all.py FOLDER

Audited all the while: files opened for writing, renamed or removed, programs started, connections made.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from damaged import CANARY, POSIX
from damaged_files import FILES

HEADROOM = 2**30
"""Bytes of address space that all openings together may take beyond what is loaded before."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGING = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
STARTING = ("os.system", "os.exec", "os.posix_spawn", "os.startfile", "subprocess.Popen", "socket.connect")


def openers() -> dict[str, Callable[[Path], object]]:
    """What opens files of each kind, as users do; all that they import is loaded here."""
    from curriculum_zoo import create_model, load_recipe
    from curriculum_zoo.comparison.folder import ComparisonFolder
    from curriculum_zoo.comparison.grid import Grid
    from curriculum_zoo.data import open_dataset, read_image
    from curriculum_zoo.data.decoding.image_file import ImageReader, read_bytes
    from curriculum_zoo.errors import DataError
    from curriculum_zoo.runs.checkpoint import load_checkpoint
    from curriculum_zoo.runs.record import RunRecord

    def image(path: Path) -> None:
        """By both ways that images are decoded, which must agree."""
        try:
            reader = ImageReader(read_bytes(path), str(path))
            reader.region((0, 0, *reader.size), (32, 32))
        except DataError:
            read_image(path, image_size=32)
        else:
            raise AssertionError("a reader takes it")

    def stored(folder: Path) -> object:
        return create_model(f"local-dir:{folder}", pretrained=True)

    return {
        "safetensors": stored,
        "config": stored,
        "state dict": lambda path: create_model("simple_cnn", num_classes=3, warm_start=str(path)),
        "recipe": load_recipe,
        "comparison file": Grid.load,
        "comparison folder": lambda folder: ComparisonFolder(folder).read(),
        "run": RunRecord.read,
        "checkpoint": load_checkpoint,
        "npz": lambda path: open_dataset(f"npz:{path}"),
        "image": image,
        "folder": lambda path: open_dataset(f"folder:{path}"),
    }


class Audit:
    """What this process does to files and to other processes, while it is asked for."""

    def __init__(self) -> None:
        self.seen: list[str] | None = None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.seen is None:
            return
        if event == "open" and isinstance(args[2], int) and args[2] & WRITING:
            self.seen.append(f"open {args[0]} {args[1]}")
        elif event in CHANGING or event in STARTING:
            self.seen.append(f"{event} {args[0]}")


def peak_memory() -> int:
    """The most memory that this process has had so far, in bytes; 0 where that cannot be asked."""
    if not POSIX:
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def limit_memory() -> None:
    """From here on, address space grows by `HEADROOM` at most; on Linux alone, where that is counted rightly."""
    statistics = Path("/proc/self/statm")
    if statistics.exists():
        import resource

        size = int(statistics.read_text().split()[0]) * resource.getpagesize() + HEADROOM
        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main(top: Path) -> None:
    warnings.simplefilter("ignore")
    opened_by = openers()
    made = {}
    for number, damaged in enumerate(FILES):
        if damaged.posix and not POSIX:
            continue
        folder = top / f"{number:03}"
        folder.mkdir()
        made[number] = folder, damaged.make(folder)
    audit = Audit()
    limit_memory()
    results: dict[int, dict[str, Any]] = {}
    for number, (folder, path) in made.items():
        before, sys.path[:0] = peak_memory(), [str(folder)]
        audit.seen = seen = []
        error = None
        try:
            opened_by[FILES[number].kind](path)
        except Exception as raised:  # the test tells which of them are right
            error = raised
        audit.seen = None
        del sys.path[0]
        results[number] = {
            "error": type(error).__name__,
            "message": str(error),
            "path": str(path),
            "did": seen,
            "ran": (folder / CANARY).exists(),
            "memory": peak_memory() - before,
        }
    print(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
