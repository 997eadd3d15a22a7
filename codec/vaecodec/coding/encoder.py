"""Pictures -> chunks of a file: g_a block by block, then each tile's latents to bits."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vaecodec.coding.latents import walk
from vaecodec.coding.refine import refine
from vaecodec.coding.tile_pool import Crew
from vaecodec.coding.tiling import CELL_Y, CELL_Z, HALO, Grid, grid_of, padded, tile_log2
from vaecodec.entropy.coder import Encoder
from vaecodec.errors import ImageError, ModelError
from vaecodec.format import container
from vaecodec.format.container import BY_STEP, BY_TILE, LATENTS_CRC, Header
from vaecodec.image.alpha import pack_alpha
from vaecodec.image.box import Box
from vaecodec.image.picture import Picture
from vaecodec.model.networks import Floats, Networks
from vaecodec.spec import SEGMENTS

Number = TypeVar("Number", bound=np.generic)
AROUND = (
    2 * CELL_Z
)  # pixels around a block that `refine` sees: its gradient goes through g_s and the entropy model


def encode_picture(
    picture: Picture,
    quality: float,
    crew: Crew,
    progressive: bool = False,
    strip: bool = False,
    effort: int = 0,
) -> bytes:
    """The bytes of a .vae file. quality: in hundredths. effort: see `refine`. Raises ImageError, ModelError."""
    nets = crew.nets
    if effort and not nets.can("refine"):
        raise ModelError(f"model {nets.id} has no refine.onnx, so effort must be 0")
    tile = tile_log2(picture.width, picture.height)
    coding = (
        BY_STEP if progressive and tile else BY_TILE
    )  # the bits of a single tile come step by step anyway
    header = Header(picture.width, picture.height, picture.color, quality, nets.id, tile, coding)
    if header.tiles > container.MAX_TILES:
        raise ImageError(
            f"{picture.width} x {picture.height} pixels would be {header.tiles} tiles, more than the "
            f"{container.MAX_TILES} allowed"
        )
    grid = grid_of(picture.width, picture.height, tile)
    chunks = [] if strip else container.pack_metadata(picture.metadata)
    tiles: list[list[bytes]] = []
    for block in crew.map(
        lambda box: encode_block(picture, box, grid, header, nets, effort),
        [box for row in grid.blocks(grid.picture) for box in row],
    ):
        tiles += block
    alpha = (
        [(container.ALPHA, pack_alpha(picture.alpha(grid.box(i)))) for i in range(len(tiles))]
        if header.color.has_alpha
        else []
    )
    if header.by_step:
        chunks += [
            (container.STEP, tile[step]) for step in range(SEGMENTS) for tile in tiles
        ] + alpha
    else:
        for i, (payload,) in enumerate(tiles):
            chunks += [(container.TILE, payload), *alpha[i : i + 1]]
    return container.write(header, chunks)


def encode_block(
    picture: Picture, box: Box, grid: Grid, header: Header, nets: Networks, effort: int
) -> list[list[bytes]]:
    """The payloads of the tiles of a block, in raster order: one each, or SEGMENTS where the file goes step by step."""
    y, whole = analyse(picture, box, nets, header.quality, AROUND if effort else 0)
    if effort:
        z = nets.hyper_analyse(y)
        y = refine(nets, y, z, picture.samples(whole), header.quality, effort)
    payloads = []
    for tile in grid.meeting(box):
        area = grid.box(tile)
        cells = padded(area, CELL_Z)
        cut = part(y, CELL_Y, whole, cells)
        cut_z = (
            part(z, CELL_Z, whole, cells) if effort else nets.hyper_analyse(cut)
        )  # y was refined for this very z
        coders = [Encoder() for _ in range(SEGMENTS)] if header.by_step else [Encoder()] * SEGMENTS
        latents = walk(nets, header.quality, (area.height, area.width), coders, (cut, cut_z))
        words = [coder.finish() for coder in (coders if header.by_step else coders[:1])]
        words[-1] = LATENTS_CRC.pack(latents.checksum()) + words[-1]
        payloads.append(words)
    return payloads


def analyse(
    picture: Picture, box: Box, nets: Networks, quality: float, around: int = 0
) -> tuple[Floats, Box]:
    """y of a box, and the pixels that it covers: those of the box padded to whole cells of z, and `around` more on each side
    where the picture has them.

    The network sees as much around these as its view reaches, so that y is what the whole picture at once would give.
    """
    picture_box = padded(Box(0, 0, picture.width, picture.height), CELL_Z)
    target = padded(box, CELL_Z).grown(around).within(picture_box)
    seen = target.grown(HALO * CELL_Y).within(picture_box)
    return part(nets.analyse(picture.samples(seen), quality), CELL_Y, seen, target), target


def part(latents: npt.NDArray[Number], cell: int, whole: Box, box: Box) -> npt.NDArray[Number]:
    """Latents of a box, out of those of the whole; both lie on the grid of cells."""
    top, left = (box.y0 - whole.y0) // cell, (box.x0 - whole.x0) // cell
    return np.ascontiguousarray(
        latents[:, top : top + box.height // cell, left : left + box.width // cell]
    )
