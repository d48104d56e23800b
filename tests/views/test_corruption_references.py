"""Blurs, weather and digital corruptions against NumPy, SciPy, Pillow, OpenCV, colorsys, or a literal loop."""

import colorsys
import io
import itertools
import math

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import fft, ndimage, stats

from curriculum_zoo.draws import image_seeds
from curriculum_zoo.views.corruptions import SEVERITIES, corrupt
from curriculum_zoo.views.corruptions.blur import defocus_blur, gaussian_blur, glass_blur, motion_blur, moved, zoom_blur
from curriculum_zoo.views.corruptions.digital import contrast, elastic_transform, jpeg_compression, pixelate, saturate
from curriculum_zoo.views.corruptions.drawn import Draws, plasma
from curriculum_zoo.views.corruptions.severities import parameters_of
from curriculum_zoo.views.corruptions.weather import brightness, fog, frost, snow

SIDES = (32, 64, 224)


def arrays(images):
    """Images as float64 [n, H, W, C]."""
    return images.double().movedim(1, 3).numpy()


def assert_close(got, want, tolerance=3e-6):
    np.testing.assert_allclose(arrays(got), want, rtol=0, atol=tolerance)


def all_parameters(kind):
    """Every published set of parameters of a kind, once."""
    return list(dict.fromkeys(parameters_of(kind, severity, side) for side in SIDES for severity in SEVERITIES))


# Blurs ----------------------------------------------------------------------------------------------------------------


def disk(radius, softness):
    """The kernel of the published code."""
    reach, side = (8, 3) if radius <= 8 else (radius, 5)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = (x**2 + y**2 <= radius**2).astype(np.float64)
    return cv2.GaussianBlur(inside / inside.sum(), (side, side), softness)


@pytest.mark.parametrize("parameters", all_parameters("defocus_blur"))
def test_defocus_blur_equals_opencvs_filter_with_a_softened_disk(natural, parameters):
    images = natural(1, 2, 3, 33, 40)
    got = defocus_blur(images, None, *parameters)
    assert_close(got, [cv2.filter2D(image, -1, disk(*parameters)) for image in arrays(images)])


@pytest.mark.parametrize("sigma", [0.05, 0.4, 0.7, 1, 1.5, 6])
def test_gaussian_blur_equals_scipys(natural, sigma):
    images = natural(2, 2, 3, 33, 20)
    want = [ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=4) for image in arrays(images)]
    assert_close(gaussian_blur(images, None, sigma), want)


@pytest.mark.parametrize("parameters", [(0.4, 1, 2), (0.7, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)])
def test_glass_blur_equals_the_published_loop_over_pixels(natural, parameters):
    sigma, reach, rounds = parameters
    images, draws = natural(3, 3, 3, 25, 22), Draws(image_seeds(3, 4))
    want = []
    for number, image in enumerate(arrays(images)):
        image = ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=4)
        for use in range(rounds):
            steps = draws.below(4 * reach**2, 25 * 22, use)[number].numpy().reshape(25, 22)
            for y, x in itertools.product(range(25 - reach, reach, -1), range(22 - reach, reach, -1)):
                down, right = divmod(steps[y, x], 2 * reach)
                other = y + down - reach, x + right - reach
                image[y, x], image[other] = image[other], image[y, x]
        want.append(ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=4))
    assert_close(glass_blur(images, draws, *parameters), want)


def test_glass_takes_each_step_with_equal_chances():
    steps = Draws(image_seeds(20, 4)).below(4 * 2 * 2, 1000)
    assert stats.chisquare(np.bincount(steps.flatten(), minlength=16)).pvalue > 0.01


def moved_by_loops(image, direction, radius, sigma):
    """ImageMagick's MotionBlurImage of one image [H, W, C]."""
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    angle, total = math.radians(direction), np.zeros_like(image)
    for step, weight in enumerate(weights / weights.sum()):
        down, right = (math.ceil(step * part - 0.5) for part in (math.sin(angle), math.cos(angle)))
        rows = np.clip(np.arange(image.shape[0]) + down, 0, image.shape[0] - 1)
        columns = np.clip(np.arange(image.shape[1]) + right, 0, image.shape[1] - 1)
        total += weight * image[rows][:, columns]
    return total


@pytest.mark.parametrize("parameters", [(6, 1), (9, 2.5), (15, 8), (20, 15)])
@pytest.mark.parametrize("first", [-45, -135])
def test_motion_blur_equals_half_a_gaussian_along_a_line(natural, parameters, first):
    images, draws = natural(4, 6, 3, 30, 21), Draws(image_seeds(6, 5))
    directions = first + (draws.below(4096, 1, 3)[:, 0].double() + 0.5) * 90 / 4096
    want = [moved_by_loops(image, angle, *parameters) for image, angle in zip(arrays(images), directions, strict=True)]
    assert_close(moved(images, draws, 3, first, *parameters), want)


def test_motion_blur_goes_from_45_degrees_up_to_45_down():
    point = torch.zeros(500, 1, 41, 41)
    point[:, :, 20, 20] = 1
    streaks = motion_blur(point, Draws(image_seeds(500, 6)), 15, 12)[:, 0]
    row, column = torch.meshgrid(torch.arange(41.0) - 20, torch.arange(41.0) - 20, indexing="ij")
    angles = torch.atan2(-(streaks * row).sum((1, 2)), -(streaks * column).sum((1, 2))).rad2deg()
    assert stats.kstest(angles.numpy(), stats.uniform(-45, 90).cdf).pvalue > 0.01


def zoomed_by_scipy(image, factor):
    """The middle of an image [H, W, C], enlarged, as the published code does it."""
    height, width = image.shape[:2]
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    top, left = (height - rows) // 2, (width - columns) // 2
    large = ndimage.zoom(image[top : top + rows, left : left + columns], (factor, factor, 1), order=1)
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return large[top : top + height, left : left + width]


@pytest.mark.parametrize(
    ("parameters", "factors"),
    [
        ((0.01, 7), np.arange(1, 1.06, 0.01)),
        ((0.01, 26), np.arange(1, 1.26, 0.01)),
        ((0.03, 11), np.arange(1, 1.31, 0.03)),
    ],
)
def test_zoom_blur_equals_the_mean_of_scipys_enlargements(natural, parameters, factors):
    images = natural(5, 2, 3, 32, 45)
    want = [(image + sum(zoomed_by_scipy(image, f) for f in factors)) / (len(factors) + 1) for image in arrays(images)]
    assert len(factors) == parameters[1]
    assert_close(zoom_blur(images, None, *parameters), want, 1e-5)


# Weather --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("severity", [1, 3, 4, 5])
@pytest.mark.parametrize("side", [32, 224])
def test_snow_equals_flakes_of_noise_from_two_sides_over_a_whitened_image(natural, severity, side):
    mean, sigma, zoom, threshold, radius, motion, kept = parameters_of("snow", severity, side)
    images, draws = natural(6, 3, 3, 36, 28), Draws(image_seeds(3, 7))
    noise = draws.normal(36 * 28).double().view(3, 36, 28, 1).numpy() * sigma + mean
    directions = -135 + (draws.below(4096, 1, 1)[:, 0].double() + 0.5) * 90 / 4096
    want = []
    for image, flakes, angle in zip(arrays(images), noise, directions, strict=True):
        flakes = zoomed_by_scipy(flakes, zoom)
        flakes = moved_by_loops(np.where(flakes < threshold, 0, flakes).clip(0, 1), angle, radius, motion)
        gray = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)[..., None]
        white = kept * image + (1 - kept) * np.maximum(image, gray * 1.5 + 0.5)
        want.append(white + flakes + np.rot90(flakes, 2))
    assert_close(snow(images, draws, mean, sigma, zoom, threshold, radius, motion, kept), want, 1e-5)


def spectral_slope(planes, rings):
    """Slope of the mean power of square planes [n, side, side] over these numbers of waves, both as logarithms."""
    side = planes.shape[1]
    power = (np.abs(fft.fft2(planes)) ** 2).mean(0)
    frequency = np.hypot(*np.meshgrid(fft.fftfreq(side, 1 / side), fft.fftfreq(side, 1 / side)))
    means = [power[np.abs(frequency - ring) < 0.5].mean() for ring in rings]
    return np.polyfit(np.log(rings), np.log(means), 1)[0]


@pytest.mark.parametrize(
    ("side", "count", "means", "spread", "within", "slope"),
    # Measured on 600 crops of the published photographs at the scale of each set: means of red, green and blue; of
    # green, the standard deviation of a crop's mean, the mean standard deviation within a crop, the spectrum's slope.
    [
        (32, 200, (0.578, 0.654, 0.700), 0.139, 0.086, -0.89),
        (64, 100, (0.558, 0.640, 0.687), 0.138, 0.084, -1.33),
        (224, 40, (0.567, 0.654, 0.701), 0.138, 0.088, -1.78),
    ],
)
def test_frost_is_as_bright_tinted_and_rough_as_the_published_photographs(side, count, means, spread, within, slope):
    grain, relief = parameters_of("frost", 1, side)[2:]
    ice = frost(torch.zeros(count, 3, side, side), Draws(image_seeds(count, 3)), 0, 1, grain, relief)
    np.testing.assert_allclose(ice.mean((0, 2, 3)), means, atol=0.03)
    assert ice[:, 1].mean((1, 2)).std().item() == pytest.approx(spread, abs=0.02)
    assert ice[:, 1].std((1, 2)).mean().item() == pytest.approx(within, abs=0.01)
    green = (ice[:, 1] - ice[:, 1].mean((1, 2), keepdim=True)).double().numpy()
    window = np.outer(np.hanning(side), np.hanning(side))
    assert spectral_slope(green * window, np.arange(2, side // 2)) == pytest.approx(slope, abs=0.2)


def test_frost_is_added_with_its_weight_to_the_weighted_image(natural):
    images, draws = natural(7, 4, 3, 32, 32), Draws(image_seeds(4, 3))
    ice = frost(torch.zeros_like(images), draws, 0, 1, 1.05, 0.42)
    assert_close(frost(images, draws, 0.75, 0.45, 1.05, 0.42), 0.75 * arrays(images) + 0.45 * arrays(ice))
    gray = frost(images[:, :1], draws, 0.0, 1.0, 1.05, 0.42)
    assert_close(gray, arrays(ice) @ np.array([[0.299], [0.587], [0.114]]))


def plasma_by_loops(noise, decay):
    """Diamonds and squares on a torus, point after point, stretched from 0 to 1."""
    size = len(noise)
    cloud, step, reach = np.zeros((size, size)), size, 1.0
    while step >= 2:
        half = step // 2
        for y, x in itertools.product(range(half, size, step), repeat=2):
            corners = [cloud[(y + i) % size, (x + j) % size] for i in (-half, half) for j in (-half, half)]
            cloud[y, x] = np.mean(corners) + reach * noise[y, x]
        for y, x in itertools.product(range(0, size, half), repeat=2):
            if (y + x) // half % 2:
                ends = [
                    cloud[(y + i) % size, (x + j) % size] for i, j in ((-half, 0), (half, 0), (0, -half), (0, half))
                ]
                cloud[y, x] = np.mean(ends) + reach * noise[y, x]
        step, reach = half, reach / decay**2
    cloud -= cloud.min()
    return cloud / cloud.max()


@pytest.mark.parametrize("decay", [3, 1.75, 0.95])
def test_fog_equals_a_cloud_of_diamonds_and_squares_made_point_by_point(natural, decay):
    images, draws = natural(8, 3, 3, 29, 32), Draws(image_seeds(3, 8))
    noise = draws.uniform(32 * 32).double().view(3, 32, 32).numpy()
    clouds = [plasma_by_loops(points, decay)[:29, :, None] for points in noise]
    assert_close(plasma(draws, 0, (29, 32), decay)[:, None], clouds)
    want = [
        (image + 0.75 * cloud) * image.max() / (image.max() + 0.75)
        for image, cloud in zip(arrays(images), clouds, strict=True)
    ]
    assert_close(fog(images, draws, 0.75, decay), want)


@pytest.mark.parametrize("decay", [0.9, 1, 1.2, 1.4])
def test_the_spectrum_of_a_cloud_falls_as_its_decay_says(decay):
    """Displacements that shrink by decay² an octave make a power spectrum in two dimensions of slope -2 - 4 log2 decay.

    Where it is steep, the kinks that are left between interpolated points make it flatter.
    """
    cloud = plasma(Draws(image_seeds(60, 9)), 0, (128, 128), decay).double().numpy()
    slope = spectral_slope(cloud - cloud.mean((1, 2), keepdims=True), np.arange(2, 33))
    assert slope == pytest.approx(-2 - 4 * math.log2(decay), abs=0.3)


def by_colorsys(image, change):
    """An image [H, W, 3] whose pixels' hue, saturation and value went through `change`."""
    return np.array([[colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel))) for pixel in row] for row in image])


@pytest.mark.parametrize("more", [0.05, 0.3, 0.5])
def test_brightness_equals_a_larger_value_of_hsv(natural, more):
    images = natural(9, 2, 3, 12, 14)
    images[0, :, 0] = 0
    want = [by_colorsys(image, lambda h, s, v: (h, s, min(1, v + more))) for image in arrays(images)]
    assert_close(brightness(images, None, more), want)
    assert_close(brightness(images[:, :1], None, more), (arrays(images)[..., :1] + more).clip(0, 1))


# Digital --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [(0.3, 0), (1.5, 0), (2.5, 0.2), (20, 0.2)])
def test_saturate_equals_another_saturation_of_hsv(natural, parameters):
    factor, more = parameters
    images = natural(10, 2, 3, 12, 14)
    images[0, :, 0], images[0, :, 1] = 0, 0.5
    want = [by_colorsys(image, lambda h, s, v: (h, min(1, s * factor + more), v)) for image in arrays(images)]
    assert_close(saturate(images, None, *parameters), want)


def test_contrast_equals_a_mix_with_the_channels_mean(natural):
    images = natural(11, 3, 3, 33, 27)
    mean = arrays(images).mean((1, 2), keepdims=True)
    assert_close(contrast(images, None, 0.15), mean + 0.15 * (arrays(images) - mean))


@pytest.mark.parametrize("parameters", all_parameters("elastic_transform"))
def test_elastic_transform_equals_scipys_affine_map_and_displacement(natural, parameters):
    amplitude, sigma, reach = parameters
    height, width = (40, 33)
    images, draws = natural(12, 2, 3, height, width), Draws(image_seeds(2, 10))
    want = []
    for number, image in enumerate(arrays(images)):
        shifts = draws.uniform(6)[number].double().numpy().reshape(3, 2) * reach
        x, y, arm = width // 2, height // 2, min(height, width) // 3
        corners = np.float32([[x + arm, y + arm], [x + arm, y - arm], [x - arm, y - arm]])
        matrix = np.vstack([cv2.getAffineTransform(corners, np.float32(corners + shifts)), [0, 0, 1]])
        back = np.linalg.inv(matrix)
        flip = back[[1, 0]][:, [1, 0]]
        planes = [
            ndimage.affine_transform(plane, flip, back[[1, 0], 2], order=1, mode="mirror")
            for plane in np.moveaxis(image, 2, 0)
        ]
        noise = draws.uniform(2 * height * width, 1)[number].double().numpy().reshape(2, height, width)
        field = [ndimage.gaussian_filter(n, sigma, mode="reflect", truncate=3) * amplitude for n in noise]
        at = np.mgrid[:height, :width] + field
        want.append(np.stack([ndimage.map_coordinates(plane, at, order=1, mode="reflect") for plane in planes], -1))
    got = arrays(elastic_transform(images, draws, *parameters))
    # Where a map nearly folds the plane, coordinates in float32 are off by thousandths of a pixel.
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-3)
    assert np.abs(got - want).mean() < 5e-5


def test_the_affine_map_is_the_one_that_opencv_warps_by(natural):
    images, draws = natural(13, 4, 3, 48, 48), Draws(image_seeds(4, 11))
    smooth = gaussian_blur(images, None, 3)
    shifts = draws.uniform(6).double().numpy().reshape(4, 3, 2) * 5
    for got, image, moves in zip(elastic_transform(smooth, draws, 0, 0, 5), arrays(smooth), shifts, strict=True):
        corners = np.float32([[40, 40], [40, 8], [8, 8]])
        matrix = cv2.getAffineTransform(corners, np.float32(corners + moves))
        want = cv2.warpAffine(image, matrix, (48, 48), borderMode=cv2.BORDER_REFLECT_101)
        # OpenCV rounds coordinates to a 32nd of a pixel.
        np.testing.assert_allclose(got.movedim(0, 2), want, rtol=0, atol=4e-3)


@pytest.mark.parametrize("share", [0.95, 0.85, 0.65, 0.5, 0.4, 0.25])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (45, 28), (1, 7)])
def test_pixelate_equals_pillows_boxes_bit_for_bit(natural, share, height, width):
    images = natural(14, 3, 3, height, width)
    got = pixelate(images, None, share).mul(255).round().byte()
    small = max(1, int(width * share)), max(1, int(height * share))
    for image, result in zip(arrays(images), got.movedim(1, 3).numpy(), strict=True):
        picture = Image.fromarray((image * 255).round().astype(np.uint8))
        want = picture.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX)
        np.testing.assert_array_equal(result, np.asarray(want))


# The luminance table of the standard, ITU-T T.81, annex K.
TABLE = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""


@pytest.mark.parametrize("quality", [80, 50, 25, 7])
def test_jpeg_rounds_the_cosine_transform_of_each_block_as_the_quality_says(natural, quality):
    images = natural(15, 3, 1, 24, 16)
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    table = ((np.array(TABLE.split(), int).reshape(8, 8) * scale + 50) // 100).clip(1, 255)
    got = arrays(jpeg_compression(images, None, quality))[..., 0] * 255
    for image, result in zip(arrays(images)[..., 0] * 255, got, strict=True):
        blocks = image.reshape(3, 8, 2, 8).swapaxes(1, 2) - 128
        coefficients = np.round(fft.dctn(blocks, axes=(2, 3), norm="ortho") / table) * table
        want = (fft.idctn(coefficients, axes=(2, 3), norm="ortho") + 128).swapaxes(1, 2).reshape(24, 16).clip(0, 255)
        # A coefficient near the border between two steps may fall to either side in fixed point.
        assert np.abs(result - want).mean() < 0.15 * np.abs(want - image).mean()


def test_jpeg_of_colours_equals_pillows(natural):
    images = natural(16, 2, 3, 30, 41)
    got = corrupt(images, "jpeg_compression", 5, image_seeds(2, 1))
    for image, result in zip(arrays(images), arrays(got), strict=True):
        file = io.BytesIO()
        Image.fromarray((image * 255).round().astype(np.uint8)).save(file, "JPEG", quality=40)
        np.testing.assert_array_equal((result * 255).round(), np.asarray(Image.open(file)))
