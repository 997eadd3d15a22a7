"""The header and the chunks, and what hostile bytes do to them."""
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaecodec import container
from vaecodec.container import HEADER_SIZE, Header, chunks, probe, tile_payloads, write
from vaecodec.errors import FormatError

HEADER = Header(640, 480, "RGB", 42.5, "0123abcd")


def resealed(data: bytes, at: int, value: bytes) -> bytes:
    """The file with some header bytes replaced and the header's checksum made right again."""
    head = bytearray(data[: HEADER_SIZE - 4])
    head[at : at + len(value)] = value
    return bytes(head) + struct.pack("<I", zlib.crc32(head)) + data[HEADER_SIZE:]


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from(["L", "RGB"]), st.integers(100, 10000),
       st.binary(min_size=4, max_size=4))
def test_header_comes_back(width: int, height: int, color: str, quality: int, model: bytes) -> None:
    header = Header(width, height, color, quality / 100, model.hex())
    assert probe(write(header, [])) == header
    assert probe(write(header, [(b"T", b"abc")])[:HEADER_SIZE]) == header


def test_overhead_of_a_plain_image() -> None:
    assert len(write(HEADER, [(b"T", bytes(4))])) <= 40  # the four bytes are the checksum of the latents


def test_chunks_come_back_and_unknown_ones_are_skipped_or_not() -> None:
    data = write(HEADER, [(b"e", b"exif"), (b"T", b"tile"), (b"q", b"")])
    assert [(kind, bytes(payload)) for kind, payload in chunks(data)] == [(b"e", b"exif"), (b"T", b"tile"), (b"q", b"")]
    assert [bytes(t) for t in tile_payloads(data, 1)] == [b"tile"]
    with pytest.raises(FormatError, match="may not be skipped"):
        tile_payloads(write(HEADER, [(b"Q", b""), (b"T", b"tile")]), 1)
    with pytest.raises(FormatError, match="2 tiles where there must be 1"):
        tile_payloads(write(HEADER, [(b"T", b""), (b"T", b"")]), 1)
    with pytest.raises(FormatError, match="0 tiles"):
        tile_payloads(write(HEADER, []), 1)


@pytest.mark.parametrize("data, reason", [
    (b"", "empty"),
    (b"\x89PNG\r\n\x1a\n", "signature"),
    (b"\x89VA", "cut short"),
    (write(HEADER, [])[:20], "cut short"),
    (resealed(write(HEADER, []), 4, b"\x02"), "version 2.*install a newer"),
    (resealed(write(HEADER, []), 5, b"\x09"), "color code 9"),
    (resealed(write(HEADER, []), 6, b"\x00\x00"), "quality"),
    (resealed(write(HEADER, []), 8, b"\x09"), "tile size"),
    (resealed(write(HEADER, []), 9, b"\x01"), "coding"),
    (resealed(write(HEADER, []), 10, bytes(4)), "impossible size"),
    (resealed(write(HEADER, []), 10, b"\xff" * 8), "more than"),
])
def test_refused_headers(data: bytes, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        probe(data)


def test_every_flipped_bit_is_noticed() -> None:
    data = write(HEADER, [(b"T", b"some payload")])
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            probe(damaged)
            tile_payloads(bytes(damaged), 1)


def test_every_cut_is_noticed() -> None:
    data = write(HEADER, [(b"T", b"some payload")])
    for length in range(len(data)):
        with pytest.raises(FormatError):
            probe(data[:length])
            tile_payloads(data[:length], 1)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_refused_in_one_way(tail: bytes, with_header: bool) -> None:
    data = write(HEADER, []) + tail if with_header else container.SIGNATURE + tail
    try:
        probe(data)
        tile_payloads(data, 1)
    except FormatError as error:
        assert str(error)


def test_a_length_is_checked_before_it_is_trusted() -> None:
    data = write(HEADER, []) + b"T" + struct.pack("<I", 2**32 - 1) + b"x"
    tracemalloc.start()
    with pytest.raises(FormatError, match="more bytes"):
        tile_payloads(data, 1)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
