"""Where tiles lie and how they are padded to what the networks take."""
import numpy as np
import numpy.typing as npt

CELL_Y, CELL_Z = 16, 64  # pixels a side of one cell of y and of z


def cells(pixels: int, cell: int) -> int:
    """How many cells cover so many pixels."""
    return -(-pixels // cell)


def pad(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) -> the same with both sides padded to multiples of 64 by repeating the last row and column."""
    rows, columns = (cells(side, CELL_Z) * CELL_Z - side for side in image.shape[:2])
    return np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="edge") if rows or columns else image
