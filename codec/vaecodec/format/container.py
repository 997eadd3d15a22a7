"""The .vae container: a fixed header, then chunks. docs/FORMAT.md is its specification; nothing here knows the model."""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from vaecodec.errors import FormatError
from vaecodec.spec import SEGMENTS

SIGNATURE = b"\x89VAE"
VERSION = 1
MAX_PIXELS = 2**29  # unless told otherwise; what a decoded picture costs is 3 to 8 bytes a pixel
MAX_WHOLE = (
    2**21
)  # pixels of a picture in one tile, padded to multiples of 64: such a tile takes up to 190 bytes a pixel
MAX_TILES = 2**15
COLORS = (
    "L",
    "RGB",
    "LA",
    "RGBA",
    "L16",
    "RGB16",
    "LA16",
    "RGBA16",
)  # bit 0: colour, 1: alpha, 2: 16 bits a sample
TILE_SIDES = range(7, 11)  # log2 of the pixels a side that a tile may have
TILE, STEP, ALPHA, INDEX = b"T", b"P", b"A", b"I"
KNOWN = (TILE, STEP, ALPHA, INDEX)
ICC, EXIF, XMP = b"c", b"e", b"x"
METADATA = {ICC: "icc_profile", EXIF: "exif", XMP: "xmp"}  # chunk types and Pillow's names
MAX_METADATA = 2**24  # bytes of one kind of metadata, unpacked
BY_TILE, BY_STEP = 0, 1  # codings: tile after tile, or step after step

_FIELDS = struct.Struct(
    "<4sBBHBBII4s"
)  # signature, version, color, quality, tile, coding, width, height, model
_CRC = struct.Struct("<I")
_CHUNK = struct.Struct(
    "<cI"
)  # type, length; a CRC-32 of both and of the payload follows the payload
LATENTS_CRC = struct.Struct("<I")  # CRC-32 of a tile's latents, before its words
HEADER_SIZE = _FIELDS.size + _CRC.size
CHUNK_OVERHEAD = _CHUNK.size + _CRC.size


@dataclass(frozen=True)
class Header:
    """What the first 26 bytes of a file say."""

    width: int  # pixels
    height: int  # pixels
    color: str  # one of COLORS
    quality: float  # 1 to 100, in hundredths
    model: str  # 8 hexadecimal digits: the first 4 bytes of the model's hash
    tile: int = 0  # log2 of the tile's side in pixels; 0: the whole image is one tile
    coding: int = BY_TILE  # order of the bits
    version: int = VERSION

    @property
    def alpha(self) -> bool:
        return "A" in self.color

    @property
    def depth(self) -> int:
        """Bits a sample: 8 or 16."""
        return 16 if self.color.endswith("16") else 8

    @property
    def by_step(self) -> bool:
        return self.coding == BY_STEP

    @property
    def tiles(self) -> int:
        side = 1 << self.tile if self.tile else max(self.width, self.height)
        return -(-self.width // side) * -(-self.height // side)

    @property
    def parts(self) -> int:
        """How many chunks of latents there are."""
        return self.tiles * (SEGMENTS if self.by_step else 1)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a chunk lies: `at` is the offset of its first byte, length that of the payload alone."""

    kind: bytes
    at: int
    length: int

    @property
    def end(self) -> int:
        return self.at + self.length + CHUNK_OVERHEAD


def seal(kind: bytes, payload: bytes) -> bytes:
    """A chunk: type, length, payload, checksum."""
    start = _CHUNK.pack(kind, len(payload))
    return b"".join([start, payload, _CRC.pack(zlib.crc32(payload, zlib.crc32(start)))])


def write(header: Header, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A whole file from its header and its (type, payload) chunks; with more than one coded chunk, an index leads them."""
    fields = _FIELDS.pack(
        SIGNATURE,
        header.version,
        COLORS.index(header.color),
        round(header.quality * 100),
        header.tile,
        header.coding,
        header.width,
        header.height,
        bytes.fromhex(header.model),
    )
    if sum(kind in (TILE, STEP) for kind, _ in chunks) > 1:
        entries = b"".join(_CHUNK.pack(kind, len(payload)) for kind, payload in chunks)
        chunks = [(INDEX, entries), *chunks]
    return b"".join(
        [fields, _CRC.pack(zlib.crc32(fields)), *(seal(kind, payload) for kind, payload in chunks)]
    )


def probe(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """Header of a .vae file from its first 26 bytes (more may follow; they are not looked at).

    Raises FormatError if they are not the header of a file that this version reads, or one of more than max_pixels.
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
        raise FormatError(f"cut short: {len(data)} bytes, where the header alone has {HEADER_SIZE}")
    fields = bytes(data[: _FIELDS.size])
    if _CRC.unpack_from(data, _FIELDS.size)[0] != zlib.crc32(fields):
        raise FormatError("damaged header (its checksum is wrong)")
    _, version, color, quality, tile, coding, width, height, model = _FIELDS.unpack(fields)
    if color >= len(COLORS):
        raise FormatError(f"unknown color code {color}; please install a newer vaecodec")
    if not 100 <= quality <= 10000:
        raise FormatError(f"impossible quality ({quality / 100})")
    if width == 0 or height == 0:
        raise FormatError(f"impossible size ({width} x {height})")
    if width * height > max_pixels:
        raise FormatError(f"{width} x {height} pixels are more than the {max_pixels} allowed")
    if (tile and tile not in TILE_SIDES) or coding not in (BY_TILE, BY_STEP):
        raise FormatError(
            f"unknown tile size code {tile} or coding {coding}; please install a newer vaecodec"
        )
    header = Header(width, height, COLORS[color], quality / 100, model.hex(), tile, coding, version)
    if not tile and -(-width // 64) * -(-height // 64) * 4096 > MAX_WHOLE:
        raise FormatError(
            f"{width} x {height} pixels in one tile are more than the {MAX_WHOLE} allowed"
        )
    if header.tiles > MAX_TILES:
        raise FormatError(f"{header.tiles} tiles are more than the {MAX_TILES} allowed")
    return header


class Reader:
    """The chunks of an open file, found without reading their payloads.

    lenient: take a file that is cut short or damaged for what is left of it.
    Raises FormatError where the file is not one that this version reads.
    """

    def __init__(self, file: BinaryIO | bytes, lenient: bool = False, max_pixels: int = MAX_PIXELS):
        self.lenient = lenient
        self.file = (
            file if not isinstance(file, (bytes, bytearray, memoryview)) else io.BytesIO(file)
        )
        self.size = self.file.seek(0, io.SEEK_END)
        self.file.seek(0)
        self.header = probe(self.file.read(HEADER_SIZE), max_pixels)
        self.chunks: list[Chunk] = []
        self.bytes_read = HEADER_SIZE
        self.skipped = 0  # bytes before the picture that cannot be told apart
        self.most = (
            self.header.tiles * (SEGMENTS + 1) + 1000
        )  # more chunks make no sense for the header
        if lenient:
            self._salvage()
        else:
            self._find()

    def _find(self) -> None:
        at = HEADER_SIZE
        entries: Iterator[tuple[bytes, int]] | None = None
        while at < self.size or entries:
            if entries:
                kind, length = next(entries, (b"", 0))
                if not kind:
                    break
                chunk = Chunk(kind, at, length)
            else:
                chunk = self._chunk(at)
            if not chunk.kind.isalpha():
                raise FormatError(f"damaged: byte {at} is not the start of a chunk")
            if chunk.kind == INDEX:
                if at != HEADER_SIZE or chunk.end > self.size:
                    raise FormatError("damaged: its index is cut short or not at its beginning")
                if chunk.length % _CHUNK.size or not 0 < chunk.length <= self.most * _CHUNK.size:
                    raise FormatError("damaged: its index has an impossible length")
                entries = _CHUNK.iter_unpack(self.payload(chunk))
            else:
                self._take(chunk)
            at = chunk.end
            if at > self.size and not entries:
                raise FormatError(f"cut short: a chunk needs {at - self.size} more bytes")
        if at != self.size:
            missing = (
                f"cut short: {at - self.size} bytes are missing; --preview shows what is there"
            )
            raise FormatError(
                missing if at > self.size else "damaged: there are more bytes than its index says"
            )

    def _take(self, chunk: Chunk) -> None:
        if chunk.kind.isupper() and chunk.kind not in KNOWN:
            raise FormatError(
                f"unknown chunk type {chunk.kind!r} that may not be skipped; please install a newer vaecodec"
            )
        if len(self.chunks) >= self.most:
            raise FormatError(f"damaged: more than {self.most} chunks")
        self.chunks.append(chunk)

    def _chunk(self, at: int) -> Chunk:
        """What stands at a place, as a chunk. Raises FormatError at the end of the file."""
        start = self._read(at, _CHUNK.size)
        if len(start) < _CHUNK.size:
            raise FormatError("cut short inside a chunk's header")
        return Chunk(start[:1], at, _CHUNK.unpack(start)[1])

    def _salvage(self) -> None:
        """The chunks of a damaged file: those that its index names, else those found one after the other."""
        at = HEADER_SIZE
        if self.header.parts > 1:
            at, entries = self._damaged_index()
            for kind, length in _CHUNK.iter_unpack(entries):
                self._take(Chunk(kind, at, length))
                at = self.chunks[-1].end
            if entries:
                return
        before = True
        for _ in range(self.most):
            if at >= self.size - _CHUNK.size:
                return
            chunk = self._chunk(at)
            before = before and chunk.kind not in (TILE, STEP)
            if before and not self._whole(chunk):
                # Damage to what comes before the picture need not cost the picture.
                follows = chunk.end <= self.size - _CHUNK.size and self._whole(
                    self._chunk(chunk.end)
                )
                at = chunk.end if follows else self._resume(at + 1)
                if follows and chunk.kind in METADATA:
                    self._take(chunk)
                else:
                    self.skipped += at - chunk.at
            elif not chunk.kind.isalpha():
                return  # what follows cannot be told apart any more
            else:
                if chunk.kind in KNOWN or chunk.kind.islower() or self._whole(chunk):
                    self._take(chunk)
                at = chunk.end

    def _damaged_index(self) -> tuple[int, bytes]:
        """Where the index ends, and its payload, empty where it cannot be trusted; its type or its length may be damaged."""
        start = HEADER_SIZE + _CHUNK.size
        found = self._read(start, min(self.most * _CHUNK.size + _CRC.size, self.size - start))
        told = self._chunk(HEADER_SIZE).length if found else 0
        least = self.header.parts + (self.header.tiles if self.header.alpha else 0)
        for length in (told, *(_CHUNK.size * (least + more) for more in range(len(METADATA) + 1))):
            if 0 < length <= len(found) - _CRC.size:
                payload = found[:length]
                if (
                    seal(INDEX, payload)[-_CRC.size :] == found[length : length + _CRC.size]
                    and not length % _CHUNK.size
                ):
                    return start + length + _CRC.size, payload
        return (start + told + _CRC.size if told < len(found) else self.size), b""

    def _whole(self, chunk: Chunk) -> bool:
        try:
            self.payload(chunk)
        except FormatError:
            return False
        return True

    def _resume(self, at: int) -> int:
        """The next place where a chunk of latents with a right checksum begins; the file's end where there is none."""
        rest = self._read(at, self.size - at)
        letters = re.finditer(STEP if self.header.by_step else TILE, rest[: 1 - _CHUNK.size])
        fitting = (
            chunk
            for letter in letters
            if (chunk := self._chunk(at + letter.start())).end <= self.size
        )
        tried = islice(fitting, 64)  # so many false ones are no accident
        return next((chunk.at for chunk in tried if self._whole(chunk)), self.size)

    def _read(self, at: int, count: int) -> bytes:
        self.file.seek(at)
        data = self.file.read(count)
        self.bytes_read += len(data)
        return data

    def payload(self, chunk: Chunk) -> bytes:
        """The chunk's payload, its checksum verified. Raises FormatError."""
        if chunk.end > self.size:
            raise FormatError(f"cut short: a chunk needs {chunk.end - self.size} more bytes")
        data = self._read(chunk.at, chunk.end - chunk.at)
        body, (stored,) = data[: -_CRC.size], _CRC.unpack(data[-_CRC.size :])
        if stored != zlib.crc32(body) or _CHUNK.unpack_from(body) != (chunk.kind, chunk.length):
            raise FormatError(f"damaged: the checksum of the chunk at byte {chunk.at} is wrong")
        return body[_CHUNK.size :]

    def beginning(self, chunk: Chunk) -> bytes:
        """What there is of a payload that the end of the file cuts, unverified."""
        return self._read(chunk.at + _CHUNK.size, chunk.length)

    @property
    def share(self) -> float:
        """The part of the file that is there, 0 to 1; 1 where the end is not known."""
        end = max((chunk.end for chunk in self.chunks), default=self.size)
        return min(1.0, self.size / end)

    def coded(self) -> list[Chunk]:
        """The chunks of latents in file order: one a tile, or, step after step, SEGMENTS times one a tile."""
        return [
            chunk for chunk in self.chunks if chunk.kind == (STEP if self.header.by_step else TILE)
        ]

    def alpha(self) -> list[Chunk]:
        return [chunk for chunk in self.chunks if chunk.kind == ALPHA]

    def check_counts(self) -> None:
        """Raises FormatError unless every chunk that the header asks for is there, once."""
        header, tiles = self.header, self.header.tiles
        if len(self.coded()) != header.parts:
            raise FormatError(
                f"{len(self.coded())} coded chunks where there must be {header.parts}"
            )
        if len(self.alpha()) != (tiles if header.alpha else 0):
            raise FormatError(
                f"{len(self.alpha())} chunks of alpha where there must be {tiles if header.alpha else 0}"
            )
        other = TILE if header.by_step else STEP
        if any(chunk.kind == other for chunk in self.chunks):
            raise FormatError(f"a chunk of type {other.decode()}, which its coding does not have")

    def check_all(self) -> None:
        """Verify every checksum. Raises FormatError."""
        for chunk in self.chunks:
            self.payload(chunk)

    def metadata(self, wrong: list[str] | None = None) -> dict[str, bytes]:
        """icc_profile, exif and xmp, as far as the file has them. Damage is told to `wrong`; without it, raises FormatError."""
        found = {}
        for chunk in self.chunks:
            if chunk.kind in METADATA:
                name = METADATA[chunk.kind]
                try:
                    found[name] = _unpacked(self.payload(chunk), name)
                except FormatError as error:
                    if wrong is None:
                        raise
                    wrong.append(f"{name} ({error})")
        if self.skipped and wrong is not None:
            wrong.append(f"{self.skipped} bytes before the picture (damaged)")
        return found


def _unpacked(data: bytes, name: str) -> bytes:
    """Metadata from its zlib stream. Raises FormatError."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, MAX_METADATA)
    except zlib.error:
        raise FormatError(f"damaged: its {name} cannot be unpacked") from None
    if not unpacker.eof:
        raise FormatError(f"damaged: its {name} is cut short or larger than {MAX_METADATA} bytes")
    return unpacked


def pack_metadata(info: dict[str, bytes]) -> list[tuple[bytes, bytes]]:
    """Chunks of icc_profile, exif and xmp. Raises FormatError where one is too large."""
    packed = []
    for kind, name in METADATA.items():
        if info.get(name):
            if len(info[name]) > MAX_METADATA:
                raise FormatError(
                    f"its {name} has more than {MAX_METADATA} bytes; leave it out with --strip"
                )
            packed.append((kind, zlib.compress(info[name], 9)))
    return packed
