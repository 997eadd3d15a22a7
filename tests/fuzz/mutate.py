"""Ways of damaging a .vae file, for hypothesis and for atheris."""

import random
import struct
import zlib

from vaecodec.format.container import HEADER_SIZE, seal
from vaecodec.format.reader import Reader


def chunks_of(data: bytes) -> list[bytes]:
    """Return all chunks of a valid file as bytes, the index included."""
    parts, at = [], HEADER_SIZE
    while at < len(data):
        length = struct.unpack_from("<I", data, at + 1)[0] + 9
        parts.append(data[at : at + length])
        at += length
    return parts


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return the data after one to five random CHANGES."""
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        if len(data) > HEADER_SIZE + 9:
            data = rng.choice(CHANGES)(data, rng)
    return data


def flip(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def overwrite(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(rng.randrange(1, 20)) + data[at + rng.randrange(20) :]


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def shuffle_chunks(data: bytes, rng: random.Random) -> bytes:
    try:
        parts = chunks_of(data)
    except struct.error:
        return data
    if not parts:
        return data
    a, b = rng.randrange(len(parts)), rng.randrange(len(parts))
    kind = rng.randrange(3)
    if kind == 0:
        parts[a], parts[b] = parts[b], parts[a]
    elif kind == 1:
        parts.insert(a, parts[b])
    else:
        del parts[a]
    return data[:HEADER_SIZE] + b"".join(parts)


def forge(data: bytes, rng: random.Random) -> bytes:
    """Change a chunk of latents and make its checksum right again."""
    try:
        latents = Reader(data).latent_chunks()
    except Exception:
        return data
    if not latents:
        return data
    chunk = rng.choice(latents)
    payload = bytearray(data[chunk.at + 5 : chunk.end - 4])
    if payload:
        payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
    return data[: chunk.at] + seal(chunk.kind, bytes(payload)) + data[chunk.end :]


def forge_header(data: bytes, rng: random.Random) -> bytes:
    """Change the header and make its checksum right again: an attack rather than damage.

    The picture may then be another one.
    """
    head = bytearray(data[: HEADER_SIZE - 4])
    at = rng.choice([5, 6, 7, 8, 9, *range(10, 18)])
    head[at] = rng.choice([0, 1, 2, 7, 9, 127, 255, head[at] ^ 1])
    return bytes(head) + struct.pack("<I", zlib.crc32(head)) + data[HEADER_SIZE:]


CHANGES = (flip, overwrite, cut, shuffle_chunks, forge)
