"""The benchmark of glimpse pyramids runs and prints what it measured."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools" / "benchmark_glimpses.py"


@pytest.mark.slow
def test_the_benchmark_prints_a_row_for_each_comparison():
    command = [sys.executable, str(TOOL), "--repeats", "2", "--batch", "4", "--threads", "1", "--only", "_m3"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "1 threads" in lines[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[4:]]
    assert [row[:3] for row in rows] == [
        ["m3, p = 0.2 / p = 1", "forward", "4 × 56 px"],
        ["m3, p = 1 / dense without masks", "forward", "4 × 56 px"],
        ["m3, p = 0.2 / p = 1", "training step", "4 × 56 px"],
        ["m3, p = 1 / dense without masks", "training step", "4 × 56 px"],
        ["m3, p = 0.2 / p = 1", "training step", "4 × 28 px"],
    ]
    for row in rows:
        time, operations, memory = map(float, row[4:7])
        assert time > 0
        assert operations < 0.6 if "0.2" in row[0] else operations == 1
        assert memory < 0.7 if "0.2" in row[0] else memory < 1.1
