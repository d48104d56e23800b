"""What memory there is."""

import os

import pytest

from curriculum_zoo.data import memory
from curriculum_zoo.errors import DataError


def test_available_memory_is_positive_and_no_more_than_the_machine_has():
    available = memory.available_memory()
    assert available is not None
    assert 0 < available <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_what_fits_passes_and_what_does_not_is_refused_with_both_figures(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 2_500_000_000)
    memory.require_memory(2_500_000_000, "Two images")
    with pytest.raises(DataError, match=r"^Two images take 2\.60 GB of memory; 2\.50 GB are available\. Take one\.$"):
        memory.require_memory(2_600_000_000, "Two images", "Take one.")


def test_a_system_that_does_not_tell_refuses_nothing(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    memory.require_memory(10**18, "Everything")


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": "1000\n", "memory.current": "300\n"}, 700),
        ({"memory.max": "1000\n", "memory.current": "1300\n"}, 0),
        ({"memory.max": "max\n", "memory.current": "300\n"}, None),
        ({"memory/memory.limit_in_bytes": "1000\n", "memory/memory.usage_in_bytes": "400\n"}, 600),
        # The page cache is counted as used, and is free.
        (
            {"memory.max": "1000", "memory.current": "900", "memory.stat": "anon 250\nfile 640\ninactive_file 500\n"},
            600,
        ),
        ({"memory.max": "1000", "memory.current": "1000", "memory.stat": "inactive_anon 700\nactive_file 50\n"}, 0),
        ({"memory.max": "1000", "memory.current": "300", "memory.stat": "of another\nkernel than is known\n"}, 700),
        (
            {
                "memory/memory.limit_in_bytes": "1000\n",
                "memory/memory.usage_in_bytes": "900\n",
                "memory/memory.stat": "inactive_file 20\ntotal_inactive_file 300\n",
            },
            400,
        ),
        ({}, None),
    ],
)
def test_a_control_groups_limit_counts(files, left, tmp_path, monkeypatch):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    assert memory._control_group() == left
    if left is not None:
        assert memory.available_memory() == left
