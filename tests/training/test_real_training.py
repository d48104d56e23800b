"""Training on real images: an epoch of CIFAR-10, and a folder of photographs."""

import os
from pathlib import Path

import pytest

from curriculum_zoo import Recipe, evaluate, load_recipe, predict, train

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def data_root():
    return Path(os.environ["CURRICULUM_ZOO_TEST_DATA"])


def test_shipped_recipe_learns_cifar10_within_two_epochs(data_root, tmp_path):
    recipe = load_recipe("resnet20_cifar-cifar10").changed({"data": f"npz:{data_root / 'cifar10.npz'}", "epochs": 2})
    result = train(recipe, output=tmp_path / "run")
    assert result.test["last"].top1 > 0.55
    (evaluation,) = evaluate(tmp_path / "run", recipe.data, which="last", precision=recipe.precision)
    assert evaluation.scores.top1 == pytest.approx(result.test["last"].top1, abs=0.002)


def test_photographs_in_folders_are_learnt_and_predicted(data_root, tmp_path):
    folder = data_root / "caltech256_10"
    recipe = Recipe(model="resnet18_cifar", data=f"folder:{folder}", image_size=32, epochs=4, batch_size=32)
    result = train(recipe, output=tmp_path / "run")
    assert result.test["best"].top1 > 0.25  # ten classes
    (prediction,) = predict(tmp_path / "run", [min(folder.rglob("*.jpg"))], top=10)
    assert sum(probability for _, probability in prediction.classes) == pytest.approx(1, abs=1e-5)
