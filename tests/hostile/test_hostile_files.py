"""Damaged and malicious files are refused: by one typed error each, with nothing run, written or filled.

All are opened in one child process, under a limit of memory and with its doings audited; the tests read what it says.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from damaged import POSIX
from damaged_files import FILES, table

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "tools" / "results" / "hostile_files.md"

MEMORY = 150e6
"""Bytes by which the child may grow over all files together; each of the bombs alone would take more."""

REMEDY = re.compile(
    r"(^|[.;:,] )(and |or |to )?(add|begin|bring|build|choose|convert|copy|correct|delete|get|give|make|mend|name|"
    r"number|pass|put|replace|reshape|save|say|see|start|store|upgrade|use|write|did you mean|it needs|its fields are|"
    r"labels\.astype|np\.array|takes at least)\b",
    re.IGNORECASE,
)
"""How a sentence begins that says what to do."""


@pytest.fixture(scope="module")
def opened(shared_folder):
    """What became of each file, by its number."""

    def fill(folder):
        finished = subprocess.run(
            [sys.executable, HERE / "open_all.py", folder],
            cwd=folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        (folder / "opened.json").write_text(finished.stdout)

    return json.loads((shared_folder("hostile", fill) / "opened.json").read_text())


@pytest.mark.parametrize("number", range(len(FILES)), ids=[damaged.title for damaged in FILES])
def test_a_damaged_file_is_refused_by_its_own_error_and_does_nothing(opened, number):
    damaged = FILES[number]
    if damaged.posix and not POSIX:
        pytest.skip("there is no such thing on this system")
    found = opened[str(number)]
    message = found["message"]
    assert found["error"] == damaged.error, message
    assert re.search(damaged.says, message), message
    assert found["path"] in message, f"names no file: {message}"
    assert REMEDY.search(message), f"no remedy: {message}"
    assert len(message) < 1500, "a message is no place for the file's content"
    assert not found["ran"], "code of the file's ran"
    assert not found["did"], "files were changed, or programs started"


def test_all_of_them_together_take_little_memory(opened):
    if not POSIX:
        pytest.skip("the child's memory is measured on POSIX systems")
    largest = max(opened.items(), key=lambda item: item[1]["memory"])
    grown = sum(found["memory"] for found in opened.values())
    assert grown < MEMORY, f"{grown / 1e6:.0f} MB, most of them for {FILES[int(largest[0])].title}"


def test_there_are_many_of_them_no_two_alike_and_the_table_names_each():
    assert len(FILES) >= 60
    assert len({damaged.title for damaged in FILES}) == len(FILES)
    assert TABLE.read_text(encoding="utf-8") == table(), "write it again: see tests/hostile/damaged_files.py"
