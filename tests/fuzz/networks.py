"""Random networks, on which every kernel has to agree with NumPy: networks.py RUNS [SEED].

A network is made from its seed alone: `networks.py 1 SEED` repeats a failure.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from vaecodec.engine import Buffer, Engine, Layer, Network, chosen, native
from vaecodec.engine.network import FACTORS, LIMIT, MAX_SHIFT, SUM_LIMIT, Tensor

CHANNELS = (1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 40, 48, 63, 65, 80, 97, 160)
QUALITIES = (1.0, 2.5, 50.0, 99.9, 100.0)
MAX_PIXELS = 4000  # of the finest buffer


@dataclass
class Maker:
    """A network in the making. `known` has the channels of each buffer that are written."""

    rng: np.random.Generator
    buffers: dict[str, Buffer] = field(default_factory=dict)
    known: dict[str, tuple[int, int]] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def number(self, first: int, last: int) -> int:
        return int(self.rng.integers(first, last + 1))

    def part(self, first: int, last: int, count: int = 0) -> tuple[int, int]:
        """Return the first and the number of some channels from `first` to `last` - 1."""
        count = count or (last - first if self.chance(0.5) else self.number(1, last - first))
        return first + self.number(0, last - first - count), count

    def readable(self) -> list[str]:
        return [name for name in self.known if name != "output"]

    def add_layer(self, target: str = "") -> None:
        """Append a layer that writes `target`, which is new, or else any buffer."""
        source = str(self.rng.choice(self.readable()))
        begin, inputs = self.part(*self.known[source])
        kind = str(
            self.rng.choice(["linear", "linear", "depthwise", "gain", "shuffle", "unshuffle"])
        )
        factor = int(self.rng.choice(FACTORS)) if kind.endswith("shuffle") else 1
        scale = self.buffers[source].scale
        if kind == "shuffle":
            inputs -= inputs % factor**2
            outputs, scale = inputs // factor**2, scale * factor
        elif kind == "unshuffle":
            inputs = min(inputs, 320 // factor**2)
            outputs, scale = inputs * factor**2, scale // factor if scale % factor == 0 else 0
        else:
            outputs = int(self.rng.choice(CHANNELS)) if kind == "linear" else inputs
        if not outputs or not 1 <= scale <= 16:
            kind, factor, scale = "linear", 1, self.buffers[source].scale
            inputs, outputs = max(1, inputs), int(self.rng.choice(CHANNELS))
        old = [] if target else self.targets(kind, source, scale, outputs)
        add = False
        if old and self.chance(0.6):
            target = str(self.rng.choice(old))
            at = self.part(*self.known[target], outputs)[0]
            if target == source:
                at = begin
            add = kind in ("linear", "gain") and self.chance(0.5)
        else:
            target, at = self.new_buffer(target, outputs, scale)
        name = "" if kind.endswith("shuffle") else str(len(self.layers))
        relu = bool(name) and self.chance(0.3)
        self.layers.append(
            Layer(kind, source, target, inputs, outputs, name, begin, at, add, relu, factor)
        )
        if name:
            self.add_tensors(self.layers[-1])

    def targets(self, kind: str, source: str, scale: int, outputs: int) -> list[str]:
        """Return the buffers that a layer may write besides new ones."""
        return [
            name
            for name, (first, last) in self.known.items()
            if self.buffers[name].scale == scale
            and last - first >= outputs
            and name != "input"
            and (name != source or kind == "gain")
        ]

    def new_buffer(self, name: str, channels: int, scale: int) -> tuple[str, int]:
        """Add a buffer with room for `channels` and sometimes more. Returns the first of them."""
        before, after = (0, 0) if name == "output" else self.rng.choice([0, 0, 1, 16], 2).tolist()
        name = name or f"buffer {len(self.buffers)}"
        self.buffers[name] = Buffer(channels + before + after, scale)
        self.known[name] = before, before + channels
        return name, before

    def add_tensors(self, layer: Layer) -> None:
        """Add weights with which sums come close to the limit in some layers."""
        rng, outputs = self.rng, layer.outputs
        taps = {"linear": (layer.inputs,), "depthwise": (3, 3), "gain": ()}[layer.kind]
        weight = rng.normal(0, 2.0 ** self.number(4, 16), (outputs, *taps)).astype(np.int64)
        weight[rng.random(weight.shape) < rng.choice([0, 0, 0.5])] = 0
        if layer.kind != "gain":
            weight = weight.clip(-(2**15), 2**15 - 1)
        total = np.abs(weight).reshape(outputs, -1).sum(1)
        size = np.sqrt((weight.reshape(outputs, -1) ** 2.0).sum(1))
        if self.chance(0.8):  # results of about the size of the inputs
            shift = np.log2(size + 1).astype(np.int64) + rng.integers(-2, 3, outputs)
            shift = shift.clip(0, MAX_SHIFT)
            bias = rng.choice([0, 0.01, 0.3]) * LIMIT * size * rng.uniform(-1, 1, outputs)
        else:
            shift = rng.integers(0, MAX_SHIFT + 1, outputs)
            bias = rng.choice([1e-5, 1e-3, 0.5, 1]) * SUM_LIMIT * rng.uniform(-1, 1, outputs)
        room = SUM_LIMIT - 1 - np.left_shift(1, shift) // 2
        bias = bias.clip(-room, room).astype(np.int64)
        most = (room - np.abs(bias)) // LIMIT
        fewer = np.minimum(1, most / np.maximum(total, 1))
        weight = np.trunc(weight * fewer.reshape(-1, *(1 for _ in taps))).astype(np.int64)
        parts = {"bias": bias.astype(np.int32), "shift": shift.astype(np.uint8)}
        if layer.kind == "gain":
            knots = int(rng.choice([1, 2, 7]))
            factors = rng.uniform(-1, 1, (2, knots, 1))
            parts["gain"] = (weight * factors[0]).astype(np.int32)
            parts["bias"] = (bias * factors[1]).astype(np.int32)
        else:
            parts["weight"] = weight.astype(np.int16)
        self.tensors |= {f"{layer.name}.{part}": values for part, values in parts.items()}


def random_network(rng: np.random.Generator) -> Network:
    """Make a network of 1 to 13 layers."""
    maker = Maker(rng)
    maker.buffers["input"] = Buffer(int(rng.choice(CHANNELS)), int(rng.choice([1, 2, 4, 8, 16])))
    maker.known["input"] = 0, maker.buffers["input"].channels
    for _ in range(maker.number(0, 10)):
        maker.add_layer()
    maker.add_layer("output")
    for _ in range(maker.number(0, 2)):
        maker.add_layer()  # sometimes adds to the output
    return Network(maker.buffers, tuple(maker.layers), maker.tensors)


def random_input(rng: np.random.Generator, network: Network) -> np.ndarray:
    """Make an input of small values, of any values, or of extremes alone."""
    finest = max(buffer.scale for buffer in network.buffers.values())
    most = max(1, MAX_PIXELS // finest**2)
    rows = int(rng.integers(1, min(most, 40) + 1))
    columns = int(rng.integers(1, min(most // rows, 40) + 1))
    buffer = network.buffers["input"]
    shape = rows * buffer.scale, columns * buffer.scale, buffer.channels
    kind = rng.integers(4)
    if kind == 0:
        return rng.choice([-(2**15), -LIMIT, LIMIT, 2**15 - 1], shape).astype(np.int16)
    if kind == 1:  # one sign a channel, which makes the largest sums
        signs = rng.choice([-LIMIT, LIMIT], buffer.channels)
        return np.broadcast_to(signs, shape).astype(np.int16)
    limit = 2**15 if kind == 2 else 300
    return rng.integers(-limit, limit, shape).astype(np.int16)


def compare(seed: int, kernels: Iterable[str]) -> int:
    """Compare kernels with NumPy on a network. Returns how many different values it puts out."""
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    x = random_input(rng, network)
    quality = float(rng.choice(QUALITIES))
    expected = Engine(network, 1, "numpy").run(x, quality)
    for kernel in kernels:
        for threads in (1, int(rng.integers(2, 5))):
            got = Engine(network, threads, kernel).run(x, quality)
            if not np.array_equal(got, expected):
                where = np.argwhere(got != expected)
                raise AssertionError(
                    f"seed {seed}: {kernel} with {threads} threads differs at {len(where)} of {got.size} places, "
                    f"the first of which is {where[0].tolist()}"
                )
    return len(np.unique(expected))


def use_new_arrays() -> None:
    """Let every run allocate its buffers, so that a sanitizer sees an access beyond their ends."""
    native._Memory.array = lambda self, kind, number, size: np.empty(size, np.int16)  # type: ignore[method-assign]


def main(runs: int, seed: int = 0) -> None:
    kernels = native.kernels()
    if chosen() not in kernels:  # which raises an error if $VAECODEC_ENGINE is not there
        sys.exit("the engine was built without a compiler")
    use_new_arrays()
    results = [compare(seed + run, kernels) for run in range(runs)]
    print(
        f"{runs} networks from seed {seed}: {', '.join(kernels)} agree with NumPy "
        f"(the median output has {int(np.median(results))} different values)"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
