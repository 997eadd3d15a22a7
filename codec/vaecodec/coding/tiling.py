"""Where tiles lie, how they are grouped into blocks that the networks take, and how far a block looks beyond itself."""

from collections.abc import Iterator
from dataclasses import dataclass

from vaecodec.image.box import Box

CELL_Y, CELL_Z = 16, 64  # pixels a side of one cell of y and of z
HALO = (
    5  # cells of y: as far as a 3x3 convolution's view reaches through all blocks of g_a or of g_s
)
WHOLE = (
    2**20
)  # pictures of up to so many pixels are one tile, unless they are so thin that cells of z would double them
TILE_LOG2 = 9  # larger ones have tiles of 512 x 512
BLOCK_TILES = (
    2  # tiles side by side that go through g_a and g_s together: less halo for a little more memory
)


def cells(pixels: int, cell: int) -> int:
    """How many cells cover so many pixels."""
    return -(-pixels // cell)


def padded(box: Box, cell: int) -> Box:
    """The box grown to whole cells; its corner at the top left is that of a cell already, or becomes it."""
    return Box(
        box.x0 // cell * cell,
        box.y0 // cell * cell,
        cells(box.x1, cell) * cell,
        cells(box.y1, cell) * cell,
    )


@dataclass(frozen=True)
class Grid:
    """The tiles of a picture, in raster order. side: of a tile, in pixels; 0: one tile."""

    width: int
    height: int
    side: int

    @property
    def columns(self) -> int:
        return cells(self.width, self.side) if self.side else 1

    @property
    def rows(self) -> int:
        return cells(self.height, self.side) if self.side else 1

    @property
    def tiles(self) -> range:
        """The tiles' numbers."""
        return range(self.columns * self.rows)

    @property
    def picture(self) -> Box:
        return Box(0, 0, self.width, self.height)

    def box(self, tile: int) -> Box:
        """The pixels of a tile, inside the picture."""
        if not self.side:
            return self.picture
        row, column = divmod(tile, self.columns)
        x, y = column * self.side, row * self.side
        return Box(x, y, min(x + self.side, self.width), min(y + self.side, self.height))

    def meeting(self, box: Box) -> list[int]:
        """The tiles that share pixels with a box inside the picture, in raster order."""
        if not self.side:
            return [0]
        rows = range(box.y0 // self.side, cells(box.y1, self.side))
        columns = range(box.x0 // self.side, cells(box.x1, self.side))
        return [row * self.columns + column for row in rows for column in columns]

    def blocks(self, wanted: Box) -> Iterator[list[Box]]:
        """For each row of tiles that `wanted` meets: its blocks, cut to `wanted`."""
        if not self.side:
            yield [wanted]
            return
        step = BLOCK_TILES * self.side
        for row in range(wanted.y0 // self.side, cells(wanted.y1, self.side)):
            starts = range(wanted.x0 // step * step, wanted.x1, step)
            band = [Box(x, row * self.side, x + step, (row + 1) * self.side) for x in starts]
            yield [box.within(wanted) for box in band]


def tile_log2(width: int, height: int) -> int:
    """The header's tile code for a picture of this size."""
    whole = (
        width * height <= WHOLE
        and cells(width, CELL_Z) * cells(height, CELL_Z) * CELL_Z**2 <= 2 * WHOLE
    )
    return 0 if whole else TILE_LOG2


def grid_of(width: int, height: int, tile: int | None = None) -> Grid:
    """The tiles of a picture, by the header's tile code; None: by that of a new file."""
    code = tile_log2(width, height) if tile is None else tile
    return Grid(width, height, 1 << code if code else 0)
