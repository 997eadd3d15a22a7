"""Only networks whose layers fit together and whose sums no input can make overflow are run."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from random_networks import VALID_LAYERS, random_stream, valid_network
from vaecodec.engine import Buffer, Engine, Network, available
from vaecodec.engine.network import check
from vaecodec.errors import ModelError


def changed(number: int, **fields: Any) -> Network:
    """Return the valid network with some fields of one layer changed."""
    layers = list(VALID_LAYERS)
    layers[number] = dataclasses.replace(layers[number], **fields)
    return dataclasses.replace(valid_network(), layers=tuple(layers))


def refused(network: Network, *words: str) -> None:
    with pytest.raises(ModelError) as error:
        check(network)
    assert all(word in str(error.value) for word in words), error.value
    for name in available():
        with pytest.raises(ModelError):
            Engine(network, name=name)


def test_valid_network_passes() -> None:
    network = valid_network()
    assert check(network) is network
    assert check(random_stream(1, 3, 2)).macs_per_cell == 4 * 3 + 2 * (6 * 9 + 9 * 3) + 9


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (changed(0, kind="conv"), ("layer a", "unknown kind conv")),
        (changed(0, source="nowhere"), ("layer a", "no nowhere")),
        (changed(0, target="nowhere"), ("layer a", "no nowhere")),
        (changed(0, name="other"), ("layer other", "no other.weight")),
        (changed(0, name=""), ("layer linear", "no name")),
        # Channels out of range.
        (changed(0, source_channel=1), ("layer a", "reads channels (1, 4) of 3")),
        (changed(0, source_channel=-1), ("layer a", "reads channels")),
        (changed(0, inputs=0), ("layer a", "reads channels")),
        (changed(0, inputs=-1), ("layer a", "reads channels")),
        (changed(0, target_channel=1), ("layer a", "writes channels (1, 5) of 4")),
        (changed(0, target_channel=-1), ("layer a", "writes channels")),
        (changed(0, outputs=0), ("layer a", "writes channels")),
        # Buffers that a layer may not use.
        (changed(2, target="input", outputs=3), ("layer c", "writes the input")),
        (changed(1, target="x"), ("layer b", "the same buffer")),
        (changed(2, source="x"), ("layer c", "the same buffer")),
        (changed(3, inputs=3, outputs=3, source_channel=1), ("layer g", "the same buffer")),
        # Options that a kind does not have.
        (changed(1, add=True), ("layer b", "cannot add")),
        (changed(4, add=True), ("layer shuffle", "cannot add")),
        (changed(4, relu=True), ("layer shuffle", "these options")),
        (changed(4, name="s"), ("layer s", "these options")),
        (changed(0, factor=2), ("layer a", "resolution")),
        (changed(1, inputs=3), ("layer b", "3 inputs for 4 outputs")),
        (changed(3, outputs=3), ("layer g", "4 inputs for 3 outputs")),
        # Shuffles.
        (changed(4, factor=8), ("layer shuffle", "a factor of 8")),
        (changed(4, factor=3), ("layer shuffle", "by 3")),
        (changed(4, factor=1), ("layer shuffle", "by 1")),
        (changed(4, kind="unshuffle"), ("layer unshuffle", "a factor of 2")),
        (changed(4, inputs=3), ("layer shuffle", "a factor of 2")),
        (changed(4, kind="linear", name="c", factor=1), ("layer c", "resolution")),
        # Order.
        (changed(0, add=True), ("layer a", "no layer has written")),
        (changed(0, source="y"), ("layer a", "no layer has written")),
        (changed(0, outputs=3), ("layer a", "weight")),
        (changed(4, target="x", outputs=1), ("layer shuffle",)),
    ],
)
def test_layers_that_do_not_fit(network: Network, words: tuple[str, ...]) -> None:
    refused(network, *words)


@pytest.mark.parametrize("number", range(5))
def test_every_layer_is_needed(number: int) -> None:
    """Without any but the addition and the gain, something is read or returned that was never written."""
    network = valid_network()
    layers = tuple(layer for layer in VALID_LAYERS if layer is not VALID_LAYERS[number])
    shorter = dataclasses.replace(network, layers=layers)
    if number in (2, 3):
        check(shorter)
    else:
        refused(shorter, "written")


def test_part_of_the_output_is_never_written() -> None:
    network = valid_network()
    network.buffers["output"] = Buffer(2, 2)
    refused(network, "output")
    refused(dataclasses.replace(network, layers=()), "output")


@pytest.mark.parametrize(
    ("name", "buffer"),
    [
        ("x", Buffer(0)),
        ("x", Buffer(2**15)),
        ("x", Buffer(4, 0)),
        ("x", Buffer(4, 65)),
        ("x", Buffer(4, 2)),
        ("output", Buffer(1, 4)),
    ],
)
def test_buffers(name: str, buffer: Buffer) -> None:
    network = valid_network()
    network.buffers[name] = buffer
    refused(network)


@pytest.mark.parametrize("name", ["input", "output"])
def test_input_and_output_are_needed(name: str) -> None:
    network = valid_network()
    del network.buffers[name]
    refused(network, "no input or no output")


def test_buffers_have_names() -> None:
    network = valid_network()
    network.buffers[""] = Buffer(1)
    refused(network, "a buffer has no name")


def test_number_of_buffers() -> None:
    network = valid_network()
    network.buffers.update({f"unused {i}": Buffer(1) for i in range(28)})
    x = np.ones((2, 2, 3), np.int16)
    assert len({Engine(network, name=name).run(x).tobytes() for name in available()}) == 1
    network.buffers["one more"] = Buffer(1)
    refused(network, "33 buffers")


@pytest.mark.parametrize("name", sorted(valid_network().tensors))
def test_tensors(name: str) -> None:
    """A wrong type, a wrong shape, an empty array and a missing one."""
    tensor = valid_network().tensors[name]
    types = [tensor.astype(np.int64), tensor.astype(">i2"), tensor.astype(np.int8)]
    shapes = [tensor[..., :-1], tensor[..., None], tensor.ravel()[0], tensor[:0]]
    for wrong in types + shapes:
        network = valid_network()
        network.tensors[name] = wrong
        refused(network, f"layer {name[0]}", name[2:])
    network = valid_network()
    del network.tensors[name]
    refused(network, f"no {name}")


def test_numbers_of_knots() -> None:
    network = valid_network()
    network.tensors["g.gain"] = np.ones((3, 4), np.int32)
    refused(network, "layer g", "knots")


@pytest.mark.parametrize("name", "abcg")
def test_shift(name: str) -> None:
    network = valid_network()
    network.tensors[f"{name}.shift"][2] = 30
    check(network)
    for shift in (31, 255):
        network.tensors[f"{name}.shift"][2] = shift
        refused(network, f"layer {name}", f"shift of {shift}")


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("shift", [0, 1, 30])
@pytest.mark.parametrize(("name", "products"), [("a", 3), ("b", 9), ("c", 4), ("g", 1)])
def test_bound_on_sums(name: str, products: int, shift: int, sign: int) -> None:
    """The greatest sum is below 2^31, what rounding adds included."""
    network = valid_network()
    network.tensors[f"{name}.shift"][1] = shift
    room = 2**31 - 1 - 2**shift // 2 - products * 16383
    bias = network.tensors[f"{name}.bias"]
    bias[..., 1] = sign * room
    check(network)
    bias[..., 1] = sign * (room + 1)
    refused(network, f"layer {name}", str(2**31))


@pytest.mark.parametrize("shift", [0, 1, 30])
@pytest.mark.parametrize("sign", [-1, 1])
def test_bound_on_products(shift: int, sign: int) -> None:
    """The sign of a weight does not matter, and of a gain's knots the greatest counts."""
    network = valid_network()
    room = 2**31 - 1 - 2**shift // 2
    network.tensors["c.shift"][1] = network.tensors["g.shift"][1] = shift
    network.tensors["c.weight"][1] = [sign * 32767, -sign * 32767, sign * 30000, 1]
    network.tensors["c.bias"][1] = room - 16383 * (2 * 32767 + 30000 + 1)
    network.tensors["g.gain"][1, 1] = sign * (room // 16383)
    network.tensors["g.bias"][1, 1] = room % 16383
    check(network)
    for name in "cg":
        last = network.tensors[f"{name}.bias"].reshape(-1, 4)[-1]
        last[1] += 1
        refused(network, f"layer {name}", str(2**31))
        last[1] -= 1


def test_most_negative_weight() -> None:
    """The magnitude of -32768 is 32768, although int16 does not reach so far."""
    network = valid_network()
    network.tensors["c.weight"][1] = [-32768, -32768, -32768, 0]
    network.tensors["c.bias"][1] = 2**31 - 1 - 3 * 32768 * 16383
    check(network)
    network.tensors["c.bias"][1] += 1
    refused(network, "layer c")
    network.tensors["c.bias"][1] = -(2**31)
    network.tensors["c.weight"][1] = 0
    refused(network, "layer c")
