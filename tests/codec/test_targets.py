"""Encoding to a size, to bits per pixel, or to a PSNR, without and with effort."""

import numpy as np
import pytest
from PIL import Image

import vaecodec
from helpers import encode_tiled, kodak_crop, psnr
from vaecodec import api
from vaecodec.coding import targets
from vaecodec.errors import ModelError, VaecodecError


def test_size_in_bytes(photo: Image.Image) -> None:
    assert 0.98 * 4000 <= len(vaecodec.encode(photo, size=4000)) <= 4000


def test_bits_per_pixel(photo: Image.Image) -> None:
    bits = 8 * len(vaecodec.encode(photo, bpp=0.5))
    assert 0.98 * 0.5 <= bits / (photo.width * photo.height) <= 0.5


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA"])
def test_psnr_of_the_colors(photo: Image.Image, mode: str) -> None:
    image = photo.convert(mode)
    if "A" in mode:
        image.putalpha(Image.radial_gradient("L").resize(photo.size))
    decoded = vaecodec.decode(vaecodec.encode(image, psnr=34))
    assert decoded.mode == mode
    colors = mode.removesuffix("A")
    assert 34 <= psnr(image.convert(colors), decoded.convert(colors)) <= 34 * 1.02


def test_targets_out_of_reach(photo: Image.Image) -> None:
    with pytest.raises(VaecodecError, match="quality 1 takes"):
        vaecodec.encode(photo, size=100)
    with pytest.raises(VaecodecError, match="quality 100 gives"):
        vaecodec.encode(photo, psnr=70)


def test_targets_that_need_no_search(photo: Image.Image) -> None:
    assert vaecodec.probe(vaecodec.encode(photo, size=10**7)).quality == 100
    assert vaecodec.probe(vaecodec.encode(photo, psnr=5)).quality == 1


def search_in(curve: list[float], first_guess: int | None) -> tuple[float, int]:
    """Search among values at the qualities 100, 200, .. with straight lines between them.

    Return the value found and how many were looked at.
    """
    qualities: list[int] = []

    def measure(quality: int) -> tuple[bytes, float]:
        qualities.append(quality)
        return b"", float(np.interp(quality, np.arange(1, len(curve) + 1) * 100, curve))

    _, value = targets._search(measure, 1.01, False, first_guess)
    return value, len(qualities)


FALLING = (np.linspace(100, 1, 100) / 50).tolist()  # 1 at quality 51


@pytest.mark.parametrize("first_guess", [None, 100, 2000, 4900, 5050, 5200, 9000, 10000])
def test_search_from_anywhere(first_guess: int | None) -> None:
    value, count = search_in(FALLING, first_guess)
    assert 1 <= value <= 1.01
    assert count <= 12


@pytest.mark.parametrize("first_guess", [None, 100, 2000, 5050, 10000])
def test_search_where_all_or_none_is_good(first_guess: int | None) -> None:
    assert search_in([3.0] * 100, first_guess)[0] == 3
    assert search_in([0.5] * 100, first_guess)[0] == 0.5


def test_a_good_guess_saves_encodings() -> None:
    assert search_in(FALLING, 5050)[1] < search_in(FALLING, None)[1]


def test_effort_improves_the_picture(photo: Image.Image, photo_file: bytes) -> None:
    slow = vaecodec.encode(photo, 50, effort=1)
    assert len(slow) < 1.01 * len(photo_file)
    gain = psnr(photo, vaecodec.decode(slow)) - psnr(photo, vaecodec.decode(photo_file))
    assert gain > 0.03
    assert slow == vaecodec.encode(photo, 50, effort=1)


def test_effort_with_tiles() -> None:
    picture = kodak_crop(3, 600, 70)
    fast, slow = (encode_tiled(picture, 50, tile_code=9, effort=effort) for effort in (0, 1))
    assert vaecodec.probe(slow).tiles == 2
    assert len(slow) < 1.01 * len(fast)
    assert psnr(picture, vaecodec.decode(slow)) > psnr(picture, vaecodec.decode(fast))


@pytest.fixture
def efforts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The effort of each encoding that is made."""
    efforts: list[int] = []
    encode_picture = api.encode_picture

    def counted(*args: object) -> bytes:
        efforts.append(args[-1])  # type: ignore[arg-type]
        return encode_picture(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(api, "encode_picture", counted)
    return efforts


@pytest.mark.slow
def test_effort_meets_targets_with_few_encodings(photo: Image.Image, efforts: list[int]) -> None:
    assert 0.98 * 4000 <= len(vaecodec.encode(photo, size=4000, effort=1)) <= 4000
    assert 34 <= psnr(photo, vaecodec.decode(vaecodec.encode(photo, psnr=34, effort=1))) <= 34.1
    assert efforts.count(0) > efforts.count(1)
    assert efforts.count(1) <= 12


@pytest.mark.slow
def test_effort_with_targets_out_of_reach(photo: Image.Image) -> None:
    assert vaecodec.probe(vaecodec.encode(photo, size=10**7, effort=1)).quality == 100
    with pytest.raises(VaecodecError, match="cannot reach 70 dB: quality 100 gives"):
        vaecodec.encode(photo, psnr=70, effort=1)


def test_effort_needs_a_model_that_can_refine(photo: Image.Image) -> None:
    reason = r"model f5079916 has no refine\.onnx, so effort must be 0"
    with pytest.raises(ModelError, match=reason):
        vaecodec.encode(photo, effort=1, model="f5079916")
