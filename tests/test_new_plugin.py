"""A plugin made by ``curriculum-zoo new-plugin``: it installs, is found by name, and passes its own tests."""

import os
import subprocess
import sys

import pytest

from curriculum_zoo import cli
from curriculum_zoo.errors import PluginError
from curriculum_zoo.new_plugin import new_plugin


@pytest.mark.slow
def test_a_new_plugin_installs_trains_and_passes_its_own_tests(tmp_path):
    assert cli.main(["new-plugin", "evening-light", "--folder", str(tmp_path)]) == 0
    package, site = tmp_path / "evening-light", tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", str(site), str(package)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    run = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "check": False}
    tests = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package)], **run)
    assert "3 passed" in tests.stdout, tests.stdout + tests.stderr
    checked = subprocess.run([sys.executable, "-m", "curriculum_zoo", "check", "evening_light"], **run)
    assert checked.stdout == "evening_light: the curriculum keeps its promises.\n", checked.stderr
    train = [
        "train",
        "--model",
        "evening_light_net",
        "--data",
        "demo",
        "--curriculum",
        "evening_light",
        "--epochs",
        "1",
    ]
    trained = subprocess.run(
        [sys.executable, "-m", "curriculum_zoo", *train, "--epochs", "1", "--output", "run"], **run
    )
    assert trained.returncode == 0, trained.stderr


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("trd", "'trd' is registered already"),
        ("2fast", "cannot be a package's name"),
        ("a/b", "cannot be a package's name"),
        ("class", "cannot be a package's name"),
        ("there", "is there already"),
    ],
)
def test_names_that_cannot_be_are_refused_before_anything_is_written(tmp_path, name, problem):
    (tmp_path / "there").mkdir()
    with pytest.raises(PluginError, match=problem):
        new_plugin(name, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
