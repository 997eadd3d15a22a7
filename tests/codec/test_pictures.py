"""Every kind of picture: grey, colours, alpha, palettes, 16 bits, metadata; what is kept, what is converted and said."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

import vaecodec
from conftest import kodak_crop, psnr
from vaecodec.errors import FormatError, ImageError
from vaecodec.image.files import read_image, read_picture, save_image
from vaecodec.image.picture import Picture


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
def test_alpha_is_kept_without_loss(
    monkeypatch: pytest.MonkeyPatch, picture: Image.Image, mode: str, tile: int
) -> None:
    monkeypatch.setattr("vaecodec.coding.session.tile_log2", lambda width, height: tile)
    image = picture.convert(mode)
    image.putalpha(gradient(image.size))
    for progressive in (False, True):
        data = vaecodec.encode(image, 70, progressive=progressive)
        decoded = vaecodec.decode(data)
        assert decoded.mode == mode
        assert np.array_equal(
            np.asarray(decoded.getchannel("A")), np.asarray(image.getchannel("A"))
        )
        assert psnr(picture.convert(mode[:-1]), decoded.convert(mode[:-1])) > 30
        part = vaecodec.decode(data, region=(100, 60, 40, 40))
        assert np.array_equal(
            np.asarray(part.getchannel("A")),
            np.asarray(image.crop((100, 60, 140, 100)).getchannel("A")),
        )
        assert vaecodec.decode(data, scale=2).size == (75, 55)


def test_constant_alpha_costs_one_byte(picture: Image.Image) -> None:
    opaque = picture.convert("RGBA")
    assert len(vaecodec.encode(opaque)) == len(vaecodec.encode(picture)) + 10


def test_damaged_alpha_is_noticed(picture: Image.Image) -> None:
    from vaecodec.format.container import write
    from vaecodec.format.reader import Reader

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
    assert vaecodec.probe(data).color.name == "RGB16"
    assert np.abs(vaecodec.decode_array(data).astype(int) - color).mean() < 257 * 9
    with pytest.raises(ImageError, match="decode_array"):
        vaecodec.decode(data)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_there_and_back(tmp_path: Path, channels: int) -> None:
    rng = np.random.default_rng(0)
    smooth = np.asarray(
        Image.fromarray(rng.integers(0, 255, (6, 8), np.uint8)).resize(
            (80, 60), Image.Resampling.BICUBIC
        )
    )
    array = (
        smooth.astype(np.uint16)[:, :, None] * 257 + 100 * np.arange(channels, dtype=np.uint16)
    ) % 65536
    array = array.astype(np.uint16)
    if channels == 1:
        picture = Picture(Image.fromarray(array[:, :, 0]))
    else:
        out = io.BytesIO()
        save_image(array, "PNG", out, {})
        out.seek(0)
        picture = read_picture(out)
    assert picture.color.name == ("L16", "LA16", "RGB16", "RGBA16")[channels - 1]
    decoded = vaecodec.decode_array(vaecodec.encode(picture, 95)).reshape(60, 80, channels)
    colors = channels - (channels in (2, 4))
    assert np.abs(decoded[..., :colors].astype(int) - array[..., :colors]).mean() < 3 * 257
    if channels in (2, 4):
        assert np.array_equal(decoded[..., -1], array[..., -1])
    with pytest.raises(ImageError, match="JPEG"):
        save_image(decoded, "JPEG", io.BytesIO(), {})


def test_cmyk_is_converted_and_said(picture: Image.Image) -> None:
    source = Picture(picture.convert("CMYK"))
    assert source.color.name == "RGB" and "CMYK" in source.notes[0]
    assert psnr(picture, vaecodec.decode(vaecodec.encode(source, 80))) > 25
    assert Picture(picture.convert("YCbCr")).color.name == "RGB"


def test_only_the_first_frame_and_said(picture: Image.Image) -> None:
    moving = file_of(
        picture.quantize(200),
        "GIF",
        save_all=True,
        append_images=[gradient(picture.size).convert("P")],
    )
    source = read_picture(moving)
    assert "first of its 2 frames" in source.notes[0]
    assert psnr(picture, vaecodec.decode(vaecodec.encode(source, 80)).convert("RGB")) > 25


def test_metadata_is_kept_or_stripped(picture: Image.Image) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "a description"
    exif[0x0112] = 6
    stored = file_of(
        picture, "JPEG", icc_profile=profile, exif=exif, xmp=b"<x:xmpmeta/>", quality=95
    )
    data = vaecodec.encode(read_picture(stored), 50)
    decoded = vaecodec.decode(data)
    assert decoded.size == (
        picture.height,
        picture.width,
    )  # upright, and its EXIF does not ask for another turn
    kept = Image.Exif()
    kept.load(decoded.info["exif"])
    assert kept[0x010E] == "a description" and kept[0x0112] == 1
    assert decoded.info["icc_profile"] == profile and decoded.info["xmp"] == b"<x:xmpmeta/>"
    for kind in ("PNG", "JPEG", "WEBP"):
        again = Image.open(file_of_saved(decoded, kind))
        again.load()
        assert again.info["icc_profile"] == profile and again.getexif()[0x010E] == "a description"
        assert (
            b"xmpmeta" in again.info["xmp"] if kind != "PNG" else "XML:com.adobe.xmp" in again.info
        )
    stripped = vaecodec.encode(read_picture(stored), 50, strip=True)
    assert len(stripped) < len(data) - 300
    assert not {"exif", "icc_profile", "xmp"} & set(vaecodec.decode(stripped).info)


def file_of_saved(
    image: Image.Image | np.ndarray, kind: str, info: dict[str, Any] | None = None
) -> io.BytesIO:
    out = io.BytesIO()
    save_image(image, kind, out, image.info if isinstance(image, Image.Image) else info or {})
    out.seek(0)
    return out


ORIENTED = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/><tiff:Orientation> 6</tiff:Orientation></x:xmpmeta>'


def test_nothing_asks_for_a_second_turn(picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("TIFF", "PNG"):
        turned = vaecodec.decode(vaecodec.encode(Image.open(file_of(picture, kind, exif=exif))))
        assert (
            turned.size == (picture.height, picture.width) and turned.getexif().get(0x0112, 1) == 1
        )
    stored = Image.open(file_of(picture, "JPEG", exif=exif, xmp=ORIENTED, quality=95))
    decoded = vaecodec.decode(vaecodec.encode(stored, 80))
    assert decoded.size == (picture.height, picture.width) and b"6" not in decoded.info["xmp"]
    assert stored.getexif()[0x0112] == 6  # the caller's image is as it was
    by_xmp = vaecodec.decode(
        vaecodec.encode(Image.open(file_of(picture, "JPEG", xmp=ORIENTED, quality=95)), 80)
    )
    assert by_xmp.size == (picture.height, picture.width) and by_xmp.getexif().get(0x0112, 1) == 1


def test_sixteen_bit_png_keeps_its_metadata_and_transparency(picture: Image.Image) -> None:
    import png

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a description", 6
    info = {"icc_profile": profile, "exif": exif.tobytes(), "xmp": ORIENTED}
    array = np.asarray(picture, np.uint16) * 257 + 7
    source = read_picture(file_of_saved(array, "PNG", info))
    assert source.color.name == "RGB16" and (source.width, source.height) == (
        picture.height,
        picture.width,
    )
    with vaecodec.open(vaecodec.encode(source, 50)) as file:
        again = read_picture(file_of_saved(file.read_array(), "PNG", file.info()))
    for one in (source, again):
        assert one.metadata["icc_profile"] == profile and b"6" not in one.metadata["xmp"]
        tags = Image.Exif()
        tags.load(one.metadata["exif"])
        assert tags[0x010E] == "a description" and tags[0x0112] == 1
    out = io.BytesIO()
    clear = tuple(int(v) for v in array[5, 5])
    png.Writer(150, 110, greyscale=False, bitdepth=16, transparent=clear).write(
        out, array.reshape(110, -1)
    )
    out.seek(0)
    keyed = read_picture(out)
    assert (
        keyed.color.name == "RGBA16" and vaecodec.decode_array(vaecodec.encode(keyed))[5, 5, 3] == 0
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_png_with_a_transparent_level(bits: int) -> None:
    import png

    rows = (np.arange(40) % 2**bits)[None].repeat(20, 0)
    out = io.BytesIO()
    png.Writer(40, 20, greyscale=True, bitdepth=bits, transparent=1).write(out, rows.tolist())
    out.seek(0)
    decoded = vaecodec.decode_array(vaecodec.encode(read_picture(out), 90))
    assert decoded.shape == (20, 40, 2) and decoded.dtype == (np.uint16 if bits == 16 else np.uint8)
    assert np.array_equal(decoded[..., 1] == 0, rows == 1)


def test_what_is_rounded_or_left_out_is_said(picture: Image.Image) -> None:
    deep = b"P6 150 110 65535\n" + (np.asarray(picture).astype(">u2") * 257).tobytes()
    assert "16 bits per sample are read as 8" in read_picture(io.BytesIO(deep)).notes[0]
    assert read_picture(file_of(picture, "PPM")).notes == []
    assert (
        read_picture(file_of(picture, "TIFF")).notes == []
        and read_picture(file_of(picture, "JPEG2000")).notes == []
    )
    tiff = file_of(picture, "TIFF", description="what it shows", artist="somebody")
    tags = Image.Exif()
    tags.load(read_picture(tiff).metadata["exif"])
    assert dict(tags) == {270: "what it shows", 315: "somebody"}
    with pytest.warns(UserWarning, match="CMYK"):
        vaecodec.encode(picture.convert("CMYK"))


def test_ten_bit_avif_is_said(picture: Image.Image) -> None:
    if "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow has no AVIF")
    data = file_of(picture, "AVIF").getvalue()
    assert read_picture(io.BytesIO(data)).notes == []
    at = data.index(b"av1C") + 6
    from vaecodec.image.files import bits_per_sample

    deep = data[:at] + bytes([data[at] | 64]) + data[at + 1 :]
    assert bits_per_sample(Image.open(io.BytesIO(data)), io.BytesIO(deep)) == 10


def test_damaged_metadata_does_not_cost_the_rest(picture: Image.Image) -> None:
    from vaecodec.format.reader import Reader

    picture.info.update(icc_profile=b"profile", xmp=b"<x/>")
    data = bytearray(vaecodec.encode(picture))
    data[Reader(bytes(data)).chunks[0].at + 8] ^= 1
    with pytest.raises(FormatError, match="checksum"):
        vaecodec.decode(bytes(data))
    saved = vaecodec.decode(bytes(data), tolerant=True)
    assert (
        len(saved.info["lost"]) == 1
        and "icc_profile" in saved.info["lost"][0]
        and "icc_profile" not in saved.info
    )
    assert saved.info["xmp"] == b"<x/>"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_survives_from_and_to_every_type(picture: Image.Image, kind: str) -> None:
    """From a file of this type to .vae and back, by Pillow's save and by save_image."""
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow has no {kind}")
    exif = Image.Exif()
    exif[0x010E] = "a description"
    exif[0x010F] = "a maker"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
    original = file_of(picture, kind, exif=exif.tobytes())
    decoded = vaecodec.decode(vaecodec.encode(read_picture(original)))
    stored = decoded.info["exif"]
    assert stored.startswith(b"Exif\0\0") and not stored[6:].startswith(b"Exif\0\0")
    for saved in (
        file_of(decoded, kind, exif=stored),
        file_of(decoded, kind, exif=decoded.getexif().tobytes()),
        file_of_saved(decoded, kind),
        file_of_saved(decoded, kind, {"exif": stored[6:]}),
    ):
        tags = Image.open(saved).getexif()
        assert tags[0x010E] == "a description" and tags[0x010F] == "a maker"
        assert tags.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"
    again = read_picture(file_of(decoded, kind, exif=stored)).metadata["exif"]
    kept = Image.Exif()
    kept.load(again)
    assert kept[0x010E] == "a description" and again.count(b"Exif\0\0") == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_of_images_and_arrays_agree(picture: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    shallow = read_picture(file_of(picture, "PNG", exif=exif))
    array = np.asarray(picture, np.uint16) * 257
    deep = read_picture(file_of_saved(array, "PNG", {"exif": exif.tobytes()}))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(file_of(picture, exif=exif))))
    assert np.array_equal(shallow.colors(), expected)
    assert np.array_equal(deep.colors(), expected.astype(np.uint16) * 257)


def test_a_path_is_a_picture(picture: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture.save(path)
    expected = vaecodec.encode(picture)
    for source in (path, str(path), Picture(path), read_picture(str(path))):
        assert vaecodec.encode(source) == expected
    with path.open("rb") as file:
        assert vaecodec.encode(file) == expected
    with pytest.raises(ImageError, match=r"a\.png: 150 x 110 pixels exceed the limit of 1000"):
        Picture(path, max_pixels=1000)
    (tmp_path / "b.png").write_bytes(path.read_bytes()[:100])
    with pytest.raises(ImageError, match=r"b\.png: damaged image"):
        vaecodec.encode(tmp_path / "b.png")
    with pytest.raises(ImageError, match=r"b\.png: damaged image"):
        read_image(tmp_path / "b.png")
    with pytest.raises(FileNotFoundError, match=r"c\.png"):
        vaecodec.encode(str(tmp_path / "c.png"))
    picture.convert("CMYK").save(tmp_path / "d.jpg")
    with pytest.warns(UserWarning, match="CMYK"):
        vaecodec.encode(tmp_path / "d.jpg")
