"""Pictures that nobody took: drawn from the codec's own prior, or from between two pictures' latents."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vaecodec.coding.decoder import compact, synthesise
from vaecodec.coding.latents import walk
from vaecodec.coding.tile_pool import Crew
from vaecodec.coding.tiling import CELL_Z, Grid, grid_of, padded
from vaecodec.entropy.coder import Coder, Ints, Tables
from vaecodec.errors import ImageError, VaecodecError
from vaecodec.format.color import color_named
from vaecodec.image.box import Box
from vaecodec.image.canvas import to_samples
from vaecodec.image.picture import Picture, Samples, as_picture, check_size
from vaecodec.spec import STEPS, Y_FRACTION, check_quality

LARGEST = 2**22  # pixels of a picture that is taken in one piece
LARGEST_SAMPLE = 2**25


class Sampler(Coder):
    """Draws symbols instead of reading them, each with the probability that its table gives it.

    temperature: probabilities are raised to 1 / temperature; 0 always takes the likeliest symbol.
    """

    def __init__(self, seed: list[int], temperature: float):
        self.random, self.temperature = np.random.default_rng(seed), temperature

    def code(
        self, tables: Tables, index: npt.NDArray[np.integer[Any]], symbols: Ints | None = None
    ) -> Ints:
        drawn = np.zeros(index.size, np.int32)
        for table in np.unique(index):
            here = np.flatnonzero(index == table)
            frequency = tables.frequencies[table]
            if self.temperature == 0:
                positions = np.full(here.size, frequency.argmax())
            else:
                weight = (
                    frequency
                    if self.temperature == 1
                    else np.power(frequency / frequency.max(), 1 / self.temperature)
                )
                ends = np.cumsum(weight)
                positions = np.searchsorted(
                    ends, self.random.random(here.size) * ends[-1], side="right"
                )
            drawn[here] = np.minimum(positions, frequency.size - 1) - tables.half_width[table]
        return drawn


def sample(
    width: int,
    height: int,
    seed: int = 0,
    quality: float = 50,
    temperature: float = 1.0,
    *,
    model: str | None = None,
    threads: int = 0,
) -> Image.Image:
    """A picture (RGB) drawn from the prior: z from its tables, y step by step from the context model, then g_s.

    seed: the same one gives the same latents everywhere at temperature 1 or 0; else powers of probabilities, which are floats,
    are drawn from. quality: 1 to 100, which of the model's qualities to draw at. temperature: 0 to 10. Raises VaecodecError.
    """
    check_size(width, height, LARGEST_SAMPLE)
    if not 0 <= temperature <= 10:
        raise VaecodecError(f"temperature must be between 0 and 10, not {temperature:g}")
    if not 0 <= seed < 2**63:
        raise VaecodecError("seed must be between 0 and 2^63 - 1")
    quality = check_quality(quality)
    grid = grid_of(width, height)
    crew = Crew(model, threads, len(grid.tiles) > 1)

    def draw(number: int) -> npt.NDArray[np.integer[Any]]:
        box = grid.box(number)
        sampler = Sampler([seed, number], temperature)
        return compact(walk(crew.nets, quality, (box.height, box.width), [sampler] * (STEPS + 1)).y)

    known = dict(zip(grid.tiles, crew.map(draw, grid.tiles), strict=True))
    return Image.fromarray(show(known, grid, crew, quality))


def show(
    known: dict[int, npt.NDArray[np.integer[Any]]], grid: Grid, crew: Crew, quality: float
) -> Samples:
    """All pixels (H, W, 3), uint8, of the tiles' latents (in 1/64)."""
    picture = np.zeros((grid.height, grid.width, 3), np.uint8)
    latents: dict[int, npt.NDArray[np.integer[Any]] | None] = dict(known)
    for row in grid.blocks(grid.picture):
        shown = crew.map(lambda box: synthesise(box, grid, latents, crew.nets, quality), row)
        for box, samples in zip(row, shown, strict=True):
            picture[box.y0 : box.y1, box.x0 : box.x1] = to_samples(samples, color_named("RGB"))
    return picture


def interpolate(
    a: Picture | Image.Image | Samples,
    b: Picture | Image.Image | Samples,
    steps: int = 8,
    quality: float = 50,
    *,
    model: str | None = None,
    threads: int = 0,
) -> list[Image.Image]:
    """Pictures (RGB) on the straight line between two pictures' latents, both ends included.

    The pictures must have the same size, at most 4 megapixels. Raises ImageError, VaecodecError.
    """
    first, second = as_picture(a), as_picture(b)
    if (first.width, first.height) != (second.width, second.height):
        raise ImageError(
            f"the pictures' sizes differ: {first.width} x {first.height} and {second.width} x {second.height}"
        )
    check_size(first.width, first.height, LARGEST)
    if not 2 <= steps <= 1000:
        raise VaecodecError(f"steps must be between 2 and 1000, not {steps}")
    quality = check_quality(quality)
    nets = Crew(model, threads, False).nets
    whole = padded(Box(0, 0, first.width, first.height), CELL_Z)
    start, end = (nets.analyse(picture.samples(whole), quality) for picture in (first, second))
    frames = []
    for share in np.linspace(0, 1, steps, dtype=np.float32):
        samples = nets.synthesise(
            np.rint((start * (1 - share) + end * share) * Y_FRACTION), quality
        )
        frames.append(
            Image.fromarray(to_samples(samples[: first.height, : first.width], color_named("RGB")))
        )
    return frames
