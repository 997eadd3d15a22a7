"""The engine in C: lays a network out for `_engine.run`, and shares its rows out over threads."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecodec.engine.network import (
    INPUT,
    KINDS,
    LIMIT,
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

PANEL = 16  # outputs whose weights lie side by side
BAND_PIXELS = 192  # a band of rows has about so many pixels: its activations stay in the L2 cache
CHUNKS_PER_THREAD = 2  # so that a thread that starts late does less

I16 = npt.NDArray[np.int16]


def kernels() -> tuple[str, ...]:
    """Return the names of the kernels that this processor can run, the best first."""
    return tuple(_engine.kernels()) if _engine else ()


@dataclass(frozen=True)
class Stage:
    """Layers in which no row of the network depends on another.

    Attributes:
        layers: Shape (layers, 12): the layers, as the C code reads them.
        scale: The largest scale of a buffer that the layers write.
    """

    layers: npt.NDArray[np.int64]
    scale: int


@dataclass(frozen=True)
class Job:
    """What all threads need to know to run a stage.

    Attributes:
        stage: The stage.
        kernel: Name of the kernel.
        gains: As `Program.gains` returns them.
        whole: The buffers that hold all rows, flat and by number.
        rows: Rows of the network, at scale 1.
        columns: Columns of the network, at scale 1.
        share: Number of rows that a thread takes at a time.
    """

    stage: Stage
    kernel: str
    gains: npt.NDArray[np.int32]
    whole: dict[int, I16]
    rows: int
    columns: int
    share: int


def local_buffers(parts: list[tuple[Layer, ...]]) -> set[str]:
    """Return the buffers of which a thread needs only a band, since one stage alone uses them."""
    used = [{name for layer in part for name in (layer.source, layer.target)} for part in parts]
    names = set().union(*used)
    shared = {layer.source for part in parts for layer in part if layer.kind == "depthwise"}
    return {
        name for name in names - shared - {INPUT, OUTPUT} if sum(name in part for part in used) == 1
    }


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
    """A network as the C code runs it. `run` may be called from several threads at once."""

    def __init__(self, network: Network):
        self.network = network
        self.names = list(network.buffers)
        self._constants: list[npt.NDArray[np.uint8]] = []
        self._size = 0
        self._gain_at: dict[str, int] = {}
        for layer in network.layers:
            if layer.kind == "gain" and layer.name not in self._gain_at:
                self._gain_at[layer.name] = (
                    4 * 3 * sum(len(network.tensors[f"{name}.shift"]) for name in self._gain_at)
                )
        parts = stages(network)
        self.stages = [self._stage(layers) for layers in parts]
        self.constants = np.concatenate([*self._constants, np.zeros(64, np.uint8)])
        self.local = local_buffers(parts)
        self.buffers = tuple(network.buffers.values())
        self.shapes = np.array(
            [[b.channels, b.scale, name in self.local] for name, b in network.buffers.items()],
            np.int64,
        )

    def _stage(self, layers: tuple[Layer, ...]) -> Stage:
        scale = max(self.network.buffers[layer.target].scale for layer in layers)
        return Stage(np.array([self._described(layer) for layer in layers], np.int64), scale)

    def _described(self, layer: Layer) -> list[int]:
        """Return a layer as the fields of the C code's struct."""
        weight, bias, shift = 0, 0, 0
        if layer.kind == "gain":
            weight = self._gain_at[layer.name]
            bias, shift = weight + 4 * layer.outputs, weight + 8 * layer.outputs
        elif layer.name:
            weight, bias, shift = self._store(layer)
        return [
            KINDS.index(layer.kind),
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
        """Store the constants of a linear or depthwise layer. Returns their offsets in bytes."""
        weight, bias, shift = (
            self.network.tensors[f"{layer.name}.{part}"] for part in ("weight", "bias", "shift")
        )
        pack = pack_linear if layer.kind == "linear" else pack_depthwise
        rest = -layer.outputs % PANEL
        offsets = (
            self._append(pack(weight)),
            self._append(np.pad(bias + half(shift), (0, rest)).astype(np.int32)),
            self._append(np.pad(shift.astype(np.int32), (0, rest))),
        )
        return offsets

    def _append(self, values: npt.NDArray[Any]) -> int:
        """Append values to the constants at a multiple of 64 bytes. Returns where they begin."""
        data = np.frombuffer(values.tobytes(), np.uint8)
        begin = self._size
        self._constants.append(np.pad(data, (0, -len(data) % 64)))
        self._size += len(self._constants[-1])
        return begin

    def gains(self, rows: Rows) -> npt.NDArray[np.int32]:
        """Return gain, bias and shift of every gain layer, as the C code reads them."""
        parts = [np.zeros(0, np.int64)]
        for name in self._gain_at:
            shift = self.network.tensors[f"{name}.shift"]
            gain, bias = rows[name]
            parts += [gain, bias + half(shift), shift.astype(np.int64)]
        return np.concatenate(parts).astype(np.int32)

    def run(self, x: I16, gains: npt.NDArray[np.int32], kernel: str, threads: int) -> I16:
        """Run the network. See `vaecodec.engine.Engine.run`."""
        scale = self.network.buffers[INPUT].scale
        rows, columns = x.shape[0] // scale, x.shape[1] // scale
        share = -(-rows // (threads * CHUNKS_PER_THREAD)) if threads > 1 else rows
        whole = self._whole_buffers(x, rows, columns)
        for stage in self.stages:
            job = Job(stage, kernel, gains, whole, rows, columns, share)
            work = partial(self._run_rows, job, iter(range(0, rows, share)))
            run_in_threads(work, min(threads, -(-rows // share)))
        output = self.network.buffers[OUTPUT]
        shape = rows * output.scale, columns * output.scale, output.channels
        return whole[self.names.index(OUTPUT)][:-1].reshape(shape)

    def _run_rows(self, job: Job, firsts: Iterator[int]) -> None:
        """Run shares of rows that begin at `firsts`, which other threads take from as well."""
        band = min(job.share, max(1, BAND_PIXELS // (job.columns * job.stage.scale**2)))
        buffers = tuple(
            job.whole[i]
            if i in job.whole
            else _memory.array("band", i, values_in(buffer, band, job.columns))
            for i, buffer in enumerate(self.buffers)
        )
        for first in firsts:
            last = min(first + job.share, job.rows)
            _engine.run(
                job.kernel,
                job.stage.layers,
                self.shapes,
                self.constants,
                job.gains,
                buffers,
                job.rows,
                job.columns,
                first,
                last,
                band,
            )

    def _whole_buffers(self, x: I16, rows: int, columns: int) -> dict[int, I16]:
        """Return the buffers that hold all rows, flat and by number, with the input in its place."""
        whole = {}
        for i, (name, buffer) in enumerate(self.network.buffers.items()):
            size = values_in(buffer, rows, columns)
            if name == OUTPUT:
                whole[i] = np.empty(size, np.int16)
            elif name not in self.local:
                whole[i] = _memory.array("whole", i, size)
        np.clip(x, -LIMIT, LIMIT, out=whole[self.names.index(INPUT)][: x.size].reshape(x.shape))
        return whole


def values_in(buffer: Buffer, rows: int, columns: int) -> int:
    """Return the size of a buffer. There is one more value, as inputs are read in pairs."""
    return rows * columns * buffer.scale**2 * buffer.channels + 1


class _Memory(threading.local):
    """Arrays of this thread that are allocated once and used by every run."""

    def __init__(self) -> None:
        self.arrays: dict[tuple[str, int], I16] = {}

    def array(self, kind: str, number: int, size: int) -> I16:
        """Return an array of at least `size` values. Its contents are of no meaning."""
        found = self.arrays.get((kind, number))
        if found is None or len(found) < size:
            found = self.arrays[kind, number] = np.empty(size, np.int16)
        return found


_memory = _Memory()
