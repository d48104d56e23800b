"""What all drawn figures share: the palette, text that is cut or wrapped to its place, and files that are whole or not.

Colours are Okabe and Ito's, which people with any kind of colour vision tell apart (Okabe and Ito 2008, "Color
Universal Design").
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.decoding.image_file import SUFFIXES
from ..errors import DataError

__all__ = [
    "DARK",
    "DARK_ONES",
    "FORMATS",
    "GREY",
    "LINE",
    "OKABE_ITO",
    "TEXT",
    "Sheet",
    "broken",
    "check_format",
    "figure_paths",
    "fitted",
    "save_figure",
    "shortened",
]

OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442", "#000000")
"""Orange, sky blue, bluish green, reddish purple, blue, vermillion, yellow, black: light and dark ones in turn."""

DARK_ONES = frozenset(OKABE_ITO[number] for number in (4, 5, 7))
"""Those on which text is white."""

DARK, GREY = "#222222", "#9A9A9A"
"""Of text, and of whatever has no colour of its own."""

TEXT, LINE = 8.5, 0.155
"""Usual size of text in points, and height of a line in inches."""

FORMATS = (".png", ".svg")
"""Endings of the files that figures are drawn into."""

_CHARACTER = 0.57  # mean width of a character, as a share of the font's size; DejaVu Sans is a wide font


class Sheet:
    """A figure that is measured in inches from its upper left corner, without the global state of pyplot.

    Args:
        width: in inches.
        height: in inches.

    Attributes:
        figure: matplotlib's.
        page: axes that cover it, in inches.
    """

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure: Any = Figure(figsize=(width, height))
        FigureCanvasAgg(self.figure)
        # Axes of their own for each of fifty images would take seconds.
        self.page: Any = self.figure.add_axes((0, 0, 1, 1), zorder=-1)
        self.page.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
        self.page.axis("off")

    def axes(self, x: float, y: float, width: float, height: float) -> Any:
        """Add axes; their upper left corner stands at x, y."""
        low = 1 - (y + height) / self.height
        return self.figure.add_axes((x / self.width, low, width / self.width, height / self.height))

    def image(self, x: float, y: float, side: float, pixels: npt.NDArray[np.float32]) -> None:
        """Draw pixels into a square, enlarged without interpolation.

        Args:
            x: its left edge.
            y: its upper edge.
            side: of the square.
            pixels: [H, W, C] in [0, 1]: gray where there is one channel, of more than three the first three.
        """
        shown = (pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]).clip(0, 1)
        look = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "nearest", "aspect": "auto"}
        self.page.imshow(shown, extent=(x, x + side, y + side, y), **look)

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write text; its upper left corner stands at x, y where the style says nothing else."""
        usual = {"fontsize": TEXT, "color": DARK, "va": "top", "parse_math": False}
        self.page.text(x, y, text, **{**usual, **style})

    def lines(self, x: float, y: float, lines: Sequence[str], **style: Any) -> None:
        """Write lines of text, the first with its upper left corner at x, y."""
        for number, line in enumerate(lines):
            self.text(x, y + number * LINE, line, **style)

    def bar(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Draw a filled rectangle; its upper left corner stands at x, y."""
        from matplotlib.patches import Rectangle

        self.page.add_patch(Rectangle((x, y), width, height, facecolor=colour))


def save_figure(sheet: Sheet, path: Path, *, title: str, caption: str) -> None:
    """Write a figure, whole or not at all; equal figures give equal bytes.

    SVG files keep their text as text, which can be searched, selected and read aloud.

    Args:
        sheet: the figure.
        path: its ending says the format, ``.png`` or ``.svg``.
        title: for those who do not see the figure.
        caption: likewise; what it shows.

    Raises:
        DataError: another ending, or a file that cannot be written.
    """
    check_format(path)
    from matplotlib import rc_context

    suffix = path.suffix.lower()
    metadata: dict[str, Any] = {"Title": title, "Description": caption} | ({"Date": None} if suffix == ".svg" else {})
    temporary = path.with_name(f"{path.stem}.tmp{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": "curriculum_zoo"}):
            sheet.figure.savefig(temporary, dpi=150, metadata=metadata)
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}. Choose another --output.") from error


def check_format(path: Path) -> None:
    """Raise if the ending of a figure's file is not one of `FORMATS`.

    Raises:
        DataError: it is another one.
    """
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{path}: figures are drawn as {' or '.join(FORMATS)}. Choose one of these endings.")


def figure_paths(names: Sequence[str], folder: Path, suffix: str) -> Iterator[Path]:
    """Return a file for each image's figure, named like the image; none twice, and none that is one of the images.

    Args:
        names: the images' files.
        folder: where the figures go.
        suffix: their ending, with its dot.
    """
    # Some file systems do not tell capitals apart.
    taken = {str(Path(name).resolve()).lower() for name in names}
    for name in names:
        path = Path(name)
        stem = re.sub(r"[^\w.-]+", "_", path.stem if path.suffix.lower() in SUFFIXES else path.name).strip("_")
        for number in itertools.count(1):
            found = folder / (f"{stem or 'image'}{f'-{number}' if number > 1 else ''}{suffix}")
            key = str(found.resolve()).lower()
            if key not in taken:
                taken.add(key)
                yield found
                break


def fitted(lines: Iterable[str], width: float, size: float) -> list[str]:
    """Return lines of text, those too long for a place broken into several.

    Args:
        lines: the text; empty lines are left out.
        width: of the place, in inches.
        size: of the font, in points.
    """
    return [part for line in lines if line for part in textwrap.wrap(line, _characters(width, size))]


def _characters(width: float, size: float) -> int:
    """How many characters of a font there is room for."""
    return max(8, int(width * 72 / (size * _CHARACTER)))


def broken(name: str, width: float, size: float) -> list[str]:
    """Return a name in lines that fit a place, broken behind dots and slashes, else behind dashes and underscores.

    Args:
        name: of a network or file.
        width: of the place, in inches.
        size: of the font, in points.
    """
    count = _characters(width, size)
    lines = [""]
    for long in re.findall(r"[^./]+[./]?|[./]", name):
        for part in [long] if len(long) <= count else re.findall(r"[^_-]+[_-]?|[_-]", long):
            if lines[-1] and len(lines[-1]) + len(part) > count:
                lines.append("")
            lines[-1] += part
    return [piece for line in lines for piece in textwrap.wrap(line, count)]


def shortened(text: str, length: int) -> str:
    """Return text of that many characters at most, an ellipsis in place of what is cut off its end."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"
