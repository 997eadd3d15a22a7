"""Every kind of picture: grey, colours, alpha, palettes, 16 bits, metadata; what is kept, what is converted and said."""
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import vaecodec
from conftest import kodak_crop, psnr
from vaecodec.errors import FormatError, ImageError
from vaecodec.picture import Picture
from vaecodec.pixels import read_picture, save_image


def file_of(image: Image.Image, kind: str = "PNG", **options: object) -> io.BytesIO:
    out = io.BytesIO()
    image.save(out, kind, **options)
    out.seek(0)
    return out


@pytest.fixture
def picture() -> Image.Image:
    return kodak_crop(11, 150, 110)


def gradient(size: tuple[int, int]) -> Image.Image:
    return Image.radial_gradient("L").resize(size)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("tile", [0, 7])
def test_alpha_is_kept_without_loss(monkeypatch: pytest.MonkeyPatch, picture: Image.Image, mode: str, tile: int) -> None:
    monkeypatch.setattr("vaecodec.encoding.tile_log2", lambda width, height: tile)
    image = picture.convert(mode)
    image.putalpha(gradient(image.size))
    for progressive in (False, True):
        data = vaecodec.encode(image, 70, progressive=progressive)
        decoded = vaecodec.decode(data)
        assert decoded.mode == mode
        assert np.array_equal(np.asarray(decoded.getchannel("A")), np.asarray(image.getchannel("A")))
        assert psnr(picture.convert(mode[:-1]), decoded.convert(mode[:-1])) > 30
        part = vaecodec.decode(data, region=(100, 60, 40, 40))
        assert np.array_equal(np.asarray(part.getchannel("A")), np.asarray(image.crop((100, 60, 140, 100)).getchannel("A")))
        assert vaecodec.decode(data, scale=2).size == (75, 55)


def test_constant_alpha_costs_one_byte(picture: Image.Image) -> None:
    opaque = picture.convert("RGBA")
    assert len(vaecodec.encode(opaque)) == len(vaecodec.encode(picture)) + 10


def test_damaged_alpha_is_noticed(picture: Image.Image) -> None:
    from vaecodec.container import Reader, write

    image = picture.convert("RGBA")
    image.putalpha(gradient(image.size))
    reader = Reader(vaecodec.encode(image))
    tile, alpha = (reader.payload(chunk) for chunk in reader.chunks)
    other = file_of(gradient((151, 110))).getvalue()
    for payload in (b"", alpha[:-60], alpha[:30], other, b"ab", file_of(picture).getvalue()):
        with pytest.raises(FormatError, match="alpha"):
            vaecodec.decode(write(reader.header, [(b"T", tile), (b"A", payload)]))


def test_palettes_and_bits(picture: Image.Image) -> None:
    palette = picture.quantize(64)
    assert vaecodec.decode(vaecodec.encode(palette)).mode == "RGB"
    palette.info["transparency"] = 3
    clear = vaecodec.decode(vaecodec.encode(palette, 60))
    assert clear.mode == "RGBA"
    assert np.array_equal(np.asarray(clear)[..., 3] == 0, np.asarray(palette) == 3)
    bits = picture.convert("1")
    assert vaecodec.decode(vaecodec.encode(bits)).mode == "L"
    keyed = picture.copy()
    keyed.info["transparency"] = picture.getpixel((5, 5))
    assert vaecodec.decode(vaecodec.encode(keyed)).getpixel((5, 5))[3] == 0


def test_sixteen_bits_are_finer_than_eight(picture: Image.Image) -> None:
    """A dark, smooth ramp: eight bits would leave it a handful of levels."""
    ramp = np.linspace(1000, 3000, 256).astype(np.uint16)[None].repeat(128, 0)
    decoded = vaecodec.decode_array(vaecodec.encode(ramp, 100))
    assert decoded.dtype == np.uint16 and len(np.unique(decoded)) > 100
    assert np.abs(decoded.astype(int) - ramp).mean() < 257
    grey = vaecodec.decode(vaecodec.encode(Image.fromarray(ramp), 100))
    assert grey.mode == "I;16" and np.array_equal(np.asarray(grey), decoded)
    color = np.asarray(picture, np.uint16) * 257 + 13
    data = vaecodec.encode(color, 80)
    assert vaecodec.probe(data).color == "RGB16"
    assert np.abs(vaecodec.decode_array(data).astype(int) - color).mean() < 257 * 9
    with pytest.raises(ImageError, match="decode_array"):
        vaecodec.decode(data)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_there_and_back(tmp_path: Path, channels: int) -> None:
    rng = np.random.default_rng(0)
    smooth = np.asarray(Image.fromarray(rng.integers(0, 255, (6, 8), np.uint8)).resize((80, 60), Image.Resampling.BICUBIC))
    array = (smooth.astype(np.uint16)[:, :, None] * 257 + 100 * np.arange(channels, dtype=np.uint16)) % 65536
    array = array.astype(np.uint16)
    if channels == 1:
        picture = Picture(Image.fromarray(array[:, :, 0]))
    else:
        out = io.BytesIO()
        save_image(array, "PNG", out, {})
        out.seek(0)
        picture = read_picture(out)
    assert picture.color == ("L16", "LA16", "RGB16", "RGBA16")[channels - 1]
    decoded = vaecodec.decode_array(vaecodec.encode(picture, 95)).reshape(60, 80, channels)
    colors = channels - (channels in (2, 4))
    assert np.abs(decoded[..., :colors].astype(int) - array[..., :colors]).mean() < 3 * 257
    if channels in (2, 4):
        assert np.array_equal(decoded[..., -1], array[..., -1])
    with pytest.raises(ImageError, match="JPEG"):
        save_image(decoded, "JPEG", io.BytesIO(), {})


def test_cmyk_is_converted_and_said(picture: Image.Image) -> None:
    source = Picture(picture.convert("CMYK"))
    assert source.color == "RGB" and "CMYK" in source.notes[0]
    assert psnr(picture, vaecodec.decode(vaecodec.encode(source, 80))) > 25
    assert Picture(picture.convert("YCbCr")).color == "RGB"


def test_only_the_first_frame_and_said(picture: Image.Image) -> None:
    moving = file_of(picture.quantize(200), "GIF", save_all=True, append_images=[gradient(picture.size).convert("P")])
    source = read_picture(moving)
    assert "first of its 2 frames" in source.notes[0]
    assert psnr(picture, vaecodec.decode(vaecodec.encode(source, 80)).convert("RGB")) > 25


def test_metadata_is_kept_or_stripped(picture: Image.Image) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "a description"
    exif[0x0112] = 6
    stored = file_of(picture, "JPEG", icc_profile=profile, exif=exif, xmp=b"<x:xmpmeta/>", quality=95)
    data = vaecodec.encode(read_picture(stored), 50)
    decoded = vaecodec.decode(data)
    assert decoded.size == (picture.height, picture.width)  # upright, and its EXIF does not ask for another turn
    kept = Image.Exif()
    kept.load(decoded.info["exif"])
    assert kept[0x010E] == "a description" and kept[0x0112] == 1
    assert decoded.info["icc_profile"] == profile and decoded.info["xmp"] == b"<x:xmpmeta/>"
    for kind in ("PNG", "JPEG", "WEBP"):
        again = Image.open(file_of_saved(decoded, kind))
        again.load()
        assert again.info["icc_profile"] == profile and again.getexif()[0x010E] == "a description"
        assert b"xmpmeta" in again.info["xmp"] if kind != "PNG" else "XML:com.adobe.xmp" in again.info
    stripped = vaecodec.encode(read_picture(stored), 50, strip=True)
    assert len(stripped) < len(data) - 300
    assert not {"exif", "icc_profile", "xmp"} & set(vaecodec.decode(stripped).info)


def file_of_saved(image: Image.Image, kind: str) -> io.BytesIO:
    out = io.BytesIO()
    save_image(image, kind, out, image.info)
    out.seek(0)
    return out
