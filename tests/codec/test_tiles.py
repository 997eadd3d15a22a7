"""Tiles: they cover the picture, and they change neither the picture nor the latents."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import vaecodec
from helpers import difference, encode_tiled, kodak_crop, psnr
from vaecodec.coding.analysis import analyse
from vaecodec.coding.tile_reader import TileReader
from vaecodec.coding.tiling import Grid, tile_log2
from vaecodec.errors import ImageError
from vaecodec.format.reader import Reader
from vaecodec.image.box import Box
from vaecodec.image.picture import Picture
from vaecodec.model import registry


@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([0, 128, 256]), st.data())
def test_blocks_cover_every_pixel_once(
    width: int, height: int, side: int, data: st.DataObject
) -> None:
    grid = Grid(width, height, side)
    x = data.draw(st.integers(0, width - 1))
    y = data.draw(st.integers(0, height - 1))
    area = Box(x, y, data.draw(st.integers(x + 1, width)), data.draw(st.integers(y + 1, height)))
    seen = np.zeros((height, width), int)
    for row in grid.blocks(area):
        for box in row:
            seen[box.y0 : box.y1, box.x0 : box.x1] += 1
            tiles = [grid.box(tile) for tile in grid.meeting(box)]
            assert all(tile.meets(box) for tile in tiles)
            parts = [tile.within(box) for tile in tiles]
            assert sum(part.width * part.height for part in parts) == box.width * box.height
    assert (seen[area.y0 : area.y1, area.x0 : area.x1] == 1).all()
    assert seen.sum() == area.width * area.height


@pytest.mark.parametrize("quality", [5, 95])
def test_tiles_change_nothing_but_a_few_bits(scene: Image.Image, quality: int) -> None:
    """g_a and g_s see beyond the tiles, so the picture hardly depends on them, edges included."""
    whole = vaecodec.encode(scene, quality)
    tiled = encode_tiled(scene, quality)
    assert vaecodec.probe(whole).tiles == 1
    assert vaecodec.probe(tiled).tiles == 6
    assert len(whole) < len(tiled) < 1.1 * len(whole) + 6 * 30
    change = psnr(scene, vaecodec.decode(whole)) - psnr(scene, vaecodec.decode(tiled))
    assert abs(change) < 0.05


def test_synthesis_of_tiles_is_that_of_the_whole(tiled: bytes, tiled_picture: Image.Image) -> None:
    with vaecodec.open(tiled) as file:
        header = file.header
        latents = file.latents()
        nets = file.networks
    grid = Grid(header.width, header.height, 128)
    y = np.zeros((nets.m, 14, 19), np.float32)
    for tile, part in enumerate(latents):
        box = grid.box(tile)
        y[:, box.y0 // 16 : -(-box.y1 // 16), box.x0 // 16 : -(-box.x1 // 16)] = part.y
    samples = nets.synthesise(y, header.quality)[: header.height, : header.width]
    assert difference(np.clip(np.rint(samples), 0, 255), tiled_picture) <= 1


def test_analysis_of_tiles_is_that_of_the_whole(scene: Image.Image) -> None:
    grid = Grid(*scene.size, 128)
    nets = registry.load_model()
    whole, _ = analyse(Picture(scene), grid.picture, nets, 60)
    part, area = analyse(Picture(scene), grid.box(4), nets, 60)
    expected = whole[:, area.y0 // 16 : area.y1 // 16, area.x0 // 16 : area.x1 // 16]
    assert np.abs(part - expected).max() < 1e-3 * np.abs(expected).max()


def test_a_smooth_gradient_has_no_seams() -> None:
    ramp = np.add.outer(np.arange(384), np.arange(384)) * 255 / 766
    decoded = np.asarray(vaecodec.decode(encode_tiled(np.rint(ramp).astype(np.uint8), 70)), int)
    assert difference(decoded, np.rint(ramp)) <= 6
    for edge in (128, 256):
        for axis in (0, 1):
            jumps = np.abs(np.diff(decoded, axis=axis))
            assert jumps.take(edge - 1, axis=axis).mean() < jumps.mean() + 0.5


def test_threads_and_order_change_no_latent(tiled: bytes, stepped: bytes) -> None:
    expected = [part.y for part in vaecodec.open(tiled, threads=1).latents()]
    for data in (tiled, stepped):
        for threads in (1, 2, 5):
            latents = vaecodec.open(data, threads=threads).latents()
            for part, y in zip(latents, expected, strict=True):
                assert np.array_equal(part.y, y)


def test_threads_and_order_hardly_change_the_picture(tiled: bytes, stepped: bytes) -> None:
    assert difference(vaecodec.decode(tiled, threads=1), vaecodec.decode(stepped, threads=3)) <= 1


def test_a_hundred_decodings_give_the_same_latents() -> None:
    data = encode_tiled(kodak_crop(14, 140, 130), 50, progressive=True)
    expected = [(part.y.tobytes(), part.z.tobytes()) for part in vaecodec.open(data).latents()]
    rng = np.random.default_rng(0)
    for i in range(100):
        tiles = TileReader(Reader(data), registry.load_model(vaecodec.probe(data).model, 1 + i % 2))
        for tile in rng.permutation(4):
            part = tiles.decode(tiles.read(int(tile)))
            assert part is not None
            assert (part.y.tobytes(), part.z.tobytes()) == expected[tile]


def test_thin_pictures_have_tiles() -> None:
    """Cells of z are 64 pixels high, so a row of pixels must not be one tile of any length."""
    assert tile_log2(30_000, 1) == 0
    assert tile_log2(40_000, 1) == 9
    assert tile_log2(1024, 1024) == 0
    row = np.asarray(kodak_crop(4, 768, 1).resize((40_000, 1)))
    decoded = vaecodec.decode(vaecodec.encode(row, 90), region=(39_000, 0, 500, 1))
    assert psnr(row[:, 39_000:39_500], decoded) > 30


def test_too_many_tiles_are_refused() -> None:
    with pytest.raises(ImageError, match="tiles, more than"):
        vaecodec.encode(np.zeros((1, 2**24 + 512), np.uint8))
