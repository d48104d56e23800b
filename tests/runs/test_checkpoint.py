"""Checkpoints: at every instant a whole one lies in the folder."""

import os

import pytest
import torch

from curriculum_zoo.errors import CheckpointError
from curriculum_zoo.runs.checkpoint import load_checkpoint, save_checkpoint, set_aside_damaged


def test_newest_checkpoint_comes_back(tmp_path):
    for epoch in range(3):
        save_checkpoint(tmp_path, {"epoch": epoch, "weights": torch.full((3,), float(epoch))})
    state = load_checkpoint(tmp_path)
    assert state["epoch"] == 2
    assert torch.equal(state["weights"], torch.full((3,), 2.0))
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.previous.pt", "checkpoint.pt"]


def test_folder_without_a_checkpoint_gives_none(tmp_path):
    assert load_checkpoint(tmp_path) is None


@pytest.mark.parametrize("kept", [0, 10, 1000])
def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, kept):
    save_checkpoint(tmp_path, {"epoch": 0, "weights": torch.zeros(1000)})
    save_checkpoint(tmp_path, {"epoch": 1, "weights": torch.zeros(1000)})
    content = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(content[:kept])
    assert load_checkpoint(tmp_path)["epoch"] == 0


def test_kill_between_the_two_renames_leaves_the_one_before(tmp_path):
    save_checkpoint(tmp_path, {"epoch": 0})
    os.replace(tmp_path / "checkpoint.pt", tmp_path / "checkpoint.previous.pt")
    assert load_checkpoint(tmp_path)["epoch"] == 0


def test_nothing_readable_is_one_clear_error(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt"):
        load_checkpoint(tmp_path)


def test_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Code:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    torch.save({"epoch": Code()}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def two(tmp_path):
    """A folder with checkpoints of two epochs."""
    for epoch in range(2):
        save_checkpoint(tmp_path, {"epoch": epoch, "step": 7, "weights": torch.arange(3000.0) + epoch})
    return tmp_path


def test_a_bit_that_flips_anywhere_is_seen_or_changes_nothing(two):
    whole = (two / "checkpoint.pt").read_bytes()
    seen = 0
    for place in range(0, len(whole), len(whole) // 60):
        content = bytearray(whole)
        content[place] ^= 1 << (place % 8)
        (two / "checkpoint.pt").write_bytes(content)
        state = load_checkpoint(two)
        seen += state["epoch"] == 0
        assert torch.equal(state["weights"], torch.arange(3000.0) + state["epoch"])
    assert seen > 50  # torch alone reads almost all of them, with the wrong number in the weights


def test_a_damaged_checkpoint_is_told_and_does_not_take_the_place_of_the_whole_one(two, monkeypatch):
    content = (two / "checkpoint.pt").read_bytes()
    (two / "checkpoint.pt").write_bytes(content[:-100])
    with pytest.warns(UserWarning, match=r"checkpoint\.pt is damaged .*of epoch 0, step 7"):
        set_aside_damaged(two)
    assert load_checkpoint(two)["epoch"] == 0
    replace, renames = os.replace, []

    def replace_or_die(*paths):
        # Killed at the first rename of the next one.
        renames.append(paths)
        if len(renames) == 1:
            raise KeyboardInterrupt
        replace(*paths)

    monkeypatch.setattr(os, "replace", replace_or_die)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(two, {"epoch": 2, "step": 0})
    assert load_checkpoint(two)["epoch"] == 0
    assert (two / "checkpoint.damaged.pt").read_bytes() == content[:-100]


def test_a_whole_checkpoint_and_the_only_one_are_left_where_they_are(two, recwarn):
    set_aside_damaged(two)
    assert load_checkpoint(two)["epoch"] == 1
    (two / "checkpoint.previous.pt").unlink()
    (two / "checkpoint.pt").write_bytes(b"nothing")
    set_aside_damaged(two)
    assert (two / "checkpoint.pt").read_bytes() == b"nothing"
    assert not recwarn.list
