"""Every kind of damaged or unusual file in the tool's table is read rightly, or refused by name."""

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools" / "bad_images.py"
spec = importlib.util.spec_from_file_location("bad_images", TOOL)
assert spec is not None
assert spec.loader is not None
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


@pytest.mark.parametrize("title", tool.KINDS)
def test_it_is_read_rightly_or_refused_by_name(title, monkeypatch):
    monkeypatch.setattr(tool, "WORKERS", 0)
    outcome = tool.outcome(title, tool.KINDS[title])
    assert outcome == "read" or outcome.startswith("refused: … ")


def test_a_worker_process_refuses_as_this_one_does():
    title = "JPEG, cut short"
    assert "image file is truncated" in tool.outcome(title, tool.KINDS[title])


@pytest.mark.slow
def test_a_huge_photograph_is_read():
    assert tool.outcome("huge", tool.huge) == "read"
