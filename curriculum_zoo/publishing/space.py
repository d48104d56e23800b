"""A Space beside published weights: a page on the Hugging Face Hub to try them, that of `curriculum_zoo.serving`.

It has three files. ``README.md`` is kept like a card: what people wrote in it stays. ``app.py`` and
``requirements.txt`` end with their own digest, which tells whether somebody has changed them; a changed one is never
overwritten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import SpaceCardData, constants

from ..errors import PublishError
from ..registry import BUILT_IN, CURRICULA, MODELS, THIS_SESSION, Entry
from ..version import __version__
from ..weights.address import Address
from ..weights.stored import TIMM
from .card import CARD, card_text, license_field, merged_metadata
from .facts import Facts
from .hub_repository import HubRepository, RepositoryState
from .layout import File
from .previous_card import metadata_of, without_metadata
from .publish import FileState, Publication, few, file_states, publish

__all__ = ["APP", "REQUIREMENTS", "SpacePublication", "publish_space", "publish_with_space"]

APP = "app.py"
REQUIREMENTS = "requirements.txt"

SDK_VERSION = "6.31.0"
"""Gradio's; one that the extra ``demo`` takes. It does not depend on what is installed, so that a Space does not."""
PYTHON_VERSION = "3.11"
"""The least that this package runs on; the Hub's own default is older."""

_SEAL = "# Written by `curriculum-zoo publish --space`; changed by hand where this is not its SHA-256: "
_BY_THE_HUB = "Check out the configuration reference at https://huggingface.co/docs/hub/spaces-config-reference"
"""All that the Hub writes into the README.md of a new Space, below its metadata."""


@dataclass(frozen=True)
class SpacePublication:
    """A Space that was published, or would be.

    Attributes:
        hub_id: ``owner/name``, that of the weights.
        files: its files that it is about.
        commit: that holds them; None where nothing was sent yet.
        sent: whether the commit was made now; False where all was remote, and for a dry run.
    """

    hub_id: str
    files: tuple[FileState, ...]
    commit: str | None
    sent: bool


def publish_with_space(
    run: str | Path,
    to: str,
    *,
    private: bool = False,
    dry_run: bool = False,
    update: bool = False,
    show: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> tuple[Publication, SpacePublication]:
    """Publish a run's weights, and a Space of the same name that serves them.

    Whatever of the Space stands in the way is told before anything is sent.

    Args:
        run: as `publish` takes it.
        to: ``owner/name`` of both repositories.
        private: whether repositories that are made now are private.
        dry_run: whether to send nothing and only show what would be sent.
        update: whether files that are in the repositories already may be replaced.
        show: called with what is going to be sent, before it is, and with what was done.
        **options: the others of `publish`.

    Raises:
        PublishError: as `publish` and `publish_space`.
        CurriculumZooError: as `publish`.
    """
    rights: dict[str, Any] = {"private": private, "update": update}
    planned = publish(run, to, dry_run=True, show=show if dry_run else _silent, **rights, **options)
    space = publish_space(planned, dry_run=True, show=show if dry_run else _silent, **rights)
    if dry_run:
        return planned, space
    published = publish(run, to, show=show, **rights, **options)
    return published, publish_space(published, show=show, **rights)


def publish_space(
    publication: Publication,
    *,
    private: bool = False,
    dry_run: bool = False,
    update: bool = False,
    show: Callable[[str], None] = lambda text: None,
) -> SpacePublication:
    """Publish a Space that serves published weights, as one commit.

    It has the name of the weights' repository, and loads them at the publication's tag. A Space that does not exist is
    made, private where the weights are; one that holds nothing but what the Hub writes into a new one is gone on with.

    Args:
        publication: of the weights.
        private: whether a Space that is made now is private. One that is public already is refused then.
        dry_run: whether to send nothing and only show what would be sent.
        update: whether our files that are there already may be replaced.
        show: called with what is going to be sent, before it is, and with what was done.

    Raises:
        PublishError: the Hub does not take it; network or curriculum are of no distribution that a Space could install;
            the Space is public or of another kind; it holds other files and `update` is off; or somebody changed
            ``app.py`` or ``requirements.txt`` by hand.
    """
    repository = HubRepository.of(publication.hub_id, kind="space")
    if not dry_run:
        repository.log_in()
    remote = repository.inspect()
    if private:
        repository.refuse_public(remote)
    private = private or HubRepository.of(publication.hub_id).inspect().private
    previous = repository.read(CARD, remote) if CARD in remote.files else None
    new = remote.empty or (previous is not None and _untouched(remote, previous))
    files = _files(publication, previous)
    states = file_states(files, remote)
    visible = "private" if (remote.private if remote.exists else private) else "public"
    show("\n".join((f"{repository.url} ({visible}) {remote}:", *map(str, states))))
    _refuse(repository, remote, previous, states, new or update)
    changed = {state.path: files[state.path].bytes() for state in states if state.state != "unchanged"}
    if dry_run:
        return SpacePublication(repository.id, states, remote.commit, sent=False)
    commit = remote.commit
    if changed:
        remote = remote if remote.exists else repository.create(private)
        commit = repository.commit(changed, remote, f"Serve {publication.tag}")
        if any(state.state != "unchanged" for state in file_states(files, repository.inspect())):
            raise PublishError(
                f"{repository.url} was published as commit {commit}, but other files are there than were sent. Look at "
                "it; the same command with --update sends them again."
            )
    show(_done(repository, bool(changed), private))
    return SpacePublication(repository.id, states, commit, sent=bool(changed))


# -- what stands in the way ---------------------------------------------------------------------------------------


def _refuse(
    repository: HubRepository,
    remote: RepositoryState,
    previous: str | None,
    states: tuple[FileState, ...],
    may_replace: bool,
) -> None:
    changes = [state for state in states if state.state != "unchanged"]
    sdk = metadata_of(previous or "").get("sdk", "gradio")
    if sdk != "gradio":
        raise PublishError(f"{repository.url} is a Space of another kind ({sdk}). Nothing was sent. Rename it.")
    edited = [
        state.path
        for state in changes
        if state.state == "changed" and state.path != CARD and not _as_written(repository.read(state.path, remote))
    ]
    if edited:
        raise PublishError(
            f"Somebody has changed {' and '.join(edited)} of {repository.url} by hand. Nothing was sent. Delete what "
            "may be written anew, or leave --space out and go on by hand."
        )
    if changes and not may_replace:
        raise PublishError(
            f"{repository.url} holds {len(remote.files)} files already, others than these: "
            f"{few([state.path for state in changes])}. Nothing was sent. --update replaces and adds these and leaves "
            "all others; or leave --space out."
        )


def _untouched(remote: RepositoryState, readme: str) -> bool:
    """Whether a Space is as the Hub makes a new one."""
    return remote.only(CARD) and without_metadata(readme).strip() == _BY_THE_HUB


# -- what it holds ------------------------------------------------------------------------------------------------


def _files(publication: Publication, previous: str | None) -> dict[str, File]:
    address = str(Address("hub", publication.hub_id, publication.tag))
    texts = {
        CARD: _readme(publication, previous),
        APP: _sealed(
            f'"""A page to try {publication.hub_id}: the one of `curriculum-zoo serve`."""\n\n'
            "from curriculum_zoo.serving import Showcase, serve\n\n"
            'if __name__ == "__main__":\n'
            "    # Without a host of its own, it listens where the Space says.\n"
            f'    serve(Showcase.load("{address}"), host=None)\n\n'
        ),
        REQUIREMENTS: _sealed("".join(f"{line}\n" for line in _requirements(publication.facts))),
    }
    return {path: File(text.encode()) for path, text in texts.items()}


def _readme(publication: Publication, previous: str | None) -> str:
    name, facts = publication.hub_id, publication.facts
    before = metadata_of(previous or "")
    models = before.get("models") or []
    models = models if isinstance(models, list) else [models]
    data = SpaceCardData(
        title=before.get("title", name.partition("/")[2]),
        sdk="gradio",
        sdk_version=SDK_VERSION,
        python_version=PYTHON_VERSION,
        app_file=APP,
        models=models if name in models else [name, *models],
        tags=["curriculum-zoo"],
    )
    metadata: dict[str, Any] = {**data.to_dict(), "license": license_field(facts.license)}
    text = (
        "<!-- generated: about -->\n"
        f"A page to try [{name}]({constants.ENDPOINT}/{name}) at {publication.tag}: drop an image, and see its "
        "classes, what speaks for them in it, and the image as each stage of the training curriculum shows it.\n\n"
        "This section, `app.py` and `requirements.txt` are written by `curriculum-zoo publish --space`; other text is "
        "kept.\n"
        "<!-- /generated: about -->\n"
    )
    if previous is not None and without_metadata(previous).strip() == _BY_THE_HUB:
        previous = previous.removesuffix(without_metadata(previous))
    if previous is not None:
        metadata = merged_metadata(previous, metadata)
    return card_text(metadata, text, previous)


def _requirements(facts: Facts) -> list[str]:
    """This package, and the distributions that network and curricula are registered by."""
    entries: list[Entry] = [CURRICULA.entry(name) for name in facts.curricula]
    if facts.distribution != TIMM:
        entries.insert(0, MODELS.entry(f"{facts.distribution}/{facts.architecture}"))
    versions = {entry.distribution: entry.version for entry in entries if entry.distribution != BUILT_IN}
    if THIS_SESSION in versions:
        raise PublishError(
            "Network or curriculum are registered by a decorator, and a Space could not install them. Put them into a "
            "package with an entry point (`curriculum-zoo new-plugin NAME` writes one)."
        )
    pinned: Mapping[str, str] = {f"{BUILT_IN}[demo]": __version__, **versions}
    return [f"{name}=={version}" for name, version in pinned.items()]


def _sealed(text: str) -> str:
    """A text with its digest below it."""
    return f"{text}{_SEAL}\n# {hashlib.sha256(text.encode()).hexdigest()}\n"


def _as_written(text: str) -> bool:
    """Whether a file still is what some version of this package wrote."""
    return text == _sealed(text.partition(_SEAL)[0])


def _done(repository: HubRepository, sent: bool, private: bool) -> str:
    what = (
        "Published; the Hub builds it, which takes minutes:" if sent else "Nothing to send: all of it is there already,"
    )
    secret = "\nThe weights are private: give the Space a secret HF_TOKEN that may read them, in its settings."
    return f"{what} {repository.url}{secret if private else ''}"


def _silent(text: str) -> None:
    """Show nothing."""
