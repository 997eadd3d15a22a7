"""What every use of the networks on a picture begins with: limits, quality, tiles and threads."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from vaecodec.coding.tile_pool import TilePool
from vaecodec.coding.tiling import Grid, grid_of
from vaecodec.image.box import Box
from vaecodec.image.limits import check_size
from vaecodec.image.picture import ImageSource, Picture, as_picture
from vaecodec.model.networks import Networks
from vaecodec.spec import check_quality

R = TypeVar("R")


@dataclass(frozen=True)
class Session:
    """A picture's tiles, a quality, and the networks to work on them with.

    Attributes:
        grid: The tiles.
        quality: 1 to 100, in hundredths.
        pool: The networks and the threads.
    """

    grid: Grid
    quality: float
    pool: TilePool

    @property
    def nets(self) -> Networks:
        return self.pool.nets

    def map_tiles(self, work: Callable[[int, Box], R]) -> Iterator[R]:
        """Yield work(number, box) for each tile, in order, several at once."""
        return self.pool.map(lambda tile: work(tile, self.grid.box(tile)), self.grid.tiles)


def start_session(
    width: int,
    height: int,
    quality: float,
    *,
    max_pixels: int,
    model: str | None = None,
    threads: int = 0,
    concurrent: bool = True,
    tile_code: int | None = None,
) -> Session:
    """Check a picture's size and quality, and load the networks for it.

    Args:
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
        quality: 1 to 100.
        max_pixels: The largest picture that is accepted.
        model: Id or folder of a model. None is the default model.
        threads: Threads in all. 0 is one per core.
        concurrent: Work on several tiles at once where there are several.
        tile_code: The header's tile code. None is that of a new file.

    Raises:
        ImageError: The picture is empty or too large.
        ModelError: The model is missing or damaged.
        ParameterError: The quality or the number of threads is out of range.
    """
    check_size(width, height, max_pixels)
    quality = check_quality(quality)
    grid = grid_of(width, height, tile_code)
    pool = TilePool(model, threads, concurrent and len(grid.tiles) > 1)
    return Session(grid, quality, pool)


def start_picture_session(
    source: Picture | ImageSource,
    quality: float,
    *,
    max_pixels: int,
    model: str | None,
    threads: int,
    concurrent: bool = True,
) -> tuple[Picture, Session]:
    """Read a picture, as `as_picture` does, and start a session for it."""
    picture = as_picture(source, max_pixels, stacklevel=4)  # the caller of `encode` and its like
    session = start_session(
        picture.width,
        picture.height,
        quality,
        max_pixels=max_pixels,
        model=model,
        threads=threads,
        concurrent=concurrent,
    )
    return picture, session
