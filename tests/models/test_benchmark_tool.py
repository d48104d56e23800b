"""The benchmark of networks against their twins runs and prints what it measured."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "benchmark_models.py"


@pytest.mark.slow
def test_the_benchmark_prints_a_row_for_each_comparison():
    command = [sys.executable, str(TOOL), "--repeats", "2", "--batch", "2", "--threads", "1", "--only", "cifar"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "1 threads" in lines[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[4:]]
    assert [row[:2] for row in rows] == [
        ["hiresnet20_cifar / resnet20_cifar", "eval forward"],
        ["hiresnet20_cifar / resnet20_cifar", "training step"],
    ]
    for row in rows:
        assert float(row[4]) > 0
        assert 1 < float(row[5]) < 1.03
