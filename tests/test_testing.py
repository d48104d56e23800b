"""The checks for plugin authors: our own entries pass them, and each broken promise is named."""

import os
import sys
from dataclasses import dataclass
from itertools import count

import numpy as np
import pytest
import torch
from torch import nn

from curriculum_zoo import Curriculum, Stage, cli, create_curriculum, list_curricula
from curriculum_zoo.data import ImageSet
from curriculum_zoo.registry import MODELS
from curriculum_zoo.testing import (
    ContractError,
    check_curriculum,
    check_dataset,
    check_in_new_process,
    check_model,
    check_objective,
)
from curriculum_zoo.training.objectives import CrossEntropy


@pytest.mark.parametrize("name", list_curricula())
def test_every_curriculum_of_ours_keeps_its_promises(name):
    check_curriculum(create_curriculum(name, epochs=20))


@pytest.mark.parametrize("expression", ["trd + progressive_sharpening", "hrt:0.4 > (trd + low_frequency)"])
def test_compositions_keep_them_too(expression):
    check_curriculum(create_curriculum(expression, epochs=40))


@pytest.mark.parametrize("name", ["simple_cnn", "resnet20_cifar", "hiresnet20_cifar", "glimpse_baseline_m1"])
def test_models_of_ours_keep_their_promises(name):
    check_model(MODELS.load(name))


# Curricula that break one promise each --------------------------------------------------------------------------------

counter = count()


@dataclass(frozen=True)
class Times:
    factor: float

    def __call__(self, images):
        return images * self.factor


@dataclass(frozen=True)
class InPlace:
    def __call__(self, images):
        return images.mul_(0.5)


@dataclass(frozen=True)
class BatchMean:
    def __call__(self, images):
        return images.mean(0, keepdim=True).expand_as(images)


@dataclass(frozen=True)
class Doubled:
    def __call__(self, images):
        return images.double()


@dataclass(frozen=True, kw_only=True)
class Plan(Curriculum):
    kind: str = "fine"

    def _stage(self, epoch):
        views = {
            "counting": Times(1 / (2 + next(counter))),
            "too bright": Times(1.5),
            "in place": InPlace(),
            "of the batch": BatchMean(),
            "double": Doubled(),
            "lambda": lambda images: images,
        }
        size = 0.5 if self.kind == "wrong size" else None
        return Stage(name="all", view=views.get(self.kind, Times(0.5)), image_size=size)


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("counting", "differs between two calls"),
        ("lambda", "differs between two calls"),
        ("too bright", "values from .* to 1.5"),
        ("in place", "changes the images"),
        ("of the batch", "differently in another batch"),
        ("double", "into torch.float64"),
        ("wrong size", r"\[6, 3, 32, 32\], where \[6, 3, 16, 16\] is due"),
    ],
)
def test_a_curriculum_that_breaks_a_promise_is_told_which(kind, problem, monkeypatch):
    from curriculum_zoo.registry import CURRICULA

    monkeypatch.setattr(CURRICULA, "_session", dict(CURRICULA._session))
    CURRICULA.register(Plan, name="plan")
    check_curriculum(Plan(epochs=2))
    with pytest.raises(ContractError, match=problem):
        check_curriculum(Plan(epochs=2, kind=kind))


@dataclass(frozen=True)
class ByHash:
    def __call__(self, images):
        return images * (hash("a word") % 97 / 97)


@dataclass(frozen=True, kw_only=True)
class Elsewhere(Curriculum):
    kind: str = "fine"

    def _stage(self, epoch):
        size = 16 + os.getpid() % 1000 if self.kind == "by process" else None
        return Stage(name="all", view=ByHash() if self.kind == "by hash" else Times(0.5), image_size=size)


def test_a_plugin_may_print_where_it_is_imported(tmp_path, monkeypatch):
    module = "from test_testing import Elsewhere\nprint('hello')\nclass Loud(Elsewhere):\n    pass\n"
    (tmp_path / "loud_plugin.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    from loud_plugin import Loud

    check_in_new_process(Loud(epochs=1))


@pytest.mark.parametrize("expression", ["trd(variant=batch)+progressive_sharpening(replay=0.3)", "hrt:0.5>mix_size"])
def test_curricula_of_ours_plan_and_show_the_same_in_a_new_process(expression):
    check_in_new_process(create_curriculum(expression, epochs=12))


@pytest.mark.slow
@pytest.mark.parametrize("name", list_curricula())
def test_every_curriculum_of_ours_does(name):
    check_in_new_process(create_curriculum(name, epochs=12))


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("by hash", r"the view of stage\(0\) shows other images in a new process"),
        ("by process", r"stage\(0\) differs in a new process"),
    ],
)
def test_a_curriculum_that_is_another_one_in_a_new_process_is_told_so(kind, problem):
    check_in_new_process(Elsewhere(epochs=1))
    with pytest.raises(ContractError, match=problem):
        check_in_new_process(Elsewhere(epochs=1, kind=kind))


def test_a_class_that_a_new_process_cannot_import_is_told_so(monkeypatch):
    class Inner(Elsewhere):
        pass

    # As in a notebook: pickle finds it here, and nowhere else.
    Inner.__module__, Inner.__qualname__ = "__main__", "Inner"
    monkeypatch.setattr(sys.modules["__main__"], "Inner", Inner, raising=False)
    with pytest.raises(ContractError, match=r"a new process cannot plan by it .*Inner.*can be imported"):
        check_in_new_process(Inner(epochs=1))


# Models, data sets, objectives ----------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self, flaw="", num_classes=10, in_chans=3):
        super().__init__()
        self.flaw = flaw
        self.conv = nn.Conv2d(in_chans, 8, 3)
        self.norm = nn.BatchNorm2d(8, track_running_stats=flaw != "batch statistics")
        self.fc = nn.Linear(8, 10 if flaw == "ten classes" else num_classes)
        if flaw == "unused":
            self.other = nn.Linear(2, 2)
        if flaw == "lambda":
            self.act = lambda x: x

    def forward(self, images):
        if self.flaw == "in place":
            images.add_(1)
        features = self.norm(self.conv(images)).relu().mean((2, 3))
        return self.fc(features + torch.rand(()) if self.flaw == "random" else features)


def build(flaw):
    def net(pretrained=False, **kwargs):
        return Net(flaw, **kwargs)

    return net


@pytest.mark.parametrize(
    ("flaw", "problem"),
    [
        ("ten classes", r"\[4, 10\], where \[4, 3\] is due"),
        ("random", "two passes in eval mode differ"),
        ("batch statistics", "depend on its batch"),
        ("in place", "differ|changes the images"),
        ("unused", "other.weight gets no gradient"),
        ("lambda", "cannot be copied"),
    ],
)
def test_a_model_that_breaks_a_promise_is_told_which(flaw, problem):
    check_model(build(""))
    with pytest.raises(ContractError, match=problem):
        check_model(build(flaw))


class Unpicklable(ImageSet):
    def __reduce__(self):
        raise TypeError("cannot pickle an open file")


def images(argument, *, seed, **_):
    generator = np.random.default_rng(next(counter) if argument == "other" else seed)
    pixels = generator.integers(0, 256, (8, 4, 4, 3)).astype(np.uint8)
    labels = np.arange(8) % 2
    test = labels * 0 if argument == "one class" else labels
    kind = Unpicklable if argument == "open file" else ImageSet
    return 3 if argument == "three" else kind("images", pixels, labels, pixels, test, classes=("a", "b"))


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("three", "returns a builtins.int"),
        ("other", "other images a second time"),
        ("one class", "'b' has no test"),
        ("open file", "cannot be pickled .*Hold paths and arrays"),
    ],
)
def test_a_data_set_that_breaks_a_promise_is_told_which(argument, problem):
    check_dataset(images)
    with pytest.raises(ContractError, match=problem):
        check_dataset(images, argument)


def test_an_objective_without_a_gradient_is_told_so():
    network, stage = Net(), Stage(name="all")
    batch, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    check_objective(CrossEntropy(), network, batch, labels, stage)
    network.requires_grad_(False)
    with pytest.raises(ContractError, match="Return a finite scalar with a gradient"):
        check_objective(CrossEntropy(), network, batch, labels, stage)


def test_the_command_checks_whatever_has_the_name(capsys):
    assert cli.main(["check", "simple_cnn"]) == 0
    assert cli.main(["check", "demo"]) == 0
    assert cli.main(["check", "trd+progressive_sharpening"]) == 0
    said = capsys.readouterr().out
    assert "simple_cnn: the model keeps" in said
    assert "demo: the data set keeps" in said
    assert "progressive_sharpening: the curriculum keeps" in said
    assert cli.main(["check", "simple_cn"]) == 2
    assert "Did you mean 'simple_cnn'?" in capsys.readouterr().err


def test_what_a_plugin_brings_keeps_its_promises_and_what_is_broken_is_told(python, plugin_site):
    code = """
        import contextlib, io, json
        from curriculum_zoo import cli
        names = ("good_net", "quarters", "halves", "stripes", "broken_plan", "not_a_curriculum")
        told = {}
        for name in names:
            with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
                told[name] = [cli.main(["check", name]), out.getvalue()]
        print(json.dumps(told))
    """
    told = python(code, PYTHONPATH=str(plugin_site))
    for name in ("good_net", "quarters", "halves", "stripes"):
        assert told[name][0] == 0, told[name]
        assert "keeps its promises" in told[name][1]
    for name in ("broken_plan", "not_a_curriculum"):
        assert told[name][0] == 2
        assert name in told[name][1]
