"""Pictures -> chunks of a file: g_a block by block, then each tile's latents to bits."""
import struct

import numpy as np

from vaecodec import container
from vaecodec.container import BY_STEP, BY_TILE, SEGMENTS, Header
from vaecodec.entropy import Encoder
from vaecodec.errors import ImageError, ModelError
from vaecodec.latents import walk
from vaecodec.networks import Floats, Networks
from vaecodec.picture import Picture, alpha_bytes
from vaecodec.refine import refine
from vaecodec.tiling import CELL_Y, CELL_Z, HALO, Box, Grid, grid_of, padded, tile_log2
from vaecodec.workers import Crew

CHECK = struct.Struct("<I")  # CRC-32 of a tile's latents
AROUND = 2 * CELL_Z  # pixels around a block that `refine` sees: its gradient goes through g_s and the entropy model


def encode_picture(picture: Picture, quality: float, crew: Crew, progressive: bool = False, strip: bool = False,
                   effort: int = 0) -> bytes:
    """The bytes of a .vae file. quality: in hundredths. effort: see `refine`. Raises ImageError, ModelError."""
    nets = crew.nets
    if effort and not nets.can("refine"):
        raise ModelError(f"model {nets.id} has no refine.onnx, so effort must be 0")
    tile = tile_log2(picture.width, picture.height)
    coding = BY_STEP if progressive and tile else BY_TILE  # the bits of a single tile come step by step anyway
    header = Header(picture.width, picture.height, picture.color, quality, nets.id, tile, coding)
    if header.tiles > container.MAX_TILES:
        raise ImageError(f"{picture.width} x {picture.height} pixels would be {header.tiles} tiles, more than the "
                         f"{container.MAX_TILES} allowed")
    grid = grid_of(picture.width, picture.height, tile)
    chunks = [] if strip else container.pack_metadata(picture.metadata)
    tiles: list[list[bytes]] = []
    for block in crew.map(lambda box: encode_block(picture, box, grid, header, nets, effort),
                          [box for row in grid.blocks(grid.picture) for box in row]):
        tiles += block
    alpha = [(container.ALPHA, alpha_bytes(picture.alpha(grid.box(i)))) for i in range(len(tiles))] if header.alpha else []
    if header.by_step:
        chunks += [(container.STEP, tile[step]) for step in range(SEGMENTS) for tile in tiles] + alpha
    else:
        for i, (payload,) in enumerate(tiles):
            chunks += [(container.TILE, payload), *alpha[i : i + 1]]
    return container.write(header, chunks)


def encode_block(picture: Picture, box: Box, grid: Grid, header: Header, nets: Networks, effort: int) -> list[list[bytes]]:
    """The payloads of the tiles of a block, in raster order: one each, or SEGMENTS where the file goes step by step."""
    y, whole = analyse(picture, box, nets, header.quality, effort)
    payloads = []
    for tile in grid.meeting(box):
        area = grid.box(tile)
        cut = part(y, whole, padded(area, CELL_Z))
        coders = [Encoder() for _ in range(SEGMENTS)] if header.by_step else [Encoder()] * SEGMENTS
        latents = walk(nets, header.quality, (area.height, area.width), coders, (cut, nets.hyper_analyse(cut)))
        words = [coder.finish() for coder in (coders if header.by_step else coders[:1])]
        words[-1] = CHECK.pack(latents.checksum()) + words[-1]
        payloads.append(words)
    return payloads


def analyse(picture: Picture, box: Box, nets: Networks, quality: float, effort: int = 0) -> tuple[Floats, Box]:
    """y of a box, and the pixels that it covers: those of the box, padded to whole cells of z.

    The network sees as much around the box as its view reaches, so that y is what the whole picture at once would give.
    """
    target = padded(box, CELL_Z)
    picture_box = padded(Box(0, 0, picture.width, picture.height), CELL_Z)
    wide = target.grown(AROUND if effort else 0).within(picture_box)
    seen = wide.grown(HALO * CELL_Y).within(picture_box)
    y = part(nets.analyse(picture.samples(seen), quality), seen, wide)
    if effort:
        y = refine(nets, y, nets.hyper_analyse(y), picture.samples(wide), quality, effort)
    return part(y, wide, target), target


def part(y: Floats, whole: Box, box: Box) -> Floats:
    """y of a box, out of y of the whole; both lie on the grid of cells."""
    top, left = (box.y0 - whole.y0) // CELL_Y, (box.x0 - whole.x0) // CELL_Y
    return np.ascontiguousarray(y[:, top : top + box.height // CELL_Y, left : left + box.width // CELL_Y])
