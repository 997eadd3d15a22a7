"""Damaged and truncated files: what is refused, what is named, and what can still be shown."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import vaecodec
from helpers import difference, encode_tiled, flipped, kodak_crop, psnr
from vaecodec.errors import FormatError
from vaecodec.format.color import color_named
from vaecodec.format.container import Header, write
from vaecodec.format.reader import Reader
from vaecodec.model import registry

SIZE = (300, 217)


@pytest.mark.parametrize("kind", ["whole", "tiled", "stepped"])
def test_every_cut_gives_a_preview(kind: str, request: pytest.FixtureRequest) -> None:
    data = request.getfixturevalue(kind)
    first = Reader(data).latent_chunks()[0]
    for end in [first.at + 30, *np.linspace(first.at + 40, len(data) - 1, 7).astype(int)]:
        with pytest.raises(FormatError):
            vaecodec.decode(data[:end])
        preview = vaecodec.decode(data[:end], tolerant=True)
        assert preview.size == SIZE
        assert preview.info["share"] == pytest.approx(end / len(data), abs=0.2)


@pytest.mark.parametrize("kind", ["whole", "tiled", "stepped"])
def test_cuts_before_the_picture_are_refused(kind: str, request: pytest.FixtureRequest) -> None:
    data = request.getfixturevalue(kind)
    for end in (0, 10, 26, Reader(data).latent_chunks()[0].at):
        with pytest.raises(FormatError):
            vaecodec.decode(data[:end], tolerant=True)


@pytest.mark.parametrize("kind", ["whole", "tiled", "stepped"])
def test_tolerance_changes_nothing_in_good_files(kind: str, request: pytest.FixtureRequest) -> None:
    data = request.getfixturevalue(kind)
    decoded = vaecodec.decode(data, tolerant=True)
    assert difference(decoded, vaecodec.decode(data)) == 0
    assert decoded.info["damaged"] == []


def test_more_bytes_show_more() -> None:
    picture = kodak_crop(23, 384, 256)
    data = encode_tiled(picture, 60, progressive=True)
    cuts = [data[: round(len(data) * share)] for share in (0.1, 0.4, 0.7, 0.9, 1)]
    quality = [psnr(picture, vaecodec.decode(part, tolerant=True)) for part in cuts]
    assert quality == sorted(quality)
    assert quality[1] > 18
    assert quality[-1] > 33


@pytest.fixture(scope="module")
def two_damaged(tiled: bytes) -> bytes:
    """Tile 1 has a damaged payload, tile 4 a damaged length."""
    chunks = Reader(tiled).latent_chunks()
    return flipped(flipped(tiled, chunks[1].at + 20), chunks[4].at + 1)


def test_damaged_tiles_are_named(two_damaged: bytes) -> None:
    with pytest.raises(FormatError, match=r"2 of its 6 tiles \(1, 4\)"):
        vaecodec.decode(two_damaged)


def test_damaged_tiles_are_filled(
    two_damaged: bytes, tiled_picture: Image.Image, scene: Image.Image
) -> None:
    saved = vaecodec.decode(two_damaged, tolerant=True)
    assert saved.info["damaged"] == [(128, 0, 128, 128), (128, 128, 128, 89)]
    out_of_reach = (0, 0, 40, 217)
    assert difference(saved.crop(out_of_reach), tiled_picture.crop(out_of_reach)) == 0
    damaged = (128, 0, 256, 128)
    assert psnr(saved.crop(damaged), scene.crop(damaged)) > 10


def test_the_steps_before_the_damage_are_used(stepped: bytes, scene: Image.Image) -> None:
    """Step 1 of tile 3 is damaged."""
    damaged = flipped(stepped, Reader(stepped).latent_chunks()[6 * 2 + 3].at + 7)
    with pytest.raises(FormatError, match=r"1 of its 6 tiles \(3\)"):
        vaecodec.decode(damaged)
    saved = vaecodec.decode(damaged, tolerant=True)
    assert saved.info["damaged"] == [(0, 128, 128, 89)]
    area = (0, 128, 128, 217)
    assert psnr(saved.crop(area), scene.crop(area)) > 15


@pytest.fixture(scope="module")
def plane() -> Image.Image:
    return Image.radial_gradient("L").resize(SIZE)


@pytest.fixture(scope="module")
def with_alpha(scene: Image.Image, plane: Image.Image) -> bytes:
    image = scene.copy()
    image.putalpha(plane)
    return encode_tiled(image, 60)


def test_lossless_alpha_survives_its_tile(with_alpha: bytes, plane: Image.Image) -> None:
    tile = Reader(with_alpha).latent_chunks()[1]
    saved = vaecodec.decode(flipped(with_alpha, tile.at + 20), tolerant=True)
    assert saved.info["damaged"] == [(128, 0, 128, 128)]
    assert difference(saved.getchannel("A"), plane) == 0


def test_lost_alpha_is_filled(with_alpha: bytes, plane: Image.Image) -> None:
    alpha = Reader(with_alpha).alpha_chunks()[1]
    saved = vaecodec.decode(flipped(with_alpha, alpha.at + 20), tolerant=True)
    assert saved.info["damaged"] == [(128, 0, 128, 128)]
    assert difference(saved.convert("RGB"), vaecodec.decode(with_alpha).convert("RGB")) == 0
    change = np.abs(np.asarray(saved.getchannel("A"), int) - np.asarray(plane, int))
    assert change[:, :128].max() == 0
    assert 0 < change[:128, 128:256].max() < 120


def test_truncated_tiles_are_told_from_damaged_ones(with_alpha: bytes) -> None:
    reader = Reader(with_alpha)
    end = reader.alpha_chunks()[4].at
    info = vaecodec.decode(with_alpha[:end], tolerant=True).info
    assert len(info["damaged"]) == 2
    assert info["truncated"] == info["damaged"]
    damaged = flipped(with_alpha, reader.latent_chunks()[1].at + 20)
    info = vaecodec.decode(damaged[:end], tolerant=True).info
    assert len(info["damaged"]) == 3
    assert len(info["truncated"]) == 2
    assert set(info["damaged"]) - set(info["truncated"]) == {(128, 0, 128, 128)}


@pytest.mark.parametrize(("side", "tile_code"), [(23_000, 9), (1400, 0)])
def test_a_large_claim_with_nothing_behind_it_is_refused(side: int, tile_code: int) -> None:
    header = Header(side, side, color_named("RGB"), 50, registry.default_model(), tile_code)
    with pytest.raises(FormatError, match="too few to show"):
        vaecodec.decode(write(header, [(b"T", bytes(8))]), tolerant=True)


def test_nothing_is_left_of_a_damaged_single_tile(whole: bytes) -> None:
    with pytest.raises(FormatError, match="nothing of the picture is left"):
        vaecodec.decode(flipped(whole, len(whole) - 8), tolerant=True)


def only_tile(data: bytes) -> bytes:
    """Return the payload of a file's only tile."""
    reader = Reader(data)
    (chunk,) = reader.latent_chunks()
    return reader.payload(chunk)


def test_damaged_data_under_right_checksums_is_never_shown(photo_file: bytes) -> None:
    """Where the chunk's checksum was made right again, the checksum of the latents tells."""
    header = vaecodec.probe(photo_file)
    tile = only_tile(photo_file)
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = flipped(tile, int(rng.integers(len(tile))), 1 << int(rng.integers(8)))
        with pytest.raises(FormatError, match="damaged"):
            vaecodec.decode(write(header, [(b"T", damaged)]))


def test_cut_data_under_right_checksums_is_never_shown(photo_file: bytes) -> None:
    header = vaecodec.probe(photo_file)
    tile = only_tile(photo_file)
    for length in (0, 3, 4, 5, 8, 100, len(tile) - 40, len(tile) - 4):
        with pytest.raises(FormatError, match="damaged"):
            vaecodec.decode(write(header, [(b"T", tile[:length])]))


def test_a_claim_of_many_pixels_costs_no_memory(photo_file: bytes) -> None:
    """A header that claims two megapixels over a hundred bytes is refused at once."""
    header = dataclasses.replace(vaecodec.probe(photo_file), width=1400, height=1400)
    data = write(header, [(b"T", only_tile(photo_file)[:100])])
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="100 bytes cannot hold 1400 x 1400"):
            vaecodec.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
