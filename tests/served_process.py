"""A page that another process serves."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

__all__ = ["served_by", "without_gradio"]

without_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="the page is Gradio's: pip install 'curriculum-zoo[demo]'"
)


@contextlib.contextmanager
def served_by(command: Sequence[str], folder: Path, **environment: str) -> Iterator[str]:
    """The address at which a command serves; it is interrupted on leaving, as by Ctrl-C, and must end well."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GRADIO_TEMP_DIR": str(folder / "uploads"), **environment}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", env=env, cwd=folder
    )
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if address := re.search(r"is served at (http://127\.0\.0\.1:\d+/)", line):
                break
        else:
            pytest.fail("".join(said))
        yield address[1]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=20) in (0, 130)
        finally:
            process.kill()
            process.stdout.close()
