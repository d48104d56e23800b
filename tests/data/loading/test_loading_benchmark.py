"""The benchmark of loading runs and prints what it measured."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools" / "benchmark_loading.py"


@pytest.mark.slow
def test_the_benchmark_prints_three_speeds_and_two_ratios(photographs):
    command = [sys.executable, str(TOOL), str(photographs), "--rounds", "2", "--short-side", "120", "--size", "64"]
    finished = subprocess.run([*command, "--batch-size", "8"], capture_output=True, text=True, check=True)
    lines = finished.stdout.splitlines()
    assert lines[0].startswith("30 JPEG files, median ")
    speeds = {row.split(" | ")[0].strip("| "): row for row in lines if row.startswith("| ")}
    assert {"full resolution", "half resolution", "timm, full resolution"} < speeds.keys()
    ratios = [float(re.search(r": ([\d.]+) \(", line)[1]) for line in lines if " over " in line]
    assert len(ratios) == 2
    assert min(ratios) > 0.3
