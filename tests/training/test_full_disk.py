"""A disk that is full ends a training with one clear error, and leaves what lay on it whole."""

import shutil
import subprocess
import warnings

import pytest
import torch
from safetensors.torch import load_file

from curriculum_zoo.errors import CheckpointError
from curriculum_zoo.training.progress import Reporter

resource = pytest.importorskip("resource", reason="this system has no limit on the size of files")


class FillsTheDisk(Reporter):
    """Has the system refuse files above a size, after a step of the second epoch."""

    def __init__(self, size):
        self._size = size
        self._at = (0, 0)

    def start_epoch(self, epoch, stage, steps, step):
        self._at = epoch, step

    def step(self, images, seconds, figures):
        self._at = self._at[0], self._at[1] + 1
        if self._at == (1, 3):
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, resource.RLIM_INFINITY))


@pytest.fixture
def room_again():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def assert_same_weights(first, second):
    for which in ("last", "best"):
        one, other = (load_file(folder / which / "model.safetensors") for folder in (first, second))
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("size", "how"), [(30_000, {"checkpoint_minutes": 0}), (1000, {"checkpoint_minutes": 60})])
def test_a_full_disk_is_one_error_and_the_run_goes_on_where_there_is_room(
    recipe, train, tmp_path, room_again, size, how
):
    """In a checkpoint within an epoch, and in the weights at its end."""
    with pytest.raises(CheckpointError, match=r"run cannot be written to: .*too large.*go on by --resume"):
        train(recipe(), reporter=FillsTheDisk(size), **how)
    room_again()
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert (tmp_path / "run" / "checkpoint.pt").exists() is (how["checkpoint_minutes"] == 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        train(recipe(), resume=True)
    train(recipe(), "whole")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")


def test_a_damaged_newest_checkpoint_is_told_and_the_one_before_used(recipe, train, tmp_path, room_again):
    with pytest.raises(CheckpointError):
        train(recipe(), reporter=FillsTheDisk(30_000), checkpoint_minutes=0)
    room_again()
    newest = tmp_path / "run" / "checkpoint.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match=r"goes on from the checkpoint before it, of epoch 1, step 1"):
        train(recipe(), resume=True)
    train(recipe(), "whole")
    assert_same_weights(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
def test_a_small_disk_that_fills_up_is_told(recipe, train, tmp_path):
    (tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(tmp_path / "disk")]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system is not permitted here")
    try:
        seed, told = 0, ""
        while not told:
            seed += 1
            try:
                train(recipe(epochs=1, seed=seed), f"disk/{seed}", checkpoint_minutes=0)
            except CheckpointError as error:
                told = str(error)
        assert seed > 1
        assert "No space left on device" in told
        for other in range(1, seed):
            shutil.rmtree(tmp_path / "disk" / str(other))
        train(recipe(epochs=1, seed=seed), f"disk/{seed}", resume=(tmp_path / "disk" / f"{seed}/recipe.json").exists())
        train(recipe(epochs=1, seed=seed), "whole")
        assert_same_weights(tmp_path / "disk" / str(seed), tmp_path / "whole")
    finally:
        subprocess.run(["umount", str(tmp_path / "disk")], check=True)
