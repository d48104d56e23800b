"""Where weights are published: a repository on the Hugging Face Hub, as one who may write to it sees it.

huggingface_hub does the transfer, with its tokens and its endpoint (``HF_ENDPOINT``); here its many failures become one
error each, which says what has happened until then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, errors, get_token
from huggingface_hub.utils import validate_repo_id

from ..errors import PublishError
from ..version import __version__
from .previous_card import read_card

__all__ = ["HubRepository", "RepositoryState"]

_MADE_BY_THE_HUB = (".gitattributes",)


@dataclass(frozen=True)
class RepositoryState:
    """What a repository on the Hub holds, at the moment it was inspected.

    Attributes:
        exists: whether there is one.
        private: whether only its owner sees it.
        commit: the newest of its main branch.
        files: pairs of digest and size in bytes, keyed by path; the digest is the SHA-256 of large files and git's hash
            of others.
        tags: commits, keyed by the name of the tag.
        branches: names of the branches.
    """

    exists: bool = False
    private: bool = False
    commit: str | None = None
    files: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    branches: frozenset[str] = frozenset()

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it that anybody could miss."""
        return self.only()

    def only(self, *paths: str) -> bool:
        """Whether it holds no other files than these, and what the Hub makes."""
        return not self.files.keys() - {*_MADE_BY_THE_HUB, *paths}

    def __str__(self) -> str:
        return "is new" if not self.exists else "is empty" if self.empty else f"is at commit {str(self.commit)[:8]}"


@dataclass(frozen=True)
class HubRepository:
    """A repository on the Hub, as one who may write to it sees it.

    Attributes:
        id: ``owner/name``.
        api: the client.
        kind: a model's or a Space's.
    """

    id: str
    api: HfApi
    kind: Literal["model", "space"] = "model"

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"{constants.ENDPOINT}/{'spaces/' if self.kind == 'space' else ''}{self.id}"

    @classmethod
    def of(cls, name: str, *, kind: Literal["model", "space"] = "model") -> HubRepository:
        """Return the repository ``owner/name``, without a request to the Hub.

        Raises:
            PublishError: it is no name of one.
        """
        try:
            validate_repo_id(name)
        except errors.HFValidationError as error:
            raise PublishError(f"'{name}' is no name for a repository: {error}") from error
        if name.count("/") != 1:
            raise PublishError(f"'{name}' names no owner. Say owner/name, where owner is you or your organisation.")
        return cls(name, HfApi(library_name="curriculum_zoo", library_version=__version__), kind)

    def log_in(self) -> None:
        """Make sure that somebody is logged in.

        Raises:
            PublishError: nobody is, or the token is not valid.
        """
        if get_token() is None:
            raise PublishError(
                "Nobody is logged in to the Hub. Log in by `hf auth login`, or set HF_TOKEN to a token that may write "
                "(huggingface.co/settings/tokens)."
            )
        with self._explained("know the token"):
            self.api.whoami()

    def inspect(self) -> RepositoryState:
        """Return what it holds; nothing where there is no such repository."""
        with self._explained("list what it holds"):
            try:
                ask = self.api.space_info if self.kind == "space" else self.api.model_info
                info = ask(self.id, files_metadata=True)
            except errors.GatedRepoError:
                raise
            except errors.RepositoryNotFoundError:
                return RepositoryState()
            except errors.HfHubHTTPError as error:
                # To those who are not logged in, the Hub answers alike for what is missing and what is private.
                if error.response.status_code == 401 and get_token() is None:
                    return RepositoryState()
                raise
            if info.id != self.id:
                raise PublishError(f"{self.id} was renamed to {info.id}. Say --to {info.id}, or choose another name.")
            refs = self.api.list_repo_refs(self.id, repo_type=self.kind)
        files = {
            sibling.rfilename: (sibling.lfs.sha256 if sibling.lfs else str(sibling.blob_id), sibling.size or 0)
            for sibling in info.siblings or ()
        }
        branches = frozenset(ref.name for ref in refs.branches)
        tags = {ref.name: ref.target_commit for ref in refs.tags}
        return RepositoryState(True, bool(info.private), info.sha, files, tags, branches)

    def read(self, path: str, remote: RepositoryState) -> str:
        """Return a text file of the commit that was inspected, with its own line ends."""
        with self._explained(f"send {path}"):
            file = self.api.hf_hub_download(self.id, path, repo_type=self.kind, revision=remote.commit)
            return read_card(Path(file))

    def refuse_public(self, remote: RepositoryState) -> None:
        """Refuse a repository that everybody sees already.

        Raises:
            PublishError: it is such a one.
        """
        if remote.exists and not remote.private:
            raise PublishError(
                f"{self.url} is public already. Make it private in its settings, or leave --private out."
            )

    def create(self, private: bool) -> RepositoryState:
        """Make the repository, and return what it holds then."""
        with self._explained("make the repository"):
            sdk = "gradio" if self.kind == "space" else None
            self.api.create_repo(self.id, repo_type=self.kind, private=private, space_sdk=sdk)
        return self.inspect()

    def commit(self, files: Mapping[str, bytes | Path | None], remote: RepositoryState, title: str) -> str:
        """Send files as one commit on top of the one that was inspected, and return its hash.

        Args:
            files: contents or paths of large ones, keyed by path in the repository; None deletes the file.
            remote: what the repository was found to hold.
            title: of the commit.
        """
        operations = [
            CommitOperationDelete(path)
            if content is None
            else CommitOperationAdd(path, content if isinstance(content, bytes) else str(content))
            for path, content in files.items()
        ]
        with self._explained("take the commit", commits=True):
            info = self.api.create_commit(
                self.id,
                operations,
                repo_type=self.kind,
                commit_message=title,
                parent_commit=remote.commit,
                revision="main",
            )
        return str(info.oid)

    def tag(self, tag: str, commit: str) -> None:
        """Tag a commit."""
        with self._explained(f"take the tag '{tag}' (the commit {commit} is there; the same command sets the tag)"):
            self.api.create_tag(self.id, tag=tag, revision=commit)

    @contextlib.contextmanager
    def _explained(self, what: str, *, commits: bool = False) -> Iterator[None]:
        """Turn whatever goes wrong while the Hub is asked for something into one error of ours.

        Args:
            what: what the Hub is asked to do, for the message.
            commits: whether that makes a commit, which may then have arrived or not.
        """
        try:
            yield
        except PublishError:
            raise
        except errors.OfflineModeIsEnabled as error:
            raise PublishError("HF_HUB_OFFLINE=1 forbids to talk to the Hub. Unset it to publish.") from error
        except errors.HfHubHTTPError as error:
            raise PublishError(f"The Hub did not {what} of {self.id}: {self._refusal(error)}") from error
        except (errors.HTTPError, OSError) as error:
            whether = " Whether the commit arrived is not known;" if commits else ""
            raise PublishError(
                f"The connection to {constants.ENDPOINT} broke while it was to {what} ({error})."
                f"{whether or ' Nothing was published;'} the same command goes on from here and sends nothing twice."
            ) from error
        except RuntimeError as error:  # what an upload of a large file ends with, whatever went wrong
            why = (str(error.__cause__ or "").strip().splitlines() or ["the connection broke"])[-1]
            raise PublishError(
                f"The Hub did not {what} of {self.id}: {error} ({why}) Nothing was published; the same command goes on "
                "from here and sends nothing twice."
            ) from error
        except ValueError as error:  # the card's metadata, as the Hub's own validator sees it
            raise PublishError(f"The Hub did not {what} of {self.id}: {error}") from error

    def _refusal(self, error: errors.HfHubHTTPError) -> str:
        status = error.response.status_code
        said = error.server_message or str(error).partition("\n")[0]
        owner = self.id.partition("/")[0]
        remedies = {
            401: "the token is not valid. Log in again by `hf auth login`, or set HF_TOKEN.",
            403: f"the token may not write to {owner}'s repositories ({said}). Use one that may, or another owner.",
            404: f"there is no such repository, or the token may not see it ({said}).",
            409: f"{said}. Look at the repository and try again.",
            412: "somebody has changed it in the meantime. Nothing was sent; look at it and try again.",
            429: "it asks to wait, for there were too many requests. Try again later; nothing is sent twice.",
        }
        return remedies.get(status, f"it answered {said} (HTTP {status}). Try again; nothing is sent twice.")
