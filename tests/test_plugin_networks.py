"""What a plugin's network, curriculum and data set say of themselves and can do, all the way to the card."""

import json

import pytest

CODE = """
import contextlib, json, sys
from pathlib import Path
import numpy as np
import torch
from PIL import Image
import curriculum_zoo as zoo
from curriculum_zoo.evaluation import evaluate
from curriculum_zoo.evaluation.trained_network import load_trained_network
from curriculum_zoo.models.adaptive import AdaptiveNetwork
from curriculum_zoo.publishing.card import write_card
from curriculum_zoo.publishing.layout import lay_out
from curriculum_zoo.reporting import draw_glimpses
from curriculum_zoo.training.prepare import prepare

def card(run, **options):
    layout = lay_out(run, **options).settled(None)
    return layout.config, write_card(layout.config, name="stripes", loads="hf-hub:ada/stripes")

settings = dict(data="stripes:64", epochs=4, batch_size=16, image_size=16)
recipe = zoo.Recipe(model="quarters", curriculum="halves", **settings)
plain = zoo.Recipe(model="good_net", curriculum="halves:0.5 > trd", **settings)
with contextlib.redirect_stdout(sys.stderr):
    run = zoo.train(recipe, output="adaptive", device="cpu")
    zoo.train(plain, output="plain", device="cpu")

everything, nothing = (lambda p, level, mask=mask: mask(p).bool() for mask in (torch.ones_like, torch.zeros_like))
found = evaluate("adaptive", "stripes:64", levels=(1, 2), attend=everything, device="cpu")
found += evaluate("adaptive", "stripes:64", attend=nothing, device="cpu")
drawn = evaluate("adaptive", "stripes:64", attend="sample", repeats=2, device="cpu")
Path("levels.json").write_text(json.dumps([evaluation.to_dict() for evaluation in found[:2]]))
images = zoo.open_dataset("stripes:2", image_size=16).test_images
for number in (0, 1):
    Image.fromarray(images[number, ..., 0]).save(f"{number}.png")
looks = draw_glimpses("adaptive", ["0.png", "1.png"], attend=lambda p, level: p == p.amax(1, keepdim=True),
                      output="figures", device="cpu")
config, text = card("adaptive", data="stripes", evaluations=["levels.json"])
_, other = card("plain")

print(json.dumps({
    "adaptive": [isinstance(load_trained_network(folder, device="cpu").model, AdaptiveNetwork)
                 for folder in ("adaptive", "plain")],
    "objective": type(prepare(recipe, device="cpu").objective).__name__,
    "metrics": [sorted(line) for line in run.metrics],
    "accuracy": run.test["last"].top1,
    "evaluations": [[e.levels, e.locations, e.flops] for e in found],
    "drawn": [0 < drawn[0].locations < 4, drawn[0].levels],
    "predictions": [[c.classes[0][0] for c in zoo.predict("adaptive", ["0.png", "1.png"], device="cpu")]],
    "looks": [[look.attended, len(look.levels), Path(look.figure).stat().st_size > 10_000] for look in looks],
    "range": config["curriculum_zoo"]["forward_flops_range"],
    "card": " ".join(text.split()),
    "other card": " ".join(other.split()),
}))
"""

# Multiply-adds of Quarters with one channel and two classes: a crop of 16 px to 16 numbers, a choice, the classes.
CROP, CHOICE, IMAGE = 16 * 16, 16 * 4, 16 * 2


@pytest.fixture(scope="module")
def told(python, plugin_site, shared_folder):
    """What `CODE` prints; one process for all workers."""
    folder = shared_folder(
        "plugin_networks",
        lambda folder: (folder / "told.json").write_text(json.dumps(python(CODE, PYTHONPATH=str(plugin_site)))),
    )
    return json.loads((folder / "told.json").read_text())


def test_a_plugins_network_is_adaptive_by_its_methods_alone(told):
    assert told["adaptive"] == [True, False]


def test_a_network_trains_by_the_objective_that_it_brings(told):
    assert told["objective"] == "FewQuarters"
    assert all("expected" in line for line in told["metrics"])
    assert told["accuracy"] > 0.9


def test_levels_and_choices_of_a_plugins_network_are_evaluated_at_the_cost_that_it_states(told):
    one, everything, nothing = told["evaluations"]
    assert one == [1, 0, 2 * (CROP + IMAGE)]
    assert everything == [2, 4, 2 * (5 * CROP + CHOICE + IMAGE)]
    assert nothing == [2, 0, 2 * (CROP + CHOICE + IMAGE)]
    assert told["drawn"] == [True, 2]


def test_a_plugins_network_predicts_and_its_looks_are_drawn(told):
    assert told["predictions"] == [["horizontal", "vertical"]]
    assert told["looks"] == [[1, 2, True]] * 2


def test_a_card_says_what_an_adaptive_network_takes_by_its_own_count(told):
    least, most = told["range"]
    assert (least, most) == (2 * (CROP + CHOICE + IMAGE), 2 * (5 * CROP + CHOICE + IMAGE))
    assert "One image's forward pass takes 0.0028 MFLOPs in the mean." in told["card"]
    bounds = "it takes from 0.0007 MFLOPs, for nothing, to 0.0028, for everything."
    assert f"By what the network attends {bounds}" in told["card"]


def test_a_card_cites_what_a_plugins_network_curriculum_and_data_set_state(told):
    card = told["card"]
    citation = card[card.index("## Citation") :]
    papers = [
        "*Four Quarters Make a Whole*. 2026.",
        "Grace Hopper. *Half the Pixels at First*. a plugin's own.",
        "Alan Turing. *On Stripes*.",
    ]
    places = [citation.index(paper) for paper in papers]
    assert places == sorted(places)
    assert "@misc{halves, title = {{Half the Pixels at First}}, author = {Grace Hopper}" in citation
    assert "datasets: - ada/stripes" in card
    assert "It was trained on Stripes (" in card


def test_a_card_of_a_composition_cites_all_its_curricula_and_claims_no_data_that_nobody_named(told):
    card = told["other card"]
    assert "A GoodNet has eight filters. An entry function as timm's own are" in card
    for paper in ("Eight Filters Are Enough", "Half the Pixels at First", "Temporally Resolution Decrement"):
        assert f"*{paper}" in card
    assert "On Stripes" not in card
    assert "datasets:" not in card
