"""One image file to pixels, for every kind of file there is about."""

import io
import os
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from curriculum_zoo.data import read_image
from curriculum_zoo.data.decoding.image_file import ImageReader, image_dimensions
from curriculum_zoo.errors import DataError


def picture(size=(24, 24)):
    """A smooth RGB picture, which lossy formats keep nearly as it is: red grows to the right, green downwards."""
    width, height = size
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([red, green, np.full_like(red, 90)], axis=-1).astype(np.uint8))


def read(image, path, image_size=24, channels=3, **options):
    image.save(path, **options)
    return read_image(path, image_size=image_size, channels=channels)


def difference(pixels, image):
    expected = np.asarray(image).reshape(pixels.shape)
    return abs(pixels.astype(int) - expected).max()


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.png", {}, 0),
        ("a.bmp", {}, 0),
        ("a.ppm", {}, 0),
        ("a.tif", {}, 0),
        ("a.tiff", {"compression": "tiff_lzw"}, 0),
        ("a.webp", {"lossless": True}, 0),
        ("a.webp", {"quality": 95}, 16),
        ("a.jpg", {"quality": 95, "subsampling": 0}, 6),
        ("a.jpeg", {"quality": 95, "progressive": True, "subsampling": 0}, 6),
    ],
)
def test_every_common_format_gives_its_pixels(name, options, tolerance, tmp_path):
    pixels = read(picture(), tmp_path / name, **options)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (24, 24, 3))
    assert difference(pixels, picture()) <= tolerance


def test_the_content_tells_the_format_not_the_name(tmp_path):
    assert difference(read(picture(), tmp_path / "really_a_png.jpg", format="PNG"), picture()) == 0


def test_one_channel_is_luma(tmp_path):
    pixels = read(picture(), tmp_path / "a.png", channels=1)
    assert pixels.shape == (24, 24, 1)
    assert difference(pixels, picture().convert("L")) == 0


@pytest.mark.parametrize("mode", ["1", "L"])
def test_black_and_white_and_gray_are_repeated(mode, tmp_path):
    image = picture().convert(mode)
    assert difference(read(image, tmp_path / "a.png"), image.convert("RGB")) == 0


def test_palettes_become_their_colours(tmp_path):
    image = picture().quantize(16)
    assert image.mode == "P"
    assert difference(read(image, tmp_path / "a.png"), image.convert("RGB")) == 0
    assert difference(read(image, tmp_path / "a.gif"), image.convert("RGB")) == 0


def test_cmyk_becomes_rgb_with_the_right_sign(tmp_path):
    image = picture().convert("CMYK")
    for name, tolerance in (("a.tif", 0), ("a.jpg", 8)):
        pixels = read(image, tmp_path / name, **({"quality": 95, "subsampling": 0} if name == "a.jpg" else {}))
        assert difference(pixels, picture()) <= tolerance


def test_inverted_cmyk_of_adobe_programs_is_turned_round(tmp_path):
    colour = (200, 120, 40)
    Image.new("RGB", (16, 16), colour).convert("CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    content = (tmp_path / "a.jpg").read_bytes()
    assert b"Adobe" in content  # Pillow writes, as Adobe does, inverted values and says so
    assert abs(read_image(tmp_path / "a.jpg", image_size=16).astype(int) - colour).max() <= 4


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_gray_is_scaled_not_clipped(name, tmp_path):
    values = np.linspace(0, 65535, 24 * 24).reshape(24, 24).astype(np.uint16)
    pixels = read(Image.fromarray(values), tmp_path / name)
    assert (pixels == np.rint(values / 257).astype(np.uint8)[:, :, None]).all()


def test_sixteen_bit_rgb_is_scaled_not_clipped(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (24, 24, 3), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(png_of_sixteen_bits(values))
    pixels = read_image(tmp_path / "a.png", image_size=24)
    assert abs(pixels - values / 257).max() <= 1


def png_of_sixteen_bits(values):
    """A PNG of 16-bit RGB, put together by hand since Pillow does not write any."""

    def chunk(kind, content):
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    height, width, _ = values.shape
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([16, 2, 0, 0, 0])
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_sixteen_bit_pgm_is_scaled(tmp_path):
    values = np.linspace(0, 65535, 24 * 24).reshape(24, 24).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 24 24 65535\n" + values.tobytes())
    pixels = read_image(tmp_path / "a.pgm", image_size=24, channels=1)
    assert (pixels[:, :, 0] == np.rint(values / 257)).all()


def test_values_beyond_sixteen_bits_and_fractions_are_refused(tmp_path):
    Image.fromarray(np.full((8, 8), 70_000, dtype=np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif cannot be read: its values go from 70000 to 70000, beyond 16 bit"):
        read_image(tmp_path / "a.tif", image_size=8)
    Image.fromarray(np.full((8, 8), 0.5, dtype=np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(DataError, match=r"b\.tif cannot be read: it holds floating-point values"):
        read_image(tmp_path / "b.tif", image_size=8)


def test_transparent_parts_show_white(tmp_path):
    image = Image.new("RGBA", (16, 16), (10, 20, 30, 0))
    image.paste((10, 20, 30, 255), (0, 0, 8, 16))
    image.paste((10, 20, 30, 128), (0, 8, 8, 16))
    for name in ("a.png", "a.webp", "a.tif"):
        pixels = read(image, tmp_path / name, image_size=16, **({"lossless": True} if name == "a.webp" else {}))
        assert (pixels[:, 8:] == 255).all()
        assert (pixels[:8, :8] == (10, 20, 30)).all()
        assert abs(pixels[8:, :8].astype(int) - (132, 137, 142)).max() <= 1


def test_gray_with_alpha_and_a_transparent_palette_entry_show_white_too(tmp_path):
    pixels = read(Image.new("LA", (8, 8), (0, 0)), tmp_path / "a.png", image_size=8)
    assert (pixels == 255).all()
    image = Image.new("P", (8, 8), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 4, 8))
    for name in ("b.png", "b.gif"):
        pixels = read(image, tmp_path / name, image_size=8, transparency=1)
        assert (pixels[:, :4] == (255, 0, 0)).all()
        assert (pixels[:, 4:] == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_the_cameras_orientation_is_applied(name, orientation, tmp_path):
    upright = picture()
    undo = {  # what a camera stores for a picture that the orientation turns upright
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"a.jpg": {"quality": 95, "subsampling": 0}, "a.webp": {"lossless": True}}.get(name, {})
    assert difference(read(stored, tmp_path / name, exif=exif, **options), upright) <= 6


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_of_an_animation_the_first_frame_counts(name, tmp_path):
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    options = {"lossless": True} if name == "a.webp" else {}
    pixels = read(first, tmp_path / name, image_size=8, save_all=True, append_images=[second], **options)
    assert (pixels == (255, 0, 0)).all()


def test_oblong_images_lose_their_ends(tmp_path):
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (10, 0, 30, 20))
    pixels = read(image, tmp_path / "a.png", image_size=10)
    assert pixels.shape == (10, 10, 3)
    assert (pixels[:, 1:-1] == (0, 0, 255)).all()
    assert (pixels[..., 2] > 200).all()  # the edge's pixels have a share of what lies beyond it, as timm's have


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif", "a.bmp", "a.tif"])
def test_a_truncated_file_is_refused_by_name(name, tmp_path):
    buffer = io.BytesIO()
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    noise.save(buffer, Image.registered_extensions()[name[1:]])
    whole = buffer.getvalue()
    for share in (0.02, 0.3, 0.6, 0.9):
        (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match=rf"^{tmp_path / name} (cannot be read|is not an image)"):
            read_image(tmp_path / name, image_size=8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)\. Replace or delete it"),
        (b"not an image at all", "is not an image, or damaged beyond recognition"),
        (b"\xff\xd8\xff\xe0 and then nonsense", "is not an image|cannot be read"),
        (b"GIF89a\x08\x00\x08\x00\x00\x00\x00;", "cannot be read|is not an image"),
    ],
)
def test_files_that_are_no_images_are_refused_by_name(content, message, tmp_path):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.jpg ({message})"):
        read_image(tmp_path / "a.jpg", image_size=8)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.png does not exist\. Correct the path"):
        read_image(tmp_path / "none.png", image_size=8)
    with pytest.raises(DataError, match=r"cannot be read: .*name too long"):
        read_image(tmp_path / ("x" * 5000), image_size=8)
    with pytest.raises(DataError, match="is a folder, not an image"):
        read_image(str(tmp_path), image_size=8)


def test_an_image_that_claims_absurd_dimensions_is_refused(tmp_path):
    header = (100_000).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    ihdr = len(header).to_bytes(4) + b"IHDR" + header + zlib.crc32(b"IHDR" + header).to_bytes(4)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + ihdr + b"\0\0\0\0IDAT" + zlib.crc32(b"IDAT").to_bytes(4))
    with pytest.raises(DataError, match=r"a\.png cannot be read: .*exceeds limit"):
        read_image(tmp_path / "a.png", image_size=8)


def test_dimensions_come_from_the_header_alone(tmp_path):
    picture((30, 20)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    assert image_dimensions(tmp_path / "a.png") == (30, 20)
    (tmp_path / "b.png").write_bytes(b"nothing")
    assert image_dimensions(tmp_path / "b.png") is None


def test_files_are_closed_again(tmp_path):
    picture().save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"nothing")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        read_image(tmp_path / "a.png", image_size=8)
        with pytest.raises(DataError):
            read_image(tmp_path / "b.png", image_size=8)
    assert len(os.listdir("/proc/self/fd")) <= before


def reader_of(image, path, **options):
    image.save(path, **options)
    return ImageReader(path.read_bytes(), str(path))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_region_is_that_of_the_upright_image(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0, "exif": exif}
    reader = reader_of(picture((64, 48)), tmp_path / "a.jpg", **options)
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg"))
    assert reader.size == upright.size
    box = (10, 4, 34, 28)
    for size in ((24, 24), (12, 12), (30, 18)):  # as it is, from a half, enlarged and squeezed
        expected = upright.resize(size, Image.Resampling.BILINEAR, box=box)
        assert difference(reader.region(box, size), expected) <= 8


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_reduced_decoding_gives_the_pixels_of_pillows(reduction, tmp_path):
    picture((160, 120)).save(tmp_path / "a.jpg", quality=90)
    side = 96 // reduction
    region = ImageReader((tmp_path / "a.jpg").read_bytes(), "a").region((0, 0, 96, 96), (side, side))
    with Image.open(tmp_path / "a.jpg") as image:
        image.draft("RGB", (160 // reduction, 120 // reduction))
        assert image.size == (160 // reduction, 120 // reduction)
        expected = image.crop((0, 0, side, side))
        assert difference(region, expected) == 0


def test_without_opencv_pillow_decodes_the_same(tmp_path, monkeypatch):
    reader = reader_of(picture((64, 48)), tmp_path / "a.jpg", quality=95, subsampling=0)
    by_opencv = reader.region((8, 8, 40, 40), (32, 32))
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert (reader.region((8, 8, 40, 40), (32, 32)) == by_opencv).all()


def test_what_opencv_does_not_take_goes_through_pillow(tmp_path):
    box = (0, 0, 24, 24)
    for mode in ("CMYK", "L"):
        image = picture((24, 24)).convert(mode)
        pixels = reader_of(image, tmp_path / "a.jpg", quality=95, subsampling=0).region(box, (24, 24))
        assert difference(pixels, image.convert("RGB")) <= 8
    pixels = reader_of(picture((24, 24)), tmp_path / "a.png").region(box, (24, 24))
    assert difference(pixels, picture((24, 24))) == 0


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_a_region_of_a_truncated_jpeg_is_refused_whatever_opencv_says(share, tmp_path):
    thumbnail = io.BytesIO()
    picture((16, 12)).save(thumbnail, "JPEG")
    picture((160, 120)).save(tmp_path / "a.jpg", quality=90, exif=b"Exif\0\0" + thumbnail.getvalue())
    content = (tmp_path / "a.jpg").read_bytes()
    with pytest.raises(DataError, match=r"^a\.jpg (cannot be read|is not an image)"):
        ImageReader(content[: int(share * len(content))], "a.jpg").region((0, 0, 8, 8), (8, 8))


@settings(max_examples=40)
@given(data=st.data())
def test_every_region_has_the_size_asked_for_and_the_pixels_of_that_place(data):
    width, height = (data.draw(st.integers(1, 90), label=side) for side in ("width", "height"))
    left = data.draw(st.integers(0, width - 1), label="left")
    top = data.draw(st.integers(0, height - 1), label="top")
    right = data.draw(st.integers(left + 1, width), label="right")
    bottom = data.draw(st.integers(top + 1, height), label="bottom")
    size = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)), label="size")
    shrinkage = data.draw(st.sampled_from((1.0, 2.0, 3.7)), label="shrinkage")
    buffer = io.BytesIO()
    image = picture((width, height))
    image.save(buffer, "JPEG", quality=95, subsampling=0)
    region = ImageReader(buffer.getvalue(), "a").region((left, top, right, bottom), size, shrinkage=shrinkage)
    assert region.shape == (size[1], size[0], 3)
    mean = np.asarray(image)[top:bottom, left:right].reshape(-1, 3).mean(0)
    step = 255 / max(1, min(width, height) - 1)  # how much a pixel differs from its neighbour
    assert np.abs(region.reshape(-1, 3).mean(0) - mean).max() <= 8 + 3 * shrinkage * step


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg is a pipe or a device, not a file"):
        read_image(tmp_path / "a.jpg", image_size=8)
    assert image_dimensions(tmp_path / "a.jpg") is None


TURNED_FILES = {
    "a.png": {},
    "a.webp": {"lossless": True},
    "a.tiff": {},
    "cmyk.jpg": {"quality": 100, "subsampling": 0},
    "rgb.jpg": {"quality": 100, "subsampling": 0},
    "gray.png": {},
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", TURNED_FILES)
def test_a_photograph_turned_by_its_tag_gives_the_pixels_of_the_upright_one_on_every_path(name, orientation, tmp_path):
    mode = {"cmyk.jpg": "CMYK", "gray.png": "L"}.get(name, "RGB")
    upright = picture((40, 24)).convert(mode)
    stored = {  # what a camera held so would have written
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Image.Transpose.ROTATE_180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for folder, image, options in (("turned", stored, {"exif": exif}), ("plain", upright, {})):
        (tmp_path / folder).mkdir()
        image.save(tmp_path / folder / name, **options, **TURNED_FILES[name])
    turned, plain = (ImageReader((tmp_path / folder / name).read_bytes(), name) for folder in ("turned", "plain"))
    tolerance = 3 if name.endswith("jpg") else 0  # blocks of a JPEG file lie differently in a turned one
    for _ in range(2):  # a second look must see what the first one saw
        assert turned.size == plain.size == (40, 24)
        for box in ((0, 0, 40, 24), (20, 0, 40, 24), (8, 4, 28, 14)):
            seen, due = (reader.region(box, (10, 12)).astype(int) for reader in (turned, plain))
            assert abs(seen - due).max() <= tolerance
    squares = [read_image(tmp_path / folder / name, image_size=16).astype(int) for folder in ("turned", "plain")]
    assert abs(squares[0] - squares[1]).max() <= tolerance
