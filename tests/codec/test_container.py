"""The header and the chunks, and what hostile bytes do to them."""

import dataclasses
import mmap
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaecodec.errors import FormatError
from vaecodec.format import container
from vaecodec.format.color import COLORS, Color, color_named
from vaecodec.format.container import HEADER_SIZE, Header, probe, write
from vaecodec.format.reader import Reader

HEADER = Header(640, 480, color_named("RGB"), 42.5, "0123abcd")


def resealed(data: bytes, at: int, value: bytes) -> bytes:
    """The file with some header bytes replaced and the header's checksum made right again."""
    head = bytearray(data[: HEADER_SIZE - 4])
    head[at : at + len(value)] = value
    return bytes(head) + struct.pack("<I", zlib.crc32(head)) + data[HEADER_SIZE:]


@given(
    st.integers(1, 1400),
    st.integers(1, 1400),
    st.sampled_from(COLORS),
    st.integers(100, 10000),
    st.binary(min_size=4, max_size=4),
)
def test_header_comes_back(
    width: int, height: int, color: Color, quality: int, model: bytes
) -> None:
    header = Header(width, height, color, quality / 100, model.hex())
    assert probe(write(header, [])) == header
    assert probe(write(header, [(b"T", b"abc")])[:HEADER_SIZE]) == header


def test_overhead_of_a_plain_image() -> None:
    assert (
        len(write(HEADER, [(b"T", bytes(4))])) <= 40
    )  # the four bytes are the checksum of the latents


def read_all(data: bytes) -> list[tuple[bytes, bytes]]:
    """Every chunk of a whole, valid file."""
    reader = Reader(data)
    reader.check_counts()
    return [(chunk.kind, reader.payload(chunk)) for chunk in reader.chunks]


def test_chunks_come_back_and_unknown_ones_are_skipped_or_not() -> None:
    chunks = [(b"j", b"something new"), (b"T", b"tile"), (b"q", b"")]
    data = write(HEADER, chunks)
    assert read_all(data) == chunks
    assert [chunk.kind for chunk in Reader(data).latent_chunks()] == [b"T"]
    with pytest.raises(FormatError, match="may not be skipped"):
        read_all(write(HEADER, [(b"Q", b""), (b"T", b"tile")]))
    with pytest.raises(FormatError, match="2 chunks of latents, but there must be 1"):
        read_all(write(HEADER, [(b"T", b""), (b"T", b"")]))
    with pytest.raises(FormatError, match="0 chunks of latents"):
        read_all(write(HEADER, []))
    with pytest.raises(FormatError, match="type P"):
        read_all(write(HEADER, [(b"T", b""), (b"P", b"")]))
    with pytest.raises(FormatError, match="0 chunks of alpha, but there must be 1"):
        read_all(write(dataclasses.replace(HEADER, color=color_named("RGBA")), [(b"T", b"")]))


TILED = dataclasses.replace(HEADER, tile_log2=8)  # 3 x 2 tiles
TILES = [(b"T", bytes([i]) * (i + 5)) for i in range(6)]


def test_an_index_finds_the_tiles_behind_a_damaged_one() -> None:
    data = write(TILED, TILES)
    assert data[HEADER_SIZE : HEADER_SIZE + 1] == b"I" and read_all(data) == TILES
    reader = Reader(data)
    at = reader.chunks[2].at
    for offset in (0, 1, 6):  # type, length, payload
        damaged = bytearray(data)
        damaged[at + offset] ^= 0xFF
        reader = Reader(bytes(damaged))
        with pytest.raises(FormatError, match=f"chunk at byte {at}"):
            reader.payload(reader.chunks[2])
        assert [reader.payload(reader.chunks[i]) for i in (0, 1, 3, 4, 5)] == [
            TILES[i][1] for i in (0, 1, 3, 4, 5)
        ]


def test_a_cut_file_can_be_read_tolerantly() -> None:
    data = write(TILED, TILES)
    end = Reader(data).chunks[3].at + 7
    with pytest.raises(FormatError, match="cut short"):
        Reader(data[:end])
    reader = Reader(data[:end], tolerant=True)
    assert len(reader.chunks) == 6 and reader.share == pytest.approx(end / len(data))
    assert reader.payload(reader.chunks[2]) == TILES[2][1]
    assert reader.truncated_payload(reader.chunks[3]) == TILES[3][1][:2]


def test_a_damaged_index_costs_nothing() -> None:
    """Any byte of it: type, length, entries, checksum."""
    alpha = [(b"A", bytes([i])) for i in range(6)]
    for header, chunks in (
        (TILED, TILES),
        (dataclasses.replace(TILED, color=color_named("RGBA")), [(b"x", b"xmp"), *TILES, *alpha]),
    ):
        data = write(header, chunks)
        for at in range(HEADER_SIZE, Reader(data).chunks[0].at):
            for bit in (1, 0x20, 0x80):
                damaged = bytearray(data)
                damaged[at] ^= bit
                reader = Reader(bytes(damaged), tolerant=True)
                assert [(chunk.kind, reader.payload(chunk)) for chunk in reader.chunks] == chunks


def test_damage_before_the_picture_does_not_cost_the_picture() -> None:
    data = write(
        HEADER, [(b"c", b"profile"), (b"x", b"xmp"), (b"T", b"the picture, and a T in it")]
    )
    for at in range(HEADER_SIZE, Reader(data).chunks[2].at):
        damaged = bytearray(data)
        damaged[at] ^= 0x41
        reader = Reader(bytes(damaged), tolerant=True)
        assert [reader.payload(chunk) for chunk in reader.latent_chunks()] == [
            b"the picture, and a T in it"
        ]
        wrong: list[str] = []
        reader.metadata(wrong)
        assert wrong
    many = data[:HEADER_SIZE] + b"T\1\0\0\0" * 100_000  # chunks that are none
    assert Reader(many, tolerant=True).latent_chunks()
    with pytest.raises(FormatError, match="may not be skipped"):
        Reader(write(HEADER, [(b"T", b"tile"), (b"Q", b"")]), tolerant=True)


def test_a_region_costs_few_bytes() -> None:
    reader = Reader(write(TILED, [(b"T", bytes(10_000))] * 6))
    reader.payload(reader.chunks[4])
    assert reader.bytes_read < 10_200


def test_metadata_is_bounded() -> None:
    exif = b"Exif\0\0" + bytes(1000)
    chunks = container.pack_metadata({"exif": exif, "icc_profile": b"profile", "xmp": b"<x/>"})
    assert Reader(write(HEADER, chunks)).metadata() == {
        "exif": exif,
        "icc_profile": b"profile",
        "xmp": b"<x/>",
    }
    bomb = zlib.compress(bytes(container.MAX_METADATA + 1))
    for payload in (bomb, b"not zlib", zlib.compress(exif)[:-3]):
        with pytest.raises(FormatError, match="exif"):
            Reader(write(HEADER, [(b"e", payload)])).metadata()
    with pytest.raises(FormatError, match="--strip"):
        container.pack_metadata({"xmp": bytes(container.MAX_METADATA + 1)})


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n", "signature"),
        (b"\x89VA", "cut short"),
        (write(HEADER, [])[:20], "cut short"),
        (resealed(write(HEADER, []), 4, b"\x02"), "version 2.*install a newer"),
        (resealed(write(HEADER, []), 5, b"\x08"), "color code 8"),
        (resealed(write(HEADER, []), 6, b"\x00\x00"), "quality"),
        (resealed(write(HEADER, []), 8, b"\x06"), "tile size"),
        (resealed(write(HEADER, []), 8, b"\x0d"), "tile size"),
        (resealed(write(HEADER, []), 9, b"\x02"), "coding"),
        (resealed(write(HEADER, []), 10, struct.pack("<II", 2**28, 2)), "in one tile"),
        (
            resealed(
                write(dataclasses.replace(HEADER, tile_log2=7), []),
                10,
                struct.pack("<II", 2**29, 1),
            ),
            "tiles exceed",
        ),
        (resealed(write(HEADER, []), 10, bytes(4)), "invalid size"),
        (resealed(write(HEADER, []), 10, b"\xff" * 8), "exceed"),
    ],
)
def test_refused_headers(data: bytes, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        probe(data)


def test_every_flipped_bit_is_noticed() -> None:
    for data in (write(HEADER, [(b"T", b"some payload")]), write(TILED, TILES)):
        every_bit(data)


def every_bit(data: bytes) -> None:
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            read_all(bytes(damaged))


def test_every_cut_is_noticed() -> None:
    data = write(TILED, TILES)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            read_all(data[:length])


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_refused_in_one_way(tail: bytes, with_header: bool) -> None:
    data = write(HEADER, []) + tail if with_header else container.SIGNATURE + tail
    try:
        read_all(data)
    except FormatError as error:
        assert str(error)


def test_a_length_is_checked_before_it_is_trusted() -> None:
    data = write(HEADER, []) + b"T" + struct.pack("<I", 2**32 - 1) + b"x"
    tracemalloc.start()
    with pytest.raises(FormatError, match="more bytes"):
        read_all(data)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_exif_is_stored_without_its_prefix() -> None:
    tiff = b"MM\0*" + bytes(20)
    for exif in (tiff, b"Exif\0\0" + tiff, b"Exif\0\0Exif\0\0" + tiff):
        ((kind, payload),) = container.pack_metadata({"exif": exif})
        assert kind == b"e" and zlib.decompress(payload) == tiff
        older = write(HEADER, [(b"e", zlib.compress(exif)), (b"T", b"")])
        assert Reader(older).metadata() == {"exif": b"Exif\0\0" + tiff}
    assert container.pack_metadata({"exif": b"Exif\0\0", "xmp": b""}) == []


def test_readers_take_bytes_maps_and_files(tmp_path: Path) -> None:
    path = tmp_path / "a.vae"
    path.write_bytes(write(TILED, TILES))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for source in (
            path.read_bytes(),
            bytearray(path.read_bytes()),
            memoryview(path.read_bytes()),
            mapped,
            file,
        ):
            reader = Reader(source)
            reader.check_all()
            assert reader.size == path.stat().st_size
            assert [reader.payload(chunk) for chunk in reader.chunks] == [data for _, data in TILES]
            assert all(type(reader.payload(chunk)) is bytes for chunk in reader.chunks)


def test_colors() -> None:
    assert [color.code for color in COLORS] == list(range(8))
    for color in COLORS:
        assert color_named(str(color)) is color and color.as_8_bit.pillow_mode
        assert color.is_grey == ("RGB" not in color.name)
        assert color.has_alpha == ("A" in color.name) == bool(color.code & 2)
        assert color.depth == (16 if color.name.endswith("16") else 8) == 8 * color.sample_bytes
        assert np.iinfo(color.dtype).max == color.peak
        assert color.channels == len(color.name.removesuffix("16"))
    with pytest.raises(KeyError):
        color_named("CMYK")
