"""Recipes: strict, and the same after a trip through JSON."""

import json
import subprocess
import sys

import pytest

from curriculum_zoo.errors import RecipeError, UnknownNameError
from curriculum_zoo.recipes import Mixing, Optimizer, Recipe, Schedule, list_recipes, load_recipe, read_setting


@pytest.fixture
def recipe():
    return Recipe(
        model="resnet20_cifar",
        data="demo",
        curriculum="trd(resolution=16)",
        epochs=7,
        optimizer=Optimizer(name="adamw", lr=3e-4, options={"eps": 1e-7}),
        schedule=Schedule(name="step", milestones=(0.3, 0.6)),
        mixing=Mixing(mixup=0.2),
        model_options={"drop_rate": 0.1},
    )


def test_recipe_is_the_same_after_a_file(recipe, tmp_path):
    recipe.save(tmp_path / "recipe.json")
    assert Recipe.load(tmp_path / "recipe.json") == recipe
    assert load_recipe(tmp_path / "recipe.json") == recipe


def test_nested_fields_are_changed_by_dotted_names(recipe):
    changed = recipe.changed({"optimizer.lr": 0.5, "epochs": 9, "model_options.drop_rate": 0.3})
    assert (changed.optimizer.lr, changed.epochs, changed.model_options) == (0.5, 9, {"drop_rate": 0.3})
    assert changed.optimizer.options == recipe.optimizer.options
    assert recipe.optimizer.lr == 3e-4


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"epoch": 3}, "epochs"),
        ({"optimizer.learning_rate": 3}, "learning_rate"),
        ({"epochs.x": 3}, "epochs"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": "3"}, "epochs expects an integer"),
        ({"optimizer.lr": -1.0}, "lr must be above 0"),
        ({"optimizer.lr": float("nan")}, "lr must be finite"),
        ({"schedule.milestones": [0.6, 0.3]}, "milestones must rise"),
        ({"schedule.name": "triangle"}, "'onecycle'"),
        ({"batch_size": 10, "accumulation": 3}, "accumulation must divide batch_size 10"),
        ({"precision": "fp8"}, "'bf16'"),
        ({"validation": 1.5}, "validation must be a share below 1 or a whole number of images, got 1.5"),
        ({"validation": -1}, "validation must be at least 0"),
    ],
)
def test_what_does_not_fit_is_named(recipe, settings, named):
    with pytest.raises(RecipeError, match=named):
        recipe.changed(settings)


def test_missing_model_is_named():
    with pytest.raises(RecipeError, match="model is missing"):
        Recipe.from_dict({"data": "demo"})


@pytest.mark.parametrize("text", ["{", "[]", '"recipe"', '{"model": "simple_cnn", "data": "demo", "seed": 1.5}'])
def test_file_that_is_no_recipe_is_named(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"broken\.json"):
        load_recipe(path)


def test_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"nowhere\.json cannot be read"):
        load_recipe(tmp_path / "nowhere.json")


def test_unknown_name_offers_the_closest():
    name = list_recipes()[0]
    with pytest.raises(UnknownNameError, match=name):
        load_recipe(name + "x")


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_load_and_state_what_they_give(name):
    recipe = load_recipe(name)
    assert json.loads(json.dumps(recipe.to_dict())) == recipe.to_dict()
    assert "curriculum-zoo train --recipe" in recipe.notes


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_hold_out_the_images_that_their_figures_were_taken_on(name):
    recipe = load_recipe(name)
    assert recipe.data_seed == recipe.seed


def test_a_recipe_that_names_no_data_seed_holds_out_the_same_images_under_every_seed():
    cuts = {Recipe.from_dict({"model": "simple_cnn", "data": "demo", "seed": seed}).data_seed for seed in (0, 3, 42)}
    assert cuts == {0}


def test_learning_rate_follows_the_optimizer_where_none_is_given():
    assert Optimizer(name="sgd").peak_lr == 0.1
    assert Optimizer(name="adamw").peak_lr == 0.001
    assert Optimizer(name="adamw", lr=0.2).peak_lr == 0.2


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("optimizer.lr=0.5", ("optimizer.lr", 0.5)),
        ("curriculum=trd(resolution=16)", ("curriculum", "trd(resolution=16)")),
        ("schedule.milestones=[0.3, 0.6]", ("schedule.milestones", [0.3, 0.6])),
        ("ema_decay=null", ("ema_decay", None)),
    ],
)
def test_settings_are_json_where_they_can_be(text, setting):
    assert read_setting(text) == setting


def test_setting_without_a_value_is_named():
    with pytest.raises(RecipeError, match="--set epochs: expected FIELD=VALUE"):
        read_setting("epochs")


def test_recipes_are_read_without_importing_torch():
    code = """
import sys
from curriculum_zoo.recipes import list_recipes, load_recipe
assert all(load_recipe(name).epochs for name in list_recipes())
print("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
