"""Reading a .vae file chunk by chunk."""

import io
import mmap
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from vaecodec.errors import FormatError
from vaecodec.format.container import (
    ALPHA,
    CHUNK_START,
    CRC,
    HEADER_SIZE,
    INDEX,
    KNOWN_KINDS,
    MAX_PIXELS,
    METADATA_NAMES,
    STEP,
    TILE,
    Chunk,
    probe,
    unpack_metadata,
)
from vaecodec.format.salvage import salvage_chunks
from vaecodec.spec import SEGMENTS

Source = BinaryIO | bytes | bytearray | memoryview | mmap.mmap


def seekable(file: BinaryIO) -> BinaryIO:
    """Return the file itself, or the contents of a pipe as a stream that can seek.

    Objects that only have `read`, `seek` and `tell` count as seekable.
    """
    if not hasattr(file, "seekable") or file.seekable():
        return file
    return io.BytesIO(file.read())


class Reader:
    """The chunks of an open .vae file, located without reading their payloads.

    Args:
        source: A seekable binary file, or the bytes of a file (bytes, bytearray, memoryview, mmap).
            It must stay open and unchanged while the reader is in use.
        tolerant: Accept a file that is damaged or cut short, and locate what is left of it.
        max_pixels: Refuse pictures with more pixels than this.

    Attributes:
        header: The header.
        chunks: All chunks but the index, in file order.
        size: Bytes of the source.
        bytes_read: Bytes read so far.
        skipped_bytes: Damaged bytes in front of the picture (tolerant readers only).
        max_chunks: Files with more chunks than this are refused, as they cannot fit the header.

    Raises:
        FormatError: If this is not a .vae file that this version reads.
    """

    def __init__(self, source: Source, tolerant: bool = False, max_pixels: int = MAX_PIXELS):
        self.tolerant = tolerant
        self._file: BinaryIO | None = None
        self._buffer: memoryview | mmap.mmap | bytearray | None = None
        if isinstance(source, (mmap.mmap, bytearray)):
            # A memoryview would keep the caller from closing the map or resizing the array.
            self._buffer = source
            self.size = len(source)
        elif isinstance(source, (bytes, memoryview)):
            self._buffer = memoryview(source).cast("B")
            self.size = len(self._buffer)
        else:
            self._file = source
            self.size = source.seek(0, io.SEEK_END)
        self.bytes_read = 0
        self.header = probe(self.read_at(0, HEADER_SIZE), max_pixels)
        self.chunks: list[Chunk] = []
        self.skipped_bytes = 0
        self.max_chunks = self.header.tiles * (SEGMENTS + 1) + 1000
        if tolerant:
            salvage_chunks(self)
        else:
            self._read_chunks()

    def _read_chunks(self) -> None:
        """Locate the chunks of an undamaged file. Raises FormatError."""
        at = HEADER_SIZE
        entries: Iterator[tuple[bytes, int]] | None = None
        while at < self.size or entries:
            if entries:
                kind, length = next(entries, (b"", 0))
                if not kind:
                    break
                chunk = Chunk(kind, at, length)
            else:
                chunk = self.chunk_at(at)
            if not chunk.kind.isalpha():
                raise FormatError(f"damaged: byte {at} is not the start of a chunk")
            if chunk.kind == INDEX:
                entries = self._index_entries(chunk)
            else:
                self.add_chunk(chunk)
            at = chunk.end
            if at > self.size and not entries:
                raise FormatError(f"cut short: a chunk needs {at - self.size} more bytes")
        if at > self.size:
            raise FormatError(
                f"cut short: {at - self.size} bytes are missing; use --preview to show the rest"
            )
        if at < self.size:
            raise FormatError("damaged: there are more bytes than the index lists")

    def _index_entries(self, chunk: Chunk) -> Iterator[tuple[bytes, int]]:
        """Return type and length of the chunks after the index. Raises FormatError."""
        if chunk.at != HEADER_SIZE or chunk.end > self.size:
            raise FormatError("damaged: the index is cut short or not the first chunk")
        count, remainder = divmod(chunk.length, CHUNK_START.size)
        if remainder or not 0 < count <= self.max_chunks:
            raise FormatError("damaged: the index has an invalid length")
        return CHUNK_START.iter_unpack(self.payload(chunk))

    def add_chunk(self, chunk: Chunk) -> None:
        """Append to `chunks`. Raises FormatError if the type is unknown and may not be skipped."""
        if chunk.kind.isupper() and chunk.kind not in KNOWN_KINDS:
            raise FormatError(
                f"unknown chunk type {chunk.kind!r} that may not be skipped; "
                "please install a newer vaecodec"
            )
        if len(self.chunks) >= self.max_chunks:
            raise FormatError(f"damaged: more than {self.max_chunks} chunks")
        self.chunks.append(chunk)

    def chunk_at(self, at: int) -> Chunk:
        """Interpret the bytes at an offset as a chunk. Raises FormatError if there are too few."""
        start = self.read_at(at, CHUNK_START.size)
        if len(start) < CHUNK_START.size:
            raise FormatError("cut short inside the header of a chunk")
        kind, length = CHUNK_START.unpack(start)
        return Chunk(kind, at, length)

    def read_at(self, at: int, count: int) -> bytes:
        """Return `count` bytes from an offset, or fewer at the end of the file."""
        if self._file is not None:
            self._file.seek(at)
            data = self._file.read(count)
        else:
            assert self._buffer is not None
            data = bytes(self._buffer[at : at + count])
        self.bytes_read += len(data)
        return data

    def payload(self, chunk: Chunk) -> bytes:
        """Return the payload of a chunk after verifying its checksum. Raises FormatError."""
        if chunk.end > self.size:
            raise FormatError(f"cut short: a chunk needs {chunk.end - self.size} more bytes")
        data = self.read_at(chunk.at, chunk.end - chunk.at)
        body = data[: -CRC.size]
        (stored,) = CRC.unpack(data[-CRC.size :])
        if stored != zlib.crc32(body) or CHUNK_START.unpack_from(body) != (
            chunk.kind,
            chunk.length,
        ):
            raise FormatError(f"damaged: checksum mismatch in the chunk at byte {chunk.at}")
        return body[CHUNK_START.size :]

    def truncated_payload(self, chunk: Chunk) -> bytes:
        """Return the available part of a payload that the end of the file cuts off, unverified."""
        return self.read_at(chunk.at + CHUNK_START.size, chunk.length)

    def is_intact(self, chunk: Chunk) -> bool:
        """Whether the whole chunk is present and its checksum matches."""
        try:
            self.payload(chunk)
        except FormatError:
            return False
        return True

    @property
    def share(self) -> float:
        """The part of the file that is present, 0 to 1; 1 if its full length is unknown."""
        end = max((chunk.end for chunk in self.chunks), default=self.size)
        return min(1.0, self.size / end)

    def latent_chunks(self) -> list[Chunk]:
        """Return the chunks of latents in file order.

        There is one per tile. If the file is ordered step after step, there are SEGMENTS per tile:
        the first of all tiles, then the second of all tiles, and so on.
        """
        kind = STEP if self.header.by_step else TILE
        return [chunk for chunk in self.chunks if chunk.kind == kind]

    def alpha_chunks(self) -> list[Chunk]:
        """Return the chunks of alpha in file order, one per tile."""
        return [chunk for chunk in self.chunks if chunk.kind == ALPHA]

    def check_counts(self) -> None:
        """Raise FormatError unless the file has the number of chunks that the header asks for."""
        latents = len(self.latent_chunks())
        alphas = len(self.alpha_chunks())
        header = self.header
        if latents != header.latent_chunk_count:
            raise FormatError(
                f"{latents} chunks of latents, but there must be {header.latent_chunk_count}"
            )
        if alphas != header.alpha_chunk_count:
            raise FormatError(
                f"{alphas} chunks of alpha, but there must be {header.alpha_chunk_count}"
            )
        other = TILE if header.by_step else STEP
        if any(chunk.kind == other for chunk in self.chunks):
            raise FormatError(f"a chunk of type {other.decode()}, which this coding does not use")

    def check_all(self) -> None:
        """Verify the checksum of every chunk. Raises FormatError."""
        for chunk in self.chunks:
            self.payload(chunk)

    def metadata(self, lost: list[str] | None = None) -> dict[str, bytes]:
        r"""Return icc_profile, exif and xmp, those that the file has.

        exif begins with the prefix `Exif\0\0`, so that Pillow's `save(exif=...)` takes it.

        Args:
            lost: Receives a description of each damaged part, which is then left out.

        Raises:
            FormatError: If metadata is damaged and `lost` is None.
        """
        metadata = {}
        for chunk in self.chunks:
            name = METADATA_NAMES.get(chunk.kind)
            if name is None:
                continue
            try:
                metadata[name] = unpack_metadata(self.payload(chunk), name)
            except FormatError as error:
                if lost is None:
                    raise
                lost.append(f"{name} ({error})")
        if self.skipped_bytes and lost is not None:
            lost.append(f"{self.skipped_bytes} bytes in front of the picture (damaged)")
        return metadata
