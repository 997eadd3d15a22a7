"""The .vae container: a fixed header, then chunks. docs/FORMAT.md is its specification; nothing here knows the model."""
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from vaecodec.errors import FormatError

SIGNATURE = b"\x89VAE"
VERSION = 1
MAX_PIXELS = 2**25  # one pass takes up to 190 bytes of memory a pixel
COLORS = {0: "L", 1: "RGB"}
CHUNK_TILE = b"T"

_FIELDS = struct.Struct("<4sBBHBBII4s")  # signature, version, color, quality, tile, coding, width, height, model
_CRC = struct.Struct("<I")
_CHUNK = struct.Struct("<cI")  # type, length; a CRC-32 of both and of the payload follows the payload
HEADER_SIZE = _FIELDS.size + _CRC.size


@dataclass(frozen=True)
class Header:
    """What the first 26 bytes of a file say."""

    width: int  # pixels
    height: int  # pixels
    color: str  # "L" or "RGB", 8 bits a sample
    quality: float  # 1 to 100, in hundredths
    model: str  # 8 hexadecimal digits: the first 4 bytes of the model's hash
    tile: int = 0  # log2 of the tile's side in pixels; 0: the whole image is one tile
    coding: int = 0  # order of the bits; 0: tile after tile
    version: int = VERSION


def too_large(width: int, height: int) -> bool:
    """Whether a picture, padded to whole cells of 64 x 64 pixels as the networks take it, passes MAX_PIXELS."""
    return -(-width // 64) * -(-height // 64) * 64 * 64 > MAX_PIXELS


def write(header: Header, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A whole file from its header and its (type, payload) chunks."""
    color = next(code for code, name in COLORS.items() if name == header.color)
    fields = _FIELDS.pack(SIGNATURE, header.version, color, round(header.quality * 100), header.tile, header.coding,
                          header.width, header.height, bytes.fromhex(header.model))
    parts = [fields, _CRC.pack(zlib.crc32(fields))]
    for kind, payload in chunks:
        start = _CHUNK.pack(kind, len(payload))
        parts += [start, payload, _CRC.pack(zlib.crc32(payload, zlib.crc32(start)))]
    return b"".join(parts)


def probe(data: bytes) -> Header:
    """Header of a .vae file from its first 26 bytes (more may follow; they are not looked at).

    Raises FormatError if they are not the header of a file that this version reads.
    """
    if not data:
        raise FormatError("empty file")
    if data[:4] != SIGNATURE[: len(data[:4])]:
        raise FormatError("not a .vae file (wrong signature)")
    if len(data) > 4 and data[4] != VERSION:
        raise FormatError(f".vae format version {data[4]}, but this program reads version {VERSION}; "
                          "please install a newer vaecodec")
    if len(data) < HEADER_SIZE:
        raise FormatError(f"cut short: {len(data)} bytes, where the header alone has {HEADER_SIZE}")
    fields = bytes(data[: _FIELDS.size])
    if _CRC.unpack_from(data, _FIELDS.size)[0] != zlib.crc32(fields):
        raise FormatError("damaged header (its checksum is wrong)")
    _, version, color, quality, tile, coding, width, height, model = _FIELDS.unpack(fields)
    if color not in COLORS:
        raise FormatError(f"unknown color code {color}; please install a newer vaecodec")
    if not 100 <= quality <= 10000:
        raise FormatError(f"impossible quality ({quality / 100})")
    if width == 0 or height == 0:
        raise FormatError(f"impossible size ({width} x {height})")
    if too_large(width, height):
        raise FormatError(f"{width} x {height} pixels are more than the {MAX_PIXELS} that this version decodes")
    if tile or coding:
        raise FormatError(f"unknown tile size code {tile} or coding {coding}; please install a newer vaecodec")
    return Header(width, height, COLORS[color], quality / 100, model.hex(), tile, coding, version)


def chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """(type, payload) of each chunk after the header, in file order. Raises FormatError where one is cut or damaged."""
    view, at = memoryview(data), HEADER_SIZE
    while at < len(view):
        if len(view) - at < _CHUNK.size:
            raise FormatError("cut short inside a chunk's header")
        kind, length = _CHUNK.unpack_from(view, at)
        end = at + _CHUNK.size + length
        if end + _CRC.size > len(view):
            raise FormatError(f"cut short: a chunk needs {end + _CRC.size - len(view)} more bytes")
        if _CRC.unpack_from(view, end)[0] != zlib.crc32(view[at:end]):
            raise FormatError(f"damaged: the checksum of the chunk at byte {at} is wrong")
        yield kind, view[at + _CHUNK.size : end]
        at = end + _CRC.size


def tile_payloads(data: bytes, count: int) -> list[memoryview]:
    """Payloads of the `count` tiles of a file, in order; skips chunks that may be skipped (lower-case types)."""
    tiles = []
    for kind, payload in chunks(data):
        if kind == CHUNK_TILE:
            tiles.append(payload)
        elif not kind.islower():
            raise FormatError(f"unknown chunk type {kind!r} that may not be skipped; please install a newer vaecodec")
    if len(tiles) != count:
        raise FormatError(f"{len(tiles)} tiles where there must be {count}")
    return tiles
