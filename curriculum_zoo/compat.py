"""What other packages keep private and this one needs all the same: each in one function, with the reason.

Nothing else of this package touches a name of another package that begins with an underscore, or the layout of its
files; a test sees to it. Versions are those in which each was last seen to hold: torch 2.14, timm 1.0.31, accelerate
1.15, huggingface_hub 2.4. Packages are imported where they are needed, so that importing this costs nothing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "WRAPPERS",
    "add_all",
    "batch_norms",
    "building_options",
    "commit_in_hub_cache",
    "copy_all",
    "kept_accelerator_state",
    "multiply_all",
    "record_building_options",
    "reset_accelerator_state",
    "sha256_in_hub_cache",
    "take_feature_indices",
]

WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module.")
"""What torch.compile, activation checkpointing and FSDP put into the names of parameters (torch 2.14)."""

_COMMIT = re.compile("[0-9a-f]{40}")
_SHA256 = re.compile("[0-9a-f]{64}")


def take_feature_indices(count: int, indices: int | Sequence[int] | None) -> tuple[list[int], int]:
    """Return which of `count` features are meant by `indices`, and the last of them, as every network of timm's does.

    timm has this as ``timm.models._features.feature_take_indices`` and does not export it (timm 1.0.31).

    Args:
        count: how many features there are.
        indices: the last so many where an integer, all where None, those of that index else, from the end where
            negative.
    """
    from timm.models._features import feature_take_indices

    taken: tuple[list[int], int] = feature_take_indices(count, indices)
    return taken


def batch_norms() -> tuple[type[nn.Module], ...]:
    """Return the classes of BatchNorm layers, for `isinstance`.

    torch gives them a common base and keeps it private, ``torch.nn.modules.batchnorm._BatchNorm`` (torch 2.14). timm's
    own BatchNorm layers derive from one of these.
    """
    from torch import nn

    return nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm


def building_options(network: nn.Module) -> dict[str, Any]:
    """Return the keywords that a network was built with, beyond those that its name stands for.

    timm keeps them on the network as ``_model_args``, from which its `push_to_hf_hub` writes ``config.json`` (timm
    1.0.31).
    """
    return dict(getattr(network, "_model_args", None) or {})


def record_building_options(network: nn.Module, options: Mapping[str, Any], *, replace: bool = False) -> None:
    """Record what a network was built with where timm looks for it; see `building_options`.

    Args:
        network: it gets the attribute.
        options: keywords that build it.
        replace: whether they take the place of what is recorded already.
    """
    if replace or not hasattr(network, "_model_args"):
        vars(network)["_model_args"] = dict(options)


def reset_accelerator_state() -> None:
    """Let the next Accelerator of this process have another device and precision than the one before.

    Accelerate keeps one state a process, and offers its reset to its own tests alone (accelerate 1.15).
    """
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


@contextlib.contextmanager
def kept_accelerator_state() -> Iterator[None]:
    """Give a caller's Accelerator its device, precision and processes back on leaving a ``with`` block.

    Every Accelerator of a process lives on the same dictionaries (accelerate 1.15). Where there is none yet, those of
    the one that is made inside stay.
    """
    from accelerate.state import AcceleratorState, GradientState, PartialState

    shared = [kind._shared_state for kind in (PartialState, AcceleratorState, GradientState)]
    before = [dict(state) for state in shared]
    try:
        yield
    finally:
        if before[0]:
            for state, values in zip(shared, before, strict=True):
                state.clear()
                state.update(values)


def copy_all(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy tensors into others, all of them in few kernels.

    torch's optimisers and its clipping of gradients do such by ``torch._foreach_*``, which have no public name (torch
    2.14).
    """
    import torch

    if targets:
        torch._foreach_copy_(list(targets), list(sources))


def multiply_all(tensors: Sequence[Tensor], factor: Tensor) -> None:
    """Multiply tensors in place by one scalar on their device, all of them in few kernels; see `copy_all`."""
    import torch

    if tensors:
        torch._foreach_mul_(list(tensors), factor)


def add_all(tensors: Sequence[Tensor], others: Sequence[Tensor]) -> None:
    """Add other tensors to tensors in place, all of them in few kernels; see `copy_all`."""
    import torch

    if tensors:
        torch._foreach_add_(list(tensors), list(others))


def commit_in_hub_cache(path: Path) -> str | None:
    """Return the commit that a file in the Hub's cache is of; None where its folder does not name one.

    huggingface_hub keeps files in ``snapshots/<commit>/`` and returns the path alone (huggingface_hub 2.4).

    Args:
        path: what `hf_hub_download` returned, of a file at the top of a repository.
    """
    return path.parent.name if _COMMIT.fullmatch(path.parent.name) else None


def sha256_in_hub_cache(path: Path) -> str | None:
    """Return the SHA-256 that the Hub stated for a file in its cache; None where the file is elsewhere, or small.

    huggingface_hub keeps a large file under its SHA-256 in ``blobs/`` and links to it (huggingface_hub 2.4).
    """
    kept_as = path.resolve().name
    return kept_as if _SHA256.fullmatch(kept_as) else None
