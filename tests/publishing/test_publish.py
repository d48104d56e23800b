"""Publishing over HTTP with the real client: one commit that holds all or nothing, a tag, and what comes back of it."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from hub_server import Fault
from huggingface_hub import HfApi, ModelCard, constants
from safetensors.torch import load_file, save_file

from curriculum_zoo.cli import main
from curriculum_zoo.errors import CheckpointError, PublishError, WeightsError
from curriculum_zoo.models import create_model
from curriculum_zoo.publishing.publish import publish
from curriculum_zoo.recipes import Recipe
from curriculum_zoo.training import train
from curriculum_zoo.weights.folder import save_folder

TO = "ada/squares"
SENT = {"README.md", "config.json", "model.safetensors", "recipe.json", "metrics.jsonl", "curves.png"}


@pytest.fixture
def run(finished_run, tmp_path):
    """A finished run that may be written to."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def commits(hub, name=TO):
    """The hashes of a repository's commits, newest first, but for the one that made it."""
    return [commit["id"] for commit in hub.commits(name)[:-1]] if hub.store.exists("models", name) else []


def writes(hub):
    return [path for method, path in hub.requests if method != "GET" and method != "HEAD"]


def python_of(hub):
    return re.findall(r"```python\n(.*?)```", hub.files(TO)["README.md"].decode(), re.DOTALL)


def edit(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


# -- what is sent -------------------------------------------------------------------------------------------------


def test_a_publication_is_one_commit_with_a_tag_that_loads_back(hub, finished_run):
    shown = []
    publication = publish(finished_run, TO, show=shown.append)
    assert publication.sent
    assert commits(hub) == [publication.commit]
    assert hub.tags(TO) == {"v1": publication.commit}
    assert set(hub.files(TO)) - {".gitattributes"} == SENT
    assert hub.files(TO)["metrics.jsonl"] == (finished_run / "metrics.jsonl").read_bytes()
    assert hub.files(TO)["model.safetensors"] == (finished_run / "best" / "model.safetensors").read_bytes()
    before, after = shown
    assert f"{TO} at {hub.endpoint} (public) is new; tag v1, licence mit:" in before
    assert all(re.search(rf"new +[\d.]+ k?B  {re.escape(path)}$", before, re.MULTILINE) for path in SENT)
    assert f'create_model("hf-hub:{TO}@v1", pretrained=True)' in after
    loaded = create_model(f"hf-hub:{TO}@v1", pretrained=True).state_dict()
    sent = load_file(finished_run / "best" / "model.safetensors")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in sent.items())


def test_the_same_publication_twice_makes_no_second_commit(hub, finished_run):
    first = publish(finished_run, TO)
    before = len(writes(hub))
    shown = []
    second = publish(finished_run, TO, show=shown.append)
    assert (second.commit, second.tag, second.sent) == (first.commit, "v1", False)
    assert commits(hub) == [first.commit]
    assert len(writes(hub)) == before
    assert "Nothing to send" in shown[-1]
    assert "new " not in shown[0]
    named = publish(finished_run, TO, revision="paper")
    assert commits(hub) == [first.commit]
    assert hub.tags(TO) == {"v1": first.commit, "paper": first.commit}
    assert named.tag == "paper"


def test_a_dry_run_sends_nothing_and_needs_no_token(hub, finished_run, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    shown = []
    publication = publish(finished_run, TO, dry_run=True, show=shown.append)
    assert writes(hub) == []
    assert not hub.store.exists("models", TO)
    assert {state.path for state in publication.files} == SENT
    assert publication.commit is None
    assert "is new; tag v1" in shown[0]


def test_where_data_lie_on_the_machine_is_not_told(hub, run, quadrants):
    edit(run / "recipe.json", notes=f"from {run}")
    publish(run, TO)
    told = b"\n".join(hub.files(TO).values())
    for place in (quadrants.parent, quadrants.parents[1], run, Path.home()):
        assert str(place).encode() not in told
    assert json.loads(hub.files(TO)["recipe.json"])["data"] == "npz:quadrants.npz"


def test_known_data_bring_an_evaluation_file_that_goes_when_they_do(hub, run):
    publish(run, TO, data="mnist")
    assert b"ylecun/mnist" in hub.files(TO)[".eval_results/curriculum-zoo.yaml"]
    assert json.loads(hub.files(TO)["recipe.json"])["data"] == "mnist"
    publication = publish(run, TO, update=True)
    assert ".eval_results/curriculum-zoo.yaml" not in hub.files(TO)
    assert len(commits(hub)) == 2
    assert [state.path for state in publication.files if state.state == "deleted"] == [
        ".eval_results/curriculum-zoo.yaml"
    ]


def test_the_last_epochs_weights_are_published_where_asked_for(hub, finished_run):
    publish(finished_run, TO, which="last")
    assert hub.files(TO)["model.safetensors"] == (finished_run / "last" / "model.safetensors").read_bytes()
    assert "after the last epoch" in hub.files(TO)["README.md"].decode()


def test_a_file_over_ten_megabytes_goes_through_large_file_storage(hub, run):
    options = {"hidden_size": 2560}
    recipe = json.loads((run / "recipe.json").read_text())
    edit(run / "recipe.json", model_options=options)
    for which in ("best", "last"):
        config = json.loads((run / which / "config.json").read_text())
        config["model_args"] |= options
        config["curriculum_zoo"]["recipe"] = {**recipe, "model_options": options}
        network = create_model("simple_cnn", num_classes=4, img_size=16, **options)
        save_folder(run / which, network.state_dict(), config)
    size = (run / "best" / "model.safetensors").stat().st_size
    assert size > 10 * 2**20
    publish(run, TO)
    assert len(hub.files(TO)["model.safetensors"]) == size
    assert any(path.startswith("/lfs/") for method, path in hub.requests if method == "PUT")


def test_several_runs_and_baselines_make_a_table_and_a_figure(hub, run, finished_run, tmp_path):
    another = shutil.copytree(finished_run, tmp_path / "seed1")
    edit(another / "recipe.json", seed=1)
    baseline = shutil.copytree(finished_run, tmp_path / "baseline")
    edit(baseline / "recipe.json", curriculum="baseline")
    publish(run, TO, runs=[run, another], baselines=[baseline])
    card = hub.files(TO)["README.md"].decode()
    assert "| this recipe | 2 |" in card
    assert "| the same with `curriculum=baseline` | 1 |" in card
    assert "](comparison.png)" in card
    assert hub.files(TO)["comparison.png"].startswith(b"\x89PNG")


# -- what is there already ----------------------------------------------------------------------------------------


def test_other_content_is_overwritten_only_when_asked_and_the_rest_is_kept(hub, run):
    hub.put(TO, {"config.json": "{}", "notes.txt": "mine", "README.md": "---\nlanguage: en\n---\n# Mine\n"})
    there = hub.files(TO)
    with pytest.raises(PublishError, match=r"holds 4 files already.*README\.md, config\.json.*--update"):
        publish(run, TO)
    assert hub.files(TO) == there
    assert writes(hub) == []
    publish(run, TO, update=True)
    assert len(commits(hub)) == 2
    now = hub.files(TO)
    assert now["notes.txt"] == b"mine"
    assert now["README.md"].decode().endswith("# Mine\n")
    assert set(now) > SENT


def test_an_update_is_one_more_commit_with_the_next_tag_and_keeps_text_written_by_hand(hub, run):
    first = publish(run, TO, license="apache-2.0")
    card = hub.files(TO)["README.md"].decode().replace("# squares\n", "# squares\n\nSeen by hand.\n")
    by_hand = hub.put(TO, {"README.md": card})
    unchanged = publish(run, TO)
    assert (unchanged.commit, unchanged.sent, unchanged.tag) == (by_hand, False, "v2")
    with pytest.raises(PublishError, match="--update"):
        publish(run, TO, which="last")
    second = publish(run, TO, which="last", update=True)
    assert commits(hub) == [second.commit, by_hand, first.commit]
    assert hub.tags(TO) == {"v1": first.commit, "v2": by_hand, "v3": second.commit}
    now = hub.files(TO)["README.md"].decode()
    assert "Seen by hand." in now
    assert "license: apache-2.0" in now
    states = {state.path: state.state for state in second.files}
    assert (states["README.md"], states["recipe.json"]) == ("changed", "unchanged")


def test_a_repository_left_empty_is_gone_on_with(hub, finished_run):
    HfApi().create_repo(TO, private=True)
    assert publish(finished_run, TO, private=True).sent
    assert len(commits(hub)) == 1


def test_private_is_private_and_never_public_by_mistake(hub, finished_run):
    publish(finished_run, TO, private=True)
    assert hub.store.read("models", TO)["private"]
    hub.settings(TO, private=False)
    with pytest.raises(PublishError, match="is public already"):
        publish(finished_run, TO, private=True)


@pytest.mark.parametrize(
    ("revision", "named"), [("paper", "a tag 'paper' already"), ("main", "cannot be a tag"), ("a b", "cannot be a tag")]
)
def test_a_tag_is_never_moved_and_nothing_sent_where_it_is_taken(hub, run, revision, named):
    hub.put(TO, {"notes.txt": "mine"}, tag="paper")
    with pytest.raises(PublishError, match=named):
        publish(run, TO, revision=revision, update=True)
    assert len(commits(hub)) == 1
    assert writes(hub) == []


def test_a_renamed_repository_is_named(hub, finished_run):
    hub.put(TO, {"notes.txt": "mine"})
    HfApi().move_repo(TO, "ada/renamed")
    with pytest.raises(PublishError, match="was renamed to ada/renamed"):
        publish(finished_run, TO, update=True)


# -- what goes wrong on the way -----------------------------------------------------------------------------------


def test_a_refused_commit_leaves_nothing_half_and_can_be_gone_on_with(hub, finished_run):
    hub.fail("/commit/", status=400)
    with pytest.raises(PublishError, match=r"did not take the commit.*injected fault \(HTTP 400\)"):
        publish(finished_run, TO)
    assert commits(hub) == []
    assert hub.tags(TO) == {}
    publication = publish(finished_run, TO)
    assert commits(hub) == [publication.commit]
    assert hub.tags(TO) == {"v1": publication.commit}


def test_a_connection_cut_after_the_commit_is_found_out_by_the_same_command(hub, finished_run):
    hub.faults.append(Fault("/commit/", "cut", 1, method="POST"))
    with pytest.raises(PublishError, match="Whether the commit arrived is not known"):
        publish(finished_run, TO)
    assert len(commits(hub)) == 1
    assert hub.tags(TO) == {}
    again = publish(finished_run, TO)
    assert not again.sent
    assert commits(hub) == [again.commit]
    assert hub.tags(TO) == {"v1": again.commit}


def test_a_refused_tag_is_set_by_the_same_command(hub, finished_run):
    hub.fail("/tag/", status=400)
    with pytest.raises(PublishError, match=r"did not take the tag 'v1' \(the commit \w{40} is there"):
        publish(finished_run, TO)
    again = publish(finished_run, TO)
    assert hub.tags(TO) == {"v1": again.commit}
    assert len(commits(hub)) == 1


def test_somebody_elses_commit_in_between_is_not_overwritten(hub, finished_run):
    hub.put(TO, {"notes.txt": "mine"})

    def meanwhile(text):
        hub.put(TO, {"notes.txt": "changed"})

    with pytest.raises(PublishError, match="somebody has changed it in the meantime"):
        publish(finished_run, TO, update=True, show=meanwhile)
    assert set(hub.files(TO)) == {".gitattributes", "notes.txt"}


def test_weights_that_come_back_as_others_are_told(hub, finished_run):
    hub.garble("resolve/.*safetensors", times=None)
    with pytest.raises(PublishError, match=r"was published as commit \w{40}, but does not load back.*SHA-256"):
        publish(finished_run, TO)


def test_nobody_logged_in_is_told_before_anything_is_sent(hub, finished_run, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(hub.cache / "token"))
    with pytest.raises(PublishError, match="hf auth login"):
        publish(finished_run, TO)
    assert hub.requests == []


def test_a_token_that_may_not_write_there_is_told(hub, finished_run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    with pytest.raises(PublishError, match=r"may not write to ada's repositories"):
        publish(finished_run, TO)
    hub.put(TO, {"notes.txt": "mine"})
    with pytest.raises(PublishError, match=r"did not take the commit.*may not write"):
        publish(finished_run, TO, update=True)
    assert len(commits(hub)) == 1


def test_a_token_that_is_not_valid_is_told(hub, finished_run):
    hub.fail("whoami", status=401)
    with pytest.raises(PublishError, match="the token is not valid"):
        publish(finished_run, TO)


@pytest.mark.parametrize("name", ["squares", "ada/squares/x", "ada/sq uares", "ada/--", "/squares", "ada/", ""])
def test_a_name_that_is_none_is_told(hub, finished_run, name):
    with pytest.raises(PublishError, match=r"no name for a repository|names no owner"):
        publish(finished_run, name)
    assert hub.requests == []


def test_offline_mode_is_told(hub, finished_run, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: True)
    with pytest.raises(PublishError, match="HF_HUB_OFFLINE"):
        publish(finished_run, TO)


def test_an_upload_that_breaks_leaves_nothing_half_and_can_be_gone_on_with(hub, finished_run):
    hub.fail("/lfs/", status=400, method="PUT")
    with pytest.raises(PublishError, match=r"Error while uploading 'model\.safetensors'.*Nothing was published"):
        publish(finished_run, TO)
    assert commits(hub) == []
    assert publish(finished_run, TO).sent
    assert len(commits(hub)) == 1


def test_a_network_that_is_gone_is_told(hub, finished_run):
    hub.stop()
    with pytest.raises(PublishError, match=r"connection to http://127.* broke.*Nothing was published"):
        publish(finished_run, TO)


# -- what is not fit to be published ------------------------------------------------------------------------------


def set_session(run):
    config = json.loads((run / "best" / "config.json").read_text())
    config["curriculum_zoo"]["distribution"] = "this session"
    (run / "best" / "config.json").write_text(json.dumps(config))


def set_nan(run):
    tensors = load_file(run / "best" / "model.safetensors")
    tensors["fc2.bias"][0] = float("nan")
    save_file(tensors, run / "best" / "model.safetensors")
    config = json.loads((run / "best" / "config.json").read_text())
    del config["curriculum_zoo"]["sha256"]
    (run / "best" / "config.json").write_text(json.dumps(config))


UNFIT = {
    "not finished": (lambda run: (run / "results.json").unlink(), "is not finished: 3 of 3 epochs"),
    "an epoch short": (
        lambda run: (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text().splitlines()[0]),
        "1 of 3 epochs are done.*--resume",
    ),
    "no run": (lambda run: (run / "recipe.json").unlink(), "holds no run"),
    "damaged results": (lambda run: (run / "results.json").write_text("{"), r"results\.json is damaged"),
    "half the results": (lambda run: (run / "results.json").write_text('{"test": {}}'), r"results\.json is damaged"),
    "another recipe": (lambda run: edit(run / "recipe.json", batch_size=16), "weights of another recipe"),
    "another epoch": (lambda run: edit(run / "results.json", best_epoch=99), "but the run's results are of epoch 99"),
    "no weights": (lambda run: (run / "best" / "model.safetensors").unlink(), "model.safetensors is missing"),
    "other weights": (
        lambda run: shutil.copy(run / "metrics.jsonl", run / "best" / "model.safetensors"),
        "SHA-256 differs",
    ),
    "a network of a notebook": (set_session, "registered in a session alone"),
    "infinite weights": (set_nan, "not finite"),
}


@pytest.mark.parametrize(("spoil", "named"), UNFIT.values(), ids=UNFIT)
def test_a_run_that_is_not_fit_is_refused_before_the_hub_is_asked(hub, run, spoil, named):
    spoil(run)
    with pytest.raises((PublishError, CheckpointError, WeightsError), match=named):
        publish(run, TO)
    assert hub.requests == []


def other_data(folder):
    environment = json.loads((folder / "environment.json").read_text())
    environment["data"]["fingerprint"] = "other"
    (folder / "environment.json").write_text(json.dumps(environment))


@pytest.mark.parametrize(
    ("option", "change", "named"),
    [
        ("runs", lambda folder: edit(folder / "recipe.json", seed=1, batch_size=16), "differs in batch_size"),
        ("runs", lambda folder: None, "seed 0, which is counted already"),
        ("runs", other_data, "differs in the images"),
        ("baselines", other_data, "saw other images"),
        ("baselines", lambda folder: edit(folder / "recipe.json", seed=1), "by the same recipe"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(hub, run, finished_run, tmp_path, option, change, named):
    other = Path(shutil.copytree(finished_run, tmp_path / "other"))
    change(other)
    with pytest.raises(PublishError, match=named):
        publish(run, TO, **{option: [other]})


# -- elsewhere ----------------------------------------------------------------------------------------------------


def test_the_python_of_the_card_runs(hub, finished_run, tmp_path, monkeypatch, capsys):
    from PIL import Image

    publish(finished_run, TO)
    Image.effect_noise((20, 16), 80).convert("RGB").save(tmp_path / "picture.png")
    monkeypatch.chdir(tmp_path)
    ours, timms = (compile(block, "card", "exec") for block in python_of(hub))
    exec(ours, names := {})
    assert re.fullmatch(r"([\d.]+%  (top|bottom) (left|right)\n){3}", capsys.readouterr().out)
    assert main(["predict", f"hf-hub:{TO}", "picture.png"]) == 0
    assert capsys.readouterr().out.startswith("picture.png: ")
    exec(timms, others := {})
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(names["model"](images), others["model"].eval()(images))


def test_weights_trained_on_from_published_ones_name_them_as_their_base(hub, finished_run, quadrants, tmp_path):
    publish(finished_run, TO)
    recipe = Recipe(model=f"hf-hub:{TO}@v1", pretrained=True, data=f"npz:{quadrants}", epochs=1, batch_size=32)
    train(recipe, output=tmp_path / "tuned", device="cpu")
    publish(tmp_path / "tuned", "ada/tuned")
    card = ModelCard(hub.files("ada/tuned")["README.md"].decode())
    assert card.data.base_model == TO
    assert "starting from the weights of `hf-hub:ada/squares@v1`" in " ".join(card.text.split())
    assert "curriculum-zoo train --model hf-hub:ada/squares@v1" in card.text


@pytest.mark.slow
def test_the_cards_own_code_loads_it_elsewhere_with_equal_outputs(hub, finished_run, tmp_path, python):
    """Another process with an empty cache runs the Python of the card; timm's block is the second one."""
    from PIL import Image

    publish(finished_run, TO)
    Image.effect_noise((20, 16), 80).convert("RGB").save(tmp_path / "picture.png")
    first, second = python_of(hub)
    code = [
        "import contextlib, io, json, os",
        f"os.chdir({str(tmp_path)!r})",
        "printed = io.StringIO()",
        "with contextlib.redirect_stdout(printed):",
        *(f"    {line}" for line in (first + "\nours = model\n" + second + "\ntheirs = model.eval()").splitlines()),
        "images = torch.linspace(-2, 2, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)",
        "with torch.no_grad():",
        "    outputs = [ours(images).tolist(), theirs(images).tolist()]",
        "print(json.dumps([printed.getvalue(), *outputs]))",
    ]
    printed, ours, theirs = python("\n".join(code), **{**hub.environment, "HF_HOME": str(tmp_path / "elsewhere")})
    here = create_model(f"local-dir:{finished_run / 'best'}", pretrained=True).eval()
    images = torch.linspace(-2, 2, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)
    with torch.no_grad():
        assert here(images).tolist() == ours == theirs
    assert re.fullmatch(r"([\d.]+%  (top|bottom) (left|right)\n){3}", printed)


def test_the_command_publishes_and_tells_what_goes_wrong_in_a_line(hub, finished_run, tmp_path, capsys):
    assert main(["publish", str(finished_run), "--to", TO, "--dry-run"]) == 0
    assert writes(hub) == []
    assert main(["publish", str(finished_run), "--to", TO, "--private", "--revision", "first"]) == 0
    assert "it loads back bit by bit" in capsys.readouterr().out
    assert list(hub.tags(TO)) == ["first"]
    assert main(["publish", str(finished_run), "--to", TO, "--which", "last"]) == 2
    assert capsys.readouterr().err.startswith(f"curriculum-zoo: {TO} holds 7 files already")
    assert main(["publish", str(tmp_path), "--to", TO]) == 2
    assert "holds no run" in capsys.readouterr().err
