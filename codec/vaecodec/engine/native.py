"""The engine in C: packs a network for `_engine.run`, and divides its rows among threads."""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecodec._arrays import I16, I32, I64, U8
from vaecodec.engine.network import (
    INPUT,
    KINDS,
    OUTPUT,
    Buffer,
    Layer,
    Network,
    Tensor,
    half,
    stages,
)
from vaecodec.engine.quality import Rows
from vaecodec.engine.workers import run_in_threads

try:
    import vaecodec.engine._engine as _engine
except ImportError:  # installed without a compiler
    _engine = None  # type: ignore[assignment]

CLAMP = "clamp"  # the kind of the layer that clamps what `run` is given
GIVEN = ""  # the buffer that it reads; no other has this name
PANEL = 16  # outputs whose weights are stored together
BAND_PIXELS = 192  # at most, in a band of several rows, so that activations stay in the L2 cache
SHARES_PER_THREAD = 4  # more than 1, so that a thread that starts late takes fewer of them


def kernels() -> tuple[str, ...]:
    """Return the names of the kernels that this processor can run, the best first."""
    return tuple(_engine.kernels()) if _engine else ()


def local_buffers(parts: list[tuple[Layer, ...]]) -> set[str]:
    """Return the buffers that only one stage uses, of which a thread needs no more than a band."""
    used = [{name for layer in part for name in (layer.source, layer.target)} for part in parts]
    names = set().union(*used) - {GIVEN, OUTPUT}
    return {name for name in names if sum(name in part for part in used) == 1}


def pack_linear(weight: Tensor) -> Tensor:
    """Return weights (outputs, inputs) as (outputs / 16, inputs / 2, 16, 2), padded with zeros."""
    outputs, inputs = weight.shape
    padded = np.pad(weight, ((0, -outputs % PANEL), (0, inputs % 2)))
    return padded.reshape(-1, PANEL, padded.shape[1] // 2, 2).transpose(0, 2, 1, 3)


def pack_depthwise(weight: Tensor) -> Tensor:
    """Return weights (channels, 3, 3) as (10, channels), padded with zeros to whole panels."""
    taps = weight.reshape(len(weight), 9).T
    return np.pad(taps, ((0, 1), (0, -len(weight) % PANEL)))


class Program:
    """A network packed for the C code. `run` may be called from several threads at once."""

    def __init__(self, network: Network):
        given = network.buffers[INPUT]
        clamp = Layer(CLAMP, GIVEN, INPUT, given.channels, given.channels)
        buffers = {GIVEN: given, **network.buffers}
        network = Network(buffers, (clamp, *network.layers), network.tensors)
        self.network = network
        self.names = list(network.buffers)
        self._constants: list[U8] = []
        self._size = 0
        self._gain_at: dict[str, int] = {}  # byte offset of gain, bias and shift in `gains`
        size = 0
        for layer in network.layers:
            if layer.kind == "gain" and layer.name not in self._gain_at:
                self._gain_at[layer.name] = size
                size += 3 * 4 * layer.outputs
        self.layers = np.array([self._described(layer) for layer in network.layers], np.int64)
        self.constants = np.concatenate([*self._constants, np.zeros(64, np.uint8)])
        parts = stages(network)
        ends = np.cumsum([len(part) for part in parts]).tolist()
        scales = [max(network.buffers[layer.target].scale for layer in part) for part in parts]
        self.spans = list(zip([0, *ends[:-1]], ends, scales, strict=True))
        self.local = local_buffers(parts)
        self.buffers = tuple(network.buffers.values())
        self.shapes = np.array(
            [[b.channels, b.scale, name in self.local] for name, b in network.buffers.items()],
            np.int64,
        )

    def _described(self, layer: Layer) -> list[int]:
        """Return the fields of a layer's struct in the C code."""
        weight, bias, shift = 0, 0, 0
        if layer.kind == "gain":
            weight = self._gain_at[layer.name]
            bias, shift = weight + 4 * layer.outputs, weight + 8 * layer.outputs
        elif layer.name:
            weight, bias, shift = self._store(layer)
        return [
            (*KINDS, CLAMP).index(layer.kind),
            layer.add + 2 * layer.relu,
            self.names.index(layer.source),
            layer.source_channel,
            self.names.index(layer.target),
            layer.target_channel,
            layer.inputs,
            layer.outputs,
            layer.factor,
            weight,
            bias,
            shift,
        ]

    def _store(self, layer: Layer) -> tuple[int, int, int]:
        """Store the constants of a linear or depthwise layer and return their byte offsets."""
        weight, bias, shift = (
            self.network.tensors[f"{layer.name}.{part}"] for part in ("weight", "bias", "shift")
        )
        pack = pack_linear if layer.kind == "linear" else pack_depthwise
        rest = -layer.outputs % PANEL
        return (
            self._append(pack(weight)),
            self._append(np.pad(bias + half(shift), (0, rest)).astype(np.int32)),
            self._append(np.pad(shift.astype(np.int32), (0, rest))),
        )

    def _append(self, values: npt.NDArray[Any]) -> int:
        """Append values to the constants, aligned to 64 bytes, and return their byte offset."""
        data = np.frombuffer(values.tobytes(), np.uint8)
        begin = self._size
        self._constants.append(np.pad(data, (0, -len(data) % 64)))
        self._size += len(self._constants[-1])
        return begin

    def gains(self, rows: Rows) -> I32:
        """Return gain, bias and shift of every gain layer, as the C code reads them."""
        parts = [np.zeros(0, np.int64)]
        for name in self._gain_at:
            shift = self.network.tensors[f"{name}.shift"]
            gain, bias = rows[name]
            parts += [gain, bias + half(shift), shift.astype(np.int64)]
        return np.concatenate(parts).astype(np.int32)

    def run(self, x: I16, gains: I32, kernel: str, threads: int) -> I16:
        """Run the network. See `vaecodec.engine.Engine.run`."""
        scale = self.network.buffers[INPUT].scale
        rows, columns = x.shape[0] // scale, x.shape[1] // scale
        share = -(-rows // (threads * SHARES_PER_THREAD)) if threads > 1 else rows
        stages = self._stages(columns, share)
        whole = self._whole_buffers(x, rows, columns)
        progress = np.zeros(2, np.int64)

        def work() -> None:
            band = int(stages[:, 2].max())
            buffers = tuple(
                whole[i]
                if i in whole
                else _memory.array("band", i, values_in(buffer, band, columns))
                for i, buffer in enumerate(self.buffers)
            )
            _engine.run(
                kernel,
                stages,
                self.layers,
                self.shapes,
                self.constants,
                gains,
                progress,
                buffers,
                rows,
                columns,
                share,
            )

        try:
            run_in_threads(work, min(threads, -(-rows // share)))
        except BaseException:  # such as KeyboardInterrupt
            # Other threads may go on using these arrays.
            _memory.arrays = {}
            raise
        output = self.network.buffers[OUTPUT]
        shape = rows * output.scale, columns * output.scale, output.channels
        return whole[self.names.index(OUTPUT)][:-1].reshape(shape)

    def _stages(self, columns: int, share: int) -> I64:
        """Return first layer, last layer and rows in a band of each stage, shape (stages, 3)."""
        stages = []
        for first, last, scale in self.spans:
            band = min(share, max(1, BAND_PIXELS // (columns * scale**2)))
            stages.append((first, last, band))
        return np.array(stages, np.int64)

    def _whole_buffers(self, x: I16, rows: int, columns: int) -> dict[int, I16]:
        """Return the buffers that hold all rows, flat and by number, `x` among them."""
        whole = {}
        for i, (name, buffer) in enumerate(self.network.buffers.items()):
            size = values_in(buffer, rows, columns)
            if name == GIVEN:
                whole[i] = np.require(x, requirements=["C", "A"]).reshape(-1)
            elif name == OUTPUT:
                whole[i] = np.empty(size, np.int16)
            elif name not in self.local:
                whole[i] = _memory.array("whole", i, size)
        return whole


def values_in(buffer: Buffer, rows: int, columns: int) -> int:
    """Return the size of a buffer, plus one value because inputs are read in pairs."""
    return rows * columns * buffer.scale**2 * buffer.channels + 1


class _Memory(threading.local):
    """Arrays that each thread allocates once and reuses in every run."""

    def __init__(self) -> None:
        self.arrays: dict[tuple[str, int], I16] = {}

    def array(self, kind: str, number: int, size: int) -> I16:
        """Return an array of at least `size` values. Its contents are undefined."""
        found = self.arrays.get((kind, number))
        if found is None or len(found) < size:
            found = self.arrays[kind, number] = np.empty(size, np.int16)
        return found


_memory = _Memory()
