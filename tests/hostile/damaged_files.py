"""All damaged and malicious files that the tests make, and the table of them.

python tests/hostile/damaged_files.py > tools/results/hostile_files.md
"""

from __future__ import annotations

import sys

import hostile_documents  # noqa: F401  each of these adds its files
import hostile_images  # noqa: F401
import hostile_tensors  # noqa: F401
from damaged import FILES

__all__ = ["FILES", "table"]


def table() -> str:
    """The table of all files, in Markdown."""
    kinds = list(dict.fromkeys(damaged.kind for damaged in FILES))
    lines = [
        "# Damaged and malicious files",
        "",
        f"{len(FILES)} files of {len(kinds)} kinds, made by `tests/hostile/`. Each is opened in a child process and",
        "refused with the error beside it, whose text names the file, the reason and a remedy. No code of theirs runs,",
        "nothing is written, no program is started, and memory stays bounded (`tests/hostile/test_hostile_files.py`).",
        "",
        "| kind | what is wrong | refused with |",
        "|---|---|---|",
        *(f"| {damaged.kind} | {damaged.what} | `{damaged.error}` |" for damaged in FILES),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    sys.stdout.write(table())
