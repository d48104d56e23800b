"""Every code block of README, guide and CONTRIBUTING is run: Python as it stands, shell lines as processes, the plugin
installed."""

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
DOCUMENTS = ("README.md", "GUIDE.md", "CONTRIBUTING.md")
BLOCKS = {name: BLOCK.findall((ROOT / name).read_text(encoding="utf-8")) for name in DOCUMENTS}
SNIPPETS = {
    f"{name}-{number}": text
    for name, blocks in BLOCKS.items()
    for number, (language, file, text) in enumerate(blocks)
    if language == "python" and not file
}


def files_of(blocks):
    """Files that are written piece by piece, each piece headed by the file's name."""
    files = {}
    for _, file, text in blocks:
        if file:
            files[file] = f"{files[file]}\n\n{text}" if file in files else text
    return files


def commands_of(blocks):
    """Shell lines, those that go on after a backslash as one."""
    shell = "\n".join(text for language, file, text in blocks if language == "bash" and not file)
    return [line for line in shell.replace("\\\n", " ").splitlines() if line]


FILES = files_of(BLOCKS["CONTRIBUTING.md"])
COMMANDS = {name: commands_of(blocks) for name, blocks in BLOCKS.items()}

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


def test_the_documents_have_blocks_of_every_kind():
    assert {language for blocks in BLOCKS.values() for language, _, _ in blocks} == {"bash", "python", "text", "toml"}
    assert len(SNIPPETS) >= 4
    assert set(FILES) == {"dimming/dimming.py", "dimming/pyproject.toml"}
    assert all(command in COMMANDS["README.md"] for command in INSTALLING)
    assert {line.split()[0] for lines in COMMANDS.values() for line in lines} == {"pip", "curriculum-zoo"}


def test_every_link_to_a_file_leads_to_one():
    for name in (*DOCUMENTS, "SECURITY.md", "model_cards/RESULTS.md"):
        document = ROOT / name
        links = re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", document.read_text(encoding="utf-8"))
        assert all((document.parent / link).exists() for link in links if "://" not in link), name


@pytest.mark.parametrize(
    "snippet",
    [
        pytest.param(snippet, id=name, marks=pytest.mark.slow if "train(" in snippet else ())
        for name, snippet in SNIPPETS.items()
    ],
)
def test_python_block_runs(snippet, tmp_path):
    if "train(" in snippet:
        # The data is the README's; only less of it, so that the suite stays quick.
        snippet = snippet.replace("epochs=2", "epochs=1")
    result = run([sys.executable, "-c", snippet], tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
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
    train = "curriculum-zoo train --model two_layers --data bright_or_dark:200 --curriculum dimming --epochs 3"
    assert train.removeprefix("curriculum-zoo ") in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    trained = run(console(train), tmp_path, PYTHONPATH=str(target))
    assert trained.returncode == 0, trained.stderr
    listed = run(console("curriculum-zoo list plugins"), tmp_path, PYTHONPATH=str(target))
    assert re.search(r"curriculum\s+dimming\s+dimming\s+1\.0\s+dimming:Dimming", listed.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("document", ["README.md", "GUIDE.md"])
def test_shell_blocks_run_one_after_the_other(document, tmp_path):
    own = [line for line in COMMANDS[document] if line.startswith("curriculum-zoo") and line != "curriculum-zoo demo"]
    assert len(own) >= 2
    for line in own:
        # As they stand, but with a smaller network where one is trained from nothing, and an epoch less of others.
        line = line.replace("train --model resnet20_cifar", "train --model simple_cnn")
        if "--pretrained" in line:
            line = line.replace("--epochs 2", "--epochs 1")
        result = run(console(line), tmp_path)
        assert result.returncode == 0, f"{line}\n{result.stderr}"
    assert (tmp_path / "runs" / "first" / "curves.png").stat().st_size > 10_000


@pytest.mark.slow
def test_demo_command_shows_both_arms_side_by_side_and_what_one_may_conclude(tmp_path):
    result = run(console("curriculum-zoo demo --device cpu"), tmp_path)
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines() if re.match(r"\s*(baseline|sharpening)\s+\d", line)]
    assert [row[0] for row in rows] == ["baseline", "sharpening"]
    (clean, blurred, *_), (clean_too, blurred_too, *_) = (
        [float(cell.partition("±")[0]) for cell in row[1:5]] for row in rows
    )
    assert min(clean, clean_too) > 84
    assert blurred_too > blurred + 8
    assert [row[6] for row in rows] == ["1.00×", "1.00×"]
    assert re.search(
        r"^At equal FLOPs and with 3 seeds, sharpening is .* on .*blurred images \(\+", result.stdout, re.M
    )
    assert (tmp_path / "runs" / "demo" / "conditions.png").stat().st_size > 10_000
