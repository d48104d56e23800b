"""What a stored config may ask of a network: options of its own signature, and nothing that leads elsewhere."""

import pytest
import torch
from torch import nn

from curriculum_zoo.errors import ModelError, WeightsError
from curriculum_zoo.models import create_model
from curriculum_zoo.models.builders import builder_of_entry, builder_of_timm
from curriculum_zoo.models.options import leads_elsewhere, options_of
from curriculum_zoo.registry import MODELS, Entry
from curriculum_zoo.weights.folder import save_folder


@pytest.fixture
def stored(tmp_path):
    """``stored(model, architecture, **options)``: the address of a folder with its weights and these ``model_args``."""

    def store(model, architecture, distribution=None, **options):
        facts = {"distribution": distribution} if distribution else {}
        config = {"architecture": architecture, "num_classes": 3, "model_args": options, "curriculum_zoo": facts}
        save_folder(tmp_path / architecture, model.state_dict(), config)
        return f"local-dir:{tmp_path / architecture}"

    return store


@pytest.fixture(scope="module")
def pyramid():
    return create_model("glimpse_pyramid", num_classes=3, backbone="resnet20_cifar", base_size=16)


@pytest.mark.parametrize("pretrained", [True, False])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        # resnet20_cifar's released weights lie in the package, so nothing but the check keeps these from being loaded.
        ({"pretrained_backbone": True}, "'pretrained_backbone'"),
        ({"backbone_options": {"pretrained_cfg": {"file": "/etc/passwd"}}}, "'pretrained_cfg'"),
        ({"backbone_options": {"checkpoint_path": "x.pt"}}, "'checkpoint_path'"),
        ({"backbone": "hf-hub:ada/net"}, "'hf-hub:ada/net'"),
        ({"backbone": "local-dir:weights"}, "'local-dir:weights'"),
        ({"backbone": "../weights"}, r"'\.\./weights'"),
        ({"checkpoint_path": "/tmp/x.pt"}, "'checkpoint_path'"),
        ({"warm_start": "timm/resnet18"}, "'warm_start'"),
        ({"cache_dir": "somewhere"}, "'cache_dir'"),
        ({"device": "meta"}, "'device'"),
        ({"features_only": True}, "'features_only'"),
        ({"pretrained": True}, "'pretrained'"),
    ],
)
def test_no_config_leads_to_other_weights_to_files_or_to_half_a_network(stored, pyramid, options, named, pretrained):
    address = stored(pyramid, "glimpse_pyramid", **{"backbone": "resnet20_cifar", "base_size": 16, **options})
    with pytest.raises(WeightsError, match=f"glimpse_pyramid: its config .*{named}.*Get it again"):
        create_model(address, pretrained=pretrained)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("glimpse_pyramid", {"backbone": "resnet20_cifar", "base_size": 16, "grid": 2, "backbone_options": {}}),
        ("hiresnet20_cifar", {"side": "both", "sources": "all", "drop_path_rate": 0.1, "act_layer": "gelu"}),
        ("simple_cnn", {"img_size": 20, "hidden_size": 8}),
        ("test_vit", {"img_size": 96, "drop_path_rate": 0.1, "weight_init": "jax"}),
        ("test_efficientnet", {"bn_eps": 1e-4, "drop_rate": 0.1}),
    ],
)
def test_a_networks_own_options_come_back_from_its_config(stored, architecture, options):
    ours = architecture in MODELS.names()
    made = create_model(architecture if ours else f"timm/{architecture}", num_classes=3, **options)
    again = create_model(stored(made, architecture, **options), pretrained=True)
    assert made.state_dict().keys() == again.state_dict().keys()
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in made.state_dict().items())


@pytest.mark.parametrize("architecture", ["hiresnet20_cifar", "test_resnet"])
def test_an_option_that_is_not_in_the_signature_is_refused_by_name(stored, architecture):
    ours = architecture in MODELS.names()
    made = create_model(architecture if ours else f"timm/{architecture}", num_classes=3)
    with pytest.raises(ModelError, match=r"takes no option 'kwargs_filter'\. Build the network yourself.*warm_start="):
        create_model(stored(made, architecture, kwargs_filter=["x"]), pretrained=True)


def test_a_plugins_own_options_are_those_of_its_class_and_its_bases(stored, monkeypatch):
    class Base(nn.Module):
        def __init__(self, num_classes=3, in_chans=3, depth=1):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(2, num_classes) for _ in range(depth))

    class Plugged(Base):
        def __init__(self, width=4, **kwargs):
            super().__init__(**kwargs)
            self.wide = nn.Linear(2, width)

    def plugged(pretrained=False, **kwargs):
        assert not pretrained
        return Plugged(**kwargs)

    entry = Entry("model", "plugged", "some-plugin", "1", "some:plugged", lambda: plugged)
    monkeypatch.setattr(MODELS, "_session", {"plugged": entry})
    assert {"width", "depth", "num_classes"} <= options_of(builder_of_entry(entry))
    made = Plugged(width=6, depth=2)
    again = create_model(stored(made, "plugged", "some-plugin", width=6, depth=2), pretrained=True)
    assert torch.equal(again.wide.weight, made.wide.weight)
    with pytest.raises(WeightsError, match="'weights_url'"):
        create_model(stored(made, "plugged", "some-plugin", weights_url="x"), pretrained=True)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "test_convnext", "test_byobnet"])
def test_no_option_of_a_network_of_timms_but_placement_is_kept_from_configs(name):
    allowed = options_of(builder_of_timm(name))
    assert {"num_classes", "in_chans", "drop_rate"} <= allowed
    refused = {option for option in allowed if leads_elsewhere(option)}
    assert refused <= {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay"}


def test_names_like_places_are_told_from_those_that_only_sound_so():
    elsewhere = ("pretrained_backbone", "checkpoint_path", "cfg_file", "hf_hub_id", "url", "init_weights", "state_dict")
    assert all(map(leads_elsewhere, elsewhere))
    own = (
        "drop_path_rate",
        "stochastic_drop_path",
        "weight_init",
        "use_checkpoint",
        "pretrained_window_sizes",
        "paths",
    )
    assert not any(map(leads_elsewhere, own))
