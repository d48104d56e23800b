"""Grids: strict, and the same after a trip through a file."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.comparison.grid import Condition, Grid, read_arm, read_seeds
from curriculum_zoo.errors import ComparisonError, RecipeError
from curriculum_zoo.recipes import Recipe, load_recipe

names = st.text("abcdefgh_", min_size=1, max_size=6)
settings_of_arms = st.dictionaries(
    st.sampled_from(["epochs", "optimizer.lr", "curriculum", "augmentation.flip"]),
    st.one_of(st.integers(1, 9), st.floats(0.01, 1), names, st.booleans(), st.none()),
)
conditions = st.builds(
    Condition,
    name=names,
    resolution=st.one_of(st.none(), st.integers(1, 64), st.floats(0.1, 1.0)),
    corruption=st.one_of(st.none(), names),
    severity=st.integers(1, 5),
    blur=st.floats(0, 5),
)
grids = st.builds(
    Grid,
    recipe=st.one_of(names, st.fixed_dictionaries({"model": names, "data": names})),
    settings=settings_of_arms,
    models=st.lists(names, unique=True).map(tuple),
    data=st.lists(names, unique=True).map(tuple),
    curricula=st.lists(names, unique=True).map(tuple),
    arms=st.dictionaries(names, settings_of_arms),
    seeds=st.lists(st.integers(0, 2**40), min_size=1, unique=True).map(tuple),
    baseline=st.one_of(st.none(), names),
    margin=st.floats(0.01, 10),
    confidence=st.floats(0.5, 0.999),
    figure=st.sampled_from(["last", "best"]),
    matched=st.booleans(),
    ablate=st.booleans(),
    target=st.one_of(st.none(), st.floats(0.1, 0.9)),
    evaluate=st.lists(conditions, unique_by=lambda condition: condition.name).map(tuple),
)


@given(grids)
def test_a_grid_is_the_same_after_json(grid):
    assert Grid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid


def test_a_grid_is_the_same_after_a_file(tmp_path):
    grid = Grid(recipe={"model": "simple_cnn", "data": "demo"}, arms={"a": {"optimizer.lr": None}}, seeds=(3, 1))
    grid.save(tmp_path / "grid.json")
    assert Grid.load(tmp_path / "grid.json") == grid


TOML = """
recipe = "resnet20_cifar-cifar10"
curricula = ["baseline", "trd"]
seeds = "0..4"
margin = 0.5
matched = true

[settings]
precision = "bf16"
optimizer.lr = 0.2

[arms.plain]

[arms."without flips"]
augmentation.flip = false

[[evaluate]]
name = "half"
resolution = 0.5
"""


def test_toml_says_the_same_as_json(tmp_path):
    (tmp_path / "grid.toml").write_text(TOML, encoding="utf-8")
    stated = {
        "recipe": "resnet20_cifar-cifar10",
        "curricula": ["baseline", "trd"],
        "seeds": [0, 1, 2, 3, 4],
        "margin": 0.5,
        "matched": True,
        "settings": {"precision": "bf16", "optimizer": {"lr": 0.2}},
        "arms": {"plain": {}, "without flips": {"augmentation": {"flip": False}}},
        "evaluate": [{"name": "half", "resolution": 0.5}],
    }
    (tmp_path / "grid.json").write_text(json.dumps(stated))
    grid = Grid.load(tmp_path / "grid.toml")
    assert grid == Grid.load(tmp_path / "grid.json")
    assert grid.evaluate == (Condition(name="half", resolution=0.5),)


def test_a_nested_table_changes_the_fields_that_it_names_and_no_others(tmp_path):
    (tmp_path / "grid.toml").write_text(TOML, encoding="utf-8")
    shipped = load_recipe("resnet20_cifar-cifar10")
    assert Grid.load(tmp_path / "grid.toml").base() == shipped.changed({"precision": "bf16", "optimizer.lr": 0.2})


def test_a_recipe_beside_the_grid_is_found_from_anywhere(tmp_path, monkeypatch):
    recipe = Recipe(model="simple_cnn", data="demo", epochs=7)
    (tmp_path / "there").mkdir()
    recipe.save(tmp_path / "there" / "mine.json")
    (tmp_path / "there" / "grid.toml").write_text('recipe = "mine.json"')
    monkeypatch.chdir(tmp_path)
    assert Grid.load("there/grid.toml").base() == recipe


def test_a_resolved_grid_does_not_depend_on_what_a_name_holds():
    grid = Grid(recipe="resnet20_cifar-cifar10", settings={"epochs": 4}).resolved()
    assert (grid.recipe["epochs"], grid.recipe["model"], grid.settings) == (4, "resnet20_cifar", {})
    assert grid.resolved() == grid


def test_fields_of_a_recipe_may_leave_model_and_data_to_the_grid():
    grid = Grid(recipe={"epochs": 3}, models=("simple_cnn", "resnet20_cifar"), data=("demo",))
    assert (grid.base().model, grid.base().data, grid.base().epochs) == ("simple_cnn", "demo", 3)
    with pytest.raises(RecipeError, match="data is missing"):
        Grid(recipe={"epochs": 3}, models=("simple_cnn",)).base()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"sead": [1]}, "did you mean 'seeds'"),
        ({"seeds": "4..0"}, "rising"),
        ({"seeds": "a"}, "0..4 or 0,3,7"),
        ({"seeds": []}, "seeds must name at least one"),
        ({"seeds": [1, 1]}, "seeds names 1 twice"),
        ({"curricula": ["trd", "trd"]}, "curricula names 'trd' twice"),
        ({"margin": 0}, "margin must be above 0"),
        ({"confidence": 95}, "confidence must be below 1"),
        ({"figure": "final"}, "'last'"),
        ({"target": 90}, "target must be below 1"),
        ({"arms": {"a": {"seed": 3}}}, r"arms.a.seed is no arm's own"),
        ({"settings": {"seed": 3}}, r"settings.seed is no arm's own"),
        ({"arms": {" ": {}}}, "an arm without a label"),
        ({"evaluate": [{"name": "x"}, {"name": "x"}]}, "evaluate names 'x' twice"),
        ({"evaluate": [{"resolution": 8}]}, "name is missing"),
        ({"evaluate": [{"name": "x", "resolution": 1.5}]}, "share of the side must be at most 1"),
        ({"evaluate": [{"name": "x", "severity": 6}]}, "severity must be at most 5"),
        ({"evaluate": [{"name": " "}]}, "name must not be empty"),
        ({"evaluate": [{"name": "x", "enlarge": True}]}, "enlarge brings images back from a resolution"),
    ],
)
def test_what_makes_no_sense_is_named(fields, named):
    with pytest.raises(ComparisonError, match=named):
        Grid.from_dict(fields)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("grid.toml", "seeds = ", "is no TOML"),
        ("grid.json", "{", "is no JSON"),
        ("grid.toml", "[[arms]]\nlabel = 1", "arms expects an object"),
        ("grid.json", "[]", "expected an object"),
    ],
)
def test_a_file_that_states_no_grid_is_named(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(ComparisonError, match=told) as refusal:
        Grid.load(tmp_path / name)
    assert name in str(refusal.value)
    with pytest.raises(ComparisonError, match="cannot be read"):
        Grid.load(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0..4", (0, 1, 2, 3, 4)), ("0,3,7", (0, 3, 7)), ("5", (5,)), (" 2 .. 3 , 42", (2, 3, 42)), ("3..3", (3,))],
)
def test_seeds_are_read(text, seeds):
    assert read_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "1,", "-1", "0...3", "1.5", "0..", "3..1", "1;2"])
def test_seeds_that_cannot_be_read_are_refused(text):
    with pytest.raises(ComparisonError, match=r"0\.\.4 or 0,3,7"):
        read_seeds(text)


@pytest.mark.parametrize(
    ("text", "arm"),
    [
        ("HRT: curriculum=hrt; epochs=12", ("HRT", {"curriculum": "hrt", "epochs": 12})),
        ("data=npz:here.npz", (None, {"data": "npz:here.npz"})),
        ("a b : data=npz:x; optimizer.lr=null;", ("a b", {"data": "npz:x", "optimizer.lr": None})),
        ("plain:", ("plain", {})),
        ("precision=bf16", (None, {"precision": "bf16"})),
    ],
)
def test_arms_are_read(text, arm):
    assert read_arm(text) == arm


@pytest.mark.parametrize("text", ["", "HRT", "HRT: hrt", "HRT: curriculum=hrt, epochs"])
def test_arms_that_cannot_be_read_are_refused(text):
    if text.endswith("epochs"):  # a comma belongs to the value
        assert read_arm(text) == ("HRT", {"curriculum": "hrt, epochs"})
        return
    with pytest.raises(ComparisonError, match="expected 'LABEL: FIELD=VALUE"):
        read_arm(text)
