"""Processes that read images: where they cannot be started, and what is told when one of them fails or dies."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curriculum_zoo.data.decoding.transforms import eval_transform
from curriculum_zoo.data.loading.photo_loader import PhotoLoader
from curriculum_zoo.data.loading.worker_pool import WorkerPool
from curriculum_zoo.errors import PluginError, TrainingError
from curriculum_zoo.recipes import PhotoOptions


class Source:
    """Sixteen images, the seventh of which does something else."""

    def __init__(self, action, photograph):
        self.action = action
        self.photograph = photograph

    def __len__(self):
        return 16

    def name(self, index):
        return f"image {index}"

    def content(self, index):
        if index == 7:
            self.action()
        return self.photograph

    def dimensions(self, index):
        return None

    def stamps(self):
        return iter(())


def read(source, workers):
    transform = eval_transform(PhotoOptions(), 16)
    pool = WorkerPool(source, training=transform, evaluation=transform, workers=workers)
    loader = PhotoLoader(pool, np.arange(16), np.arange(16) % 2, batch_size=2, training=False, pixels=16)
    try:
        return sum(len(batch.images) for batch in loader.batches(0))
    finally:
        pool.close()


@pytest.fixture
def photograph(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "photograph.png")
    return (tmp_path / "photograph.png").read_bytes()


def unusual():
    raise KeyError("column")


def of_a_plugin():
    raise PluginError("my-plugin: the archive has no index. Make it anew.")


def without_memory():
    raise MemoryError


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("action", "kind", "text"),
    [
        (unusual, TrainingError, "image 7 cannot be read: KeyError: 'column'. Mend what reads it."),
        (of_a_plugin, PluginError, "my-plugin: the archive has no index. Make it anew."),
        (
            without_memory,
            TrainingError,
            "image 7: memory ran out while it was read. Use fewer workers, or none (workers=0).",
        ),
    ],
)
def test_what_fails_in_a_worker_is_told_as_what_it_was(photograph, workers, action, kind, text):
    with pytest.raises(kind) as told:
        read(Source(action, photograph), workers)
    assert (type(told.value), str(told.value)) == (kind, text)


@pytest.mark.parametrize(
    ("action", "said", "unsaid"),
    [
        (lambda: os._exit(3), "exit code 3. Its own error stands above, or is shown by workers=0", "emory"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV. A library that it uses has crashed", "emory"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL, so memory may have run out", "library"),
        (lambda: os.kill(os.getpid(), signal.SIGBUS), "SIGBUS, so shared memory of a container is full", "library"),
    ],
)
def test_a_worker_that_dies_is_told_by_the_way_it_died(photograph, action, said, unsaid):
    with pytest.raises(TrainingError, match="A process that reads images died") as told:
        read(Source(action, photograph), 1)
    assert said in str(told.value)
    assert unsaid not in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.slow
def test_a_worker_that_dies_disturbs_nobody_but_who_waits_for_its_images(photograph):
    """The system's signal reaches the main thread wherever it is, as in an update."""
    transform = eval_transform(PhotoOptions(), 16)
    source = Source(lambda: os.kill(os.getpid(), signal.SIGKILL), photograph)
    pool = WorkerPool(source, training=transform, evaluation=transform, workers=1)
    loader = PhotoLoader(pool, np.arange(16), np.arange(16) % 2, batch_size=2, training=False, pixels=16)
    batches = loader.batches(0)
    next(batches)
    for _ in range(50):
        time.sleep(0.02)
    with pytest.raises(TrainingError, match="A process that reads images died: SIGKILL"):
        list(batches)
    pool.close()


def test_a_daemonic_process_reads_images_itself_or_says_that_it_may_not_start_others(photograph, monkeypatch):
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    assert read(Source(int, photograph), None) == 16
    with pytest.raises(TrainingError, match=r"daemonic, as those of multiprocessing.Pool are, .*Use workers=0"):
        read(Source(int, photograph), 2)


def test_images_that_cannot_be_sent_to_processes_are_told(photograph, monkeypatch, tmp_path):
    transform = eval_transform(PhotoOptions(), 16)
    pool = WorkerPool(Source(lambda: None, photograph), training=transform, evaluation=transform, workers=1)
    pool._loader.multiprocessing_context = "spawn"
    with pytest.raises(TrainingError, match=r"No processes that read images can be started: .*pickle.*workers=0"):
        list(pool.results([]))


SCRIPT = """
import multiprocessing, sys
from curriculum_zoo import Recipe, train
from curriculum_zoo.recipes import PhotoOptions

def training(output, workers):
    options = {"image_size": 16, "epochs": 1, "batch_size": 8, "photos": PhotoOptions(resident=False)}
    recipe = Recipe(model="simple_cnn", data="folder:" + sys.argv[2], **options)
    return train(recipe, output=output, device="cpu", workers=workers).metrics[-1]["train_loss"]

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    inside = training(sys.argv[3] + "/direct", 1)
    with multiprocessing.Pool(1) as pool:
        outside = pool.apply(training, (sys.argv[3] + "/pool", None))
        try:
            pool.apply(training, (sys.argv[3] + "/refused", 1))
        except Exception as error:
            print(f"refused: {type(error).__name__}: {error}")
    print("equal:", inside == outside)
"""
"""A training with a process that reads, and one in a process of a pool, which may start none."""


@pytest.mark.slow
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_trainings_are_the_same_however_processes_start_and_inside_of_a_pool(photographs, tmp_path, method):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, tmp_path / "script.py", method, photographs, tmp_path]
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "refused: TrainingError: This process is daemonic" in ended.stdout
    assert "equal: True" in ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_script_that_processes_would_run_again_is_told_what_it_lacks(photographs, tmp_path, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    careless = SCRIPT.partition("if __name__")[0] + (
        "multiprocessing.set_start_method(sys.argv[1], force=True)\ntraining(sys.argv[3] + '/direct', 1)\n"
    )
    Path(tmp_path / "script.py").write_text(careless)
    command = [sys.executable, tmp_path / "script.py", method, photographs, tmp_path]
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    last = ended.stderr.strip().splitlines()[-1]
    assert "A script that trains needs its calls below if __name__ == '__main__'" in last
    assert "emory" not in last
