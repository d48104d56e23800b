"""Spaces beside published weights, over HTTP with the real client: what is written, kept and refused."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi

from curriculum_zoo.cli import main
from curriculum_zoo.errors import PublishError
from curriculum_zoo.publishing.publish import publish
from curriculum_zoo.publishing.space import SDK_VERSION, publish_space, publish_with_space
from curriculum_zoo.registry import CURRICULA, Entry
from curriculum_zoo.version import __version__

TO = "ada/squares"
OURS = {"README.md", "app.py", "requirements.txt"}


def space(hub):
    """The Space's files, by path."""
    return {path: content.decode() for path, content in hub.files(TO, kind="spaces").items()}


def front_matter(text):
    return yaml.safe_load(text.split("---\n")[1])


def commits(hub):
    """The titles of the Space's commits, newest first, without those that the Hub makes."""
    return [commit["title"] for commit in hub.commits(TO, kind="spaces") if commit["title"].startswith("Serve")]


def edit(hub, path, change):
    hub.put(TO, {path: change(space(hub)[path])}, kind="spaces")


# -- what is written ----------------------------------------------------------------------------------------------


def test_a_space_is_one_commit_beside_the_weights_that_it_serves(hub, finished_run, capsys):
    assert main(["publish", str(finished_run), "--to", TO, "--space"]) == 0
    assert hub.tags(TO) == {"v1": publish(finished_run, TO).commit}
    assert commits(hub) == ["Serve v1"]
    assert space(hub).keys() - {".gitattributes"} == OURS
    assert f"{hub.endpoint}/spaces/{TO}" in capsys.readouterr().out
    calls = [node for node in ast.walk(ast.parse(space(hub)["app.py"])) if isinstance(node, ast.Call)]
    assert f"hf-hub:{TO}@v1" in [
        argument.value for call in calls for argument in call.args if hasattr(argument, "value")
    ]
    assert f"curriculum-zoo[demo]=={__version__}\n" in space(hub)["requirements.txt"]


def test_its_front_matter_is_what_the_hub_builds_a_space_by(hub, finished_run):
    publish_with_space(finished_run, TO, license="cc-by-4.0")
    said = front_matter(space(hub)["README.md"])
    assert said["sdk"] == "gradio"
    assert said["app_file"] == "app.py"
    assert said["models"] == [TO]
    assert said["license"] == "cc-by-4.0"
    assert HfApi(endpoint=hub.endpoint).space_info(TO).card_data["title"] == "squares"
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={said['python_version']}"
    (gradio,) = [line for line in project["optional-dependencies"]["demo"] if line.startswith("gradio")]
    least = re.search(r">=([\d.]+)", gradio)[1]
    assert said["sdk_version"] == SDK_VERSION == f"{least}.0"


def test_distributions_of_plugins_are_installed_too(hub, finished_run, monkeypatch):
    publication = publish(finished_run, TO)
    theirs = Entry("curriculum", "trd", "their-curricula", "2.1", "theirs:TRD", loader=CURRICULA.entry("trd").loader)
    monkeypatch.setattr(type(CURRICULA), "entry", lambda registry, name: theirs)
    publish_space(publication)
    assert "their-curricula==2.1\n" in space(hub)["requirements.txt"]


def test_what_no_space_could_install_is_refused(hub, finished_run, monkeypatch):
    publication = publish(finished_run, TO)
    here = Entry("curriculum", "trd", "this session", "", "__main__:TRD", loader=CURRICULA.entry("trd").loader)
    monkeypatch.setattr(type(CURRICULA), "entry", lambda registry, name: here)
    with pytest.raises(PublishError, match="a Space could not install them"):
        publish_space(publication)
    assert not hub.store.exists("spaces", TO)


def test_a_dry_run_shows_both_and_sends_nothing(hub, finished_run):
    shown = []
    publish_with_space(finished_run, TO, dry_run=True, show=shown.append)
    assert not hub.store.exists("models", TO)
    assert not hub.store.exists("spaces", TO)
    assert "model.safetensors" in shown[0]
    assert re.search(rf"/spaces/{TO} \(public\) is new:\n.*new .*README\.md\n.*app\.py", shown[1])


def test_a_private_publication_has_a_private_space_that_needs_a_secret(hub, finished_run):
    shown = []
    publish_with_space(finished_run, TO, private=True, show=shown.append)
    assert HfApi(endpoint=hub.endpoint).space_info(TO).private
    assert "give the Space a secret HF_TOKEN" in shown[-1]


def test_a_space_of_private_weights_is_private_unasked(hub, finished_run):
    publication = publish(finished_run, TO, private=True)
    publish_space(publication)
    assert HfApi(endpoint=hub.endpoint).space_info(TO).private


# -- what is there already ----------------------------------------------------------------------------------------


def test_the_same_again_makes_no_second_commit(hub, finished_run):
    publish_with_space(finished_run, TO)
    shown = []
    _, again = publish_with_space(finished_run, TO, show=shown.append)
    assert not again.sent
    assert commits(hub) == ["Serve v1"]
    assert "Nothing to send" in shown[-1]


def test_a_space_that_the_hub_has_just_made_is_gone_on_with(hub, finished_run):
    HfApi(endpoint=hub.endpoint).create_repo(TO, repo_type="space", space_sdk="gradio")
    publish_with_space(finished_run, TO)
    readme = space(hub)["README.md"]
    assert front_matter(readme)["emoji"] == "🌖"  # chosen for it
    assert front_matter(readme)["sdk_version"] == SDK_VERSION
    assert "configuration reference" not in readme
    assert "A page to try" in readme


def test_a_refused_commit_can_be_gone_on_with(hub, finished_run):
    hub.fail("/api/spaces/.*/commit/", status=400)
    with pytest.raises(PublishError, match="did not take the commit"):
        publish_with_space(finished_run, TO)
    publish_with_space(finished_run, TO)
    assert commits(hub) == ["Serve v1"]
    assert space(hub).keys() - {".gitattributes"} == OURS


def test_an_update_serves_the_new_weights_and_keeps_what_people_wrote(hub, finished_run):
    publish_with_space(finished_run, TO)
    edit(hub, "README.md", lambda text: text.replace("title: squares", "title: Four quadrants # mine\nemoji: 🟦"))
    edit(
        hub,
        "README.md",
        lambda text: text.replace("- ada/squares", "- ada/squares\n- ada/other") + "\nSee the paper.\n",
    )
    hub.put(TO, {"packages.txt": "libheif1"}, kind="spaces")
    publish_with_space(finished_run, TO, which="last", update=True)
    assert commits(hub) == ["Serve v2", "Serve v1"]
    assert f"hf-hub:{TO}@v2" in space(hub)["app.py"]
    readme = space(hub)["README.md"]
    assert "title: Four quadrants # mine\nemoji: 🟦\n" in readme
    assert front_matter(readme)["models"] == [TO, "ada/other"]
    assert readme.endswith("\nSee the paper.\n")
    assert "at v2:" in readme
    assert "at v1:" not in readme
    assert space(hub)["packages.txt"] == "libheif1"


def test_nothing_is_replaced_unasked_and_no_weights_are_sent_either(hub, finished_run):
    hub.put(TO, {"app.py": "print('mine')"}, kind="spaces")
    hub.put(TO, {"README.md": "---\nsdk: gradio\n---\nMine\n"}, kind="spaces")
    before = hub.files(TO, kind="spaces")
    for update in (False, True):
        with pytest.raises(PublishError, match=r"changed app\.py of .*spaces/ada/squares by hand.*Nothing was sent"):
            publish_with_space(finished_run, TO, update=update)
    assert hub.files(TO, kind="spaces") == before
    assert not hub.store.exists("models", TO)


def test_other_files_are_added_to_only_where_asked_for(hub, finished_run):
    hub.put(TO, {"README.md": "---\nsdk: gradio\n---\nMine\n"}, kind="spaces")
    with pytest.raises(PublishError, match=r"holds 2 files already, others than these: README\.md, app\.py"):
        publish_with_space(finished_run, TO)
    assert not hub.store.exists("models", TO)
    publish_with_space(finished_run, TO, update=True)
    assert space(hub)["README.md"].endswith("---\nMine\n")
    assert front_matter(space(hub)["README.md"])["app_file"] == "app.py"


@pytest.mark.parametrize("path", ["app.py", "requirements.txt"])
def test_a_file_that_somebody_changed_is_refused_even_in_an_update(hub, finished_run, path):
    publish_with_space(finished_run, TO)
    edit(hub, path, lambda text: f"# mine\n{text}")
    before = space(hub)
    with pytest.raises(PublishError, match=rf"changed {re.escape(path)} of"):
        publish_with_space(finished_run, TO, which="last", update=True)
    assert space(hub) == before
    assert hub.tags(TO).keys() == {"v1"}


def test_a_file_that_an_earlier_version_wrote_is_brought_up_to_date(hub, finished_run, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr("curriculum_zoo.publishing.space.__version__", "0.0.9")
        publish_with_space(finished_run, TO)
    assert "curriculum-zoo[demo]==0.0.9\n" in space(hub)["requirements.txt"]
    publish_with_space(finished_run, TO, update=True)
    assert f"curriculum-zoo[demo]=={__version__}\n" in space(hub)["requirements.txt"]
    assert commits(hub) == ["Serve v1", "Serve v1"]


def test_a_space_of_another_kind_is_refused(hub, finished_run):
    HfApi(endpoint=hub.endpoint).create_repo(TO, repo_type="space", space_sdk="docker")
    with pytest.raises(PublishError, match=r"a Space of another kind \(docker\)"):
        publish_with_space(finished_run, TO, update=True)
    assert not hub.store.exists("models", TO)


def test_a_public_space_is_not_taken_for_private_weights(hub, finished_run):
    HfApi(endpoint=hub.endpoint).create_repo(TO, repo_type="space", space_sdk="gradio")
    with pytest.raises(PublishError, match="is public already"):
        publish_with_space(finished_run, TO, private=True)
    assert not hub.store.exists("models", TO)


def test_somebody_elses_commit_in_between_is_not_overwritten(hub, finished_run):
    publication = publish(finished_run, TO)
    hub.put(TO, {"README.md": "---\nsdk: gradio\n---\nMine\n"}, kind="spaces")

    def meanwhile(text):
        hub.put(TO, {"notes.txt": "changed"}, kind="spaces")

    with pytest.raises(PublishError, match="somebody has changed it in the meantime"):
        publish_space(publication, update=True, show=meanwhile)
    assert "app.py" not in space(hub)


def test_a_space_needs_weights_on_the_hub(finished_run, tmp_path, capsys):
    command = ["publish", str(finished_run), "--folder", str(tmp_path / "simple_cnn.x"), "--space"]
    assert main(command) == 2
    assert "Say --to OWNER/NAME" in capsys.readouterr().err
    assert not (tmp_path / "simple_cnn.x").exists()
