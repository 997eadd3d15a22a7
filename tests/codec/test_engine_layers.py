"""Every kernel computes the formulas of each kind of layer, as plain Python integers do."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plain_layers import Case, Values, solved, sum_case
from vaecodec.engine import Buffer, Engine, Layer, Network, available

CHANNELS = (1, 2, 3, 15, 16, 17, 31, 33, 64, 65, 100)  # around and between the sizes of vectors
# Every number of pixels up to 13, so every remainder of the 2, 4 or 6 that a tile has.
SIZES = (
    *((1, 1), (1, 2), (3, 1), (2, 2), (1, 5), (2, 3), (7, 1), (2, 4), (3, 3), (5, 2), (1, 11)),
    *((4, 3), (1, 13), (5, 7)),
)
STYLES = ("plain", "extreme", "full")


def check(kernel: str, case: Case, solve: Callable[..., tuple[Network, Values, Values]]) -> None:
    network, x, expected = solve(case)
    got = Engine(network, name=kernel).run(np.array(x, np.int16), case.quality)
    assert got.dtype == np.int16
    assert got.tolist() == expected, case


def linear_cases() -> list[Case]:
    pairs = list(itertools.product(CHANNELS, CHANNELS))
    return [
        Case(
            "linear",
            inputs,
            outputs,
            SIZES[k % 13],
            add=bool(k & 1),
            relu=k % 3 == 2,
            source_channels=(k % 4, k // 2 % 3),
            target_channels=(k // 3 % 3, k // 5 % 4),
            style=STYLES[k // 7 % 3],
            seed=k,
        )
        for k, (inputs, outputs) in enumerate(pairs)
    ]


def depthwise_cases() -> list[Case]:
    return [
        Case(
            "depthwise",
            channels,
            0,
            size,
            relu=k % 3 == 0,
            source_channels=(k % 4, k // 2 % 3),
            target_channels=(k // 3 % 3, k // 5 % 4),
            style=STYLES[k // 2 % 3],
            seed=k,
        )
        for k, (size, channels) in enumerate(itertools.product(SIZES, CHANNELS))
    ]


def gain_cases() -> list[Case]:
    return [
        Case(
            "gain",
            channels,
            0,
            SIZES[k % 14],
            add=k % 2 == 0,
            relu=k % 3 == 0,
            source_channels=(k % 4, k // 2 % 3),
            target_channels=(k // 3 % 3, k // 5 % 4),
            style=STYLES[k % 3],
            quality=quality,
            seed=k,
        )
        for k, (channels, quality) in enumerate(
            itertools.product(CHANNELS, (1.0, 25.75, 50.0, 74.26, 99.99, 100.0))
        )
    ]


def shuffle_cases() -> list[Case]:
    return [
        Case(
            kind,
            channels,
            0,
            size,
            factor=factor,
            source_channels=(k % 3, k // 2 % 3),
            # What fills the target of an unshuffle writes whole squares.
            target_channels=(k % 2 * unit, k // 3 % 2 * unit),
            style="extreme",
            seed=k,
        )
        for k, (kind, factor, channels, size) in enumerate(
            itertools.product(("shuffle", "unshuffle"), (2, 8), (1, 2, 3, 17), SIZES[:6])
        )
        for unit in [factor**2 if kind == "unshuffle" else 1]
    ]


CASES = {
    "linear": linear_cases,
    "depthwise": depthwise_cases,
    "gain": gain_cases,
    "shuffle": shuffle_cases,
}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("kernel", available())
def test_layer(kernel: str, kind: str) -> None:
    for case in CASES[kind]():
        check(kernel, case, solved)


small = st.integers(0, 3)
cases = st.builds(
    Case,
    st.sampled_from(["linear", "depthwise", "gain"]),
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 70),
    size=st.tuples(st.integers(1, 5), st.integers(1, 9)),
    add=st.just(False),
    relu=st.booleans(),
    source_channels=st.tuples(small, small),
    target_channels=st.tuples(small, small),
    style=st.sampled_from(STYLES),
    quality=st.integers(100, 10000).map(lambda q: q / 100),
    seed=st.integers(0, 2**32),
)


@pytest.mark.parametrize("kernel", available())
@given(case=cases)
@settings(deadline=None, max_examples=40)
def test_any_layer(kernel: str, case: Case) -> None:
    check(kernel, case, sum_case)


def one_layer(weight: int, bias: int, shift: int, **options: bool) -> Network:
    """Return a network of one channel that adds to, or replaces, a copy of its input's second channel."""
    tensors = {
        "copy.weight": np.array([[1]], np.int16),
        "copy.bias": np.array([0], np.int32),
        "copy.shift": np.array([0], np.uint8),
        "layer.weight": np.array([[weight]], np.int16),
        "layer.bias": np.array([bias], np.int32),
        "layer.shift": np.array([shift], np.uint8),
    }
    layers = (
        Layer("linear", "input", "output", 1, 1, "copy", source_channel=1),
        Layer("linear", "input", "output", 1, 1, "layer", **options),
    )
    return Network({"input": Buffer(2), "output": Buffer(1)}, layers, tensors)


@pytest.mark.parametrize("kernel", available())
@pytest.mark.parametrize(
    ("network", "x", "expected"),
    [
        # Halves are rounded up, whatever their sign.
        (one_layer(1, 0, 1), [-5, -3, -1, 1, 3, 5], [-2, -1, 0, 1, 2, 3]),
        (one_layer(1, 0, 2), [-6, -5, -2, -1, 2, 3, 6], [-1, -1, 0, 0, 1, 1, 2]),
        (one_layer(3, 0, 0), [-2, 0, 7], [-6, 0, 21]),
        # The greatest shift.
        (one_layer(32767, 2**29 + 2**14, 30), [-16383, 0, 16383], [0, 1, 1]),
        (one_layer(32767, 0, 30), [-16383, 16383], [0, 0]),
        # Saturation, of inputs too.
        (one_layer(1, 0, 0), [-32768, -16384, 16384, 32767], [-16383, -16383, 16383, 16383]),
        (one_layer(2, 0, 0), [-8192, -8191, 8191, 8192], [-16383, -16382, 16382, 16383]),
    ],
)
def test_known_values(kernel: str, network: Network, x: list[int], expected: list[int]) -> None:
    pixels = np.array([[[value, 99] for value in x]], np.int16)
    assert Engine(network, name=kernel).run(pixels).ravel().tolist() == expected


@pytest.mark.parametrize("kernel", available())
@pytest.mark.parametrize(
    ("options", "x", "expected"),
    [
        # Saturated before the addition: 20000 - 16383 would be 3617.
        ({"add": True}, (10000, -16383), 0),
        ({"add": True}, (10000, 1), 16383),
        ({"add": True}, (-10000, -16383), -16383),
        # ReLU after the addition.
        ({"add": True, "relu": True}, (-2, 7), 3),
        ({"add": True, "relu": True}, (2, -7), 0),
        ({"relu": True}, (-2, 7), 0),
    ],
)
def test_order_of_operations(
    kernel: str, options: dict[str, bool], x: tuple[int, int], expected: int
) -> None:
    network = one_layer(2, 0, 0, **options)
    assert Engine(network, name=kernel).run(np.array([[x]], np.int16)).item() == expected


@pytest.mark.parametrize("kernel", available())
def test_padding(kernel: str) -> None:
    """Around the edges there are zeros, so each cell counts its neighbours."""
    tensors = {
        "layer.weight": np.ones((1, 3, 3), np.int16),
        "layer.bias": np.zeros(1, np.int32),
        "layer.shift": np.zeros(1, np.uint8),
    }
    layer = Layer("depthwise", "input", "output", 1, 1, "layer")
    engine = Engine(
        Network({"input": Buffer(1), "output": Buffer(1)}, (layer,), tensors), 1, kernel
    )
    x = np.ones((3, 4, 1), np.int16)
    assert engine.run(x)[..., 0].tolist() == [[4, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]]
    assert engine.run(x[:1])[..., 0].tolist() == [[2, 3, 3, 2]]
    assert engine.run(x[:, :1])[..., 0].tolist() == [[2], [3], [2]]
    assert engine.run(x[:1, :1]).tolist() == [[[1]]]


@pytest.mark.parametrize("kernel", available())
def test_input_of_any_strides(kernel: str) -> None:
    network, x, expected = solved(linear_cases()[60])
    turned = np.ascontiguousarray(np.array(x, np.int16)[::-1].transpose(2, 1, 0))
    got = Engine(network, name=kernel).run(turned.transpose(2, 1, 0)[::-1])
    assert got.tolist() == expected
