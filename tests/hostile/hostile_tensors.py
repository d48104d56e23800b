"""Weights that are damaged or malicious: safetensors, state dicts of torch.save, checkpoints."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from damaged import Payload, add, flipped, sparse, written

# -- weights ------------------------------------------------------------------------------------------------------

CONFIG = {
    "architecture": "simple_cnn",
    "num_classes": 3,
    "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.25] * 3},
}


@functools.cache
def state() -> Mapping[str, Any]:
    import torch

    from curriculum_zoo import create_model

    torch.manual_seed(0)
    return create_model("simple_cnn", num_classes=3).state_dict()


@functools.cache
def safetensors() -> bytes:
    from safetensors.torch import save

    return bytes(save({name: tensor.contiguous() for name, tensor in state().items()}))


def header_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def folder_of(folder: Path, tensors: bytes, config: Mapping[str, Any] | bytes = CONFIG) -> Path:
    """A folder of weights."""
    (folder / "config.json").write_bytes(config if isinstance(config, bytes) else json.dumps(config).encode())
    (folder / "model.safetensors").write_bytes(tensors)
    return folder


def weights(what: str, says: str, change: Callable[[bytes], bytes]) -> None:
    add("safetensors", what, "WeightsError", says, lambda folder: folder_of(folder, change(safetensors())))


def with_header(change: Callable[[dict[str, Any]], bytes | None]) -> Callable[[bytes], bytes]:
    """Safetensors whose header is changed in place, or is the bytes that come back."""

    def changed(content: bytes) -> bytes:
        header, data = header_of(content)
        first = next(key for key in header if key != "__metadata__")
        text = change(header[first]) if change.__code__.co_varnames[0] == "first" else change(header)
        text = json.dumps(header).encode() if text is None else text
        return struct.pack("<Q", len(text)) + text + data

    return changed


def with_tensors(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def changed(_: bytes) -> bytes:
        from safetensors.torch import save

        tensors = {name: tensor.clone() for name, tensor in state().items()}
        change(tensors)
        return bytes(save(tensors))

    return changed


def first_of(tensors: Mapping[str, Any]) -> str:
    return next(name for name, tensor in tensors.items() if tensor.ndim == 4)


weights("empty", "damaged", lambda content: b"")
weights("cut short in the length of its header", "damaged", lambda content: content[:5])
weights("cut short in its header", "damaged", lambda content: content[:60])
weights("cut short in its numbers", "damaged", lambda content: content[:-7])
weights("more bytes than its header states", "damaged", lambda content: content + b"more")
weights("a header of 2^63 bytes", "damaged", lambda content: struct.pack("<Q", 2**63) + content[8:])
weights("a header longer than the file", "damaged", lambda content: struct.pack("<Q", 2**26) + content[8:])
weights("a bit of the header's length flipped", "damaged", lambda content: flipped(content, 0, 1))
weights("a bit of the header's first byte flipped", "damaged", lambda content: flipped(content, 8, 2))
weights(
    "a bit of a tensor's name flipped", "damaged|do not fit", lambda content: flipped(content, content.index(b"weight"))
)
weights("a bit of an offset flipped", "damaged", lambda content: flipped(content, content.index(b"offsets") + 10, 1))
weights("a header that is no JSON", "damaged", with_header(lambda header: b"{no json"))
weights("a header that is no UTF-8", "damaged", with_header(lambda header: b'{"\xff\xfe": 1}'))
weights("a header of 100,000 nested lists", "damaged", with_header(lambda header: b"[" * 100_000))
weights("a header that is a list", "damaged", with_header(lambda header: b"[]"))
weights("enormous integers for a shape", "damaged", with_header(lambda first: first.update(shape=[2**62, 2**62])))
weights(
    "an integer of 5,000 digits",
    "damaged",
    with_header(lambda header: b'{"a": {"dtype": "F32", "shape": [' + b"9" * 5000 + b"]}}"),
)
weights("a shape larger than its numbers", "damaged", with_header(lambda first: first.update(shape=[1000, 1000])))
weights("negative offsets", "damaged", with_header(lambda first: first.update(data_offsets=[-4, 0])))
weights("offsets beyond the end", "damaged", with_header(lambda first: first.update(data_offsets=[0, 2**40])))
weights("offsets as text", "damaged", with_header(lambda first: first.update(data_offsets=["0", "4"])))
weights("an unknown dtype", "damaged", with_header(lambda first: first.update(dtype="PICKLE")))
weights("a tensor missing", "missing", with_tensors(lambda tensors: tensors.pop(first_of(tensors))))
weights(
    "a tensor too many",
    "not the network's",
    with_tensors(lambda tensors: tensors.update(evil=tensors[first_of(tensors)].clone())),
)
weights(
    "a tensor of another shape",
    "has shape",
    with_tensors(lambda tensors: tensors.update({first_of(tensors): tensors[first_of(tensors)].flatten()})),
)
weights(
    "integers for floating-point numbers",
    "torch.int64",
    with_tensors(lambda tensors: tensors.update({first_of(tensors): tensors[first_of(tensors)].long()})),
)
weights(
    "NaN among the numbers",
    "not finite",
    with_tensors(lambda tensors: tensors[first_of(tensors)].view(-1)[5:6].fill_(float("nan"))),
)
weights(
    "infinity among the numbers",
    "not finite",
    with_tensors(lambda tensors: tensors[first_of(tensors)].view(-1)[5:6].fill_(float("inf"))),
)


def _digest(folder: Path) -> Path:

    config = {**CONFIG, "curriculum_zoo": {"sha256": hashlib.sha256(safetensors()).hexdigest()}}
    return folder_of(folder, flipped(safetensors(), len(safetensors()) - 100, 3), config)


add("safetensors", "a bit of its numbers flipped", "WeightsError", "SHA-256 differs", _digest)


def _disguised(folder: Path) -> Path:
    return folder_of(folder, pickle.dumps(Payload(folder)))


def _disguised_zip(folder: Path) -> Path:
    import torch

    torch.save({"weight": Payload(folder)}, folder / "model.pt")
    return folder_of(folder, (folder / "model.pt").read_bytes())


def _directory(folder: Path) -> Path:
    (folder_of(folder, b"") / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    return folder


def _device(folder: Path) -> Path:
    (folder_of(folder, b"") / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("/dev/zero")
    return folder


def _large_header(folder: Path) -> Path:
    folder_of(folder, b"")
    sparse(folder / "model.safetensors", 2**28, struct.pack("<Q", 2**28 - 8))
    return folder


add("safetensors", "a pickle in disguise", "WeightsError", "damaged", _disguised)
add("safetensors", "a torch.save file in disguise", "WeightsError", "damaged", _disguised_zip)
add("safetensors", "a folder in its place", "WeightsError", "missing", _directory)
add("safetensors", "a link to an endless device", "WeightsError", "missing", _device, posix=True)
add("safetensors", "a file of 256 MiB that is one header", "WeightsError", "damaged", _large_header)


# -- state dicts of torch.save ------------------------------------------------------------------------------------


def saved(content: Callable[[Path], Any], name: str = "model.pt", **options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        import torch

        torch.save(content(folder), folder / name, **options)
        return folder / name

    return make


def damaged_pickle(change: Callable[[bytes], bytes], **options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = saved(lambda _: dict(state()), **options)(folder)
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def _bomb(folder: Path) -> Path:
    """200 kB that torch would unpack to 200 MB."""
    import torch

    plain, path = io.BytesIO(), folder / "model.pt"
    torch.save({"weight": torch.zeros(10)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.namelist():
            if member.endswith("data/0"):
                with target.open(member, "w") as file:
                    for _ in range(200):
                        file.write(bytes(10**6))
            else:
                target.writestr(member, source.read(member))
    return path


def _numpy(folder: Path) -> Any:
    return {"weight": np.array([Payload(folder)], dtype=object)}


def _expanded(_: Path) -> Any:
    import torch

    return {"weight": torch.zeros(1).expand(2**40)}


def _sparse(_: Path) -> Any:
    import torch

    return {"weight": torch.sparse_coo_tensor(torch.tensor([[0]]), torch.ones(1), (2**40,), check_invariants=True)}


def _meta(_: Path) -> Any:
    import torch

    return {"weight": torch.empty(4, device="meta")}


def pickles(what: str, says: str, make: Callable[[Path], Path]) -> None:
    add("state dict", what, "WeightsError", says, make)


pickles(
    "a pickle that runs code",
    "could run code",
    lambda folder: written("model.pt", pickle.dumps(Payload(folder)))(folder),
)
pickles("code among the tensors", "could run code", saved(lambda folder: {**state(), "bias": Payload(folder)}))
pickles(
    "code among the tensors, older format",
    "could run code",
    saved(lambda folder: {"bias": Payload(folder)}, _use_new_zipfile_serialization=False),
)
pickles("code within an array of objects", "could run code", saved(_numpy))
pickles("a zip bomb", "unpacks to", _bomb)
pickles("one number stretched to 4 TiB", "more numbers than the file", saved(_expanded))
pickles("a sparse tensor of 2^40 places", "no plain tensor", saved(_sparse))
pickles("a tensor without numbers", "no plain tensor", saved(_meta))
pickles("empty", "damaged", written("model.pt", b""))
pickles("text", "damaged", written("model.pt", "no pickle at all"))
pickles("cut short", "damaged", damaged_pickle(lambda content: content[: len(content) // 2]))
pickles("a bit of its first byte flipped", "damaged", damaged_pickle(lambda content: flipped(content, 0)))
pickles(
    "a bit of its pickle flipped",
    "damaged|could run code|no state dict",
    damaged_pickle(lambda content: flipped(content, content.index(b"_rebuild_tensor") + 3)),
)
pickles(
    "a bit of its directory flipped",
    "damaged",
    damaged_pickle(lambda content: flipped(content, content.rindex(b"PK\x01\x02") + 2, 3)),
)
pickles(
    "older format, cut short",
    "damaged",
    damaged_pickle(lambda content: content[:-11], _use_new_zipfile_serialization=False),
)
pickles(
    "older format, a bit of its pickle flipped",
    "damaged|could run code",
    damaged_pickle(
        lambda content: flipped(content, content.index(b"_rebuild_tensor") + 3), _use_new_zipfile_serialization=False
    ),
)
pickles("a list in place of a mapping", "no state dict", saved(lambda _: [1, 2]))
pickles("numbers in place of tensors", "no state dict", saved(lambda _: {"weight": 3}))
pickles("numbers in place of names", "no state dict", saved(lambda _: dict(enumerate(state().values()))))


# -- checkpoints -------------------------------------------------------------------------------------------------


def checkpoint(what: str, make: Callable[[Path], Path]) -> None:
    add("checkpoint", what, "CheckpointError", "No checkpoint", lambda folder: make(folder).parent)


checkpoint("a pickle that runs code", lambda folder: written("checkpoint.pt", pickle.dumps(Payload(folder)))(folder))
checkpoint("code among the state", saved(lambda folder: {"network": Payload(folder)}, "checkpoint.pt"))
checkpoint(
    "a bit of its pickle flipped",
    damaged_pickle(lambda content: flipped(content, content.index(b"_rebuild_tensor") + 3), name="checkpoint.pt"),
)
checkpoint("cut short", damaged_pickle(lambda content: content[:-500], name="checkpoint.pt"))
