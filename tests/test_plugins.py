"""The registry's rules, on real packages that pip has installed, each asked of a fresh process."""

import json

import pytest

# What the probes have in common. `said` gives the error's class and text, or what came back.
PRELUDE = """
import json, sys, warnings
from curriculum_zoo.registry import CURRICULA, DATASETS, MODELS

def said(call, *args, **kwargs):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            answer = call(*args, **kwargs)
            answer = answer if isinstance(answer, (str, int, list)) else type(answer).__name__
        except Exception as error:
            answer = [type(error).__name__, str(error), type(error.__cause__).__name__]
    texts = [str(warning.message) for warning in caught if warning.category.__name__ == "PluginWarning"]
    return {"answer": answer, "warnings": texts}

def loaded(*prefixes):
    return sorted(name for name in sys.modules if name.startswith(prefixes or ("zoo_plugin_", "torch", "timm")))

"""


@pytest.fixture(scope="module")
def probe(python, plugin_site):
    """``probe(code)``: run code where the plugins are installed, after the prelude."""
    return lambda code, **environment: python(PRELUDE + code, PYTHONPATH=str(plugin_site), **environment)


# The registry alone: no process here loads torch


def test_listing_names_every_plugin_and_imports_none_however_slow_or_broken(probe):
    models, curricula, datasets, modules = probe("""
print(json.dumps([MODELS.names(), CURRICULA.names(), DATASETS.names(), loaded()]))
""")
    assert {"good_net", "broken_net", "slow_net", "old_net", "number"} <= set(models)
    assert {"halves", "broken_plan", "not_a_curriculum"} <= set(curricula)
    assert {"stripes", "broken_images"} <= set(datasets)
    assert {"zoo-plugin-twin-a/twin_net", "zoo-plugin-twin-b/twin_net"} <= set(models)
    assert {"trd", "zoo-plugin-impostor/trd", "zoo-plugin-impostor/curriculum-zoo/trd"} <= set(curricula)
    assert "twin_net" not in models
    assert modules == []


def test_an_entry_tells_distribution_version_and_target_without_importing(probe):
    facts, modules = probe("""
entries = [MODELS.entry("good_net"), CURRICULA.entry("halves"), DATASETS.entry("broken_images")]
entries += [MODELS.entry("slow_net")]
print(json.dumps([[[entry.distribution, entry.version, entry.target] for entry in entries], loaded()]))
""")
    assert facts == [
        ["zoo-plugin-good", "1.2.0", "zoo_plugin_good:good_net"],
        ["zoo-plugin-good", "1.2.0", "zoo_plugin_good:Halves"],
        ["zoo-plugin-broken", "0.3.1", "zoo_plugin_broken:images"],
        ["zoo-plugin-slow", "0.1.0", "zoo_plugin_slow:slow_net"],
    ]
    assert modules == []


def test_loading_one_imports_that_one_alone(probe):
    twin, modules = probe("""
print(json.dumps([MODELS.load("zoo-plugin-twin-a/twin_net")(), loaded()]))
""")
    assert twin == "a"
    assert modules == ["zoo_plugin_twin_a"]


def test_names_that_two_plugins_claim_are_refused_naming_both_and_selected_by_distribution(probe):
    refused, *selected, modules = probe("""
print(json.dumps([said(MODELS.load, "twin_net"),
    *(MODELS.load(f"{distribution}/twin_net")() for distribution in ("zoo-plugin-twin-a", "zoo_plugin.Twin_B")),
    loaded()]))
""")
    kind, text, _ = refused["answer"]
    assert kind == "NameClashError"
    for fact in ("zoo-plugin-twin-a 1.0.0", "zoo-plugin-twin-b 2.0.0", "'zoo-plugin-twin-a/twin_net'"):
        assert fact in text
    assert selected == ["a", "b"]
    assert modules == ["zoo_plugin_twin_a", "zoo_plugin_twin_b"]


@pytest.mark.parametrize(("kind", "name"), [("MODELS", "resnet20_cifar"), ("CURRICULA", "trd"), ("DATASETS", "demo")])
def test_a_built_in_name_stays_built_in_with_a_warning(probe, kind, name):
    bare, qualified, plugin = probe(f"""
registry, name = {kind}, "{name}"
print(json.dumps([
    said(lambda: registry.entry(name).distribution),
    said(lambda: registry.entry("curriculum-zoo/" + name).distribution),
    said(lambda: registry.load("zoo-plugin-impostor/" + name)()),
]))
""")
    assert bare["answer"] == "curriculum-zoo"
    [warning] = bare["warnings"]
    assert "zoo-plugin-impostor 6.6.6 also claims" in warning
    assert f"'zoo-plugin-impostor/{name}'" in warning
    assert qualified == {"answer": "curriculum-zoo", "warnings": []}
    assert plugin == {"answer": "not the built-in", "warnings": []}


def test_a_plugin_that_fails_on_import_is_one_error_and_everything_else_goes_on(probe):
    *failures, twin, wrong, names = probe("""
print(json.dumps([
    said(MODELS.load, "broken_net"), said(CURRICULA.load, "broken_plan"), said(DATASETS.load, "broken_images"),
    MODELS.load("zoo-plugin-twin-b/twin_net")(), said(MODELS.load, "dict_net"), MODELS.names("broken*"),
]))
""")
    for failure, entry in zip(
        failures, ["model 'broken_net'", "curriculum 'broken_plan'", "dataset 'broken_images'"], strict=True
    ):
        kind, text, cause = failure["answer"]
        assert (kind, cause) == ("PluginError", "RuntimeError")
        for fact in (
            entry,
            "zoo-plugin-broken 0.3.1",
            "RuntimeError: the flux capacitor is empty",
            "uninstall zoo-plugin-broken",
        ):
            assert fact in text
    assert twin == "b"
    assert wrong["answer"] == "function"
    assert names == ["broken_net"]


@pytest.mark.parametrize(
    ("name", "cause"),
    [("number", "points at an int, which cannot be called"), ("missing_net", "has no attribute 'missing_net'")],
)
def test_a_target_that_is_no_function_or_is_not_there_is_the_plugins_error(probe, name, cause):
    kind, text, _ = probe(f"print(json.dumps(said(MODELS.load, '{name}')))")["answer"]
    assert kind == "PluginError"
    assert "zoo-plugin-wrong-kind 0.0.9" in text
    assert cause in text


def test_one_variable_leaves_the_built_ins_alone(probe):
    names, trd, refused = probe(
        """
print(json.dumps([
    [MODELS.names(), CURRICULA.names(), DATASETS.names()],
    said(lambda: CURRICULA.entry("trd").distribution),
    said(MODELS.entry, "good_net"),
]))
""",
        CURRICULUM_ZOO_DISABLE_PLUGINS="1",
    )
    assert not [name for kind in names for name in kind if "/" in name]
    assert not {"good_net", "halves", "stripes"} & {name for kind in names for name in kind}
    assert trd == {"answer": "curriculum-zoo", "warnings": []}
    assert refused["answer"][0] == "UnknownNameError"


def test_a_plugin_installed_in_a_running_session_is_there_after_refresh(python, plugin_site):
    before, cached, after, built = python(
        PRELUDE
        + f"""
before = MODELS.names("*good*")
sys.path.append({str(plugin_site)!r})
cached = MODELS.names("*good*")
MODELS.refresh()
print(json.dumps([before, cached, MODELS.names("*good*"), MODELS.load("zoo-plugin-twin-a/twin_net")()]))
"""
    )
    assert (before, cached, after, built) == ([], [], ["good_net"], "a")


# Through the functions that build models, curricula and data sets: one process for all of it

FACTORIES = """
import contextlib
import torch
import curriculum_zoo as zoo

net = zoo.create_model("good_net", num_classes=5, in_chans=1)
old = zoo.create_model("old_net", num_classes=4, in_chans=1)
halves = zoo.create_curriculum("halves", epochs=4)
quarter = zoo.create_curriculum("halves(share=0.25)", epochs=4)
stripes = zoo.open_dataset("stripes:3", image_size=6, channels=3)
batch = torch.rand(2, 1, 8, 8)
with halves.stage(0).applied_to(net) as view:
    seen = list(view(batch).shape)
create = lambda name: said(zoo.create_model, name)
plan = lambda name, **parameters: said(zoo.create_curriculum, name, epochs=4, **parameters)
images = lambda name: said(zoo.open_dataset, name)

recipe = zoo.Recipe(model="good_net", data="stripes:64", curriculum="halves", epochs=6, batch_size=16)
with contextlib.redirect_stdout(sys.stderr):
    run = zoo.train(recipe, output="run", device="cpu")

print(json.dumps({
    "run": [run.test["last"].top1, [line["stage"] for line in run.metrics]],
    "good_net": [type(net).__name__, list(net(batch).shape)],
    "old_net": list(old(batch).shape),
    "old_net, plain": list(zoo.create_model("old_net")(torch.rand(2, 3, 8, 8)).shape),
    "halves": [[stage.name for stage in map(halves.stage, range(4))], halves.relative_cost(8), seen],
    "quarter": [stage.name for stage in map(quarter.stage, range(4))],
    "stripes": [list(stripes.train_images.shape), list(stripes.classes), stripes.train_labels.tolist()],
    "unknown": [create("god_net"), plan("halvs"), images("stripe")],
    "broken": [create("broken_net"), plan("broken_plan"), images("broken_images:x")],
    "clash": [create("twin_net"), images("twin_images")],
    "wrong kind": [create("dict_net"), create("number"), create("zoo-plugin-twin-a/twin_net"), plan("dict_plan"),
                   plan("not_a_curriculum"), images("dict_images"), images("zoo-plugin-twin-b/twin_images")],
    "built in": [create("resnet20_cifar"), plan("trd"), images("demo")],
    "impostor": [create("zoo-plugin-impostor/resnet20_cifar"), plan("zoo-plugin-impostor/trd"),
                 images("zoo-plugin-impostor/demo")],
    "bad parameter": [plan("halves", share="much"), plan("halves", shaer=0.5)],
    "after all that": [create("good_net"), plan("halves"), images("stripes")],
    "modules": loaded("zoo_plugin_"),
}))
"""


@pytest.fixture(scope="module")
def built(probe, shared_folder):
    """What `FACTORIES` prints; one process for all workers."""
    folder = shared_folder(
        "factories", lambda folder: (folder / "answers.json").write_text(json.dumps(probe(FACTORIES)))
    )
    return json.loads((folder / "answers.json").read_text())


def test_a_plugins_network_takes_the_keywords_that_ours_take(built):
    assert built["good_net"] == ["GoodNet", [2, 5]]


def test_a_network_for_an_older_timm_gets_only_the_keywords_that_were_given(built):
    assert built["old_net"] == [2, 4]
    assert built["old_net, plain"] == [2, 10]


def test_a_plugins_curriculum_works_by_name_and_with_parameters(built):
    assert built["halves"] == [["half", "half", "full", "full"], 0.625, [2, 1, 4, 4]]
    assert built["quarter"] == ["half", "full", "full", "full"]


def test_a_plugins_data_set_gets_its_argument_and_options(built):
    assert built["stripes"] == [[6, 6, 6, 3], ["horizontal", "vertical"], [0, 1, 0, 1, 0, 1]]


def test_a_run_made_of_a_plugins_parts_alone_learns_through_the_plugins_stages(built):
    accuracy, stages = built["run"]
    assert accuracy > 0.9
    assert stages == ["half"] * 3 + ["full"] * 3


def test_a_near_miss_of_a_plugins_name_is_answered_with_it(built):
    for answer, near in zip(built["unknown"], ["good_net", "halves", "stripes"], strict=True):
        kind, text, _ = answer["answer"]
        assert kind == "UnknownNameError"
        assert near in text


def test_a_plugin_that_fails_on_import_fails_as_a_plugin_in_every_factory(built):
    for answer in built["broken"]:
        kind, text, cause = answer["answer"]
        assert (kind, cause) == ("PluginError", "RuntimeError")
        assert "zoo-plugin-broken 0.3.1" in text


def test_a_clash_reaches_the_caller_of_every_factory(built):
    assert [answer["answer"][0] for answer in built["clash"]] == ["NameClashError"] * 2


@pytest.mark.parametrize(
    ("number", "entry", "what"),
    [
        (0, "dict_net", "dict"),
        (1, "number", "int"),
        (2, "twin_net", "str"),
        (3, "dict_plan", "Curriculum"),
        (4, "not_a_curriculum", "Curriculum"),
        (5, "dict_images", "dict"),
        (6, "twin_images", "str"),
    ],
)
def test_what_is_of_the_wrong_kind_is_the_plugins_error(built, number, entry, what):
    kind, text, _ = built["wrong kind"][number]["answer"]
    assert kind == "PluginError"
    for fact in (f"'{entry}'", "zoo-plugin-", what):
        assert fact in text


def test_a_built_in_name_builds_the_built_in_and_warns(built):
    network, *others = (answer["answer"] for answer in built["built in"])
    assert isinstance(network, str)  # the network's class; a list would be an error
    assert others == ["TRD", "ImageSet"]
    for answer in built["built in"]:
        assert len([text for text in answer["warnings"] if "zoo-plugin-impostor 6.6.6" in text]) == 1
    assert [answer["answer"][0] for answer in built["impostor"]] == ["PluginError"] * 3


def test_wrong_parameters_of_a_plugins_curriculum_are_told_by_field(built):
    wrong_type, unknown = (answer["answer"] for answer in built["bad parameter"])
    assert wrong_type[:2] == ["CurriculumError", "halves: share expects a number, got 'much'"]
    assert unknown[0] == "CurriculumError"
    assert "'share'" in unknown[1]


def test_everything_works_after_every_failure_and_the_slow_one_was_never_imported(built):
    assert [answer["answer"] for answer in built["after all that"]] == ["GoodNet", "Halves", "ImageSet"]
    assert "zoo_plugin_slow" not in built["modules"]
    assert "zoo_plugin_good" in built["modules"]
