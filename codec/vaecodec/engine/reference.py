"""The engine in NumPy: the formulas of docs/FORMAT.md. The kernels are tested against it.

Activations are int64 here, except in the products of a linear layer. Those are float64, because
NumPy multiplies float matrices faster. They are exact, since no sum reaches 2^53.
"""

import numpy as np

from vaecodec._arrays import I16, I64
from vaecodec.engine.network import INPUT, LIMIT, OUTPUT, Layer, Network, Tensor, round_shift
from vaecodec.engine.quality import Rows


def run(network: Network, x: I16, rows: Rows) -> I16:
    """Run a network. See `vaecodec.engine.Engine.run`."""
    scale = network.buffers[INPUT].scale
    height, width = x.shape[0] // scale, x.shape[1] // scale
    buffers = {
        name: np.zeros((height * b.scale, width * b.scale, b.channels), np.int64)
        for name, b in network.buffers.items()
    }
    buffers[INPUT][:] = np.clip(x, -LIMIT, LIMIT)
    for layer in network.layers:
        source = buffers[layer.source][..., layer.source_channel :][..., : layer.inputs]
        target = buffers[layer.target][..., layer.target_channel :][..., : layer.outputs]
        if layer.kind == "shuffle":
            target[:] = shuffle(source, layer.factor)
        elif layer.kind == "unshuffle":
            target[:] = unshuffle(source, layer.factor)
        else:
            result = np.clip(rounded_sum(network, layer, source, rows), -LIMIT, LIMIT)
            if layer.add:
                result += target
            target[:] = np.clip(result, 0 if layer.relu else -LIMIT, LIMIT)
    return buffers[OUTPUT].astype(np.int16)


def rounded_sum(network: Network, layer: Layer, x: I64, rows: Rows) -> I64:
    """Return the sums of a linear, depthwise or gain layer, shifted right and rounded half up."""
    if layer.kind == "gain":
        gain, bias = rows[layer.name]
        total = x * gain
    else:
        weight = network.tensors[f"{layer.name}.weight"]
        bias = network.tensors[f"{layer.name}.bias"].astype(np.int64)
        total = linear(x, weight) if layer.kind == "linear" else depthwise(x, weight)
    return round_shift(total + bias, network.tensors[f"{layer.name}.shift"])


def linear(x: I64, weight: Tensor) -> I64:
    """Return the sums (h, w, outputs) of x (h, w, inputs) times weights (outputs, inputs)."""
    return (x.astype(np.float64) @ weight.T.astype(np.float64)).astype(np.int64)


def depthwise(x: I64, weight: Tensor) -> I64:
    """Return the sums (h, w, channels) over neighbourhoods of 3x3. x is 0 beyond its edges."""
    height, width, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    total = np.zeros_like(x)
    for a in range(3):
        for b in range(3):
            total += padded[a : a + height, b : b + width] * weight[:, a, b]
    return total


def shuffle(x: I64, factor: int) -> I64:
    """Return (h, w, f * f * c) as (f * h, f * w, c). Channels are in the order row, column, c."""
    height, width, channels = x.shape
    parts = x.reshape(height, width, factor, factor, channels // factor**2)
    return parts.transpose(0, 2, 1, 3, 4).reshape(height * factor, width * factor, -1)


def unshuffle(x: I64, factor: int) -> I64:
    """Return (f * h, f * w, c) as (h, w, f * f * c), the inverse of `shuffle`."""
    height, width, channels = x.shape
    parts = x.reshape(height // factor, factor, width // factor, factor, channels)
    return parts.transpose(0, 2, 1, 3, 4).reshape(height // factor, width // factor, -1)
