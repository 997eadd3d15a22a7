"""Damaged files: refused in one sentence, or decoded to exactly the right picture; never a crash, never a wrong picture."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vaecodec
from fuzz import mutate, tiny
from vaecodec.errors import VaecodecError
from vaecodec.format.color import color_named
from vaecodec.format.reader import Reader


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="session")
def originals(model: str) -> list[tuple[bytes, np.ndarray]]:
    return [(data, vaecodec.decode_array(data, model=model)) for data in tiny.files(model)]


@settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 6), st.integers(0, 2**32))
def test_no_wrong_picture(
    originals: list[tuple[bytes, np.ndarray]], model: str, which: int, seed: int
) -> None:
    data, picture = originals[which]
    changed = mutate.mutated(data, random.Random(seed))
    try:
        decoded = vaecodec.decode_array(changed, model=model, threads=1)
    except VaecodecError as error:
        assert str(error) and "\n" not in str(error)
        return
    assert np.abs(decoded.astype(int) - picture.astype(int)).max() <= (
        257 if decoded.dtype == np.uint16 else 1
    )


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 6), st.integers(0, 2**32), st.booleans())
def test_tolerant_decoding_and_forged_headers_do_not_crash(
    originals: list[tuple[bytes, np.ndarray]], model: str, which: int, seed: int, forged: bool
) -> None:
    data = mutate.mutated(originals[which][0], random.Random(seed))
    if forged and len(data) > 26:
        data = mutate.forge_header(data, random.Random(seed + 1))
    try:
        vaecodec.decode_array(data, model=model, threads=1, tolerant=True, max_pixels=10**6)
    except VaecodecError as error:
        assert str(error)


@settings(max_examples=2000, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_parser(tail: bytes, valid_header: bool) -> None:
    from vaecodec.format.container import Header, write

    head = write(Header(300, 200, color_named("RGBA"), 50, "0123abcd", 7), [])
    try:
        reader = Reader((head if valid_header else b"\x89VAE\x01") + tail)
        reader.check_counts()
        reader.check_all()
    except VaecodecError as error:
        assert str(error)


def test_hostile_headers_cost_little(
    model: str, originals: list[tuple[bytes, np.ndarray]], tmp_path: Path
) -> None:
    """Claims of hundreds of megapixels and of thousands of tiles over a few bytes."""
    import dataclasses
    import struct
    import tracemalloc

    from vaecodec.format.container import write

    data = originals[3][0]
    header = Reader(data).header
    claims = [
        write(
            dataclasses.replace(header, width=20_000, height=20_000, tile_log2=9),
            [(b"T", bytes(8))] * 1600,
        ),
        write(
            dataclasses.replace(header, width=2**25, height=1, tile_log2=10, coding=1),
            [(b"P", b"")] * 5 * 2**15,
        ),
        write(
            dataclasses.replace(header, width=1400, height=1400, tile_log2=0), [(b"T", bytes(4))]
        ),
        data[:26] + b"I" + struct.pack("<I", 2**32 - 1) + bytes(100),
    ]
    for claim in claims:
        vaecodec.probe(claim)
        tracemalloc.start()
        with pytest.raises(VaecodecError):
            vaecodec.decode_array(claim, model=model)
        assert tracemalloc.get_traced_memory()[1] < 50e6
        tracemalloc.stop()
