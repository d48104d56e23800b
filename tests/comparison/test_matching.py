"""Equal FLOPs: the baseline for each cheaper arm's budget, and budgets that are what training then spends."""

import pytest

from curriculum_zoo.comparison.arms import Arm, ablated, stated_arms
from curriculum_zoo.comparison.grid import Grid
from curriculum_zoo.comparison.matching import FlopsCounter, planned_flops, with_matched
from curriculum_zoo.errors import ComparisonError
from curriculum_zoo.recipes import GlimpseLearning, Recipe
from curriculum_zoo.training import train
from curriculum_zoo.training.prepare import prepare
from curriculum_zoo.training.progress import Reporter

BASE = {"model": "simple_cnn", "data": "demo", "epochs": 10}


def arms_costing(shares, seeds=(0, 1)):
    """Arms of a grid and a function that makes an epoch of each cost a share of the baseline's 100, by seed."""
    grid = Grid(recipe=BASE, arms={label: {"model_options": {"name": label}} for label in shares}, seeds=seeds)

    def flops_of(recipe):
        share = shares[recipe.model_options["name"]]
        return round(100 * recipe.epochs * (share[recipe.seed] if isinstance(share, dict) else share))

    return stated_arms(grid), flops_of


def test_a_cheaper_arm_gets_the_baseline_for_its_flops():
    arms = with_matched(*arms_costing({"plain": 1, "half": 0.52, "dear": 1.3}))
    assert [(arm.label, arm.kind, arm.baseline, arm.matched) for arm in arms] == [
        ("plain", "stated", None, None),
        ("half", "stated", "plain", "plain, 5 epochs"),
        ("dear", "stated", "plain", None),
        ("plain, 5 epochs", "matched", "plain", None),
    ]
    assert {seed: recipe.epochs for seed, recipe in arms[-1].recipes.items()} == {0: 5, 1: 5}
    assert arms[-1].recipe == arms[0].recipe.changed({"epochs": 5})


def test_the_nearest_count_of_epochs_is_taken():
    shares = {"plain": 1, "a": 0.54, "b": 0.56, "c": 0.01}
    assert [arm.matched for arm in with_matched(*arms_costing(shares))[:4]] == [
        None,
        "plain, 5 epochs",
        "plain, 6 epochs",
        "plain, 1 epochs",
    ]


def test_arms_of_one_budget_share_their_match():
    arms = with_matched(*arms_costing({"plain": 1, "a": 0.5, "b": 0.51}))
    assert [arm.matched for arm in arms] == [None, "plain, 5 epochs", "plain, 5 epochs", None]


def test_where_the_nearest_count_is_the_baselines_own_it_is_its_own_match():
    arms = with_matched(*arms_costing({"plain": 1, "nearly": 0.97}))
    assert [(arm.label, arm.matched) for arm in arms] == [("plain", None), ("nearly", "plain")]


def test_a_curriculum_that_draws_its_cost_is_matched_seed_by_seed():
    arms = with_matched(*arms_costing({"plain": 1, "drawn": {0: 0.4, 1: 0.7}, "other": {0: 0.7, 1: 0.4}}))
    assert [arm.matched for arm in arms[:3]] == [None, "plain, 4 to 7 epochs", "plain, 4 to 7 epochs (other)"]
    assert [{seed: recipe.epochs for seed, recipe in arm.recipes.items()} for arm in arms[3:]] == [
        {0: 4, 1: 7},
        {0: 7, 1: 4},
    ]


def test_each_model_is_matched_to_its_own_baseline():
    recipes = {seed: Recipe(**BASE, seed=seed) for seed in (0, 1)}
    wide = {seed: recipe.changed({"model_options": {"hidden_size": 9}}) for seed, recipe in recipes.items()}
    arms = [
        Arm("a", recipes),
        Arm("a, half", {seed: own.changed({"curriculum": "trd"}) for seed, own in recipes.items()}, baseline="a"),
        Arm("b", wide),
        Arm("b, half", {seed: own.changed({"curriculum": "trd"}) for seed, own in wide.items()}, baseline="b"),
    ]
    matched = with_matched(arms, lambda recipe: recipe.epochs * (50 if recipe.curriculum == "trd" else 100))
    assert [(arm.label, arm.recipe.model_options) for arm in matched[4:]] == [
        ("a, 5 epochs", {}),
        ("b, 5 epochs", {"hidden_size": 9}),
    ]


@pytest.mark.parametrize(
    "curriculum", ["baseline", "trd", "progressive_resizing(scale_batch=true)", "low_frequency(augment_strength=none)"]
)
def test_what_is_planned_is_what_training_spends(quadrants, tmp_path, fast, curriculum):
    data = f"npz:{quadrants}"
    recipe = Recipe(model="simple_cnn", data=data, epochs=8, batch_size=48, validation=0.3, curriculum=curriculum)
    recipe = recipe.changed({"optimizer.lr": 0.01})
    setup = prepare(recipe.changed({"seed": 5, "epochs": 9}), device="cpu")
    planned = planned_flops(setup, recipe)
    assert planned == train(recipe, output=tmp_path / "run", device="cpu", reporter=Reporter()).flops


def test_one_run_is_prepared_for_all_seeds_and_lengths(quadrants):
    prepared = []

    def counted(recipe):
        prepared.append(recipe)
        return prepare(recipe, device="cpu")

    recipe = Recipe(model="simple_cnn", data=f"npz:{quadrants}", epochs=4, batch_size=48)
    counter = FlopsCounter(counted)
    flops = [counter(recipe.changed({"seed": seed, "epochs": epochs})) for seed in (0, 1) for epochs in (4, 8)]
    assert flops == [flops[0], 2 * flops[0]] * 2
    assert len(prepared) == 1
    again = FlopsCounter(counted, counter.known)
    assert [again(recipe.changed({"seed": seed})) for seed in (0, 1)] == [flops[0]] * 2
    assert len(prepared) == 1


def test_a_network_that_chooses_what_it_computes_cannot_be_matched():
    recipe = Recipe(model="glimpse_pyramid_m1", data="demo", glimpses=GlimpseLearning())
    with pytest.raises(ComparisonError, match="chooses what it computes"):
        FlopsCounter(lambda recipe: pytest.fail("nothing needs preparing"))(recipe)


def test_ablations_are_matched_too(clean_registry):
    arms, flops_of = arms_costing({"plain": 1, "half": 0.5})
    assert ablated(arms) == []
    extra = Arm("half: part", arms[1].recipes, kind="ablation", baseline="plain")
    assert [arm.matched for arm in with_matched([*arms, extra], flops_of)] == [
        None,
        "plain, 5 epochs",
        "plain, 5 epochs",
        None,
    ]
