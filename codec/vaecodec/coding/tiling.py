"""Where the tiles of a picture lie, and which blocks of them go through the networks together."""

from collections.abc import Iterator
from dataclasses import dataclass

from vaecodec.image.box import Box

CELL_Y = 16  # side of one cell of y in pixels
CELL_Z = 64  # side of one cell of z in pixels
HALO = 5  # cells of y: how far the 3x3 convolutions of g_a or g_s see, through all their blocks
MAX_ONE_TILE_PIXELS = 2**20  # pictures up to this size are one tile, unless they are very thin
TILE_LOG2 = 9  # larger pictures have tiles of 512 x 512 pixels
BLOCK_TILES = 2  # tiles side by side that go through g_a and g_s together, to share their halo


def cell_count(pixels: int, cell: int) -> int:
    """Return how many cells of `cell` pixels cover a length in pixels."""
    return -(-pixels // cell)


def pad_to_cells(box: Box, cell: int) -> Box:
    """Return the smallest box of whole cells that contains `box`."""
    return Box(
        box.x0 // cell * cell,
        box.y0 // cell * cell,
        cell_count(box.x1, cell) * cell,
        cell_count(box.y1, cell) * cell,
    )


@dataclass(frozen=True)
class Grid:
    """The tiles of a picture, numbered in raster order.

    Attributes:
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
        side: Side of a tile in pixels. 0 means that the whole picture is one tile.
    """

    width: int
    height: int
    side: int

    @property
    def tile_log2(self) -> int:
        """The header's tile code: log2 of the side, or 0."""
        return self.side.bit_length() - 1 if self.side else 0

    @property
    def columns(self) -> int:
        return cell_count(self.width, self.side) if self.side else 1

    @property
    def rows(self) -> int:
        return cell_count(self.height, self.side) if self.side else 1

    @property
    def tiles(self) -> range:
        """The numbers of the tiles."""
        return range(self.columns * self.rows)

    @property
    def picture(self) -> Box:
        return Box(0, 0, self.width, self.height)

    def row_of(self, tile: int) -> int:
        return tile // self.columns

    def box(self, tile: int) -> Box:
        """Return the pixels of a tile, cut to the picture."""
        if not self.side:
            return self.picture
        row, column = divmod(tile, self.columns)
        x = column * self.side
        y = row * self.side
        return Box(x, y, min(x + self.side, self.width), min(y + self.side, self.height))

    def meeting(self, box: Box) -> list[int]:
        """Return the tiles that share pixels with a box inside the picture, in raster order."""
        if not self.side:
            return [0]
        rows = range(box.y0 // self.side, cell_count(box.y1, self.side))
        columns = range(box.x0 // self.side, cell_count(box.x1, self.side))
        return [row * self.columns + column for row in rows for column in columns]

    def blocks(self, area: Box) -> Iterator[list[Box]]:
        """Yield, for each row of tiles that `area` meets, its blocks, cut to `area`."""
        if not self.side:
            yield [area]
            return
        step = BLOCK_TILES * self.side
        for row in range(area.y0 // self.side, cell_count(area.y1, self.side)):
            top = row * self.side
            lefts = range(area.x0 // step * step, area.x1, step)
            yield [Box(x, top, x + step, top + self.side).within(area) for x in lefts]


def tile_log2(width: int, height: int) -> int:
    """Return the header's tile code for a new file of a picture of this size."""
    cells = cell_count(width, CELL_Z) * cell_count(height, CELL_Z)
    thin = cells * CELL_Z**2 > 2 * MAX_ONE_TILE_PIXELS  # cells of z would double the picture
    return TILE_LOG2 if thin or width * height > MAX_ONE_TILE_PIXELS else 0


def grid_of(width: int, height: int, tile: int | None = None) -> Grid:
    """Return the tiles of a picture by the header's tile code, by default that of a new file."""
    code = tile_log2(width, height) if tile is None else tile
    return Grid(width, height, 1 << code if code else 0)
