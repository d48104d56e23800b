r"""Run timm's own tests/test_models.py on the networks of this package.

    python tools/timm_suite.py --source ~/timm-1.0.31 -k "hiresnet18 or simple_cnn"

Where no source tree is given, that of the installed version is downloaded into a temporary folder.
What is left out, and why, stands in `LEFT_OUT`.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.metadata
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
import timm

import curriculum_zoo.models  # noqa: F401  registers our architectures with timm
from curriculum_zoo import list_models

LEFT_OUT = {
    ("test_model_forward*torchscript", "*"): "torch.jit.script, which PyTorch has deprecated, is not supported",
    ("test_model_backward*", "airbench94"): "its whitening filters are fixed, and have no gradient",
    (
        "test_model_default_cfgs*",
        "airbench94",
    ): "global_pool='' with classes is refused: there are no vectors to classify",
    (
        "test_model_default_cfgs*",
        "simple_cnn",
    ): "global_pool='' with classes is refused: there are no vectors to classify",
    ("test_model_forward_features", "simple_cnn"): "it has two stages, where timm asks for three",
    ("test_model_forward_intermediates", "simple_cnn"): "it has two stages, where timm asks for three",
    ("test_model_default_cfgs*", "glimpse_*"): "glimpse networks describe an image by one vector, without maps",
    ("test_model_forward_features", "glimpse_*"): "the same: they have no feature maps by level",
    ("test_model_forward_intermediates*", "glimpse_*"): "the same: they have no feature maps by level",
    ("test_model_*_fx", "glimpse_pyramid*"): "torch.fx cannot trace what follows from an image's content",
    ("test_prune_intermediate_layers_contract", "glimpse_*"): "the same: they have no feature maps by level",
}
"""Reasons, keyed by patterns of a test's and of a network's name."""


class OurNetworks:
    """pytest plugin: keeps timm's tests of our networks, and of those what is not left out."""

    def __init__(self) -> None:
        self.left_out: dict[tuple[str, str], int] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Deselect tests of timm's networks, and what is left out."""
        ours, kept, dropped = set(list_models()), [], []
        for item in items:
            name = getattr(getattr(item, "callspec", None), "params", {}).get("model_name")
            test = item.name.partition("[")[0]
            reason = next((key for key in LEFT_OUT if _matches(key, test, str(name))), None)
            if name in ours and reason:
                self.left_out[reason] = self.left_out.get(reason, 0) + 1
            (kept if name in ours and not reason else dropped).append(item)
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """List what is left out."""
        for (test, name), count in self.left_out.items():
            terminalreporter.write_line(f"left out {count}: {test} of {name}: {LEFT_OUT[test, name]}")


def _matches(patterns: tuple[str, str], test: str, name: str) -> bool:
    return all(fnmatch.fnmatchcase(value, pattern) for value, pattern in zip((test, name), patterns, strict=True))


def _only_ours(filter: Any = "", module: Any = "", **options: Any) -> list[str]:
    """Timm's `list_models`, of our names alone; of every module, for timm's tests name timm's."""
    ours = set(list_models())
    names: list[str] = _LIST_MODELS(filter, **options)
    return [name for name in names if name.partition(".")[0] in ours]


_LIST_MODELS = timm.list_models


def _download(folder: Path) -> Path:
    version = importlib.metadata.version("timm")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "timm"]
    subprocess.run([*command, "--dest", str(folder), f"timm=={version}"], check=True)
    with tarfile.open(next(folder.glob("timm-*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.glob("timm-*") if path.is_dir())


def run(source: Path, arguments: list[str]) -> int:
    """Run the tests of a source tree of timm's.

    Args:
        source: it holds ``tests/``.
        arguments: for pytest.
    """
    timm.list_models = _only_ours
    file = source / "tests" / "test_models.py"
    # The installed timm is tested, not the source tree's; its pytest.ini and conftest.py are left aside.
    options = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null" if sys.platform != "win32" else "NUL", "--noconftest"]
    options += ["--rootdir", str(source / "tests"), "--import-mode=importlib", "-W", "ignore"]
    return int(pytest.main([str(file), *options, *arguments], plugins=[OurNetworks()]))


def main() -> int:
    """Parse the command line and run the tests."""
    parser = argparse.ArgumentParser(description="Run timm's own model tests on the networks of this package.")
    parser.add_argument("--source", type=Path, help="timm's source tree; downloaded where left out")
    options, arguments = parser.parse_known_args()
    if options.source:
        return run(options.source, arguments)
    with tempfile.TemporaryDirectory() as folder:
        return run(_download(Path(folder)), arguments)


if __name__ == "__main__":
    sys.exit(main())
