"""Rectangles of pixels."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: columns x0 to x1 and rows y0 to y1, without x1 and y1 themselves."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0

    def meets(self, other: "Box") -> bool:
        """Whether the two share pixels."""
        return (
            self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1
        )

    def within(self, other: "Box") -> "Box":
        """Return the part that both cover."""
        return Box(
            max(self.x0, other.x0),
            max(self.y0, other.y0),
            min(self.x1, other.x1),
            min(self.y1, other.y1),
        )

    def grown(self, by: int) -> "Box":
        """Return the box enlarged by a number of pixels on each side."""
        return Box(self.x0 - by, self.y0 - by, self.x1 + by, self.y1 + by)

    def slices_in(self, whole: "Box", cell: int = 1) -> tuple[slice, slice]:
        """Return the rows and columns of this box in an array that covers `whole`.

        The array has one row and column per `cell` pixels, and both boxes lie on its grid.
        """
        rows = slice((self.y0 - whole.y0) // cell, (self.y1 - whole.y0) // cell)
        columns = slice((self.x0 - whole.x0) // cell, (self.x1 - whole.x0) // cell)
        return rows, columns
