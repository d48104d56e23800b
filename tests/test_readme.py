"""Every code block of the README is run: Python as it stands, shell lines as real processes, the plugin installed."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
SNIPPETS = [text for language, file, text in BLOCKS if language == "python" and not file]
FILES = {file: text for _, file, text in BLOCKS if file}
SHELL = "\n".join(text for language, file, text in BLOCKS if language == "bash" and not file).replace("\\\n", " ")
COMMANDS = [line for line in SHELL.splitlines() if line]

# What the project's own check script runs in a fresh environment before any test: a test of them here would be
# without the network that they need, or would start itself.
INSTALLING = ("pip install . && curriculum-zoo demo", 'pip install ".[test]" && pytest')


def run(command, cwd, **environment):
    environment = {**os.environ, "COLUMNS": "200", **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)


def console(line):
    """A command line as this interpreter's own installation runs it."""
    program, _, rest = line.partition(" ")
    assert program == "curriculum-zoo", f"the README runs something else than curriculum-zoo: {line}"
    return [sys.executable, "-m", "curriculum_zoo", *shlex.split(rest)]


def test_readme_has_blocks_of_every_kind():
    assert {language for language, _, _ in BLOCKS} == {"bash", "python", "toml"}
    assert len(SNIPPETS) >= 4
    assert set(FILES) == {"dimming/dimming.py", "dimming/pyproject.toml"}
    assert all(command in COMMANDS for command in INSTALLING)
    assert {line.split()[0] for line in COMMANDS} == {"pip", "curriculum-zoo", "python"}


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_python_block_runs(snippet, tmp_path):
    if "train(" in snippet:
        # The data is the README's; only less of it, so that the suite stays quick.
        snippet = snippet.replace("epochs=2", "epochs=1")
    result = run([sys.executable, "-c", snippet], tmp_path)
    assert result.returncode == 0, result.stderr


def test_plugin_of_the_readme_installs_and_works(tmp_path):
    for file, text in FILES.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    result = run([*install, "--target", str(target), str(tmp_path / "dimming")], tmp_path)
    assert result.returncode == 0, result.stderr
    shutil.rmtree(tmp_path / "dimming")
    script = (
        "import torch, curriculum_zoo\n"
        "curriculum = curriculum_zoo.create_curriculum('dimming(darkest=0.5)', epochs=4)\n"
        "view = curriculum.stage(0).view\n"
        "assert torch.allclose(view(torch.ones(1, 3, 2, 2)), torch.tensor(0.625))\n"
        "print(curriculum.timeline())"
    )
    result = run([sys.executable, "-c", script], tmp_path, PYTHONPATH=str(target))
    assert result.returncode == 0, result.stderr
    assert "62% light" in result.stdout
    listed = run(console("curriculum-zoo list plugins"), tmp_path, PYTHONPATH=str(target))
    assert re.search(r"curriculum\s+dimming\s+dimming\s+1\.0\s+dimming:Dimming", listed.stdout)


@pytest.mark.slow
def test_shell_blocks_run_one_after_the_other(tmp_path):
    own = [line for line in COMMANDS if line.startswith("curriculum-zoo")]
    assert len(own) >= 4
    for line in own:
        result = run(console(line), tmp_path)
        assert result.returncode == 0, f"{line}\n{result.stderr}"
    assert (tmp_path / "runs" / "first" / "curves.png").stat().st_size > 10_000


@pytest.mark.slow
def test_sweep_of_the_results_prints_its_table(tmp_path):
    (line,) = (line for line in COMMANDS if line.startswith("python tools/sweep.py"))
    _, script, *arguments = shlex.split(line.replace("--output DIR", f"--output {tmp_path}"))
    # The images that ship with the package, two seeds and half the epochs, for the table's sake alone.
    arguments[arguments.index("42,123,3407,7777")] = "42,123"
    result = run([sys.executable, str(ROOT / script), *arguments, "--set", "data=demo", "--set", "epochs=5"], tmp_path)
    assert result.returncode == 0, result.stderr
    rows = [row.split(" | ") for row in result.stdout.splitlines() if row.startswith("| ")]
    assert [row[0].strip("| ") for row in rows[1:]] == ["baseline", "HRT", "edges only", "fresh optimiser only"]
    assert all(row[1] == "2" and float(row[3].split(" ± ")[0]) > 50 for row in rows[1:])


@pytest.mark.slow
def test_demo_command_shows_both_runs_side_by_side(tmp_path):
    result = run(console("curriculum-zoo demo"), tmp_path)
    assert result.returncode == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if line.startswith("│")]
    assert [row.split()[1] for row in rows] == ["baseline", "progressive_resizing"]
    accuracies = [float(re.search(r"([\d.]+)%", row).group(1)) for row in rows]
    assert min(accuracies) > 75
    assert (tmp_path / "runs" / "demo" / "comparison.png").stat().st_size > 10_000
