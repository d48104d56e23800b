"""What a network confuses, against plain loops over single images."""

import numpy as np
import pytest
import torch

from curriculum_zoo import create_model
from curriculum_zoo.evaluation.evaluate import evaluate, evaluate_on
from curriculum_zoo.evaluation.examination import confusion_matrix, examine
from curriculum_zoo.evaluation.setup import open_evaluation


@pytest.fixture(scope="module")
def unlearnt(quadrants, tmp_path_factory):
    """The images of `quadrants` with wrong labels for every third one, so that mistakes are certain."""
    arrays = dict(np.load(quadrants))
    arrays["y_test"] = np.where(np.arange(80) % 3 == 0, (arrays["y_test"] + 1) % 4, arrays["y_test"])
    path = tmp_path_factory.mktemp("unlearnt") / "images.npz"
    np.savez(path, **arrays)
    return path


def test_the_confusion_matrix_counts_true_rows_and_predicted_columns():
    matrix = confusion_matrix(torch.tensor([0, 1, 1, 2, 2]), torch.tensor([0, 0, 1, 2, 0]), 3)
    assert matrix.tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 1]]


def test_mistakes_are_the_surest_wrong_answers_with_their_own_images(finished_run, unlearnt):
    with open_evaluation(finished_run, f"npz:{unlearnt}", batch_size=17, device="cpu") as setup:
        found = examine(setup, mistakes=5)
    arrays = np.load(unlearnt)
    model = create_model(f"local-dir:{finished_run}/best", pretrained=True).eval()
    mean, std = (torch.tensor(model.pretrained_cfg[key]).view(-1, 1, 1) for key in ("mean", "std"))
    wrong = []
    for number, (pixels, label) in enumerate(zip(arrays["x_test"], arrays["y_test"], strict=True)):
        image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
        with torch.no_grad():
            probabilities = model(((image - mean) / std)[None]).double().softmax(1)[0].tolist()
        predicted = int(np.argmax(probabilities))
        assert found.matrix[int(label), predicted] > 0
        if predicted != label:
            wrong.append((probabilities[predicted], number, int(label), predicted, image))
    assert found.matrix.sum() == 80
    assert found.matrix.diagonal().sum() == 80 - len(wrong) == round(found.scores.top1 * 80)
    assert len(found.mistakes) == 5
    for mistake, (confidence, number, label, predicted, image) in zip(
        found.mistakes, sorted(wrong, key=lambda each: -each[0]), strict=False
    ):
        assert mistake.confidence == pytest.approx(confidence, rel=1e-5)
        assert (mistake.number, mistake.label, mistake.predicted) == (number, label, predicted)
        assert torch.allclose(mistake.image, image)
    first, *others = found.confusions()
    assert all(first.images >= other.images for other in others)
    assert sum(pair.images for pair in (first, *others)) == len(wrong)
    assert first.share == first.images / found.matrix[first.label].sum()


def test_an_open_setup_gives_the_same_evaluations(finished_run, quadrants):
    options = {"resolutions": (16, 8), "probes": ("grey",)}
    with open_evaluation(finished_run, f"npz:{quadrants}", device="cpu") as setup:
        found = evaluate_on(setup, **options)
    assert found == evaluate(finished_run, f"npz:{quadrants}", device="cpu", **options)
