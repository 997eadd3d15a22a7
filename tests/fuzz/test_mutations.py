"""Damaged files are refused in one sentence or decoded to the right picture. Nothing crashes."""

import dataclasses
import random
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vaecodec
from fuzz import mutate, tiny
from helpers import difference
from vaecodec.errors import VaecodecError
from vaecodec.format.color import color_named
from vaecodec.format.container import Header, write
from vaecodec.format.reader import Reader

Original = tuple[bytes, np.ndarray]


@pytest.fixture(scope="session")
def originals() -> list[Original]:
    """Files and their pictures."""
    return [(data, vaecodec.decode_array(data, model=tiny.MODEL)) for data in tiny.files()]


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(st.integers(0, 6), st.integers(0, 2**32))
def test_no_wrong_picture(originals: list[Original], which: int, seed: int) -> None:
    data, picture = originals[which]
    changed = mutate.mutated(data, random.Random(seed))
    try:
        decoded = vaecodec.decode_array(changed, model=tiny.MODEL, threads=1)
    except VaecodecError as error:
        assert str(error)
        assert "\n" not in str(error)
        return
    grey_level = 257 if decoded.dtype == np.uint16 else 1
    assert difference(decoded, picture) <= grey_level


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 6), st.integers(0, 2**32), st.booleans())
def test_tolerant_decoding_and_forged_headers_do_not_crash(
    originals: list[Original], which: int, seed: int, forged: bool
) -> None:
    data = mutate.mutated(originals[which][0], random.Random(seed))
    if forged and len(data) > 26:
        data = mutate.forge_header(data, random.Random(seed + 1))
    try:
        vaecodec.decode_array(data, model=tiny.MODEL, threads=1, tolerant=True, max_pixels=10**6)
    except VaecodecError as error:
        assert str(error)


@settings(max_examples=2000, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_parser(tail: bytes, valid_header: bool) -> None:
    head = write(Header(300, 200, color_named("RGBA"), 50, "0123abcd", 7), [])
    try:
        reader = Reader((head if valid_header else b"\x89VAE\x01") + tail)
        reader.check_counts()
        reader.check_all()
    except VaecodecError as error:
        assert str(error)


def hostile_claims(data: bytes) -> dict[str, bytes]:
    """Return claims of hundreds of megapixels and of thousands of tiles over a few bytes."""
    header = Reader(data).header
    many_pixels = dataclasses.replace(header, width=20_000, height=20_000, tile_log2=9)
    many_tiles = dataclasses.replace(header, width=2**25, height=1, tile_log2=10, coding=1)
    one_tile = dataclasses.replace(header, width=1400, height=1400, tile_log2=0)
    return {
        "many pixels": write(many_pixels, [(b"T", bytes(8))] * 1600),
        "many tiles": write(many_tiles, [(b"P", b"")] * 5 * 2**15),
        "one tile": write(one_tile, [(b"T", bytes(4))]),
        "a long index": data[:26] + b"I" + struct.pack("<I", 2**32 - 1) + bytes(100),
    }


@pytest.mark.parametrize("claim", ["many pixels", "many tiles", "one tile", "a long index"])
def test_hostile_headers_cost_little_memory(originals: list[Original], claim: str) -> None:
    data = hostile_claims(originals[3][0])[claim]
    vaecodec.probe(data)
    tracemalloc.start()
    try:
        with pytest.raises(VaecodecError):
            vaecodec.decode_array(data, model=tiny.MODEL)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
