"""The formulas of every kind of layer in plain Python integers, and random layers to compare with."""

import functools
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vaecodec.engine import Buffer, Layer, Network

LIMIT = 16383
Values = list[list[list[int]]]  # rows, columns, channels


@dataclass(frozen=True)
class Case:
    """One layer, and what lies around it.

    Attributes:
        kind: The kind of layer.
        inputs: Channels that it reads. Of a shuffle: channels of the fine side.
        outputs: Channels that it writes. Of all but a linear layer: ignored.
        size: Rows and columns of the coarse side.
        source_channels: Channels of the source before and after those that are read.
        target_channels: Channels of the target before and after those that are written.
        style: "plain": small numbers. "extreme": inputs at and beyond their limits, and sums that
            may come close to 2^31. "full": every sum at its greatest, 2^31 - 1 or near -2^31.
    """

    kind: str
    inputs: int
    outputs: int
    size: tuple[int, int]
    add: bool = False
    relu: bool = False
    factor: int = 1
    source_channels: tuple[int, int] = (0, 0)
    target_channels: tuple[int, int] = (0, 0)
    style: str = "plain"
    quality: float = 50.0
    seed: int = 0


def clamp(value: int, low: int = -LIMIT) -> int:
    return max(low, min(value, LIMIT))


def finish(total: int, shift: int, before: int, case: Case) -> int:
    """Round half up, saturate, add, saturate, and cut off what is negative."""
    value = clamp((total + 2**shift // 2) // 2**shift)
    if case.add:
        value = clamp(value + before)
    return max(value, 0) if case.relu else value


def sums(rng: random.Random, case: Case, count: int) -> tuple[list[int], int, int]:
    """Draw `count` weights, a bias and a shift that are just allowed."""
    if case.style == "plain":
        shift = rng.choice([0, 1, 2, rng.randint(3, 12)])
        return [rng.randint(-60, 60) for _ in range(count)], rng.randint(-900, 900), shift
    shift = rng.choice([0, 1, rng.randint(2, 29), 30])
    room = 2**31 - 1 - 2**shift // 2
    most = min(32767, room // LIMIT // count)
    if case.style == "extreme":
        weights = [rng.choice([-most, most, rng.randint(-most, most)]) for _ in range(count)]
        rest = room - LIMIT * sum(map(abs, weights))
        return weights, rng.choice([-rest, rest, rng.randint(-rest, rest)]), shift
    sign = rng.choice([-1, 1])
    return [sign * most] * count, sign * (room - LIMIT * most * count), shift


def inputs(rng: random.Random, case: Case, height: int, width: int, channels: int) -> Values:
    def pixel() -> list[int]:
        if case.style == "plain":
            return [rng.randint(-1500, 1500) for _ in range(channels)]
        if case.style == "full":
            return [rng.choice([-32768, LIMIT, 32767])] * channels
        edges = (-32768, -LIMIT - 1, -LIMIT, -1, 0, 1, LIMIT, LIMIT + 1, 32767)
        return [rng.choice([*edges, rng.randint(-32768, 32767)]) for _ in range(channels)]

    return [[pixel() for _ in range(width)] for _ in range(height)]


def linear(case: Case, x: Values, i: int, j: int, o: int, weights: list[int]) -> int:
    return sum(w * v for w, v in zip(weights, x[i][j], strict=True))


def depthwise(case: Case, x: Values, i: int, j: int, o: int, weights: list[int]) -> int:
    total = 0
    for a, b in itertools.product(range(3), repeat=2):
        row, column = i + a - 1, j + b - 1
        if 0 <= row < len(x) and 0 <= column < len(x[0]):
            total += weights[3 * a + b] * x[row][column][o]
    return total


def gain(case: Case, x: Values, i: int, j: int, o: int, weights: list[int]) -> int:
    return interpolated(weights, case.quality) * x[i][j][o]


def interpolated(knots: list[int], quality: float) -> int:
    """Interpolate between knots that lie evenly from quality 1 to 100. Round half up."""
    position = (Fraction(str(quality)) - 1) / 99 * (len(knots) - 1)
    index = min(int(position), len(knots) - 2) if len(knots) > 1 else 0
    upper = knots[min(index + 1, len(knots) - 1)]
    value = knots[index] + (upper - knots[index]) * (position - index)
    return (2 * value + 1).__floor__() // 2


SUM: dict[str, Callable[[Case, Values, int, int, int, list[int]], int]] = {
    "linear": linear,
    "depthwise": depthwise,
    "gain": gain,
}


def network_of(
    case: Case, inputs: int, outputs: int, tensors: dict[str, np.ndarray]
) -> tuple[Network, Layer]:
    """Return a network whose second layer is that of the case, and this layer.

    The first one fills the target, so that the second has something to add to and to leave alone.
    """
    shuffles = case.factor > 1
    target = outputs + sum(case.target_channels)
    copied = target * inputs // outputs if shuffles else target
    copy = Layer(
        case.kind if shuffles else "gain",
        "input",
        "output",
        copied,
        target,
        "" if shuffles else "copy",
        factor=case.factor,
    )
    layer = Layer(
        case.kind,
        "input",
        "output",
        inputs,
        outputs,
        "" if shuffles else "layer",
        copied + case.source_channels[0],
        case.target_channels[0],
        case.add,
        case.relu,
        case.factor,
    )
    if not shuffles:
        tensors["copy.gain"] = np.ones((1, target), np.int32)
        tensors["copy.bias"] = np.zeros((1, target), np.int32)
        tensors["copy.shift"] = np.zeros(target, np.uint8)
    buffers = {
        "input": Buffer(
            copied + inputs + sum(case.source_channels),
            case.factor if case.kind == "unshuffle" else 1,
        ),
        "output": Buffer(target, case.factor if case.kind == "shuffle" else 1),
    }
    return Network(buffers, (copy, layer), tensors), layer


def sum_case(case: Case) -> tuple[Network, Values, Values]:
    """Return the network, the input and the expected output of a layer that computes sums."""
    rng = random.Random(case.seed)
    outputs = case.outputs if case.kind == "linear" else case.inputs
    count = {"linear": case.inputs, "depthwise": 9, "gain": 1}[case.kind]
    drawn = [sums(rng, case, count) for _ in range(outputs)]
    weights, biases, shifts = ([row[k] for row in drawn] for k in range(3))
    if case.kind == "gain":
        knots = rng.choice([1, 2, 5])
        weights = [[rng.choice([w, -w, w // 3]) for _ in range(knots)] for (w,) in weights]
        bias_knots = [[b, *(rng.choice([b, -b, b // 2]) for _ in range(knots - 1))] for b in biases]
        biases = [interpolated(row, case.quality) for row in bias_knots]
        tensors = {
            "layer.gain": np.array(weights, np.int32).T,
            "layer.bias": np.array(bias_knots, np.int32).T,
        }
    else:
        shape = (outputs, case.inputs) if case.kind == "linear" else (outputs, 3, 3)
        tensors = {
            "layer.weight": np.array(weights, np.int16).reshape(shape),
            "layer.bias": np.array(biases, np.int32),
        }
    tensors["layer.shift"] = np.array(shifts, np.uint8)
    network, layer = network_of(case, case.inputs, outputs, tensors)

    x = inputs(rng, case, *case.size, network.buffers["input"].channels)
    out = [[[clamp(v) for v in p[: network.buffers["output"].channels]] for p in row] for row in x]
    first, last = layer.source_channel, layer.source_channel + layer.inputs
    read = [[[clamp(v) for v in p[first:last]] for p in row] for row in x]
    for i, j, o in itertools.product(*map(range, case.size), range(outputs)):
        total = SUM[case.kind](case, read, i, j, o, weights[o]) + biases[o]
        at = case.target_channels[0] + o
        out[i][j][at] = finish(total, shifts[o], out[i][j][at], case)
    return network, x, out


def shuffle_case(case: Case) -> tuple[Network, Values, Values]:
    """Return the network, the input and the expected output of a shuffle or unshuffle."""
    rng = random.Random(case.seed)
    f, narrow, wide = case.factor, case.inputs, case.inputs * case.factor**2
    up = case.kind == "shuffle"
    network, _ = network_of(case, *((wide, narrow) if up else (narrow, wide)), {})
    height, width = (n * (1 if up else f) for n in case.size)
    x = inputs(rng, case, height, width, network.buffers["input"].channels)
    target = network.buffers["output"].channels
    rows, columns = (n * (f if up else 1) for n in case.size)
    out = [[[0] * target for _ in range(columns)] for _ in range(rows)]
    for layer in network.layers:
        narrow = layer.outputs if up else layer.inputs
        cells = itertools.product(*map(range, case.size), range(f), range(f), range(narrow))
        for i, j, a, b, c in cells:
            fine, coarse = (f * i + a, f * j + b, c), (i, j, (a * f + b) * narrow + c)
            (si, sj, sc), (ti, tj, tc) = (coarse, fine) if up else (fine, coarse)
            value = clamp(x[si][sj][layer.source_channel + sc])
            out[ti][tj][layer.target_channel + tc] = value
    return network, x, out


@functools.cache
def solved(case: Case) -> tuple[Network, Values, Values]:
    return shuffle_case(case) if "shuffle" in case.kind else sum_case(case)
