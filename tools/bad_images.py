"""What happens to image files that are damaged, unusual or no images: one line a kind, as a Markdown table.

    python tools/bad_images.py [--huge]

Each file lies in a folder of photographs. It is read as training reads it when images stay in their files, and as it is
decoded into memory; both must do the same: show the picture, within what its format loses, or refuse it by name.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from curriculum_zoo.data import PhotoLoader, open_dataset, read_image
from curriculum_zoo.data.decoding.transforms import eval_transform, train_transform
from curriculum_zoo.data.loading.worker_pool import WorkerPool
from curriculum_zoo.errors import DataError
from curriculum_zoo.recipes import PhotoOptions

SIDE = 48
WORKERS = 1
LOSS = 12
"""How far a pixel may be off, of 255: what JPEG and resizing lose on a smooth picture."""

KINDS: dict[str, Callable[[Path], Image.Image | None]] = {}
"""What makes a file of each kind in a folder; it returns the picture to be seen, None where there is none."""


def kind(title: str) -> Callable[[Callable[[Path], Image.Image | None]], Callable[[Path], Image.Image | None]]:
    def note(make: Callable[[Path], Image.Image | None]) -> Callable[[Path], Image.Image | None]:
        KINDS[title] = make
        return make

    return note


def card(width: int = 144, height: int = 144) -> Image.Image:
    """A smooth picture, no two corners of which are alike."""
    rows, columns = np.meshgrid(np.linspace(40, 220, height), np.linspace(40, 220, width), indexing="ij")
    return Image.fromarray(np.stack([columns, rows, 255 - rows], axis=-1).astype(np.uint8))


def jpeg(folder: Path, **options: object) -> Path:
    path = folder / "bad.jpg"
    card().save(path, quality=95, subsampling=0, **options)
    return path


@kind("a plain JPEG file")
def plain(folder: Path) -> Image.Image:
    jpeg(folder)
    return card()


@kind("JPEG, cut short")
def truncated_jpeg(folder: Path) -> None:
    path = jpeg(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@kind("JPEG, cut short by its last 10 bytes")
def barely_truncated(folder: Path) -> None:
    path = jpeg(folder)
    path.write_bytes(path.read_bytes()[:-10])


@kind("JPEG, bytes overwritten (it has no checksums: the damage shows)")
def corrupt_jpeg(folder: Path) -> Image.Image:
    path = jpeg(folder)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(30) + content[middle + 30 :])
    with Image.open(path) as picture:
        return picture.convert("RGB")


@kind("JPEG, header overwritten")
def headless(folder: Path) -> None:
    path = jpeg(folder)
    path.write_bytes(b"\0" * 200 + path.read_bytes()[200:])


@kind("PNG, cut short")
def truncated_png(folder: Path) -> None:
    card().save(folder / "bad.png")
    content = (folder / "bad.png").read_bytes()
    (folder / "bad.png").write_bytes(content[: len(content) // 2])


@kind("PNG, one byte wrong")
def corrupt_png(folder: Path) -> None:
    card().save(folder / "bad.png")
    content = bytearray((folder / "bad.png").read_bytes())
    content[len(content) // 2] ^= 255
    (folder / "bad.png").write_bytes(bytes(content))


@kind("zero bytes")
def empty(folder: Path) -> None:
    (folder / "bad.jpg").write_bytes(b"")


@kind("text that is called .jpg")
def text(folder: Path) -> None:
    (folder / "bad.jpg").write_text("<html>404 not found</html>")


@kind("PNG that is called .jpg")
def misnamed(folder: Path) -> Image.Image:
    card().save(folder / "bad.jpg", format="PNG")
    return card()


@kind("CMYK JPEG")
def cmyk(folder: Path) -> Image.Image:
    card().convert("CMYK").save(folder / "bad.jpg", quality=95, subsampling=0)
    return card()


@kind("gray JPEG")
def gray(folder: Path) -> Image.Image:
    card().convert("L").save(folder / "bad.jpg", quality=95)
    return card().convert("L").convert("RGB")


@kind("palette (GIF)")
def palette(folder: Path) -> Image.Image:
    picture = card().quantize(256)
    picture.save(folder / "bad.gif")
    return picture.convert("RGB")


@kind("16 bit (PNG)")
def sixteen_bit(folder: Path) -> Image.Image:
    values = np.asarray(card().convert("L")).astype(np.uint16) * 257
    Image.fromarray(values).save(folder / "bad.png")
    return card().convert("L").convert("RGB")


@kind("floating-point values (TIFF)")
def floating(folder: Path) -> None:
    Image.fromarray(np.asarray(card().convert("L")).astype(np.float32)).save(folder / "bad.tif")


@kind("transparent (PNG)")
def transparent(folder: Path) -> Image.Image:
    picture = card()
    picture.putalpha(128)
    picture.save(folder / "bad.png")
    return Image.blend(Image.new("RGB", picture.size, "white"), card(), 128 / 255)


@kind("turned by EXIF (JPEG)")
def turned(folder: Path) -> Image.Image:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: what is shown is the stored picture turned by 270 degrees
    card().transpose(Image.Transpose.ROTATE_90).save(folder / "bad.jpg", quality=95, subsampling=0, exif=exif)
    return card()


@kind("animated (GIF)")
def animated(folder: Path) -> Image.Image:
    first = card().quantize(256)
    first.save(folder / "bad.gif", save_all=True, append_images=[Image.new("RGB", first.size, "blue")])
    return first.convert("RGB")


@kind("one pixel")
def one_pixel(folder: Path) -> Image.Image:
    Image.new("RGB", (1, 1), (200, 100, 50)).save(folder / "bad.png")
    return Image.new("RGB", (144, 144), (200, 100, 50))


@kind("one row of 3,000 pixels")
def one_row(folder: Path) -> Image.Image:
    Image.new("RGB", (3000, 1), (200, 100, 50)).save(folder / "bad.png")
    return Image.new("RGB", (144, 144), (200, 100, 50))


@kind("claims 100,000 x 100,000 pixels (PNG)")
def bomb(folder: Path) -> None:
    header = (100_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    start = b"\x89PNG\r\n\x1a\n" + len(header).to_bytes(4, "big") + b"IHDR" + header
    data = b"\0\0\0\0IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big")
    (folder / "bad.png").write_bytes(start + zlib.crc32(b"IHDR" + header).to_bytes(4, "big") + data)


@kind("a folder called bad.jpg with an image inside")
def folder_called_jpg(folder: Path) -> Image.Image:
    (folder / "bad.jpg").mkdir()
    card().save(folder / "bad.jpg" / "inside.png")
    return card()


@kind("a link to itself")
def link_to_itself(folder: Path) -> None:
    os.symlink(folder / "bad.jpg", folder / "bad.jpg")


@kind("a link to a file that is gone")
def dangling(folder: Path) -> None:
    os.symlink(folder / "gone.jpg", folder / "bad.jpg")


@kind("a pipe called .jpg")
def pipe(folder: Path) -> None:
    os.mkfifo(folder / "bad.jpg")


def huge(folder: Path) -> Image.Image:
    """Between what Pillow warns of and what it refuses."""
    Image.new("L", (12_000, 10_000), 120).save(folder / "bad.jpg")
    return Image.new("RGB", (144, 144), (120, 120, 120))


def outcome(title: str, make: Callable[[Path], Image.Image | None]) -> str:
    """What happens to a file of one kind."""
    with tempfile.TemporaryDirectory() as place:
        top = Path(place)
        for name in ("cat", "dog"):
            (top / name).mkdir()
            for number in range(5):
                card().save(top / name / f"good{number}.png")
        expected = make(top / "cat")
        streamed, resident = _streamed(top), _resident(top)
    if expected is None:
        reasons = [seen for seen in (streamed, resident) if isinstance(seen, str)]
        if len(reasons) < 2 or reasons[0] != reasons[1]:
            return f"**WRONG**: {title} is not refused alike: {streamed!r}, {resident!r}"
        return f"refused: {reasons[0]}"
    wanted = np.asarray(expected.resize((SIDE, SIDE), Image.Resampling.BILINEAR)).astype(int)
    for way, seen in (("from the file", streamed), ("in memory", resident)):
        if isinstance(seen, str):
            return f"**WRONG**: refused {way}: {seen}"
        if np.abs(seen - wanted).max() > LOSS:
            return f"**WRONG**: another picture {way}, off by {np.abs(seen - wanted).max()}"
    return "read"


def _streamed(top: Path) -> np.ndarray | str:
    """The bad file's pixels as a worker process reads them, or why it is refused."""
    photos = open_dataset(f"folder:{top}", image_size=SIDE, resident=False)
    options = PhotoOptions()
    pool = WorkerPool(
        photos.images,
        training=train_transform(options, SIDE),
        evaluation=eval_transform(options, SIDE),
        workers=WORKERS,
    )
    index = next(index for index in range(len(photos.images)) if "bad." in photos.images.name(index))
    loader = PhotoLoader(pool, np.array([index]), np.zeros(1, np.int64), batch_size=1, training=False, pixels=SIDE)
    try:
        images, *_ = next(loader.batches(0))
    except DataError as error:
        return _reason(str(error).partition(" To leave out what cannot be read:")[0], photos.images.name(index), top)
    finally:
        pool.close()
    return images[0].permute(1, 2, 0).mul(255).round().int().numpy()


def _resident(top: Path) -> np.ndarray | str:
    photos = open_dataset(f"folder:{top}", image_size=SIDE, resident=False)
    path = next(name for name in map(photos.images.name, range(len(photos.images))) if "bad." in name)
    try:
        return read_image(path, image_size=SIDE).astype(int)
    except DataError as error:
        return _reason(str(error), path, top)


def _reason(text: str, path: str, top: Path) -> str:
    return text.replace(path, "…").replace(str(top), "…")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--huge", action="store_true", help="one of 120 million pixels too, which takes seconds")
    options = parser.parse_args()
    kinds = {**KINDS, "12,000 x 10,000 pixels (JPEG)": huge} if options.huge else KINDS
    print("| file | what happens |\n|---|---|")
    for title, make in kinds.items():
        print(f"| {title} | {outcome(title, make)} |", flush=True)


if __name__ == "__main__":
    main()
