"""Every kind of picture: grey, colours, alpha, palettes, 16 bits; conversions and their warnings."""

import io
from pathlib import Path

import numpy as np
import png
import pytest
from PIL import Image

import vaecodec
from helpers import encode_tiled, image_bytes, kodak_crop, psnr, saved_bytes
from vaecodec.errors import FormatError, ImageError
from vaecodec.format.container import write
from vaecodec.format.reader import Reader
from vaecodec.image.files import bits_per_sample, read_image, read_picture, save_image
from vaecodec.image.picture import Picture


@pytest.fixture
def picture() -> Image.Image:
    return kodak_crop(11, 150, 110)


def gradient(size: tuple[int, int]) -> Image.Image:
    return Image.radial_gradient("L").resize(size)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("tile_code", [0, 7])
def test_alpha_is_kept_without_loss(
    picture: Image.Image, mode: str, tile_code: int, progressive: bool
) -> None:
    image = picture.convert(mode)
    image.putalpha(gradient(image.size))
    data = encode_tiled(image, 70, tile_code, progressive=progressive)
    decoded = vaecodec.decode(data)
    assert decoded.mode == mode
    assert np.array_equal(decoded.getchannel("A"), image.getchannel("A"))
    assert psnr(picture.convert(mode[:-1]), decoded.convert(mode[:-1])) > 30
    part = vaecodec.decode(data, region=(100, 60, 40, 40))
    assert np.array_equal(part.getchannel("A"), image.crop((100, 60, 140, 100)).getchannel("A"))
    assert vaecodec.decode(data, scale=2).size == (75, 55)


def test_constant_alpha_costs_one_byte(picture: Image.Image) -> None:
    opaque = picture.convert("RGBA")
    assert len(vaecodec.encode(opaque)) == len(vaecodec.encode(picture)) + 10


def test_damaged_alpha_is_noticed(picture: Image.Image) -> None:
    image = picture.convert("RGBA")
    image.putalpha(gradient(image.size))
    reader = Reader(vaecodec.encode(image))
    tile, alpha = (reader.payload(chunk) for chunk in reader.chunks)
    other = image_bytes(gradient((151, 110))).getvalue()
    for payload in (b"", alpha[:-60], alpha[:30], other, b"ab", image_bytes(picture).getvalue()):
        with pytest.raises(FormatError, match="alpha"):
            vaecodec.decode(write(reader.header, [(b"T", tile), (b"A", payload)]))


def test_palettes_become_colors(picture: Image.Image) -> None:
    assert vaecodec.decode(vaecodec.encode(picture.quantize(64))).mode == "RGB"


def test_a_transparent_palette_entry_becomes_alpha(picture: Image.Image) -> None:
    palette = picture.quantize(64)
    palette.info["transparency"] = 3
    decoded = vaecodec.decode(vaecodec.encode(palette, 60))
    assert decoded.mode == "RGBA"
    assert np.array_equal(np.asarray(decoded)[..., 3] == 0, np.asarray(palette) == 3)


def test_a_transparent_color_becomes_alpha(picture: Image.Image) -> None:
    keyed = picture.copy()
    keyed.info["transparency"] = picture.getpixel((5, 5))
    assert vaecodec.decode(vaecodec.encode(keyed)).getpixel((5, 5))[3] == 0


def test_bits_become_grey(picture: Image.Image) -> None:
    assert vaecodec.decode(vaecodec.encode(picture.convert("1"))).mode == "L"


def test_sixteen_bits_are_finer_than_eight() -> None:
    """Eight bits would leave a dark, smooth ramp a handful of levels."""
    ramp = np.linspace(1000, 3000, 256).astype(np.uint16)[None].repeat(128, 0)
    data = vaecodec.encode(ramp, 100)
    decoded = vaecodec.decode_array(data)
    assert decoded.dtype == np.uint16
    assert len(np.unique(decoded)) > 100
    assert np.abs(decoded.astype(int) - ramp).mean() < 257
    assert vaecodec.encode(Image.fromarray(ramp), 100) == data
    image = vaecodec.decode(data)
    assert image.mode == "I;16"
    assert np.array_equal(np.asarray(image), decoded)


def test_sixteen_bit_colors_need_an_array(picture: Image.Image) -> None:
    array = np.asarray(picture, np.uint16) * 257 + 13
    data = vaecodec.encode(array, 80)
    assert vaecodec.probe(data).color.name == "RGB16"
    assert np.abs(vaecodec.decode_array(data).astype(int) - array).mean() < 257 * 9
    with pytest.raises(ImageError, match="decode_array"):
        vaecodec.decode(data)


def smooth_16_bits(channels: int) -> np.ndarray:
    """Return a smooth picture (60, 80, channels) of uint16. Its channels differ."""
    noise = np.random.default_rng(0).integers(0, 255, (6, 8), np.uint8)
    smooth = Image.fromarray(noise).resize((80, 60), Image.Resampling.BICUBIC)
    shifted = np.asarray(smooth, int)[:, :, None] * 257 + 100 * np.arange(channels)
    return (shifted % 65536).astype(np.uint16)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_there_and_back(channels: int) -> None:
    array = smooth_16_bits(channels)
    if channels == 1:
        picture = Picture(Image.fromarray(array[:, :, 0]))
    else:
        picture = read_picture(saved_bytes(array, "PNG", {}))
    assert picture.color.name == ("L16", "LA16", "RGB16", "RGBA16")[channels - 1]
    decoded = vaecodec.decode_array(vaecodec.encode(picture, 95)).reshape(60, 80, channels)
    colors = picture.color.color_channels
    assert np.abs(decoded[..., :colors].astype(int) - array[..., :colors]).mean() < 3 * 257
    if picture.color.has_alpha:
        assert np.array_equal(decoded[..., -1], array[..., -1])
    with pytest.raises(ImageError, match="JPEG"):
        save_image(decoded, "JPEG", io.BytesIO(), {})


def test_cmyk_is_converted_with_a_warning(picture: Image.Image) -> None:
    source = Picture(picture.convert("CMYK"))
    assert source.color.name == "RGB"
    assert "CMYK" in source.notes[0]
    assert psnr(picture, vaecodec.decode(vaecodec.encode(source, 80))) > 25
    with pytest.warns(UserWarning, match="CMYK"):
        vaecodec.encode(picture.convert("CMYK"))


def test_ycbcr_is_converted(picture: Image.Image) -> None:
    assert Picture(picture.convert("YCbCr")).color.name == "RGB"


def test_the_first_frame_is_encoded_with_a_warning(picture: Image.Image) -> None:
    other = gradient(picture.size).convert("P")
    moving = image_bytes(picture.quantize(200), "GIF", save_all=True, append_images=[other])
    source = read_picture(moving)
    assert "first of its 2 frames" in source.notes[0]
    assert psnr(picture, vaecodec.decode(vaecodec.encode(source, 80)).convert("RGB")) > 25


def png_bytes(rows: np.ndarray, bits: int, transparent: int | tuple[int, ...]) -> io.BytesIO:
    """Return a PNG file of grey (h, w) or RGB (h, w, 3) samples with a transparent one."""
    out = io.BytesIO()
    height, width = rows.shape[:2]
    writer = png.Writer(
        width, height, greyscale=rows.ndim == 2, bitdepth=bits, transparent=transparent
    )
    writer.write(out, rows.reshape(height, -1).tolist())
    out.seek(0)
    return out


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_png_with_a_transparent_level(bits: int) -> None:
    rows = (np.arange(40) % 2**bits)[None].repeat(20, 0)
    source = read_picture(png_bytes(rows, bits, transparent=1))
    decoded = vaecodec.decode_array(vaecodec.encode(source, 90))
    assert decoded.shape == (20, 40, 2)
    assert decoded.dtype == (np.uint16 if bits == 16 else np.uint8)
    assert np.array_equal(decoded[..., 1] == 0, rows == 1)


def test_sixteen_bit_png_with_a_transparent_color(picture: Image.Image) -> None:
    array = np.asarray(picture, np.uint16) * 257 + 7
    color = tuple(int(value) for value in array[5, 5])
    source = read_picture(png_bytes(array, 16, transparent=color))
    assert source.color.name == "RGBA16"
    assert vaecodec.decode_array(vaecodec.encode(source))[5, 5, 3] == 0


def test_a_warning_where_bits_are_rounded(picture: Image.Image) -> None:
    deep = b"P6 150 110 65535\n" + (np.asarray(picture).astype(">u2") * 257).tobytes()
    assert "16 bits per sample are read as 8" in read_picture(io.BytesIO(deep)).notes[0]


@pytest.mark.parametrize("kind", ["PNG", "PPM", "TIFF", "JPEG", "JPEG2000"])
def test_no_warning_without_a_reason(picture: Image.Image, kind: str) -> None:
    assert read_picture(image_bytes(picture, kind)).notes == []


def test_ten_bits_of_avif_are_noticed(picture: Image.Image) -> None:
    if "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow has no AVIF")
    data = image_bytes(picture, "AVIF").getvalue()
    assert read_picture(io.BytesIO(data)).notes == []
    at = data.index(b"av1C") + 6
    deep = data[:at] + bytes([data[at] | 64]) + data[at + 1 :]
    assert bits_per_sample(Image.open(io.BytesIO(data)), io.BytesIO(deep)) == 10


@pytest.fixture
def image_file(picture: Image.Image, tmp_path: Path) -> Path:
    picture.save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_a_path_is_a_picture(picture: Image.Image, image_file: Path) -> None:
    expected = vaecodec.encode(picture)
    for source in (image_file, str(image_file), Picture(image_file), read_picture(image_file)):
        assert vaecodec.encode(source) == expected
    with image_file.open("rb") as file:
        assert vaecodec.encode(file) == expected


def test_errors_name_the_path(image_file: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.png: 150 x 110 pixels exceed the limit of 1000"):
        Picture(image_file, max_pixels=1000)
    broken = image_file.with_name("b.png")
    broken.write_bytes(image_file.read_bytes()[:100])
    with pytest.raises(ImageError, match=r"b\.png: damaged image"):
        vaecodec.encode(broken)
    with pytest.raises(ImageError, match=r"b\.png: damaged image"):
        read_image(broken)
    with pytest.raises(FileNotFoundError, match=r"c\.png"):
        vaecodec.encode(str(image_file.with_name("c.png")))


def test_files_are_converted_with_a_warning(picture: Image.Image, tmp_path: Path) -> None:
    picture.convert("CMYK").save(tmp_path / "d.jpg")
    with pytest.warns(UserWarning, match="CMYK"):
        vaecodec.encode(tmp_path / "d.jpg")
