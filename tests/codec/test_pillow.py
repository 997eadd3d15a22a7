"""The Pillow plugin, tested as Pillow tests its own."""

import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, UnidentifiedImageError

import vaecodec
import vaecodec.pillow
from helpers import difference, encode_tiled, flipped, image_bytes, kodak_crop, psnr


@pytest.fixture(scope="module")
def data(photo: Image.Image) -> bytes:
    return encode_tiled(photo, 60)


def test_registered() -> None:
    assert Image.registered_extensions()[".vae"] == "VAE"
    assert Image.MIME["VAE"] == "image/x-vae"


def test_open_reads_the_header_and_load_the_pixels(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode, image.size) == ("VAE", "RGB", (237, 155))
    assert image.info["quality"] == 60 and image.info["model"] == vaecodec.probe(data).model
    assert difference(image, vaecodec.decode(data)) <= 1
    monkeypatch.setattr("vaecodec.pillow.open_vae", None)
    image.load()  # does nothing a second time
    assert image.getpixel((3, 3)) == vaecodec.decode(data).getpixel((3, 3))


def test_save_and_open_by_name(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "a.vae", quality=30)
    with Image.open(tmp_path / "a.vae") as image:
        assert image.info["quality"] == 30
        image.load()
    assert (tmp_path / "a.vae").read_bytes() == vaecodec.encode(photo, 30)
    photo.save(tmp_path / "b.vae", bpp=0.5, progressive=True)
    assert (tmp_path / "b.vae").stat().st_size * 8 <= 0.5 * 237 * 155
    with pytest.raises(OSError, match="between 1 and 100"):
        photo.save(tmp_path / "c.vae", quality=0)
    with pytest.raises(OSError, match="mode F"):
        photo.convert("F").save(tmp_path / "d.vae")
    assert not (tmp_path / "d.vae").exists()


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "I;16", "P", "1"])
def test_modes(photo: Image.Image, mode: str) -> None:
    image = (
        Image.fromarray(np.asarray(photo.convert("L"), np.uint16) * 257)
        if mode == "I;16"
        else photo.convert(mode)
    )
    out = io.BytesIO()
    image.save(out, "VAE", quality=80)
    assert Image.open(out).mode == {"P": "RGB", "1": "L"}.get(mode, mode)
    decoded = Image.open(out).copy()
    assert decoded.size == photo.size
    if mode != "I;16":  # which convert() clips
        limit = {"1": 8, "P": 22}.get(mode, 30)  # these two are dithered
        assert psnr(image.convert("RGB"), decoded.convert("RGB")) > limit


def test_sixteen_bit_colors_are_rounded(photo: Image.Image) -> None:
    image = Image.open(io.BytesIO(vaecodec.encode(np.asarray(photo, np.uint16) * 257, 80)))
    assert image.mode == "RGB"
    assert psnr(photo, image) > 30


def test_metadata(photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010E] = "words"
    out = io.BytesIO()
    photo.save(out, "VAE", exif=exif, icc_profile=b"profile", xmp=b"<x/>")
    image = Image.open(out)
    assert image.getexif()[0x010E] == "words"
    assert image.info["icc_profile"] == b"profile" and image.info["xmp"] == b"<x/>"
    again = io.BytesIO()
    image.save(again, "VAE", xmp=None)
    info = Image.open(again).info
    assert info["icc_profile"] == b"profile"
    assert "xmp" not in info


def test_verify(data: bytes) -> None:
    Image.open(io.BytesIO(data)).verify()
    with pytest.raises(OSError, match="checksum"):
        Image.open(io.BytesIO(flipped(data, -20))).verify()
    image = Image.open(io.BytesIO(data))
    image.load()
    with pytest.raises(RuntimeError):
        image.verify()


@pytest.mark.parametrize("end", [0, 3, 20])
def test_files_without_a_header_are_not_recognised(data: bytes, end: int) -> None:
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(data[:end]))


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_truncated_files_open_but_do_not_load(data: bytes, share: float) -> None:
    truncated = data[: max(30, int(len(data) * share))]
    image = Image.open(io.BytesIO(truncated))
    assert image.size == (237, 155)
    with pytest.raises(OSError, match="cut short"):
        image.load()
    with pytest.raises(OSError, match="cut short"):
        Image.open(io.BytesIO(truncated)).verify()


def test_load_truncated_images(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    image = Image.open(io.BytesIO(data[: len(data) * 2 // 3]))
    image.load()
    assert image.size == (237, 155)
    assert image.getextrema() != ((0, 0),) * 3


def test_draft_gives_a_smaller_picture(data: bytes, photo: Image.Image) -> None:
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (50, 30))
    assert image.size == (60, 39)
    assert image.copy().size == (60, 39) and difference(image, vaecodec.decode(data, scale=4)) <= 1
    small = Image.open(io.BytesIO(data))
    small.thumbnail((60, 60))
    assert small.size == (60, 39)


def test_crop_decodes_a_region(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vaecodec.decode(data)
    image = Image.open(io.BytesIO(data))
    assert difference(image.crop((130, 20, 200, 100)), whole.crop((130, 20, 200, 100))) <= 1
    assert image._scale == 1  # the rest was not decoded
    assert image.crop((-5, -5, 10, 10)).size == (15, 15)
    assert difference(image, whole) <= 1


def test_pickle_and_threads(data: bytes) -> None:
    expected = vaecodec.decode(data)
    again = pickle.loads(pickle.dumps(Image.open(io.BytesIO(data))))
    assert difference(again, expected) <= 1
    again.load()
    with ThreadPoolExecutor(4) as pool:
        for image in pool.map(lambda _: Image.open(io.BytesIO(data)).convert("RGB"), range(8)):
            assert difference(image, expected) <= 1


def test_other_files_are_left_to_other_plugins() -> None:
    assert Image.open(image_bytes(kodak_crop(1, 20, 20))).format == "PNG"


def test_exif_given_to_save_turns_once(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif)
    image = Image.open(tmp_path / "a.jpg")
    for given in (image.info["exif"], image.getexif()):
        image.save(tmp_path / "a.vae", exif=given)
        again = Image.open(tmp_path / "a.vae")
        assert again.size == (40, 60)
        assert again.getexif().get(0x0112, 1) == 1
    with pytest.warns(UserWarning, match="CMYK"):
        image.convert("CMYK").save(tmp_path / "b.vae")
