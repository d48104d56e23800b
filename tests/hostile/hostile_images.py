"""Images that are damaged or malicious: arrays, files, folders."""

from __future__ import annotations

import functools
import io
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from damaged import Payload, add, flipped, written

# -- arrays -------------------------------------------------------------------------------------------------------


def arrays(**changes: Any) -> dict[str, Any]:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
    labels = np.arange(6) % 2
    whole = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels} | changes
    return {name: value for name, value in whole.items() if value is not None}


def npz(what: str, says: str, **changes: Any) -> None:
    def make(folder: Path) -> Path:
        np.savez_compressed(folder / "set.npz", **arrays(**changes))
        return folder / "set.npz"

    add("npz", what, "DataError", says, make)


def npz_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        np.savez(folder / "set.npz", **arrays())
        (folder / "set.npz").write_bytes(change((folder / "set.npz").read_bytes()))
        return folder / "set.npz"

    return make


def npy(array: Any, shape: tuple[int, ...] | None = None, descr: str | None = None) -> bytes:
    """An array's file, whose header may lie."""
    file = io.BytesIO()
    stated = {"descr": descr or array.dtype.str, "fortran_order": False, "shape": shape or array.shape}
    np.lib.format.write_array_header_1_0(file, stated)
    return file.getvalue() + array.tobytes()


def npz_members(**members: bytes) -> Callable[[Path], Path]:
    """An archive of which some members are these bytes."""

    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "set.npz", "w") as archive:
            for name, array in arrays().items():
                archive.writestr(f"{name}.npy", members.get(name, npy(array)))
        return folder / "set.npz"

    return make


def _npz_bomb(folder: Path) -> Path:
    """250 kB that NumPy would unpack to 250 MB of black images."""
    with zipfile.ZipFile(folder / "set.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays().items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                if name != "x_train":
                    file.write(npy(array))
                    continue
                file.write(npy(np.zeros(0, np.uint8), shape=(250, 1000, 1000, 1), descr="|u1"))
                for _ in range(250):
                    file.write(bytes(10**6))
    return folder / "set.npz"


def _npz_pickle(folder: Path) -> Path:
    np.savez(folder / "set.npz", **arrays(y_train=np.array([Payload(folder)] * 6, dtype=object)))
    return folder / "set.npz"


def _npz_disguised(folder: Path) -> Path:
    return written("set.npz", pickle.dumps(Payload(folder)))(folder)


def _npz_twice(folder: Path) -> Path:

    with zipfile.ZipFile(folder / "set.npz", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, array in [*arrays().items(), ("x_train", arrays()["x_test"])]:
            archive.writestr(f"{name}.npy", npy(array))
    return folder / "set.npz"


IMAGES = arrays()["x_train"]
npz("an array missing", "has no x_test", x_test=None)
npz("images as floating-point numbers", "float64", x_train=IMAGES / 255)
npz("NaN among the images", "float64", x_train=np.full((6, 8, 8, 3), np.nan))
npz("images as text", "type <U3", x_train=np.array([["cat"] * 8] * 6))
npz("images of one dimension", "has shape", x_train=IMAGES.reshape(-1))
npz("no images", "there is nothing in it", x_train=IMAGES[:0], y_train=np.zeros(0, int))
npz("training and test images of two sizes", "same size", x_test=IMAGES[:, :4])
npz("labels as fractions", "type float64", y_train=np.linspace(0, 1, 6))
npz("labels below zero", "is -1", y_train=np.array([0, 1, 0, 1, 0, -1]))
npz("a label of 2^62", "is 4611686018427387904", y_train=np.array([0, 1, 0, 1, 0, 2**62]))
npz("more labels than images", "labels for", y_train=np.zeros(60, int))
npz("class names that are numbers", "a list of names", classes=np.arange(2))
add("npz", "Python objects that run code", "DataError", "Python objects", _npz_pickle)
add("npz", "a pickle in disguise", "DataError", "no .npz archive", _npz_disguised)
add("npz", "a zip bomb", "DataError", "unpacks from", _npz_bomb)
add("npz", "an array twice", "DataError", "twice", _npz_twice)
add("npz", "a header of 4 TiB", "DataError", "header states", npz_members(x_train=npy(IMAGES, (2**40, 2, 2, 1))))
add(
    "npz",
    "letters of 1 GB each",
    "DataError",
    "header states",
    npz_members(y_train=npy(np.zeros(6, np.uint8), (6,), "|S1000000000")),
)
add(
    "npz",
    "a header with code in it",
    "DataError",
    "damaged",
    npz_members(x_train=npy(IMAGES).replace(b"(6, 8, 8, 3)", b"exit(3333333)"[:12])),
)
add(
    "npz",
    "a header nested 5,000 deep",
    "DataError",
    "damaged",
    npz_members(x_train=b"\x93NUMPY\x01\x00" + struct.pack("<H", 5000) + b"(" * 5000),
)
add("npz", "cut short", "DataError", "no .npz archive", npz_bytes(lambda content: content[:-30]))
add("npz", "a bit of the images flipped", "DataError", "damaged", npz_bytes(lambda content: flipped(content, 600)))
add(
    "npz",
    "a bit of its directory flipped",
    "DataError",
    "damaged|has no|no .npz",
    npz_bytes(lambda content: flipped(content, content.rindex(b"PK\x01\x02"))),
)
add("npz", "a folder", "DataError", "is a folder", lambda folder: folder)


# -- images and folders -------------------------------------------------------------------------------------------


@functools.cache
def picture(format: str) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(file, format=format)
    return file.getvalue()


def png(width: int, height: int, data: bytes = b"", more: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    content = b"zTXtkey\0\0" + zlib.compress(bytes(10**8))
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))


def image(what: str, says: str, content: bytes | str, name: str = "image.png") -> None:
    add("image", what, "DataError", says, written(name, content))


image("empty", "empty", b"")
image("text", "not an image", "no image at all")
image("PNG of 60,000 × 60,000 px in 100 bytes", "cannot be read", png(60_000, 60_000))
image("PNG of 2^31 × 2^31 px", "cannot be read|not an image", png(2**31 - 1, 2**31 - 1))
image("PNG of no width", "cannot be read|not an image", png(0, 40))
image("PNG, cut short", "cannot be read", picture("PNG")[:1000])
image("PNG, a bit of its pixels flipped", "cannot be read", flipped(picture("PNG"), 700))
image("PNG, a bit of its header flipped", "cannot be read|not an image", flipped(picture("PNG"), 18))
image("PNG, a text that unpacks to 100 MB", "cannot be read|not an image", png(40, 40, bytes(121 * 40), text_bomb()))
image("JPEG, cut short", "cannot be read", picture("JPEG")[:600], "image.jpg")
image("JPEG without tables", "cannot be read|not an image", b"\xff\xd8\xff\xda" + bytes(100), "image.jpg")
image("GIF, cut short", "cannot be read|not an image", picture("GIF")[:200], "image.gif")
image("WebP, cut short", "cannot be read|not an image", picture("WEBP")[:200], "image.webp")
image(
    "TIFF, whose directory leads to itself",
    "cannot be read|not an image",
    b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    "image.tif",
)
image(
    "EPS in disguise, which would start Ghostscript",
    "not an image",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\n(canary) (w) file\n%%EOF\n",
    "image.jpg",
)
image(
    "BMP of 2^31 px",
    "cannot be read|not an image",
    b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 1, 1, 0, 0),
    "image.bmp",
)


def _image_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "image.png")
    return folder / "image.png"


add("image", "a pipe", "DataError", "pipe", _image_pipe, posix=True)


def images_of(folder: Path, *classes: str) -> Path:
    for name in classes:
        (folder / name).mkdir()
        for number in range(6):
            (folder / name / f"{number}.png").write_bytes(picture("PNG"))
    return folder


def _empty_class(folder: Path) -> Path:
    (images_of(folder, "cat", "dog") / "owl").mkdir()
    return folder


def _loop_folder(folder: Path) -> Path:
    (folder / "cat").symlink_to(folder, target_is_directory=True)
    (folder / "dog").symlink_to(folder, target_is_directory=True)
    return folder


add("folder", "empty", "DataError", "is empty", lambda folder: folder)
add("folder", "one class", "DataError", "one class", lambda folder: images_of(folder, "cat"))
add("folder", "a class without images", "DataError", "without images", _empty_class)
add("folder", "a file", "DataError", "is a file", written("images", "none"))
add("folder", "classes that are links up the tree", "DataError", "without images", _loop_folder, posix=True)
