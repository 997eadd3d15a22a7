"""The walk through one tile's latents that encoder and decoder share: z, then four steps of y."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecodec.coding.tiling import CELL_Y, CELL_Z, cells
from vaecodec.entropy.coder import Coder
from vaecodec.model.networks import Floats, Networks
from vaecodec.spec import STEPS, Y_FRACTION, group_at


@dataclass(frozen=True)
class Latents:
    """y: (m, h, w) quantized latent in 1/64, h = ceil(H/16); z: (channels, h, w) symbols, h = ceil(H/64). Both int32."""

    y: npt.NDArray[np.int32]
    z: npt.NDArray[np.int32]

    def checksum(self) -> int:
        """CRC-32 of y, then z, as little-endian int32 in C order: what a decoder must arrive at."""
        return zlib.crc32(
            self.z.astype("<i4").tobytes(), zlib.crc32(self.y.astype("<i4").tobytes())
        )


def walk(
    networks: Networks,
    quality: float,
    size: tuple[int, int],
    coders: Sequence[Coder],
    wanted: tuple[Floats, npt.NDArray[np.int32]] | None = None,
    notes: npt.NDArray[Any] | None = None,
) -> Latents:
    """Code the latents of a tile of `size` (height, width) pixels: all of them are the coders' when they decode,
    `wanted` (y, z of `Networks.analyse`) when they encode.

    coders: of z and of the four steps of y, five, and often five times the same one. notes: where given, (m, 4h, 4w) with
    h, w the cells of z; it receives what a coder notes about each latent of y, in coders[..].notes.
    """
    h, w = (cells(side, CELL_Y) for side in size)
    zh, zw = (cells(side, CELL_Z) for side in size)
    group = networks.m // STEPS
    target, target_z = wanted if wanted else (None, None)

    z_index = np.repeat(np.arange(networks.channels_z, dtype=np.uint8), zh * zw)
    z = coders[0].code(
        networks.z_tables(quality), z_index, target_z.reshape(-1) if target_z is not None else None
    )
    z = z.reshape(-1, zh, zw)

    y = np.zeros((networks.m, 4 * zh, 4 * zw), np.float32)
    p, mean, index = networks.hyper_synthesis(z, quality)
    inside = _inside(h, w, 2 * zh, 2 * zw)
    for step in range(STEPS):
        if step:
            mean, index = networks.context(step, p, y, quality)
        code, symbols = coders[step + 1].code, None
        if target is not None:
            here = np.stack([target[part] for part in _parts(step, group)])
            symbols = np.rint(here - mean * np.float32(1 / Y_FRACTION)).astype(np.int32)
        if inside is None:
            coded = code(
                networks.y_tables,
                index.reshape(-1),
                symbols.reshape(-1) if symbols is not None else None,
            )
            value = mean + coded.reshape(mean.shape) * np.float32(Y_FRACTION)
        else:
            mask = np.broadcast_to(inside, index.shape)
            coded = code(
                networks.y_tables, index[mask], symbols[mask] if symbols is not None else None
            )
            value = mean
            value[mask] += coded * np.float32(Y_FRACTION)
        noted = None
        if notes is not None:
            noted = np.zeros(index.shape, notes.dtype)
            noted[mask if inside is not None else np.ones(index.shape, bool)] = coders[
                step + 1
            ].notes
        for position, part in enumerate(_parts(step, group)):
            y[part] = value[position]
            if notes is not None and noted is not None:
                notes[part] = noted[position]
    return Latents(y[:, :h, :w].astype(np.int32), z)


def least_bits(networks: Networks, quality: float, size: tuple[int, int]) -> float:
    """Fewer bits than these cannot code z of a tile of `size` (height, width) pixels, even where every guess is right."""
    return (
        cells(size[0], CELL_Z)
        * cells(size[1], CELL_Z)
        * float(networks.z_tables(quality).least_bits.sum())
    )


def _parts(step: int, group: int) -> list[tuple[slice, slice, slice]]:
    """For each of the four positions of a 2x2 cell: the latents (channels, rows, columns) that this step codes there."""
    parts = []
    for position in range(STEPS):
        first = group_at(step, position) * group
        parts.append(
            (
                slice(first, first + group),
                slice(position // 2, None, 2),
                slice(position % 2, None, 2),
            )
        )
    return parts


def _inside(h: int, w: int, rows: int, columns: int) -> npt.NDArray[np.bool_] | None:
    """(4, 1, rows, columns): which latents lie in the picture's h x w cells and so are coded; None when all do."""
    if h == 2 * rows and w == 2 * columns:
        return None
    grid = np.zeros((2 * rows, 2 * columns), bool)
    grid[:h, :w] = True
    inside: npt.NDArray[np.bool_] = np.stack([grid[i // 2 :: 2, i % 2 :: 2] for i in range(STEPS)])[
        :, None
    ]
    return inside
