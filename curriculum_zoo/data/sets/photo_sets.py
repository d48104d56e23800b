"""Published sets of photographs, read from the layout that they are published in.

``caltech101``, ``caltech256``, ``imagenet_folder``, ``tiny_imagenet``, ``cub200`` and ``stanford_dogs`` lie in a folder
of their own under the root; ``name:DIR`` reads one that lies elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...citation import DataSource, Paper
from ...errors import DataError
from .folder import class_folders, cut_test, photo_set
from .labelled import Labelled, Layout, labelled_files
from .listing import Passed, described
from .photos import PhotoSet

__all__ = ["PublishedSet", "caltech101", "caltech256", "cub200", "imagenet_folder", "stanford_dogs", "tiny_imagenet"]

_Parts = tuple[tuple[str, ...], Labelled, Labelled, Passed]
"""Names of the classes, training images, test images, and what was passed over."""


@dataclass(frozen=True)
class PublishedSet:
    """A published set of photographs; calling it opens it.

    Attributes:
        name: what it is called.
        folders: under the root, where it may lie.
        source: where it comes from, whose it is, and on what terms.
        read: returns what is in the folder that it lies in, given that folder and the seed that cuts a test set off.
        loader: the class of torchvision that downloads it; None where nobody may without asking.
        published: what a card says of it; None where nothing is known of its place on the Hub.
    """

    name: str
    folders: tuple[str, ...]
    source: str
    read: Callable[[Path, int], _Parts]
    loader: str | None = None
    published: DataSource | None = None

    def __call__(
        self,
        argument: str | None,
        *,
        root: Path,
        download: bool = False,
        image_size: int | None = None,
        channels: int | None = None,
        seed: int = 0,
    ) -> PhotoSet:
        """Open it.

        Args:
            argument: the folder that it lies in; one of `folders` under the root where None.
            root: folder of data sets.
            download: whether it may be downloaded there, where it can be.
            image_size: side in pixels that images are brought to; where None and kept in memory, their smallest.
            channels: 3 for RGB, which is the default, or 1 for gray.
            seed: cuts the test set off where the set has none of its own: the recipe's ``data_seed``.

        Raises:
            DataError: missing, or not laid out as it is published.
        """
        top = self._find(argument, root, download)
        classes, train, test, passed = self.read(top, seed)
        for which, files in (("training", train), ("test", test)):
            if not files.paths:
                raise DataError(f"{self.name}: there are no {which} images in {top}. They come from: {self.source}.")
        name = self.name if argument is None else f"{self.name}:{argument}"
        layout = Layout(classes, train, test, notes=(f"passed over: {described(passed)}",) if passed else ())
        return photo_set(name, top, layout, image_size=image_size, channels=channels, source=self.source)

    def _find(self, argument: str | None, root: Path, download: bool) -> Path:
        """The folder that it lies in, downloaded if need be and allowed."""
        if argument is not None:
            top = Path(argument).expanduser()
            if not argument or not top.is_dir():
                raise DataError(f"{self.name}: {argument or 'nothing'} is no folder. Write {self.name}:DIR.")
            return top
        places = [root / folder for folder in self.folders]
        found = next((place for place in places if place.is_dir()), None)
        if found is None and download and self.loader is not None:
            self._download(root, places[0])
            found = places[0] if places[0].is_dir() else None
        if found is None:
            allow = "Allow its download (--download, or download=True), or put" if self.loader else "Put"
            raise DataError(
                f"{self.name} is not in {' or '.join(map(str, places))}. {allow} the files there yourself, or name "
                f"their folder: {self.name}:DIR; they come from: {self.source}."
            )
        return found

    def _download(self, root: Path, place: Path) -> None:
        from torchvision import datasets

        try:
            getattr(datasets, self.loader or "")(str(root), download=True)
        except Exception as error:  # RuntimeError, network and file errors
            cause = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{self.name} could not be downloaded to {place} ({cause}). Try again later, or put the files there "
                f"yourself; they come from: {self.source}."
            ) from error


def _caltech101(top: Path, seed: int) -> _Parts:
    """8,677 photographs of about 300 × 200 pixels in 101 classes; a fifth of each is the test set.

    ``BACKGROUND_Google`` is none of the 101 categories (Fei-Fei, Fergus and Perona 2004 use it as the background
    class of detection), and is left out, as torchvision does. ``folder:…/101_ObjectCategories`` has it.
    """
    classes = [folder for folder in class_folders(top) if folder.name != "BACKGROUND_Google"]
    return _cut(top, classes, [folder.name for folder in classes], seed)


def _caltech256(top: Path, seed: int) -> _Parts:
    """29,780 photographs of 300 pixels and more in 256 classes, or part of them; a fifth of each is the test set.

    ``257.clutter`` is no object category (Griffin, Holub and Perona 2007 use it to test how background is rejected),
    and is left out. ``folder:…/256_ObjectCategories`` has it.
    """
    named = {folder: re.sub(r"^\d{3}\.", "", folder.name) for folder in class_folders(top)}
    classes = [folder for folder, name in named.items() if name != "clutter"]
    return _cut(top, classes, [named[folder] for folder in classes], seed)


def _cub200(top: Path, _: int) -> _Parts:
    """5,994 + 5,794 photographs of birds of 200 species, in the published split; `top` holds ``images.txt``."""
    names = ("classes.txt", "images.txt", "image_class_labels.txt", "train_test_split.txt")
    classes, images, labels, split = (dict(_fields(top / name)) for name in names)
    if not images.keys() == labels.keys() == split.keys() or not set(labels.values()) <= classes.keys():
        raise DataError(f"The lists in {top} do not fit together. Unpack the set again; it comes from {cub200.source}.")
    numbers = {number: index for index, number in enumerate(sorted(classes, key=int))}
    called = tuple(re.sub(r"^\d{3}\.", "", classes[number]).replace("_", " ") for number in numbers)
    train, test = (
        _labelled((top / "images" / images[key], numbers[labels[key]]) for key in images if split[key] == part)
        for part in "10"
    )
    return called, train, test, Passed()


def _stanford_dogs(top: Path, _: int) -> _Parts:
    """12,000 + 8,580 photographs of dogs of 120 breeds, in the published split.

    `top` holds ``Images`` and ``train_list.mat``: the lists are MATLAB files, which SciPy reads.
    """
    lists = [_matlab_list(top / f"{part}_list.mat") for part in ("train", "test")]
    breeds = sorted({Path(file).parent.name for files in lists for file in files})
    numbers = {breed: index for index, breed in enumerate(breeds)}
    train, test = (
        _labelled((top / "Images" / file, numbers[Path(file).parent.name]) for file in files) for files in lists
    )
    called = tuple(breed.partition("-")[2].replace("_", " ") or breed for breed in breeds)
    return called, train, test, Passed()


def _cut(top: Path, folders: Sequence[Path], names: Sequence[str], seed: int) -> _Parts:
    """A set that has no test part of its own."""
    (files,), passed = labelled_files(top, [(folder, label) for label, folder in enumerate(folders)])
    return tuple(names), *cut_test(files, names, seed), passed


def _synsets(top: Path, _: int) -> _Parts:
    """ImageNet's layout, all its classes or some: ``train/<synset>/…`` and, as the test set, ``val/<synset>/…``.

    Tiny ImageNet's too, as it is published: ``val/images/…`` beside ``val/val_annotations.txt``. Its test images have
    no labels. Classes are called as timm calls them, so that timm's networks can be evaluated on all 1,000.
    """
    if not (top / "train").is_dir():
        raise DataError(f"{top} has no folder train, with a folder of images for each class inside. Put it there.")
    synsets = [folder.name for folder in class_folders(top / "train")]
    folders = [[(top / part / synset, label) for label, synset in enumerate(synsets)] for part in ("train", "val")]
    annotations = top / "val" / "val_annotations.txt"
    if annotations.is_file():
        (train,), passed = labelled_files(top, folders[0])
        return _descriptions(synsets), train, _annotated(annotations, synsets), passed
    (train, test), passed = labelled_files(top, *folders)
    if not test.paths:
        raise DataError(
            f"{top / 'val'} has no folder named after a class of {top / 'train'}. Sort the validation images into "
            "such folders."
        )
    return _descriptions(synsets), train, test, passed


def _annotated(path: Path, synsets: Sequence[str]) -> Labelled:
    """Tiny ImageNet's validation images, whose classes stand in a list."""
    numbers = {synset: index for index, synset in enumerate(synsets)}
    rows = [line.split("\t") for line in _lines(path)]
    wrong = next((row for row in rows if len(row) < 2 or row[1] not in numbers), None)
    if wrong is not None:
        raise DataError(f"{path} has a line {wrong}, which names no class of the training images. Download it again.")
    return _labelled((path.parent / "images" / row[0], numbers[row[1]]) for row in rows)


def _descriptions(synsets: Iterable[str]) -> tuple[str, ...]:
    """What ImageNet's synsets are called; themselves where they are not known."""
    from timm.data import ImageNetInfo

    describe: Callable[[str], str] = ImageNetInfo().label_name_to_description

    def called(synset: str) -> str:
        try:
            return describe(synset)
        except KeyError:
            return synset

    return tuple(map(called, synsets))


def _labelled(rows: Iterable[tuple[Path, int]]) -> Labelled:
    return Labelled.of((str(path), label) for path, label in rows)


def _fields(path: Path) -> list[tuple[str, str]]:
    """Lines of a number and what belongs to it."""
    rows = [line.split(maxsplit=1) for line in _lines(path)]
    if not all(len(row) == 2 and row[0].isdigit() for row in rows):
        raise DataError(f"{path} is not a list of numbers with one word each. Unpack the set again.")
    return [(row[0], row[1].strip()) for row in rows]


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing. Unpack the whole set there.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is damaged: {error}. Unpack the set again.") from error


def _matlab_list(path: Path) -> list[str]:
    """The files that a list of Stanford Dogs names."""
    if not path.is_file():
        raise DataError(f"{path} is missing. Unpack lists.tar there; it comes from: {stanford_dogs.source}.")
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DataError("stanford_dogs has lists in MATLAB's format, which SciPy reads: pip install scipy.") from error
    try:
        return [str(cell.item()) for cell in loadmat(path)["file_list"].ravel()]
    except Exception as error:  # damage shows as any of a dozen exceptions
        raise DataError(f"{path} is no list of Stanford Dogs: {error!r}. Unpack lists.tar again.") from error


caltech101 = PublishedSet(
    "caltech101",
    ("caltech101/101_ObjectCategories",),
    "Caltech-101, Li, Andreeto, Ranzato and Perona 2022, https://data.caltech.edu/records/mzrjq-6wc02; CC BY 4.0",
    _caltech101,
    loader="Caltech101",
)
caltech256 = PublishedSet(
    "caltech256",
    ("caltech256/256_ObjectCategories",),
    "Caltech-256, Griffin, Holub and Perona 2022, https://data.caltech.edu/records/nyy15-4j048; CC BY 4.0",
    _caltech256,
    loader="Caltech256",
)
imagenet_folder = PublishedSet(
    "imagenet_folder",
    ("imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC"),  # the last as Kaggle has it
    "ImageNet ILSVRC 2012, https://www.image-net.org/download.php; for research, after registration",
    _synsets,
)
tiny_imagenet = PublishedSet(
    "tiny_imagenet",
    ("tiny-imagenet-200", "tiny_imagenet"),
    "Tiny ImageNet, Stanford CS231n, http://cs231n.stanford.edu/tiny-imagenet-200.zip; for research",
    _synsets,
    published=DataSource(
        "Tiny ImageNet",
        "zh-plus/tiny-imagenet",
        split="valid",
        paper=Paper("tinyimagenet", "Tiny ImageNet Visual Recognition Challenge", "Ya Le and Xuan Yang", year=2015),
        license="Its images are ImageNet's, whose terms allow non-commercial research and education.",
    ),
)
cub200 = PublishedSet(
    "cub200",
    ("CUB_200_2011",),
    "Caltech-UCSD Birds-200-2011, Wah et al., https://data.caltech.edu/records/65de6-vp158; for research",
    _cub200,
)
stanford_dogs = PublishedSet(
    "stanford_dogs",
    ("stanford_dogs", "StanfordDogs"),
    "Stanford Dogs, Khosla et al. 2011, http://vision.stanford.edu/aditya86/ImageNetDogs; for research",
    _stanford_dogs,
)
