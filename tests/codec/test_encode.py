"""Pictures in, pictures out."""

import io

import numpy as np
import pytest
from PIL import Image

import vaecodec
from helpers import difference, image_bytes, kodak_crop, psnr
from vaecodec.errors import ImageError


@pytest.mark.parametrize(
    ("width", "height"),
    [(1, 1), (1, 70), (16, 16), (17, 33), (64, 64), (65, 63), (200, 5), (129, 257)],
)
def test_any_size(width: int, height: int) -> None:
    picture = kodak_crop(5, 257, 257).resize((width, height))
    decoded = vaecodec.decode(vaecodec.encode(picture, 90))
    assert decoded.size == (width, height)
    assert decoded.mode == "RGB"
    assert psnr(picture, decoded) > 26


def test_quality_orders_size_and_psnr(photo: Image.Image) -> None:
    files = [vaecodec.encode(photo, quality) for quality in (1, 25, 50, 75, 100)]
    sizes = [len(data) for data in files]
    ratios = [psnr(photo, vaecodec.decode(data)) for data in files]
    assert sizes == sorted(sizes)
    assert ratios == sorted(ratios)
    assert sizes[0] * 5 < sizes[-1]
    assert ratios[0] + 6 < ratios[-1]


def smaller_jpeg(image: Image.Image, size: int) -> io.BytesIO:
    """Return the best JPEG file of at most `size` bytes."""
    for quality in range(95, 0, -1):
        jpeg = image_bytes(image, "JPEG", quality=quality, optimize=True)
        if len(jpeg.getvalue()) <= size:
            return jpeg
    raise AssertionError("no JPEG is that small")


def test_beats_jpeg_at_the_same_size(photo: Image.Image, photo_file: bytes) -> None:
    jpeg = Image.open(smaller_jpeg(photo, len(photo_file)))
    assert psnr(photo, vaecodec.decode(photo_file)) > psnr(photo, jpeg) + 1.5


def test_arrays_and_images_give_the_same_file(photo: Image.Image, photo_file: bytes) -> None:
    assert vaecodec.encode(np.asarray(photo)) == photo_file
    assert vaecodec.encode(np.asarray(photo)[:, ::-1][:, ::-1]) == photo_file  # negative strides
    grey = photo.convert("L")
    assert vaecodec.encode(np.asarray(grey)) == vaecodec.encode(grey)


def test_grey_stays_grey(photo: Image.Image) -> None:
    grey = photo.convert("L")
    decoded = vaecodec.decode(vaecodec.encode(grey, 80))
    assert decoded.mode == "L"
    assert psnr(grey, decoded) > 32


def test_orientation_is_applied(photo: Image.Image) -> None:
    turned = photo.copy()
    turned.getexif()[0x0112] = 6
    assert vaecodec.decode(vaecodec.encode(turned)).size == (photo.height, photo.width)


def test_threads_agree_to_one_grey_level(photo_file: bytes) -> None:
    one, two = (vaecodec.decode(photo_file, threads=threads) for threads in (1, 2))
    assert difference(one, two) <= 1


def patterns() -> dict[str, np.ndarray]:
    """Return pictures of single pixels at full contrast, unlike anything in photographs.

    They have shape (96, 128) or (96, 128, 3).
    """
    black, white = 0, 255
    red, green = (255, 0, 0), (0, 255, 0)
    pictures = {
        "checkers": np.tile([[black, white], [white, black]], (48, 64)),
        "stripes": np.tile([[black], [white]], (48, 128)),
        "columns": np.tile([[red, green]], (96, 64, 1)),
        "noise": np.random.default_rng(0).integers(0, 2, (96, 128)) * 255,
        "dither": np.asarray(kodak_crop(7, 128, 96).convert("1").convert("L")),
    }
    return {name: picture.astype(np.uint8) for name, picture in pictures.items()}


@pytest.mark.parametrize("quality", [20, 90])
@pytest.mark.parametrize("name", patterns())
def test_patterns_are_at_worst_near_plain_grey(name: str, quality: float) -> None:
    """Unbounded activations would grow from layer to layer on them.

    Files would be larger than the pixels, and pictures would hold NaN.
    """
    picture = patterns()[name]
    data = vaecodec.encode(picture, quality)
    error = np.mean((picture - vaecodec.decode_array(data).astype(float)) ** 2)
    assert error < 1.4 * np.mean(np.var(picture.astype(float), (0, 1)))
    assert len(data) < 2 * picture.shape[0] * picture.shape[1]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.new("F", (4, 4)), "mode F"),
        (Image.new("LAB", (4, 4)), "mode LAB"),
        (Image.new("HSV", (4, 4)), "mode HSV"),
        (Image.fromarray(np.full((4, 4), -5, np.int32)), "mode I "),
        (np.zeros((4, 4, 3)), "uint8"),
        (np.zeros((4, 4, 5), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
        (np.broadcast_to(np.uint8(0), (2**15, 2**15)), "exceed the limit"),
    ],
)
def test_pictures_that_cannot_be_represented(image: Image.Image, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        vaecodec.encode(image)
