"""Digits on canvases: pixel by pixel against NumPy, as random placements, and through everything that reads images."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import chisquare

from curriculum_zoo import Recipe, evaluate, train
from curriculum_zoo.data import ResidentLoader, open_dataset
from curriculum_zoo.data.sets.canvas import NOISE, Canvas
from curriculum_zoo.data.sets.grass import grass
from curriculum_zoo.draws import image_seeds, random_below, random_bits
from curriculum_zoo.errors import DataError
from curriculum_zoo.recipes import Augmentation

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
VARIANTS = ["plain", "noisy", "textured"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with MNIST and Fashion-MNIST of 40 + 20 pictures without a black pixel in their corners."""
    folder = tmp_path_factory.mktemp("canvas")
    rng = np.random.default_rng(0)
    for name in ("MNIST", "FashionMNIST"):
        raw = folder / name / "raw"
        raw.mkdir(parents=True)
        for part, count in (("train", 40), ("t10k", 20)):
            images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            images[:, ::27, ::27] |= 1
            for kind, array in (("images-idx3", images), ("labels-idx1", (np.arange(count) % 10).astype(np.uint8))):
                header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4) for size in array.shape)
                (raw / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
    return folder


def loader(opened, *, batch_size=8, which="train", **settings):
    images, labels = getattr(opened, f"{which}_images"), getattr(opened, f"{which}_labels")
    return ResidentLoader(images, labels, batch_size=batch_size, render=opened.render, **settings)


def seen(batches):
    """Images as bytes [N, H, W, C] and labels of some batches."""
    images, labels, *_ = zip(*batches, strict=True)
    return torch.cat(images).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy(), torch.cat(labels).cpu().numpy()


def drawn_literally(picture, seed, variant, size):
    """One picture [h, w] on a canvas, by loops over what the seed's words say."""

    def word(stream, place=0):
        return int(random_bits(torch.tensor([seed]), place + 1, stream)[0, place]) % 2**32

    height, width = picture.shape
    canvas = np.zeros((size, size), dtype=np.uint8)
    top, left = word(0) * (size - height + 1) >> 32, word(1) * (size - width + 1) >> 32
    canvas[top : top + height, left : left + width] = picture
    if variant == "textured":
        rows, columns = ((np.arange(size) + (word(2, place) * 512 >> 32)) % 512 for place in (0, 1))
        canvas = np.maximum(canvas, grass()[rows][:, columns])
    if variant == "noisy":
        words = random_bits(torch.tensor([seed]), (size * size + 1) // 2, 3)[0].tolist()
        for place, (y, x) in enumerate(itertools.product(range(size), repeat=2)):
            number = (words[place // 2] >> 16 * (place % 2)) % 2**16  # two pixels a word, the lower half first
            number -= 2**16 * (number >= 2**15)
            if number < 3277 - 2**15:
                canvas[y, x] = 0
            if number >= 2**15 - 3277:
                canvas[y, x] = 255
    return canvas


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("height", "width", "size"), [(28, 28, 56), (28, 28, 28), (3, 5, 9), (4, 2, 5)])
def test_a_batch_is_what_literal_loops_draw(variant, height, width, size, device):
    pictures = torch.randint(0, 256, (5, height, width, 1), dtype=torch.uint8)
    seeds = image_seeds(5, size)
    drawn = Canvas(variant, size)(pictures.to(device), seeds.to(device)).cpu()
    assert (drawn.dtype, drawn.shape) == (torch.uint8, (5, size, size, 1))
    for result, picture, seed in zip(drawn, pictures, seeds.tolist(), strict=True):
        np.testing.assert_array_equal(result[..., 0], drawn_literally(picture[..., 0].numpy(), seed, variant, size))


@given(size=st.integers(28, 80), seed=st.integers(0, 100))
def test_a_plain_canvas_holds_the_whole_picture_and_nothing_else(size, seed):
    pictures = torch.randint(1, 256, (3, 28, 28, 1), dtype=torch.uint8)
    for canvas, picture in zip(Canvas("plain", size)(pictures, image_seeds(3, seed)), pictures, strict=True):
        ys, xs = (place.unique() for place in canvas[..., 0].nonzero(as_tuple=True))
        assert torch.equal(canvas[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1], picture)
        assert int(canvas.count_nonzero()) == 28 * 28


def test_all_29_by_29_places_are_alike_likely():
    marked = torch.zeros(28, 28, 1, dtype=torch.uint8)
    marked[0, 0] = 1
    canvas, counts = Canvas("plain", 56), np.zeros(56 * 56)
    for seeds in image_seeds(29 * 29 * 25, 7).split(500):
        where = canvas(marked.expand(len(seeds), -1, -1, -1), seeds).flatten(1).int().argmax(1)
        counts += np.bincount(where, minlength=56 * 56)
    counts = counts.reshape(56, 56)
    assert counts[29:].sum() == counts[:, 29:].sum() == 0
    places = counts[:29, :29]
    assert chisquare(places.ravel()).pvalue > 0.01
    assert chisquare(places.sum(0)).pvalue > 0.01
    assert chisquare(places.sum(1)).pvalue > 0.01


def test_a_tenth_of_all_pixels_is_noise_half_of_it_salt():
    pictures = torch.full((600, 56, 56, 1), 100, dtype=torch.uint8)
    drawn = Canvas("noisy", 56)(pictures, image_seeds(600, 1)).numpy()[..., 0]
    assert set(np.unique(drawn)) == {0, 100, 255}
    pixels = drawn.size
    for value in (0, 255):
        hit = drawn == value
        assert abs(hit.mean() - NOISE / 2) < 4 * np.sqrt(0.05 * 0.95 / pixels)
        by_place, by_image = hit.sum(axis=0), hit.sum(axis=(1, 2))
        assert 0.9 < by_place.var() / (600 * 0.05 * 0.95) < 1.1  # as independent draws spread
        assert 0.8 < by_image.var() / (56 * 56 * 0.05 * 0.95) < 1.25
        assert abs((hit[1:] & hit[:-1]).mean() - 0.05**2) < 4 * np.sqrt(0.05**2 / pixels)
        assert abs((hit[:, :, 1:] & hit[:, :, :-1]).mean() - 0.05**2) < 4 * np.sqrt(0.05**2 / pixels)
        assert abs((hit[:, 1:] & hit[:, :-1]).mean() - 0.05**2) < 4 * np.sqrt(0.05**2 / pixels)


def test_noise_lies_over_the_digit_too():
    drawn = Canvas("noisy", 28)(torch.full((50, 28, 28, 1), 255, dtype=torch.uint8), image_seeds(50, 1))
    assert 0.04 < (drawn == 0).float().mean() < 0.06


def test_every_image_has_a_cut_of_its_own_from_everywhere_in_the_grass():
    seeds = image_seeds(4096, 5)
    places = random_below(seeds, 512, 2, 2)
    for axis in (0, 1):
        assert chisquare(np.bincount(places[:, axis] // 16, minlength=32)).pvalue > 0.01
    drawn = Canvas("textured", 56)(torch.zeros(200, 28, 28, 1, dtype=torch.uint8), seeds[:200])
    assert len(drawn.flatten(1).unique(dim=0)) >= 198  # two of 262,144 cuts may be the same
    assert abs(drawn.float().mean() - grass().mean()) < 3


def test_of_digit_and_grass_the_brighter_is_seen():
    white, black = (torch.full((20, 28, 28, 1), value, dtype=torch.uint8) for value in (255, 0))
    canvas, seeds = Canvas("textured", 56), image_seeds(20, 3)
    bright, ground = canvas(white, seeds), canvas(black, seeds)
    assert ((bright == 255).flatten(1).sum(1) >= 28 * 28).all()
    assert ((bright == ground) | (bright == 255)).all()


def test_what_does_not_fit_a_canvas_is_refused():
    for shape in ((1, 28, 28, 3), (1, 57, 28, 1)):
        with pytest.raises(DataError, match="cannot be drawn on a gray canvas of side 56"):
            Canvas()(torch.zeros(shape, dtype=torch.uint8), image_seeds(1))


@pytest.mark.parametrize(
    ("spec", "canvas", "name"),
    [
        ("mnist_canvas", Canvas("plain", 56), "mnist_canvas:plain"),
        ("mnist_canvas:noisy", Canvas("noisy", 56), "mnist_canvas:noisy"),
        ("mnist_canvas:textured,size=112", Canvas("textured", 112), "mnist_canvas:textured,size=112"),
        ("mnist_canvas:size=84", Canvas("plain", 84), "mnist_canvas:plain,size=84"),
        ("fashion_mnist_canvas:noisy,size=56", Canvas("noisy", 56), "fashion_mnist_canvas:noisy"),
    ],
)
def test_an_argument_names_variant_and_size(spec, canvas, name, root):
    opened = open_dataset(spec, root=root)
    assert (opened.render, opened.name) == (canvas, name)
    assert (opened.image_size, opened.channels) == ((canvas.size, canvas.size), 1)
    pictures = open_dataset(name.partition("_canvas")[0], root=root)
    assert (opened.classes, opened.flip, opened.source) == (pictures.classes, pictures.flip, pictures.source)
    for field in ("train_images", "train_labels", "test_images", "test_labels"):
        assert (getattr(opened, field) == getattr(pictures, field)).all()


@pytest.mark.parametrize(
    "argument",
    [
        *("", "nosy", "Noisy", "noisy,", "noisy,textured", "noisy\n", "noisy,56", "noisy size=56", "noisysize=56"),
        *("size=27", "size=513", "size=", "size=5.6e1", ",size=56", "size=56,noisy", "noisy,size=99999"),
        *("noisy,size=56,size=56", "noisy,size=+56"),
    ],
)
def test_any_other_argument_is_refused_with_the_ways_to_write_it(argument, root):
    with pytest.raises(DataError, match=r"(?s)mnist_canvas:.*is not understood\. Write plain, noisy or textured after"):
        open_dataset(f"mnist_canvas:{argument}", root=root)


def test_a_missing_mnist_is_told_as_such(tmp_path):
    with pytest.raises(DataError, match=rf"^mnist is not in {tmp_path}/MNIST/raw\. Allow its download"):
        open_dataset("mnist_canvas:noisy", root=tmp_path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_epoch_places_every_picture_anew(variant, root):
    train_loader = loader(open_dataset(f"mnist_canvas:{variant}", root=root), shuffle=False)
    epochs = [seen(train_loader.batches(epoch))[0] for epoch in range(3)]
    for first, second in itertools.combinations(epochs, 2):
        assert (first != second).any(axis=(1, 2, 3)).mean() > 0.95  # two of 841 places may be the same
    assert (epochs[1] == seen(train_loader.batches(1))[0]).all()


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_drawings_depend_neither_on_batch_size_nor_on_processes_nor_on_where_an_epoch_is_resumed(
    variant, shuffle, root
):
    opened = open_dataset(f"mnist_canvas:{variant}", root=root)
    settings = {"seed": 3, "shuffle": shuffle, "augmentation": Augmentation(crop_padding=1)}
    base = loader(opened, batch_size=8, **settings)
    images, labels = seen(base.batches(2))
    for other in (loader(opened, batch_size=16, **settings), base.with_batch_size(40)):
        assert all((one == two).all() for one, two in zip(seen(other.batches(2)), (images, labels), strict=True))
    assert (seen(base.batches(2, start=3))[0] == images[24:]).all()
    shares = [list(loader(opened, rank=rank, world_size=2, **settings).batches(2)) for rank in (0, 1)]
    assert (seen([half for halves in zip(*shares, strict=True) for half in halves])[0] == images).all()


def test_evaluation_sees_fixed_drawings_and_others_on_request(root):
    opened = open_dataset("mnist_canvas:noisy", root=root)

    def test_images(draw=0, **settings):
        return seen(loader(opened, which="test", shuffle=False, **settings).batches(draw))[0]

    assert (test_images() == test_images(batch_size=7)).all()
    for other in (test_images(draw=1), test_images(seed=1)):
        assert (other != test_images()).any(axis=(1, 2, 3)).all()
    same = np.repeat(opened.train_images[:1], 16, axis=0), np.zeros(16, int)
    trained, evaluated = (
        seen(ResidentLoader(*same, batch_size=16, render=opened.render, shuffle=shuffle).batches(0))[0]
        for shuffle in (True, False)
    )
    assert (trained != evaluated).any(axis=(1, 2, 3)).all()  # not the noise that was trained on


def test_pictures_are_flipped_before_they_are_placed(root):
    opened = open_dataset("mnist_canvas", root=root)
    images, _ = seen(loader(opened, shuffle=False, augmentation=Augmentation(flip=True)).batches(0))
    flipped = 0
    for image, picture in zip(images[..., 0], opened.train_images[..., 0], strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(image, (28, 28))
        found = [(windows == way).all(axis=(2, 3)).any() for way in (picture, picture[:, ::-1])]
        assert sum(found) == 1
        flipped += found[1]
    assert 8 <= flipped <= 32


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("side", [14, 28, 40, 112])
def test_another_size_is_that_of_the_finished_canvas(variant, side, root):
    opened = open_dataset(f"mnist_canvas:{variant}", root=root)
    smaller = open_dataset(f"mnist_canvas:{variant}", root=root, image_size=side)
    assert (smaller.image_size, smaller.channels, smaller.train_images.shape[1:]) == ((side, side), 1, (28, 28, 1))
    full, resized = (seen(loader(some, shuffle=False).batches(1))[0] for some in (opened, smaller))
    for image, result in zip(full, resized, strict=True):
        expected = Image.fromarray(image[..., 0]).resize((side, side), Image.Resampling.BILINEAR)
        assert abs(np.asarray(expected, dtype=int) - result[..., 0]).max() <= 1


def test_gray_canvases_become_rgb_and_any_other_conversion_stays_one(root):
    opened = open_dataset("mnist_canvas:noisy", root=root)
    assert opened.converted(image_size=56, channels=1) is opened
    coloured = open_dataset("mnist_canvas:noisy", root=root, image_size=28, channels=3)
    assert (coloured.image_size, coloured.channels) == ((28, 28), 3)
    gray, rgb = (seen(loader(some).batches(0))[0] for some in (opened.converted(image_size=28), coloured))
    assert (rgb == gray).all()
    assert (seen(loader(coloured.converted(channels=1)).batches(0))[0] == gray).all()


def test_a_plain_canvas_dilutes_the_pictures_mean_exactly(root):
    pictures, canvas = (open_dataset(name, root=root) for name in ("mnist", "mnist_canvas:size=84"))
    assert canvas.mean_std([3, 5])[0][0] == pytest.approx(pictures.mean_std([3, 5])[0][0] / 9, rel=1e-12)


def test_the_fingerprint_tells_variants_and_sizes_apart(root):
    specs = ["mnist", "mnist_canvas", "mnist_canvas:noisy", "mnist_canvas:textured", "mnist_canvas:size=57"]
    prints = [open_dataset(spec, root=root).fingerprint for spec in specs]
    prints.append(open_dataset("mnist_canvas", root=root, image_size=28).fingerprint)
    assert len(set(prints)) == 6
    assert open_dataset("mnist_canvas:plain,size=56", root=root).fingerprint == prints[1]


@pytest.mark.parametrize("device", DEVICES)
def test_no_batch_waits_for_the_device(device, root):
    for variant in VARIANTS:
        batches = loader(open_dataset(f"mnist_canvas:{variant}", root=root), device=device).batches(0)
        next(batches)
        before = torch.cuda.get_sync_debug_mode() if device == "cuda" else 0
        try:
            if device == "cuda":
                torch.cuda.set_sync_debug_mode("error")
            assert len(list(batches)) == 4
        finally:
            if device == "cuda":
                torch.cuda.set_sync_debug_mode(before)


def test_what_training_measures_on_test_images_evaluation_measures_again(root, tmp_path):
    recipe = Recipe(
        model="simple_cnn",
        data="mnist_canvas:noisy",
        epochs=1,
        batch_size=10,
        image_size=28,
        validation=10,
        seed=4,
        calibrate_batchnorm=1,
        curriculum="trd(participation=1.0)",
    )
    result = train(recipe, output=tmp_path / "run", data_root=root, device="cpu")
    again, others = (
        evaluate(tmp_path / "run", recipe.data, data_root=root, device="cpu", which="last", repeats=repeats)[0].scores
        for repeats in (1, 3)
    )
    assert (again.top1, again.loss) == (result.test["last"].top1, pytest.approx(result.test["last"].loss, rel=1e-5))
    assert others.loss != pytest.approx(again.loss, rel=1e-5)
