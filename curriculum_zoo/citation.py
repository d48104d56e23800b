"""What to cite, and how networks, curricula and data sets say so themselves: each in its own file, a plugin's as ours.

A curriculum has a class attribute ``paper``. The function that builds a network is decorated by `cites`, the one that
opens a data set by `published_as`. Only what a paper's own text states is said of it: no authors for the anonymous, no
venue for the unpublished.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import UnknownNameError
from .registry import DATASETS

__all__ = ["DataSource", "Paper", "cites", "data_source", "idea_of", "papers_of", "published_as"]

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True)
class Paper:
    """What to cite.

    Attributes:
        key: of its BibTeX entry.
        title: as printed.
        authors: in BibTeX's form, ``First Last and First Last``; empty where the text names none.
        where: conference, journal or state, as far as it is known.
        year: of publication; None where the text has none.
    """

    key: str
    title: str
    authors: str = ""
    where: str = ""
    year: int | None = None

    def __str__(self) -> str:
        authors = self.authors.replace(" and ", ", ")
        rest = ", ".join(part for part in (self.where, str(self.year or "")) if part)
        return " ".join(f"{part}." for part in (authors, f"*{self.title}*", rest) if part)

    @property
    def bibtex(self) -> str:
        """Its entry for a bibliography."""
        fields = {"title": f"{{{self.title}}}", "author": self.authors, "note": self.where, "year": self.year}
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join((f"@misc{{{self.key},", *lines, "}"))


@dataclass(frozen=True)
class DataSource:
    """A data set that many know by one name.

    Attributes:
        title: its name in print.
        hub_id: its repository on the Hub.
        config: the part of that repository, where it has several.
        split: that part of it which accuracy is measured on, as it is named there; None where the images are changed,
            so that figures on them are none on the data set itself.
        paper: what to cite for it.
        license: what its makers say of its use, in a sentence.
    """

    title: str
    hub_id: str
    config: str | None = None
    split: str | None = None
    paper: Paper | None = None
    license: str = ""


def cites(*papers: Paper, idea: str = "") -> Callable[[T], T]:
    """Decorator for the function that builds a network: which papers the network comes from.

    ::

        @cites(Paper("mine", "My Network", "Ada Lovelace", year=2026), idea="A MyNet looks twice.")
        def mynet(pretrained=False, **kwargs): ...

    Args:
        *papers: in the order in which a card cites them.
        idea: what the networks of the family have in common, in a sentence; empty where the function's own first line
            says it.
    """

    def decorate(builder: T) -> T:
        stated: Any = builder
        stated.papers, stated.idea = papers, idea
        return builder

    return decorate


def papers_of(target: object) -> tuple[Paper, ...]:
    """Return the papers that a network's builder (``papers``) or a curriculum's class (``paper``) states."""
    stated = (*getattr(target, "papers", ()), getattr(target, "paper", None))
    return tuple(paper for paper in stated if isinstance(paper, Paper))


def idea_of(target: object) -> str:
    """Return what a network's builder says of its family, in a sentence; empty where it says nothing."""
    return str(getattr(target, "idea", ""))


def published_as(source: DataSource | Callable[[str | None], DataSource | None]) -> Callable[[T], T]:
    """Decorator for the function that opens a data set: under which name the images are published.

    Args:
        source: what they are; or, where that depends on the argument after the data set's colon, a function of it.
    """

    def decorate(opener: T) -> T:
        stated: Any = opener
        stated.published = source
        return opener

    return decorate


def data_source(name: str) -> DataSource | None:
    """Return under which name the images of a data set are published; None where it does not say so.

    Args:
        name: as `open_dataset` takes it, ``cifar10`` or ``mnist_canvas:noisy``, or with dashes, ``tiny-imagenet``.

    Raises:
        NameClashError: several plugins claim the name.
        PluginError: the plugin that it names cannot be imported.
    """
    base, _, argument = name.partition(":")
    for known in (base, base.lower().replace("-", "_")):
        try:
            opener = DATASETS.load(known)
        except UnknownNameError:
            continue
        published = getattr(opener, "published", None)
        if isinstance(published, DataSource):
            # An argument may bring any other images.
            return None if argument else published
        found: DataSource | None = published(argument or None) if callable(published) else None
        return found
    return None
