"""The page around a `Showcase`, by Gradio: one computation at a time, and no request to any other host."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from typing import Any

from ..errors import CurriculumZooError, ModelError
from .answers import Showcase

__all__ = ["import_gradio", "make_page", "serve"]

LARGEST = "100mb"
"""Of an upload; larger ones are refused before they are read."""

CSS = """
.gradio-container { max-width: 72rem !important; margin: 0 auto !important; }
.problem { border-left: 4px solid #D55E00; padding: 0.5rem 0.75rem; overflow-wrap: anywhere; }
.gradio-container h1 { overflow-wrap: anywhere; }
.stages .grid-wrap { max-height: none !important; height: auto !important; overflow: visible !important; }
.stages .grid-container { grid-template-rows: auto !important; grid-auto-rows: auto !important; }
.stages .thumbnail-lg { display: flex; flex-direction: column; height: auto !important; aspect-ratio: auto !important; }
.stages .thumbnail-lg > img { height: auto !important; aspect-ratio: 1; }
.stages .caption-label { position: static !important; max-width: none !important; width: 100%; opacity: 1 !important; }
.stages .caption-label { white-space: normal !important; text-align: left; border-left: 0 !important; }
@media (max-width: 600px) {
  .stages .grid-container { grid-template-columns: repeat(2, minmax(0, 1fr)) !important; }
  .figure { contain: inline-size; }
  .figure .image-container, .figure .image-frame { display: block !important; width: 100% !important; }
  .figure .image-frame { overflow-x: auto !important; }
  .figure img { width: 36rem !important; max-width: none !important; }
}
.note { overflow-wrap: anywhere; padding: 0 0.25rem; }
"""

NOTHING: tuple[Any, ...] = (None, None, "", [], "")
"""Classes, figure and its note, stages and their note, where there is no answer."""


def make_page(showcase: Showcase) -> Any:
    """Return the page, a `gradio.Blocks`; `serve` gives it the looks that go with it.

    Raises:
        ModelError: Gradio cannot be imported.
    """
    gradio = import_gradio()
    trained = showcase.trained

    def answer(upload: str | None) -> tuple[Any, ...]:
        if upload is None:
            return ("", *NOTHING)
        file = Path(upload)
        try:
            found = showcase.answer(file)
        except CurriculumZooError as error:
            # Whoever uploads need not know where the server keeps its files.
            return (_problem(str(error).replace(upload, file.name)), *NOTHING)
        figure_note = _note(found.figure_note.replace(upload, file.name))
        return ("", _distinct(found.classes), found.figure, figure_note, list(found.stages), _note(found.stages_note))

    with gradio.Blocks(
        title=f"{trained.name} · curriculum-zoo", analytics_enabled=False, delete_cache=(600, 3600)
    ) as page:
        gradio.HTML(f"<h1>{_title(trained.name)}</h1>")
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                # A file, not gradio.Image, which would decode whatever comes before the network's own reader does.
                gradio.HTML("<h2>An image</h2>")
                upload = gradio.File(label="Drop it here", type="filepath", height=160)
                problem = gradio.HTML()
                classes = gradio.Label(label="Classes", num_top_classes=showcase.top)
            with gradio.Column(scale=2, min_width=280):
                gradio.HTML("<h2>What the network looks at</h2>")
                figure = gradio.Image(
                    label="What the network looks at",
                    show_label=False,
                    elem_classes="figure",
                    type="pil",
                    format="png",
                    interactive=False,
                    buttons=["fullscreen"],
                )
                figure_note = gradio.HTML()
        gradio.HTML("<h2>The image in each stage of the curriculum</h2>")
        stages = gradio.Gallery(
            label="The image in each stage of the curriculum",
            show_label=False,
            elem_classes="stages",
            format="png",
            columns=4,
            object_fit="contain",
            height="auto",
            interactive=False,
        )
        stages_note = gradio.HTML(_note(showcase.curriculum_note))
        # One at a time: what is drawn at random is seeded for the whole process.
        upload.change(
            answer,
            upload,
            [problem, classes, figure, figure_note, stages, stages_note],
            concurrency_limit=1,
            api_name="answer",
        )
    return page.queue(max_size=32)


def serve(showcase: Showcase, *, host: str | None = "127.0.0.1", port: int | None = None, block: bool = True) -> str:
    """Serve the page until the process is interrupted.

    Args:
        showcase: what is shown.
        host: the address to listen at; where None, what GRADIO_SERVER_NAME says, as on a Space, or this machine alone.
        port: the port; where None, what GRADIO_SERVER_PORT says, or the first free one from 7860 on.
        block: whether to return only when interrupted.

    Returns:
        The page's address.

    Raises:
        ModelError: Gradio cannot be imported, or cannot listen there.
    """
    gradio = import_gradio()
    page = make_page(showcase)
    fonts = ["system-ui", "sans-serif"]  # Gradio's own are fetched from Google
    theme = gradio.themes.Base(primary_hue="blue", font=fonts, font_mono=["ui-monospace", "monospace"])
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            inbrowser=False,
            ssr_mode=False,
            footer_links=[],
            max_file_size=LARGEST,
            theme=theme,
            css=CSS,
            prevent_thread_lock=True,
            quiet=True,
        )
    except OSError as error:
        where = f"{host or 'its address'}{'' if port is None else f':{port}'}"
        raise ModelError(f"The page cannot be served at {where}: {error}. Choose another --host or --port.") from error
    print(f"{showcase.trained.name} is served at {address}. End with Ctrl-C.", flush=True)
    if block:
        page.block_thread()
    return str(address)


def import_gradio() -> Any:
    """Gradio, without telemetry.

    Raises:
        ModelError: it cannot be imported.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read where it is imported
    try:
        import gradio
    except ImportError as error:
        raise ModelError(
            f"The page is made by Gradio, which cannot be imported ({error}). Install it: "
            "pip install 'curriculum-zoo[demo]'."
        ) from error
    return gradio


def _distinct(classes: tuple[tuple[str, float], ...]) -> dict[str, float]:
    """Probabilities by name; a name that two classes share is numbered, so that neither is lost."""
    found: dict[str, float] = {}
    for name, probability in classes:
        times = sum(other == name or other.startswith(f"{name} (") for other in found)
        found[f"{name} ({times + 1})" if name in found else name] = probability
    return found


def _title(name: str) -> str:
    """A name that may go on in the next line where its parts meet."""
    return re.sub(r"([._/-])", r"\1<wbr>", html.escape(name))


def _problem(text: str) -> str:
    return f'<div class="problem" role="alert">{html.escape(text)}</div>'


def _note(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>' if text else ""
