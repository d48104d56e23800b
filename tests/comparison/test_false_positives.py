"""The command that counts false positives: a row a setting, exact intervals, and an exit status."""

import importlib.util
import re
from pathlib import Path

import pytest
from scipy.stats import binomtest

TOOL = Path(__file__).parents[2] / "tools" / "false_positives.py"
ARGUMENTS = ["--grids", "40", "--arms", "2", "--seeds", "3", "4", "--correlation", "0.5", "--resamples", "50"]


@pytest.fixture
def tool(monkeypatch):
    spec = importlib.util.spec_from_file_location("false_positives", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr("sys.argv", ["false_positives.py", *ARGUMENTS])
    return module


def test_each_setting_is_a_row_of_rates_with_their_exact_intervals(tool, capsys):
    with pytest.raises(SystemExit) as stop:
        tool.main()
    assert stop.value.code == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert head == ["seeds", "correlation", "one arm", "shorter", "any arm", "verdict", "bootstrap"]
    assert [row[:2] for row in rows] == [["3", "0.5"], ["4", "0.5"]]
    for row in rows:
        rates = []
        for cell in row[2:]:
            rate, low, high = map(float, re.findall(r"[\d.]+", cell))
            exact = binomtest(round(rate * 0.4), 40).proportion_ci()
            assert (low, high) == pytest.approx((100 * exact.low, 100 * exact.high), abs=0.051)
            rates.append(rate)
        one, shorter, any_arm, verdict, bootstrap = rates
        assert one <= shorter
        assert max(one, verdict) <= any_arm
        assert bootstrap > one


def test_more_errors_than_stated_end_in_a_failure(tool, capsys, monkeypatch):
    monkeypatch.setattr(tool, "LEVEL", -1)
    with pytest.raises(SystemExit) as stop:
        tool.main()
    assert stop.value.code == 1
