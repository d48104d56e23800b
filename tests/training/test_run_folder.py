"""Where a run goes that was given no folder."""

import pytest

from curriculum_zoo.training.recipe import Recipe
from curriculum_zoo.training.run_folder import RunFolder


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ("cifar10", "cifar10"),
        ("npz:/somewhere/far/cifar.npz", "cifar"),
        ("npz:cifar.npz", "cifar"),
        ("folder:a/photographs", "photographs"),
        ("folder:photographs", "folder_photographs"),
        ("mnist_canvas:noisy", "mnist_canvas_noisy"),
        ("fashion_mnist_canvas:noisy,size=112", "fashion_mnist_canvas_noisy_size_112"),
    ],
)
def test_a_folders_name_tells_model_data_curriculum_and_seed(data, named):
    recipe = Recipe(model="timm/resnet18", data=data, curriculum="trd(variant=regular)", seed=3)
    assert RunFolder.of(recipe).path.as_posix() == f"runs/timm_resnet18-{named}-trd_variant_regular-3"
