"""Checkpoints: at every instant a whole one lies in the folder."""

import os

import pytest
import torch

from curriculum_zoo.errors import CheckpointError
from curriculum_zoo.training.checkpoint import load_checkpoint, replace_file, save_checkpoint


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


def test_text_is_replaced_whole(tmp_path):
    path = tmp_path / "metrics.jsonl"
    replace_file(path, "old\n")
    replace_file(path, "new\n")
    assert path.read_text() == "new\n"
    assert os.listdir(tmp_path) == ["metrics.jsonl"]
