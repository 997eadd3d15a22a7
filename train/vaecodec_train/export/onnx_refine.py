"""Write refine.onnx: the gradient of rate and distortion with respect to y.

A slow encoder moves y along the gradient and anneals the rounding, like Yang et al. 2020
("Improving inference for neural image compression"). Only the encoder uses the graph, so it is in
float. z stays as h_a gave it.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto
from torch import nn

from vaecodec.spec import STEPS
from vaecodec_train.export.onnx_graphs import Graph
from vaecodec_train.model.autoencoder import LOG_SCALE_MAX, LOG_SCALE_MIN, Autoencoder
from vaecodec_train.model.blocks import GATED_LIMIT, PlainBlock

MIN_LIKELIHOOD = 1e-7  # the same bound as in training


class Tape(Graph):
    """A graph whose operations record how to compute gradients.

    Only tensors that depend on a `variable` have gradients.
    """

    def __init__(self, name: str):
        super().__init__(name)
        self.moving: set[str] = set()
        self.gradient: dict[str, str] = {}
        self.backward_rules: list[Callable[[], None]] = []

    def number(self, value: float) -> str:
        return self.const(np.array(value, np.float32))

    def variable(self, tensor: str) -> str:
        self.moving.add(tensor)
        return tensor

    def pull(self, tensor: str, gradient: str) -> None:
        """Add to the gradient of a tensor."""
        if tensor in self.moving:
            before = self.gradient.get(tensor)
            self.gradient[tensor] = gradient if before is None else self.op("Add", before, gradient)

    def note(self, out: str, inputs: dict[str, Callable[[str], str]]) -> str:
        """inputs: each moving input, and what makes its gradient of that of `out`."""
        if self.moving & set(inputs):
            self.moving.add(out)

            def back() -> None:
                if out in self.gradient:
                    for tensor, rule in inputs.items():
                        if tensor in self.moving:
                            self.pull(tensor, rule(self.gradient[out]))

            self.backward_rules.append(back)
        return out

    def add(self, a: str, b: str) -> str:
        return self.note(self.op("Add", a, b), {a: lambda g: g, b: lambda g: g})

    def sub(self, a: str, b: str) -> str:
        return self.note(self.op("Sub", a, b), {a: lambda g: g, b: lambda g: self.op("Neg", g)})

    def mul(self, a: str, b: str) -> str:
        return self.note(
            self.op("Mul", a, b),
            {a: lambda g: self.op("Mul", g, b), b: lambda g: self.op("Mul", g, a)},
        )

    def times(self, a: str, factor: float) -> str:
        return self.mul(a, self.number(factor))

    def plus(self, a: str, value: float) -> str:
        return self.add(a, self.number(value))

    def map(self, kind: str, x: str, slope: Callable[[str, str], str]) -> str:
        """An elementwise operation; slope(x, out) gives its derivative."""
        out = self.op(kind, x)
        return self.note(out, {x: lambda g: self.op("Mul", g, slope(x, out))})

    def sigmoid(self, x: str) -> str:
        return self.map(
            "Sigmoid", x, lambda _, s: self.op("Mul", s, self.op("Sub", self.number(1), s))
        )

    def exp(self, x: str) -> str:
        return self.map("Exp", x, lambda _, e: e)

    def log(self, x: str) -> str:
        return self.map("Log", x, lambda v, _: self.op("Reciprocal", v))

    def erf(self, x: str) -> str:
        def slope(v: str, _: str) -> str:
            bell = self.op("Exp", self.op("Neg", self.op("Mul", v, v)))
            return self.op("Mul", bell, self.number(2 / math.sqrt(math.pi)))

        return self.map("Erf", x, slope)

    def bound(self, x: str, low: float, high: float) -> str:
        def slope(v: str, out: str) -> str:
            return self.op("Cast", self.op("Equal", v, out), to=TensorProto.FLOAT)

        out = self.op("Clip", x, self.number(low), self.number(high))
        return self.note(out, {x: lambda g: self.op("Mul", g, slope(x, out))})

    def linear(self, x: str, conv: nn.Conv2d) -> str:
        """Add a 1x1 or depthwise 3x3 convolution, whose gradient uses the same stored weights."""
        assert conv.bias is not None
        weight = self.op(
            "Cast",
            self.const(conv.weight.detach().numpy().astype(np.float16)),
            to=TensorProto.FLOAT,
        )
        out = self.conv(
            x, weight, self.const(conv.bias.detach().numpy()), conv.groups if conv.groups > 1 else 0
        )
        nothing = self.const(np.zeros(conv.in_channels, np.float32))

        def back(g: str) -> str:
            if conv.groups == 1:
                return self.conv(g, self.op("Transpose", weight, perm=[1, 0, 2, 3]), nothing)
            flat = self.op("Reshape", weight, self.ints(-1, 9))
            turned = self.op("Gather", flat, self.ints(*range(8, -1, -1)), axis=1)
            return self.conv(
                g, self.op("Reshape", turned, self.ints(-1, 1, 3, 3)), nothing, conv.groups
            )

        return self.note(out, {x: back})

    def unfolded(self, x: str, channels: int) -> str:
        """Shuffle by 2. `channels` is the number of channels of the result."""
        return self.note(self.shuffle(x), {x: lambda g: self.unshuffle(g, channels)})

    def part(self, x: str, start: int, end: int, of: int) -> str:
        """Channels start..end of `of`."""
        out = self.op("Slice", x, self.ints(start), self.ints(end), self.ints(1))
        pads = self.ints(0, start, 0, 0, 0, of - end, 0, 0)
        return self.note(out, {x: lambda g: self.op("Pad", g, pads)})

    def joined(self, a: str, b: str, channels: int) -> str:
        """Both along the channels, of which a has `channels`; only b moves."""
        far = self.ints(2**31)
        return self.note(
            self.op("Concat", a, b, axis=1),
            {b: lambda g: self.op("Slice", g, self.ints(channels), far, self.ints(1))},
        )

    def rewind(self) -> None:
        for rule in reversed(self.backward_rules):
            rule()


def block(t: Tape, x: str, layers: Any) -> str:
    """PlainBlock or GatedBlock."""
    if isinstance(layers, PlainBlock):
        x = t.add(
            x,
            t.linear(
                t.linear(t.bound(t.linear(x, layers.mix_in), 0, 1e9), layers.spatial),
                layers.mix_out,
            ),
        )
        return t.add(x, t.linear(t.bound(t.linear(x, layers.expand), 0, 1e9), layers.project))
    mixed = t.linear(x, layers.mix_in)
    x = t.add(x, t.linear(t.linear(t.mul(mixed, t.sigmoid(mixed)), layers.spatial), layers.mix_out))
    both, half = t.linear(x, layers.expand), layers.project.in_channels
    gate, value = t.part(both, 0, half, 2 * half), t.part(both, half, 2 * half, 2 * half)
    product = t.mul(t.mul(gate, t.sigmoid(gate)), value)
    return t.add(x, t.linear(t.bound(product, -GATED_LIMIT, GATED_LIMIT), layers.project))


def relaxed(t: Tape, r: str, noise: str, tau: str) -> str:
    """Return a number between the two integers around r.

    For a small tau it is close to the nearer one. The noise has a logistic distribution.
    """
    below = t.op("Floor", r)
    d = t.bound(t.sub(r, below), 1e-4, 1 - 1e-4)
    rest = t.sub(t.number(1), d)
    odds = t.sub(t.add(t.log(d), t.log(t.plus(d, 1))), t.add(t.log(rest), t.log(t.plus(rest, 1))))
    sharp = t.mul(t.times(odds, 0.5), t.op("Reciprocal", tau))
    return t.add(below, t.sigmoid(t.mul(t.add(sharp, noise), t.op("Reciprocal", tau))))


def likelihood(t: Tape, k: str, log_scale: str) -> str:
    """Return the likelihood of k, at least MIN_LIKELIHOOD.

    It is the integral of a Gaussian of mean 0 over [k - 1/2, k + 1/2].
    """
    soft = t.log(t.plus(t.exp(t.bound(t.plus(log_scale, -LOG_SCALE_MIN), -60, 60)), 1))
    per_scale = t.exp(t.times(t.bound(t.plus(soft, LOG_SCALE_MIN), -60, LOG_SCALE_MAX), -1))
    upper, lower = (
        t.erf(t.times(t.mul(t.plus(k, shift), per_scale), 1 / math.sqrt(2)))
        for shift in (0.5, -0.5)
    )
    return t.bound(t.times(t.sub(upper, lower), 0.5), MIN_LIKELIHOOD, 2)


def gradient_graph(autoencoder: Autoencoder) -> bytes:
    """Return refine.onnx.

    Inputs:
        cells: (1, 192, 2h, 2w), the picture in [0, 1] minus 1/2, after pixel_unshuffle by 8.
        y, noise: (1, m, h, w).
        z: (1, channels, h/4, w/4), quantized.
        masks: (4, m, h, w), 1 where each step codes.
        anchors: (1, n), the weights of the rows (knots) of the quality tables.
        tau: (1,).
        weight: (1,), lambda * 255^2.

    Outputs:
        gradient: (1, m, h, w), in bits.
        bits: a scalar.
        error: a scalar, the squared error summed over all samples.
    """
    c, t = autoencoder.config, Tape("refine")
    kind = TensorProto.FLOAT
    cells = t.input("cells", kind, [1, 192, "H", "W"])
    y, noise = (t.input(name, kind, [1, c.m, "h", "w"]) for name in ("y", "noise"))
    z = t.input("z", kind, [1, c.z, "zh", "zw"])
    masks = t.input("masks", kind, [STEPS, c.m, "h", "w"])
    anchors = t.input("anchors", kind, [1, c.anchors])
    tau, weight = (t.input(name, kind, [1]) for name in ("tau", "weight"))
    t.variable(y)

    def row(table: Any) -> str:
        return t.op(
            "Reshape", t.op("MatMul", anchors, t.const(table.detach().numpy())), t.ints(1, -1, 1, 1)
        )

    h_s: Any = autoencoder.h_s
    x = t.shuffle(t.linear(t.times(z, 0.25), h_s[0].conv))
    x = t.shuffle(t.linear(block(t, x, h_s[1]), h_s[2].conv))
    p = t.add(block(t, x, h_s[3]), row(autoencoder.bias_h))
    bias = row(autoencoder.bias_scale)
    total = y_hat = heads = ""
    for step in range(STEPS):
        if not step:
            heads = t.linear(p, autoencoder.prior_head)
        else:
            layers: Any = autoencoder.context[step - 1]
            seen = t.linear(t.times(y_hat, 0.25), autoencoder.context_in[step - 1])  # type: ignore[arg-type]
            x = t.linear(t.joined(p, seen, c.p), layers[0])
            for one in list(layers)[1:-1]:
                x = block(t, x, one)
            heads = t.linear(x, layers[-1])
        mask = t.op("Gather", masks, t.ints(step), axis=0)
        mean = t.times(t.part(heads, 0, c.m, 2 * c.m), 4)
        k = relaxed(t, t.sub(y, mean), noise, tau)
        chance = likelihood(t, k, t.add(t.part(heads, c.m, 2 * c.m, 2 * c.m), bias))
        bits = t.mul(t.times(t.log(chance), -1 / math.log(2)), mask)
        value = t.mul(t.add(k, mean), mask)
        total, y_hat = (t.add(total, bits), t.add(y_hat, value)) if step else (bits, value)

    g_s = autoencoder.g_s
    plain = t.mul(y_hat, t.op("Exp", t.op("Neg", row(autoencoder.log_gain_y))))
    x = t.linear(plain, g_s.stem)
    for one in g_s.coarse:
        x = block(t, x, one)
    x = t.linear(x, g_s.up.conv)
    if g_s.bypass is not None:
        x = t.add(x, t.linear(plain, g_s.bypass.conv))
    x = t.mul(t.unfolded(x, c.n), t.op("Exp", row(autoencoder.log_gain_s)))
    for one in g_s.fine:
        x = block(t, x, one)
    error = t.sub(t.linear(x, g_s.head), cells)
    t.gradient[total] = t.op("Expand", t.number(1), t.op("Shape", total))
    t.gradient[error] = t.op("Mul", error, t.op("Mul", weight, t.number(2 / 3)))
    t.rewind()
    t.output(t.gradient[y], "gradient", kind, 4)
    t.output(t.op("ReduceSum", total, keepdims=0), "bits", kind, 0)
    t.output(t.op("ReduceSumSquare", error, keepdims=0), "error", kind, 0)
    return t.finish()
