"""The public functions: sources, open files, parts of pictures, and arguments that are refused."""

import inspect
import io
import mmap
import os
import pydoc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vaecodec
from helpers import difference, flipped
from vaecodec import FormatError, ImageError, ParameterError, VaecodecError
from vaecodec.format.reader import Reader


def test_every_public_name_exists_and_is_listed() -> None:
    assert set(vaecodec.__all__) <= set(dir(vaecodec))
    for name in vaecodec.__all__:
        assert getattr(vaecodec, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'compress'"):
        _ = vaecodec.compress


def test_names_are_listed_before_they_are_used() -> None:
    code = "import sys, vaecodec; assert set(vaecodec.__all__) <= set(dir(vaecodec))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_describes_the_functions() -> None:
    text = pydoc.plain(pydoc.render_doc(vaecodec))
    for name in ("encode(", "decode(", "open(", "sample("):
        assert f"    {name}" in text


@pytest.mark.parametrize("name", ["encode", "decode", "decode_array", "open", "probe"])
def test_functions_are_documented(name: str) -> None:
    text = inspect.getdoc(getattr(vaecodec, name)) or ""
    for section in ("Args:", "Returns:", "Raises:", "Example:"):
        assert section in text


def test_torch_is_not_imported() -> None:
    code = (
        "import sys, vaecodec; vaecodec.encode, vaecodec.decode; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_paths(folder: Path, photo_file: bytes) -> None:
    assert vaecodec.encode(folder / "photo.png") == photo_file
    assert vaecodec.encode(str(folder / "photo.png")) == photo_file
    expected = vaecodec.decode(photo_file)
    assert difference(vaecodec.decode(folder / "photo.vae"), expected) <= 1
    assert difference(vaecodec.decode(str(folder / "photo.vae")), expected) <= 1
    assert difference(vaecodec.decode_array(folder / "photo.vae"), expected) <= 1


@pytest.mark.parametrize("function", [vaecodec.encode, vaecodec.decode, vaecodec.open])
def test_a_missing_path(function: Callable[[str], object], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        function(str(tmp_path / "missing"))


def test_a_text_as_an_array() -> None:
    with pytest.raises(ImageError, match="uint8 or uint16, not <U5"):
        vaecodec.encode(np.array("photo"))


def test_probe(photo_file: bytes) -> None:
    header = vaecodec.probe(photo_file[:26])
    assert (header.width, header.height) == (237, 155)
    assert header.color.name == "RGB"
    assert header.quality == 50


BYTES_LIKE = {"bytes": bytes, "bytearray": bytearray, "memoryview": memoryview}


@pytest.mark.parametrize("kind", BYTES_LIKE)
def test_open_bytes(photo_file: bytes, kind: str) -> None:
    with vaecodec.open(BYTES_LIKE[kind](photo_file)) as file:
        assert file.header == vaecodec.probe(photo_file)
        assert difference(file.read(), vaecodec.decode(photo_file)) <= 1


def test_open_a_memory_map(folder: Path, photo_file: bytes) -> None:
    with (
        (folder / "photo.vae").open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        vaecodec.open(mapped) as file,
    ):
        assert file.header == vaecodec.probe(photo_file)
        assert difference(file.read(), vaecodec.decode(photo_file)) <= 1


def test_open_files_stay_open(folder: Path) -> None:
    with (folder / "photo.vae").open("rb") as stream:
        with vaecodec.open(stream) as file:
            assert file.read().size == (237, 155)
        assert not stream.closed


def test_open_a_pipe(photo_file: bytes) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb") as sink:
        sink.write(photo_file)  # a pipe's buffer holds more
        sink.close()
        with vaecodec.open(source) as file:
            assert file.read().size == (237, 155)
        assert not source.closed


def test_a_path_is_closed_with_the_file(folder: Path) -> None:
    with vaecodec.open(folder / "photo.vae") as file:
        assert file.header.width == 237
    with pytest.raises(ValueError, match="closed"):
        file.read()
    file.close()  # a second time does nothing


@pytest.mark.parametrize("data", [b"", b"no .vae file"])
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_path_is_closed_where_opening_fails(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.vae"
    path.write_bytes(data)
    with pytest.raises(FormatError):
        vaecodec.open(path)
    names = []
    for descriptor in Path("/proc/self/fd").iterdir():
        if descriptor.exists():
            names.append(descriptor.resolve())
    assert path.resolve() not in names


def test_open_reads_no_more_than_it_needs(tiled: bytes) -> None:
    stream = io.BytesIO(tiled)
    with vaecodec.open(stream) as file:
        assert file.header.tiles == 6
    assert stream.tell() < 200


def test_metadata(photo: Image.Image) -> None:
    image = photo.copy()
    image.info.update(icc_profile=b"profile", xmp=b"<x/>")
    image.getexif()[0x010E] = "a description"
    with vaecodec.open(vaecodec.encode(image)) as file:
        assert set(file.metadata) == {"icc_profile", "exif", "xmp"}
        assert file.metadata["icc_profile"] == b"profile"
        assert file.metadata["xmp"] == b"<x/>"
        assert b"a description" in file.metadata["exif"]
        assert file.read().info.items() >= file.metadata.items()


def test_no_metadata(photo_file: bytes) -> None:
    with vaecodec.open(photo_file) as file:
        assert file.metadata == {}
        assert set(file.read().info) == {"quality", "model"}


def test_read_and_read_array_agree(photo_file: bytes) -> None:
    with vaecodec.open(photo_file) as file:
        array = file.read_array()
        assert array.shape == (155, 237, 3)
        assert array.dtype == np.uint8
        assert np.array_equal(array, file.read())


def test_grey_arrays_have_two_dimensions(photo: Image.Image) -> None:
    assert vaecodec.decode_array(vaecodec.encode(photo.convert("L"))).shape == (155, 237)


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("region", [None, (0, 0, 64, 64), (120, 40, 100, 170)])
def test_open_files_and_decode_agree(
    tiled: bytes, region: tuple[int, int, int, int] | None, scale: int
) -> None:
    with vaecodec.open(tiled) as file:
        image = file.read(region, scale)
        array = file.read_array(region, scale)
    assert difference(image, vaecodec.decode(tiled, region=region, scale=scale)) <= 1
    assert difference(array, vaecodec.decode_array(tiled, region=region, scale=scale)) <= 1


def test_latents(tiled: bytes, scene: Image.Image) -> None:
    with vaecodec.open(tiled) as file:
        latents = file.latents()
        channels = file.networks.m
    assert len(latents) == 6
    assert latents[0].y.shape == (channels, 8, 8)
    assert latents[0].y.dtype.kind == "i"


def test_no_damage(tiled: bytes) -> None:
    with vaecodec.open(tiled, tolerant=True) as file:
        file.read()
        assert file.damage == vaecodec.Damage((), (), (), 1.0)


def test_damage(tiled: bytes) -> None:
    damaged = flipped(tiled, Reader(tiled).latent_chunks()[1].at + 20)
    damaged = damaged[: Reader(tiled).latent_chunks()[5].at + 9]
    with vaecodec.open(damaged, tolerant=True) as file:
        image = file.read()
        damage = file.damage
    assert damage.tiles == ((128, 0, 128, 128), (256, 128, 44, 89))
    assert damage.truncated == ((256, 128, 44, 89),)
    assert damage.lost == ()
    assert damage.share == pytest.approx(len(damaged) / len(tiled))
    assert image.info["damaged"] == list(damage.tiles)
    assert image.info["truncated"] == list(damage.truncated)


def test_damaged_files_are_refused_when_they_are_read(tiled: bytes) -> None:
    with vaecodec.open(flipped(tiled, -20)) as file:
        assert file.header.width == 300
        with pytest.raises(FormatError, match="damaged"):
            file.read()


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 0},
        {"quality": 0.99},
        {"quality": 100.01},
        {"quality": -5},
        {"quality": float("nan")},
        {"bpp": 0},
        {"bpp": float("nan")},
        {"size": 0},
        {"size": -1},
        {"psnr": float("inf")},
        {"psnr": -3},
        {"quality": 50, "size": 4000},
        {"bpp": 1, "psnr": 30},
        {"effort": 10},
        {"effort": -1},
        {"effort": 1.5},
        {"threads": -3},
        {"threads": 1.5},
        {"threads": 10**6},
    ],
    ids=str,
)
def test_arguments_that_encode_refuses(photo: Image.Image, options: dict[str, Any]) -> None:
    with pytest.raises(ParameterError) as error:
        vaecodec.encode(photo, **options)
    assert isinstance(error.value, ValueError)
    assert isinstance(error.value, VaecodecError)
    assert any(name in str(error.value) for name in options)


@pytest.mark.parametrize("function", [vaecodec.decode, vaecodec.decode_array])
@pytest.mark.parametrize(
    "options",
    [
        {"threads": -3},
        {"scale": 3},
        {"scale": 0},
        {"scale": 16},
        {"region": (-1, 0, 5, 5)},
        {"region": (0, 0, 0, 5)},
        {"region": (290, 0, 20, 5)},
        {"region": (0, 0, 5, 218)},
    ],
    ids=str,
)
def test_arguments_that_decode_refuses(
    tiled: bytes, function: Callable[..., object], options: dict[str, Any]
) -> None:
    (name,) = options
    with pytest.raises(ParameterError, match=name):
        function(tiled, **options)


def test_arguments_that_open_refuses(photo_file: bytes) -> None:
    with pytest.raises(ParameterError, match="threads"):
        vaecodec.open(photo_file, threads=-3)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1},
        {"temperature": 11},
        {"temperature": float("nan")},
        {"seed": -1},
        {"seed": 2**63},
        {"quality": 0},
        {"threads": -3},
    ],
    ids=str,
)
def test_arguments_that_sample_refuses(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ParameterError, match=name):
        vaecodec.sample(64, 64, **options)


@pytest.mark.parametrize(("width", "height"), [(0, 64), (64, -1), (10**9, 64)])
def test_sizes_that_sample_refuses(width: int, height: int) -> None:
    with pytest.raises(ImageError):
        vaecodec.sample(width, height)


@pytest.mark.parametrize("frames", [-1, 0, 1, 1001])
def test_numbers_of_frames_that_interpolate_refuses(photo: Image.Image, frames: int) -> None:
    with pytest.raises(ParameterError, match="frames"):
        vaecodec.interpolate(photo, photo, frames)


@pytest.mark.parametrize("function", [vaecodec.score, vaecodec.embed])
@pytest.mark.parametrize("options", [{"quality": 0}, {"threads": -3}], ids=str)
def test_arguments_that_score_and_embed_refuse(
    photo: Image.Image, function: Callable[..., object], options: dict[str, Any]
) -> None:
    (name,) = options
    with pytest.raises(ParameterError, match=name):
        function(photo, **options)


@pytest.mark.parametrize(
    ("task", "mask", "word"),
    [
        ("sharpen", None, "task"),
        ("inpaint", None, "mask"),
        ("denoise", np.zeros((155, 237), bool), "mask"),
    ],
)
def test_arguments_that_restore_refuses(
    photo: Image.Image, task: str, mask: np.ndarray | None, word: str
) -> None:
    with pytest.raises(ParameterError, match=word):
        vaecodec.restore(task, photo, mask)


def test_a_mask_of_another_size_is_refused(photo: Image.Image) -> None:
    with pytest.raises(ImageError, match="mask"):
        vaecodec.restore("inpaint", photo, np.zeros((3, 3), bool))
