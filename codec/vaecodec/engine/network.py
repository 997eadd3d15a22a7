"""Integer networks: their layers, the bound on every sum, and the file that stores them.

Every layer is a formula in integers, so a network gives the same activations on every machine
(docs/FORMAT.md, "The integer networks").
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vaecodec._arrays import I16, I64, Bools
from vaecodec.errors import ModelError

LIMIT = 16383  # activations are int16 within ±LIMIT
SUM_LIMIT = 2**31  # every sum, rounding included, is smaller in magnitude
MAX_SHIFT = 30
MAX_BUFFERS = 32  # engine.c has room for these and for the given input
KINDS = ("linear", "depthwise", "gain", "shuffle", "unshuffle")
FACTORS = (2, 8)  # of shuffle and unshuffle
INPUT = "input"
OUTPUT = "output"

Tensor = npt.NDArray[np.integer[Any]]
T = TypeVar("T", "Buffer", "Layer")


@dataclass(frozen=True)
class Buffer:
    """An array of activations (rows, columns, channels), int16 within ±LIMIT.

    Attributes:
        channels: Number of channels.
        scale: Rows per row of the network's coarsest buffer, whose scale is 1.
    """

    channels: int
    scale: int = 1


@dataclass(frozen=True)
class Layer:
    """One layer: reads channels of one buffer, writes channels of another or the same.

    Attributes:
        kind: "linear", "depthwise", "gain", "shuffle" or "unshuffle".
        source: Name of the buffer that is read.
        target: Name of the buffer that is written. Only a gain may write the one it reads, and
            then in place.
        inputs: Number of channels that are read.
        outputs: Number of channels that are written.
        name: Prefix of the layer's tensors, such as "h_s.1.mix_in". Empty for shuffles.
        source_channel: The first channel that is read.
        target_channel: The first channel that is written.
        add: Add the result to what the target holds.
        relu: Replace negative results by 0.
        factor: Of shuffle and unshuffle, 2 or 8. Otherwise 1.
    """

    kind: str
    source: str
    target: str
    inputs: int
    outputs: int
    name: str = ""
    source_channel: int = 0
    target_channel: int = 0
    add: bool = False
    relu: bool = False
    factor: int = 1


@dataclass(frozen=True)
class Network:
    """A list of layers with their tensors. `check` says whether it is valid.

    Attributes:
        buffers: The buffers by name. "input" is given, "output" is the result.
        layers: In the order in which they run.
        tensors: `NAME.weight`, `NAME.bias` and `NAME.shift` of linear and depthwise layers;
            `NAME.gain`, `NAME.bias` and `NAME.shift` of gains, whose first two are quality
            tables (knots, channels).
    """

    buffers: dict[str, Buffer]
    layers: tuple[Layer, ...]
    tensors: dict[str, Tensor]

    @property
    def macs_per_cell(self) -> int:
        """The number of multiply-accumulate operations per cell of the coarsest buffer."""
        taps = {"linear": 1, "depthwise": 9}
        return sum(
            taps.get(layer.kind, 0)
            * self.buffers[layer.target].scale ** 2
            * layer.outputs
            * (layer.inputs if layer.kind == "linear" else 1)
            for layer in self.layers
        )


def stages(network: Network) -> list[tuple[Layer, ...]]:
    """Split the layers into stages within which the rows of the network are independent.

    Threads can divide the rows of a stage among them, and wait for each other only between
    stages. A depthwise layer reads neighbouring rows, so no layer of its stage writes its source.
    """
    found: list[list[Layer]] = [[]]
    written: set[str] = set()
    filtered: set[str] = set()
    for layer in network.layers:
        too_early = layer.kind == "depthwise" and layer.source in written
        if too_early or layer.target in filtered:
            found.append([])
            written = set()
            filtered = set()
        found[-1].append(layer)
        written.add(layer.target)
        if layer.kind == "depthwise":
            filtered.add(layer.source)
    return [tuple(layers) for layers in found]


def check(network: Network) -> Network:
    """Return `network` if its layers fit together and no input can make a sum overflow.

    Raises:
        ModelError: It is invalid. The message names the layer and the reason.
    """
    if len(network.buffers) > MAX_BUFFERS:
        raise ModelError(f"{len(network.buffers)} buffers, more than {MAX_BUFFERS}")
    for name, buffer in network.buffers.items():
        if not name:
            raise ModelError("a buffer has no name")
        if not (1 <= buffer.channels < 2**15 and 1 <= buffer.scale <= 64):
            raise ModelError(f"buffer {name}: {buffer.channels} channels at scale {buffer.scale}")
    if not {INPUT, OUTPUT} <= set(network.buffers):
        raise ModelError("there is no input or no output")
    known = {name: np.zeros(b.channels, bool) for name, b in network.buffers.items()}
    known[INPUT][:] = True
    for layer in network.layers:
        try:
            _check_layer(network, layer)
            _check_order(layer, known)
        except ModelError as error:
            raise ModelError(f"layer {layer.name or layer.kind}: {error}") from None
        except KeyError as error:
            raise ModelError(f"layer {layer.name or layer.kind}: no {error.args[0]}") from None
    if not known[OUTPUT].all():
        raise ModelError("parts of the output are never written")
    return network


def _check_order(layer: Layer, known: dict[str, Bools]) -> None:
    """Check that a layer reads only what is known, and mark what it writes as known."""
    read = known[layer.source][layer.source_channel :][: layer.inputs]
    written = known[layer.target][layer.target_channel :][: layer.outputs]
    if not read.all() or (layer.add and not written.all()):
        raise ModelError("reads what no layer has written")
    written[:] = True


def _check_layer(network: Network, layer: Layer) -> None:
    source = network.buffers[layer.source]
    target = network.buffers[layer.target]
    reads = layer.source_channel, layer.source_channel + layer.inputs
    writes = layer.target_channel, layer.target_channel + layer.outputs
    if layer.kind not in KINDS:
        raise ModelError(f"unknown kind {layer.kind}")
    if not 0 <= reads[0] < reads[1] <= source.channels:
        raise ModelError(f"reads channels {reads} of {source.channels}")
    if not 0 <= writes[0] < writes[1] <= target.channels:
        raise ModelError(f"writes channels {writes} of {target.channels}")
    if layer.target == INPUT or layer.source == OUTPUT:
        raise ModelError("writes the input or reads the output")
    in_place = layer.kind == "gain" and layer.source_channel == layer.target_channel
    if layer.source == layer.target and not in_place:
        raise ModelError("reads and writes the same buffer")
    if layer.kind in ("depthwise", "shuffle", "unshuffle") and layer.add:
        raise ModelError(f"a {layer.kind} layer cannot add")
    if layer.kind.endswith("shuffle"):
        _check_shuffle(layer, source, target)
        return
    if source.scale != target.scale or layer.factor != 1:
        raise ModelError("changes the resolution")
    if layer.kind != "linear" and layer.inputs != layer.outputs:
        raise ModelError(f"has {layer.inputs} inputs for {layer.outputs} outputs")
    _check_tensors(network, layer)


def _check_shuffle(layer: Layer, source: Buffer, target: Buffer) -> None:
    coarse, fine = (source, target) if layer.kind == "shuffle" else (target, source)
    wide, narrow = (
        (layer.inputs, layer.outputs) if layer.kind == "shuffle" else (layer.outputs, layer.inputs)
    )
    if layer.factor not in FACTORS or layer.relu or layer.name:
        raise ModelError(f"cannot {layer.kind} by {layer.factor} with these options")
    if wide != narrow * layer.factor**2 or fine.scale != coarse.scale * layer.factor:
        raise ModelError(f"the buffers do not differ by a factor of {layer.factor}")


def tensor_shapes(layer: Layer) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return the type and shape of each tensor of a layer. -1 stands for any number of knots."""
    outputs = layer.outputs
    first: dict[str, tuple[str, tuple[int, ...]]]
    if layer.kind == "gain":
        first = {"gain": ("int32", (-1, outputs)), "bias": ("int32", (-1, outputs))}
    else:
        linear = layer.kind == "linear"
        shape = (outputs, layer.inputs) if linear else (outputs, 3, 3)
        first = {"weight": ("int16", shape), "bias": ("int32", (outputs,))}
    return first | {"shift": ("uint8", (outputs,))}


def _check_tensors(network: Network, layer: Layer) -> None:
    if not layer.name:
        raise ModelError("has no name")
    tensors = {}
    for part, (dtype, shape) in tensor_shapes(layer).items():
        tensor = tensors[part] = network.tensors[f"{layer.name}.{part}"]
        expected = (len(tensor) if tensor.ndim else 0, *shape[1:]) if shape[0] < 0 else shape
        if tensor.dtype != np.dtype(dtype) or tensor.shape != expected or not tensor.size:
            raise ModelError(f"{part} is {tensor.dtype} {tensor.shape}, not {dtype} {expected}")
    shift = tensors["shift"].astype(np.int64)
    if shift.max() > MAX_SHIFT:
        raise ModelError(f"a shift of {shift.max()} is above {MAX_SHIFT}")
    bias = np.abs(tensors["bias"].astype(np.int64))
    if layer.kind == "gain":
        if len(tensors["gain"]) != len(tensors["bias"]):
            raise ModelError("gain and bias have different numbers of knots")
        total = np.abs(tensors["gain"].astype(np.int64)).max(0) * LIMIT + bias.max(0)
    else:
        magnitude = np.abs(tensors["weight"].astype(np.int64))
        total = magnitude.reshape(layer.outputs, -1).sum(1) * LIMIT + bias
    total += half(shift)
    if total.max() >= SUM_LIMIT:
        raise ModelError(f"a sum may reach {total.max()}, the limit is {SUM_LIMIT}")


def half(shift: Tensor) -> I64:
    """Return what is added before a rounding shift: 2^(shift - 1), or 0 for a shift of 0."""
    added: I64 = np.left_shift(np.int64(1), shift.astype(np.int64)) >> 1
    return added


def round_shift(values: npt.NDArray[Any], shift: Tensor) -> npt.NDArray[Any]:
    """Return values / 2^shift, rounded half up, in the type of the values."""
    dtype = values.dtype
    rounded: npt.NDArray[Any] = (values + half(shift).astype(dtype)) >> shift.astype(dtype)
    return rounded


def saturate(values: npt.NDArray[Any]) -> I16:
    """Return values clamped to ±LIMIT, as activations."""
    activations: I16 = np.clip(values, -LIMIT, LIMIT).astype(np.int16)
    return activations


def save_network(network: Network, path: Path) -> None:
    """Write a network as a NumPy archive: its tensors, and `network`, a JSON text in UTF-8."""
    description = {
        "buffers": {name: [b.channels, b.scale] for name, b in network.buffers.items()},
        "layers": [_compact(layer) for layer in network.layers],
    }
    text = np.frombuffer(json.dumps(description).encode(), np.uint8)
    np.savez(path, network=text, **network.tensors)


def _compact(layer: Layer) -> dict[str, Any]:
    """Return the fields of a layer that differ from their defaults."""
    return {
        field.name: getattr(layer, field.name)
        for field in dataclasses.fields(layer)
        if getattr(layer, field.name) != field.default
    }


def load_network(path: Path) -> Network:
    """Read a network and check it.

    Raises:
        ModelError: The file is missing or damaged, or the network is invalid.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            tensors = {name: _array(file[name]) for name in file.files}
        text = tensors.pop("network")
        if text.dtype != np.uint8 or text.ndim != 1:
            raise TypeError("`network` is not a text")
        description = json.loads(text.tobytes())
        buffers = {name: _typed(Buffer(*both)) for name, both in description["buffers"].items()}
        layers = tuple(_typed(Layer(**fields)) for fields in description["layers"])
        return check(Network(buffers, layers, tensors))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except Exception as error:  # what damaged archives raise has no common base class
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path}: not a network ({reason})") from None


def _array(member: Any) -> Tensor:
    """Return a member of an archive if it is an array of integers."""
    if not isinstance(member, np.ndarray) or member.dtype.kind not in "iu":
        raise TypeError("a member is not an array of integers")
    return member.astype(member.dtype.newbyteorder("="))


def _typed(item: T) -> T:
    """Return a dataclass if its fields have the types that they are declared with."""
    for field in dataclasses.fields(item):
        value = getattr(item, field.name)
        if type(value) is not field.type:
            raise TypeError(f"{field.name} is of type {type(value).__name__}")
    return item
