"""Every kernel of this processor agrees with NumPy on random networks."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.networks import compare
from vaecodec.engine import Buffer, Layer, Network, native
from vaecodec.engine.network import MAX_BUFFERS, check
from vaecodec.errors import ModelError


@pytest.mark.skipif(not native.kernels(), reason="the engine was built without a compiler")
@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**63))
def test_kernels_agree_with_numpy(seed: int) -> None:
    compare(seed, native.kernels())


def gain_network() -> Network:
    """Return a network whose only layer multiplies by 3."""
    tensors = {
        "triple.gain": np.full((1, 4), 3, np.int32),
        "triple.bias": np.zeros((1, 4), np.int32),
        "triple.shift": np.zeros(4, np.uint8),
    }
    layer = Layer("gain", "input", "output", 4, 4, "triple")
    return Network({"input": Buffer(4), "output": Buffer(4)}, (layer,), tensors)


def test_a_gain_in_place_writes_the_channels_that_it_reads() -> None:
    network = gain_network()
    (gain,) = network.layers
    into = dataclasses.replace(gain, target="x")
    in_place = dataclasses.replace(into, source="x")
    out = dataclasses.replace(gain, source="x")
    buffers = network.buffers | {"x": Buffer(4)}
    check(Network(buffers, (into, in_place, out), network.tensors))
    wider = buffers | {"x": Buffer(5)}
    shifted = dataclasses.replace(in_place, target_channel=1)
    with pytest.raises(ModelError, match="reads and writes the same buffer"):
        check(Network(wider, (into, shifted, out), network.tensors))


def test_there_are_not_more_buffers_than_the_c_code_takes() -> None:
    network = gain_network()
    unused = {str(n): Buffer(1) for n in range(MAX_BUFFERS - 2)}
    check(dataclasses.replace(network, buffers=network.buffers | unused))
    with pytest.raises(ModelError, match="33 buffers"):
        check(dataclasses.replace(network, buffers=network.buffers | unused | {"x": Buffer(1)}))
