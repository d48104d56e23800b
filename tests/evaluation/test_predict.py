"""Predictions for image files: the classes and probabilities that the weights give."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from curriculum_zoo.errors import DataError, ModelError
from curriculum_zoo.evaluation import evaluate, explain, predict
from curriculum_zoo.evaluation.predict import read_pixels
from curriculum_zoo.evaluation.trained_network import load_trained_network
from curriculum_zoo.models import create_model
from curriculum_zoo.weights.folder import save_folder
from curriculum_zoo.weights.preprocess import load_preprocess

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
    trained = load_trained_network(finished_run, device="cpu")
    pixels = torch.from_numpy(np.asarray(Image.open(pictures / "1.png")).copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        logits = trained.model(trained.normalize(pixels))[0].double()
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


@pytest.fixture(params=["hiresnet20_cifar", "timm/test_vit"])
def oblong(request, tmp_path):
    """A folder of weights whose images are 48 px high and 32 px wide; the second network takes no others."""
    size, name = (48, 32), request.param.removeprefix("timm/")
    model = create_model(request.param, num_classes=2, **({"img_size": size} if name == "test_vit" else {}))
    config = {
        "architecture": name,
        "num_classes": 2,
        "model_args": {"img_size": list(size)} if name == "test_vit" else {},
        "pretrained_cfg": {
            **model.pretrained_cfg,
            "input_size": [3, *size],
            "crop_pct": 1.0,
            "interpolation": "bicubic",
        },
        "label_names": ["up", "down"],
    }
    save_folder(tmp_path / "oblong", model.state_dict(), config)
    return tmp_path / "oblong"


@pytest.mark.parametrize("shape", [(40, 70), (70, 40), (50, 50)])
def test_an_oblong_network_sees_images_of_its_height_and_width_not_exchanged(oblong, shape, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize(shape, Image.Resampling.BICUBIC)
    picture.save(tmp_path / "picture.png")
    trained = load_trained_network(oblong, device="cpu")
    assert read_pixels([tmp_path / "picture.png"], trained).shape == (1, 3, 48, 32)
    # The largest part of two thirds as wide as high, from the centre.
    width, height = min(shape[0], shape[1] * 2 / 3), min(shape[1], shape[0] * 3 / 2)
    left, top = (shape[0] - width) / 2, (shape[1] - height) / 2
    cut = picture.resize((32, 48), Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    seen = read_pixels([tmp_path / "picture.png"], trained)[0].permute(1, 2, 0) * 255
    assert np.abs(seen.numpy() - np.asarray(cut, np.float32)).mean() < 4  # rounding to whole pixels between
    [prediction] = predict(oblong, [tmp_path / "picture.png"], device="cpu")
    with torch.no_grad():
        expected = trained.model(load_preprocess(f"local-dir:{oblong}")(picture)[None])[0].softmax(0)
    assert dict(prediction.classes)["up"] == pytest.approx(expected[0].item(), abs=2e-3)


def test_what_needs_squares_refuses_an_oblong_network_by_name(oblong, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "picture.png")
    for act in (
        lambda: evaluate(oblong, "demo", device="cpu"),
        lambda: explain(oblong, [tmp_path / "picture.png"], device="cpu"),
        lambda: explain(oblong, [tmp_path / "picture.png"], resolutions=[16], device="cpu"),
    ):
        with pytest.raises(
            ModelError, match=r"oblong takes images of 48 x 32 px, height first, and this needs squares"
        ):
            act()


def test_a_file_that_is_no_image_is_named_to_an_oblong_network_too(oblong, tmp_path):
    for name, content in (("notes.png", b"no image"), ("empty.png", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            predict(oblong, [tmp_path / name], device="cpu")
