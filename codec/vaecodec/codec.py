"""Pictures <-> .vae bytes: the only place that knows the whole way."""
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image

from vaecodec import container, networks
from vaecodec.container import Header
from vaecodec.entropy import Decoder, Encoder
from vaecodec.errors import FormatError
from vaecodec.latents import Latents, walk
from vaecodec.networks import Networks
from vaecodec.pixels import check_quality, to_array, to_image
from vaecodec.tiling import pad

_CHECK = struct.Struct("<I")
Pixels = npt.NDArray[np.uint8]


def encode(image: Image.Image | Pixels, quality: float = 50, *, model: str | None = None, threads: int = 0) -> bytes:
    """Compress a picture.

    image: a PIL image of mode RGB or L, or a uint8 array (H, W, 3) or (H, W). quality: 1 (smallest) to 100 (best), in
    steps of 0.01. model: id or folder of a model; None is the default one. threads: 0 is one a core.
    Returns the bytes of a .vae file (docs/FORMAT.md). Raises ImageError, ModelError, VaecodecError.
    """
    pixels, color = to_array(image)
    return encode_pixels(pixels, color, quality, networks.load(model, threads))[0]


def encode_pixels(pixels: Pixels, color: str, quality: float, nets: Networks) -> tuple[bytes, Latents]:
    """pixels: (H, W, 3) uint8; color: "RGB" or "L". Returns the file and the latents that its decoder will have."""
    quality = check_quality(quality)
    height, width = pixels.shape[:2]
    coder = Encoder()
    latents = walk(nets, quality, (height, width), coder, nets.analyse(pad(pixels), quality))
    tile = _CHECK.pack(latents.checksum()) + coder.finish()
    header = Header(width, height, color, quality, nets.id)
    return container.write(header, [(container.CHUNK_TILE, tile)]), latents


def decode(data: bytes, *, threads: int = 0) -> Image.Image:
    """Picture of a .vae file: a PIL image of mode RGB or L. Raises FormatError, ModelError."""
    header, latents, nets = decode_latents(data, threads=threads)
    return to_image(synthesise(latents, header, nets), header.color)


def decode_latents(data: bytes, *, threads: int = 0) -> tuple[Header, Latents, Networks]:
    """The exact part of decoding: the same integers on every machine. Raises FormatError, ModelError."""
    header = container.probe(data)
    tile, = container.tile_payloads(data, 1)
    if len(tile) < _CHECK.size:
        raise FormatError("is damaged: its tile has no checksum")
    nets = networks.load(header.model, threads)
    latents = walk(nets, header.quality, (header.height, header.width), Decoder(tile[_CHECK.size:]))
    if latents.checksum() != _CHECK.unpack_from(tile)[0]:
        raise FormatError("is damaged: its latents do not match their checksum")
    return header, latents, nets


def synthesise(latents: Latents, header: Header, nets: Networks) -> Pixels:
    """Pixels (H, W, 3) of decoded latents."""
    picture = nets.synthesise(latents.y.astype(np.float32), header.quality)
    return picture[: header.height, : header.width]
