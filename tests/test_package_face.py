"""The package's face: curated, lazy, and light until something heavy is asked for."""

import pytest

import curriculum_zoo

LIGHT = """
    import json, sys

    import curriculum_zoo as zoo

    lists = [zoo.list_models(), zoo.list_curricula("t*"), zoo.list_datasets()]
    print(json.dumps({"lists": lists, "modules": sorted(sys.modules)}))
"""
HEAVY = {
    "torch",
    "timm",
    "torchvision",
    "numpy",
    "accelerate",
    "albumentations",
    "matplotlib",
    "rich",
    "huggingface_hub",
}


@pytest.fixture(scope="module")
def light(python):
    return python(LIGHT, CURRICULUM_ZOO_DISABLE_PLUGINS="1")


def test_importing_and_listing_loads_nothing_heavy(light):
    assert not HEAVY & set(light["modules"])
    assert "curriculum_zoo.registry" in light["modules"]


def test_lists_are_complete_without_any_import(light):
    models, curricula, datasets = light["lists"]
    assert {"hiresnet18", "hiresnet20_cifar", "resnet20_cifar", "simple_cnn"} <= set(models)
    assert curricula == ["trd"]
    assert {"cifar10", "cifar100", "demo", "fashion_mnist", "folder", "mnist", "npz"} <= set(datasets)


def test_every_public_name_resolves_and_is_the_same_object_ever_after():
    for name in curriculum_zoo.__all__:
        assert getattr(curriculum_zoo, name) is getattr(curriculum_zoo, name) is not None


def test_dir_tells_the_public_names():
    assert dir(curriculum_zoo) == sorted(curriculum_zoo.__all__)


def test_star_import_gives_the_public_names():
    names: dict[str, object] = {}
    exec("from curriculum_zoo import *", names)
    assert names.keys() - {"__builtins__"} == set(curriculum_zoo.__all__)


def test_an_unknown_attribute_is_an_ordinary_attribute_error():
    with pytest.raises(AttributeError, match="module 'curriculum_zoo' has no attribute 'create_modle'"):
        curriculum_zoo.create_modle  # noqa: B018
    assert not hasattr(curriculum_zoo, "_nothing")


def test_the_version_is_the_installed_distributions():
    from importlib.metadata import version

    assert curriculum_zoo.__version__ == version("curriculum-zoo")
