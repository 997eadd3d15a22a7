"""Finding the chunks of a damaged file."""

import re
from itertools import islice
from typing import TYPE_CHECKING

from vaecodec.format.container import (
    CHUNK_START,
    CRC,
    HEADER_SIZE,
    INDEX,
    KNOWN_KINDS,
    METADATA_NAMES,
    STEP,
    TILE,
    Chunk,
    seal,
)

if TYPE_CHECKING:
    from vaecodec.format.reader import Reader

# Candidates whose checksum is tried when searching for the next chunk. More false ones than this
# are no accident, and trying them all could take very long.
MAX_CANDIDATES = 64


def salvage_chunks(reader: "Reader") -> None:
    """Add what can be found of the chunks of a damaged file to `reader`.

    These are the chunks listed in the index if it is intact, else those found by walking the file.
    """
    at = HEADER_SIZE
    if reader.header.latent_chunk_count > 1:
        at, entries = _salvage_index(reader)
        for kind, length in CHUNK_START.iter_unpack(entries):
            reader.add_chunk(Chunk(kind, at, length))
            at = reader.chunks[-1].end
        if entries:
            return
    _walk_chunks(reader, at)


def _walk_chunks(reader: "Reader", at: int) -> None:
    """Add the chunks from offset `at` on, until the boundaries of chunks can no longer be told."""
    before_picture = True
    for _ in range(reader.max_chunks):
        if at >= reader.size - CHUNK_START.size:
            return
        chunk = reader.chunk_at(at)
        before_picture = before_picture and chunk.kind not in (TILE, STEP)
        if before_picture and not reader.is_intact(chunk):
            # Damage in front of the picture need not cost the picture.
            at = _skip_damaged(reader, chunk)
            continue
        if not chunk.kind.isalpha():
            return
        if chunk.kind in KNOWN_KINDS or chunk.kind.islower() or reader.is_intact(chunk):
            reader.add_chunk(chunk)
        at = chunk.end


def _skip_damaged(reader: "Reader", chunk: Chunk) -> int:
    """Return the offset at which to continue after a damaged chunk in front of the picture.

    A metadata chunk of which only the payload is damaged is added, so that its loss is reported.
    """
    length_is_right = chunk.end <= reader.size - CHUNK_START.size and reader.is_intact(
        reader.chunk_at(chunk.end)
    )
    at = chunk.end if length_is_right else _find_latents(reader, chunk.at + 1)
    if length_is_right and chunk.kind in METADATA_NAMES:
        reader.add_chunk(chunk)
    else:
        reader.skipped_bytes += at - chunk.at
    return at


def _salvage_index(reader: "Reader") -> tuple[int, bytes]:
    """Return the offset of the end of the index, and its payload or b"" if it is damaged.

    The type or the length of the index may be damaged while its payload is intact. Therefore the
    lengths that fit the header are tried too.
    """
    header = reader.header
    start = HEADER_SIZE + CHUNK_START.size
    available = min(reader.max_chunks * CHUNK_START.size + CRC.size, reader.size - start)
    data = reader.read_at(start, available)
    stated = reader.chunk_at(HEADER_SIZE).length if data else 0
    fewest = header.latent_chunk_count + header.alpha_chunk_count
    likely = [CHUNK_START.size * (fewest + more) for more in range(len(METADATA_NAMES) + 1)]
    for length in (stated, *likely):
        if length % CHUNK_START.size or not 0 < length <= len(data) - CRC.size:
            continue
        end = length + CRC.size
        if seal(INDEX, data[:length])[-CRC.size :] == data[length:end]:
            return start + end, data[:length]
    return (start + stated + CRC.size if stated < len(data) else reader.size), b""


def _find_latents(reader: "Reader", at: int) -> int:
    """Return the offset of the next intact chunk of latents, or of the end of the file."""
    rest = reader.read_at(at, reader.size - at)
    kind = STEP if reader.header.by_step else TILE
    letters = re.finditer(kind, rest[: 1 - CHUNK_START.size])
    chunks = (reader.chunk_at(at + letter.start()) for letter in letters)
    candidates = (chunk for chunk in chunks if chunk.end <= reader.size)
    for chunk in islice(candidates, MAX_CANDIDATES):
        if reader.is_intact(chunk):
            return chunk.at
    return reader.size
