"""ICC profiles, EXIF, XMP and orientation, from image files to .vae and back."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

import vaecodec
from helpers import flipped, image_bytes, kodak_crop, saved_bytes
from vaecodec.errors import FormatError
from vaecodec.format.reader import Reader
from vaecodec.image.files import read_picture

DESCRIPTION = 0x010E
MAKE = 0x010F
ORIENTATION = 0x0112
EXIF_IFD = 0x8769
DATE = 0x9003
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# It asks for a turn in two places.
ORIENTED_XMP = (
    b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/>'
    b"<tiff:Orientation> 6</tiff:Orientation></x:xmpmeta>"
)


@pytest.fixture
def picture() -> Image.Image:
    return kodak_crop(11, 150, 110)


def exif_with(tags: dict[int, object]) -> Image.Exif:
    exif = Image.Exif()
    exif.update(tags)
    return exif


def tags_of(exif: bytes) -> Image.Exif:
    tags = Image.Exif()
    tags.load(exif)
    return tags


@pytest.fixture
def jpeg(picture: Image.Image) -> io.BytesIO:
    """A JPEG file with all metadata, which asks for a turn."""
    exif = exif_with({DESCRIPTION: "a description", ORIENTATION: 6})
    options = {"icc_profile": PROFILE, "exif": exif, "xmp": b"<x:xmpmeta/>", "quality": 95}
    return image_bytes(picture, "JPEG", **options)


def test_metadata_is_kept(jpeg: io.BytesIO) -> None:
    info = vaecodec.decode(vaecodec.encode(jpeg)).info
    assert tags_of(info["exif"])[DESCRIPTION] == "a description"
    assert info["icc_profile"] == PROFILE
    assert info["xmp"] == b"<x:xmpmeta/>"


def test_pictures_are_upright(jpeg: io.BytesIO, picture: Image.Image) -> None:
    decoded = vaecodec.decode(vaecodec.encode(jpeg))
    assert decoded.size == (picture.height, picture.width)
    assert tags_of(decoded.info["exif"])[ORIENTATION] == 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_decoded_metadata_is_saved(jpeg: io.BytesIO, kind: str) -> None:
    saved = Image.open(saved_bytes(vaecodec.decode(vaecodec.encode(jpeg)), kind))
    saved.load()
    assert saved.info["icc_profile"] == PROFILE
    assert saved.getexif()[DESCRIPTION] == "a description"
    if kind == "PNG":
        assert "XML:com.adobe.xmp" in saved.info
    else:
        assert b"xmpmeta" in saved.info["xmp"]


def test_metadata_is_stripped(jpeg: io.BytesIO) -> None:
    source = read_picture(jpeg)
    stripped = vaecodec.encode(source, strip=True)
    assert len(stripped) < len(vaecodec.encode(source)) - 300
    assert not {"exif", "icc_profile", "xmp"} & set(vaecodec.decode(stripped).info)


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_exif_asks_for_no_second_turn(picture: Image.Image, kind: str) -> None:
    turned = Image.open(image_bytes(picture, kind, exif=exif_with({ORIENTATION: 6})))
    decoded = vaecodec.decode(vaecodec.encode(turned))
    assert decoded.size == (picture.height, picture.width)
    assert decoded.getexif().get(ORIENTATION, 1) == 1


@pytest.mark.parametrize("tags", [{}, {ORIENTATION: 6}])
def test_xmp_asks_for_no_second_turn(picture: Image.Image, tags: dict[int, object]) -> None:
    options = {"exif": exif_with(tags)} if tags else {}
    stored = Image.open(image_bytes(picture, "JPEG", xmp=ORIENTED_XMP, quality=95, **options))
    decoded = vaecodec.decode(vaecodec.encode(stored, 80))
    assert decoded.size == (picture.height, picture.width)
    assert decoded.getexif().get(ORIENTATION, 1) == 1
    assert b"6" not in decoded.info["xmp"]
    assert stored.getexif()[ORIENTATION] == 6  # the caller's image is unchanged


def test_sixteen_bit_png_keeps_its_metadata(picture: Image.Image) -> None:
    exif = exif_with({DESCRIPTION: "a description", ORIENTATION: 6})
    info = {"icc_profile": PROFILE, "exif": exif.tobytes(), "xmp": ORIENTED_XMP}
    array = np.asarray(picture, np.uint16) * 257 + 7
    source = read_picture(saved_bytes(array, "PNG", info))
    assert source.color.name == "RGB16"
    assert (source.width, source.height) == (picture.height, picture.width)
    with vaecodec.open(vaecodec.encode(source, 50)) as file:
        again = read_picture(saved_bytes(file.read_array(), "PNG", file.info()))
    for metadata in (source.metadata, again.metadata):
        assert metadata["icc_profile"] == PROFILE
        assert b"6" not in metadata["xmp"]
        assert dict(tags_of(metadata["exif"])) == {DESCRIPTION: "a description", ORIENTATION: 1}


def test_tags_of_tiff_become_exif(picture: Image.Image) -> None:
    tiff = image_bytes(picture, "TIFF", description="what it shows", artist="somebody")
    tags = tags_of(read_picture(tiff).metadata["exif"])
    assert dict(tags) == {DESCRIPTION: "what it shows", 0x013B: "somebody"}


def test_damaged_metadata_does_not_cost_the_rest(picture: Image.Image) -> None:
    picture.info.update(icc_profile=b"profile", xmp=b"<x/>")
    data = vaecodec.encode(picture)
    data = flipped(data, Reader(data).chunks[0].at + 8, 1)
    with pytest.raises(FormatError, match="checksum"):
        vaecodec.decode(data)
    info = vaecodec.decode(data, tolerant=True).info
    (lost,) = info["lost"]
    assert "icc_profile" in lost
    assert "icc_profile" not in info
    assert info["xmp"] == b"<x/>"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_survives_from_and_to_every_type(picture: Image.Image, kind: str) -> None:
    """From a file of this type to .vae and back, by Pillow's save and by `save_image`."""
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow has no {kind}")
    exif = exif_with({DESCRIPTION: "a description", MAKE: "a maker"})
    exif.get_ifd(EXIF_IFD)[DATE] = "2024:01:02 03:04:05"
    original = image_bytes(picture, kind, exif=exif.tobytes())
    decoded = vaecodec.decode(vaecodec.encode(original))
    stored = decoded.info["exif"]
    assert stored.startswith(b"Exif\0\0")
    assert not stored[6:].startswith(b"Exif\0\0")
    for saved in (
        image_bytes(decoded, kind, exif=stored),
        image_bytes(decoded, kind, exif=decoded.getexif().tobytes()),
        saved_bytes(decoded, kind),
        saved_bytes(decoded, kind, {"exif": stored[6:]}),
    ):
        tags = Image.open(saved).getexif()
        assert tags[DESCRIPTION] == "a description"
        assert tags[MAKE] == "a maker"
        assert tags.get_ifd(EXIF_IFD)[DATE] == "2024:01:02 03:04:05"
    again = read_picture(image_bytes(decoded, kind, exif=stored)).metadata["exif"]
    assert tags_of(again)[DESCRIPTION] == "a description"
    assert again.count(b"Exif\0\0") == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_of_images_and_arrays_agree(picture: Image.Image, orientation: int) -> None:
    exif = exif_with({ORIENTATION: orientation})
    shallow = read_picture(image_bytes(picture, exif=exif))
    array = np.asarray(picture, np.uint16) * 257
    deep = read_picture(saved_bytes(array, "PNG", {"exif": exif.tobytes()}))
    upright = ImageOps.exif_transpose(Image.open(image_bytes(picture, exif=exif)))
    expected = np.asarray(upright)
    assert np.array_equal(shallow.colors(), expected)
    assert np.array_equal(deep.colors(), expected.astype(np.uint16) * 257)
