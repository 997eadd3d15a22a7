"""Pictures <-> .vae bytes: the only place that knows the whole way."""
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image

from vaecodec import container, networks
from vaecodec.container import Header
from vaecodec.entropy import Decoder, Encoder
from vaecodec.errors import FormatError, ModelError, VaecodecError
from vaecodec.latents import Latents, least_bits, walk
from vaecodec.networks import Networks
from vaecodec.pixels import check_quality, to_array, to_image
from vaecodec.tiling import pad

_CHECK = struct.Struct("<I")
Pixels = npt.NDArray[np.uint8]


def encode(image: Image.Image | Pixels, quality: float | None = None, *, bpp: float | None = None, size: int | None = None,
           psnr: float | None = None, model: str | None = None, threads: int = 0) -> bytes:
    """Compress a picture.

    image: a PIL image of mode RGB or L, or a uint8 array (H, W, 3) or (H, W).
    quality: 1 (smallest) to 100 (best) in steps of 0.01; 50 unless told. Instead of it, one target, found by search:
    bpp (bits per pixel) or size (bytes), which the file will not exceed, or psnr (dB), which the picture will not miss.
    model: id or folder of a model; None is the default one. threads: 0 is one a core.
    Returns the bytes of a .vae file (docs/FORMAT.md). Raises ImageError, ModelError, VaecodecError; ValueError for two
    of quality and the targets.
    """
    if sum(value is not None for value in (quality, bpp, size, psnr)) > 1:
        raise ValueError("give one of quality, bpp, size and psnr")
    for name, value in (("bpp", bpp), ("size", size), ("psnr", psnr)):
        if value is not None and not 0 < value < float("inf"):
            raise VaecodecError(f"{name} must be a positive number, not {value}")
    pixels, color = to_array(image)
    nets = networks.load(model, threads)
    from vaecodec import search  # it builds on this module

    if psnr is not None:
        return search.encode_to_psnr(pixels, color, psnr, nets)
    if bpp is not None or size is not None:
        limit = size if size is not None else (bpp or 0) * pixels.shape[0] * pixels.shape[1] / 8
        return search.encode_to_size(pixels, color, limit, nets)
    return encode_pixels(pixels, color, 50 if quality is None else quality, nets)[0]


def encode_pixels(pixels: Pixels, color: str, quality: float, nets: Networks) -> tuple[bytes, Latents]:
    """pixels: (H, W, 3) uint8; color: "RGB" or "L". Returns the file and the latents that its decoder will have."""
    quality = check_quality(quality)
    height, width = pixels.shape[:2]
    coder = Encoder()
    latents = walk(nets, quality, (height, width), coder, nets.analyse(pad(pixels), quality))
    tile = _CHECK.pack(latents.checksum()) + coder.finish()
    header = Header(width, height, color, quality, nets.id)
    return container.write(header, [(container.CHUNK_TILE, tile)]), latents


def decode(data: bytes, *, model: str | None = None, threads: int = 0) -> Image.Image:
    """Picture of a .vae file: a PIL image of mode RGB or L.

    model: folder of the model that the file names, where it is not installed. threads: 0 is one a core.
    Raises FormatError, ModelError.
    """
    header, latents, nets = decode_latents(data, model=model, threads=threads)
    return to_image(synthesise(latents, header, nets), header.color)


def decode_latents(data: bytes, *, model: str | None = None, threads: int = 0) -> tuple[Header, Latents, Networks]:
    """The exact part of decoding: the same integers on every machine. Raises FormatError, ModelError."""
    header = container.probe(data)
    tile, = container.tile_payloads(data, 1)
    if len(tile) < _CHECK.size:
        raise FormatError("damaged: its tile has no checksum")
    nets = networks.load(model, threads) if model else networks.load(header.model, threads, True)
    if nets.id != header.model:
        raise ModelError(f"the file was made with model {header.model}, not with {nets.id}")
    size = (header.height, header.width)
    if 8 * len(tile) < least_bits(nets, header.quality, size):  # before memory is spent on a picture that is not there
        raise FormatError(f"damaged: {len(tile)} bytes cannot hold {header.width} x {header.height} pixels")
    latents = walk(nets, header.quality, size, Decoder(tile[_CHECK.size :]))
    if latents.checksum() != _CHECK.unpack_from(tile)[0]:
        raise FormatError("damaged: its latents do not match their checksum")
    return header, latents, nets


def synthesise(latents: Latents, header: Header, nets: Networks) -> Pixels:
    """Pixels (H, W, 3) of decoded latents."""
    picture = nets.synthesise(latents.y.astype(np.float32), header.quality)
    return picture[: header.height, : header.width]
