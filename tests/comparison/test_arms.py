"""Arms: what is measured against what, which runs there are, and what tells one run from another."""

import hashlib
import itertools
from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.comparison.arms import Cell, ablated, cells_of, expression_of, fingerprint, stated_arms
from curriculum_zoo.comparison.grid import Grid
from curriculum_zoo.curricula import Curriculum, Stage, create_curriculum
from curriculum_zoo.curricula.expression import parse
from curriculum_zoo.errors import ComparisonError, UnknownNameError
from curriculum_zoo.recipes import Optimizer, Recipe
from curriculum_zoo.registry import register_curriculum


def labels(grid):
    return {arm.label: arm.baseline for arm in stated_arms(grid)}


BASE = {"model": "simple_cnn", "data": "demo", "epochs": 20}


def test_curricula_are_measured_against_the_one_called_baseline():
    grid = Grid(recipe=BASE, curricula=("trd", "baseline", "hrt"))
    assert labels(grid) == {"trd": "baseline", "baseline": None, "hrt": "baseline"}
    assert [arm.recipe.curriculum for arm in stated_arms(grid)] == ["trd", "baseline", "hrt"]


def test_without_one_called_baseline_it_is_the_first_or_the_one_that_is_named():
    arms = {"plain": {}, "gentle": {"optimizer.lr": 0.01}}
    assert labels(Grid(recipe=BASE, arms=arms)) == {"plain": None, "gentle": "plain"}
    assert labels(Grid(recipe=BASE, arms=arms, baseline="gentle")) == {"plain": "gentle", "gentle": None}


def test_every_arm_goes_with_every_curriculum():
    arms = {"plain": {}, "gentle": {"optimizer.lr": 0.01}}
    grid = Grid(recipe=BASE, curricula=("baseline", "trd"), arms=arms)
    found = {arm.label: (arm.recipe.curriculum, arm.recipe.optimizer.lr) for arm in stated_arms(grid)}
    assert found == {
        "baseline, plain": ("baseline", None),
        "baseline, gentle": ("baseline", 0.01),
        "trd, plain": ("trd", None),
        "trd, gentle": ("trd", 0.01),
    }


def test_models_and_data_have_a_baseline_each():
    grid = Grid(
        recipe={"epochs": 20},
        models=("simple_cnn", "resnet20_cifar"),
        data=("demo", "npz:there/cifar.npz"),
        curricula=("baseline", "trd"),
    )
    assert labels(grid) == {
        f"{model}, {data}, {curriculum}": None if curriculum == "baseline" else f"{model}, {data}, baseline"
        for data, model, curriculum in itertools.product(
            ("demo", "cifar"), ("simple_cnn", "resnet20_cifar"), ("baseline", "trd")
        )
    }


def test_models_are_compared_where_nothing_else_differs():
    grid = Grid(recipe=BASE, models=("simple_cnn", "resnet20_cifar"))
    assert labels(grid) == {"simple_cnn": None, "resnet20_cifar": "simple_cnn"}
    assert labels(Grid(recipe=BASE, models=("simple_cnn", "resnet20_cifar"), baseline="resnet20_cifar")) == {
        "simple_cnn": "resnet20_cifar",
        "resnet20_cifar": None,
    }


def test_one_arm_alone_has_nothing_to_be_measured_against():
    assert labels(Grid(recipe=BASE)) == {"baseline": None}


def test_cells_come_seed_by_seed():
    grid = Grid(recipe=BASE, curricula=("baseline", "trd"), seeds=(3, 1))
    cells = cells_of(stated_arms(grid))
    assert [(cell.seed, cell.arm) for cell in cells] == [(3, "baseline"), (3, "trd"), (1, "baseline"), (1, "trd")]
    assert all(cell.recipe.seed == cell.seed for cell in cells)


@pytest.mark.parametrize(
    ("fields", "error", "told"),
    [
        ({"curricula": ("baseline", "trdd")}, UnknownNameError, "Arm 'trdd': .*Did you mean 'trd'"),
        ({"models": ("resnet20_cifr",)}, UnknownNameError, "Did you mean 'resnet20_cifar'"),
        ({"data": ("dmo",)}, UnknownNameError, "'demo'"),
        ({"curricula": ("trd(share=1)",)}, ComparisonError, "trd has no parameter 'share'"),
        ({"arms": {"x": {"epoch": 3}}}, ComparisonError, "Arm 'x': .*did you mean 'epochs'"),
        ({"arms": {"x": {"epochs": 0}}}, ComparisonError, "Arm 'x': .*epochs must be at least 1"),
        ({"arms": {"x": {}, "y": {"epochs": 20}}}, ComparisonError, "'x' and 'y' are the same training"),
        ({"curricula": ("trd(participation=0.5)", "trd")}, ComparisonError, "are the same training"),
        ({"curricula": ("baseline", "trd"), "baseline": "plain"}, ComparisonError, "No arm is called 'plain'"),
    ],
)
def test_what_would_fail_in_every_cell_is_told_before_the_first(fields, error, told):
    with pytest.raises(error, match=told):
        stated_arms(Grid(recipe=BASE, **fields))


# Fingerprints


RECIPE = Recipe(model="simple_cnn", data="demo", epochs=5, optimizer=Optimizer(lr=0.2))


def test_notes_do_not_count():
    assert fingerprint(RECIPE.changed({"notes": "better than before"})) == fingerprint(RECIPE)


@given(
    st.sampled_from(
        [
            {"seed": 1},
            {"epochs": 6},
            {"optimizer.lr": 0.1},
            {"optimizer.options": {"eps": 1e-7}},
            {"model_options": {"hidden_size": 8}},
            {"curriculum": "trd"},
            {"validation": 0.2},
            {"label_smoothing": 0.1},
            {"ema_decay": 0.9},
        ]
    )
)
def test_everything_else_does(change):
    assert fingerprint(RECIPE.changed(change)) != fingerprint(RECIPE)


def test_a_fingerprint_is_the_same_on_every_machine_and_day():
    stated = '{"data":"demo","epochs":5,"model":"simple_cnn","optimizer":{"lr":0.2}}'
    assert fingerprint(RECIPE) == hashlib.sha256(stated.encode()).hexdigest()[:12]


def test_a_field_that_a_later_version_adds_does_not_change_fingerprints():
    @dataclass(frozen=True, kw_only=True)
    class Longer(Recipe):
        sharpness: float = 0.5

    longer = Longer(**vars(RECIPE))
    assert fingerprint(longer) == fingerprint(RECIPE)
    assert fingerprint(Longer(**{**vars(RECIPE), "sharpness": 0.6})) != fingerprint(RECIPE)


def test_a_folder_name_is_safe_on_every_file_system():
    cell = Cell("TRD: (p=0.5) ÷ ‘half’/…" * 9, 3, RECIPE)
    assert cell.folder_name == f"trd_p_0_5_half_trd_p_0_5_half_trd_p_0_5-3-{fingerprint(RECIPE)}"
    assert Cell("…", 3, RECIPE).folder_name.startswith("arm-3-")


# Ablations


@pytest.fixture
def dimming(clean_registry):
    @register_curriculum
    @dataclass(frozen=True, kw_only=True)
    class dimming(Curriculum):
        darkest: float = 0.2
        word: str = "x"
        ablations: ClassVar = {"half as dark": {"darkest": 0.5}, "none": "baseline", "as it is": {}}

        def _stage(self, epoch):
            return Stage(name="dim")

    return dimming


def test_a_curriculum_declares_its_own_ablation(dimming):
    arms = stated_arms(Grid(recipe=BASE, curricula=("baseline", "dimming(word='y z')"), seeds=(0, 5)))
    (added,) = ablated(arms)
    assert (added.label, added.kind, added.baseline) == ("dimming(word='y z'): half as dark", "ablation", "baseline")
    assert {seed: own.curriculum for seed, own in added.recipes.items()} == {
        0: "dimming(word='y z', darkest=0.5)",
        5: "dimming(word='y z', darkest=0.5)",
    }


def test_compositions_and_curricula_without_ablations_add_nothing(dimming):
    assert ablated(stated_arms(Grid(recipe=BASE, curricula=("baseline", "dimming+progressive_sharpening")))) == []


def test_arms_of_the_zoos_own_curricula_can_be_planned():
    for name in ("hrt", "trd", "progressive_sharpening(replay=0.2)", "low_frequency"):
        arms = stated_arms(Grid(recipe={**BASE, "epochs": 40}, curricula=("baseline", name)))
        declared = create_curriculum(name, epochs=40).ablations
        assert [arm.label for arm in ablated(arms)] == [f"{name}: {label}" for label in declared]
        assert len(declared) >= 2


def test_what_the_arm_is_already_is_no_ablation_of_it():
    arms = stated_arms(Grid(recipe=BASE, curricula=("baseline", "progressive_sharpening")))
    assert not any("replay" in arm.label for arm in ablated(arms))  # it has none by default


scalars = st.one_of(
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.text(st.characters(exclude_characters="\"'", exclude_categories=("Cs", "Cc"))),
)


@given(st.dictionaries(st.from_regex(r"[a-df-z]\w{0,5}", fullmatch=True), st.recursive(scalars, st.tuples)))
def test_an_expression_says_what_it_was_made_from(parameters):
    parsed = parse(expression_of("trd", parameters))
    assert (parsed.name, dict(parsed.parameters)) == ("trd", parameters)
