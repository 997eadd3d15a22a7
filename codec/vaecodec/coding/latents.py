"""The latents of one tile, and the order in which encoder and decoder code them."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecodec._arrays import F32, I32, U8, Bools, Integers
from vaecodec.coding.tiling import CELL_Y, CELL_Z, cell_count
from vaecodec.entropy.coder import MAX_SYMBOL, SymbolSink, SymbolSource
from vaecodec.model.networks import Networks
from vaecodec.spec import POSITIONS, STEPS, Y_FRACTION, step_parts

Size = tuple[int, int]  # height, width in pixels


@dataclass(frozen=True)
class Latents:
    """The quantized latents of one tile, both int32.

    Attributes:
        y: In units of 1/64, shape (m, h, w) with h = ceil(H/16).
        z: Symbols, shape (channels, h, w) with h = ceil(H/64).
    """

    y: I32
    z: I32

    def checksum(self) -> int:
        """Return the CRC-32 of y, then z, as little-endian int32 in C order."""
        return zlib.crc32(
            self.z.astype("<i4").tobytes(), zlib.crc32(self.y.astype("<i4").tobytes())
        )


@dataclass(frozen=True)
class StepCells:
    """The latents of y that one step codes, out of an array (4h, 4w, m) with h, w cells of z.

    An array of their values has the shape (2h, 2w, 4, m/4): row and column of the 2x2 square,
    position in it, channel of the group that is coded there. A list of their values runs in the
    same order. It leaves out what lies beyond the tile.
    """

    step: int
    inside: Bools | None  # (2h, 2w, 4, 1): which latents are coded; None if all are

    def take(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the values (n,) that are coded, out of (2h, 2w, 4, m/4)."""
        if self.inside is None:
            return values.reshape(-1)
        return values[np.broadcast_to(self.inside, values.shape)]

    def gather(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the values (n,) that are coded, out of (4h, 4w, m)."""
        parts = step_parts(self.step, y.shape[2])
        return self.take(np.stack([y[part] for part in parts], 2))

    def spread(self, values: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return an array of `shape` (2h, 2w, 4, m/4) from values (n,), 0 elsewhere."""
        if self.inside is None:
            return values.reshape(shape)
        spread = np.zeros(shape, values.dtype)
        spread[np.broadcast_to(self.inside, shape)] = values
        return spread

    def put(self, values: npt.NDArray[Any], y: npt.NDArray[Any]) -> None:
        """Write values (2h, 2w, 4, m/4) into y (4h, 4w, m)."""
        for position, part in enumerate(step_parts(self.step, y.shape[2])):
            y[part] = values[:, :, position]


CodeStep = Callable[
    [StepCells, I32, U8], Integers
]  # cells, means (n,), tables (n,) -> symbols (n,)


def decode_tile(
    nets: Networks, quality: float, size: Size, sources: Sequence[SymbolSource]
) -> Latents:
    """Decode the latents of one tile.

    Args:
        nets: The networks.
        quality: 1 to 100.
        size: Height and width of the tile in pixels.
        sources: Where the symbols of z and of the four steps of y come from: five sources, often
            the same one five times.

    Raises:
        FormatError: The sources' data is damaged.
    """
    zh, zw = _z_cells(size)
    z = sources[0].decode(nets.z_tables(quality), _z_index(nets, size)).reshape(-1, zh, zw)

    def read_step(cells: StepCells, _: I32, index: U8) -> Integers:
        return sources[cells.step + 1].decode(nets.y_tables, index)

    return Latents(_code_y(nets, quality, size, z, read_step), z)


def encode_tile(
    nets: Networks, quality: float, size: Size, sinks: Sequence[SymbolSink], y: F32, z: I32
) -> Latents:
    """Quantize and encode the latents of one tile.

    Args:
        nets: The networks.
        quality: 1 to 100.
        size: Height and width of the tile in pixels.
        sinks: Where the symbols of z and of the four steps of y go: five sinks, often the same
            one five times.
        y: As `Networks.analyse` returns it, padded to whole cells of z.
        z: As `Networks.hyper_analyse` returns it.

    Returns:
        The latents that a decoder will see.
    """
    z = np.clip(z, -MAX_SYMBOL, MAX_SYMBOL)
    sinks[0].encode(nets.z_tables(quality), _z_index(nets, size), z.reshape(-1))
    by_cell = y.transpose(1, 2, 0)

    def write_step(cells: StepCells, mean: I32, index: U8) -> Integers:
        residual = cells.gather(by_cell) - mean * np.float32(1 / Y_FRACTION)
        symbols: I32 = np.clip(np.rint(residual).astype(np.int32), -MAX_SYMBOL, MAX_SYMBOL)
        sinks[cells.step + 1].encode(nets.y_tables, index, symbols)
        return symbols

    return Latents(_code_y(nets, quality, size, z, write_step), z)


def _code_y(nets: Networks, quality: float, size: Size, z: I32, code_step: CodeStep) -> I32:
    """Code y in four steps, each with what the steps before it have made known."""
    zh, zw = _z_cells(size)
    y = np.empty((4 * zh, 4 * zw, nets.m), np.int32)
    state = nets.hyper_synthesis(z, quality)
    known = state[..., -nets.m :]
    for cells in _steps(size):
        mean, index = nets.context(cells.step, state, quality)
        symbols = code_step(cells, cells.take(mean), cells.take(index))
        # Beyond the tile, a latent is its mean.
        value = mean + Y_FRACTION * cells.spread(symbols, mean.shape).astype(np.int32)
        cells.put(value, y)
        if cells.step < STEPS - 1:
            cells.put(nets.y_input(cells.step, value), known)
    return _cropped(y, size)


def _cropped(y: npt.NDArray[Any], size: Size) -> npt.NDArray[Any]:
    """Return the latents of a tile, (m, h, w), out of whole cells of z, (4h, 4w, m)."""
    inside = y[: cell_count(size[0], CELL_Y), : cell_count(size[1], CELL_Y)]
    return np.ascontiguousarray(inside.transpose(2, 0, 1))


def spread_steps(values: Sequence[npt.NDArray[Any]], m: int, size: Size) -> npt.NDArray[Any]:
    """Return an array (m, h, w) on the grid of y from one list of values (n,) per step."""
    zh, zw = _z_cells(size)
    grid = np.zeros((4 * zh, 4 * zw, m), values[0].dtype)
    for cells, step_values in zip(_steps(size), values, strict=True):
        cells.put(cells.spread(step_values, (2 * zh, 2 * zw, POSITIONS, m // STEPS)), grid)
    return _cropped(grid, size)


def min_bits(nets: Networks, quality: float, size: Size) -> float:
    """Return how many bits z of a tile takes at least, even if every symbol is the likeliest."""
    zh, zw = _z_cells(size)
    return zh * zw * float(nets.z_tables(quality).min_bits.sum())


def _z_cells(size: Size) -> tuple[int, int]:
    return cell_count(size[0], CELL_Z), cell_count(size[1], CELL_Z)


def _z_index(nets: Networks, size: Size) -> U8:
    """Return the table of each symbol of z: that of its channel."""
    zh, zw = _z_cells(size)
    return np.repeat(np.arange(nets.channels_z, dtype=np.uint8), zh * zw)


def _steps(size: Size) -> list[StepCells]:
    """Return the cells of the four steps, in their order."""
    zh, zw = _z_cells(size)
    h = cell_count(size[0], CELL_Y)
    w = cell_count(size[1], CELL_Y)
    if (h, w) == (4 * zh, 4 * zw):
        return [StepCells(step, None) for step in range(STEPS)]
    grid = np.zeros((4 * zh, 4 * zw), bool)
    grid[:h, :w] = True
    inside = np.stack([grid[i // 2 :: 2, i % 2 :: 2] for i in range(POSITIONS)], 2)[..., None]
    return [StepCells(step, inside) for step in range(STEPS)]
