"""The command line: what it prints, what it costs to ask, and how it refuses what makes no sense."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curriculum_zoo import __version__
from curriculum_zoo.cli import main
from curriculum_zoo.recipes import Recipe

LIGHT = [
    ["--help"],
    ["--version"],
    *([command, "--help"] for command in ("demo", "list", "train", "evaluate", "predict", "glimpses")),
    *(["list", kind] for kind in ("models", "curricula", "datasets", "recipes", "weights", "plugins")),
    ["list", "models", "hiresnet*"],
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Whatever a command writes without being told where lands in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def started(*arguments):
    return [sys.executable, "-m", "curriculum_zoo", *map(str, arguments)]


@pytest.fixture(scope="session")
def glimpsing_weights(shared_folder):
    """A folder of weights: an untrained glimpse pyramid for the classes of `quadrants`, at 56 px."""

    def fill(folder):
        from curriculum_zoo.models import create_model
        from curriculum_zoo.weights.folder import model_config, save_folder

        model = create_model("glimpse_pyramid_m1", num_classes=4)
        config = model_config(
            model,
            architecture="glimpse_pyramid_m1",
            options={},
            input_size=(1, 56, 56),
            mean=(0.4,),
            std=(0.2,),
            classes=("top left", "top right", "bottom left", "bottom right"),
            facts={"recipe": {"validation": 0.1}},
        )
        save_folder(folder, model.state_dict(), config)

    return shared_folder("glimpsing_weights", fill)


# Light questions


def test_help_and_lists_answer_without_torch_or_timm(python):
    answers, heavy = python(
        f"""
        import contextlib, io, json, sys
        from curriculum_zoo.cli import main

        answers = []
        for arguments in {LIGHT!r}:
            with contextlib.redirect_stdout(io.StringIO()) as shown:
                try:
                    code = main(arguments)
                except SystemExit as stopped:
                    code = stopped.code
            answers.append([code, shown.getvalue()])
        print(json.dumps([answers, [name for name in ("torch", "timm", "numpy") if name in sys.modules]]))
        """
    )
    assert heavy == []
    assert [code for code, _ in answers] == [0] * len(LIGHT)
    shown = {" ".join(arguments): text for arguments, (_, text) in zip(LIGHT, answers, strict=True)}
    assert shown["--version"] == f"curriculum-zoo {__version__}\n"
    assert all(command in shown["--help"] for command in ("demo", "list", "train", "evaluate", "predict"))
    assert {"resnet20_cifar", "hiresnet18", "simple_cnn"} <= set(shown["list models"].split())
    assert {"baseline", "trd", "hrt", "progressive_sharpening"} <= set(shown["list curricula"].split())
    assert {"demo", "npz", "folder", "cifar10"} <= set(shown["list datasets"].split())
    assert all(name.startswith("hiresnet") for name in shown["list models hiresnet*"].split())
    assert shown["list plugins"].startswith("kind")
    for flag in ("--model", "--curriculum", "--resume", "--set", "--precision", "--data-root"):
        assert flag in shown["train --help"]


def test_the_module_and_the_script_are_the_same_program():
    script = Path(sys.executable).with_name("curriculum-zoo")
    for command in (started("--version"), [str(script), "--version"]):
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
        assert finished.stdout == f"curriculum-zoo {__version__}\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    # A pipe holds 64 KiB, so the list must go through one that nobody reads.
    finished = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m curriculum_zoo list models | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout == "0\n"
    assert finished.stderr == ""


# From training to a prediction


def test_train_evaluate_predict_resume(quadrants, tmp_path, capsys):
    data = f"npz:{quadrants}"
    flags = ["--model", "simple_cnn", "--data", data, "--curriculum", "trd(variant=regular)", "--epochs", "2"]
    flags += ["--batch-size", "32", "--lr", "0.05", "--optimizer", "momentum", "--seed", "3", "--precision", "fp32"]
    flags += ["--set", "model_options.hidden_size=32", "--set", "normalize=none", "--device", "cpu"]
    assert main(["train", *flags, "--output", "run"]) == 0
    shown = capsys.readouterr().out
    assert "epoch 2/2" in shown
    assert "test accuracy" in shown
    recipe = Recipe.load("run/recipe.json")
    assert (recipe.epochs, recipe.batch_size, recipe.seed, recipe.normalize) == (2, 32, 3, "none")
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.model_options) == ("momentum", 0.05, {"hidden_size": 32})

    assert main(["evaluate", "run", "--data", data, "--resolutions", "16,12", "--device", "cpu", "--json"]) == 0
    at16, at12 = json.loads(capsys.readouterr().out)
    results = json.loads(Path("run/results.json").read_text())
    assert (at16["resolution"], at12["resolution"]) == (16, 12)
    assert at16["top1"] == results["test"]["best"]["top1"]
    assert main(["evaluate", "run", "--data", data, "--resolutions", "16,12", "--device", "cpu"]) == 0
    table = capsys.readouterr().out
    assert f"{at12['top1']:.2%}" in table
    assert "bottom right" in table

    with np.load(quadrants) as arrays:
        Image.fromarray(arrays["x_test"][2]).save("2.png")
    assert main(["predict", "run", "2.png", "--top", "2", "--device", "cpu", "--json"]) == 0
    [told] = json.loads(capsys.readouterr().out)
    assert told["path"] == "2.png"
    assert len(told["classes"]) == 2
    assert main(["predict", "run", "2.png", "--device", "cpu"]) == 0
    name, probability = next(iter(told["classes"].items()))
    assert capsys.readouterr().out.startswith(f"2.png: {name} {probability:.1%}, ")

    weights = Path("run/last/model.safetensors").read_bytes()
    assert main(["train", "--resume", "--output", "run", "--device", "cpu"]) == 0
    assert "test accuracy" in capsys.readouterr().out
    assert Path("run/last/model.safetensors").read_bytes() == weights


@pytest.mark.slow
def test_evaluations_of_chance_and_glimpses(glimpsing_weights, quadrants, capsys):
    folder, data = str(glimpsing_weights), f"npz:{quadrants}"
    flags = ["--levels", "1,3", "--repeats", "3", "--seed", "5", "--part", "validation", "--time", "--device", "cpu"]
    assert main(["evaluate", folder, "--data", data, *flags, "--json"]) == 0
    first, third = json.loads(capsys.readouterr().out)
    assert [(e["levels"], e["repeats"], e["part"]) for e in (first, third)] == [(n, 3, "validation") for n in (1, 3)]
    assert (first["locations"], first["top1_std"]) == (0, 0)
    assert third["locations"] > 0.5
    assert third["flops"] > first["flops"]
    assert main(["evaluate", folder, "--data", data, *flags]) == 0
    table = capsys.readouterr().out
    assert f"{third['top1']:.2%} ± {100 * third['top1_std']:.2f}" in table
    assert f"  {third['locations']:.2f}  " in table
    assert "56 px, level 3" in table
    assert "Timed on cpu, " in table

    command = started("glimpses", folder, "--data", data, "--index", "4,0", "--attend", "top_k", "--levels", "2")
    finished = subprocess.run([*command, "--device", "cpu"], capture_output=True, text=True, check=True)
    told = finished.stdout.splitlines()
    assert len(told) == 2
    for line, index in zip(told, (4, 0), strict=True):
        start, attended, figure = line.split("; ")
        assert start.startswith(f"{data} test image {index}: ")
        assert start.count("%") == 2
        assert attended == "attended 2"
        assert Image.open(figure).size[0] > 1000
    assert main(["glimpses", folder, "glimpses", "--json", "--output", "more", "--device", "cpu"]) == 0
    assert [look["attended"] for look in json.loads(capsys.readouterr().out)] != [2, 2]
    assert len(list(Path("more").iterdir())) == 2


def test_a_recipe_file_is_changed_by_flags_and_the_run_gets_a_folder_of_its_own(quadrants, capsys):
    Recipe(model="simple_cnn", data=f"npz:{quadrants}", epochs=5, batch_size=32).save("mine.json")
    assert main(["train", "--recipe", "mine.json", "--epochs", "1", "--device", "cpu"]) == 0
    folder = Path("runs/simple_cnn-quadrants-baseline-0")
    assert str(folder) in capsys.readouterr().out
    assert Recipe.load(folder / "recipe.json").epochs == 1


# Bad input


@pytest.fixture
def bad(quadrants, tmp_path):
    """``bad(kind)``: a data set with one thing wrong with it, as ``--data`` takes it."""
    arrays = dict(np.load(quadrants))

    def archive(**changed):
        np.savez(
            tmp_path / "bad.npz", **{key: value for key, value in {**arrays, **changed}.items() if value is not None}
        )
        return "npz:bad.npz"

    def folder(*files):
        for file in files:
            (tmp_path / "bad" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "bad" / file).write_bytes(b"this is no picture")
        return "folder:bad"

    def labels(value):
        changed = arrays["y_train"].copy()
        changed[7] = value
        return changed

    kinds = {
        "missing folder": lambda: "folder:nowhere",
        "empty folder": lambda: folder() if (tmp_path / "bad").mkdir() is None else "",
        "one class folder": lambda: folder("cat/1.png"),
        "corrupt images": lambda: folder(*(f"{name}/{n}.png" for name in ("cat", "dog") for n in range(9))),
        "missing file": lambda: "npz:nowhere.npz",
        "no argument": lambda: "npz",
        "no labels": lambda: archive(y_train=None),
        "flat images": lambda: archive(x_train=arrays["x_train"].reshape(320, -1)),
        "channels first": lambda: archive(x_train=arrays["x_train"].transpose(0, 3, 1, 2)),
        "floats": lambda: archive(x_train=arrays["x_train"] / 255),
        "too few labels": lambda: archive(y_train=arrays["y_train"][:-1]),
        "negative label": lambda: archive(y_train=labels(-1)),
        "label out of range": lambda: archive(y_train=labels(4)),
        "one class": lambda: archive(y_train=labels(0) * 0),
        "unknown": lambda: "cifar11",
    }
    return lambda kind: kinds[kind]()


def refused(arguments, capsys):
    """The one message with which a command line is refused; nothing may be left of it."""
    try:
        code = main(arguments)
    except SystemExit as stopped:  # argparse's own way
        code = stopped.code
    shown = capsys.readouterr()
    assert code == 2
    assert shown.out == ""
    assert "Traceback" not in shown.err
    [message, *more] = shown.err.split("curriculum-zoo: ")[1:]
    assert shown.err.startswith("curriculum-zoo: ")
    assert more == []
    assert not Path("run").exists()
    assert not Path("runs").exists()
    return message


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing folder", ["nowhere", "does not exist", "Give a folder"]),
        ("empty folder", ["bad is empty", "one folder for each class"]),
        ("one class folder", ["one class only, 'cat'", "in a folder of their own"]),
        ("corrupt images", ["18 of 18 images", "bad/cat/", "is not an image", "Replace or delete"]),
        ("missing file", ["nowhere.npz does not exist"]),
        ("no argument", ["npz:FILE"]),
        ("no labels", ["bad.npz has no y_train", "Save the arrays under"]),
        ("flat images", ["bad.npz: x_train has shape (320, 768)", "Reshape"]),
        ("channels first", ["bad.npz: x_train has shape (320, 3, 16, 16)", "channels last"]),
        ("floats", ["bad.npz: x_train has type float64", "astype('uint8')"]),
        ("too few labels", ["bad.npz: y_train holds 319 labels for 320 images"]),
        ("negative label", ["bad.npz: y_train[7] is -1", "correct it"]),
        ("label out of range", ["bad.npz", "labels[7] is 4", "4 classes", "Correct the label"]),
        ("one class", ["all training images are of one class", "'top left'", "at least two"]),
        ("unknown", ["No dataset named 'cifar11'", "Did you mean 'cifar10'"]),
    ],
)
def test_data_that_cannot_be_learnt_from_is_refused(bad, capsys, kind, words):
    flags = ["--model", "simple_cnn", "--epochs", "1", "--batch-size", "8", "--device", "cpu"]
    message = refused(["train", *flags, "--data", bad(kind), "--output", "run"], capsys)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model", "resnet20_cifer"], ["resnet20_cifer", "Did you mean 'resnet20_cifar'"]),
        (["--curriculum", "tdr"], ["tdr", "Did you mean 'trd'"]),
        (["--optimizer", "adamv"], ["optimizer.name 'adamv'", "'adamw'"]),
        (["--set", "optimizer.momentun=0.5"], ["optimizer.momentun", "did you mean 'momentum'"]),
        (["--set", "batchsize=3"], ["batchsize", "did you mean 'batch_size'"]),
        (["--set", "epochs"], ["--set epochs", "FIELD=VALUE"]),
        (["--set", "epochs=two"], ["epochs expects an integer, got 'two'"]),
        (["--set", "model.depth=3"], ["model.depth", "'model' has no fields"]),
        (["--epochs", "0"], ["epochs must be at least 1, got 0"]),
        (["--epochs", "many"], ["--epochs", "'many'"]),
        (["--lr", "-0.1"], ["optimizer.lr must be above 0"]),
        (["--lr", "nan"], ["optimizer.lr must be finite"]),
        (["--set", "validation=1.5"], ["validation must be a share below 1", "number of images"]),
        (["--schedule", "triangle"], ["schedule.name", "'onecycle'"]),
        (["--precision", "fp8"], ["precision", "'bf16'"]),
        (["--precision", "fp16"], ["fp16 needs a GPU", "bf16 or fp32"]),
        (["--device", "gpu"], ["no device 'gpu'"]),
        (["--batch-size", "1000"], ["batch_size 1000", "288 training images"]),
        (["--curriculum", "hrt", "--epochs", "3"], ["epochs must be at least 5", "full images"]),
        (["--curriculum", "progressive_sharpening", "--epochs", "4"], ["epochs must be at least 5", "got 4"]),
        (["--curriculum", "trd(participation=2)"], ["participation must be at most 1"]),
        (["--curriculum", "trd(particpation=0.5)"], ["particpation", "'participation'"]),
        (
            ["--curriculum", "trd(resolution=2,variant=regular)"],
            ["stage '2 px'", "4×4 px and more", "higher resolution"],
        ),
        (["--image-size", "2"], ["simple_cnn", "4 px and more"]),
        (["--model", "timm/test_convnext", "--image-size", "4"], ["4x4 px", "higher resolution"]),
        (["--recipe", "nowhere.json"], ["nowhere.json cannot be read"]),
        (["--recipe", "resnet20"], ["No recipe file or name 'resnet20'"]),
        (["--resume"], ["run holds no run", "without --resume"]),
        (["--modle", "x"], ["unrecognized arguments: --modle"]),
    ],
)
def test_settings_that_make_no_sense_are_refused_naming_field_and_remedy(quadrants, capsys, flags, words):
    usual = ["--model", "simple_cnn", "--data", f"npz:{quadrants}", "--epochs", "2", "--device", "cpu"]
    message = refused(["train", *usual, *flags, "--output", "run"], capsys)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train"], ["--model and --data must be given"]),
        (["train", "--data", "demo"], ["--model must be given"]),
        (["train", "--resume"], ["--output"]),
        (["evaluate", "nowhere", "--data", "demo"], ["nowhere"]),
        (["evaluate", ".", "--data", "demo"], ["holds neither a run nor weights"]),
        (["evaluate", ".", "--data", "demo", "--resolutions", "32,0"], ["--resolutions", "at least 1"]),
        (["evaluate", ".", "--data", "demo", "--resolutions", "32;28"], ["--resolutions", "'32;28'"]),
        (["evaluate", ".", "--data", "demo", "--calibrate-batchnorm", "-1"], ["--calibrate-batchnorm", "at least 0"]),
        (["predict", ".", "nowhere.png"], ["nowhere.png: there is no such file"]),
        (["predict", "."], ["IMAGE"]),
        (["predict", ".", "x.png", "--top", "0"], ["--top", "at least 1"]),
        (["evaluate", ".", "--data", "demo", "--part", "train"], ["--part", "'train'", "validation"]),
        (["evaluate", ".", "--data", "demo", "--levels", "2,0"], ["--levels", "at least 1"]),
        (["evaluate", ".", "--data", "demo", "--attend", "guess"], ["--attend", "'guess'", "top_k"]),
        (["evaluate", ".", "--data", "demo", "--repeats", "0"], ["--repeats", "at least 1"]),
        (["glimpses", "."], ["no image to look at"]),
        (["glimpses", ".", "nowhere.png"], ["nowhere.png: there is no such file"]),
        (["glimpses", ".", "--data", "demo", "--index", "1,-1"], ["--index", "at least 0"]),
        (["list", "modles"], ["'modles'", "models"]),
        (["list", "models", "--pattern"], ["--pattern"]),
        (["tarin"], ["'tarin'", "train"]),
        ([], ["COMMAND"]),
    ],
)
def test_other_commands_refuse_as_plainly(capsys, arguments, words):
    message = refused(arguments, capsys)
    for word in words:
        assert word in message


def test_a_recipe_file_with_an_unknown_key_is_named_with_the_key(capsys):
    Path("mine.json").write_text('{"model": "simple_cnn", "data": "demo", "epoch": 3}')
    message = refused(["train", "--recipe", "mine.json", "--output", "run"], capsys)
    assert "mine.json" in message
    assert "epoch is no field of it; did you mean 'epochs'?" in message


def test_a_run_is_neither_overwritten_nor_resumed_with_another_recipe(finished_run, capsys, quadrants):
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*")}
    flags = ["--model", "simple_cnn", "--data", f"npz:{quadrants}", "--output", str(finished_run), "--device", "cpu"]
    assert "holds a run already" in refused(["train", *flags], capsys)
    message = refused(["train", *flags, "--epochs", "4", "--resume"], capsys)
    assert "A run of 3 epochs cannot go on as one of 4" in message
    assert {path: path.stat().st_mtime_ns for path in finished_run.rglob("*")} == before


def test_evaluating_on_other_classes_is_refused(finished_run, capsys):
    message = refused(["evaluate", str(finished_run), "--data", "demo", "--device", "cpu"], capsys)
    assert "tells 4 classes apart, demo has 10" in message


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_the_run_can_be_resumed(quadrants, tmp_path):
    flags = ["--model", "simple_cnn", "--data", f"npz:{quadrants}", "--epochs", "12", "--batch-size", "32"]
    command = started("train", *flags, "--device", "cpu", "--output", "run")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "bufsize": 1}
    # Where a shell runs the suite in the background, its processes would inherit that Ctrl-C is ignored.
    listening = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, preexec_fn=listening, **pipes) as process:
        while "epoch  2/12" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Go on with it by:\ncurriculum-zoo train --output run --resume" in errors
    assert "Traceback" not in errors
    resumed = subprocess.run(
        started("train", "--resume", "--output", "run", "--device", "cpu"),
        capture_output=True, text=True, check=True, env={**os.environ},
    )  # fmt: skip
    assert "test accuracy" in resumed.stdout
    assert len(Path("run/metrics.jsonl").read_text().splitlines()) == 12
