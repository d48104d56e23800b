"""Weights from the Hugging Face Hub: one commit for config and tensors alike, and one clear error for each failure.

huggingface_hub does the transfer, cache, tokens, endpoint (``HF_ENDPOINT``), offline mode (``HF_HUB_OFFLINE``), resume
of broken downloads and progress bars.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, errors, hf_hub_download

from ..compat import commit_in_hub_cache
from ..errors import WeightsError
from .config import CONFIG, read_config
from .stored import WEIGHTS, StoredWeights
from .tensors import SAFETENSORS, SUFFIXES

__all__ = ["HUB", "Repository", "open_repository"]

HUB = "hf-hub:"

_PICKLES = tuple(suffix for suffix in SUFFIXES if suffix != SAFETENSORS)
_TRANSFER = (errors.HTTPError, errors.EntryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError)
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG)
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

    def fetch(self, file: str, *, fresh: bool = False) -> Path:
        """Return a file's path in the cache, downloaded where it is not there yet.

        Args:
            file: its name in the repository.
            fresh: whether to download it even if it is in the cache.

        Raises:
            WeightsError: it cannot be had; the text says why and what to do.
        """
        try:
            path = hf_hub_download(
                self.id,
                file,
                revision=self.revision,
                cache_dir=self.cache,
                force_download=fresh,
                library_name="curriculum_zoo",
            )
        except (*_TRANSFER, OSError, ValueError) as error:
            raise WeightsError(f"{self}: {self._explained(error, file)}") from error
        return Path(path)

    def weights(self, fresh: bool = False) -> Path:
        """Return the path of the safetensors file; of a fresh copy where asked for one and not offline."""
        return self.fetch(WEIGHTS, fresh=fresh and not constants.HF_HUB_OFFLINE)

    def _instead(self) -> str:
        """Return a sentence on the pickled weights that a repository holds, for they are not read."""
        try:
            files = HfApi().list_repo_files(self.id, revision=self.revision)
        except (*_TRANSFER, OSError, ValueError):
            return ""
        pickles = [file for file in files if Path(file).suffix in _PICKLES]
        return f" It holds {', '.join(pickles[:3])}, but a pickle could run code, and is not read." if pickles else ""

    def _explained(self, error: Exception, file: str) -> str:
        """Say what went wrong and what to do about it."""
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
        unwritable = _unwritable(error)
        if unwritable is not None:
            return f"the cache cannot be written to: {unwritable}. Set HF_HOME to a folder that can."
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
        return f"{file} cannot be fetched: {type(error).__name__}: {error}. {_AGAIN}"


def open_repository(id: str, revision: str | None = None, *, cache: str | Path | None = None) -> StoredWeights:
    """Return the weights of a repository on the Hub; the config is fetched, the tensors not yet.

    Whatever the branch does in the meantime, both are of the commit that it points to now.

    Args:
        id: ``owner/name``.
        revision: a branch, a tag or a commit; the main branch where None.
        cache: folder of the cache; huggingface_hub's own where None.

    Raises:
        WeightsError: no such repository or revision, no access, no network, or no config in it.
    """
    repository = Repository(id, revision, Path(cache) if cache else None)
    config = repository.fetch(CONFIG)
    pinned = Repository(id, commit_in_hub_cache(config) or revision, repository.cache)
    return StoredWeights(str(pinned), read_config(config.parent), pinned.weights)


def _unwritable(error: BaseException | None) -> OSError | None:
    """The refusal of a file system behind an error, which huggingface_hub may have taken for one of the network."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _UNWRITABLE and error.filename is not None:
            return error
        error = error.__cause__ or error.__context__
    return None


def _status(error: BaseException | None) -> int | None:
    return error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
