"""Documents that anyone may have written: read, or refused by one error, whatever their bytes."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.comparison.grid import Grid
from curriculum_zoo.curricula.expression import parse
from curriculum_zoo.documents import INTEGERS, parse_json, read_json, read_text, read_toml
from curriculum_zoo.errors import ComparisonError, CurriculumError, DocumentError, RecipeError, WeightsError
from curriculum_zoo.recipes import Recipe, Schedule
from curriculum_zoo.recipes.schedule import share_of_peak
from curriculum_zoo.weights.address import Address

integers = st.integers(INTEGERS.start, INTEGERS.stop - 1)
scalars = st.none() | st.booleans() | integers | st.floats(allow_nan=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
fields = st.sampled_from(sorted(Recipe(model="m", data="d").to_dict())) | st.text(max_size=8)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("documents") / "file.json"


def read_or_refused(error, read, file):
    """What reading gives, and the text of the one error that it may raise."""
    try:
        return read(file), None
    except error as refusal:
        return None, str(refusal)


@given(values)
def test_a_value_is_the_same_after_json(value):
    assert parse_json(json.dumps(value)) == value


@given(content=st.binary(max_size=60))
@pytest.mark.parametrize("read", [read_json, read_toml, read_text])
def test_any_bytes_are_read_or_refused_naming_the_file(file, read, content):
    file.write_bytes(content)
    _, refusal = read_or_refused(DocumentError, read, file)
    assert refusal is None or str(file) in refusal


@given(values=st.dictionaries(fields, values, max_size=4))
def test_any_object_is_a_recipe_that_stays_so_or_refused_naming_the_file(file, values):
    file.write_text(json.dumps({"model": "m", "data": "d", **values}), encoding="utf-8")
    recipe, refusal = read_or_refused(RecipeError, Recipe.load, file)
    assert Recipe.from_dict(recipe.to_dict()) == recipe if refusal is None else str(file) in refusal


@given(values=st.dictionaries(st.sampled_from(sorted(Grid().to_dict())), values, max_size=4))
def test_any_object_is_a_grid_that_stays_so_or_refused_naming_the_file(file, values):
    file.write_text(json.dumps(values), encoding="utf-8")
    grid, refusal = read_or_refused(ComparisonError, Grid.load, file)
    assert Grid.from_dict(grid.to_dict()) == grid if refusal is None else str(file) in refusal


@pytest.mark.parametrize("bad", ["[" * 66 + "]" * 66, '{"a":' * 65 + "1" + "}" * 65, str(2**64), str(-(2**63) - 1)])
def test_what_is_deeper_or_larger_than_bounds_allow_is_refused(bad):
    with pytest.raises(DocumentError, match=r"levels deep|64 bits"):
        parse_json(bad)


def test_what_is_just_within_bounds_is_read():
    assert parse_json("[" * 64 + "]" * 64)
    assert parse_json(f"[{2**64 - 1}, {-(2**63)}]") == [2**64 - 1, -(2**63)]


def test_a_byte_order_mark_and_line_ends_of_windows_are_read(file):
    file.write_bytes(b'\xef\xbb\xbf{\r\n"a": 1}\r\n')
    assert read_json(file) == {"a": 1}
    assert read_text(file) == '{\n"a": 1}\n'


@pytest.mark.parametrize(
    "text", ["(" * 20_000, "a(x=" + "[" * 20_000, f"a(x={'9' * 5000})", "a(x=1e" + "9" * 5000 + ")"]
)
def test_curricula_without_bounds_are_refused(text):
    with pytest.raises(CurriculumError, match=r"nested|number of"):
        parse(text)


@pytest.mark.parametrize("text", ["hf-hub:../..", "hf-hub:owner/..", "hf-hub:owner/repo@../../x", "hf-hub:a/b@v1..v2"])
def test_an_address_on_the_hub_leads_nowhere_else(text):
    with pytest.raises(WeightsError, match="no repository"):
        Address.parse(text)


schedules = st.builds(
    Schedule,
    name=st.sampled_from(["constant", "cosine", "onecycle", "step"]),
    warmup=st.floats(0, 1, exclude_max=True),
    start=st.floats(0, 1),
    end=st.floats(0, 1),
    milestones=st.lists(st.floats(0, 1, exclude_min=True, exclude_max=True), unique=True).map(sorted).map(tuple),
)


@given(schedules, st.floats(0, 1))
def test_every_schedule_gives_a_share_everywhere_and_the_same_again(schedule, progress):
    share = share_of_peak(schedule, progress)
    assert 0 <= share <= 1 + 1e-12
    assert share_of_peak(replace(schedule), progress) == share
