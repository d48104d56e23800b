"""Folders of image files: layouts, sizes, and everything that may be wrong with them."""

import os

import numpy as np
import pytest
from PIL import Image

from curriculum_zoo.data import open_dataset
from curriculum_zoo.errors import DataError

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def fill(top, counts, size=(12, 12), suffix=".png"):
    """Plain images of the class's colour, told apart by a gray corner pixel."""
    for name, count in counts.items():
        (top / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image = Image.new("RGB", size, COLOURS.get(name, (9, 9, 9)))
            image.putpixel((0, 0), (number, number, number))
            image.save(top / name / f"{number:03}{suffix}")


def opened(top, **settings):
    return open_dataset(f"folder:{top}", **settings)


def colours(images):
    return [tuple(image[-1, -1]) for image in images.tolist()] if images.size else []


def test_folders_are_classes_and_a_fifth_of_each_is_for_the_test(tmp_path):
    fill(tmp_path, {"red": 10, "blue": 15, "green": 5})
    made = opened(tmp_path)
    assert made.classes == ("blue", "green", "red")
    assert np.bincount(made.test_labels).tolist() == [3, 1, 2]
    assert np.bincount(made.train_labels).tolist() == [12, 4, 8]
    for images, labels in ((made.train_images, made.train_labels), (made.test_images, made.test_labels)):
        assert [tuple(image[-1, -1]) for image in images] == [COLOURS[made.classes[label]] for label in labels]
    everything = {(label, image[0, 0, 0]) for part in ("train", "test") for image, label in pairs(made, part)}
    assert len(everything) == 30  # none twice, none in both parts


def pairs(made, part):
    return zip(getattr(made, f"{part}_images"), getattr(made, f"{part}_labels").tolist(), strict=True)


def test_the_cut_is_pure_in_the_seed(tmp_path):
    fill(tmp_path, {"red": 10, "blue": 10})
    assert opened(tmp_path, seed=1).fingerprint == opened(tmp_path, seed=1).fingerprint
    assert opened(tmp_path, seed=1).fingerprint != opened(tmp_path, seed=2).fingerprint


@pytest.mark.parametrize("test", ["val", "test"])
def test_train_and_a_test_folder_inside_are_used_as_they_are(test, tmp_path):
    fill(tmp_path / "train", {"red": 4, "blue": 3})
    fill(tmp_path / test, {"red": 2})
    made = opened(tmp_path)
    assert made.classes == ("blue", "red")
    assert made.train_labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert made.test_labels.tolist() == [1, 1]


def test_test_goes_before_val_unless_its_images_are_not_sorted_by_class(tmp_path):
    fill(tmp_path / "train", {"red": 4, "blue": 3})
    fill(tmp_path / "val", {"red": 2, "blue": 2})
    fill(tmp_path / "test", {"images": 9})
    assert len(opened(tmp_path).test_labels) == 4
    fill(tmp_path / "test2", {"red": 1, "blue": 1})
    (tmp_path / "test").rename(tmp_path / "unlabelled")
    (tmp_path / "test2").rename(tmp_path / "test")
    assert len(opened(tmp_path).test_labels) == 2


def test_train_alone_is_cut_and_a_class_may_be_called_train(tmp_path):
    fill(tmp_path / "one" / "train", {"red": 5, "blue": 5})
    assert (len(opened(tmp_path / "one").train_labels), len(opened(tmp_path / "one").test_labels)) == (8, 2)
    fill(tmp_path / "two", {"train": 5, "plane": 5})
    assert opened(tmp_path / "two").classes == ("plane", "train")


def test_nested_folders_count_and_hidden_and_foreign_files_do_not(tmp_path):
    fill(tmp_path, {"red": 4, "blue": 4})
    fill(tmp_path / "red" / "deeper", {"still": 3})
    fill(tmp_path, {".hidden": 3, "__MACOSX": 3})
    fill(tmp_path / "red", {".thumbnails": 2})
    (tmp_path / "red" / "notes.txt").write_text("not an image")
    (tmp_path / "red" / "._000.png").write_bytes(b"what a Mac leaves behind")
    (tmp_path / "README.md").write_text("about")
    made = opened(tmp_path)
    assert made.classes == ("blue", "red")
    assert len(made.train_labels) + len(made.test_labels) == 4 + 4 + 3


def test_a_link_that_leads_back_up_is_walked_once(tmp_path):
    fill(tmp_path, {"red": 5, "blue": 5})
    os.symlink(tmp_path / "red", tmp_path / "red" / "loop")
    made = opened(tmp_path)
    assert len(made.train_labels) + len(made.test_labels) == 10


def test_linked_class_folders_and_endings_in_capitals_are_read(tmp_path):
    fill(tmp_path / "elsewhere", {"red": 5}, suffix=".PNG")
    fill(tmp_path / "set", {"blue": 5}, suffix=".JPG")
    os.symlink(tmp_path / "elsewhere" / "red", tmp_path / "set" / "red")
    assert opened(tmp_path / "set").classes == ("blue", "red")


def test_images_of_one_square_size_keep_it(tmp_path):
    fill(tmp_path, {"red": 5, "blue": 5}, size=(12, 12))
    assert opened(tmp_path).image_size == (12, 12)
    assert opened(tmp_path, image_size=8).image_size == (8, 8)


@pytest.mark.parametrize("sizes", [((12, 12), (13, 13)), ((12, 10), (12, 10)), ((12, 12), (12, 10))])
def test_images_of_different_or_oblong_sizes_become_224_pixels(sizes, tmp_path):
    fill(tmp_path, {"red": 2}, size=sizes[0])
    fill(tmp_path, {"blue": 2}, size=sizes[1])
    assert opened(tmp_path).image_size == (224, 224)


def test_gray_is_given_where_asked_for(tmp_path):
    fill(tmp_path, {"red": 5, "blue": 5})
    made = opened(tmp_path, channels=1)
    assert made.channels == 1
    assert {image[-1, -1, 0] for image in made.train_images} == {76, 29}  # luma of pure red and pure blue


def test_the_order_does_not_depend_on_the_file_system(tmp_path):
    for name, order in (("one", range(6)), ("two", range(5, -1, -1))):
        for label in ("red", "blue"):
            (tmp_path / name / label).mkdir(parents=True)
            for number in order:
                Image.new("L", (4, 4), number).save(tmp_path / name / label / f"{number}.png")
    assert opened(tmp_path / "one").fingerprint == opened(tmp_path / "two").fingerprint


def test_files_are_fingerprinted_by_name_and_size_and_images_in_memory_by_their_pixels(tmp_path):
    for label in ("red", "blue"):
        (tmp_path / "here" / label).mkdir(parents=True)
        for number in range(5):
            Image.new("L", (4, 4), number).save(tmp_path / "here" / label / f"{number}.bmp")

    def fingerprints(folder):
        return [open_dataset(f"folder:{folder}", resident=resident).fingerprint for resident in (False, True)]

    first = fingerprints(tmp_path / "here")
    moved = (tmp_path / "here").rename(tmp_path / "there")
    assert fingerprints(moved) == first
    size = (moved / "red" / "3.bmp").stat().st_size
    Image.new("L", (4, 4), 99).save(moved / "red" / "3.bmp")
    assert (moved / "red" / "3.bmp").stat().st_size == size
    files, pixels = fingerprints(moved)
    assert (files == first[0], pixels == first[1]) == (True, False)
    Image.new("L", (5, 4), 3).save(moved / "red" / "3.bmp")
    assert fingerprints(moved)[0] != files


def nothing(top):
    return top / "none"


def a_file(top):
    (top / "file.png").write_bytes(b"x")
    return top / "file.png"


def loose_images(top):
    fill(top.parent / "loose", {"": 3})
    return top.parent / "loose"


def one_class(top):
    fill(top, {"red": 5})
    return top


def empty_class(top):
    fill(top, {"red": 5, "blue": 5, "green": 0, "white": 0})
    (top / "green" / "notes.txt").write_text("no image")
    return top


def too_few(top):
    fill(top, {"red": 5, "blue": 1})
    return top


def foreign_test_class(top):
    fill(top / "train", {"red": 5, "blue": 5})
    fill(top / "val", {"red": 5, "white": 5})
    return top


def unsorted_test(top):
    fill(top / "train", {"red": 5, "blue": 5})
    fill(top / "val", {"images": 5})
    return top


def empty_test(top):
    fill(top / "train", {"red": 5, "blue": 5})
    fill(top / "val", {"red": 0, "blue": 0})
    return top


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nothing, r"none does not exist\. Give a folder"),
        (a_file, r"file\.png is a file, not a folder"),
        (lambda top: top, r"is empty\. It needs one folder for each class"),
        (loose_images, r"has images, but no folders\. It needs one folder for each class"),
        (one_class, r"has one class only, 'red'\. Classification takes at least two"),
        (empty_class, r"has 2 class folder\(s\) without images: 'green', 'white'\. Put images there \(ending in"),
        (too_few, r"Class 'blue' has 1 image\(s\): with a test share of 0\.2 none would be left"),
        (foreign_test_class, r"val has 1 class folder\(s\) that .*train has not: 'white'\. Rename"),
        (unsorted_test, r"val has no folder named after a class of .*train \('blue', 'red'\)\. Sort its images"),
        (empty_test, r"val has no images"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused_with_a_remedy(make, message, tmp_path):
    with pytest.raises(DataError, match=message):
        opened(make(tmp_path))


@pytest.mark.parametrize("spec", ["folder", "folder:"])
def test_a_folder_must_be_named(spec):
    with pytest.raises(DataError, match="needs a folder: folder:DIR"):
        open_dataset(spec)


def test_one_damaged_image_is_named(tmp_path):
    fill(tmp_path, {"red": 5, "blue": 5})
    (tmp_path / "red" / "002.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"red/002\.png is empty \(0 bytes\)\. Replace or delete it\.$"):
        opened(tmp_path)


def test_of_many_damaged_images_the_first_are_named_and_all_counted(tmp_path):
    fill(tmp_path, {"red": 60, "blue": 60})
    for number in range(40):
        whole = (tmp_path / "blue" / f"{number:03}.png").read_bytes()
        (tmp_path / "blue" / f"{number:03}.png").write_bytes(whole[:50])
    with pytest.raises(DataError, match=r"^40 of 120 images cannot be used\.") as caught:
        opened(tmp_path)
    assert str(caught.value).count("Replace or delete it.") == 3
    assert str(caught.value).endswith("And 37 more.")


def test_images_that_do_not_fit_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    fill(tmp_path, {"red": 5, "blue": 5})
    for path in (tmp_path / "red").iterdir():
        path.write_bytes(b"")  # would be refused, if it were read
    for module in ("memory", "sets.photos"):
        monkeypatch.setattr(f"curriculum_zoo.data.{module}.available_memory", lambda: 1_000_000)
    with pytest.raises(
        DataError,
        match=r"10 images of 224 × 224 pixels in 3 channel\(s\) take 0\.00 GB of memory; .*image_size=182 or smaller",
    ):
        opened(tmp_path, image_size=224)
