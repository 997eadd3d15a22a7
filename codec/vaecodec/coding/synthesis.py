"""Turn latents into pictures by running g_s on blocks of a picture."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from vaecodec._arrays import F32, Integers
from vaecodec.coding.tile_pool import TilePool
from vaecodec.coding.tiling import CELL_Y, HALO, Grid, pad_to_cells
from vaecodec.image.box import Box
from vaecodec.model.networks import Networks

LatentsOfTiles = Callable[[list[int]], Iterable[Integers | None]]


def render(
    area: Box,
    grid: Grid,
    pool: TilePool,
    quality: float,
    latents_of: LatentsOfTiles,
    scale: int = 1,
) -> Iterator[tuple[Box, F32]]:
    """Synthesise an area of a picture, one row of tiles after the other.

    Latents are kept for three rows of tiles only, so memory does not grow with the height.

    Args:
        area: The pixels to synthesise.
        grid: The tiles of the picture.
        pool: The networks and threads.
        quality: 1 to 100.
        latents_of: Returns y in 1/64 of each tile of a list, in order, or None for a tile that
            is missing. It is called once per row of tiles.
        scale: 1, or 2, 4 or 8 for a quick preview at a fraction of the resolution.

    Yields:
        Each block of pixels, in raster order, and its samples, shape (h, w, 3), 0 to 255.
    """
    halo = HALO * CELL_Y if scale == 1 else 0
    reach = area.grown(halo).within(grid.picture)
    needed = grid.meeting(reach)
    pending_rows = sorted({grid.row_of(tile) for tile in needed})
    latents: dict[int, Integers | None] = {}

    def synthesise_block(box: Box) -> F32:
        return synthesise(box, grid, latents, pool.nets, quality, scale)

    for blocks in grid.blocks(area):
        last_tile = grid.meeting(blocks[0].grown(halo).within(grid.picture))[-1]
        while pending_rows and pending_rows[0] <= grid.row_of(last_tile):
            row = pending_rows.pop(0)
            tiles = [tile for tile in needed if grid.row_of(tile) == row]
            latents.update(zip(tiles, latents_of(tiles), strict=True))
            for tile in [tile for tile in latents if grid.row_of(tile) < row - 2]:
                del latents[tile]
        yield from zip(blocks, pool.map(synthesise_block, blocks), strict=True)


def synthesise(
    box: Box,
    grid: Grid,
    latents: dict[int, Integers | None],
    nets: Networks,
    quality: float,
    scale: int = 1,
) -> F32:
    """Return the samples (h, w, 3), 0 to 255, of a box from the latents around it.

    Args:
        box: The pixels to synthesise.
        grid: The tiles of the picture.
        latents: y in 1/64 of the tiles, by number. Missing tiles count as 0.
        nets: The networks.
        quality: 1 to 100.
        scale: 1, or 2, 4 or 8 for a quick preview at a fraction of the resolution.
    """
    seen = pad_to_cells(box, CELL_Y)
    if scale == 1:
        seen = seen.grown(HALO * CELL_Y)
    seen = seen.within(pad_to_cells(grid.picture, CELL_Y))
    y = np.zeros((nets.m, seen.height // CELL_Y, seen.width // CELL_Y), np.float32)
    for tile in grid.meeting(seen.within(grid.picture)):
        tile_y = latents.get(tile)
        if tile_y is not None:
            tile_box = pad_to_cells(grid.box(tile), CELL_Y)
            shared = tile_box.within(seen)
            source = shared.slices_in(tile_box, CELL_Y)
            y[:, *shared.slices_in(seen, CELL_Y)] = tile_y[:, *source]
    samples = nets.synthesise(y, quality) if scale == 1 else nets.preview(y, quality, scale)
    rows = slice((box.y0 - seen.y0) // scale, -(-(box.y1 - seen.y0) // scale))
    columns = slice((box.x0 - seen.x0) // scale, -(-(box.x1 - seen.x0) // scale))
    return samples[rows, columns]


def narrow_to_int16(y: Integers) -> Integers:
    """Return y as int16, in half the memory, if its values fit. They nearly always do."""
    return y.astype(np.int16) if np.abs(y).max() < 2**15 else y
