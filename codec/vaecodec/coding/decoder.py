"""Decode the bytes of a .vae file to pictures."""

from collections.abc import Iterator

import numpy as np

from vaecodec._arrays import Integers
from vaecodec.coding.conceal import fill_boxes
from vaecodec.coding.latents import Latents
from vaecodec.coding.synthesis import narrow_to_int16, render
from vaecodec.coding.tile_pool import TilePool
from vaecodec.coding.tile_reader import TileReader
from vaecodec.coding.tiling import CELL_Y, HALO
from vaecodec.errors import FormatError
from vaecodec.image.box import Box
from vaecodec.image.canvas import Canvas, reduce_plane, to_samples


def decode_area(
    tiles: TileReader,
    pool: TilePool,
    area: Box,
    canvas: Canvas,
    scale: int = 1,
) -> None:
    """Decode an area of a picture into a canvas.

    Args:
        tiles: The open file.
        pool: The networks and threads.
        area: The pixels to decode. Its corner lies at a multiple of `scale`.
        canvas: Where the pixels go. Its size is that of `area` divided by `scale`.
        scale: 1, 2, 4 or 8.

    Raises:
        FormatError: Tiles are damaged, and the file is not read tolerantly. The message lists
            all damaged tiles of the area.
    """
    header = tiles.header
    tiles.forget_damage()
    unread = set(tiles.grid.tiles)

    def latents_of(numbers: list[int]) -> Iterator[Integers | None]:
        unread.difference_update(numbers)
        latents = list(_decode_tiles(tiles, pool, numbers))
        if tiles.damage.problems and not tiles.reader.tolerant:
            # No picture comes of this. Look at the rest only to name all that is damaged.
            for _ in _decode_tiles(tiles, pool, sorted(unread & needed)):
                pass
            tiles.check_undamaged()
        yield from latents

    halo = HALO * CELL_Y if scale == 1 else 0
    needed = set(tiles.grid.meeting(area.grown(halo).within(tiles.grid.picture)))
    for box, samples in render(area, tiles.grid, pool, header.quality, latents_of, scale):
        pixels = to_samples(samples, header.color)
        if header.color.has_alpha:
            plane = tiles.alpha(box)
            if scale > 1:
                plane = reduce_plane(plane, scale)
            pixels = np.concatenate([pixels, plane[:, :, None]], axis=2)
        canvas.put((box.x0 - area.x0) // scale, (box.y0 - area.y0) // scale, pixels)
    tiles.check_undamaged()
    _conceal(tiles, area, canvas, scale)


def decode_latents(tiles: TileReader, pool: TilePool) -> list[Latents]:
    """Return the latents of all tiles. They are the same on every machine.

    Raises:
        FormatError: Tiles are damaged.
    """
    tiles.forget_damage()
    numbers = list(tiles.grid.tiles)
    jobs = (tiles.read(tile) for tile in numbers)
    latents = list(pool.map(tiles.decode, jobs))
    tiles.check_undamaged()
    complete = [tile_latents for tile_latents in latents if tile_latents is not None]
    if len(complete) < len(latents):
        raise FormatError(f"damaged: {len(latents) - len(complete)} of its tiles have no latents")
    return complete


def _decode_tiles(
    tiles: TileReader, pool: TilePool, numbers: list[int]
) -> Iterator[Integers | None]:
    """Yield y in 1/64 of each tile, or None for a tile that is lost."""
    # The pool consumes this generator in the calling thread, so the file is read by one thread.
    jobs = (tiles.read(tile) for tile in numbers)
    for latents in pool.map(tiles.decode, jobs):
        yield None if latents is None else narrow_to_int16(latents.y)


def _conceal(tiles: TileReader, area: Box, canvas: Canvas, scale: int) -> None:
    """Paint what is lost from the pixels around it. Alpha without neighbours stays opaque."""

    def boxes(numbers: set[int]) -> list[Box]:
        found = []
        for tile in sorted(numbers):
            box = tiles.grid.box(tile)
            if box.meets(area):
                found.append(_reduced(box.within(area), area, scale))
        return found

    colors = slice(0, -1 if tiles.header.color.has_alpha else None)
    if not fill_boxes(canvas, boxes(tiles.damage.without_color), colors):
        raise FormatError("damaged: nothing of the picture is left")
    fill_boxes(canvas, boxes(tiles.damage.without_alpha), slice(-1, None))


def _reduced(box: Box, area: Box, scale: int) -> Box:
    """Return where a box of the picture lies in an area that is reduced by `scale`."""
    return Box(
        (box.x0 - area.x0) // scale,
        (box.y0 - area.y0) // scale,
        -(-(box.x1 - area.x0) // scale),
        -(-(box.y1 - area.y0) // scale),
    )
