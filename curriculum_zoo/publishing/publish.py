"""Publishing weights on the Hugging Face Hub: one commit, which holds all or nothing, then a tag, then a look at it.

What is there already is never overwritten unasked, and what is there unchanged is not sent again: the same publication
twice makes one commit. huggingface_hub does the transfer, with its tokens and its endpoint (``HF_ENDPOINT``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from huggingface_hub import constants

from ..errors import CurriculumZooError, PublishError
from ..weights.address import Address
from ..weights.config import CONFIG
from ..weights.folder import Which
from .card import CARD, EVAL_RESULTS, license_of
from .facts import Facts
from .finished_run import COMPARISON
from .hub_repository import HubRepository, RepositoryState
from .layout import File, Layout, lay_out

__all__ = ["FileState", "Publication", "few", "file_states", "publish"]

State = Literal["new", "changed", "unchanged", "deleted"]

# What an earlier publication may have left that a later one has not, and that would then say something untrue.
_OURS_ALONE = (EVAL_RESULTS, COMPARISON)
_VERSION = re.compile(r"v(\d+)")


@dataclass(frozen=True)
class FileState:
    """A file of a publication, against what is in the repository.

    Attributes:
        path: in the repository.
        size: in bytes.
        state: ``new``, ``changed``, ``unchanged``, or ``deleted`` where the repository has it and may not keep it.
    """

    path: str
    size: int
    state: State

    def __str__(self) -> str:
        return f"  {self.state:9}  {_bytes(self.size):>9}  {self.path}"


@dataclass(frozen=True)
class Publication:
    """What was published, or would be.

    Attributes:
        hub_id: ``owner/name``.
        files: the repository's files that it is about.
        commit: that holds them; None where nothing was sent yet.
        tag: of that commit.
        sent: whether the commit was made now; False where all was remote, and for a dry run.
        facts: what its config says of the weights.
    """

    hub_id: str
    files: tuple[FileState, ...]
    commit: str | None
    tag: str
    sent: bool
    facts: Facts = field(repr=False)

    @property
    def address(self) -> str:
        """The address under which `create_model` loads it, at this commit where there is one."""
        return str(Address("hub", self.hub_id, self.commit))


def publish(
    run: str | Path,
    to: str,
    *,
    private: bool = False,
    revision: str | None = None,
    dry_run: bool = False,
    update: bool = False,
    which: Which = "best",
    data: str | None = None,
    license: str | None = None,
    runs: Sequence[str | Path] = (),
    baselines: Sequence[str | Path] = (),
    evaluations: Sequence[str | Path] = (),
    show: Callable[[str], None] = lambda text: None,
) -> Publication:
    """Publish a run's weights with card, config, recipe and log, as one commit with a tag.

    A repository that does not exist is made; one that is empty, as an interrupted first publication leaves it, is gone
    on with. Nothing is overwritten without `update`. Afterwards the weights are loaded back from the Hub, at that
    commit, and compared with those sent.

    Args:
        run: the folder of a finished run, or one of released weights, whose card is then the one that counts.
        to: ``owner/name`` of the repository.
        private: whether a repository that is made now is private. One that is public already is refused then.
        revision: name of the tag, by which others load these weights as ``owner/name@revision``; the next free one of
            ``v1``, ``v2``, … where None.
        dry_run: whether to send nothing and only show what would be sent.
        update: whether files that are in the repository already may be replaced. The text of its card that was
            written by hand is kept.
        which: which of the run's weights.
        data: the name that others know the data by; see `lay_out`.
        license: identifier of the weights' licence; ``mit`` where None.
        runs: folders of further runs by the same recipe; see `lay_out`.
        baselines: folders of runs to compare with.
        evaluations: files that ``curriculum-zoo evaluate --json`` wrote of the weights.
        show: called with what is going to be sent, before it is, and with what was done.

    Raises:
        PublishError: the run is not fit to be published, the Hub does not take it, or something stands in its way;
            the text says what has happened until then.
        CurriculumZooError: recipe, config or weights are damaged.
    """
    repository = HubRepository.of(to)
    others = {"runs": runs, "baselines": baselines, "evaluations": evaluations}
    layout = lay_out(run, which=which, data=data, license=license, **others)
    return _Upload(repository, layout, Path(run), revision, private, update, show).publish(dry_run)


@dataclass(frozen=True)
class _Upload:
    """A publication of a layout in a repository: what is sent, under which tag, and whether it arrived."""

    repository: HubRepository
    layout: Layout
    run: Path
    revision: str | None
    private: bool
    update: bool
    show: Callable[[str], None]

    def publish(self, dry_run: bool) -> Publication:
        repository = self.repository
        if not dry_run:
            repository.log_in()
        remote = repository.inspect()
        if self.private:
            repository.refuse_public(remote)
        files = self._files(remote)
        facts = Facts(json.loads(files[CONFIG].bytes()))
        states = file_states(files, remote, ours_alone=_OURS_ALONE)
        tag = self._tag(remote, states)
        self._announce(remote, files, states, tag)
        self._refuse_overwriting(remote, states)
        if dry_run:
            return Publication(repository.id, states, remote.commit, tag, sent=False, facts=facts)
        commit, sent = remote.commit, any(state.state != "unchanged" for state in states)
        if sent:
            remote = remote if remote.exists else repository.create(self.private)
            changes = {state.path: files.get(state.path) for state in states if state.state != "unchanged"}
            contents = {path: file.content if file else None for path, file in changes.items()}
            commit = repository.commit(contents, remote, f"Publish {tag}")
        assert commit is not None
        if remote.tags.get(tag) != commit:
            repository.tag(tag, commit)
        publication = Publication(repository.id, states, commit, tag, sent, facts)
        self._load_back(publication)
        self.show(self._done(publication))
        return publication

    def _files(self, remote: RepositoryState) -> dict[str, File]:
        """All files; the card goes on from the one that is remote, a released folder's from its own."""
        released = self.layout.written is not None
        name = self.run.resolve().name if released else self.repository.id.partition("/")[2]
        previous = None
        if CARD in remote.files and not released:
            previous = self.repository.read(CARD, remote)
        loads = name if released else str(Address("hub", self.repository.id))
        return self.layout.files(name=name, loads=loads, hub_id=self.repository.id, previous=previous)

    def _refuse_overwriting(self, remote: RepositoryState, states: Sequence[FileState]) -> None:
        changes = [state for state in states if state.state != "unchanged"]
        if self.update or remote.empty or not changes:
            return
        raise PublishError(
            f"{self.repository.id} holds {len(remote.files)} files already, others than these: "
            f"{few([state.path for state in changes])}. Nothing was sent. --update replaces and adds these and leaves "
            "all others; or choose another name."
        )

    def _tag(self, remote: RepositoryState, states: Sequence[FileState]) -> str:
        """The name of the tag; refused where it is taken by something else than what is published."""
        same = all(state.state == "unchanged" for state in states)
        if self.revision is None:
            numbers = {int(match[1]): tag for tag in remote.tags if (match := _VERSION.fullmatch(tag))}
            latest = max(numbers, default=0)
            if same and latest and remote.tags[numbers[latest]] == remote.commit:
                return numbers[latest]
            return f"v{latest + 1}"
        if self.revision in remote.tags and not (same and remote.tags[self.revision] == remote.commit):
            raise PublishError(
                f"{self.repository.id} has a tag '{self.revision}' already, of commit "
                f"{remote.tags[self.revision][:8]}. A tag is never moved: choose another --revision. Nothing was sent."
            )
        if self.revision in remote.branches or not re.fullmatch(r"(?!.*\.\.)\w[\w.-]*", self.revision, re.ASCII):
            raise PublishError(
                f"'{self.revision}' cannot be a tag: it is the name of a branch, or has other characters than letters, "
                "digits, dots and dashes. Choose another --revision."
            )
        return self.revision

    def _announce(
        self, remote: RepositoryState, files: Mapping[str, File], states: Sequence[FileState], tag: str
    ) -> None:
        visible = "private" if (remote.private if remote.exists else self.private) else "public"
        license = license_of(files[CARD].bytes().decode())
        head = f"{self.repository.id} at {constants.ENDPOINT} ({visible}) {remote}; tag {tag}, licence {license}:"
        self.show("\n".join((head, *map(str, states))))

    def _load_back(self, publication: Publication) -> None:
        """Load the weights from the Hub as anyone would, and compare them with those sent."""
        from safetensors.torch import load_file

        from ..models import create_model

        try:
            loaded = create_model(publication.address, pretrained=True).state_dict()
        except CurriculumZooError as error:
            raise PublishError(
                f"{publication.hub_id} was published as commit {publication.commit}, but does not load back: {error}"
            ) from error
        sent = load_file(self.layout.weights)
        if loaded.keys() != sent.keys() or any(not sent[name].equal(loaded[name].cpu()) for name in sent):
            raise PublishError(
                f"{publication.hub_id} was published as commit {publication.commit}, but other weights come back than "
                "were sent. Delete that commit, and report it to the authors of curriculum_zoo."
            )

    @staticmethod
    def _done(publication: Publication) -> str:
        what = "Published" if publication.sent else "Nothing to send: all of it is there already,"
        where = f"{constants.ENDPOINT}/{publication.hub_id}"
        return (
            f"{what} as {publication.tag}, commit {publication.commit}; it loads back bit by bit.\n{where}\n\n"
            f'    create_model("{Address("hub", publication.hub_id, publication.tag)}", pretrained=True)'
        )


def file_states(
    files: Mapping[str, File], remote: RepositoryState, ours_alone: Sequence[str] = ()
) -> tuple[FileState, ...]:
    """Compare each file with the repository's; of `ours_alone`, those that a publication has not are deleted."""
    states = [FileState(path, file.size, _state(file, remote.files.get(path))) for path, file in files.items()]
    gone = [path for path in ours_alone if path in remote.files and path not in files]
    return (*states, *(FileState(path, remote.files[path][1], "deleted") for path in gone))


def _state(file: File, known: tuple[str, int] | None) -> State:
    if known is None:
        return "new"
    same = known[1] == file.size and known[0] in (file.sha256, file.git_blob)
    return "unchanged" if same else "changed"


def few(names: Sequence[str]) -> str:
    """Name the first five, and count the others."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _bytes(count: int) -> str:
    return f"{count} B" if count < 1000 else f"{count / 1000:.1f} kB" if count < 10**6 else f"{count / 10**6:.1f} MB"
