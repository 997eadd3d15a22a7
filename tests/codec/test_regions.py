"""Parts of a picture, and reduced sizes."""

import io

import pytest
from PIL import Image

import vaecodec
from helpers import difference, encode_tiled, kodak_crop, psnr
from vaecodec.model import registry


@pytest.mark.parametrize(
    "region",
    [
        (0, 0, 300, 217),
        (0, 0, 1, 1),
        (299, 216, 1, 1),
        (100, 90, 60, 70),
        (127, 127, 2, 2),
        (5, 130, 290, 3),
    ],
)
def test_a_region_is_a_part_of_the_picture(
    tiled: bytes, tiled_picture: Image.Image, region: tuple[int, int, int, int]
) -> None:
    x, y, width, height = region
    part = vaecodec.decode(tiled, region=region)
    assert part.size == (width, height)
    assert difference(part, tiled_picture.crop((x, y, x + width, y + height))) <= 1


class CountingFile(io.BytesIO):
    """A file that counts the bytes that are read from it."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def test_a_region_reads_only_its_tiles() -> None:
    data = encode_tiled(kodak_crop(5, 768, 512), 90)
    part = CountingFile(data)
    vaecodec.decode(part, region=(20, 20, 20, 20))
    everything = CountingFile(data)
    vaecodec.decode(everything)
    assert part.taken < everything.taken / 10


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_a_reduced_size_is_the_mean_of_squares(
    tiled: bytes, scene: Image.Image, scale: int
) -> None:
    small = vaecodec.decode(tiled, scale=scale)
    assert small.size == (-(-300 // scale), -(-217 // scale))
    inside = (300 // scale, 217 // scale)
    expected = scene.crop((0, 0, inside[0] * scale, inside[1] * scale)).resize(
        inside, Image.Resampling.BOX
    )
    assert psnr(expected, small.crop((0, 0, *inside))) > 24


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_a_region_of_a_reduced_size(tiled: bytes, scale: int) -> None:
    small = vaecodec.decode(tiled, scale=scale)
    part = vaecodec.decode(tiled, scale=scale, region=(64, 32, 100, 80))
    expected = small.crop((64 // scale, 32 // scale, -(-164 // scale), -(-112 // scale)))
    assert difference(part, expected) <= 1


def test_the_preview_is_part_of_the_model() -> None:
    nets = registry.load_model()
    assert nets.tables["preview"].shape == (8, 8, 3, nets.m + 1)
