"""What a policy learns: to look where there is something to see, as often as it is told to."""

import numpy as np
import pytest
import torch

from curriculum_zoo.models import create_model
from curriculum_zoo.recipes import Recipe

STRIPES = ("vertical", "horizontal", "chequered", "plain")


def textured_patches(count, seed):
    """Gray images of 28 px with a patch of 8 px somewhere; its texture is its class, and gone at 14 px."""
    generator = np.random.default_rng(seed)
    row, column = np.mgrid[:8, :8]
    textures = [column % 2, row % 2, (row + column) % 2, np.full((8, 8), 0.5)]
    labels = generator.integers(0, 4, count)
    images = generator.integers(0, 16, (count, 28, 28, 1))
    for image, label, (top, left) in zip(images, labels, 2 * generator.integers(0, 11, (count, 2)), strict=True):
        image[top : top + 8, left : left + 8, 0] += (60 + 160 * textures[label]).astype(int)
    return images.astype(np.uint8), labels


@pytest.fixture
def patches(tmp_path):
    arrays = {}
    for seed, (part, count) in enumerate({"train": 4000, "test": 1000}.items()):
        arrays[f"x_{part}"], arrays[f"y_{part}"] = textured_patches(count, seed)
    np.savez(tmp_path / "patches.npz", **arrays, classes=np.array(STRIPES))
    return tmp_path / "patches.npz"


def accuracy(network, images, labels, attend):
    """Share of right answers, and attended locations per image."""
    torch.manual_seed(0)
    with torch.inference_mode():
        seen = network.eval().glimpse(images, attend=attend)
    return (seen.logits[-1].argmax(1) == labels).double().mean().item(), seen.attended().double().mean().item()


@pytest.mark.slow
def test_policy_comes_to_look_as_often_as_told_and_where_it_matters(patches, train):
    recipe = Recipe(
        model="glimpse_pyramid_m1", data=f"npz:{patches}", epochs=16, batch_size=64, normalize="none"
    ).changed(
        {
            "optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.0, "layer_lr_scale": {"location": 0.3}},
            "schedule": {"name": "step", "warmup": 0.0, "milestones": [0.8, 0.9], "gamma": 0.2},
            "glimpses": {"locations": 1.5},
        }
    )
    result = train(recipe)
    counts = [line["attended"] for line in result.metrics]
    assert all(abs(count - 1.5) < 0.2 for count in counts[-4:])
    network = create_model(f"local-dir:{result.folder / 'last'}", pretrained=True)
    images, labels = np.load(patches)["x_test"], torch.from_numpy(np.load(patches)["y_test"])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255

    def elsewhere(probabilities, level):
        """As many cells of each image as its own policy draws, at random places."""
        drawn = torch.rand_like(probabilities) < probabilities
        return drawn.gather(1, torch.rand_like(probabilities).argsort(1))

    own, attended = accuracy(network, pixels, labels, "sample")
    random, as_many = accuracy(network, pixels, labels, elsewhere)
    assert attended == pytest.approx(1.5, abs=0.2)
    assert as_many == pytest.approx(attended, abs=0.1)
    assert own > random + 0.2
    assert own > 0.8
