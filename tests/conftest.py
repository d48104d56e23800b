"""What all tests share: one thread a worker, no network, no screen, repeatable examples, and fresh processes."""

import ipaddress
import json
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

# Set before anything imports torch, huggingface_hub or matplotlib, and inherited by every process that a test starts.
os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", MPLBACKEND="Agg")
os.environ.pop("CURRICULUM_ZOO_DISABLE_PLUGINS", None)

# The same examples in every run; `--hypothesis-profile explore` looks for new ones.
settings.register_profile(
    "suite", derandomize=True, deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", parent=settings.get_profile("suite"), derandomize=False, max_examples=1000)
settings.load_profile("suite")

pytest_plugins = ("hub_fixtures", "glimpse_fixtures")

PLUGINS = Path(__file__).parent / "plugins"


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Any connection that would leave this machine fails, whether a network is there or not."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            raise ConnectionRefusedError(f"tests need no network, but this one connects to {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_here)
        yield


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[..., Path]:
    """``shared_folder(name, fill)``: a folder that ``fill(folder)`` fills once for all workers of a run."""
    base = tmp_path_factory.getbasetemp()
    root = base if worker_id == "master" else base.parent

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        whole, partial = root / name, root / f"{name}.partial"
        with FileLock(root / f"{name}.lock"):
            if not whole.exists():
                partial.mkdir(exist_ok=True)
                fill(partial)
                partial.rename(whole)
        return whole

    return folder


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """``python(code, **environment)``: run code in a fresh process; what it prints as JSON is what comes back."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(code: str, **environment: str) -> Any:
        finished = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env={**os.environ, **environment},
            cwd=elsewhere,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout)

    return run


@pytest.fixture(scope="session")
def plugin_site(shared_folder: Callable[..., Path]) -> Path:
    """A folder into which pip has installed every package under ``tests/plugins``."""

    def install(folder: Path) -> None:
        packages = [str(project.parent) for project in sorted(PLUGINS.glob("*/pyproject.toml"))]
        offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "install", "--quiet", *offline, "--target", str(folder), *packages]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stderr

    return shared_folder("plugin_site", install)


@pytest.fixture(scope="session")
def quadrants(shared_folder: Callable[..., Path]) -> Path:
    """An npz file that can be learnt in a second: 320 + 80 images of 16 x 16 px; each class is a bright quadrant."""

    def fill(folder: Path) -> None:
        import numpy as np

        generator = np.random.default_rng(0)
        arrays = {}
        for part, count in (("train", 320), ("test", 80)):
            labels = np.arange(count) % 4
            pixels = generator.integers(0, 120, (count, 16, 16, 3))
            for image, label in zip(pixels, labels, strict=True):
                top, left = 8 * (label // 2), 8 * (label % 2)
                image[top : top + 8, left : left + 8] += 100
            arrays |= {f"x_{part}": pixels.astype(np.uint8), f"y_{part}": labels}
        names = np.array(["top left", "top right", "bottom left", "bottom right"])
        np.savez(folder / "quadrants.npz", **arrays, classes=names)

    return shared_folder("quadrants", fill) / "quadrants.npz"


@pytest.fixture(scope="session")
def finished_run(quadrants: Path, shared_folder: Callable[..., Path]) -> Path:
    """The folder of a finished training on `quadrants`: simple_cnn, 3 epochs, 9 steps each; not to be written to."""

    def fill(folder: Path) -> None:
        from curriculum_zoo import Recipe, train

        curriculum = "trd(variant=regular)"
        recipe = Recipe(model="simple_cnn", data=f"npz:{quadrants}", curriculum=curriculum, epochs=3, batch_size=32)
        train(recipe, output=folder, device="cpu")

    return shared_folder("finished_run", fill)


def write_photographs(top: Path, counts: dict[str, int]) -> None:
    """Folders of JPEG files by class: smooth scenes of the class's colour with some detail, of several sizes."""
    import numpy as np
    from PIL import Image

    sizes = ((96, 72), (72, 96), (120, 80))
    for label, (name, count) in enumerate(counts.items()):
        (top / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            generator = np.random.default_rng(1000 * label + number)
            width, height = sizes[(label + number) % len(sizes)]
            coarse = generator.integers(0, 176, (6, 8, 3))
            coarse[..., label % 3] += 80
            scene = Image.fromarray(coarse.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
            pixels = np.asarray(scene) + generator.normal(0, 6, (height, width, 1))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(top / name / f"{number:03}.jpg", quality=92)


@pytest.fixture(scope="session", name="write_photographs")
def _write_photographs() -> Callable[[Path, dict[str, int]], None]:
    return write_photographs


@pytest.fixture(scope="session")
def photographs(shared_folder: Callable[..., Path]) -> Path:
    """A folder of 3 classes with 10 photographs each, of 72 px and more; not to be written to."""
    return shared_folder("photographs", lambda folder: write_photographs(folder, {"cat": 10, "dog": 10, "owl": 10}))
