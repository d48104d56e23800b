"""Weights from the Hugging Face Hub: one commit for config and tensors alike, and one clear error for each failure.

huggingface_hub does the transfer, cache, tokens, endpoint (``HF_ENDPOINT``), offline mode (``HF_HUB_OFFLINE``), resume
of broken downloads and progress bars.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, errors, hf_hub_download

from ..errors import WeightsError
from .config import CONFIG, read_config
from .folder import WEIGHTS, StoredWeights

__all__ = ["HUB", "Repository", "open_repository"]

HUB = "hf-hub:"

_COMMIT = re.compile("[0-9a-f]{40}")
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".th", ".tar")
_TRANSFER = (errors.HTTPError, errors.EntryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError)
_AGAIN = "Check the connection and try again; what is there already is not fetched twice."


@dataclass(frozen=True)
class Repository:
    """A model's repository on the Hub, at a revision.

    Attributes:
        id: ``owner/name``.
        revision: a branch, a tag or a commit; the main branch where None.
        cache: folder of the cache; huggingface_hub's own where None.
    """

    id: str
    revision: str | None = None
    cache: Path | None = None

    def __str__(self) -> str:
        return f"{HUB}{self.id}" + (f"@{self.revision}" if self.revision else "")

    @classmethod
    def of(cls, address: str, cache: str | Path | None = None) -> Repository:
        """The repository of an address ``owner/name[@revision]``.

        Raises:
            WeightsError: it is none.
        """
        name, _, revision = address.removeprefix(HUB).partition("@")
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name, re.ASCII) or "@" in revision or address.endswith("@"):
            raise WeightsError(f"'{address}' is no repository of the Hub's. Say {HUB}owner/name[@revision].")
        return cls(name, revision or None, Path(cache) if cache else None)

    def fetch(self, file: str, *, anew: bool = False) -> Path:
        """A file's path in the cache, downloaded where it is not there yet.

        Args:
            file: its name in the repository.
            anew: whether to download it whatever is in the cache.

        Raises:
            WeightsError: it cannot be had; the text tells why and what to do.
        """
        try:
            path = hf_hub_download(
                self.id,
                file,
                revision=self.revision,
                cache_dir=self.cache,
                force_download=anew,
                library_name="curriculum_zoo",
            )
        except (*_TRANSFER, OSError, ValueError) as error:
            raise WeightsError(f"{self}: {self._told(error, file)}") from error
        return Path(path)

    def weights(self, anew: bool = False) -> Path:
        """The path of the safetensors file; a fresh copy where asked for one and not offline."""
        return self.fetch(WEIGHTS, anew=anew and not constants.HF_HUB_OFFLINE)

    def _instead(self) -> str:
        """A sentence on the pickled weights that a repository holds, for they are not read."""
        try:
            files = HfApi().list_repo_files(self.id, revision=self.revision)
        except (*_TRANSFER, OSError, ValueError):
            return ""
        pickles = [file for file in files if Path(file).suffix in _PICKLES]
        return f" It holds {', '.join(pickles[:3])}, but a pickle could run code, and is not read." if pickles else ""

    def _told(self, error: Exception, file: str) -> str:
        """What went wrong and what to do about it."""
        status = _status(error) or _status(error.__cause__)
        if isinstance(error, errors.GatedRepoError):
            return (
                "access to this repository has to be granted by its owner. Ask for it on the repository's page, log in "
                "by 'hf auth login' and try again."
            )
        if isinstance(error, errors.RepositoryNotFoundError) or status == 401:
            return (
                f"there is no repository '{self.id}', or it is private. Correct the name, or log in by 'hf auth login' "
                "(or set HF_TOKEN) as someone who may read it."
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return f"the repository has no revision '{self.revision}'. Name a branch, a tag or a whole commit hash."
        if isinstance(error, errors.RemoteEntryNotFoundError):
            return (
                f"the repository holds no {file}.{self._instead()} Choose one that has {CONFIG} in timm's format and "
                f"{WEIGHTS}."
            )
        if constants.HF_HUB_OFFLINE:
            return (
                f"{file} is not in the cache ({self.cache or constants.HF_HUB_CACHE}), and HF_HUB_OFFLINE=1 forbids to "
                "download it. Unset that once, with a network."
            )
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            folder = self.cache or constants.HF_HUB_CACHE
            return f"no space is left in {folder} for {file}. Make room, or set HF_HOME to a folder with more."
        if status == 429:
            return "the Hub asks to wait, for there were too many requests. Try again later, or log in for more."
        if status:
            return f"{constants.ENDPOINT} failed to send {file} (HTTP {status}). {_AGAIN}"
        if isinstance(error, errors.HFValidationError):
            return f"that is no name the Hub knows: {error}"
        if isinstance(error, errors.LocalEntryNotFoundError):
            return f"{constants.ENDPOINT} cannot be reached, and {file} is not in the cache. {_AGAIN}"
        if isinstance(error, PermissionError):
            return f"the cache cannot be written to: {error}. Set HF_HOME to a folder that can."
        return f"{file} cannot be fetched: {type(error).__name__}: {error}. {_AGAIN}"


def open_repository(address: str, *, cache: str | Path | None = None, sha256: str | None = None) -> StoredWeights:
    """The weights of a repository on the Hub; the config is fetched, the tensors not yet.

    Whatever the branch does in the meantime, both are of the commit that it points to now.

    Args:
        address: ``owner/name[@revision]``, with ``hf-hub:`` before it or not.
        cache: folder of the cache; huggingface_hub's own where None.
        sha256: what the file of tensors must have, where that is known.

    Raises:
        WeightsError: no such repository or revision, no access, no network, or no config in it.
    """
    repository = Repository.of(address, cache)
    config = repository.fetch(CONFIG)
    # The cache keeps files under the commit that they are of.
    commit = config.parent.name
    pinned = Repository(repository.id, commit if _COMMIT.fullmatch(commit) else repository.revision, repository.cache)
    return StoredWeights(str(pinned), read_config(config.parent), pinned.weights, sha256)


def _status(error: BaseException | None) -> int | None:
    return error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
