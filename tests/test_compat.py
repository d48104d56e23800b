"""What other packages keep private: nowhere but in `compat`, and there it still holds in the versions installed."""

import ast
from pathlib import Path

import pytest
import timm
from accelerate import Accelerator
from torch import nn

import curriculum_zoo
from curriculum_zoo import compat

PACKAGE = Path(curriculum_zoo.__file__).parent
SOURCES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "compat.py"]


DOCUMENTED = {"os._exit"}
"""Names that Python documents in spite of their underscore."""


def private(name):
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def private_uses(tree):
    """Every private name of another package that a module imports, or reaches through something it imports."""
    found, foreign = [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if any(map(private, alias.name.split(".")))]
            foreign |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module != "__future__":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in names if any(map(private, name.split(".")))]
            foreign |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr):
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in foreign:
                found.append(ast.unparse(node))
    return [name for name in found if name not in DOCUMENTED]


def test_no_other_module_touches_what_another_package_keeps_private():
    uses = {path: private_uses(ast.parse(path.read_text(encoding="utf-8"))) for path in SOURCES}
    assert len(uses) > 100
    assert {str(path.relative_to(PACKAGE)): found for path, found in uses.items() if found} == {}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from timm.models._features import x", ["timm.models._features.x"]),
        ("from torch.nn.modules.batchnorm import _BatchNorm", ["torch.nn.modules.batchnorm._BatchNorm"]),
        ("import torch\ntorch.cpu._is_supported()", ["torch.cpu._is_supported"]),
        ("def f():\n    from accelerate.state import State\n    State._reset()", ["State._reset"]),
        ("from ._own import _mine\nself._x\n_mine._y\nimport torch\ntorch.__version__", []),
    ],
)
def test_the_search_for_private_names_finds_them(code, found):
    assert private_uses(ast.parse(code)) == found


def test_indices_of_features_mean_what_they_mean_to_timm():
    assert compat.take_feature_indices(5, None) == ([0, 1, 2, 3, 4], 4)
    assert compat.take_feature_indices(5, 2) == ([3, 4], 4)
    assert compat.take_feature_indices(5, (0, -2)) == ([0, 3], 3)


def test_every_batchnorm_of_timms_is_one():
    norms = [module for module in timm.create_model("test_efficientnet").modules() if "BatchNorm" in repr(type(module))]
    assert norms
    assert all(isinstance(norm, compat.batch_norms()) for norm in norms)
    assert not isinstance(nn.LayerNorm(3), compat.batch_norms())
    assert {nn.BatchNorm1d, nn.BatchNorm3d, nn.SyncBatchNorm} <= set(compat.batch_norms())


def test_options_are_where_timm_writes_a_config_from():
    network = nn.Linear(2, 2)
    assert compat.building_options(network) == {}
    compat.record_building_options(network, {"depth": 2})
    compat.record_building_options(network, {"depth": 3})
    assert timm.models.get_model_args(network) == compat.building_options(network) == {"depth": 2}
    compat.record_building_options(network, {"depth": 3}, replace=True)
    assert compat.building_options(network) == {"depth": 3}


def test_one_process_can_have_an_accelerator_of_another_precision():
    for precision in ("no", "bf16", "no"):
        compat.reset_accelerator_state()
        assert Accelerator(mixed_precision=precision, cpu=True).mixed_precision == precision


def test_the_hubs_cache_tells_commit_and_digest(hub):
    from huggingface_hub import hf_hub_download

    commit = hub.put("ada/net", {"config.json": "{}", "model.safetensors": b"tensors"})
    config, large = (Path(hf_hub_download("ada/net", name)) for name in ("config.json", "model.safetensors"))
    assert compat.commit_in_hub_cache(config) == compat.commit_in_hub_cache(large) == commit
    assert compat.sha256_in_hub_cache(large) == hub.commits("ada/net")[0]["files"]["model.safetensors"]["sha256"]
    assert compat.sha256_in_hub_cache(config) is None
    assert compat.commit_in_hub_cache(Path(__file__)) is None


def test_importing_it_loads_no_package(python):
    code = """
        import json, sys
        import curriculum_zoo.compat
        print(json.dumps(sorted({"torch", "timm", "accelerate", "huggingface_hub"} & sys.modules.keys())))
    """
    assert python(code) == []
