"""The .vae container: a fixed header followed by chunks. docs/FORMAT.md is the specification.

This module writes files and parses headers. `reader` finds and verifies the chunks of a file.
Neither knows anything about the model.
"""

import struct
import zlib
from dataclasses import dataclass

from vaecodec.errors import FormatError
from vaecodec.format.color import COLORS, Color
from vaecodec.spec import SEGMENTS

SIGNATURE = b"\x89VAE"
VERSION = 1
MAX_PIXELS = 2**29  # default limit; a decoded picture takes 3 to 8 bytes per pixel
# Pixels of a picture in one tile, padded to multiples of 64. Such a tile takes up to 190 bytes per
# pixel.
MAX_UNTILED_PIXELS = 2**21
MAX_TILES = 2**15
MAX_METADATA = 2**24  # bytes of one kind of metadata, uncompressed
TILE_LOG2_RANGE = range(7, 11)

# Values of Header.coding, the order of the bits.
BY_TILE = 0  # tile after tile
BY_STEP = 1  # step after step

# Chunk types. A reader skips an unknown type in lower case and refuses one in upper case.
TILE = b"T"  # latents of one tile
STEP = b"P"  # latents of one step of one tile
ALPHA = b"A"  # alpha of one tile
INDEX = b"I"  # types and lengths of the other chunks
KNOWN_KINDS = (TILE, STEP, ALPHA, INDEX)
METADATA_NAMES = {b"c": "icc_profile", b"e": "exif", b"x": "xmp"}  # Pillow's names
EXIF_PREFIX = b"Exif\0\0"  # precedes EXIF in JPEG files and in Pillow, but not in .vae files

# signature, version, color, quality, tile, coding, width, height, model
HEADER_FIELDS = struct.Struct("<4sBBHBBII4s")
CHUNK_START = struct.Struct("<cI")  # type, length of the payload
CRC = struct.Struct("<I")  # at the end of the header and of each chunk
LATENTS_CRC = struct.Struct("<I")  # CRC-32 of a tile's latents, before its words
HEADER_SIZE = HEADER_FIELDS.size + CRC.size
CHUNK_OVERHEAD = CHUNK_START.size + CRC.size


@dataclass(frozen=True)
class Header:
    """The contents of the first 26 bytes of a .vae file.

    Attributes:
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
        color: Layout of the samples.
        quality: 1 to 100, a multiple of 0.01.
        model: 8 hexadecimal digits, the first 4 bytes of the model's hash.
        tile_log2: Log2 of the side of a tile in pixels (7 to 10), or 0 if the picture is one tile.
        coding: Order of the bits, BY_TILE or BY_STEP.
        version: Version of the format.
    """

    width: int
    height: int
    color: Color
    quality: float
    model: str
    tile_log2: int = 0
    coding: int = BY_TILE
    version: int = VERSION

    @property
    def by_step(self) -> bool:
        """Whether the bits are ordered step after step rather than tile after tile."""
        return self.coding == BY_STEP

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        side = 1 << self.tile_log2 if self.tile_log2 else max(self.width, self.height)
        return -(-self.width // side) * -(-self.height // side)

    @property
    def latent_chunk_count(self) -> int:
        """Number of chunks of latents: one per tile, or one per tile and step."""
        return self.tiles * (SEGMENTS if self.by_step else 1)

    @property
    def alpha_chunk_count(self) -> int:
        """Number of chunks of alpha: one per tile, or none."""
        return self.tiles if self.color.has_alpha else 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """The place of a chunk in a file.

    at: offset of the first byte of the chunk. length: bytes of the payload alone.
    """

    kind: bytes
    at: int
    length: int

    @property
    def end(self) -> int:
        """Offset of the first byte after the chunk."""
        return self.at + self.length + CHUNK_OVERHEAD


def seal(kind: bytes, payload: bytes) -> bytes:
    """Return the bytes of a chunk: type, length, payload, checksum."""
    start = CHUNK_START.pack(kind, len(payload))
    return b"".join([start, payload, CRC.pack(zlib.crc32(payload, zlib.crc32(start)))])


def write(header: Header, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Return the bytes of a .vae file.

    An index is put in front of the chunks if more than one of them holds latents.

    Args:
        header: The header. Its values are not checked.
        chunks: Type and payload of each chunk, in file order.

    Returns:
        The complete file.
    """
    fields = HEADER_FIELDS.pack(
        SIGNATURE,
        header.version,
        header.color.code,
        round(header.quality * 100),
        header.tile_log2,
        header.coding,
        header.width,
        header.height,
        bytes.fromhex(header.model),
    )
    if sum(kind in (TILE, STEP) for kind, _ in chunks) > 1:
        entries = b"".join(CHUNK_START.pack(kind, len(payload)) for kind, payload in chunks)
        chunks = [(INDEX, entries), *chunks]
    sealed = [seal(kind, payload) for kind, payload in chunks]
    return b"".join([fields, CRC.pack(zlib.crc32(fields)), *sealed])


def probe(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """Parse the header of a .vae file.

    Args:
        data: The first 26 bytes of the file. Further bytes are ignored.
        max_pixels: Refuse pictures with more pixels than this.

    Returns:
        The header.

    Raises:
        FormatError: If `data` is not the header of a file that this version reads, or if the
            picture is larger than the limits allow.

    Example:
        >>> data = write(Header(768, 512, COLORS[1], 50, "0123abcd"), [])
        >>> header = probe(data[:26])
        >>> header.width, header.height, header.color.name, header.quality
        (768, 512, 'RGB', 50.0)
    """
    if not data:
        raise FormatError("empty file")
    if data[:4] != SIGNATURE[: len(data[:4])]:
        raise FormatError("not a .vae file (wrong signature)")
    if len(data) > 4 and data[4] != VERSION:
        raise FormatError(
            f".vae format version {data[4]}, but this program reads version {VERSION}; "
            "please install a newer vaecodec"
        )
    if len(data) < HEADER_SIZE:
        raise FormatError(f"cut short: {len(data)} bytes, but the header alone has {HEADER_SIZE}")
    fields = bytes(data[: HEADER_FIELDS.size])
    if CRC.unpack_from(data, HEADER_FIELDS.size)[0] != zlib.crc32(fields):
        raise FormatError("damaged header (checksum mismatch)")
    _, version, color, quality, tile_log2, coding, width, height, model = HEADER_FIELDS.unpack(
        fields
    )
    if color >= len(COLORS):
        raise FormatError(f"unknown color code {color}; please install a newer vaecodec")
    if not 100 <= quality <= 10000:
        raise FormatError(f"invalid quality ({quality / 100})")
    if (tile_log2 and tile_log2 not in TILE_LOG2_RANGE) or coding not in (BY_TILE, BY_STEP):
        raise FormatError(
            f"unknown tile size code {tile_log2} or coding {coding}; "
            "please install a newer vaecodec"
        )
    header = Header(
        width=width,
        height=height,
        color=COLORS[color],
        quality=quality / 100,
        model=model.hex(),
        tile_log2=tile_log2,
        coding=coding,
        version=version,
    )
    _check_dimensions(header, max_pixels)
    return header


def _check_dimensions(header: Header, max_pixels: int) -> None:
    """Raise FormatError if the picture is empty or larger than the limits allow."""
    size = f"{header.width} x {header.height}"
    if header.width == 0 or header.height == 0:
        raise FormatError(f"invalid size ({size})")
    if header.width * header.height > max_pixels:
        raise FormatError(f"{size} pixels exceed the limit of {max_pixels}")
    padded = -(-header.width // 64) * -(-header.height // 64) * 64**2
    if not header.tile_log2 and padded > MAX_UNTILED_PIXELS:
        raise FormatError(f"{size} pixels in one tile exceed the limit of {MAX_UNTILED_PIXELS}")
    if header.tiles > MAX_TILES:
        raise FormatError(f"{header.tiles} tiles exceed the limit of {MAX_TILES}")


def pack_metadata(metadata: dict[str, bytes]) -> list[tuple[bytes, bytes]]:
    """Return the chunks of icc_profile, exif and xmp. EXIF is stored without its prefix.

    Raises FormatError if one of them is too large.
    """
    packed = []
    for kind, name in METADATA_NAMES.items():
        data = metadata.get(name, b"")
        if name == "exif":
            data = strip_exif_prefix(data)
        if len(data) > MAX_METADATA:
            raise FormatError(
                f"{name} has {len(data)} bytes, but at most {MAX_METADATA} are allowed; "
                "remove it with --strip"
            )
        if data:
            packed.append((kind, zlib.compress(data, 9)))
    return packed


def unpack_metadata(payload: bytes, name: str) -> bytes:
    """Return the metadata in the payload of a chunk. Raises FormatError.

    EXIF comes back in Pillow's form, with the prefix that the files themselves do not have. Files
    of older versions do have it.
    """
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(payload, MAX_METADATA)
    except zlib.error:
        raise FormatError(f"damaged: {name} cannot be decompressed") from None
    if not unpacker.eof:
        raise FormatError(f"damaged: {name} is cut short or larger than {MAX_METADATA} bytes")
    return with_exif_prefix(data) if name == "exif" else data


def with_exif_prefix(exif: bytes) -> bytes:
    """Return EXIF in the form that Pillow's `save(exif=...)` takes: with exactly one prefix."""
    return EXIF_PREFIX + strip_exif_prefix(exif)


def strip_exif_prefix(exif: bytes) -> bytes:
    """Return the TIFF structure alone. The prefix may occur twice, as Pillow allows."""
    return exif.removeprefix(EXIF_PREFIX).removeprefix(EXIF_PREFIX)
