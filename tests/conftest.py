"""Pictures that the tests share."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

KODAK = Path(__file__).parents[1] / "benchmarks" / "data" / "kodak"
GOLDEN = Path(__file__).parent / "golden"


def kodak_crop(number: int, width: int, height: int) -> Image.Image:
    """The middle of a Kodak picture."""
    with Image.open(KODAK / f"kodim{number:02}.png") as image:
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return image.convert("RGB").crop((left, top, left + width, top + height))


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A photograph of odd size, 237 x 155."""
    return kodak_crop(23, 237, 155)


@pytest.fixture(scope="session")
def photo_file(photo: Image.Image) -> bytes:
    """That photograph as a .vae file of quality 50."""
    import vaecodec

    return vaecodec.encode(photo)


def psnr(a: Image.Image, b: Image.Image) -> float:
    difference = np.asarray(a, float) - np.asarray(b, float)
    return float(10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9)))
