"""Published sets of photographs, from small ones in the published layouts."""

import numpy as np
import pytest
from PIL import Image

from curriculum_zoo.data import ImageSet, PhotoSet, open_dataset
from curriculum_zoo.errors import DataError


def put(path, colour=(9, 9, 9), size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def opened(name, root, **settings):
    return open_dataset(name, root=root, **{"resident": False, **settings})


def files(photos, labels):
    """The names of the files of a part, by class."""
    start = 0 if labels is photos.train_labels else len(photos.train_labels)
    names = [photos.images.name(start + place).rpartition("/")[2] for place in range(len(labels))]
    return {
        photos.classes[label]: sorted(name for name, own in zip(names, labels, strict=True) if own == label)
        for label in np.unique(labels)
    }


@pytest.fixture
def caltech256(tmp_path):
    top = tmp_path / "caltech256" / "256_ObjectCategories"
    for number, name in enumerate(("ak47", "american-flag", "backpack"), 1):
        for image in range(1, 11):
            put(top / f"{number:03}.{name}" / f"{number:03}_{image:04}.jpg")
    put(top / "257.clutter" / "257_0001.jpg")
    (top / "056.dog").mkdir()
    put(top / "056.dog" / "greg" / "vision309" / "deeper.jpg")  # a stray folder, as the published archive has
    for image in range(9):
        put(top / "056.dog" / f"056_{image:04}.jpg")
    return tmp_path


def test_caltech_256_leaves_the_clutter_out_and_a_fifth_of_each_class_for_the_test(caltech256):
    photos = opened("caltech256", caltech256)
    assert photos.classes == ("ak47", "american-flag", "backpack", "dog")
    assert np.bincount(photos.train_labels).tolist() == [8, 8, 8, 8]
    assert np.bincount(photos.test_labels).tolist() == [2, 2, 2, 2]
    assert not any("clutter" in photos.images.name(index) for index in range(len(photos.images)))
    with_clutter = caltech256 / "caltech256" / "256_ObjectCategories"
    put(with_clutter / "257.clutter" / "257_0002.jpg")
    assert len(opened(f"folder:{with_clutter}", caltech256).classes) == 5


def test_a_split_by_seed_has_a_fingerprint_of_its_own(caltech256):
    first, again, other = (opened("caltech256", caltech256, seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert files(first, first.test_labels) == files(again, again.test_labels) != files(other, other.test_labels)
    before = first.fingerprint
    put(caltech256 / "caltech256" / "256_ObjectCategories" / "001.ak47" / "001_0001.jpg", size=(30, 30))
    assert opened("caltech256", caltech256).fingerprint != before


def test_a_part_of_caltech_256_elsewhere_is_read_by_its_folder(caltech256):
    photos = opened(f"caltech256:{caltech256 / 'caltech256' / '256_ObjectCategories'}", "nowhere")
    assert len(photos.classes) == 4
    assert photos.name.startswith("caltech256:")


def test_caltech_101_leaves_the_background_out(tmp_path):
    top = tmp_path / "caltech101" / "101_ObjectCategories"
    for name in ("BACKGROUND_Google", "Faces", "accordion"):
        for image in range(5):
            put(top / name / f"image_{image:04}.jpg")
    assert opened("caltech101", tmp_path).classes == ("Faces", "accordion")


def test_torchvision_downloads_caltech_where_that_is_allowed(tmp_path, monkeypatch):
    from torchvision import datasets

    def download(root, download):
        for name in ("001.ak47", "002.bat"):
            for image in range(5):
                put(tmp_path / "caltech256" / "256_ObjectCategories" / name / f"{image}.jpg")

    with pytest.raises(DataError, match=r"caltech256 is not in .*Allow its download .*caltech256:DIR; they come from"):
        opened("caltech256", tmp_path)
    monkeypatch.setattr(datasets, "Caltech256", download)
    assert opened("caltech256", tmp_path, download=True).classes == ("ak47", "bat")

    def fail(root, download):
        raise RuntimeError("no route to host")

    monkeypatch.setattr(datasets, "Caltech101", fail)
    with pytest.raises(DataError, match=r"caltech101 could not be downloaded to .*no route to host"):
        opened("caltech101", tmp_path, download=True)


SYNSETS = {"n01443537": "goldfish, Carassius auratus", "n02012849": "crane", "n99999999": "n99999999"}


@pytest.fixture
def tiny(tmp_path):
    """Tiny ImageNet as it is published."""
    top = tmp_path / "tiny-imagenet-200"
    for number, synset in enumerate(SYNSETS):
        for image in range(4):
            put(top / "train" / synset / "images" / f"{synset}_{image}.JPEG", size=(64, 64))
        (top / "train" / synset / f"{synset}_boxes.txt").write_text("0\t0\t62\t62")
        put(top / "val" / "images" / f"val_{2 - number}.JPEG", size=(64, 64))
    rows = [f"val_{2 - number}.JPEG\t{synset}\t0\t0\t62\t62" for number, synset in enumerate(SYNSETS)]
    (top / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")
    put(top / "test" / "images" / "test_0.JPEG")
    return tmp_path


def test_tiny_imagenet_is_read_as_it_is_published(tiny):
    photos = opened("tiny_imagenet", tiny)
    assert photos.classes == tuple(SYNSETS.values())  # as timm calls them; unknown ones by their number
    assert np.bincount(photos.train_labels).tolist() == [4, 4, 4]
    assert files(photos, photos.test_labels) == {
        name: [f"val_{2 - number}.JPEG"] for number, name in enumerate(SYNSETS.values())
    }
    resident = open_dataset("tiny_imagenet", root=tiny)
    assert isinstance(resident, ImageSet)
    assert resident.train_images.shape == (12, 64, 64, 3)


def test_tiny_imagenet_and_imagenet_are_read_from_plain_folders(tiny):
    top = tiny / "tiny-imagenet-200"
    (top / "val" / "val_annotations.txt").unlink()
    with pytest.raises(DataError, match="val has no folder named after a class"):
        opened("tiny_imagenet", tiny)
    for number, synset in enumerate(SYNSETS):
        (top / "val" / synset).mkdir()
        (top / "val" / "images" / f"val_{2 - number}.JPEG").rename(top / "val" / synset / "one.JPEG")
    top.rename(tiny / "tiny_imagenet")
    plain = opened("tiny_imagenet", tiny)
    assert plain.test_labels.tolist() == [0, 1, 2]
    assert opened(f"imagenet_folder:{tiny / 'tiny_imagenet'}", tiny).classes == plain.classes


def test_annotations_that_name_no_class_are_refused(tiny):
    (tiny / "tiny-imagenet-200" / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn00000000\n")
    with pytest.raises(DataError, match=r"val_annotations\.txt has a line .*n00000000.*names no class"):
        opened("tiny_imagenet", tiny)


@pytest.fixture
def birds(tmp_path):
    top = tmp_path / "CUB_200_2011"
    rows = [("001.Black_footed_Albatross", 3), ("002.Laysan_Albatross", 4)]
    images, labels, split = [], [], []
    for label, (name, count) in enumerate(rows, 1):
        for number in range(count):
            images.append(f"{len(images) + 1} {name}/bird {number}.jpg")
            labels.append(f"{len(images)} {label}")
            split.append(f"{len(images)} {int(number != 1)}")
            put(top / "images" / name / f"bird {number}.jpg")
    (top / "classes.txt").write_text("\n".join(f"{label} {name}" for label, (name, _) in enumerate(rows, 1)))
    for name, lines in (("images", images), ("image_class_labels", labels), ("train_test_split", split)):
        (top / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_cub_comes_in_its_published_split(birds):
    photos = opened("cub200", birds)
    assert photos.classes == ("Black footed Albatross", "Laysan Albatross")
    assert photos.train_labels.tolist() == [0, 0, 1, 1, 1]
    assert files(photos, photos.test_labels) == {name: ["bird 1.jpg"] for name in photos.classes}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train_test_split.txt", "1 1\n2 0\n", "do not fit together"),
        ("images.txt", "one two\n", "is not a list of numbers"),
        ("classes.txt", None, r"classes\.txt is missing"),
    ],
)
def test_damaged_lists_of_cub_are_refused(name, content, message, birds):
    path = birds / "CUB_200_2011" / name
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DataError, match=message):
        opened("cub200", birds)


@pytest.fixture
def dogs(tmp_path):
    from scipy.io import savemat

    top = tmp_path / "stanford_dogs"
    breeds = ("n02085620-Chihuahua", "n02085782-Japanese_spaniel")
    for part, numbers in (("train", (0, 1, 2)), ("test", (3,))):
        names = [f"{breed}/{breed[:9]}_{number}.jpg" for breed in breeds for number in numbers]
        cells = np.empty((len(names), 1), dtype=object)
        cells[:, 0] = names
        for name in names:
            put(top / "Images" / name)
        savemat(top / f"{part}_list.mat", {"file_list": cells, "labels": np.ones((len(names), 1))})
    return tmp_path


def test_stanford_dogs_come_in_their_published_split(dogs):
    photos = opened("stanford_dogs", dogs)
    assert photos.classes == ("Chihuahua", "Japanese spaniel")
    assert photos.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert files(photos, photos.test_labels) == {
        "Chihuahua": ["n02085620_3.jpg"],
        "Japanese spaniel": ["n02085782_3.jpg"],
    }
    assert isinstance(open_dataset("stanford_dogs", root=dogs, image_size=8), ImageSet)


def test_stanford_dogs_need_scipy_and_their_lists(dogs, monkeypatch):
    import sys

    (dogs / "stanford_dogs" / "test_list.mat").write_bytes(b"no matrix")
    with pytest.raises(DataError, match=r"test_list\.mat is no list of Stanford Dogs"):
        opened("stanford_dogs", dogs)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(DataError, match="pip install scipy"):
        opened("stanford_dogs", dogs)
    (dogs / "stanford_dogs" / "train_list.mat").unlink()
    with pytest.raises(DataError, match=r"train_list\.mat is missing\. Unpack lists\.tar"):
        opened("stanford_dogs", dogs)


@pytest.mark.parametrize(
    "name", ["caltech101", "caltech256", "imagenet_folder", "tiny_imagenet", "cub200", "stanford_dogs"]
)
def test_a_set_that_is_not_there_says_where_it_would_be_and_comes_from(name, tmp_path):
    with pytest.raises(
        DataError, match=rf"^{name} is not in {tmp_path}.* name their folder: {name}:DIR; they come from:"
    ):
        opened(name, tmp_path)
    with pytest.raises(DataError, match=rf"^{name}: .*none is no folder\. Write {name}:DIR\."):
        opened(f"{name}:{tmp_path / 'none'}", tmp_path)


def test_photographs_are_told_apart_from_images_in_memory(caltech256):
    assert isinstance(opened("caltech256", caltech256, resident=False), PhotoSet)
    assert isinstance(opened("caltech256", caltech256, resident=None), ImageSet)
    assert opened("caltech256", caltech256, image_size=99, channels=1).image_size == (99, 99)
