"""The metrics against what is known of them."""

import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from helpers import KODAK, kodak_crop
from vaecodec_bench.metrics import METRICS, decibels, measure


def jpeg(image: Image.Image, quality: int) -> np.ndarray:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))


def test_ssimulacra2_of_jpeg_is_that_which_its_authors_name() -> None:
    """Averages over pictures of libjpeg-turbo's at 4:2:0, in the original's description: 30 at quality 20, 50 at quality 35."""
    images = [Image.open(KODAK / f"kodim{number:02}.png").convert("RGB") for number in (1, 13, 23)]
    for quality, expected in ((20, 30), (35, 50)):
        scores = [
            measure(["ssimulacra2"], np.asarray(image), jpeg(image, quality))["ssimulacra2"]
            for image in images
        ]
        assert np.mean(scores) == pytest.approx(expected, abs=4)


@pytest.mark.torch
def test_identical_and_ever_worse_pictures() -> None:
    image = kodak_crop(5, 200, 180)
    original = np.asarray(image)
    values = [
        measure(list(METRICS), original, picture)
        for picture in (original, *(jpeg(image, q) for q in (90, 50, 10)))
    ]
    assert values[0] == {"psnr": 100, "ms-ssim": pytest.approx(1), "ssimulacra2": 100}
    for name in METRICS:
        scores = [value[name] for value in values]
        assert all(a > b for a, b in pairwise(scores))


@pytest.mark.torch
def test_ms_ssim_is_that_of_the_package_in_floats() -> None:
    import torch
    from pytorch_msssim import ms_ssim

    image = kodak_crop(19, 240, 192)
    a, b = np.asarray(image), jpeg(image, 30)
    x, y = (torch.tensor(p / 255.0, dtype=torch.float64).permute(2, 0, 1)[None] for p in (a, b))
    assert measure(["ms-ssim"], a, b)["ms-ssim"] == pytest.approx(
        float(ms_ssim(x, y, data_range=1.0)), abs=1e-5
    )


@pytest.mark.torch
def test_pictures_too_small_for_a_metric() -> None:
    small = np.zeros((160, 200, 3), np.uint8)
    assert measure(["psnr", "ms-ssim"], small, small) == {"psnr": 100, "ms-ssim": None}
    assert measure(["ssimulacra2"], small[:7], small[:7]) == {"ssimulacra2": None}


def test_decibels() -> None:
    assert [decibels(x) for x in (0, 0.9, 0.99, 1, 1.0000001)] == [
        0,
        pytest.approx(10),
        pytest.approx(20),
        100,
        100,
    ]
