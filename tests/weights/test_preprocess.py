"""`load_preprocess`: what training, evaluation and timm make of an image, from the weights' config alone."""

import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import curriculum_zoo
from curriculum_zoo.data.decoding.image_file import read_image
from curriculum_zoo.errors import DataError, UnknownNameError, WeightsError
from curriculum_zoo.models import create_model
from curriculum_zoo.weights.preprocess import Preprocess, load_preprocess

OURS = {
    "input_size": [3, 32, 32], "mean": [0.5, 0.4, 0.3], "std": [0.25, 0.2, 0.1], "interpolation": "bilinear",
    "crop_pct": 1.0, "crop_mode": "center",
}  # fmt: skip


def picture(width=90, height=70, mode="RGB"):
    values = np.random.default_rng(0).integers(0, 255, (height // 10, width // 10, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height)).convert(mode)


@pytest.mark.parametrize("size", [(90, 70), (70, 91), (32, 32), (20, 20)])
@pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (3, "L"), (3, "RGBA"), (3, "P"), (1, "RGB"), (1, "L")])
def test_files_come_out_as_training_and_evaluation_read_them(tmp_path, size, channels, mode):
    picture(*size, mode).save(tmp_path / "picture.png")
    cfg = OURS | {"input_size": [channels, 32, 32], "mean": [0.5] * channels, "std": [0.25] * channels}
    expected = read_image(tmp_path / "picture.png", image_size=32, channels=channels)
    expected = torch.tensor(expected).permute(2, 0, 1) / 255
    with Image.open(tmp_path / "picture.png") as image:
        preprocess = Preprocess.of(cfg, "x")
        assert torch.equal(preprocess.pixels(image), expected)
        torch.testing.assert_close(preprocess(image), (expected - 0.5) / 0.25)


def test_the_cameras_orientation_is_applied_and_the_image_left_alone(tmp_path):
    image = picture(90, 70)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    with Image.open(tmp_path / "turned.jpg") as turned:
        expected = read_image(tmp_path / "turned.jpg", image_size=32)
        given = Preprocess.of(OURS, "x").pixels(turned)
        assert torch.equal(given, torch.tensor(expected).permute(2, 0, 1) / 255)
        assert turned.size == (90, 70)


@pytest.mark.parametrize(
    "name", ["resnet18.a1_in1k", "vit_base_patch16_siglip_224.webli", "efficientnet_b0.ra_in1k", "test_vit.r160_in1k"]
)
def test_timms_weights_get_timms_transform(name):
    theirs = timm.data.create_transform(
        **timm.data.resolve_data_config(pretrained_cfg=timm.models.get_pretrained_cfg(name).to_dict())
    )
    image = picture(500, 400)
    torch.testing.assert_close(load_preprocess(f"timm/{name}")(image), theirs(image))


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [[3, 32, 32], [3, 24, 40]])
@pytest.mark.parametrize("share", [1.0, 0.875])
def test_every_crop_of_timms_is_known(mode, size, share):
    cfg = OURS | {"input_size": size, "crop_mode": mode, "crop_pct": share, "interpolation": "bicubic"}
    theirs = timm.data.create_transform(**{key: cfg[key] for key in OURS})
    torch.testing.assert_close(Preprocess.of(cfg, "x")(picture()), theirs(picture()))


def test_tensors_are_taken_like_images(tmp_path):
    preprocess = Preprocess.of(OURS, "x")
    pixels = torch.tensor(np.asarray(picture(64, 64))).permute(2, 0, 1)
    from_bytes, from_floats = preprocess(pixels), preprocess(pixels / 255)
    assert torch.equal(from_bytes, from_floats)
    assert (preprocess.pixels(pixels) - preprocess.pixels(picture(64, 64))).abs().max() <= 1.01 / 255
    batch = preprocess(torch.stack([pixels, pixels.flip(2)]))
    assert batch.shape == (2, 3, 32, 32)
    torch.testing.assert_close(batch[0], from_bytes)


def test_channels_of_tensors_are_brought_to_those_of_the_network():
    gray = Preprocess.of(OURS | {"input_size": [1, 32, 32], "mean": [0.0], "std": [1.0]}, "x")
    image = picture(32, 32)
    pixels = torch.tensor(np.asarray(image)).permute(2, 0, 1)
    assert (gray(pixels) - gray(image)).abs().max() <= 1.01 / 255
    colour = Preprocess.of(OURS | {"mean": [0.0] * 3, "std": [1.0] * 3}, "x")
    spread = colour(torch.rand(1, 32, 32))
    assert torch.equal(spread[0], spread[2])


@pytest.mark.parametrize("wrong", ["cat.jpg", torch.rand(32, 32), torch.rand(2, 32, 32), np.zeros((32, 32, 3)), None])
def test_what_is_no_image_is_one_error(wrong):
    with pytest.raises(DataError, match="Expected an image of Pillow's or a tensor"):
        Preprocess.of(OURS, "x")(wrong)


def test_an_image_cut_short_is_one_error(tmp_path):
    picture(400, 400).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(content[: len(content) // 2])
    with Image.open(tmp_path / "half.jpg") as image, pytest.raises(DataError, match=r"cannot be used: .*truncated"):
        Preprocess.of(OURS, "x")(image)


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ({"mean": None}, "does not state mean"),
        ({"interpolation": "magic"}, "interpolation is 'magic', expected 'bilinear' or"),
        ({"interpolation": ["bilinear"]}, "interpolation is"),
        ({"crop_mode": "none"}, "crop_mode is 'none'"),
        ({"crop_pct": 1e-9}, "crop_pct is 1e-09"),
        ({"crop_pct": "all"}, "crop_pct is 'all'"),
    ],
)
def test_a_config_that_cannot_be_followed_is_one_error(field, told):
    with pytest.raises(WeightsError, match=told):
        Preprocess.of(OURS | field, "x")


def test_released_weights_have_theirs():
    record = curriculum_zoo.list_weights()[0]
    preprocess = curriculum_zoo.load_preprocess(record.name)
    config = json.loads((record.folder / "config.json").read_text())["pretrained_cfg"]
    assert list(preprocess.input_size) == config["input_size"]
    assert list(preprocess.std) == config["std"]
    logits = create_model(record.name, pretrained=True).eval()(preprocess(picture())[None])
    assert logits.shape == (1, config["num_classes"])


def test_names_that_have_no_weights_are_one_error():
    with pytest.raises(UnknownNameError, match="timm has no network 'timm/no_such'"):
        load_preprocess("timm/no_such")
    with pytest.raises(UnknownNameError, match=r"timm has no weights 'timm/resnet18\.none'"):
        load_preprocess("timm/resnet18.none")
    with pytest.raises(UnknownNameError, match="No released weights 'hiresnet99'"):
        load_preprocess("hiresnet99")


def test_a_pipeline_that_the_config_does_not_hold_is_not_guessed(tmp_path):
    config = {"architecture": "simple_cnn", "num_classes": 2, "pretrained_cfg": OURS}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_preprocess(f"local-dir:{tmp_path}").mean == (0.5, 0.4, 0.3)
    config["curriculum_zoo"] = {"recipe": {"photos": {"eval_pipeline": "mine.json"}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"pipeline of its trainer's own, 'mine\.json'"):
        load_preprocess(f"local-dir:{tmp_path}")
