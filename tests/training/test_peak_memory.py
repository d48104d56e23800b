"""The most memory that a run had in use, begun anew for each run of a process."""

import pytest
import torch

from curriculum_zoo.training import peak_memory as module
from curriculum_zoo.training.peak_memory import peak_memory, reset_peak_memory

CPU = torch.device("cpu")
BYTES = 200_000_000


def test_peak_memory_of_a_cpu_is_the_processs_in_bytes():
    psutil = pytest.importorskip("psutil")
    assert peak_memory(CPU) >= psutil.Process().memory_info().rss * 0.99
    assert peak_memory(CPU) < psutil.virtual_memory().total


@pytest.mark.skipif(not module.CLEAR.exists(), reason="only Linux can begin anew")
def test_what_a_run_before_had_in_use_is_not_counted():
    held = torch.ones(BYTES // 4)
    before = peak_memory(CPU)
    del held
    assert peak_memory(CPU) == pytest.approx(before, rel=0.05)
    reset_peak_memory(CPU)
    assert peak_memory(CPU) < before - BYTES / 2
    assert torch.ones(BYTES // 4).sum() > 0
    assert peak_memory(CPU) == pytest.approx(before, rel=0.1)


def test_where_linux_does_not_tell_the_usage_of_the_process_does(monkeypatch, tmp_path):
    told = peak_memory(CPU)
    monkeypatch.setattr(module, "STATUS", tmp_path / "none")
    assert peak_memory(CPU) == pytest.approx(told, rel=0.3)


def test_where_nothing_can_be_reset_nothing_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "CLEAR", tmp_path / "no folder" / "none")
    reset_peak_memory(CPU)
    assert peak_memory(CPU) > 0


@pytest.mark.skipif(not module.CLEAR.exists(), reason="only Linux can begin anew")
def test_a_second_run_of_a_process_does_not_inherit_the_firsts_peak(recipe, train):
    train(recipe(epochs=1), "first")
    held = torch.ones(BYTES)
    del held
    raised = peak_memory(CPU)
    second = train(recipe(epochs=1), "second")
    assert second.metrics[0]["peak_memory_bytes"] < raised - 2 * BYTES
