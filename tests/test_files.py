"""Files are replaced whole, or not at all."""

import json
import math
import os

import pytest

from curriculum_zoo.files import replace_file, to_json, written_aside


def test_text_is_replaced_whole(tmp_path):
    path = tmp_path / "metrics.jsonl"
    replace_file(path, "old\n")
    replace_file(path, "new\n")
    assert path.read_text() == "new\n"
    assert os.listdir(tmp_path) == ["metrics.jsonl"]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "metrics.jsonl"
    replace_file(path, "old\n")

    def write():
        with written_aside(path) as temporary:
            temporary.write_text("a part")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write()
    assert path.read_text() == "old\n"
    assert os.listdir(tmp_path) == ["metrics.jsonl"]


def test_json_stays_json_where_numbers_are_not_finite():
    text = to_json({"loss": math.nan, "each": [1.5, -math.inf, (math.inf,)], "count": 3, "name": "NaN", "none": None})
    assert json.loads(text, parse_constant=pytest.fail) == {
        "loss": None,
        "each": [1.5, None, [None]],
        "count": 3,
        "name": "NaN",
        "none": None,
    }
