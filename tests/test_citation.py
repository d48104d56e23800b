"""What networks, curricula and data sets say is to be cited for them, each in its own file."""

import dataclasses

import pytest

from curriculum_zoo.citation import DataSource, Paper, cites, data_source, idea_of, papers_of, published_as
from curriculum_zoo.errors import PluginError
from curriculum_zoo.registry import CURRICULA, DATASETS, MODELS, Entry

PAPER = Paper("mine", "My Network", "Ada Lovelace and Alan Turing", "a journal", 2026)


def test_a_paper_is_printed_as_far_as_it_says_who_where_and_when():
    assert str(PAPER) == "Ada Lovelace, Alan Turing. *My Network*. a journal, 2026."
    assert str(Paper("x", "Bare")) == "*Bare*."
    assert PAPER.bibtex == (
        "@misc{mine,\n  title = {{My Network}},\n  author = {Ada Lovelace and Alan Turing},\n"
        "  note = {a journal},\n  year = {2026},\n}"
    )
    assert Paper("x", "Bare").bibtex == "@misc{x,\n  title = {{Bare}},\n}"


def test_a_builder_states_papers_and_idea_and_stays_what_it_was():
    def builder():
        return 3

    other = Paper("other", "Another")
    assert cites(PAPER, other, idea="It looks twice.")(builder) is builder
    assert builder() == 3
    assert papers_of(builder) == (PAPER, other)
    assert idea_of(builder) == "It looks twice."
    assert (papers_of(len), idea_of(len)) == ((), "")


def titles(registry, name):
    return [paper.title.split(":")[0] for paper in papers_of(registry.load(name))]


@pytest.mark.parametrize(
    ("registry", "name", "cited"),
    [
        (MODELS, "hiresnet18", ["Hierarchical Residuals Exploit Brain-Inspired Compositionality", "Deep Residual"]),
        (MODELS, "hiresnext50_32x4d", ["Hierarchical Residuals", "Deep Residual"]),
        (MODELS, "hiresnet20_cifar", ["Hierarchical Residuals", "Deep Residual"]),
        (MODELS, "resnet20_cifar", ["Deep Residual"]),
        (MODELS, "resnet18_cifar", ["Deep Residual"]),
        (MODELS, "simple_cnn", ["Hierarchical Resolution Training"]),
        (MODELS, "glimpse_pyramid", ["Image classification through"]),
        (MODELS, "glimpse_baseline_m1", ["Image classification through"]),
        (CURRICULA, "hrt", ["Hierarchical Resolution Training"]),
        (CURRICULA, "trd", ["Temporally Resolution Decrement"]),
        (CURRICULA, "progressive_sharpening", ["Optimisation with"]),
        (CURRICULA, "gradual_levels", ["Image classification through"]),
        (CURRICULA, "low_frequency", ["EfficientTrain++"]),
        (CURRICULA, "fixres", ["Fixing the train-test"]),
        (CURRICULA, "baseline", []),
    ],
)
def test_what_is_built_in_cites_its_papers(registry, name, cited):
    found = titles(registry, name)
    assert len(found) == len(cited)
    assert all(title.startswith(beginning) for title, beginning in zip(found, cited, strict=True))


def test_every_network_of_ours_cites_something():
    assert [entry.name for entry in MODELS.entries() if entry.built_in and not papers_of(entry.load())] == []


@pytest.mark.parametrize(("model", "curriculum"), [("simple_cnn", "hrt"), ("glimpse_pyramid_m1", "gradual_levels")])
def test_a_network_and_a_curriculum_of_one_paper_cite_the_same(model, curriculum):
    assert papers_of(MODELS.load(model)) == papers_of(CURRICULA.load(curriculum))


@pytest.mark.parametrize(
    ("name", "title", "hub_id", "split"),
    [
        ("cifar10", "CIFAR-10", "uoft-cs/cifar10", "test"),
        ("CIFAR10", "CIFAR-10", "uoft-cs/cifar10", "test"),
        ("tiny-imagenet", "Tiny ImageNet", "zh-plus/tiny-imagenet", "valid"),
        ("demo", "a cut of Fashion-MNIST (`demo`)", "zalando-datasets/fashion_mnist", None),
        ("mnist_canvas", "MNIST on canvases (plain)", "ylecun/mnist", None),
        ("mnist_canvas:noisy,size=84", "MNIST on canvases (noisy,size=84)", "ylecun/mnist", None),
        (
            "fashion_mnist_canvas:textured",
            "Fashion-MNIST on canvases (textured)",
            "zalando-datasets/fashion_mnist",
            None,
        ),
    ],
)
def test_a_data_set_says_under_which_name_its_images_are_published(name, title, hub_id, split):
    source = data_source(name)
    assert (source.title, source.hub_id, source.split) == (title, hub_id, split)
    assert source.paper is not None


@pytest.mark.parametrize("name", ["tiny_imagenet:elsewhere", "npz:cifar10.npz", "caltech101", "my cats", "", ":"])
def test_images_that_nobody_published_under_a_name_have_no_source(name):
    assert data_source(name) is None


def test_a_plugins_source_may_depend_on_its_argument_and_its_failure_is_its_own(monkeypatch):
    def found(argument):
        return DataSource(f"part {argument}", "ada/parts") if argument else None

    @published_as(found)
    def parts(argument, **_):
        raise AssertionError("only what it says is asked for")

    def broken():
        raise RuntimeError("boom")

    entries = {"parts": lambda: parts, "broken": broken}
    session = {name: Entry("dataset", name, "some-plugin", "1", f"some:{name}", load) for name, load in entries.items()}
    monkeypatch.setattr(DATASETS, "_session", session)
    assert data_source("parts:3") == dataclasses.replace(found("3"))
    assert data_source("some-plugin/parts:3").title == "part 3"
    assert data_source("parts") is None
    with pytest.raises(PluginError, match=r"'broken'.*boom"):
        data_source("broken")
