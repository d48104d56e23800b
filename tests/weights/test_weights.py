"""Released weights: listed from their folders alone, found by name, and fetched where the package leaves them out."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import curriculum_zoo
from curriculum_zoo import cli
from curriculum_zoo.errors import UnknownNameError, WeightsError
from curriculum_zoo.models import create_model
from curriculum_zoo.weights import released
from curriculum_zoo.weights.address import Address
from curriculum_zoo.weights.folder import model_config, save_folder
from curriculum_zoo.weights.released import find_weights, list_weights
from curriculum_zoo.weights.stored import sha256_of


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """A folder like ``model_cards``, with two weights of simple_cnn, the second of them the default."""
    root = tmp_path / "model_cards"
    for seed, tag in enumerate(("first", "second")):
        torch.manual_seed(seed)
        model = create_model("simple_cnn", num_classes=3, in_chans=1, img_size=24)
        facts = {
            "distribution": "curriculum-zoo",
            "recipe": {"data": "letters", "curriculum": f"trd(number={seed})"},
            "test": {"top1": 0.75},
            "forward_flops": 1_234_000,
        }
        config = model_config(
            model, architecture="simple_cnn", options={"img_size": 24}, input_size=(1, 24, 24), mean=(0.5,),
            std=(0.25,), classes=("a", "b", "c"), facts=facts,
        )  # fmt: skip
        config["pretrained_cfg"]["license"] = "mit"
        save_folder(root / f"simple_cnn.{tag}", model.state_dict(), config)
    (root / "index.json").write_text(json.dumps({"defaults": {"simple_cnn": "second"}, "published": {}}))
    monkeypatch.setattr(released, "cards_folder", lambda: root)
    return root


def publish(cards, name, hub_id, revision):
    index = json.loads((cards / "index.json").read_text())
    index["published"][name] = {"hub_id": hub_id, "revision": revision}
    (cards / "index.json").write_text(json.dumps(index))


def test_a_record_tells_what_the_folder_says(cards):
    first, second = list_weights()
    assert (first.name, first.architecture, first.tag) == ("simple_cnn.first", "simple_cnn", "first")
    assert (first.data, first.curriculum, first.accuracy) == ("letters", "trd(number=0)", 0.75)
    assert (first.flops, first.license, first.hub_id, first.revision) == (1_234_000, "mit", None, None)
    network = create_model("simple_cnn.first")
    assert first.parameters == sum(parameter.numel() for parameter in network.parameters())
    file = cards / "simple_cnn.first" / "model.safetensors"
    assert (first.size, first.sha256) == (file.stat().st_size, sha256_of(file))
    assert (first.default, second.default) == (False, True)
    assert list_weights("*.second") == [second]
    assert list_weights("hires*") == []
    assert curriculum_zoo.list_models("simple*", pretrained=True) == ["simple_cnn.first", "simple_cnn.second"]


def test_the_command_lists_them_as_a_table(cards, capsys):
    publish(cards, "simple_cnn.first", "ada/simple", "0" * 40)
    assert cli.main(["list", "weights"]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert " ".join(head.split()) == "name data curriculum accuracy MFLOPs parameters size licence Hub"
    assert first.startswith("simple_cnn.first    letters  trd(number=0)  75.00%    1.2     314,243 ")
    assert first.endswith("mit      ada/simple")
    assert second.startswith("simple_cnn.second*  letters")
    assert second.endswith("mit      -")


def test_names_find_their_weights_and_wrong_ones_are_told_the_right_ones(cards):
    assert find_weights("simple_cnn").tag == "second"
    assert find_weights("simple_cnn", "first").tag == "first"
    assert find_weights("hiresnet18") is None
    with pytest.raises(WeightsError, match=r"'simple_cnn.third'.*'simple_cnn.first', 'simple_cnn.second'"):
        find_weights("simple_cnn", "third")
    with pytest.raises(UnknownNameError, match=r"'hiresnet18'.*simple_cnn"):
        Address.parse("hiresnet18").resolve()
    with pytest.raises(UnknownNameError, match="other/simple_cnn"):
        Address.parse("other/simple_cnn").resolve()
    assert Address.parse("curriculum-zoo/simple_cnn.first").resolve().classes == ("a", "b", "c")


def test_channels_of_released_weights_adapt_as_in_timm(cards):
    stored = load_file(cards / "simple_cnn.first" / "model.safetensors")["conv1.weight"]
    wide = create_model("simple_cnn.first", pretrained=True, in_chans=3)
    torch.testing.assert_close(wide.conv1.weight, stored.repeat(1, 3, 1, 1) / 3)
    same = create_model("simple_cnn.first", pretrained=True)
    assert torch.equal(same.conv1.weight, stored)
    assert same.class_names == ("a", "b", "c")
    assert same.pretrained_cfg["input_size"] == [1, 24, 24]


def test_weights_that_the_package_leaves_out_come_from_the_hub_at_their_revision(cards, hub, tmp_path):
    folder = cards / "simple_cnn.second"
    stored = load_file(folder / "model.safetensors")
    commit = hub.put("ada/simple", {file.name: file for file in folder.iterdir()})
    hub.put("ada/simple", {"model.safetensors": b"a later version"})
    size = (folder / "model.safetensors").stat().st_size
    shutil.move(folder / "model.safetensors", tmp_path)
    with pytest.raises(WeightsError, match=r"model\.safetensors is missing, and simple_cnn\.second is not on the Hub"):
        create_model("simple_cnn", pretrained=True)
    publish(cards, "simple_cnn.second", "ada/simple", commit)
    network = create_model("simple_cnn", pretrained=True)
    assert torch.equal(network.fc1.weight, stored["fc1.weight"])
    (record,) = list_weights("*.second")
    assert (record.size, record.hub_id, record.revision) == (size, "ada/simple", commit)
    hub.stop()
    assert torch.equal(create_model("simple_cnn", pretrained=True).fc1.weight, stored["fc1.weight"])


def test_a_downloaded_file_must_have_the_digest_that_the_package_knows(cards, hub):
    other = cards / "simple_cnn.first" / "model.safetensors"
    commit = hub.put("ada/simple", {"model.safetensors": other})
    (cards / "simple_cnn.second" / "model.safetensors").unlink()
    publish(cards, "simple_cnn.second", "ada/simple", commit)
    with pytest.raises(WeightsError, match="SHA-256"):
        create_model("simple_cnn", pretrained=True)


@pytest.mark.parametrize("text", ["", "[]", '{"defaults": 3}', "\x00"])
def test_a_damaged_index_is_one_error(cards, text):
    (cards / "index.json").write_text(text)
    with pytest.raises(WeightsError, match=r"index\.json cannot be read.*Reinstall"):
        list_weights()


def test_listing_loads_neither_torch_nor_any_network(python):
    code = """
        import json, sys
        from curriculum_zoo import list_models, list_weights
        import curriculum_zoo.weights.download
        records, names = list_weights(), list_models(pretrained=True)
        heavy = {"torch", "timm", "curriculum_zoo.models"} & sys.modules.keys()
        print(json.dumps([[record.name for record in records] == names, sorted(heavy)]))
    """
    assert python(code) == [True, []]


def test_what_the_package_ships_is_whole_and_each_architecture_declares_its_default():
    shipped = list_weights()
    assert shipped
    architectures = {record.architecture for record in shipped}
    assert {record.architecture for record in shipped if record.default} == architectures
    for record in shipped:
        assert record.sha256 == sha256_of(record.folder / "model.safetensors"), record.name
        assert record.accuracy, record.name
        assert (record.hub_id is None) == (record.revision is None), record.name
    index = json.loads((released.cards_folder() / "index.json").read_text())
    assert set(index["published"]) <= {record.name for record in shipped}
    assert set(index["defaults"]) == architectures
