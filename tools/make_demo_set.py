"""Make curriculum_zoo/data/sets/demo.npz, the data set that ships with the package, from the files of Fashion-MNIST.

    python tools/make_demo_set.py FOLDER

FOLDER holds the four official files, {train,t10k}-{images-idx3,labels-idx1}-ubyte.gz, from
https://github.com/zalandoresearch/fashion-mnist or, on Debian, from /usr/share/datasets/fashion-mnist. The same files
give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curriculum_zoo.seeding import derive_seed

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
PER_CLASS = {"train": 600, "t10k": 100}
SEED = 2017
DEMO = Path(__file__).parents[1] / "curriculum_zoo" / "data" / "sets" / "demo.npz"


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes."""
    content = gzip.decompress(path.read_bytes())
    zeros, kind, dimensions = content[:2], content[2], content[3]
    if zeros != b"\0\0" or kind != 8:
        raise SystemExit(f"{path} is no IDX file of unsigned bytes.")
    shape = np.frombuffer(content, dtype=">u4", count=dimensions, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def cut(folder: Path, part: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images and labels of one part: as many of each class as PER_CLASS says, in the order of the source."""
    images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    keys = np.random.PCG64(derive_seed(SEED, len(labels))).random_raw(len(labels))
    chosen = []
    for label in range(len(CLASSES)):
        members = np.flatnonzero(labels == label)
        chosen.append(members[np.argsort(keys[members], kind="stable")[: PER_CLASS[part]]])
    indices = np.sort(np.concatenate(chosen))
    return images[indices], labels[indices]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with the four .gz files of Fashion-MNIST")
    parser.add_argument("--output", type=Path, default=DEMO, help="file to write (default: the package's own)")
    arguments = parser.parse_args()
    x_train, y_train = cut(arguments.folder, "train")
    x_test, y_test = cut(arguments.folder, "t10k")
    np.savez_compressed(
        arguments.output, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, classes=np.array(CLASSES)
    )
    print(f"{arguments.output}: {len(y_train)} + {len(y_test)} images, {arguments.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
