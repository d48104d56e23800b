"""Networks that initialise themselves from training images: what they are given, when, and that it lasts."""

import pytest
import torch
from torch import nn

from curriculum_zoo import registry
from curriculum_zoo.training import prepare as preparing
from curriculum_zoo.training.prepare import prepare


class Shifted(nn.Module):
    """Takes the mean of the images it is given off those that it classifies."""

    def __init__(self, num_classes=4, in_chans=3):
        super().__init__()
        self.register_buffer("shift", torch.zeros(in_chans))
        self.given = []
        self.fc = nn.Linear(in_chans, num_classes)

    def init_from_data(self, images):
        self.given.append(images)
        self.shift.copy_(images.mean((0, 2, 3)))

    def forward(self, images):
        return self.fc(images.mean((2, 3)) - self.shift)


@pytest.fixture
def shifted(clean_registry):
    registry.register_model(name="shifted")(lambda pretrained=False, **options: Shifted(**options))
    return {"model": "shifted", "augmentation.flip": True, "ema_decay": 0.9}


def test_a_network_is_given_training_images_as_they_are_once(recipe, shifted):
    parts = prepare(recipe(shifted), device="cpu")
    [images] = parts.network.given
    expected = torch.as_tensor(parts.data_set.train_images[parts.train_indices]).permute(0, 3, 1, 2) / 255
    assert torch.allclose(images, parts.normalize(expected), atol=1e-6)
    assert torch.equal(parts.average.module.shift, parts.network.shift)


def test_as_many_images_as_the_paper_takes_are_enough(recipe, shifted, monkeypatch):
    monkeypatch.setattr(preparing, "INITIAL_IMAGES", 7)
    assert len(prepare(recipe(shifted), device="cpu").network.given[0]) == 7


def test_a_run_keeps_what_data_gave_and_weights_that_it_starts_from_are_left_alone(recipe, shifted, train, tmp_path):
    train(recipe(shifted), "run")
    kept = prepare(recipe({**shifted, "model": str(tmp_path / "run"), "pretrained": True}), device="cpu").network
    assert kept.given == []
    assert kept.shift.abs().sum() > 0


def test_airbench_whitens_its_training_images(recipe):
    network = prepare(recipe({"model": "airbench94"}), device="cpu").network
    other = prepare(recipe({"model": "airbench94", "seed": 5}), device="cpu").network
    assert torch.equal(network.whiten.weight, other.whiten.weight)
