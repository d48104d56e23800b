"""Folders as people download them: what lies in them, and what a data set made of them has to be.

Each entry of `TREES` is a tree of numbers of images (or texts of other files), and what comes of it: training,
validation and test images by class, or a pattern that the refusal matches.
"""

from __future__ import annotations

import itertools
import unicodedata

__all__ = ["TREES", "build", "spellings"]

TWO = {"cat": 4, "dog": 4}
NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def got(train, validation=0, test=0, classes=("cat", "dog")):
    """How many images of each class a part has."""
    return {"classes": classes, "training": train, "validation": validation, "test": test}


def spellings(word):
    """A part's name as people write it."""
    return (word, word.capitalize(), word.upper(), f"{word}_set", f"{word}-data", f"{word.capitalize()}Images")


TREES = {
    # Two parts, by all names, in all cases.
    **{
        f"{train}/ and {test}/": ({train: TWO, test: {"cat": 2, "dog": 2}}, got(4, 0, 2))
        for train, test in itertools.product(
            ("train", "Train", "TRAIN", "training", "Training"),
            ("test", "Test", "testing", "Testing", "val", "Val", "valid", "validation", "Validation", "dev", "eval"),
        )
    },
    **{
        f"{train}/ and {test}/": ({train: TWO, test: {"cat": 2, "dog": 2}}, got(4, 0, 2))
        for train, test in zip(spellings("train")[3:], spellings("test")[3:], strict=True)
    },
    # Three parts.
    **{
        f"train/, {validation}/, test/": (
            {"train": TWO, validation: {"cat": 3, "dog": 3}, "test": {"cat": 2, "dog": 2}},
            got(4, 3, 2),
        )
        for validation in ("val", "valid", "Validation", "dev", "EVAL")
    },
    "test/ without classes": (
        {"train": TWO, "val": {"cat": 3, "dog": 3}, "test": {"images": 9}},
        got(4, 0, 3),
    ),
    "test/ with loose images": ({"train": TWO, "val": {"cat": 3, "dog": 3}, "test": 9}, got(4, 0, 3)),
    "another folder beside the parts": ({"train": TWO, "test": {"cat": 2, "dog": 2}, "unsorted": 3}, got(4, 0, 2)),
    # Parts further down.
    "one folder down": ({"archive": {"train": TWO, "test": {"cat": 2, "dog": 2}}}, got(4, 0, 2)),
    "two folders down": ({"archive": {"pets": {"Training": TWO, "Testing": {"cat": 2, "dog": 2}}}}, got(4, 0, 2)),
    "each part in itself": (
        {"seg_train": {"seg_train": TWO}, "seg_test": {"seg_test": {"cat": 2, "dog": 2}}},
        got(4, 0, 2),
    ),
    "beside what a Mac leaves": (
        {"archive": {"train": TWO, "test": {"cat": 2, "dog": 2}}, "__MACOSX": {"archive": {"._1.png": "x"}}},
        got(4, 0, 2),
    ),
    "parts within classes": ({name: {"train": 4, "test": 2} for name in ("cat", "dog")}, got(4, 0, 2)),
    "three parts within classes": (
        {name: {"Train": 4, "Valid": 3, "Test": 2} for name in ("cat", "dog")},
        got(4, 3, 2),
    ),
    # Tables.
    **{
        f"{name} with {file} and {label}": (
            {
                "images": {"a.png": "1", "b.png": "2", **{f"{n}.png": str(n) for n in range(8)}},
                name: f"{file},{label}\n" + "".join(f"images/{n}.png,{'dog' if n % 2 else 'cat'}\n" for n in range(8)),
            },
            got(3, 0, 1),
        )
        for name, (file, label) in itertools.product(
            ("metadata.csv", "labels.csv", "Labels.CSV"),
            (("file_name", "label"), ("File", "Class"), ("FileName", "target"), ("image", "Label"), ("path", "class")),
        )
    },
    "a table with other columns and a semicolon": (
        {
            "pictures": 8,
            "labels.csv": "\ufeffid;File Name;label\n"
            + "".join(f'{n};"{n:03}.png";{"dog" if n % 2 else "cat"}\n' for n in range(8)),
        },
        got(3, 0, 1),
    ),
    "a table with Windows' separators": (
        {
            "a": {"b": 8},
            "labels.csv": "path,label\r\n"
            + "".join(f"a\\b\\{n:03}.png,{'dog' if n % 2 else 'cat'}\r\n" for n in range(8)),
        },
        got(3, 0, 1),
    ),
    "a table with parts": (
        {
            "pictures": 8,
            "metadata.csv": "file_name,label,split\n"
            + "".join(
                f"{n:03}.png,{'dog' if n % 2 else 'cat'},{('train', 'Train', 'valid', 'TEST')[n // 2]}\n"
                for n in range(8)
            ),
        },
        got(2, 1, 1),
    ),
    "train.csv and test.csv": (
        {
            "images": 6,
            "Train.csv": "Width,Path,ClassId\n" + "".join(f"9,images/{n:03}.png,{n % 2}\n" for n in range(4)),
            "Test.csv": "Width,Path,ClassId\n" + "".join(f"9,images/{n:03}.png,{n % 2}\n" for n in range(4, 6)),
            "Meta.csv": "Path,ShapeId\n",
        },
        got(2, 0, 1, classes=("0", "1")),
    ),
    "a table in each part": (
        {
            "train": {
                "images": 4,
                "metadata.csv": "file_name,label\n"
                + "".join(f"images/{n:03}.png,{'dog' if n % 2 else 'cat'}\n" for n in range(4)),
            },
            "test": {
                "images": 2,
                "metadata.csv": "file_name,label\n"
                + "".join(f"images/{n:03}.png,{'dog' if n % 2 else 'cat'}\n" for n in range(2)),
            },
        },
        got(2, 0, 1),
    ),
    "a table of any name": (
        {
            "pictures": 8,
            "pets.csv": "filename,label\n" + "".join(f"{n:03}.png,{'dog' if n % 2 else 'cat'}\n" for n in range(8)),
        },
        got(3, 0, 1),
    ),
    "numbers in a table are in order": (
        {"pictures": 20, "labels.csv": "file,label\n" + "".join(f"{n:03}.png,{n // 2 + 1}\n" for n in range(20))},
        got(1, 0, 1, classes=tuple(map(str, range(1, 11)))),
    ),
    "a table of something else beside classes": ({**TWO, "metadata.csv": "name,licence\na,b\n"}, got(3, 0, 1)),
    # Classes, after all.
    "a class called train": ({"train": 4, "plane": 4}, got(3, 0, 1, classes=("plane", "train"))),
    "a class called test": ({"test": 4, "control": 4}, got(3, 0, 1, classes=("control", "test"))),
    "train alone": ({"Train": TWO}, got(3, 0, 1)),
    "one class spelled in two forms of Unicode": ({NFC: 4, NFD: 4, "dog": 8}, got(6, 0, 2, classes=(NFC, "dog"))),
    "one class spelled differently in training and test": (
        {"train": {NFC: 4, "dog": 4}, "test": {NFD: 2, "dog": 2}},
        got(4, 0, 2, classes=(NFC, "dog")),
    ),
    # Refused by name.
    "parts without classes": ({"train": 4, "test": 2}, r"train/ and test/, and train/ holds neither .* Known are"),
    "parts without training": ({"val": TWO, "test": TWO}, r"has test/ and val/, and no folder of training images"),
    "two of one part": ({"train": TWO, "val": TWO, "valid": TWO}, r"has val/ and valid/, which stand for the same"),
    "train and training": ({"train": TWO, "training": TWO}, r"has train/ and training/, which stand for the same"),
    "train beside a class": ({"train": TWO, "plane": 4}, r"beside it plane/ with images.*Known are"),
    "parts within some classes": (
        {"cat": {"train": 4, "test": 2}, "dog": 6},
        r"in others no training folder: 'dog'. Divide all classes",
    ),
    "classes one folder down": (
        {"flowers": {"rose": 4, "iris": 4}},
        r"one class only, 'flowers'.*give folder:.*flowers",
    ),
    "a class of test that training has not": (
        {"Training": TWO, "Testing": {"cat": 2, "cow": 2}},
        r"Testing has 1 class folder\(s\) that .*Training has not: 'cow'",
    ),
    "several tables": (
        {"a": 2, "labels.csv": "file,label\n", "metadata.csv": "file,label\n"},
        r"several tables .*labels\.csv, metadata\.csv",
    ),
    "a test label that training has not": (
        {"a": 3, "train.csv": "file,label\n000.png,x\n001.png,y\n", "test.csv": "file,label\n002.png,z\n"},
        r"test\.csv has 1 test label\(s\) that no training image has: 'z'",
    ),
}
TREES |= {
    title: ({"a": 2, "labels.csv": content}, pattern)
    for title, content, pattern in (
        ("a table without a label", "file,breed\n000.png,pug\n", "one class only, 'a'"),
        ("a table without rows", "file,label\n", "has a first line and no others"),
        ("a row without a label", "file,label\n000.png,x\n001.png,\n", "line 3, has no label, as 1 of 2"),
        ("a file that is not there", "file,label\n000.png,x\n7.png,y\n", r"1 of them do not exist: .*7\.png"),
        ("a file above", "file,label\n000.png,x\n../7.png,y\n", r"line 3: \.\./7\.png leads out"),
        ("a file above, in steps", "file,label\n000.png,x\na/../../7.png,y\n", "leads out"),
        ("an absolute file", "file,label\n000.png,x\n/etc/hosts,y\n", "/etc/hosts leads out"),
        ("a file on a drive", "file,label\n000.png,x\nC:\\7.png,y\n", r"C:\\7\.png leads out"),
        ("a file with two labels", "file,label\n000.png,x\n000.png,y\n", r"line 3: 000\.png stands there twice"),
        ("a part that is none", "file,label,split\n000.png,x,fold1\n", "line 2: 'fold1' is no part"),
        ("a table that is not UTF-8", b"file,label\n000.png,caf\xe9\n", "is not in UTF-8: .* at byte 22"),
        ("one column twice in a quoted line", 'file,label\n"000.png,x\n', "line 2, has no label"),
    )
}


def build(top, tree, counter=None):
    """Make a tree of files: a number is as many image files, none like another; texts and bytes are contents."""
    counter = itertools.count() if counter is None else counter
    top.mkdir(parents=True, exist_ok=True)
    for name, content in tree.items():
        if isinstance(content, dict):
            build(top / name, content, counter)
        elif isinstance(content, int):
            build(top / name, {f"{n:03}.png": f"image {next(counter)}" for n in range(content)})
        else:
            (top / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return top
