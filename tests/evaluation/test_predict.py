"""Predictions for image files: the classes and probabilities that the weights give."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from curriculum_zoo.errors import DataError, ModelError
from curriculum_zoo.evaluation import predict
from curriculum_zoo.evaluation.subject import load_subject

CLASSES = ["top left", "top right", "bottom left", "bottom right"]


@pytest.fixture
def pictures(quadrants, tmp_path):
    """A folder with one test image of each class as PNG, and one more in a folder of its own."""
    with np.load(quadrants) as arrays:
        images = arrays["x_test"]
    (tmp_path / "more").mkdir()
    for label in range(4):
        Image.fromarray(images[label]).save(tmp_path / f"{label}.png")
    Image.fromarray(images[7]).save(tmp_path / "more" / "deep.png")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_files_and_folders_are_classified_in_order(finished_run, pictures):
    predictions = predict(finished_run, [pictures / "2.png", pictures], device="cpu")
    names = ["2.png", "0.png", "1.png", "2.png", "3.png", "deep.png"]
    assert [prediction.path.name for prediction in predictions] == names
    assert [prediction.classes[0][0] for prediction in predictions] == [CLASSES[label] for label in (2, 0, 1, 2, 3, 3)]
    for prediction in predictions:
        names, probabilities = zip(*prediction.classes, strict=True)
        assert sorted(names) == sorted(CLASSES)
        assert list(probabilities) == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1)


def test_probabilities_are_the_softmax_of_what_the_network_says(finished_run, pictures):
    subject = load_subject(finished_run, device="cpu")
    pixels = torch.from_numpy(np.asarray(Image.open(pictures / "1.png")).copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        logits = subject.model(subject.normalize(pixels))[0].double()
    [prediction] = predict(finished_run, [pictures / "1.png"], device="cpu")
    for name, probability in prediction.classes:
        assert probability == pytest.approx(logits.softmax(0)[CLASSES.index(name)].item(), abs=1e-6)


@pytest.mark.parametrize(("top", "told"), [(1, 1), (2, 2), (9, 4)])
def test_as_many_classes_are_told_as_were_asked_for(finished_run, pictures, top, told):
    [prediction] = predict(finished_run, [pictures / "0.png"], top=top, device="cpu")
    assert len(prediction.classes) == told


def test_a_large_photograph_is_brought_to_the_networks_size(finished_run, pictures):
    with Image.open(pictures / "3.png") as image:
        image.resize((64, 64), Image.Resampling.NEAREST).save(pictures / "large.png")
    [prediction] = predict(finished_run, [pictures / "large.png"], device="cpu")
    assert prediction.classes[0][0] == "bottom right"


def test_a_network_for_gray_images_takes_a_colour_file_as_its_luma(quadrants, pictures, tmp_path):
    from curriculum_zoo import Recipe, train
    from curriculum_zoo.training.progress import Reporter

    arrays = dict(np.load(quadrants))
    arrays |= {key: arrays[key].mean(axis=3).astype(np.uint8) for key in ("x_train", "x_test")}
    np.savez(tmp_path / "gray.npz", **arrays)
    recipe = Recipe(model="simple_cnn", data=f"npz:{tmp_path / 'gray.npz'}", epochs=3, batch_size=32)
    train(recipe, output=tmp_path / "run", device="cpu", reporter=Reporter())
    with Image.open(pictures / "2.png") as image:
        image.convert("L").save(pictures / "luma.png")
    colour, luma = predict(tmp_path / "run", [pictures / "2.png", pictures / "luma.png"], device="cpu")
    assert colour.classes == luma.classes
    assert colour.classes[0][0] == "bottom left"


def test_what_is_missing_or_unreadable_is_named(finished_run, pictures):
    with pytest.raises(DataError, match=r"gone\.png: there is no such file"):
        predict(finished_run, [pictures / "0.png", pictures / "gone.png"], device="cpu")
    with pytest.raises(DataError, match=r"notes\.txt is not an image"):
        predict(finished_run, [pictures / "notes.txt"], device="cpu")
    content = (pictures / "0.png").read_bytes()
    (pictures / "0.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"0\.png cannot be read"):
        predict(finished_run, [pictures], device="cpu")
    shutil.rmtree(pictures / "more")
    (pictures / "more").mkdir()
    with pytest.raises(DataError, match="more holds no image files"):
        predict(finished_run, [pictures / "more"], device="cpu")


def test_no_class_at_all_is_refused(finished_run, pictures):
    with pytest.raises(ModelError, match="top=0"):
        predict(finished_run, [pictures / "0.png"], top=0, device="cpu")
