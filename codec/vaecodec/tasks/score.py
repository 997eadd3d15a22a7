"""How surprising a picture is: its bits under the model, and what the codec cannot reproduce."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vaecodec._arrays import F32, I32, Integers, Samples
from vaecodec.coding.analysis import analyse
from vaecodec.coding.latents import encode_tile, spread_steps
from vaecodec.coding.session import Session, start_picture_session
from vaecodec.coding.synthesis import narrow_to_int16, render
from vaecodec.coding.tiling import CELL_Y, CELL_Z, cell_count
from vaecodec.entropy.coder import EXCESS_LENGTHS
from vaecodec.entropy.tables import Tables
from vaecodec.errors import ImageError
from vaecodec.format.color import color_named
from vaecodec.image.box import Box
from vaecodec.image.canvas import to_samples
from vaecodec.image.picture import ImageSource, Picture
from vaecodec.spec import DEFAULT_QUALITY, FREQUENCY_BITS, SEGMENTS

MAX_SCORE_PIXELS = 2**25
# Heat maps go from black over violet and orange to white.
HEAT_COLORS = np.array(
    [(0, 0, 0), (60, 15, 110), (180, 45, 90), (245, 130, 30), (250, 215, 80), (255, 255, 255)],
    np.float32,
)


class BitCounter:
    """A symbol sink that counts the bits of each symbol.

    Attributes:
        bits: For each call, what each symbol costs under its table, shape (n,), float32.
        expected_bits: For each call, the mean cost of a symbol of that table, shape (n,).
    """

    def __init__(self) -> None:
        self.bits: list[F32] = []
        self.expected_bits: list[F32] = []

    def encode(self, tables: Tables, index: Integers, symbols: I32) -> None:
        """Count the bits of symbols (n,). `index` (n,) is the table of each symbol."""
        bits = np.zeros(index.size, np.float32)
        for table in np.unique(index):
            members = np.flatnonzero(index == table)
            half = int(tables.half_width[table])
            magnitude = np.abs(symbols[members])
            position = np.clip(symbols[members], -half, half) + half
            cost = FREQUENCY_BITS - np.log2(tables.frequencies[table])
            bits[members] = cost[position]
            at_end = magnitude >= half  # how far beyond the table costs more bits
            excess = magnitude[at_end] - half + 1
            bits[members[at_end]] += np.log2(EXCESS_LENGTHS) + np.floor(np.log2(excess))
        self.bits.append(bits)
        self.expected_bits.append(tables.mean_bits[index].astype(np.float32))


@dataclass(frozen=True)
class Score:
    """What a picture costs, and what is lost of it.

    The maps have one value for each cell of 16 x 16 pixels, shape (ceil(H/16), ceil(W/16)),
    float32.

    Attributes:
        bits_per_pixel: Bits per pixel under the model.
        excess: How many of them the model did not expect. It is near 0 for pictures like the
            training images, however detailed they are.
        psnr: PSNR of the decoded picture in dB.
        bits: Map of the bits per pixel.
        excess_bits: Map of the unexpected bits per pixel.
        error: Map of the mean squared error in squared grey levels.
    """

    bits_per_pixel: float
    excess: float
    psnr: float
    bits: F32
    excess_bits: F32
    error: F32


def score(
    source: Picture | ImageSource,
    quality: float = DEFAULT_QUALITY,
    *,
    model: str | None = None,
    threads: int = 0,
) -> Score:
    """Measure how surprising a picture is to the codec.

    The bits are the entropy model's estimate, within 1 % of the size of a file of that quality.

    Args:
        source: A picture of at most 32 megapixels, as for `encode`.
        quality: 1 to 100: the quality of the model.
        model: Id or folder of a model. None is the default model.
        threads: Number of threads. 0 is one per core.

    Raises:
        ImageError: The picture cannot be read, or it is too large.
        ModelError: The model is missing or damaged.
        ParameterError: An argument is out of range.

    Example:
        >>> vaecodec.score("photo.png").psnr > 30
        True
    """
    picture, session = start_picture_session(
        source, quality, max_pixels=MAX_SCORE_PIXELS, model=model, threads=threads
    )
    cells = (cell_count(picture.height, CELL_Y), cell_count(picture.width, CELL_Y))
    bits = np.zeros(cells, np.float32)
    expected = np.zeros(cells, np.float32)

    def measure(tile: int) -> Integers:
        box = session.grid.box(tile)
        y, tile_bits, tile_expected = _count_bits(picture, box, session)
        rows = slice(box.y0 // CELL_Y, box.y0 // CELL_Y + tile_bits.shape[0])
        columns = slice(box.x0 // CELL_Y, box.x0 // CELL_Y + tile_bits.shape[1])
        bits[rows, columns] = tile_bits
        expected[rows, columns] = tile_expected
        return narrow_to_int16(y)

    def measure_all(tiles: list[int]) -> Iterator[Integers]:
        return session.pool.map(measure, tiles)

    squares = np.empty((picture.height, picture.width), np.float32)
    rgb = color_named("RGB")
    area = session.grid.picture
    for box, samples in render(area, session.grid, session.pool, session.quality, measure_all):
        original = picture.samples(box).astype(np.float32)
        difference = original - to_samples(samples, rgb)
        squares[box.y0 : box.y1, box.x0 : box.x1] = np.square(difference).mean(2)
    pixels = _sum_cells(np.ones_like(squares))
    mse = float(squares.mean(dtype=np.float64))
    excess = bits - expected
    return Score(
        bits_per_pixel=float(bits.sum(dtype=np.float64) / squares.size),
        excess=float(excess.sum(dtype=np.float64) / squares.size),
        psnr=10 * float(np.log10(255**2 / mse)) if mse else float("inf"),
        bits=bits / pixels,
        excess_bits=excess / pixels,
        error=_sum_cells(squares) / pixels,
    )


def _sum_cells(values: F32) -> F32:
    """Return the sums (h, w) of values (H, W) over cells of 16 x 16 pixels."""
    height, width = values.shape
    padded = np.pad(values, ((0, -height % CELL_Y), (0, -width % CELL_Y)))
    cells = padded.reshape(padded.shape[0] // CELL_Y, CELL_Y, padded.shape[1] // CELL_Y, CELL_Y)
    sums: F32 = cells.sum((1, 3))
    return sums


def _count_bits(picture: Picture, box: Box, session: Session) -> tuple[I32, F32, F32]:
    """Return y (m, h, w) of a tile in 1/64, and the bits and expected bits (h, w) of its cells.

    The bits of z are shared out evenly over the cells of y below it.
    """
    nets = session.nets
    y, _ = analyse(picture, box, nets, session.quality)
    counter = BitCounter()
    size = (box.height, box.width)
    sinks = [counter] * SEGMENTS
    latents = encode_tile(nets, session.quality, size, sinks, y, nets.hyper_analyse(y))
    maps = []
    for bits in (counter.bits, counter.expected_bits):
        bits_y = spread_steps(bits[1:], nets.m, size).sum(0)
        bits_z = bits[0].reshape(latents.z.shape).sum(0)
        maps.append(bits_y + _share_out(bits_z, bits_y.shape))
    return latents.y, maps[0], maps[1]


def _share_out(bits_z: F32, shape: tuple[int, ...]) -> F32:
    """Return the bits of cells of z, (zh, zw), shared out over the (h, w) cells of y."""
    side = CELL_Z // CELL_Y
    covered = [np.minimum(side, length - np.arange(0, length, side)) for length in shape]
    shares = bits_z / np.outer(*covered)
    return np.repeat(np.repeat(shares, side, 0), side, 1)[: shape[0], : shape[1]]


def heat_map(values: F32, width: int, height: int, top: float | None = None) -> Samples:
    """Return a picture of a map: (height, width, 3), uint8.

    Args:
        values: One value for each cell of 16 x 16 pixels, shape (h, w).
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
        top: The value that is white. 0 is black. None is the largest value.

    Raises:
        ImageError: The map does not cover the picture.
    """
    rows, columns = values.shape
    if width > columns * CELL_Y or height > rows * CELL_Y:
        raise ImageError(f"{columns} x {rows} cells do not cover {width} x {height} pixels")
    top = float(values.max()) if top is None else top
    place = np.clip(values / top if top > 0 else values, 0, 1) * (len(HEAT_COLORS) - 1)
    knots = np.arange(len(HEAT_COLORS))
    channels = [np.interp(place, knots, HEAT_COLORS[:, channel]) for channel in range(3)]
    colors = np.rint(np.stack(channels, 2)).astype(np.uint8)
    return np.repeat(np.repeat(colors, CELL_Y, 0), CELL_Y, 1)[:height, :width]
