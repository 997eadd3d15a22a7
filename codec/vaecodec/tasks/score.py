"""How surprising a picture is to the codec: bits under its model, and what it cannot reproduce, cell by cell."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vaecodec.coding.decoder import compact
from vaecodec.coding.encoder import analyse
from vaecodec.coding.latents import walk
from vaecodec.coding.tile_pool import Crew
from vaecodec.coding.tiling import CELL_Y, CELL_Z, cells, grid_of
from vaecodec.entropy.coder import LENGTHS, TOTAL, Coder, Ints, Tables
from vaecodec.errors import ImageError
from vaecodec.image.box import Box
from vaecodec.image.picture import Picture, Samples, as_picture, check_size
from vaecodec.model.networks import Floats, Networks
from vaecodec.spec import STEPS, check_quality
from vaecodec.tasks.sample import LARGEST_SAMPLE, show

# Heat maps go from black over violet and orange to white.
RAMP = np.array(
    [(0, 0, 0), (60, 15, 110), (180, 45, 90), (245, 130, 30), (250, 215, 80), (255, 255, 255)],
    np.float32,
)


class Meter(Coder):
    """Passes symbols on; notes are complex: the bits that each costs under its table, and those that the table expected."""

    def code(
        self, tables: Tables, index: npt.NDArray[np.integer[Any]], symbols: Ints | None = None
    ) -> Ints:
        assert symbols is not None
        bits = np.zeros(index.size, np.float32)
        for table in np.unique(index):
            here = np.flatnonzero(index == table)
            half = int(tables.half_width[table])
            size = np.abs(symbols[here])
            bits[here] = (np.log2(TOTAL) - np.log2(tables.frequencies[table]))[
                np.clip(symbols[here], -half, half) + half
            ]
            beyond = size >= half  # these also say how far beyond
            bits[here[beyond]] += np.log2(LENGTHS) + np.floor(np.log2(size[beyond] - half + 1))
        self.notes = bits + 1j * tables.mean_bits[index]
        return symbols


@dataclass(frozen=True)
class Score:
    """What a picture costs and what is lost of it: three figures of the whole, and maps (h, w), float32, of each cell of
    16 x 16 pixels.

    bits_per_pixel, bits: under the model. excess, excess_bits: how many of them the model did not expect, per pixel; near zero
    for what is like its training images, however detailed. psnr: in dB; error: mean squared error in grey levels.
    """

    bits_per_pixel: float
    excess: float
    psnr: float
    bits: Floats
    excess_bits: Floats
    error: Floats


def score(
    image: Picture | Image.Image | Samples,
    quality: float = 50,
    *,
    model: str | None = None,
    threads: int = 0,
) -> Score:
    """Score a picture of at most 32 megapixels. quality: at which of the model's qualities. Raises ImageError, VaecodecError.

    The bits are the entropy model's estimate, within a per cent of what a file of that quality takes.
    """
    picture = as_picture(image)
    check_size(picture.width, picture.height, LARGEST_SAMPLE)
    quality = check_quality(quality)
    grid = grid_of(picture.width, picture.height)
    crew = Crew(model, threads, len(grid.tiles) > 1)
    rows, columns = cells(picture.height, CELL_Y), cells(picture.width, CELL_Y)
    costs = np.zeros((rows, columns), np.complex64)

    def measure(number: int) -> npt.NDArray[np.integer[Any]]:
        box = grid.box(number)
        y, found = code(picture, box, crew.nets, quality)
        top, left = box.y0 // CELL_Y, box.x0 // CELL_Y
        costs[top : top + found.shape[0], left : left + found.shape[1]] = found
        return compact(y)

    known = dict(zip(grid.tiles, crew.map(measure, grid.tiles), strict=True))
    decoded = show(known, grid, crew, quality)
    squares = np.square(picture.samples(grid.picture).astype(np.float32) - decoded).mean(2)
    padding = ((0, rows * CELL_Y - picture.height), (0, columns * CELL_Y - picture.width))
    pixels = (
        np.pad(np.ones_like(squares), padding).reshape(rows, CELL_Y, columns, CELL_Y).sum((1, 3))
    )
    sums = np.pad(squares, padding).reshape(rows, CELL_Y, columns, CELL_Y).sum((1, 3))
    mean = float(squares.mean(dtype=np.float64))
    bits, excess = costs.real, costs.real - costs.imag
    return Score(
        float(bits.sum(dtype=np.float64) / squares.size),
        float(excess.sum(dtype=np.float64) / squares.size),
        10 * float(np.log10(255**2 / mean)) if mean else float("inf"),
        bits / pixels,
        excess / pixels,
        sums / pixels,
    )


def code(
    picture: Picture, box: Box, nets: Networks, quality: float
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.complex64]]:
    """The quantized y (m, h, w) of a tile in 1/64, and the notes (h, w) of its cells, with their shares of z's."""
    y, _ = analyse(picture, box, nets, quality)
    meter, meter_z = Meter(), Meter()
    notes = np.zeros(y.shape, np.complex64)
    latents = walk(
        nets,
        quality,
        (box.height, box.width),
        [meter_z] + [meter] * STEPS,
        (y, nets.hyper_analyse(y)),
        notes,
    )
    h, w = latents.y.shape[1:]
    bits_z = np.asarray(meter_z.notes).reshape(latents.z.shape).sum(0)
    side = CELL_Z // CELL_Y
    covered = np.outer(
        *(np.minimum(side, length - np.arange(0, length, side)) for length in (h, w))
    )
    shares = np.repeat(np.repeat(bits_z / covered, side, 0), side, 1)[:h, :w]
    return latents.y, notes.sum(0)[:h, :w] + shares


def heat_map(values: Floats, width: int, height: int, top: float | None = None) -> Samples:
    """(height, width, 3), uint8: each cell's value, from 0 (black) to `top` (white; None is the largest value)."""
    if width > values.shape[1] * CELL_Y or height > values.shape[0] * CELL_Y:
        raise ImageError(
            f"{values.shape[1]} x {values.shape[0]} cells do not cover {width} x {height} pixels"
        )
    top = float(values.max()) if top is None else top
    place = np.clip(values / top if top > 0 else values, 0, 1) * (len(RAMP) - 1)
    colors = np.stack(
        [np.interp(place, np.arange(len(RAMP)), RAMP[:, channel]) for channel in range(3)], 2
    )
    return np.repeat(np.repeat(np.rint(colors).astype(np.uint8), CELL_Y, 0), CELL_Y, 1)[
        :height, :width
    ]
