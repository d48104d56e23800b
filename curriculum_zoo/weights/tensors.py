"""Tensors in files: safetensors, and what is saved by ``torch.save``, which is read without running code.

This is the one place that takes off what training scripts wrap round a network's state. Of pickled objects only those
are made that are no code: tensors, plain values, ``argparse.Namespace``, which timm's training script writes its
options in, and NumPy's numbers, as accuracies come.
"""

from __future__ import annotations

import argparse
import pickle
import warnings
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compat import WRAPPERS
from ..errors import WeightsError, WeightsWarning

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SUFFIXES", "Content", "keeps_order", "read_content", "read_pickled", "read_tensors", "under_own_names"]

SAFETENSORS = ".safetensors"
SUFFIXES = (SAFETENSORS, ".pt", ".pth", ".bin", ".ckpt", ".th", ".tar", ".pkl")
"""How the names of files of tensors end."""

# Averaged weights come first: it is they that scripts which keep both evaluate.
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict")
_STATES = (*_AVERAGED, "state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", *WRAPPERS)
_COUNTERS = ("n_averaged", "num_batches_tracked")
# A network may lie this many names deep in what was saved: ``model.module.backbone``.
_DEEPEST = 3


@dataclass(frozen=True)
class Content:
    """What a file of tensors holds.

    Attributes:
        tensors: keyed by name, without what wrappers put before all of the names.
        beside: what else stands in a training script's file, epoch and options say; tensors of optimisers included.
        state: the key that the tensors stood under; empty where they are all there is.
    """

    tensors: dict[str, Tensor]
    beside: Mapping[str, Any] = field(default_factory=dict)
    state: str = ""


def keeps_order(path: Path) -> bool:
    """Return whether a file's tensors stand in the order of the network's layers; safetensors sorts what it writes."""
    return path.suffix != SAFETENSORS


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file, keyed by name; averaged ones, and a warning, where it holds both; see `read_content`.

    Raises:
        WeightsError: as `read_content`.
    """
    content = read_content(path)
    last = [key for key in _STATES if key not in _AVERAGED and isinstance(content.beside.get(key), Mapping)]
    if content.state in _AVERAGED and last:
        warnings.warn(
            f"{path} holds averaged weights ({content.state}) beside those of the last step ({last[0]}): the averaged "
            "ones are taken.",
            WeightsWarning,
            stacklevel=2,
        )
    return content.tensors


def read_content(path: Path, *, mapped: bool = False) -> Content:
    """Read a file of tensors.

    Args:
        path: a ``.safetensors`` file, or one of ``torch.save`` with a state dict (``weights_only``), which may stand
            among other things that a training script keeps.
        mapped: whether tensors stay in the file until they are used, where it can be mapped: for a look at what else
            it says.

    Raises:
        WeightsError: the file is damaged, is neither of both, or holds something else than tensors.
    """
    try:
        content = _load_safetensors(path) if path.suffix == SAFETENSORS else read_pickled(path, mapped=mapped)
    except _CodeInside as error:
        raise WeightsError(
            f"{path} holds {error.names}, which only code could make again, and a pickle could run code. "
            f"{_remedy(error.names)}"
        ) from None
    except Exception as error:  # of safetensors and of the system, SafetensorError and MemoryError among them
        kind = "safetensors file" if path.suffix == SAFETENSORS else "state dict of torch.save"
        raise WeightsError(f"{path} is damaged, or no {kind}: {error}. Get it again.") from error
    unwrapped = _unwrapped(content, path)
    _check_plain(unwrapped.tensors, path)
    return unwrapped


def _load_safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(path)


def read_pickled(path: Path, *, mapped: bool = False) -> Any:
    """Return what ``torch.save`` wrote: tensors and plain values, read without running code.

    Args:
        path: the file.
        mapped: whether tensors may stay in the file until they are used.

    Raises:
        ValueError: it is damaged, holds anything else, or unpacks to more than its size; the text says which.
    """
    import torch

    _refuse_compressed(path)
    with torch.serialization.safe_globals(_plain_classes()):
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipfile.is_zipfile(path))
        except Exception as error:  # damage in a pickle shows as any of a dozen exceptions
            names = _code_in(path)
            if names:
                raise _CodeInside(names) from None
            # torch's own text would advise to read the file with code and all.
            if isinstance(error, pickle.UnpicklingError):
                raise ValueError("it holds more than tensors and plain values, and a pickle could run code") from None
            raise ValueError(str(error).partition("\n")[0].rstrip(".") or type(error).__name__) from None


class _CodeInside(ValueError):
    """A pickle asks for classes or functions whose code would have to run."""

    def __init__(self, names: str) -> None:
        super().__init__(f"it holds {names}, which only code could make again, and a pickle could run code")
        self.names = names


def _refuse_compressed(path: Path) -> None:
    """Look into the archive's directory before memory is taken for what it unpacks to."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
        raise ValueError(str(error)) from error
    if unpacked > path.stat().st_size:
        raise ValueError(f"it unpacks to {unpacked:,} bytes, and torch.save compresses nothing")


def _check_plain(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Insist on tensors whose numbers all stand in the file; a few bytes can describe others of any size."""
    import torch

    size = path.stat().st_size
    for name, tensor in tensors.items():
        plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
        if not plain or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_nested:
            kind = f"{tensor.dtype}, {tensor.layout}, on {tensor.device}"
            raise WeightsError(f"{path}: '{name}' is no plain tensor ({kind}). Save a state dict of dense tensors.")
        if tensor.numel() * tensor.element_size() > size:
            raise WeightsError(
                f"{path}: '{name}' has shape {list(tensor.shape)}, more numbers than the file. Get it again, or save "
                "the tensor itself rather than an expanded view of it."
            )


def _plain_classes() -> list[Any]:
    """What torch refuses, and holds nothing but values."""
    import numpy as np

    make_number = np.float64(0).__reduce__()[0]
    numbers = [type(np.dtype(kind)) for kind in ("bool", "int32", "int64", "float32", "float64")]
    # NumPy 2 has moved what makes a number; files name the place of the NumPy that wrote them.
    places = [(make_number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [argparse.Namespace, np.dtype, *numbers, *places]


def _code_in(path: Path) -> str:
    """Names of the classes and functions that a file asks for; empty where it asks for none, or is damaged."""
    import torch

    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # no such file at all
        return ""
    allowed = {f"{kind.__module__}.{kind.__qualname__}" for kind in _plain_classes() if isinstance(kind, type)}
    refused = sorted({name for name in names if name not in allowed and not name.endswith("multiarray.scalar")})
    return ", ".join(refused[:4]) + (", …" if len(refused) > 4 else "")


def _remedy(objects: str) -> str:
    if "lightning" in objects:
        load = "module = YourModule.load_from_checkpoint(file), then save_file(module.state_dict(), …)"
    else:
        load = "build the network, load the file as you did before, then save_file(model.state_dict(), …)"
    return (
        "Where you trust it and have the code that wrote it, save the tensors alone by safetensors.torch: "
        f"{load} into a file that ends in {SAFETENSORS}."
    )


def _unwrapped(content: Any, path: Path) -> Content:
    """The state dict itself, without the wrappings of training scripts."""
    from torch import Tensor

    beside: dict[str, Any] = {}
    state = ""
    while isinstance(content, Mapping):
        found = next((key for key in _STATES if isinstance(content.get(key), Mapping)), "")
        if not found:
            break
        beside |= {key: value for key, value in content.items() if key != found}
        content, state = content[found], state or found
    if isinstance(content, Mapping):
        content = {name: value for name, value in content.items() if name != _COUNTERS[0]}
    plain = isinstance(content, Mapping) and all(isinstance(name, str) for name in content)
    if not plain or not all(isinstance(value, Tensor) for value in content.values()):
        inner = [f"'{key}'" for key, value in content.items() if isinstance(value, Mapping)] if plain else []
        remedy = f"Save one of {', '.join(inner[:4])} alone" if inner else "Save model.state_dict()"
        raise WeightsError(f"{path} holds no state dict, a mapping of names to tensors. {remedy}.")
    names = list(content)
    while names and any(all(name.startswith(shared := prefix) for name in names) for prefix in _PREFIXES):
        names = [name.removeprefix(shared) for name in names]
    return Content(dict(zip(names, content.values(), strict=True)), beside, state)


def under_own_names(tensors: Mapping[str, Tensor], own: Collection[str], source: str) -> dict[str, Tensor]:
    """Return the tensors of a network that was saved inside of another module, under the network's own names.

    Args:
        tensors: keyed by name, ``model.backbone.conv1.weight`` say.
        own: the network's names.
        source: where the tensors come from, for messages.

    Returns:
        Those below the name under which most of the network's are found, and at least half of them; all of them, as
        they are, where there is no such name. What stands outside is left out, and a warning says so.

    Raises:
        WeightsError: the network stands there twice.
    """
    due = {name for name in own if not name.endswith(_COUNTERS)}
    found: dict[str, int] = {}
    for name in tensors:
        parts = name.split(".")
        for depth in range(min(_DEEPEST, len(parts) - 1) + 1):
            if ".".join(parts[depth:]) in due:
                prefix = "".join(f"{part}." for part in parts[:depth])
                found[prefix] = found.get(prefix, 0) + 1
    most = max(found.values(), default=0)
    best = [prefix for prefix, count in found.items() if count == most]
    if 2 * most < len(due) or not most or "" in best:
        return dict(tensors)
    if len(best) > 1:
        places = " and ".join(f"'{prefix[:-1]}'" for prefix in best)
        raise WeightsError(f"'{source}' holds the network more than once, under {places}. Save the one that is meant.")
    inside = {name.removeprefix(best[0]): tensor for name, tensor in tensors.items() if name.startswith(best[0])}
    left = list(dict.fromkeys(name.rpartition(".")[0] or name for name in tensors if not name.startswith(best[0])))
    if left:
        warnings.warn(
            f"Of '{source}' the network under '{best[0][:-1]}' is taken; left out is {', '.join(left[:4])}"
            f"{', …' if len(left) > 4 else ''}.",
            WeightsWarning,
            stacklevel=2,
        )
    return inside
