"""How long importing and listing takes, against timm: medians over fresh processes, taken turn by turn.

    python tools/benchmark_import.py --repeats 9

Each time is that of the statements alone, in a process of its own, after the interpreter has started; so it does not
hold the interpreter's own start, which would flatter the ratio. Exit status 1 where the ratio is above the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys

OURS = "import curriculum_zoo; curriculum_zoo.list_models(); curriculum_zoo.list_curricula()"
STATEMENTS = {"curriculum_zoo, listed": OURS, "torch": "import torch", "timm": "import timm"}
TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def seconds(statement: str) -> float:
    """Seconds that a statement takes in a fresh process."""
    command = [sys.executable, "-c", TIMED.format(statement)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="fresh processes for each statement (default: 9)")
    parser.add_argument("--limit", type=float, default=0.1, help="greatest ratio to timm allowed (default: 0.1)")
    arguments = parser.parse_args()

    for statement in STATEMENTS.values():  # once unmeasured: files into the page cache, bytecode written
        seconds(statement)
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(arguments.repeats):
        for name, statement in STATEMENTS.items():
            times[name].append(seconds(statement))

    medians = {name: statistics.median(taken) for name, taken in times.items()}
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, n={arguments.repeats}")
    print(f"{'import':<24} {'median ms':>10} {'min':>8} {'max':>8} {'of timm':>9}")
    for name, taken in times.items():
        low, median, high = 1e3 * min(taken), 1e3 * medians[name], 1e3 * max(taken)
        print(f"{name:<24} {median:>10.1f} {low:>8.1f} {high:>8.1f} {medians[name] / medians['timm']:>8.1%}")
    return int(medians["curriculum_zoo, listed"] > arguments.limit * medians["timm"])


if __name__ == "__main__":
    raise SystemExit(main())
