"""Pictures to the bytes of a .vae file."""

from vaecodec._arrays import F32, I32
from vaecodec.coding.analysis import analyse, crop_latents
from vaecodec.coding.latents import encode_tile
from vaecodec.coding.refine import refine
from vaecodec.coding.session import Session
from vaecodec.coding.tiling import CELL_Y, CELL_Z, pad_to_cells
from vaecodec.entropy.coder import Encoder
from vaecodec.errors import ImageError, ModelError
from vaecodec.format import container
from vaecodec.format.container import BY_STEP, BY_TILE, LATENTS_CRC, Header
from vaecodec.image.alpha import pack_alpha
from vaecodec.image.box import Box
from vaecodec.image.picture import Picture
from vaecodec.spec import SEGMENTS

REFINE_MARGIN = 2 * CELL_Z  # pixels around a block that `refine` sees, for its gradient


def encode_picture(
    picture: Picture,
    session: Session,
    progressive: bool = False,
    strip: bool = False,
    effort: int = 0,
) -> bytes:
    """Return the bytes of a .vae file.

    Args:
        picture: The picture.
        session: Its tiles, the quality and the networks.
        progressive: Order the bits of a tiled file step by step.
        strip: Leave out ICC profile, EXIF and XMP.
        effort: 0 to 9, see `refine`.

    Raises:
        ImageError: The picture has too many tiles.
        ModelError: The model cannot refine, and `effort` is not 0.
    """
    nets = session.nets
    if effort and not nets.has_weights_for("refine"):
        raise ModelError(f"model {nets.id} has no refine.onnx, so effort must be 0")
    header = _header(picture, session, progressive)
    chunks = [] if strip else container.pack_metadata(picture.metadata)
    area = session.grid.picture
    blocks = [box for row in session.grid.blocks(area) for box in row]
    tiles: list[list[bytes]] = []
    for payloads in session.pool.map(
        lambda box: _encode_block(picture, box, session, header.by_step, effort), blocks
    ):
        tiles += payloads
    return container.write(header, chunks + _picture_chunks(picture, session, header, tiles))


def _header(picture: Picture, session: Session, progressive: bool) -> Header:
    # The bits of a single tile come step by step in any case.
    by_step = progressive and len(session.grid.tiles) > 1
    header = Header(
        picture.width,
        picture.height,
        picture.color,
        session.quality,
        session.nets.id,
        session.grid.tile_log2,
        BY_STEP if by_step else BY_TILE,
    )
    if header.tiles > container.MAX_TILES:
        raise ImageError(
            f"{picture.width} x {picture.height} pixels would be {header.tiles} tiles, "
            f"more than the {container.MAX_TILES} allowed"
        )
    return header


def _picture_chunks(
    picture: Picture, session: Session, header: Header, tiles: list[list[bytes]]
) -> list[tuple[bytes, bytes]]:
    """Return the chunks of latents and of alpha in file order."""
    alpha: list[tuple[bytes, bytes]] = []
    if header.color.has_alpha:
        for tile in session.grid.tiles:
            plane = picture.alpha(session.grid.box(tile))
            alpha.append((container.ALPHA, pack_alpha(plane)))
    if header.by_step:
        latents = [(container.STEP, tile[step]) for step in range(SEGMENTS) for tile in tiles]
        return latents + alpha
    chunks = []
    for i, (payload,) in enumerate(tiles):
        chunks.append((container.TILE, payload))
        chunks += alpha[i : i + 1]
    return chunks


def _encode_block(
    picture: Picture, box: Box, session: Session, by_step: bool, effort: int
) -> list[list[bytes]]:
    """Return the payloads of the tiles of a block, in raster order.

    A tile has one payload, or SEGMENTS payloads in a file that is ordered step by step.
    """
    nets = session.nets
    quality = session.quality
    y, covered = analyse(picture, box, nets, quality, REFINE_MARGIN if effort else 0)
    z = None
    if effort:
        z = nets.hyper_analyse(y)
        y = refine(nets, y, z, picture.samples(covered), quality, effort)
    payloads = []
    for tile in session.grid.meeting(box):
        tile_box = session.grid.box(tile)
        cells = pad_to_cells(tile_box, CELL_Z)
        tile_y = crop_latents(y, CELL_Y, covered, cells)
        # y was refined for this very z. Otherwise each tile's z comes from its own y.
        tile_z = (
            nets.hyper_analyse(tile_y) if z is None else crop_latents(z, CELL_Z, covered, cells)
        )
        payloads.append(_encode_tile(tile_box, session, by_step, tile_y, tile_z))
    return payloads


def _encode_tile(box: Box, session: Session, by_step: bool, y: F32, z: I32) -> list[bytes]:
    coders = [Encoder() for _ in range(SEGMENTS if by_step else 1)]
    sinks = coders if by_step else coders * SEGMENTS
    size = (box.height, box.width)
    latents = encode_tile(session.nets, session.quality, size, sinks, y, z)
    payloads = [coder.finish() for coder in coders]
    payloads[-1] = LATENTS_CRC.pack(latents.checksum()) + payloads[-1]
    return payloads
