"""Photographs that are not square are cut as timm's evaluation cuts them, on every path."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from curriculum_zoo.data.decoding.geometry import convert_drawn, fit, resize_images
from curriculum_zoo.data.decoding.image_file import ImageReader, read_image
from curriculum_zoo.data.decoding.transforms import eval_transform
from curriculum_zoo.evaluation.predict import read_pixels
from curriculum_zoo.evaluation.setup import open_evaluation
from curriculum_zoo.evaluation.trained_network import load_trained_network
from curriculum_zoo.models import create_model
from curriculum_zoo.recipes.photo_options import PhotoOptions
from curriculum_zoo.weights.folder import model_config, save_folder
from curriculum_zoo.weights.preprocess import Preprocess

SHAPES = [(300, 200), (200, 301), (333, 97), (64, 64), (65, 64), (40, 33), (1500, 50)]
MEAN = (0.2, 0.5, 0.7)
each_shape = pytest.mark.parametrize("shape", SHAPES)
each_mode = pytest.mark.parametrize("mode", ["center", "squash", "border"])


def noise(shape):
    return np.random.default_rng(0).integers(0, 256, (shape[1], shape[0], 3), dtype=np.uint8)


def by_timm(pixels, size, **options):
    transform = create_transform(input_size=(3, size, size), normalize=False, **options)
    return transform(Image.fromarray(pixels)).permute(1, 2, 0).numpy().astype(int)


def largest_difference(ours, theirs):
    assert ours.shape == theirs.shape
    return np.abs(np.asarray(ours).astype(int) - theirs).max()


@each_shape
@pytest.mark.parametrize("size", [64, 48])
def test_images_in_memory_are_cut_as_timm_cuts_them(shape, size, tmp_path):
    pixels = noise(shape)
    expected = by_timm(pixels, size, interpolation="bilinear", crop_pct=1.0)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    for ours in (
        np.asarray(fit(Image.fromarray(pixels), size)),
        resize_images(pixels[None], size)[0],
        convert_drawn(torch.from_numpy(pixels[None]), size, None)[0].numpy(),
        read_image(tmp_path / "photo.png", image_size=size),
    ):
        assert largest_difference(ours, expected) <= 1


@each_shape
@each_mode
@pytest.mark.parametrize(("share", "interpolation"), [(0.875, "bicubic"), (1.0, "bilinear"), (0.95, "bicubic")])
def test_photographs_that_are_read_as_needed_are_cut_as_timm_cuts_them(shape, mode, share, interpolation):
    pixels, file = noise(shape), io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    expected = by_timm(pixels, 64, interpolation=interpolation, crop_pct=share, crop_mode=mode, mean=MEAN)
    transform = eval_transform(PhotoOptions(crop_pct=share, interpolation=interpolation), 64, mode, MEAN)
    assert largest_difference(transform(ImageReader(file.getvalue(), "photo"), 64, 0), expected) <= 1


@each_shape
@each_mode
@pytest.mark.parametrize(("share", "interpolation"), [(1.0, "bilinear"), (0.9, "bicubic")])
def test_preparation_gives_the_same_for_a_picture_a_tensor_and_timm(shape, mode, share, interpolation):
    pixels = noise(shape)
    prepare = Preprocess((3, 64, 64), MEAN, (1.0,) * 3, interpolation, share, mode)
    options = {"interpolation": interpolation, "crop_pct": share, "crop_mode": mode, "mean": MEAN}
    picture = prepare.pixels(Image.fromarray(pixels)).permute(1, 2, 0).numpy()
    assert np.abs(picture - by_timm(pixels, 64, **options) / 255).max() <= 1.01 / 255
    # Pillow clips overshoot between rows and columns, tensors are clipped at the end; pale noise has none to clip.
    soft = pixels // 4 + 96
    expected = by_timm(soft, 64, **options) / 255
    tensor = prepare.pixels(torch.from_numpy(soft).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    assert np.abs(tensor - expected).max() <= 1.51 / 255


@each_mode
@pytest.mark.parametrize("channels", [1, 3])
def test_evaluation_and_prediction_cut_photographs_as_the_weights_say(mode, channels, tmp_path):
    network = create_model("resnet20_cifar", num_classes=2, in_chans=channels)
    mean, stated = MEAN[:channels], {"interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": mode}
    config = model_config(
        network, architecture="resnet20_cifar", options={}, input_size=(channels, 64, 64), mean=mean,
        std=(1.0,) * channels, classes=("a", "b"), facts={}, **stated,
    )  # fmt: skip
    save_folder(tmp_path / "weights", network.state_dict(), config)
    for part, name, shape in [("train", "a", (64, 64)), ("train", "b", (64, 64)), *(("test", "b", s) for s in SHAPES)]:
        path = tmp_path / "data" / part / name / f"{len(list(tmp_path.rglob('*.png'))):02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(shape) // 4 + 96).save(path)  # pale: without overshoot, luma may be taken first or last
    files = sorted((tmp_path / "data" / "test" / "b").iterdir())
    (tmp_path / "data" / "test" / "a").mkdir()
    transform = create_transform(input_size=(channels, 64, 64), normalize=False, mean=mean, **stated)
    kind = "L" if channels == 1 else "RGB"
    expected = np.stack([transform(Image.open(file).convert(kind)).numpy() for file in files]) / 255
    predicted = read_pixels(files, load_trained_network(tmp_path / "weights", device="cpu"))
    with open_evaluation(tmp_path / "weights", f"folder:{tmp_path / 'data'}", device="cpu", workers=0) as setup:
        [shown] = setup.shown(64)
    for ours in (predicted, shown.images):
        assert np.abs(ours.numpy() - expected).max() <= 2.01 / 255


def test_square_images_are_resized_as_ever():
    pixels = noise((64, 64))
    image = Image.fromarray(pixels)
    assert fit(image, 64) is image
    assert np.array_equal(fit(image, 48), image.resize((48, 48), Image.Resampling.BILINEAR))
