"""Networks from the Hub, over HTTP: whole or not at all, of one commit, from the cache where possible; clear errors."""

import errno
import json
import os
import pickle
import subprocess
import sys
import textwrap

import pytest
import timm
import torch
from hub_store import GITATTRIBUTES
from huggingface_hub import constants
from safetensors.torch import load, save
from torch import nn

from curriculum_zoo.errors import ModelError, UnknownNameError, WeightsError
from curriculum_zoo.evaluation.trained_network import load_trained_network
from curriculum_zoo.models import create_model
from curriculum_zoo.registry import MODELS, Entry
from curriculum_zoo.weights import preprocess
from curriculum_zoo.weights.address import Address
from curriculum_zoo.weights.download import Repository, open_repository
from curriculum_zoo.weights.folder import model_config, save_folder

IMAGES = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
CLASSES = ("ant", "bee", "cat")


def network(seed=0, architecture="simple_cnn", **options):
    torch.manual_seed(seed)
    return create_model(architecture, num_classes=3, **options).eval()


def laid_out(model, tmp_path, architecture="simple_cnn", classes=CLASSES, facts=None, **options):
    """The files of a repository of a network's."""
    config = model_config(
        model,
        architecture=architecture,
        options=options,
        input_size=(3, 24, 24),
        mean=(0.5, 0.4, 0.3),
        std=(0.25, 0.2, 0.1),
        classes=classes,
        facts=facts or {"distribution": "curriculum-zoo"},
    )
    save_folder(tmp_path / "laid_out", model.state_dict(), config)
    return {name: (tmp_path / "laid_out" / name).read_bytes() for name in ("config.json", "model.safetensors")}


@pytest.fixture
def files(tmp_path):
    return laid_out(network(img_size=24), tmp_path, img_size=24)


@pytest.fixture
def commit(hub, files):
    return hub.put("ada/net", files, tag="v1")


@pytest.fixture
def patient(monkeypatch):
    """The client waits between its attempts; tests need not."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)


def changed(files, **fields):
    """The files with another config; its tensors' digest is forgotten with the rest of ``curriculum_zoo``."""
    config = json.loads(files["config.json"]) | {"curriculum_zoo": {}} | fields
    return files | {"config.json": json.dumps(config)}


def outputs(model):
    with torch.no_grad():
        return model.eval()(IMAGES)


def downloads(hub):
    return [path for method, path in hub.requests if method == "GET" and "/resolve/" in path]


@pytest.fixture(scope="module")
def expected():
    return outputs(network(img_size=24))


@pytest.mark.parametrize("revision", ["", "@main", "@v1", "@commit"])
def test_a_network_comes_from_the_hub_with_its_classes_and_preprocessing(hub, commit, expected, revision):
    name = "hf-hub:ada/net" + revision.replace("commit", commit)
    model = create_model(name, pretrained=True)
    assert torch.equal(outputs(model), expected)
    assert model.class_names == CLASSES
    assert model.pretrained_cfg["mean"] == [0.5, 0.4, 0.3]
    assert preprocess.load_preprocess(name).input_size == (3, 24, 24)
    trained = load_trained_network(name, device="cpu")
    assert (trained.classes, trained.input_size) == (CLASSES, (3, 24, 24))
    assert [path.rpartition("/")[2] for path in downloads(hub)] == ["config.json", "model.safetensors"]


def test_config_and_tensors_are_of_one_commit_whatever_the_branch_does(hub, commit, files, expected, tmp_path):
    weights = Address.parse("hf-hub:ada/net").resolve()
    assert weights.name == f"hf-hub:ada/net@{commit}"
    later = hub.put("ada/net", laid_out(network(seed=1, img_size=24), tmp_path, img_size=24))
    assert torch.equal(weights.tensors()["fc1.weight"], load(files["model.safetensors"])["fc1.weight"])
    assert Address.parse("hf-hub:ada/net").resolve().name == f"hf-hub:ada/net@{later}"
    assert torch.equal(outputs(create_model(weights.name, pretrained=True)), expected)


def test_without_weights_only_the_config_is_fetched(hub, commit, expected):
    model = create_model("hf-hub:ada/net")
    assert model.training
    assert (model.num_classes, model.class_names) == (3, CLASSES)
    assert not torch.equal(outputs(model), expected)
    assert not [path for _, path in hub.requests if "safetensors" in path]


def test_another_number_of_classes_or_channels_adapts_as_in_timm(hub, commit, files):
    model = create_model("hf-hub:ada/net", pretrained=True, num_classes=7, in_chans=1)
    stored = load(files["model.safetensors"])
    assert model.fc2.out_features == 7
    assert not hasattr(model, "class_names")
    assert torch.equal(model.fc1.weight, stored["fc1.weight"])
    torch.testing.assert_close(model.conv1.weight, stored["conv1.weight"].sum(1, keepdim=True))
    theirs = timm.create_model("hf-hub:ada/net", pretrained=True, num_classes=7, in_chans=5)
    assert torch.equal(create_model("hf-hub:ada/net", pretrained=True, in_chans=5).conv1.weight, theirs.conv1.weight)


def test_options_reach_a_network_from_the_hub(hub, commit):
    assert create_model("hf-hub:ada/net", pretrained=True, drop_rate=0.25).drop_rate == 0.25
    with pytest.raises(ModelError, match=r"hf-hub:ada/net.*takes no option 'colour'"):
        create_model("hf-hub:ada/net", colour="red")
    features = create_model("hf-hub:ada/net", pretrained=True, features_only=True, out_indices=(0, 1))
    assert [tensor.shape[1] for tensor in features(IMAGES)] == [32, 64]


def test_plain_timm_loads_our_repositories(hub, commit, expected):
    assert torch.equal(outputs(timm.create_model("hf-hub:ada/net@v1", pretrained=True)), expected)


def test_a_warm_start_from_the_hub_takes_the_plain_twins_weights(hub, tmp_path):
    plain = network(architecture="resnet20_cifar")
    hub.put("ada/plain", laid_out(plain, tmp_path, architecture="resnet20_cifar"))
    warm = create_model("hiresnet20_cifar", num_classes=3, warm_start="hf-hub:ada/plain").eval()
    torch.testing.assert_close(outputs(warm), outputs(plain))
    assert warm.pretrained_cfg["mean"] == [0.5, 0.4, 0.3]


# -- timm's own repositories ------------------------------------------------------------------------------------------


def timms(hub, architecture, tmp_path, state=None, **config):
    """A repository as timm writes it; its network."""
    torch.manual_seed(0)
    model = timm.create_model(architecture, num_classes=3).eval()
    timm.models.save_for_hf(model, tmp_path / "timms", model_config=config, safe_serialization=True)
    folder = tmp_path / "timms"
    tensors = save(state(model.state_dict())) if state else (folder / "model.safetensors").read_bytes()
    hub.put("ada/timms", {"config.json": (folder / "config.json").read_bytes(), "model.safetensors": tensors})
    return model


@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
def test_timms_repositories_load(hub, tmp_path, architecture):
    theirs = timms(hub, architecture, tmp_path, label_names=list(CLASSES))
    size = theirs.pretrained_cfg["input_size"]
    ours = create_model("hf-hub:ada/timms", pretrained=True).eval()
    images = torch.rand(2, *size)
    assert torch.equal(ours(images), theirs(images))
    assert ours.class_names == CLASSES
    fewer = create_model("hf-hub:ada/timms", pretrained=True, num_classes=2, in_chans=1)
    assert fewer.eval()(images[:, :1]).shape == (2, 2)
    assert not torch.equal(create_model("hf-hub:ada/timms").eval()(images), theirs(images))


def facebooks(state):
    """A ConvNeXt's tensors under the names that its authors gave them."""
    renames = (
        ("stem.", "downsample_layers.0."), (".blocks.", "."), (".mlp.fc", ".pwconv"), (".conv_dw.", ".dwconv."),
        ("head.norm.", "norm."), ("head.fc.", "head."),
    )  # fmt: skip
    given = {}
    for name, tensor in state.items():
        for stage in "123":
            name = name.replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
        for ours, theirs in renames:
            name = name.replace(ours, theirs)
        given[name] = tensor
    return given


def test_tensors_in_an_older_layout_are_translated_by_timm(hub, tmp_path):
    theirs = timms(hub, "test_convnext", tmp_path, facebooks)
    images = torch.rand(2, *theirs.pretrained_cfg["input_size"])
    ours = create_model("hf-hub:ada/timms", pretrained=True).eval()
    torch.testing.assert_close(ours(images), theirs(images))
    fewer = create_model("hf-hub:ada/timms", pretrained=True, num_classes=2).eval()
    torch.testing.assert_close(fewer.forward_features(images), theirs.forward_features(images))


def test_tensors_that_timm_cannot_translate_either_are_refused(hub, tmp_path):
    def one_missing(state):
        return {name: tensor for name, tensor in facebooks(state).items() if name != "stages.1.0.dwconv.bias"}

    timms(hub, "test_convnext", tmp_path, one_missing)
    for classes in (None, 2):
        with pytest.raises(
            WeightsError, match=r"do not fit timm's 'test_convnext'.*stages\.1\.blocks\.0\.conv_dw\.bias"
        ):
            create_model("hf-hub:ada/timms", pretrained=True, num_classes=classes)


def test_positions_are_resampled_for_another_image_size_as_timm_does(hub, tmp_path):
    timms(hub, "test_vit", tmp_path)
    ours = create_model("hf-hub:ada/timms", pretrained=True, img_size=96)
    theirs = timm.create_model("hf-hub:ada/timms", pretrained=True, img_size=96)
    assert torch.equal(ours.pos_embed, theirs.pos_embed)


def test_timms_older_configs_are_understood(hub, tmp_path):
    theirs = timms(hub, "test_resnet", tmp_path)
    config = json.loads(hub.files("ada/timms")["config.json"])
    old = {"architecture": "test_resnet", "num_features": 256, **config["pretrained_cfg"], "labels": list(CLASSES)}
    hub.put("ada/timms", {"config.json": json.dumps(old)})
    ours = create_model("hf-hub:ada/timms", pretrained=True).eval()
    images = torch.rand(2, *theirs.pretrained_cfg["input_size"])
    assert torch.equal(ours(images), theirs(images))
    assert ours.class_names == CLASSES


# -- cache ------------------------------------------------------------------------------------------------------------


def test_a_warm_cache_needs_no_server(hub, commit, expected, monkeypatch):
    create_model("hf-hub:ada/net@v1", pretrained=True)
    hub.stop()
    assert torch.equal(outputs(create_model("hf-hub:ada/net@v1", pretrained=True)), expected)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert torch.equal(outputs(create_model("hf-hub:ada/net@v1", pretrained=True)), expected)
    with pytest.raises(WeightsError, match=r"hf-hub:ada/net: config.json is not in the cache.*HF_HUB_OFFLINE=1"):
        create_model("hf-hub:ada/net", pretrained=True)


def test_a_warm_cache_is_asked_no_more_than_what_the_branch_points_to(hub, commit):
    create_model("hf-hub:ada/net", pretrained=True)
    before = len(hub.requests)
    create_model("hf-hub:ada/net", pretrained=True)
    assert hub.requests[before:] == [("HEAD", "/ada/net/resolve/main/config.json")]
    create_model(f"hf-hub:ada/net@{commit}", pretrained=True)
    assert len(hub.requests) == before + 1


def processes(code, count, environment):
    """Run code in so many processes at once; what each prints as JSON."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    started = [
        subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(count)
    ]
    finished = [process.communicate(timeout=300) for process in started]
    assert all(process.returncode == 0 for process in started), finished
    return [json.loads(out) for out, _ in finished]


def test_processes_that_fetch_one_file_at_once_all_get_it_whole(hub):
    content = bytes(range(256)) * 40_000
    hub.put("ada/large", {"model.safetensors": content, "config.json": '{"architecture": "simple_cnn"}'})
    code = """
        import json
        from curriculum_zoo.weights.download import open_repository
        from curriculum_zoo.weights.stored import sha256_of
        print(json.dumps(sha256_of(open_repository("ada/large").locate(False))))
    """
    digests = processes(code, 3, hub.environment)
    (entry,) = (e for e in hub.commits("ada/large")[0]["files"].items() if e[0] == "model.safetensors")
    assert digests == [entry[1]["sha256"]] * 3


@pytest.mark.slow
def test_processes_that_load_one_network_at_once_and_then_offline_agree(hub, commit, expected):
    code = """
        import json, torch
        from curriculum_zoo import create_model
        images = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            print(json.dumps(create_model("hf-hub:ada/net", pretrained=True).eval()(images).tolist()))
    """
    together = processes(code, 3, hub.environment)
    hub.stop()
    alone = processes(code, 1, {**hub.environment, "HF_HUB_OFFLINE": "1"})
    for result in together + alone:
        torch.testing.assert_close(torch.tensor(result), expected)


# -- transfers that go wrong ------------------------------------------------------------------------------------------


def test_a_connection_cut_in_the_middle_is_resumed(hub, commit, expected, patient):
    hub.cut("resolve/.*safetensors", after=5000, times=2)
    assert torch.equal(outputs(create_model("hf-hub:ada/net", pretrained=True)), expected)


def test_a_file_of_the_right_size_with_wrong_bytes_is_fetched_again(hub, commit, expected):
    hub.garble("resolve/.*safetensors")
    assert torch.equal(outputs(create_model("hf-hub:ada/net", pretrained=True)), expected)


def test_a_file_that_stays_wrong_is_refused_and_heals_later(hub, commit, expected, monkeypatch):
    hub.garble("resolve/.*safetensors", times=None)
    with pytest.raises(WeightsError, match=r"model\.safetensors is not the file.*SHA-256"):
        create_model("hf-hub:ada/net", pretrained=True)
    with monkeypatch.context() as offline:
        offline.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(WeightsError, match="SHA-256"):
            create_model("hf-hub:ada/net", pretrained=True)
    hub.faults.clear()
    assert torch.equal(outputs(create_model("hf-hub:ada/net", pretrained=True)), expected)


def test_the_configs_own_digest_counts_too(hub, files, tmp_path):
    other = laid_out(network(seed=1, img_size=24), tmp_path, img_size=24)
    hub.put("ada/net", {"config.json": files["config.json"], "model.safetensors": other["model.safetensors"]})
    with pytest.raises(WeightsError, match="SHA-256"):
        create_model("hf-hub:ada/net", pretrained=True)


def test_a_server_that_fails_for_a_moment_is_asked_again(hub, commit, expected, patient):
    hub.fail("resolve/.*config.json", status=503, times=3)
    assert torch.equal(outputs(create_model("hf-hub:ada/net", pretrained=True)), expected)


@pytest.mark.parametrize(
    ("status", "told"), [(500, "failed to send config.json .HTTP 500"), (429, "too many requests")]
)
def test_a_server_that_keeps_failing_is_one_error(hub, commit, patient, status, told):
    hub.fail("resolve/.*config.json", status=status, times=None)
    with pytest.raises(WeightsError, match=f"hf-hub:ada/net: .*{told}"):
        create_model("hf-hub:ada/net", pretrained=True)


def test_no_network_is_one_error(hub, commit, patient):
    hub.stop()
    with pytest.raises(WeightsError, match=r"cannot be reached, and config\.json is not in the cache"):
        create_model("hf-hub:ada/net", pretrained=True)


def test_a_full_disk_is_one_error(hub, commit, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(WeightsError, match=r"no space is left in .*hf_home.*Make room, or set HF_HOME"):
        create_model("hf-hub:ada/net", pretrained=True)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
@pytest.mark.parametrize(
    "where", ["huggingface_hub.file_download.http_get", "huggingface_hub.file_download.os.makedirs"]
)
def test_a_cache_that_may_only_be_read_is_told_as_what_it_is(hub, commit, monkeypatch, code, where):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code), "cache")

    monkeypatch.setattr(where, refuse)
    with pytest.raises(WeightsError, match=r"the cache cannot be written to: .*'cache'\. Set HF_HOME to a folder"):
        create_model("hf-hub:ada/net", pretrained=True)


def test_a_cache_below_a_file_is_told_as_what_it_is(hub, commit, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(WeightsError, match=r"the cache cannot be written to: .*file"):
        create_model("hf-hub:ada/net", pretrained=True, cache_dir=tmp_path / "file" / "cache")


# -- repositories that are not for everyone, or for nobody ------------------------------------------------------------


def test_what_may_not_be_read_or_is_not_there_is_one_error_each(hub, files, monkeypatch):
    hub.put("grace/net", files)
    hub.settings("grace/net", gated=True)
    with pytest.raises(WeightsError, match=r"hf-hub:grace/net: access .*granted by its owner"):
        create_model("hf-hub:grace/net", pretrained=True)
    hub.settings("grace/net", private=True)
    for name in ("grace/net", "grace/none"):
        with pytest.raises(WeightsError, match=f"there is no repository '{name}', or it is private.*hf auth login"):
            create_model(f"hf-hub:{name}", pretrained=True)
    hub.settings("grace/net", private=False, granted=["ada"])
    assert create_model("hf-hub:grace/net", pretrained=True).num_classes == 3
    hub.put("ada/own", files)
    hub.settings("ada/own", private=True)
    assert create_model("hf-hub:ada/own", pretrained=True).num_classes == 3
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(WeightsError, match="or it is private"):
        create_model("hf-hub:ada/own", pretrained=True, cache_dir=hub.cache / "another")


def test_a_renamed_repository_loads_by_its_old_name(hub, commit, files, expected):
    hub.put("ada/new", files)
    hub.settings("ada/net", moved_to="ada/new")
    assert torch.equal(outputs(create_model("hf-hub:ada/net", pretrained=True)), expected)


@pytest.mark.parametrize("revision", ["v2", "0" * 40, "feature/x"])
def test_a_wrong_revision_is_one_error(hub, commit, revision):
    with pytest.raises(WeightsError, match=f"hf-hub:ada/net@{revision}: the repository has no revision '{revision}'"):
        create_model(f"hf-hub:ada/net@{revision}", pretrained=True)


@pytest.mark.parametrize(
    "name", ["ada/net@", "ada/net@a@b", "ada/../net", "", "a/b/c", "https://hub/ada/net", "ada/-net-"]
)
def test_what_is_no_name_of_a_repository_is_one_error(hub, name):
    with pytest.raises(WeightsError, match=r"no (repository of the Hub's|name the Hub knows)"):
        create_model(f"hf-hub:{name}", pretrained=True)
    assert not hub.requests


def test_a_repository_without_config_or_tensors_is_one_error(hub, files):
    hub.put("ada/empty", {"README.md": "# Empty"})
    with pytest.raises(WeightsError, match=r"ada/empty: the repository holds no config\.json"):
        create_model("hf-hub:ada/empty", pretrained=True)
    hub.put("ada/half", {"config.json": files["config.json"]})
    with pytest.raises(WeightsError, match=r"ada/half@\w+: the repository holds no model\.safetensors\. Choose"):
        create_model("hf-hub:ada/half", pretrained=True)


class Trap:
    """What runs code where it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch trapped",)


def test_pickled_weights_are_not_read(hub, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hub.put("ada/pickled", {"config.json": files["config.json"], "pytorch_model.bin": pickle.dumps(Trap())})
    with pytest.raises(WeightsError, match=r"It holds pytorch_model\.bin, but a pickle could run code"):
        create_model("hf-hub:ada/pickled", pretrained=True)
    assert not (tmp_path / "trapped").exists()
    assert not [path for _, path in hub.requests if path.endswith(".bin")]


# -- repositories with evil or mistaken content -----------------------------------------------------------------------


def test_hostile_names_of_other_files_do_no_harm(hub, files, expected, tmp_path):
    names = ["../../../evil.txt", "/etc/evil", "a\\..\\..\\evil", "con/aux", ".git/config", "x" * 255, "\u202e.gpj"]
    hub.put("ada/net", {**files, **dict.fromkeys(names, b"evil")})
    assert torch.equal(outputs(create_model("hf-hub:ada/net", pretrained=True)), expected)
    found = {path.name for path in (tmp_path / "hf_home").rglob("*") if path.is_file()}
    assert not [name for name in found if "evil" in name or name.endswith("gpj")]
    assert ".gitattributes" not in found


def test_a_link_on_the_hub_is_a_text_and_no_config(hub, files):
    hub.put("ada/net", {**files, "config.json": "../../../../etc/passwd"})
    with pytest.raises(WeightsError, match=r"config\.json is no JSON"):
        create_model("hf-hub:ada/net", pretrained=True)
    hub.put("ada/net", {**changed(files), "model.safetensors": "/etc/passwd"})
    with pytest.raises(WeightsError, match=r"model\.safetensors is damaged"):
        create_model("hf-hub:ada/net", pretrained=True)


@pytest.mark.parametrize(
    ("fields", "error", "told"),
    [
        ({"architecture": "os.system"}, UnknownNameError, r"os\.system"),
        ({"architecture": "../../evil"}, UnknownNameError, "evil"),
        ({"architecture": "hf-hub:ada/other"}, UnknownNameError, "hf-hub:ada/other"),
        ({"architecture": "local-dir:/etc"}, UnknownNameError, "local-dir:/etc"),
        ({"architecture": ""}, WeightsError, "names no architecture"),
        ({"architecture": "timm/resnet18"}, UnknownNameError, "timm/resnet18"),
        ({"architecture": ["simple_cnn"]}, WeightsError, "names no architecture"),
        ({"num_classes": 10**9}, WeightsError, "num_classes is 1000000000"),
        ({"num_classes": True}, WeightsError, "num_classes is True"),
        ({"num_classes": -1}, WeightsError, "num_classes is -1"),
        ({"num_classes": 4, "label_names": None}, WeightsError, r"fc2.bias has shape \[3\], expected \[4\]"),
        ({"model_args": {"num_classes": 4}}, WeightsError, "num_classes is 3, and model_args.num_classes 4"),
        ({"model_args": {"num_classes": "3"}}, WeightsError, "num_classes is '3'"),
        ({"model_args": {"in_chans": 10**9}}, WeightsError, "in_chans is 1000000000"),
        ({"pretrained_cfg": {"input_size": [3, 10**9, 24]}}, WeightsError, "input_size is"),
        ({"pretrained_cfg": {"input_size": [3, 24, 24], "mean": [0, 0, float("nan")]}}, WeightsError, "mean is"),
        ({"pretrained_cfg": {"input_size": [3, 24, 24], "std": [1, 1, 1e999]}}, WeightsError, "std is"),
        ({"model_args": {"checkpoint_path": "/etc/passwd"}}, WeightsError, "'checkpoint_path'"),
        ({"model_args": {"pretrained_cfg": {"file": "/etc/passwd"}}}, WeightsError, "'pretrained_cfg'"),
        ({"model_args": {"hidden_size": -3}}, ModelError, "hidden_size"),
        ({"model_args": {"no_such": 1}}, ModelError, "takes no option 'no_such'"),
        ({"label_names": [{}, [], 3]}, WeightsError, "label_names or label_descriptions hold what is no name"),
        ({"label_descriptions": {"ant": 3}}, WeightsError, "hold what is no name"),
        ({"label_names": {"9": "x"}}, WeightsError, "label_names has indices"),
        ({"curriculum_zoo": {"sha256": "../x"}}, WeightsError, "sha256 is"),
        ({"curriculum_zoo": {"distribution": "a; rm -rf"}}, WeightsError, "distribution is"),
    ],
)
def test_a_config_that_asks_for_what_must_not_be_is_refused(hub, files, fields, error, told):
    hub.put("ada/net", changed(files, **fields))
    with pytest.raises(error, match=told):
        create_model("hf-hub:ada/net", pretrained=True)


def test_a_config_nested_without_end_is_refused(hub, files):
    hub.put("ada/net", {**files, "config.json": '{"architecture": ' + "[" * 100_000})
    with pytest.raises(WeightsError, match="is no JSON"):
        create_model("hf-hub:ada/net", pretrained=True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.pop("fc2.bias"), "fc2.bias is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "extra is not the network's"),
        (lambda t: t.update({"fc2.bias": torch.zeros(4)}), r"fc2.bias has shape \[4\], expected \[3\]"),
        (lambda t: t.update({"fc2.bias": torch.zeros(3, dtype=torch.complex64)}), "fc2.bias is torch.complex64"),
        (lambda t: t["fc1.bias"].fill_(float("nan")), "fc1.bias holds numbers that are not finite"),
        (lambda t: t.update({"fc1.bias": t["fc1.bias"].to(torch.float8_e4m3fn).fill_(torch.nan)}), "not finite"),
    ],
)
@pytest.mark.parametrize("classes", [None, 5])
def test_tensors_that_do_not_fit_are_refused(hub, files, change, told, classes):
    tensors = load(files["model.safetensors"])
    change(tensors)
    hub.put("ada/net", {**changed(files), "model.safetensors": save(tensors)})
    if classes and "fc2" in told:
        return  # the classifier of the weights is not asked for
    with pytest.raises(WeightsError, match=f"hf-hub:ada/net@.* do not fit SimpleCNN: .*{told}"):
        create_model("hf-hub:ada/net", pretrained=True, num_classes=classes)


# -- networks of plugins ----------------------------------------------------------------------------------------------


def test_a_network_of_a_plugin_loads_where_it_is_installed_and_else_says_which_to_install(hub, tmp_path, monkeypatch):
    def plugged(pretrained=False, num_classes=2, in_chans=3, width=4):
        return nn.Sequential(nn.Conv2d(in_chans, width, 24), nn.Flatten(), nn.Linear(width, num_classes))

    facts = {"distribution": "some-plugin"}
    hub.put("ada/plugged", laid_out(plugged(num_classes=3, width=5), tmp_path, "plugged", facts=facts, width=5))
    with pytest.raises(UnknownNameError, match=r"'plugged' is registered by the distribution 'some-plugin'.*pip"):
        create_model("hf-hub:ada/plugged", pretrained=True)
    entry = Entry("model", "plugged", "some-plugin", "1", "some:plugged", lambda: plugged)
    monkeypatch.setattr(MODELS, "_session", {"plugged": entry})
    model = create_model("hf-hub:ada/plugged", pretrained=True).eval()
    assert torch.equal(model[2].weight, load(hub.files("ada/plugged")["model.safetensors"])["2.weight"])
    hub.put("ada/session", laid_out(plugged(num_classes=3), tmp_path, "mine", facts={"distribution": "this session"}))
    with pytest.raises(UnknownNameError, match="'mine' was registered by @register_model in a session"):
        create_model("hf-hub:ada/session", pretrained=True)


def test_a_plugins_name_does_not_take_the_place_of_timms_own(hub, tmp_path, monkeypatch):
    theirs = timms(hub, "test_resnet", tmp_path)
    entry = Entry("model", "test_resnet", "some-plugin", "1", "some:plugged", lambda: lambda **_: nn.Identity())
    monkeypatch.setattr(MODELS, "_session", {"test_resnet": entry})
    assert type(create_model("hf-hub:ada/timms", pretrained=True)) is type(theirs)


# -- without networks -------------------------------------------------------------------------------------------------


def test_other_files_can_be_fetched_too(hub, commit):
    assert Repository("ada/net", commit).fetch(".gitattributes").read_bytes() == GITATTRIBUTES
    assert open_repository("ada/net").config["architecture"] == "simple_cnn"
