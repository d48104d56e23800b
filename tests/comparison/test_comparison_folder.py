"""What was stated before the runs stays stated."""

import json

import pytest

from curriculum_zoo.comparison.arms import stated_arms
from curriculum_zoo.comparison.folder import ComparisonFolder
from curriculum_zoo.comparison.grid import Condition, Grid
from curriculum_zoo.errors import ComparisonError

GRID = Grid(recipe={"model": "simple_cnn", "data": "demo", "epochs": 20}, curricula=("baseline", "trd"), seeds=(0, 1))


@pytest.fixture
def place(tmp_path):
    place = ComparisonFolder(tmp_path / "comparison")
    place.state(GRID)
    place.plan(stated_arms(GRID), {})
    return place


@pytest.fixture
def begun(place):
    """A folder with one finished cell."""
    run = place.path / place.read().arms[0].cells[0].folder
    run.mkdir()
    (run / "results.json").write_text("{}")
    return place


def changed(**fields):
    return Grid.from_dict({**GRID.to_dict(), **fields})


def test_a_folder_tells_what_it_was_given(place):
    statement = place.read()
    assert statement.grid == GRID.resolved()
    assert [(arm.label, arm.baseline, [cell.seed for cell in arm.cells]) for arm in statement.arms] == [
        ("baseline", None, [0, 1]),
        ("trd", "baseline", [0, 1]),
    ]
    names = [cell.folder for arm in statement.arms for cell in arm.cells]
    assert len(set(names)) == 4
    assert ComparisonFolder(place.path / "nowhere").read() is None


@pytest.mark.parametrize(
    "fields",
    [{"margin": 1.0}, {"baseline": "trd"}, {"seeds": [5]}, {"curricula": ["baseline", "hrt"]}, {"figure": "best"}],
)
def test_anything_may_be_stated_otherwise_before_the_first_result(place, fields):
    assert place.state(changed(**fields)).grid == changed(**fields).resolved()
    assert place.read().changes == ()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"margin": 1.0}, "margin 0.3 there, 1.0 here"),
        ({"confidence": 0.9}, "confidence 0.95 there, 0.9 here"),
        ({"figure": "best"}, "figure last there, best here"),
        ({"baseline": "trd"}, "baseline None there, trd here"),
        ({"settings": {"epochs": 30}}, "epochs 20 there, 30 here"),
        ({"settings": {"optimizer.lr": 0.5}}, "optimizer .* here"),
        ({"seeds": [1]}, "seeds 0 would be left out"),
        ({"curricula": ["baseline"]}, "curricula trd would be left out"),
    ],
)
def test_what_decides_cannot_be_changed_once_results_are_there(begun, fields, told):
    with pytest.raises(ComparisonError, match=told):
        begun.state(changed(**fields))
    assert begun.read().grid == GRID.resolved()


def test_arms_cannot_be_altered_under_their_label(tmp_path):
    grid = changed(curricula=[], arms={"gentle": {"optimizer.lr": 0.01}, "rash": {"optimizer.lr": 0.9}})
    place = ComparisonFolder(tmp_path)
    place.state(grid)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text("{}")
    with pytest.raises(ComparisonError, match="arms rash would be changed"):
        place.state(changed(curricula=[], arms={"gentle": {"optimizer.lr": 0.01}, "rash": {"optimizer.lr": 0.5}}))


def test_what_is_added_later_is_written_down(begun):
    condition = Condition(name="half", resolution=0.5).to_dict()
    later = changed(seeds=[0, 1, 2], curricula=["baseline", "trd", "hrt"], evaluate=[condition], notes="x")
    statement = begun.state(later)
    assert statement.grid == later.resolved()
    assert [change.partition(": ")[2] for change in begun.read().changes] == [
        "added seeds 2",
        "added curricula hrt",
        "changed evaluate",
    ]
    assert statement.stated == begun.read().stated
    assert begun.state(later).changes == statement.changes


def test_notes_of_the_recipe_and_fields_that_it_was_written_without_are_no_change(begun):
    path = begun.path / "comparison.json"
    values = json.loads(path.read_text())
    del values["grid"]["recipe"]["label_smoothing"]  # as an earlier version would have written it
    values["grid"]["recipe"]["notes"] = "a remark"
    path.write_text(json.dumps(values))
    assert begun.state(GRID).changes == ()


def test_a_run_is_found_by_its_fingerprint_whatever_its_arm_was_called(place):
    from curriculum_zoo.comparison.arms import Cell

    recipe = stated_arms(GRID)[1].recipe
    first = place.run_folder(Cell("trd", 0, recipe))
    first.mkdir()
    assert place.run_folder(Cell("another label", 0, recipe)) == first


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"grid": {"sead": 1}, "arms": [], "stated": "", "changes": []}'])
def test_a_damaged_file_is_named(place, text):
    (place.path / "comparison.json").write_text(text)
    with pytest.raises(ComparisonError, match=r"comparison.json is damaged .* begin in another folder"):
        place.read()
