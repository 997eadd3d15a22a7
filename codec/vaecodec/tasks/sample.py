"""Sample pictures from the model's prior."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from vaecodec._arrays import I32, Integers
from vaecodec.coding.latents import decode_tile
from vaecodec.coding.session import start_session
from vaecodec.coding.synthesis import narrow_to_int16, render
from vaecodec.entropy.tables import Tables
from vaecodec.errors import ParameterError
from vaecodec.format.color import color_named
from vaecodec.image.canvas import to_samples
from vaecodec.spec import DEFAULT_QUALITY, SEGMENTS

MAX_SAMPLE_PIXELS = 2**25
MAX_TEMPERATURE = 10
MAX_SEED = 2**63 - 1


class Sampler:
    """A symbol source that draws each symbol with the probability that its table gives it.

    Args:
        seed: Seeds of the random generator.
        temperature: Probabilities are raised to 1 / temperature. 0 always takes the likeliest
            symbol.
    """

    def __init__(self, seed: list[int], temperature: float):
        self.random = np.random.default_rng(seed)
        self.temperature = temperature

    def decode(self, tables: Tables, index: Integers) -> I32:
        """Draw symbols (n,). `index` (n,) is the table of each symbol."""
        symbols = np.zeros(index.size, np.int32)
        for table in np.unique(index):
            members = np.flatnonzero(index == table)
            frequency = tables.frequencies[table]
            positions = self._draw(frequency, members.size)
            symbols[members] = positions - tables.half_width[table]
        return symbols

    def _draw(self, frequency: Integers, count: int) -> Integers:
        """Draw `count` positions in a table according to its frequencies."""
        if self.temperature == 0:
            return np.full(count, frequency.argmax())
        weight = (
            frequency
            if self.temperature == 1
            else np.power(frequency / frequency.max(), 1 / self.temperature)
        )
        ends = np.cumsum(weight)
        positions: Integers = np.searchsorted(
            ends, self.random.random(count) * ends[-1], side="right"
        )
        np.minimum(positions, frequency.size - 1, out=positions)
        return positions


def sample(
    width: int,
    height: int,
    seed: int = 0,
    quality: float = DEFAULT_QUALITY,
    temperature: float = 1.0,
    *,
    model: str | None = None,
    threads: int = 0,
) -> Image.Image:
    """Draw a picture from the model's prior.

    z is drawn from its tables, y step by step from the context model; g_s makes pixels of them.
    The picture has natural textures but no recognisable objects.

    Args:
        width: Width in pixels. The picture has at most 32 megapixels.
        height: Height in pixels.
        seed: The same seed gives the same latents on every machine at temperature 0 or 1. At
            other temperatures, probabilities are floats.
        quality: 1 to 100: the quality of the model to draw at.
        temperature: 0 to 10. Below 1, latents are likelier; above 1, stranger.
        model: Id or folder of a model. None is the default model.
        threads: Number of threads. 0 is one per core.

    Returns:
        An RGB image.

    Raises:
        ImageError: The size is not allowed.
        ModelError: The model is missing or damaged.
        ParameterError: An argument is out of range.

    Example:
        >>> vaecodec.sample(64, 48, seed=7).size
        (64, 48)
    """
    if not 0 <= temperature <= MAX_TEMPERATURE:
        raise ParameterError(f"temperature must be between 0 and 10, not {temperature:g}")
    if not 0 <= seed <= MAX_SEED:
        raise ParameterError(f"seed must be between 0 and 2^63 - 1, not {seed}")
    session = start_session(
        width, height, quality, max_pixels=MAX_SAMPLE_PIXELS, model=model, threads=threads
    )
    grid = session.grid

    def draw(tile: int) -> Integers:
        box = grid.box(tile)
        sources = [Sampler([seed, tile], temperature)] * SEGMENTS
        size = (box.height, box.width)
        return narrow_to_int16(decode_tile(session.nets, session.quality, size, sources).y)

    def draw_all(tiles: list[int]) -> Iterator[Integers]:
        return session.pool.map(draw, tiles)

    picture = np.zeros((height, width, 3), np.uint8)
    rgb = color_named("RGB")
    for box, samples in render(grid.picture, grid, session.pool, session.quality, draw_all):
        picture[box.y0 : box.y1, box.x0 : box.x1] = to_samples(samples, rgb)
    return Image.fromarray(picture)
