"""Folders as people download them are used as they are meant, or refused by name; nothing is passed over in silence."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from layout_trees import TREES, TWO, build, spellings
from PIL import Image

from curriculum_zoo.data import open_dataset
from curriculum_zoo.data.decoding.image_file import SUFFIXES
from curriculum_zoo.data.sets.parts import PART_NAMES, part_of
from curriculum_zoo.errors import DataError


def files_of(top):
    """The set of the folder's files, none of them decoded."""
    return open_dataset(f"folder:{top}", resident=False)


def notes_of(top):
    return "\n".join(files_of(top).layout)


def counts(made):
    """Images of each class by part, as the trees' table has them."""
    train, held_out = made.split(0.1 if made.validation_images else 0, seed=0)
    labels = {"training": made.train_labels[train], "validation": made.train_labels[held_out], "test": made.test_labels}
    by_class = {part: np.bincount(found, minlength=len(made.classes)).tolist() for part, found in labels.items()}
    assert all(len(set(found)) == 1 for found in by_class.values()), by_class
    return {"classes": made.classes, **{part: found[0] for part, found in by_class.items()}}


@pytest.mark.parametrize("title", TREES)
def test_a_layout_is_used_as_it_is_meant_or_refused_by_name(title, tmp_path):
    tree, expected = TREES[title]
    build(tmp_path / "set", tree)
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            files_of(tmp_path / "set")
    else:
        made = files_of(tmp_path / "set")
        assert counts(made) == expected
        assert any(note.startswith("training: ") for note in made.layout)


@pytest.mark.parametrize(("part", "word"), [(part, word) for part, words in PART_NAMES.items() for word in words])
def test_every_name_of_a_part_is_known_in_every_spelling(part, word):
    assert [part_of(name) for name in spellings(word)] == [part] * 6
    assert part_of(f"{word}er") is part_of(f"my {word} plane") is part_of(f"{word}1") is None


def test_validation_images_of_the_set_take_the_place_of_a_share_and_are_never_trained_on(tmp_path):
    made = files_of(build(tmp_path, {"train": TWO, "val": {"cat": 3, "dog": 3}, "test": TWO}))
    for share in (0.1, 0.5, 2):
        train, held_out = made.split(share, seed=1)
        assert {Path(made.images.name(index)).parts[-3] for index in train} == {"train"}
        assert {Path(made.images.name(index)).parts[-3] for index in held_out} == {"val"}
        assert (len(train), len(held_out)) == (8, 6)
    assert [len(part) for part in made.split(0, seed=1)] == [8, 0]
    two = files_of(build(tmp_path / "two", {"train": {"cat": 4, "dog": 4}, "test": TWO}))
    assert two.fingerprint != made.fingerprint


def test_validation_images_stay_apart_in_memory_where_some_cannot_be_read(tmp_path):
    for part, count in (("train", 3), ("val", 2), ("test", 2)):
        for label in ("cat", "dog"):
            (tmp_path / part / label).mkdir(parents=True)
            for number in range(count):
                value = 10 * len(part) + number + (100 if label == "dog" else 0)
                Image.new("L", (4, 4), value).save(tmp_path / part / label / f"{number}.png")
    (tmp_path / "train" / "cat" / "1.png").write_bytes(b"")
    (tmp_path / "val" / "dog" / "0.png").write_bytes(b"")
    made = open_dataset(f"folder:{tmp_path}", on_bad_image="skip", channels=1)
    train, held_out = made.split(0.1, seed=0)
    assert sorted(made.train_images[train, 0, 0, 0].tolist()) == [50, 52, 150, 151, 152]
    assert sorted(made.train_images[held_out, 0, 0, 0].tolist()) == [30, 31, 131]
    assert made.converted(image_size=2).validation_images == 3


# -- what is passed over ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.heic", "2 files ending in .heic"),
        ("a.HEIC", "2 files ending in .heic"),
        ("notes.txt", "2 files ending in .txt"),
        ("IMG_0001", "2 files without an ending"),
        (".DS_Store", "2 hidden files"),
        ("._a.png", "2 hidden files"),
        ("a.\N{LATIN SMALL LETTER E WITH ACUTE}", "2 files ending in something else"),
        (".ipynb_checkpoints/a.png", "2 hidden folders"),
        ("@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg", "2 folders @eaDir"),
        ("#recycle/a.png", "2 folders #recycle"),
        ("lost+found/a.png", "2 folders lost+found"),
        ("$RECYCLE.BIN/a.png", "2 folders $RECYCLE.BIN"),
        ("System Volume Information/a.png", "2 folders System Volume Information"),
        ("__MACOSX/a.png", "2 hidden folders"),
    ],
)
@pytest.mark.parametrize("places", [("set/cat", "set/dog"), ("set", "set/cat"), ("set/cat/deeper", "set/dog")])
def test_what_is_no_image_is_counted_by_kind(name, kind, places, tmp_path):
    build(tmp_path / "set", TWO)
    before = files_of(tmp_path / "set").fingerprint
    for place in places:
        path = tmp_path / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    made = files_of(tmp_path / "set")
    assert f"passed over: {kind}" in made.layout
    assert made.fingerprint == before


def test_images_beside_the_classes_and_beside_a_table_are_counted(tmp_path):
    assert "passed over: 1 image file beside the class folders" in notes_of(
        build(tmp_path / "a", {**TWO, "1.png": "1"})
    )
    table = "file,label\n000.png,cat\n001.png,dog\n002.png,cat\n003.png,dog\n"
    assert "2 image files that no table names" in notes_of(build(tmp_path / "b", {"x": 6, "labels.csv": table}))
    parts = {name: {"train": 4, "test": 2, "1.png": name} for name in TWO}
    assert "2 image files in class folders beside their parts" in notes_of(build(tmp_path / "c", parts))


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
@pytest.mark.parametrize("target", [".", "..", "../..", "../dog", "../cat"])
@pytest.mark.parametrize("layout", ["classes", "parts"])
def test_a_link_to_what_counts_elsewhere_is_not_followed_and_counted(target, layout, tmp_path):
    tree = TWO if layout == "classes" else {"train": TWO, "test": TWO}
    top = build(tmp_path / "set", tree)
    build(tmp_path / "neighbour", {"bird": 7})
    before = files_of(top).fingerprint
    place = top / "cat" if layout == "classes" else top / "train" / "cat"
    os.symlink(target, place / "link", target_is_directory=True)
    made = files_of(top)
    assert made.fingerprint == before
    assert "passed over: 1 link to folders whose images count elsewhere" in made.layout


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_to_images_that_lie_elsewhere_are_followed_once(tmp_path):
    build(tmp_path / "raw", {"cat": 4, "dog": {"deep": 4}})
    build(tmp_path / "set", {"raw": {"cow": 4}, "train": {}, "test": TWO})
    for name in ("cat", "dog"):
        os.symlink(tmp_path / "raw" / name, tmp_path / "set" / "train" / name, target_is_directory=True)
    os.symlink("../raw/cow", tmp_path / "set" / "train" / "cow", target_is_directory=True)  # within the set
    made = files_of(tmp_path / "set")
    assert made.classes == ("cat", "cow", "dog")
    assert np.bincount(made.train_labels).tolist() == [4, 4, 4]


# -- images that repeat ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resident", [True, False])
def test_the_same_photograph_in_training_and_test_and_in_two_classes_is_told(resident, tmp_path):
    top = tmp_path / "set"
    for number, (part, label) in enumerate((p, c) for p in ("train", "test") for c in ("cat", "dog")):
        (top / part / label).mkdir(parents=True)
        for value in range(3):
            Image.new("L", (6, 6), 50 * number + value).save(top / part / label / f"{value}.png")
    assert open_dataset(f"folder:{top}", resident=resident).repeats == ()
    (top / "test" / "cat" / "copy.png").write_bytes((top / "train" / "cat" / "1.png").read_bytes())
    (first,) = open_dataset(f"folder:{top}", resident=resident).repeats
    assert first.startswith("1 of 7 test images is a training image too, as ")
    assert os.path.join("test", "cat", "copy.png") in first
    assert os.path.join("train", "cat", "1.png") in first
    (top / "train" / "dog" / "copy.png").write_bytes((top / "train" / "cat" / "2.png").read_bytes())
    assert "1 image is in two classes or more" in open_dataset(f"folder:{top}", resident=resident).repeats[1]


def test_files_of_equal_size_and_end_that_differ_before_are_no_repeats(tmp_path):
    top = build(
        tmp_path, {"train": {"cat": {"1.png": b"a" * 9000, "2.png": b"b" + b"a" * 8999}, "dog": 2}, "test": TWO}
    )
    assert files_of(top).repeats == ()
    (top / "test" / "cat" / "x.png").write_bytes(b"a" * 9000)
    assert len(files_of(top).repeats) == 1


def test_of_very_many_files_repeats_are_not_looked_for_and_that_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("curriculum_zoo.data.sets.repeats.MOST_READ", 7)
    (sentence,) = files_of(build(tmp_path, TWO)).repeats
    assert sentence == "repeated images are not looked for: 8 files have the size of another one"


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("tree", [TWO, {"train": TWO, "test": TWO}])
def test_a_class_whose_name_is_not_utf8_is_refused_before_training(tree, tmp_path):
    build(tmp_path, tree)
    base = tmp_path / "train" if "train" in tree else tmp_path
    os.rename(os.fsencode(base / "cat"), os.fsencode(base) + b"/caf\xe9")
    with pytest.raises(DataError, match=r"b'caf\\xe9' is not named in UTF-8.*Rename it"):
        files_of(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems name files in Unicode")
def test_names_in_utf8_are_the_same_in_a_locale_that_knows_ascii_alone(tmp_path):
    build(tmp_path, {"\u00e9\u732b": TWO["cat"], "dog": TWO["dog"]})
    script = "import sys, curriculum_zoo.data as d; p = d.open_dataset('folder:' + sys.argv[1], resident=False); "
    script += "print(ascii(p.classes), p.fingerprint, p.train_labels.tolist())"
    variables = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", script, str(tmp_path)]
    ran = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=True)
    here = open_dataset(f"folder:{tmp_path}", resident=False)
    assert ran.stdout.strip() == ascii(here.classes) + f" {here.fingerprint} {here.train_labels.tolist()}"


def test_a_folder_has_the_same_fingerprint_on_a_mac(tmp_path):
    composed = build(tmp_path / "one", {"caf\u00e9": 4, "dog": {"\u00e9.png": "x"}})
    decomposed = build(tmp_path / "two", {"cafe\u0301": 4, "dog": {"e\u0301.png": "x"}})
    for top in (composed, decomposed):
        build(top, {"dog": 3})
    assert files_of(composed).classes == files_of(decomposed).classes == ("caf\u00e9", "dog")
    assert files_of(composed).fingerprint == files_of(decomposed).fingerprint


def test_folders_that_may_be_parts_of_unknown_names_are_told(tmp_path):
    assert "if those are the classes and 'fold_a', 'fold_b' are parts" in notes_of(
        build(tmp_path / "a", {"fold_a": TWO, "fold_b": TWO})
    )
    assert "if those are the classes" not in notes_of(build(tmp_path / "b", {"cat": {"x": 3, "y": 3}, "dog": 6}))


def test_folders_of_runs_are_no_class(tmp_path):
    build(tmp_path, {**TWO, "runs": {"first": {"recipe.json": "{}", "curves.png": "x"}}})
    assert files_of(tmp_path).classes == ("cat", "dog")
    assert "passed over: 1 folder of runs" in notes_of(tmp_path)
    build(tmp_path / "words", {"runs": 4, "walks": 4})
    assert files_of(tmp_path / "words").classes == ("runs", "walks")


# -- kinds of files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_a_file_of_every_ending_is_read(suffix, tmp_path):
    shades = {"dark": 40, "light": 210}
    for name, shade in shades.items():
        (tmp_path / name).mkdir()
        for number in range(2):
            image = Image.new("L", (16, 16), shade)
            format = {".mpo": "JPEG", ".jpe": "JPEG", ".apng": "PNG"}.get(suffix)
            image.convert("RGB").save(tmp_path / name / f"{number}{suffix}", format=format)
    made = open_dataset(f"folder:{tmp_path}", channels=1)
    assert {int(image.mean().round(-1)) for image in made.train_images} == {40, 210}
