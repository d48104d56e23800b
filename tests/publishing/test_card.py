"""The model card: what it says is what the config says, the Hub's own parser reads it, and hand-written text stays."""

import dataclasses
import html as html_module
import json
import re
import shlex

import pytest
import yaml
from hub_cards import card_errors
from huggingface_hub import EvalResultEntry, ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index

from curriculum_zoo import cli
from curriculum_zoo.cli.train import recipe_of
from curriculum_zoo.errors import PublishError
from curriculum_zoo.evaluation import evaluate
from curriculum_zoo.publishing.card import eval_results, license_of, write_card
from curriculum_zoo.publishing.layout import lay_out
from curriculum_zoo.publishing.privacy import public_recipe, public_text
from curriculum_zoo.publishing.repeat import differences, root_flag, training_command
from curriculum_zoo.recipes import Recipe, load_recipe
from curriculum_zoo.training import train
from curriculum_zoo.weights.released import list_weights

SECTION = re.compile(r"<!-- generated: (\w+) -->\n(.*?)<!-- /generated: \1 -->", re.DOTALL)
SECTIONS = ["about", "use", "results", "training", "limits", "licence", "citation"]


@pytest.fixture(scope="module")
def config(finished_run):
    """The config of a run that is said to be on MNIST."""
    return json.loads(json.dumps(lay_out(finished_run, data="mnist").settled(None).config))


def card(config, **options):
    return write_card(config, **{"name": "squares", "loads": "hf-hub:ada/squares", "hub_id": "ada/squares"} | options)


def changed(config, recipe=None, **facts):
    own = config["curriculum_zoo"]
    return {**config, "curriculum_zoo": {**own, **facts, "recipe": own["recipe"] | (recipe or {})}}


def run_record(seed, top1):
    return {"seed": seed, "top1": top1, "relative_flops": 0.5, "seconds": 60.0}


# -- metadata -----------------------------------------------------------------------------------------------------


def test_metadata_are_what_the_hub_reads(config, tmp_path):
    text = card(config)
    assert card_errors(text) == []
    (tmp_path / "README.md").write_text(text)
    data = ModelCard.load(tmp_path / "README.md").data
    assert (data.library_name, data.pipeline_tag, data.license) == ("timm", "image-classification", "mit")
    assert data.datasets == ["ylecun/mnist"]
    assert data.metrics == ["accuracy"]
    assert {"curriculum-zoo", "timm", "trd", "curriculum-learning"} <= set(data.tags)
    assert "base_model" not in data.to_dict()


def test_model_index_comes_back_from_the_parser_as_it_was_written(config):
    parsed = ModelCard(card(config)).data
    (result,) = parsed.eval_results  # four classes have no top-5 accuracy
    assert result.metric_value == round(100 * config["curriculum_zoo"]["test"]["top1"], 2)
    assert (result.dataset_type, result.dataset_split, result.task_type) == (
        "ylecun/mnist",
        "test",
        "image-classification",
    )
    written = yaml.safe_load(card(config).split("---\n")[1])["model-index"]
    again = eval_results_to_model_index(parsed.model_name, parsed.eval_results)
    assert written == again
    assert written[0]["name"] == "squares"


def test_data_that_nobody_gave_a_known_name_are_claimed_to_be_nobodys(finished_run):
    plain = lay_out(finished_run).settled(None).config
    data = ModelCard(card(plain)).data
    assert data.datasets is None
    assert data.eval_results[0].dataset_type == "quadrants.npz"
    assert eval_results(plain) is None


@pytest.mark.parametrize(
    ("name", "kind", "datasets"),
    [
        ("mnist_canvas:noisy,size=112", "mnist_canvas-noisy-size-112", ["ylecun/mnist"]),
        ("folder:my cats", "my-cats", None),
        ("tiny-imagenet", "zh-plus/tiny-imagenet", ["zh-plus/tiny-imagenet"]),
    ],
)
def test_a_data_set_is_named_as_the_hub_can_take_it(config, name, kind, datasets):
    told = changed(config, data={**config["curriculum_zoo"]["data"], "name": name})
    data = ModelCard(card(told)).data
    assert data.eval_results[0].dataset_type == kind
    assert re.fullmatch(r"(?:[\w-]+/)?[\w.-]+", kind)
    assert data.datasets == datasets
    assert (eval_results(told) is None) == ("/" not in kind)


def test_evaluation_file_is_what_the_hubs_client_parses(config):
    from huggingface_hub import parse_eval_result_entries

    (entry,) = parse_eval_result_entries(yaml.safe_load(eval_results(config)))
    assert isinstance(entry, EvalResultEntry)
    assert (entry.dataset_id, entry.task_id) == ("ylecun/mnist", "default")
    assert entry.value == round(100 * config["curriculum_zoo"]["test"]["top1"], 2)


@pytest.mark.parametrize(
    ("recipe", "base"),
    [
        ({"model": "hf-hub:bob/net@v2", "pretrained": True}, "bob/net"),
        ({"warm_start": "hf-hub:bob/net"}, "bob/net"),
        ({"warm_start": "timm/resnet18.a1_in1k"}, "timm/resnet18.a1_in1k"),
        ({"model": "timm/resnet18", "pretrained": True}, "timm/resnet18.a1_in1k"),
        ({"warm_start": "plain.safetensors"}, None),
    ],
)
def test_base_model_is_where_the_weights_came_from(config, recipe, base):
    text = card(changed(config, recipe))
    assert ModelCard(text).data.base_model == base
    assert "starting from the weights of" in text


def test_base_model_of_released_weights_is_known_by_their_sum_wherever_they_lay(config, monkeypatch):
    (released,) = list_weights("resnet20_cifar.cifar10")
    published = dataclasses.replace(released, hub_id="ada/net")
    monkeypatch.setattr("curriculum_zoo.publishing.card.list_weights", lambda: [published])
    recipe = {"model": "local-dir:resnet20_cifar.cifar10", "pretrained": True}
    text = card(changed(config, recipe, started_from={"weights": None, "sha256": released.sha256}))
    assert ModelCard(text).data.base_model == "ada/net"
    text = card(changed(config, recipe, started_from={"weights": None, "sha256": "0" * 64}))
    assert ModelCard(text).data.base_model is None


# -- text ---------------------------------------------------------------------------------------------------------


def test_sections_stand_in_order_and_the_figure_among_them(config):
    text = card(config)
    assert [name for name, _ in SECTION.findall(text)] == SECTIONS
    assert "![" in dict(SECTION.findall(text))["about"]
    assert "curves.png" in text
    assert "\n\n\n" not in text


def test_accuracy_is_told_with_its_number_of_runs(config):
    top1 = config["curriculum_zoo"]["test"]["top1"]
    alone = " ".join(card(config).split())
    assert f"**{100 * top1:.2f} %** of the 80 test images" in alone
    assert "One run, seed 0: there is no spread to state." in alone
    assert "No run without the curriculum stands beside it" in alone


def test_several_runs_and_their_baseline_stand_in_one_table(config):
    runs = [run_record(seed, top1) for seed, top1 in ((0, 0.9), (1, 0.92), (2, 0.94))]
    baseline = {"changes": ["curriculum=baseline"], "runs": [run_record(0, 0.8)]}
    text = card(changed(config, runs=runs, baselines=[baseline]))
    assert "| this recipe | 3 | 92.00 ± 2.00 % | 0.5 × | 60 seconds |" in text
    assert "| the same with `curriculum=baseline` | 1 | 80.00 % | 0.5 × | 60 seconds |" in text
    assert "no spread" not in text
    assert "No run without" not in text


def test_stages_are_those_that_the_curriculum_plans(config):
    text = card(config)
    table = re.findall(r"^\| (\d[–\d]*) \| ([^|]*) \| (\d+) px \|", text, re.MULTILINE)
    assert table == [("1", "50 %", "8"), ("2", "full", "16"), ("3", "50 %", "8")]


def test_many_drawn_stages_are_told_together(config):
    text = card(changed(config, {"curriculum": "trd", "epochs": 60, "schedule": {"name": "constant"}}))
    counts = [int(count) for count in re.findall(r"^\| (\d+) of 60 \|", text, re.MULTILINE)]
    assert len(counts) == 2
    assert sum(counts) == 60


def test_a_run_without_a_curriculum_says_so(config):
    text = card(changed(config, {"curriculum": "baseline"}))
    assert "There was no curriculum" in text
    assert "No run without" not in text
    assert "curriculum-learning" not in ModelCard(text).data.tags


def test_papers_are_cited_as_far_as_they_say_who_wrote_them(config):
    text = card(changed(config, {"curriculum": "trd+progressive_sharpening", "epochs": 10}))
    citation = dict(SECTION.findall(text))["citation"]
    assert "Temporally Resolution Decrement" in citation
    assert "Sahil Trivedi. *Optimisation with Progressive Sharpening*. 2021." in citation
    assert "@misc{trd,\n  title = {{Temporally" in citation
    assert "author" not in citation.split("@misc{trd,")[1].split("}\n\n")[0]


def test_a_composition_cites_every_curriculum_in_it_and_one_paper_once(config):
    text = card(changed(config, {"curriculum": "hrt:0.5 > (trd + progressive_sharpening)", "epochs": 20}))
    citation = dict(SECTION.findall(text))["citation"]
    # simple_cnn and hrt are of one paper; what stands behind the network comes first, what stands behind the data last.
    keys = re.findall(r"@misc\{(\w+),", citation)
    assert keys == ["hrt", "trd", "sharpening", "mnist"]


def test_a_network_of_timms_is_cited_as_timm_asks(config):
    timms = {**changed(config, {"model": "timm/test_resnet"}, distribution="timm"), "architecture": "test_resnet"}
    assert "Ross Wightman. *PyTorch Image Models*. GitHub repository, 2019." in card(timms)


def test_released_weights_load_by_name_and_claim_no_place_on_the_hub(config):
    text = card(config, name="simple_cnn.squares", loads="simple_cnn.squares", hub_id=None)
    assert 'name = "simple_cnn.squares"' in text
    assert "hf-hub:" not in text


# -- hand-written parts -------------------------------------------------------------------------------------------


def test_what_was_written_by_hand_survives_an_update(config):
    old = card(changed(config, test={**config["curriculum_zoo"]["test"], "top1": 0.5}))
    old = old.replace("# squares", "# My squares").replace("## Results\n", "## Results, they say\n")
    old = old.replace("<!-- /generated: results -->", "<!-- /generated: results -->\n\nThe third run was at night.")
    old = old.replace("license: mit", "license: apache-2.0\nlanguage: en").replace("- trd\n", "- trd\n- mine\n")
    new = card(config, previous=old)
    assert "# My squares" in new
    assert "<!-- /generated: results -->\n\nThe third run was at night.\n" in new
    assert "they say" not in new  # inside the marks nothing is kept
    assert "50.00 %" in old
    assert "50.00 %" not in new
    data = ModelCard(new).data.to_dict()
    assert data["language"] == "en"
    assert "mine" in data["tags"]
    assert len(data["tags"]) == len(set(data["tags"]))
    assert license_of(old) == "apache-2.0"
    assert card(config, previous=new) == new


def test_a_section_whose_marks_are_gone_stays_away(config):
    old = SECTION.sub(lambda match: "" if match[1] == "limits" else match[0], card(config))
    assert "Intended use" not in card(config, previous=old)


def test_a_card_written_by_hand_keeps_its_text_whole(config):
    new = card(config, previous="---\nlanguage: de\n---\n# Mine\n\nAll mine.\n")
    assert new.endswith("---\n# Mine\n\nAll mine.\n")
    assert ModelCard(new).data.pipeline_tag == "image-classification"


def test_a_card_of_metadata_alone_gets_all_sections(config):
    new = card(config, previous="---\nlicense: cc-by-4.0\nlanguage: de\n---\n")
    assert [name for name, _ in SECTION.findall(new)] == SECTIONS
    assert ModelCard(new).data.to_dict()["language"] == "de"


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda text: text.replace("<!-- /generated: use -->", ""), "marks of a generated section"),
        (lambda text: text.replace("license: mit", "license: [mit"), "metadata"),
        (lambda text: "---\n- a\n---\n# list\n", "metadata"),
    ],
)
def test_a_damaged_card_is_refused_and_not_overwritten(config, damage, named):
    with pytest.raises(PublishError, match=named):
        card(config, previous=damage(card(config)))


# -- the command that trains again --------------------------------------------------------------------------------

RECIPES = [
    Recipe(model="simple_cnn", data="demo"),
    load_recipe("resnet20_cifar-cifar10"),
    load_recipe("hrt-simple_cnn-cifar10").changed({"seed": 3, "precision": "bf16"}),
    Recipe(
        model="hiresnet18",
        data="npz:a b.npz",
        curriculum="hrt:0.4 > trd(resolution=16, participation=0.5)",
        model_options={"drop_rate": 0.1},
    ).changed(
        {
            "glimpses": {"samples": 3},
            "optimizer.name": "adamw",
            "optimizer.options": {"betas": [0.8, 0.9]},
            "image_size": 64,
        }
    ),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=range(len(RECIPES)))
def test_the_command_of_a_card_is_the_recipe_again(recipe):
    words = shlex.split(training_command(recipe).replace("\\\n", " "))
    assert words[:2] == ["curriculum-zoo", "train"]
    again = recipe_of(cli.make_parser().parse_args(words[1:]))
    assert differences(again, recipe) == {}
    assert ("--data-root" in words) == (recipe.data == "cifar10")


def test_a_recipe_of_the_package_is_named_rather_than_spelled_out():
    assert training_command(load_recipe("resnet20_cifar-cifar10")) == (
        "curriculum-zoo train --recipe resnet20_cifar-cifar10 --data-root DIR"
    )


def test_data_under_the_root_want_it_and_files_of_ones_own_do_not(config):
    for data in ("cifar10", "mnist_canvas:textured,size=28"):
        assert root_flag(data) == ["--data-root", "DIR"]
        assert "--data-root DIR` takes these figures" in card(changed(config, recipe={"data": data}))
    for data in ("demo", "npz:a.npz", "folder:birds", "tiny_imagenet:here"):
        assert root_flag(data) == []


# -- places on the publisher's machine ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("private", "public"),
    [
        ("npz:/home/me/my data/flowers.npz", "npz:flowers.npz"),
        ("folder:../secret/cats", "folder:cats"),
        ("folder:data/cats/", "folder:cats"),
        ("npz:C:\\Users\\me\\flowers.npz", "npz:flowers.npz"),
        ("cifar10", "cifar10"),
    ],
)
def test_data_keep_the_name_of_their_file_alone(private, public):
    assert public_recipe(Recipe(model="simple_cnn", data=private)).data == public


def test_no_place_is_left_in_any_field_of_a_recipe():
    recipe = Recipe(
        model="local-dir:/home/me/weights/best",
        data="demo",
        warm_start="/home/me/plain.safetensors",
        model_options={"path": ["~/private/x.bin", 3]},
        notes="Run by /home/me/run.sh on npz:/data/x.npz; see https://example.org/page and 1/2.",
    )
    public = json.dumps(public_recipe(recipe).to_dict())
    assert "/home" not in public
    assert "private" not in public
    assert public_recipe(recipe).warm_start == "plain.safetensors"
    assert public_recipe(recipe).notes == "Run by run.sh on npz:x.npz; see https://example.org/page and 1/2."


def test_names_on_the_hub_are_no_places():
    for name in ("hf-hub:ada/net@v1", "timm/resnet18.a1_in1k", "trd(resolution=16)+hrt", "hrt:0.4 > trd"):
        assert public_text(name) == name


# -- evaluations --------------------------------------------------------------------------------------------------


def test_a_network_that_chooses_costs_what_was_measured_through_all_its_levels(quadrants, tmp_path):
    recipe = Recipe(model="glimpse_pyramid_m1", data=f"npz:{quadrants}", image_size=28, epochs=1, batch_size=64)
    settings = {"glimpses": {}, "optimizer": {"name": "adam", "lr": 0.001}}
    train(recipe.changed(settings), output=tmp_path / "run", device="cpu")
    assert lay_out(tmp_path / "run").settled(None).config["curriculum_zoo"]["forward_flops"] is None
    one, two = evaluate(tmp_path / "run", recipe.data, levels=(1, 2), device="cpu")
    (tmp_path / "levels.json").write_text(json.dumps([one.to_dict(), two.to_dict()]))
    found = lay_out(tmp_path / "run", evaluations=[tmp_path / "levels.json"]).settled(None).config
    assert found["curriculum_zoo"]["forward_flops"] == two.flops > one.flops
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in card(found).splitlines()]
    heads = next(row for row in rows if "locations" in row)
    told = [dict(zip(heads, row, strict=True)) for row in rows if row[0] == "80 test"]
    assert [row["levels"] for row in told] == ["1", "2"]
    assert [row["accuracy"] for row in told] == [f"{100 * each.scores.top1:.2f} %" for each in (one, two)]
    assert [row["locations"] for row in told] == [f"{each.locations:.2f}" for each in (one, two)]


NAMES = ["*bold*", "<b>", "a|b", "crane, bird", "crane, machine", "dog, cat", "[x](y)", "`code`", "snake_case", "_x_"]


def with_names(config, data="folder:my | `cats`"):
    """A config whose classes and data have names that Markdown might take for markup."""
    test = {**config["curriculum_zoo"]["test"], "per_class": [0.05 * (1 + n) for n in range(len(NAMES))]}
    told = changed(config, test=test, data={**config["curriculum_zoo"]["data"], "name": data})
    return {**told, "label_names": NAMES, "label_descriptions": {}, "num_classes": len(NAMES)}


def test_names_are_shown_as_they_are_and_none_is_cut_to_another(config):
    from markdown_it import MarkdownIt

    text = card(with_names(config)).split("---\n", 2)[2]
    html = MarkdownIt("commonmark").enable("table").render(text)
    shown = html_module.unescape(re.sub(r"<[^>]*>", "", html))
    words = re.sub(r"\s+", " ", shown)
    for number, name in enumerate(NAMES):
        short = "dog" if name == "dog, cat" else name
        assert f"{short} {5 * (1 + number)}.0 %" in words
    assert "on the class *bold*, with 5.0 %" in words
    assert not re.search(r"<b>|<em>(bold|x)<|<a href=\"y\"|<code>code<", html)
    rows = [row for row in html.split("<tr>") if "test (" in row]
    assert rows
    assert all(row.count("<td>") == 6 for row in rows)
    assert "my | `cats`" in html_module.unescape(rows[0])
