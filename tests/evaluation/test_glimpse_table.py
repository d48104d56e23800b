"""The table of glimpse pyramids: a row a run and number of levels, with the figures that `evaluate` gives."""

import importlib.util
import json
from pathlib import Path

import pytest

from curriculum_zoo.evaluation import evaluate

TOOL = Path(__file__).parents[2] / "tools" / "glimpse_table.py"


@pytest.fixture
def table(capsys, monkeypatch):
    """``table(*arguments)``: the cells that the tool prints, row by row, and what stands below."""
    spec = importlib.util.spec_from_file_location("glimpse_table", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["glimpse_table.py", *map(str, arguments)])
        tool.main()
        lines = capsys.readouterr().out.splitlines()
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        return rows[0], rows[2:], lines[-1]

    return run


def test_figures_stand_in_rows_by_run_and_level(table, pyramid, canvases, tmp_path):
    config = json.loads((pyramid / "config.json").read_text())
    config["curriculum_zoo"]["recipe"] |= {"glimpses": {"locations": [2.0, 6.5]}, "model": "local-dir:elsewhere/best"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(pyramid / "model.safetensors")
    heads, rows, below = table(pyramid, tmp_path, "--levels", "1,3", "--repeats", 2, "--seed", 4, "--device", "cpu")
    assert heads[3:7] == ["c_t", "levels", "validation, %", "test, %"]
    assert {tuple(row[:3]) for row in rows} == {("glimpse_pyramid_m1", "canvases", "56")}
    assert [row[3:5] for row in rows] == [["–", "1"], ["–", "3"], ["–", "1"], ["6.5", "3"]]
    how = {"levels": (1, 3), "seed": 4, "device": "cpu"}
    held_out = evaluate(pyramid, "canvases", part="validation", repeats=2, **how)
    tested = evaluate(pyramid, "canvases", **how)
    for row, on_validation, on_test in zip(rows[:2], held_out, tested, strict=True):
        assert row[5] == f"{100 * on_validation.scores.top1:.2f} ± {100 * on_validation.top1_std:.2f}"
        assert row[6] == f"{100 * on_test.scores.top1:.2f}"
        assert row[7] == f"{on_test.locations:.2f}"
        assert row[8] == f"{on_test.flops // 2:,}"
        assert float(row[9]) > 0
    assert "2 evaluations; test: one. Seed 4; on cpu" in below


def test_networks_without_levels_keep_one_row(table, finished_run, quadrants):
    _, [row], _ = table(finished_run, "--levels", "1,2,3", "--repeats", 1, "--device", "cpu")
    validation, test = (
        evaluate(finished_run, f"npz:{quadrants}", part=part, device="cpu")[0] for part in ("validation", "test")
    )
    assert row[:5] == ["simple_cnn", f"npz:{quadrants}", "16", "–", "–"]
    assert row[5:9] == [f"{100 * e.scores.top1:.2f}" for e in (validation, test)] + ["–", f"{test.flops // 2:,}"]
