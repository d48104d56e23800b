"""The served page: as a process, over HTTP, and in a browser."""

import json
import os
import sys
from pathlib import Path

import pytest
from browser import browser, find_chromium
from PIL import Image
from served_process import served_by, without_gradio

from curriculum_zoo import cli
from curriculum_zoo.serving import Showcase, make_page

PICTURE = Path(__file__).parents[2] / "model_cards" / "pictures" / "report.png"


def test_without_gradio_one_error_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.main(["serve", "no-such-model"]) == 2
    assert "pip install 'curriculum-zoo[demo]'" in capsys.readouterr().err


@without_gradio
def test_answers_come_one_at_a_time_and_names_are_no_markup(finished_run, tmp_path):
    page = make_page(Showcase.load(finished_run, device="cpu"))
    (answer,) = [fn for fn in page.fns.values() if fn.api_name == "answer"]
    assert answer.concurrency_limit == 1
    bad = tmp_path / "<b>bold.png"
    if os.name == "nt":
        bad = tmp_path / "&bold.png"
    bad.write_bytes(b"no image")
    problem, classes, *_ = answer.fn(str(bad))
    assert "bold.png" in problem
    assert "<b>" not in problem
    assert str(tmp_path) not in problem
    assert classes is None


@pytest.fixture
def served(tmp_path):
    """The address of a released network that a process serves."""
    command = [sys.executable, "-m", "curriculum_zoo", "serve", "hiresnet18.tiny_imagenet", "--device", "cpu"]
    with served_by(command, tmp_path) as address:
        yield address


def _errors(tab):
    """What the console has of errors; Gradio's own scripts warn of this and that."""
    found = map(json.loads, tab.complaints())
    return [
        each
        for each in found
        if {each.get("type"), each.get("entry", {}).get("level")} & {"error", "assert"} or "exceptionDetails" in each
    ]


def _show(tab, name):
    folder = os.environ.get("CURRICULUM_ZOO_TEST_SCREENSHOTS")
    if folder:
        tab.screenshot(Path(folder) / f"serve_{name}.png")


@pytest.mark.slow
@without_gradio
@pytest.mark.skipif(find_chromium() is None or os.name == "nt", reason="needs Chromium and a POSIX shell")
def test_an_uploaded_image_is_answered_in_a_browser_that_asks_no_other_host(served, tmp_path):
    picture, letter = tmp_path / "turned.jpg", tmp_path / "letter.png"
    source = os.environ.get("CURRICULUM_ZOO_TEST_PICTURE", PICTURE)
    Image.open(source).convert("RGB").save(picture)
    letter.write_bytes(b"no image at all")
    stages = "document.querySelectorAll('.gallery img, .grid-wrap img, .gallery-item img').length"
    with browser(find_chromium()) as tab:
        for name, width, dark in (("light", 1200, False), ("dark", 1200, True), ("phone", 390, False)):
            tab.open(served, width=width, dark=dark)
            tab.wait_for("document.querySelector('input[type=file]')")
            tab.upload(picture if name != "phone" else letter)
            if name == "phone":
                # A file that is no image is refused by name, and the next one is answered.
                tab.wait_for("document.querySelector('[role=alert]')?.innerText.includes('letter.png')")
                _show(tab, "refused")
                tab.js("document.querySelector('button[aria-label=Clear], button[aria-label^=Remove]').click()")
                tab.wait_for("!document.querySelector('[role=alert]') && document.querySelector('input[type=file]')")
                tab.upload(picture)
            tab.wait_for(f"document.body.innerText.includes('by which it was trained') && {stages} > 1")
            tab.wait_for("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
            _show(tab, name)
            assert tab.js("(document.body.innerText.match(/\\d+%/g) ?? []).length") >= 5
            assert tab.js("document.documentElement.scrollWidth") <= width
            if name == "phone":  # the figure stays legible, and is moved within its frame
                frame = "document.querySelector('.figure .image-frame')"
                assert tab.js(f"{frame}.scrollWidth > 1.5 * {frame}.clientWidth")
            assert [url for url in tab.requests() if not url.startswith((served, "blob:"))] == []
            assert _errors(tab) == []
