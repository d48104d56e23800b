"""Weights in folders: what is written comes back, and what does not belong there is refused."""

import contextlib
import hashlib
import json
import os

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file

import curriculum_zoo.models  # noqa: F401  registers our architectures with timm
from curriculum_zoo.errors import UnknownNameError, WeightsError
from curriculum_zoo.models import create_model
from curriculum_zoo.models.fitting import load_tensors
from curriculum_zoo.weights.folder import model_config, open_folder, pool_size_at, save_folder

CLASSES = ("a", "b", "c")


def saved(folder, architecture, network, classes=CLASSES, **options):
    config = model_config(
        network,
        architecture=architecture,
        options=options,
        input_size=(1, 24, 24),
        mean=(0.5,),
        std=(0.25,),
        classes=classes,
        facts={"note": "tested"},
    )
    save_folder(folder, network.state_dict(), config)
    return folder


@pytest.fixture
def network():
    torch.manual_seed(3)
    return create_model("simple_cnn", num_classes=3, in_chans=1, img_size=24, hidden_size=8)


@pytest.fixture
def folder(network, tmp_path):
    return saved(tmp_path / "weights", "simple_cnn", network, img_size=24, hidden_size=8)


def load_folder(folder):
    return create_model(f"local-dir:{folder}", pretrained=True).eval(), open_folder(folder).config


def rewrite(folder, change):
    """Change the tensors of a folder, and forget the digest that would tell."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder, curriculum_zoo={})


def edit(folder, **fields):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))


def test_a_network_comes_back_from_its_folder(network, folder):
    loaded, config = load_folder(folder)
    state = loaded.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert config["label_names"] == list(CLASSES)
    assert config["curriculum_zoo"]["note"] == "tested"
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    "architecture", ["airbench94", "simple_cnn", "resnet20_cifar", "hiresnet20_cifar", "hiresnet18"]
)
def test_timm_loads_our_folders_by_itself(architecture, tmp_path):
    options = {"img_size": 24} if architecture == "simple_cnn" else {}
    ours = create_model(architecture, num_classes=3, in_chans=1, **options).eval()
    saved(tmp_path / "weights", architecture, ours, **options)
    theirs = timm.create_model(f"local-dir:{tmp_path / 'weights'}", pretrained=True).eval()
    images = torch.rand(2, 1, 24, 24)
    with torch.no_grad():
        assert torch.equal(theirs(images), ours(images))
    assert theirs.pretrained_cfg["mean"] == [0.5]


def test_timm_loads_the_weights_of_a_run(finished_run):
    ours, config = load_folder(finished_run / "best")
    theirs = timm.create_model(f"local-dir:{finished_run / 'best'}", pretrained=True).eval()
    images = torch.rand(2, *config["pretrained_cfg"]["input_size"])
    with torch.no_grad():
        assert torch.equal(theirs(images), ours(images))


def test_an_architecture_of_timms_loads_from_timms_own_format(tmp_path):
    ours = create_model("timm/test_resnet", num_classes=3, in_chans=1).eval()
    saved(tmp_path / "weights", "test_resnet", ours)
    loaded, _ = load_folder(tmp_path / "weights")
    images = torch.rand(2, 1, 24, 24)
    with torch.no_grad():
        assert torch.equal(loaded(images), ours(images))


def test_weights_laid_out_channels_last_are_kept_whole(network, tmp_path):
    network = network.to(memory_format=torch.channels_last)
    loaded, _ = load_folder(saved(tmp_path / "weights", "simple_cnn", network, img_size=24, hidden_size=8))
    assert torch.equal(loaded.conv2.weight, network.conv2.weight)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: t.pop("fc2.bias"), "fc2.bias is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "extra is not the network's"),
        (lambda t: t.update({"fc2.bias": torch.zeros(4)}), r"fc2.bias has shape \[4\], expected \[3\]"),
        (lambda t: t.update({"fc2.bias": torch.zeros(3, dtype=torch.long)}), "fc2.bias is torch.int64"),
        (lambda t: t["fc1.bias"].fill_(float("nan")), "fc1.bias holds numbers that are not finite"),
        (lambda t: t["fc1.weight"][2].fill_(float("inf")), "fc1.weight holds numbers that are not finite"),
        (lambda t: t.clear(), "and 3 more"),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_not_loaded(network, folder, change, named):
    before = network.fc1.weight.detach().clone()
    rewrite(folder, change)
    with pytest.raises(WeightsError, match=named):
        load_folder(folder)
    with pytest.raises(WeightsError, match=named):
        load_tensors(network, load_file(folder / "model.safetensors"), source="there")
    assert torch.equal(network.fc1.weight, before)


@pytest.mark.parametrize("kept", [0, 4, 200, -1])
@pytest.mark.parametrize("digest", [True, False])
def test_a_truncated_file_is_named(folder, kept, digest):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:kept])
    if not digest:
        edit(folder, curriculum_zoo={})
    with pytest.raises(WeightsError, match=r"model\.safetensors is (damaged|not the file)"):
        load_folder(folder)


def test_one_flipped_bit_is_noticed(folder):
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        load_folder(folder)


def test_missing_files_are_named(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors is missing"):
        load_folder(folder)
    with pytest.raises(WeightsError, match=r"nowhere holds neither a run nor weights: .*no config\.json"):
        load_folder(tmp_path / "nowhere")


def test_an_architecture_that_nobody_registered_is_named(folder):
    edit(folder, architecture="simple_cmm")
    with pytest.raises(UnknownNameError, match=r"weights: .*simple_cmm.*simple_cnn"):
        load_folder(folder)
    edit(folder, architecture="os.system", curriculum_zoo={})
    with pytest.raises(UnknownNameError, match=r"weights: .*os\.system"):
        load_folder(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"architecture": 3}', '{"num_classes": 3}', "\x00"])
def test_a_config_that_is_none_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config\.json (is no JSON|names no architecture)"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"num_classes": "3"}, "num_classes is '3'"),
        ({"model_args": ["img_size"]}, "model_args is"),
        ({"pretrained_cfg": 3}, "pretrained_cfg is 3"),
        ({"pretrained_cfg": {"input_size": [1, 24]}}, "input_size"),
        ({"pretrained_cfg": {"input_size": [1, -24, 24]}}, "input_size"),
        ({"pretrained_cfg": {"input_size": [1, 24, 24], "mean": [0.5, 0.5]}}, "mean"),
        ({"pretrained_cfg": {"input_size": [1, 24, 24], "std": [0]}}, "std"),
        ({"label_names": ["a"]}, "1 names for 3 classes"),
        ({"curriculum_zoo": "x"}, "curriculum_zoo is 'x'"),
    ],
)
def test_a_config_with_nonsense_in_it_is_refused_by_field(folder, fields, named):
    edit(folder, **fields)
    with pytest.raises(WeightsError, match=f"config.json: .*{named}"):
        load_folder(folder)


def test_a_kill_while_writing_leaves_whole_files(network, folder, monkeypatch):
    before = {file: (folder / file).read_bytes() for file in os.listdir(folder)}

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die)
    with torch.no_grad():
        network.fc1.weight.zero_()
    with pytest.raises(KeyboardInterrupt):
        saved(folder, "simple_cnn", network, img_size=24, hidden_size=8)
    assert all((folder / file).read_bytes() == content for file, content in before.items())


def test_what_is_no_plain_file_is_not_read(folder):
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    with pytest.raises(WeightsError, match=r"config\.json is no plain file"):
        load_folder(folder)
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/dev/zero")
    with pytest.raises(WeightsError, match="no plain file"):
        load_folder(folder)


def test_tensors_that_are_no_plain_file_are_not_read(folder):
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"model\.safetensors is missing"):
        load_folder(folder)


def test_a_folder_that_is_a_link_into_a_cache_by_digest_is_checked_against_it(folder, tmp_path):
    """As the Hub's cache keeps files: under their SHA-256, with a link from where they are looked for."""
    edit(folder, curriculum_zoo={})
    content = (folder / "model.safetensors").read_bytes()
    blob = tmp_path / hashlib.sha256(content).hexdigest()
    (folder / "model.safetensors").rename(blob)
    (folder / "model.safetensors").symlink_to(blob)
    load_folder(folder)
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        load_folder(folder)


def test_what_a_folder_says_of_its_size_and_parameters_is_so(network, folder):
    facts = open_folder(folder).facts
    assert facts["size"] == (folder / "model.safetensors").stat().st_size
    assert facts["parameters"] == sum(parameter.numel() for parameter in network.parameters())


def test_class_names_come_from_labels_or_their_descriptions(folder):
    edit(folder, label_names=["n1", "n2", "n3"], label_descriptions={"n1": "ant", "n3": "cat"})
    assert open_folder(folder).classes == ("ant", "n2", "cat")
    edit(folder, label_names={"2": "c", "0": "a", "1": "b"}, label_descriptions=None)
    assert open_folder(folder).classes == ("a", "b", "c")
    edit(folder, label_names=None)
    assert open_folder(folder).classes == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    key=st.sampled_from(
        ["num_classes", "label_names", "label_descriptions", "model_args", "pretrained_cfg", "curriculum_zoo"]
    ),
    value=JSON,
)
def test_no_config_whatever_makes_reading_fail_in_another_way(tmp_path_factory, key, value):
    folder = tmp_path_factory.mktemp("any")
    config = {"architecture": "simple_cnn", "num_classes": 3, "label_names": list(CLASSES), key: value}
    (folder / "config.json").write_text(json.dumps(config))
    with contextlib.suppress(WeightsError):
        weights = open_folder(folder)
        assert all(isinstance(name, str) for name in weights.classes)
        assert isinstance(weights.facts, dict)


@given(at=st.integers(0, 1500), value=st.integers(0, 255), cut=st.integers(0, 3000))
def test_no_damage_to_a_file_of_tensors_makes_loading_fail_in_another_way(tmp_path_factory, at, value, cut):
    """Without a digest that would tell; where it loads, all numbers are finite."""
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray(save({"weight": torch.ones(4, 4), "bias": torch.ones(4), "count": torch.tensor(3)}))
    content[at % len(content)] = value
    (folder / "model.safetensors").write_bytes(content[: len(content) - cut % 40 * (cut % 2)])
    (folder / "config.json").write_text('{"architecture": "x"}')
    network = torch.nn.Linear(4, 4)
    network.register_buffer("count", torch.tensor(0))
    with contextlib.suppress(WeightsError):
        load_tensors(network, open_folder(folder).tensors(), source="there")
        assert network.weight.isfinite().all()


def test_weights_can_be_read_by_whom_their_config_can_be_read(tmp_path):
    save_folder(tmp_path, {"a": torch.ones(2)}, {})
    save_folder(tmp_path, {"a": torch.ones(2)}, {})
    modes = {path.name: path.stat().st_mode for path in tmp_path.iterdir()}
    assert modes["model.safetensors"] == modes["config.json"]


@pytest.mark.parametrize(("side", "pool"), [(224, 7), (64, 2), (65, 3), (288, 9)])
def test_the_pooled_maps_size_follows_the_images(side, pool):
    cfg = {"input_size": (3, 224, 224), "pool_size": (7, 7)}
    assert pool_size_at(cfg, (3, side, 224)) == {"pool_size": [pool, 7]}
    assert pool_size_at({"input_size": (3, 224, 224), "pool_size": None}, (3, 64, 64)) == {}
