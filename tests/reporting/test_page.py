"""Pages about runs and comparisons: what they say, that they stand alone, and how they do in a browser."""

import dataclasses
import json
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from browser import browser, find_chromium

from curriculum_zoo import cli
from curriculum_zoo.errors import CheckpointError, DataError
from curriculum_zoo.evaluation.calibration import calibration_of
from curriculum_zoo.evaluation.examination import Examination, Mistake, confusion_matrix
from curriculum_zoo.evaluation.metrics import score
from curriculum_zoo.evaluation.setup import open_evaluation
from curriculum_zoo.reporting import Measures, page, write_page
from curriculum_zoo.reporting.comparison_record import ComparisonRecord
from curriculum_zoo.reporting.evidence import Evidence
from curriculum_zoo.reporting.evidence import _measured as measured
from curriculum_zoo.reporting.model_charts import early_exit_chart
from curriculum_zoo.reporting.run_charts import stages_of
from curriculum_zoo.runs.record import RunRecord

VOID = {"meta", "link", "img", "br", "input", "hr"}
QUICK = Measures(corruptions=("fog", "motion_blur"), probes=("edges", "grey"), device="cpu")


class Tree(HTMLParser):
    """Checks that every element is closed in its turn, and gathers ids, links, words and pictures."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.links, self.words, self.sources, self.tags = [], [], [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [value for name, value in attrs.items() if name in ("href", "xlink:href")]
        self.sources += [attrs["src"]] if "src" in attrs else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def assert_stands_alone(text):
    tree = Tree(text)
    assert len(tree.ids) == len(set(tree.ids))
    assert all(link.startswith(("#", "data:")) for link in tree.links)
    assert {link[1:] for link in tree.links if link.startswith("#")} <= set(tree.ids)
    assert all(source.startswith("data:image/") for source in tree.sources)
    assert "script" not in tree.tags
    assert not re.search(r"url\((?!#)|@import", text)
    return tree


@pytest.fixture(scope="module")
def one(finished_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    return write_page([finished_run], folder / "page.html", measures=QUICK, figures=folder / "figures")


def test_a_page_about_a_run_stands_alone_and_tells_all_sections(one, finished_run):
    tree = assert_stands_alone(one.path.read_text(encoding="utf-8"))
    record = RunRecord.read(finished_run)
    for words in ("Accuracy and loss over epochs", "Timeline of the curriculum", "Confusion matrix", "Resolution sweep",
                  "Accuracy under corruptions", "Shape or texture", "It made no mistake", "Cost account",
                  "Reliability diagram", "Accuracy against coverage", "Recipe", "Environment"):  # fmt: skip
        assert words in tree.text
    assert f"{record.results.top1('best'):.2%}" in tree.text
    assert record.fingerprint in tree.text
    assert tree.tags.count("svg") == len(one.figures) == 8
    assert not one.absent


def test_figures_beside_the_page_are_whole_documents_on_white(one):
    for path in one.figures:
        root = ElementTree.parse(path).getroot()
        assert root.tag.endswith("svg")
        assert "var(--" not in path.read_text(encoding="utf-8")
        assert "fill: #ffffff" in path.read_text(encoding="utf-8")


def test_a_page_is_the_same_each_time(finished_run, tmp_path):
    one, other = (write_page([finished_run], tmp_path / name, measured=False) for name in ("one.html", "other.html"))
    assert one.path.read_bytes() == other.path.read_bytes()
    assert not one.figures


def test_what_cannot_be_measured_is_said_with_its_reason(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "run")
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text(encoding="utf-8"))
    recipe["data"] = f"npz:{tmp_path / 'gone.npz'}"
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    written = write_page([tmp_path / "run"], tmp_path / "page.html", measures=QUICK)
    [reason] = written.absent["run"]
    assert "gone.npz" in reason
    text = Tree(written.path.read_text(encoding="utf-8")).text
    assert f"Not shown. {reason}" in text
    assert "Accuracy and loss over epochs" in text
    assert "Reliability diagram" not in text


def test_a_run_that_has_hardly_begun_has_a_page(finished_run, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.copy(finished_run / "recipe.json", tmp_path / "run")
    written = write_page([tmp_path / "run"], tmp_path / "page.html", measures=QUICK)
    text = assert_stands_alone(written.path.read_text(encoding="utf-8")).text
    assert "0 of 3" in text
    assert "No epoch is done yet" in text


def test_stages_add_up_to_the_run():
    lines = [
        {"epoch": epoch, "stage": stage, "image_size": side, "flops": flops, "full_flops": 100 * (epoch + 1),
         "seconds": 2.0 * (epoch + 1), "peak_memory_bytes": memory}
        for epoch, (stage, side, flops, memory) in enumerate(
            [("small", 16, 25, 5), ("full", 32, 125, 9), ("small", 16, 150, 7), ("small", 16, 175, None)])
    ]  # fmt: skip
    small, full = stages_of(lines)
    assert (small.letter, small.spans, small.epochs, small.flops) == ("A", ((1, 1), (3, 4)), 3, 75)
    assert (full.letter, full.spans, full.epochs, full.flops) == ("B", ((2, 2),), 1, 100)
    assert (small.relative_flops, full.relative_flops) == (0.25, 1.0)
    assert (small.seconds, small.peak_memory, full.peak_memory) == (6.0, 7, 9)


def long_run(record):
    """The record of 200 epochs, with a stage of its own for each resolution from 8 to 27 px."""
    lines = []
    for epoch in range(200):
        line = dict(record.metrics[epoch % len(record.metrics)], epoch=epoch, stage=f"{8 + epoch % 20} px")
        line |= {"image_size": 8 + epoch % 20, "flops": 10**9 * (epoch + 1), "full_flops": 2 * 10**9 * (epoch + 1)}
        lines.append(line | {"seconds": 1.5 * (epoch + 1), "train_accuracy": epoch / 200})
    return dataclasses.replace(
        record, recipe=dataclasses.replace(record.recipe, epochs=200), metrics=tuple(lines), results=None
    )


def thousand_classes():
    """An examination of a thousand classes, half of the answers right; names that would be tags, were they not text."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3000) % 1000
    logits = torch.randn(3000, 1000, generator=generator)
    logits[torch.arange(3000), labels] += 4
    confidence, predicted = logits.double().softmax(1).max(1)
    names = tuple(f"<b>class {number}</b> & \"more\"<script>alert('{number}')</script>" for number in range(1000))
    noise = torch.rand(12, 3, 224, 224, generator=generator)
    return Examination(
        classes=names,
        scores=score(logits, labels),
        matrix=confusion_matrix(predicted, labels, 1000),
        calibration=calibration_of(confidence, predicted == labels),
        mistakes=tuple(Mistake(number, number, number + 1, 0.9, 0.1, image) for number, image in enumerate(noise)),
    )


@pytest.fixture
def large(finished_run, tmp_path, monkeypatch):
    record, evidence = long_run(RunRecord.read(finished_run)), Evidence(examination=thousand_classes())
    monkeypatch.setattr(page, "_read", lambda targets: (None, {"<i>long</i>": record}))
    monkeypatch.setattr(page, "gather", lambda record, measures: evidence)
    return write_page(["long"], tmp_path / "large.html")


def test_a_thousand_classes_and_two_hundred_epochs_stay_small_and_names_stay_text(large):
    assert large.path.stat().st_size < 2 * 2**20
    tree = assert_stands_alone(large.path.read_text(encoding="utf-8"))
    assert "<b>class 1</b> & \"more\"<script>alert('1')</script>" in tree.text
    assert "<i>long</i>" in tree.text
    assert not {"b", "i"} & set(tree.tags)
    assert "9 × 9 classes" in tree.text
    assert "Mistakes that it is surest of" in tree.text
    assert len(tree.sources) == 12


@pytest.fixture(scope="session")
def comparison(quadrants, shared_folder):
    """A finished comparison of two arms and two seeds, with its report."""

    def fill(folder):
        from curriculum_zoo.comparison import Grid, compare

        recipe = {"model": "simple_cnn", "data": f"npz:{quadrants}", "epochs": 2, "batch_size": 64}
        grid = Grid.from_dict({"recipe": recipe, "curricula": ["baseline", "trd(variant=regular)"], "seeds": [0, 1]})
        compare(grid, folder, device="cpu")

    return shared_folder("compared_for_a_page", fill)


def test_a_page_about_a_comparison_gives_its_verdicts_and_a_run_of_each_arm(comparison, tmp_path, capsys):
    output = tmp_path / "page.html"
    flags = ["--output", str(output), "--corruptions", "none", "--probes", "none", "--device", "cpu"]
    assert cli.main(["report", str(comparison), *flags]) == 0
    assert "No corruptions were asked for" in capsys.readouterr().out
    text = output.read_text(encoding="utf-8")
    tree = assert_stands_alone(text)
    record = ComparisonRecord.read(comparison)
    assert [arm["label"] for arm in record.arms] == ["baseline", "trd(variant=regular)"]
    for arm in record.arms:
        assert f"{100 * arm['last']['mean']:.2f}" in tree.text
        assert [run.recipe.seed for run in record.runs(arm)] == [0, 1]
        if arm["to_baseline"]:
            assert re.sub(r"\s+", " ", arm["to_baseline"]["finding"]["sentence"]) in tree.text
    assert text.count(">Reliability diagram</p>") == 2


def test_an_adaptive_network_is_measured_for_early_exit_too(pyramid, canvases):
    with open_evaluation(pyramid, "canvases", device="cpu") as setup:
        found = measured(setup, Measures(corruptions=(), probes=("grey",)))
    assert found.early_exit is not None
    assert set(found.absent) == {"corruptions"}
    chart = early_exit_chart(found.early_exit)
    assert "all at level 3" in chart.inline
    assert f"n={found.early_exit.images} test images" in chart.caption


def test_folders_that_have_no_page_say_what_to_do(finished_run, comparison, tmp_path):
    with pytest.raises(DataError, match="Name the folders"):
        write_page([], tmp_path / "page.html")
    with pytest.raises(CheckpointError, match="holds no run"):
        write_page([tmp_path], tmp_path / "page.html")
    with pytest.raises(CheckpointError, match="a page to itself"):
        write_page([finished_run, comparison], tmp_path / "page.html")
    (tmp_path / "comparison.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match="--show"):
        write_page([tmp_path], tmp_path / "page.html")
    (tmp_path / "report.json").write_text('{"arms": []}', encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"states no cells, changes, grid, stated"):
        write_page([tmp_path], tmp_path / "page.html")


@pytest.mark.slow
@pytest.mark.skipif(find_chromium() is None or sys.platform == "win32", reason="needs Chromium, over a POSIX pipe")
def test_pages_do_well_in_a_browser_at_any_width_and_in_the_dark(
    finished_run, comparison, large, monkeypatch, tmp_path
):
    """No complaint, no request, no sideways scrolling; and nothing that axe-core finds, where CURRICULUM_ZOO_TEST_AXE
    names its ``axe.min.js`` (``npm pack axe-core``)."""
    monkeypatch.undo()
    recorded = write_page([comparison], tmp_path / "compared.html", measured=False)
    run = write_page([finished_run], tmp_path / "run.html", measures=QUICK)
    axe = os.environ.get("CURRICULUM_ZOO_TEST_AXE")
    with browser(find_chromium()) as tab:
        for written in (run, recorded, large):
            papers = set()
            for width, dark in ((1280, False), (360, False), (360, True)):
                tab.open(written.path, width=width, dark=dark)
                assert tab.js("document.querySelectorAll('svg').length") > 0
                assert tab.js("document.documentElement.scrollWidth") <= width
                papers.add(tab.js("getComputedStyle(document.body).backgroundColor"))
                assert tab.complaints() == []
                assert tab.requests() == [written.path.resolve().as_uri()]
                if axe:
                    tab.js(Path(axe).read_text(encoding="utf-8") + ";0")
                    found = tab.js("axe.run().then(r => r.violations.map(v => v.id + ' ' + v.nodes[0].html))")
                    assert found == []
            assert len(papers) == 2
