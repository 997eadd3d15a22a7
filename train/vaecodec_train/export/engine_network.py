"""Turn float modules into networks of the integer engine (`vaecodec.engine`).

An activation is an integer whose unit, the step, is a real number for each channel. A layer's
integer weights and biases include the steps of its input and output, times 2^shift:

    W = weight * step_in / step_out * 2^shift        B = bias / step_out * 2^shift

Each output channel has the largest shift with which its weights fit int16 and its sum fits int32.
"""

from dataclasses import dataclass

import numpy as np
from torch import nn

from vaecodec._arrays import F64, U8, Integers
from vaecodec.engine import Buffer, Layer, Network
from vaecodec.engine.network import INPUT, LIMIT, MAX_SHIFT, SUM_LIMIT, check
from vaecodec.errors import VaecodecError
from vaecodec_train.export.ranges import Ranges
from vaecodec_train.model.blocks import Down, PlainBlock, Up

MARGIN = 4.0  # activations may exceed those seen in calibration by this factor before they saturate
WEIGHT_LIMIT = 32767
GAIN_LIMIT = 2**31 - 1
# A step below this share of the noise that rounding the inputs causes would gain nothing.
USEFUL_NOISE = 0.1
BIAS_LIMIT = 2.0**24  # of a bias in steps of its output
SMALLEST_STEP = 1e-9  # of a channel that is always 0


@dataclass(frozen=True)
class Affine:
    """A linear layer in float64: weight (O, I), or (O, 3, 3) if depthwise, and bias (O,)."""

    weight: F64
    bias: F64

    @property
    def depthwise(self) -> bool:
        return self.weight.ndim == 3

    def rows(self, order: slice | Integers) -> "Affine":
        """Return the layer with only these outputs, in this order."""
        return Affine(self.weight[order], self.bias[order])

    def columns(self, order: Integers) -> "Affine":
        """Return the layer for an input whose channels are in another order."""
        return Affine(self.weight[:, order], self.bias)

    def scaled(self, steps: F64) -> F64:
        """Return the weights (O, n) of an input in these steps."""
        if self.depthwise:
            return self.weight.reshape(len(self.weight), 9) * steps[:, None]
        return self.weight * steps


def affine(conv: nn.Conv2d) -> Affine:
    """Return a 1x1 convolution, or a depthwise one of 3x3."""
    weight = conv.weight.detach().double().numpy()
    assert conv.bias is not None
    bias = conv.bias.detach().double().numpy()
    return Affine(weight[:, 0] if conv.groups > 1 else weight[:, :, 0, 0], bias)


def engine_order(channels: int, factor: int) -> Integers:
    """Return where torch keeps each of the channels of an unshuffled array.

    torch: (channel, row, column). The engine: (row, column, channel).
    """
    return np.arange(channels * factor**2).reshape(channels, -1).T.reshape(-1)


def to_integers(
    name: str, weight: F64, bias: F64, tables: bool = False, max_shift: int = MAX_SHIFT
) -> tuple[Integers, Integers, U8]:
    """Round weights (O, n) and biases (O, k), each output channel with the largest shift that fits.

    weight, bias: in the steps of input and output.
    tables: the columns are the knots of quality tables, so only one of them takes part in a sum.

    Raises:
        VaecodecError: an output channel of the layer `name` fits no shift.
    """
    limit = GAIN_LIMIT if tables else WEIGHT_LIMIT
    shifts = np.full(len(weight), -1)
    for shift in range(max_shift + 1):
        total, largest = _size(weight, bias, tables, shift)
        shifts[(total < SUM_LIMIT) & (largest <= limit)] = shift
    if shifts.min() < 0:
        channel = int(shifts.argmin())
        total, largest = _size(weight, bias, tables, 0)
        reason = (
            f"a weight would be {largest[channel]:.0f}, the limit is {limit}"
            if largest[channel] > limit
            else f"a sum may reach {total[channel]:.0f}, the limit is {SUM_LIMIT}"
        )
        raise VaecodecError(f"layer {name}, output channel {channel}: {reason}")
    unit = np.exp2(shifts)[:, None]
    return (
        np.rint(weight * unit).astype(np.int64),
        np.rint(bias * unit).astype(np.int64),
        shifts.astype(np.uint8),
    )


def _size(weight: F64, bias: F64, tables: bool, shift: int) -> tuple[F64, F64]:
    """Return the largest sum and the largest weight of each output channel with this shift."""
    magnitude = np.abs(np.rint(weight * 2.0**shift))
    largest = magnitude.max(1)
    half = 2 ** (shift - 1) if shift else 0
    largest_bias = np.abs(np.rint(bias * 2.0**shift)).max(1)
    return (largest if tables else magnitude.sum(1)) * LIMIT + largest_bias + half, largest


class Builder:
    """Collects buffers and layers. Methods that add a layer return the buffer that it writes.

    Args:
        name: prefix of the names of all layers.
        ranges: of the modules, by their names without this prefix.
        steps: of the channels of the input.
        scale: of the input (see `Buffer`).
    """

    def __init__(self, name: str, ranges: Ranges, steps: F64, scale: int):
        self.name = name
        self.ranges = ranges
        self.buffers = {INPUT: Buffer(len(steps), scale)}
        self.steps = {INPUT: steps}  # of what each buffer holds at present
        self.layers: list[Layer] = []
        self.tensors: dict[str, Integers] = {}
        self._blocks: dict[str, int] = {}  # how many each stream has

    def finish(self) -> Network:
        return check(Network(self.buffers, tuple(self.layers), self.tensors))

    def buffer(self, name: str, steps: F64, scale: int) -> str:
        """Add a buffer, or prepare an existing one to hold something new."""
        buffer = Buffer(len(steps), scale)
        assert self.buffers.setdefault(name, buffer) == buffer
        self.steps[name] = steps
        return name

    def wide_enough(self, largest: F64, writer: Affine, source: str) -> F64:
        """Return steps for an output of `writer` that reaches `largest` on calibration crops."""
        noise = np.sqrt((writer.scaled(self.steps[source]) ** 2).sum(1))
        floor = np.maximum(USEFUL_NOISE * noise, np.abs(writer.bias) / BIAS_LIMIT)
        floor = floor.reshape(-1, len(largest)).max(axis=0)  # of an output that will be shuffled
        return np.maximum(np.maximum(MARGIN * largest / LIMIT, floor), SMALLEST_STEP)

    def layer(
        self,
        name: str,
        what: Affine,
        source: str,
        target: str,
        *,
        source_channel: int = 0,
        target_channel: int = 0,
        add: bool = False,
        relu: bool = False,
    ) -> str:
        """Add a linear or depthwise layer between two buffers, or between parts of them."""
        name = f"{self.name}.{name}"
        kind = "depthwise" if what.depthwise else "linear"
        outputs = len(what.weight)
        inputs = outputs if what.depthwise else what.weight.shape[1]
        steps_in = self.steps[source][source_channel:][:inputs]
        steps_out = self.steps[target][target_channel:][:outputs, None]
        weight, bias, shift = to_integers(
            name, what.scaled(steps_in) / steps_out, what.bias[:, None] / steps_out
        )
        self.tensors[f"{name}.weight"] = weight.astype(np.int16).reshape(what.weight.shape)
        self.tensors[f"{name}.bias"] = bias[:, 0].astype(np.int32)
        self.tensors[f"{name}.shift"] = shift
        channels = (source_channel, target_channel)
        self.layers.append(
            Layer(kind, source, target, inputs, outputs, name, *channels, add=add, relu=relu)
        )
        return target

    def gain(
        self, name: str, gain: F64, bias: F64, source: str, target: str, max_shift: int = MAX_SHIFT
    ) -> str:
        """Add a gain layer of two quality tables (knots, channels). `name` has no prefix."""
        ratio = self.steps[source] / self.steps[target]
        integers = to_integers(
            name, (gain * ratio).T, (bias / self.steps[target]).T, tables=True, max_shift=max_shift
        )
        for part, tensor in zip(("gain", "bias"), integers, strict=False):
            self.tensors[f"{name}.{part}"] = tensor.T.astype(np.int32)
        self.tensors[f"{name}.shift"] = integers[2]
        channels = gain.shape[1]
        self.layers.append(Layer("gain", source, target, channels, channels, name))
        return target

    def shuffle(self, source: str, target: str, factor: int = 2) -> str:
        """Add a shuffle. The source has the same step in all channels that become one."""
        fine = len(self.steps[source]) // factor**2
        self.buffer(target, self.steps[source][:fine], self.buffers[source].scale * factor)
        return self._shuffled("shuffle", source, target, factor)

    def unshuffle(self, source: str, target: str, factor: int = 2) -> str:
        steps = np.tile(self.steps[source], factor**2)
        self.buffer(target, steps, self.buffers[source].scale // factor)
        return self._shuffled("unshuffle", source, target, factor)

    def _shuffled(self, kind: str, source: str, target: str, factor: int) -> str:
        sizes = (len(self.steps[source]), len(self.steps[target]))
        self.layers.append(Layer(kind, source, target, *sizes, factor=factor))
        return target

    def sequence(self, modules: nn.Sequential, source: str, last: F64) -> str:
        """Add the modules of a sequence: Conv1x1, Up, Down and plain blocks.

        last: the largest magnitudes of what is made from the result in the same steps.
        """
        names = [name for name, _ in modules.named_children()]
        for position, (name, module) in enumerate(modules.named_children()):
            if isinstance(module, PlainBlock):
                self.block(name, module, source)
                continue
            stream = [self.ranges.writes[name]]
            for follower in names[position + 1 :]:
                if not isinstance(modules.get_submodule(follower), PlainBlock):
                    break
                stream += self._stream_of(follower)
            else:
                stream.append(last)
            source = self._start(name, module, source, np.maximum.reduce(stream))
        return source

    def _stream_of(self, block: str) -> list[F64]:
        """Return the largest magnitudes of a stream wherever a block reads or writes it."""
        reads, writes = self.ranges.reads, self.ranges.writes
        added = (writes[f"{block}.mix_out"], writes[f"{block}.project"])
        return [reads[block], reads[f"{block}.expand"], writes[block], *added]

    def _start(self, name: str, module: nn.Module, source: str, largest: F64) -> str:
        """Add a layer that starts a stream with these largest magnitudes."""
        target = f"stream.{name}"
        scale = self.buffers[source].scale
        if isinstance(module, nn.Conv2d):
            conv = affine(module)
            self.buffer(target, self.wide_enough(largest, conv, source), scale)
            return self.layer(name, conv, source, target)
        order = engine_order(len(self.steps[source]), 2)
        if isinstance(module, Down):
            conv = affine(module.conv).columns(order)
            squares = self.unshuffle(source, f"squares.{name}")
            self.buffer(target, self.wide_enough(largest, conv, squares), scale // 2)
            return self.layer(f"{name}.conv", conv, squares, target)
        assert isinstance(module, Up)
        conv = affine(module.conv).rows(engine_order(len(largest), 2))
        steps = np.tile(self.wide_enough(largest, conv, source), 4)
        squares = self.buffer(f"squares.{name}", steps, scale)
        return self.shuffle(self.layer(f"{name}.conv", conv, source, squares), target)

    def block(self, name: str, block: PlainBlock, stream: str) -> str:
        """Add a plain block, which changes the stream in place."""
        number = self._blocks[stream] = self._blocks.get(stream, -1) + 1
        # The next block's mix_in writes the other buffer, because spatial reads its source
        # while other threads are ahead.
        mixed = self._inner(
            name, "mix_in", "spatial", block, stream, f"{stream}.mixed.{number % 2}"
        )
        filtered = self._inner(name, "spatial", "mix_out", block, mixed, f"{stream}.filtered")
        self.layer(f"{name}.mix_out", affine(block.mix_out), filtered, stream, add=True)
        expanded = self._inner(name, "expand", "project", block, stream, f"{stream}.expanded")
        return self.layer(f"{name}.project", affine(block.project), expanded, stream, add=True)

    def _inner(
        self, name: str, writer: str, reader: str, block: PlainBlock, source: str, target: str
    ) -> str:
        """Add a layer inside a block. The range of what `reader` reads sets the steps."""
        conv = affine(block.get_submodule(writer))  # type: ignore[arg-type]
        largest = self.ranges.reads[f"{name}.{reader}"]
        steps = self.wide_enough(largest, conv, source)
        self.buffer(target, steps, self.buffers[source].scale)
        return self.layer(f"{name}.{writer}", conv, source, target, relu=writer != "spatial")
