"""What is done to each photograph as it is read, against timm's transforms and by the numbers."""

import io
import sys

import albumentations
import numpy as np
import pytest
from PIL import Image

from curriculum_zoo.data.decoding.image_file import ImageReader
from curriculum_zoo.data.decoding.transforms import CenterCrop, Pipeline, RandomCrop, eval_transform, train_transform
from curriculum_zoo.errors import DataError, RecipeError
from curriculum_zoo.recipes import PhotoOptions


def scene(width=400, height=300):
    """A smooth picture: red grows to the right, green downwards, blue is a slow wave."""
    rows, columns = np.meshgrid(np.linspace(20, 235, height), np.linspace(20, 235, width), indexing="ij")
    wave = 128 + 80 * np.sin(rows / 30) * np.cos(columns / 40)
    return Image.fromarray(np.stack([columns, rows, wave], axis=-1).astype(np.uint8))


def reader(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **({"format": "JPEG", "quality": 95, "subsampling": 0} | options))
    return ImageReader(buffer.getvalue(), "scene.jpg")


def plain(**options):
    return PhotoOptions(**{"flip": False, "jitter": 0.0, **options})


def seen_box(pixels):
    """Where a crop of `scene` was taken from, as shares of width and height: left, top, right, bottom."""
    left, right = (pixels[:, edge, 0].mean() for edge in (0, -1))
    top, bottom = (pixels[edge, :, 1].mean() for edge in (0, -1))
    return np.array([(value - 20) / 215 for value in (left, top, right, bottom)])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("crop_pct", "pixels"), [(0.875, 224), (1.0, 96), (0.95, 64)])
def test_evaluation_sees_what_timms_evaluation_sees(interpolation, crop_pct, pixels):
    from timm.data import create_transform

    timms = create_transform(pixels, is_training=False, interpolation=interpolation, crop_pct=crop_pct, normalize=False)
    picture = scene()
    expected = np.asarray(timms(picture)).transpose(1, 2, 0)
    transform = eval_transform(plain().filled(interpolation, crop_pct), pixels)
    assert np.abs(transform(reader(picture), pixels, 0).astype(int) - expected).mean() < 1.5


def test_random_crops_cover_the_stated_areas_and_aspects():
    transform = train_transform(plain(area=(0.2, 0.5), aspect=(0.5, 2.0)), 32)
    image = reader(scene())
    boxes = np.array([seen_box(transform(image, 32, seed)) for seed in range(200)])
    widths, heights = (boxes[:, 2] - boxes[:, 0]) * 400, (boxes[:, 3] - boxes[:, 1]) * 300
    areas = widths * heights / (400 * 300)
    assert 0.15 < areas.min() < 0.24
    assert 0.42 < areas.max() < 0.55
    aspects = widths / heights
    assert 0.42 < aspects.min() < 0.65
    assert 1.6 < aspects.max() < 2.4
    assert boxes[:, :2].min() < 0.05
    assert boxes[:, 2:].max() > 0.95


def test_without_a_random_area_training_sees_evaluations_crop():
    options = plain(area=(1.0, 1.0), crop_pct=0.875)
    image = reader(scene())
    for pixels in (64, 32):
        training, evaluation = train_transform(options, 64), eval_transform(options, 64)
        assert (training(image, pixels, 5) == evaluation(image, pixels, 0)).all()


def test_a_crop_is_the_same_at_every_size():
    transform = train_transform(plain(), 64)
    image = reader(scene())
    for seed in range(30):
        boxes = [seen_box(transform(image, pixels, seed)) for pixels in (64, 32, 48)]
        assert np.abs(boxes[0] - boxes[1]).max() < 0.04
        assert np.abs(boxes[0] - boxes[2]).max() < 0.04


def test_half_of_the_images_are_mirrored_and_the_draw_is_no_other_ones():
    image = reader(scene())
    mirror = train_transform(PhotoOptions(area=(1.0, 1.0), jitter=0.0), 16)
    assert 70 < sum(seen_box(mirror(image, 16, seed))[0] > 0.5 for seed in range(200)) < 130
    crop_and_mirror = train_transform(PhotoOptions(jitter=0.0), 16)
    cropped = [seen_box(crop_and_mirror(image, 16, seed)) for seed in range(200)]
    mirrored = np.array([box[0] > box[2] for box in cropped])
    areas = np.array([abs(box[2] - box[0]) * abs(box[3] - box[1]) for box in cropped])
    assert abs(areas[mirrored].mean() - areas[~mirrored].mean()) < 0.12


def test_jitter_stays_within_its_limits():
    gray = reader(Image.new("RGB", (64, 64), (100, 100, 100)))
    transform = train_transform(PhotoOptions(area=(1.0, 1.0), flip=False, jitter=0.3), 16)
    levels = np.array([transform(gray, 16, seed).mean() for seed in range(150)])
    assert 68 < levels.min() < 78
    assert 122 < levels.max() < 133
    assert transform(gray, 16, 5).tolist() == transform(gray, 16, 5).tolist()


@pytest.mark.parametrize(
    ("side", "pixels", "read"), [(400, 112, (208, 208)), (400, 50, (52, 52)), (100, 112, (100, 100))]
)
def test_no_more_is_decoded_than_is_needed(side, pixels, read, monkeypatch):
    """Half of 416 px is enough for 112, an eighth for 50; small images are decoded whole."""
    from curriculum_zoo.data.decoding import image_file

    sizes = []
    decode = image_file._decode_jpeg

    def watched(content, reduction):
        pixels = decode(content, reduction)
        sizes.append(pixels.shape[:2])
        return pixels

    monkeypatch.setattr(image_file, "_decode_jpeg", watched)
    square = scene(416, 416) if side == 400 else scene(side, side)
    assert CenterCrop()(reader(square), pixels, 0).shape == (pixels, pixels, 3)
    assert sizes == [read]


def test_a_smaller_stage_decodes_smaller_but_not_below_its_own_size(monkeypatch):
    from curriculum_zoo.data.decoding import image_file

    reductions = []
    decode = image_file._decode_jpeg
    monkeypatch.setattr(image_file, "_decode_jpeg", lambda content, by: (reductions.append(by), decode(content, by))[1])
    transform = RandomCrop(plain(area=(0.1, 0.2)), 224)  # crops of at most 155 px
    photograph, thumbnail = reader(scene(400, 300)), reader(scene(160, 120))
    for image, pixels in ((photograph, 224), (photograph, 112), (photograph, 56), (thumbnail, 112), (thumbnail, 56)):
        transform(image, pixels, 3)
    assert reductions == [1, 2, 4, 1, 2]


def save(pipeline, path):
    albumentations.save(pipeline, path)
    return str(path)


def test_an_own_pipeline_takes_the_place_of_the_preset(tmp_path):
    pipeline = albumentations.Compose([albumentations.SmallestMaxSize(48), albumentations.CenterCrop(32, 32),
                                       albumentations.InvertImg(p=1)])  # fmt: skip
    path = save(pipeline, tmp_path / "own.json")
    expected = pipeline(image=np.asarray(scene()))["image"]
    for made in (train_transform(plain(train_pipeline=path), 32), eval_transform(plain(eval_pipeline=path), 32)):
        pixels = made(reader(scene(), format="PNG"), 32, 0)
        assert np.abs(pixels.astype(int) - expected).max() <= 2


def test_sizes_in_a_pipeline_follow_the_stage(tmp_path):
    pipeline = [albumentations.SmallestMaxSize(64), albumentations.RandomCrop(48, 48), albumentations.InvertImg(p=0.5)]
    transform = Pipeline.load(save(albumentations.Compose(pipeline), tmp_path / "own.json"), 48, "train_pipeline")
    image = reader(scene(), format="PNG")
    for seed in range(10):
        full, half = transform(image, 48, seed), transform(image, 24, seed)
        assert half.shape == (24, 24, 3)
        shrunk = np.asarray(Image.fromarray(full).resize((24, 24), Image.Resampling.BOX)).astype(int)
        assert np.abs(half - shrunk).mean() < 12
        assert (transform(image, 48, seed) == full).all()
    assert len({transform(image, 48, seed).tobytes() for seed in range(10)}) > 5


def test_what_a_pipeline_leaves_oblong_is_cut_to_a_square(tmp_path):
    transform = Pipeline.load(save(albumentations.HorizontalFlip(p=1), tmp_path / "own.json"), 32, "eval_pipeline")
    pixels = transform(reader(scene()), 32, 0)
    assert pixels.shape == (32, 32, 3)
    assert pixels[:, 0, 0].mean() > pixels[:, -1, 0].mean()


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (albumentations.Normalize(), r"gives float32 .*Leave Normalize, ToFloat and ToTensorV2 out"),
        (albumentations.ToTensorV2(), "gives a Tensor, where bytes"),
        (albumentations.CenterCrop(500, 500), "CropSizeError"),
    ],
)
def test_a_pipeline_that_cannot_work_is_refused_before_training(pipeline, message, tmp_path):
    path = save(pipeline, tmp_path / "own.json")
    with pytest.raises(RecipeError, match=rf"recipe: photos\.train_pipeline .*own\.json: .*{message}"):
        train_transform(plain(train_pipeline=path), 64)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "is no JSON"),
        ("[1, 2]", "makes no pipeline"),
        ('{"transform": {"__class_fullname__": "os.system", "p": 1}}', "makes no pipeline"),
    ],
)
def test_a_file_that_holds_no_pipeline_is_refused(content, message, tmp_path):
    (tmp_path / "own.json").write_text(content)
    with pytest.raises(RecipeError, match=rf"own\.json.* {message}"):
        eval_transform(plain(eval_pipeline=str(tmp_path / "own.json")), 32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"area": (0.5, 0.2)}, r"area must be smallest and largest, got \[0\.5, 0\.2\]"),
        ({"area": (0.0, 1.0)}, "area must be above 0"),
        ({"jitter": 1.5}, "jitter must be at most 1"),
        ({"interpolation": "best"}, "interpolation expects"),
        ({"on_bad_image": "ignore"}, "on_bad_image expects"),
    ],
)
def test_options_out_of_range_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        PhotoOptions(**settings)


def test_options_take_what_the_networks_configuration_states():
    filled = PhotoOptions().filled("bicubic", 0.9)
    assert (filled.interpolation, filled.crop_pct) == ("bicubic", 0.9)
    assert PhotoOptions(crop_pct=0.5, interpolation="box").filled("bicubic", 0.9).crop_pct == 0.5
    assert (PhotoOptions().filled("random").interpolation, PhotoOptions().filled().crop_pct) == ("bilinear", 1.0)


def test_no_other_module_imports_albumentations():
    from pathlib import Path

    import curriculum_zoo

    sources = Path(curriculum_zoo.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if "import albumentations" in path.read_text()] == ["transforms.py"]


def test_evaluation_alone_needs_no_albumentations(monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations", None)  # as if it were not installed
    assert eval_transform(PhotoOptions(), 32)(reader(scene()), 32, 0).shape == (32, 32, 3)
    with pytest.raises(DataError, match=r"cannot be imported .*pip install albumentations; .*photos\.resident=true"):
        train_transform(PhotoOptions(), 32)
