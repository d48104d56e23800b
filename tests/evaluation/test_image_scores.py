"""Scores by image that a trained network gives, and trainings that choose by them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from curriculum_zoo import Recipe, create_model, train
from curriculum_zoo.cli import main
from curriculum_zoo.curricula.samples.score_file import read_scores
from curriculum_zoo.data import open_dataset
from curriculum_zoo.data.loading.label_noise import noisy_labels
from curriculum_zoo.errors import DataError
from curriculum_zoo.evaluation.image_scores import score_images
from curriculum_zoo.evaluation.trained_network import load_trained_network


def test_scores_are_those_of_the_network_on_every_training_image(finished_run, quadrants):
    scored = score_images(finished_run, by="loss", device="cpu", batch_size=100)
    data, trained = open_dataset(f"npz:{quadrants}"), load_trained_network(finished_run, which="last", device="cpu")
    images = torch.from_numpy(data.train_images).permute(0, 3, 1, 2).float() / 255
    network = create_model("simple_cnn", num_classes=4, image_size=16)
    network.load_state_dict(load_file(finished_run / "last" / "model.safetensors"))
    logits = network.eval()(trained.normalize(images)).detach()
    expected = F.cross_entropy(logits, torch.from_numpy(data.train_labels), reduction="none")
    torch.testing.assert_close(scored.scores, expected, rtol=1e-3, atol=1e-4)
    assert (scored.by, scored.data) == ("loss", data.fingerprint)


def test_the_command_line_scores_a_run_and_a_training_prunes_by_it(finished_run, quadrants, tmp_path, capsys):
    file = tmp_path / "el2n.npz"
    assert main(["score", str(finished_run), "--by", "el2n", "--output", str(file), "--device", "cpu"]) == 0
    assert "el2n of 320 images" in capsys.readouterr().out
    stored = read_scores(file)
    assert 0 <= float(stored.scores.min()) <= float(stored.scores.max()) <= 2**0.5
    recipe = Recipe(model="simple_cnn", data=f"npz:{quadrants}", epochs=1, batch_size=32)
    result = train(recipe.changed({"curriculum": f"prune(scores='{file}')"}), output=tmp_path / "run", device="cpu")
    assert result.metrics[0]["images"] == 128  # 144 of 288, in whole batches


def test_forgetting_is_what_a_run_counted_and_labels_are_those_it_learned(quadrants, tmp_path, capsys):
    recipe = Recipe(model="simple_cnn", data=f"npz:{quadrants}", epochs=3, batch_size=32, label_noise=0.3)
    train(recipe.changed({"curriculum": "watch(by=[forgetting,loss])"}), output=tmp_path / "run", device="cpu")
    assert main(["score", str(tmp_path / "run"), "--by", "forgetting", "--device", "cpu"]) == 0
    scores = read_scores(tmp_path / "run" / "scores" / "forgetting.npz").scores
    data = open_dataset(f"npz:{quadrants}")
    training, held_out = data.split(0.1, seed=0)
    assert bool(scores[held_out].isnan().all())
    known = scores[training][scores[training].isfinite()]
    assert set(known.tolist()) <= {0.0, 1.0}
    own = score_images(tmp_path / "run", device="cpu").scores.numpy()
    wrong = noisy_labels(data.train_labels, training, 0.3, 4, 0) != data.train_labels
    assert 60 < wrong.sum() < 115
    assert np.mean(own[wrong]) > np.mean(own[~wrong])
    capsys.readouterr()


def test_what_cannot_be_scored_is_refused_with_the_remedy(finished_run):
    with pytest.raises(DataError, match=r"watch\(by=\[forgetting\]\)"):
        score_images(finished_run, by="forgetting", device="cpu")
