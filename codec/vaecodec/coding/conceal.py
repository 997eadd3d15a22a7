"""Conceal damage: guess latents from their neighbours, paint tiles from the pixels around them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from vaecodec._arrays import F64, I32, U8
from vaecodec.image.box import Box
from vaecodec.image.canvas import Canvas

WIDE_TABLE = 26  # tables of y from this index on have a scale above 2


def smooth_guesses(y: I32, guessed: U8) -> None:
    """Replace guessed latents that may lie far from their mean by the mean of their neighbours.

    Args:
        y: The latents, shape (m, h, w). Changed in place.
        guessed: The index of the table of each guessed latent, 0 for the known ones.
    """
    for channel in np.flatnonzero((guessed >= WIDE_TABLE).any((1, 2))):
        known = guessed[channel] == 0
        total = np.zeros(known.shape)
        weight = np.zeros(known.shape)
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                nearness = 1 / (1 + dy * dy + dx * dx)
                total += nearness * _shifted(y[channel] * known, dy, dx)
                weight += nearness * _shifted(known, dy, dx)
        doubtful = (guessed[channel] >= WIDE_TABLE) & (weight > 0)
        y[channel][doubtful] = np.rint(total[doubtful] / weight[doubtful])


def _shifted(a: npt.NDArray[Any], dy: int, dx: int) -> npt.NDArray[Any]:
    """Return `a` (h, w) moved by up to two rows and columns, with zeros coming in."""
    h, w = a.shape
    return np.pad(a, 2)[2 + dy : 2 + dy + h, 2 + dx : 2 + dx + w]


def fill_boxes(canvas: Canvas, boxes: list[Box], channels: slice) -> bool:
    """Paint some channels of each box from the lines of pixels around it, weighted by nearness.

    A box without an intact neighbour waits until others are painted.

    Returns:
        False if nothing around any box is intact.
    """
    whole = Box(0, 0, *canvas.size)
    waiting = list(boxes)
    while waiting:
        ready = {}
        for box in waiting:
            sides = _intact_sides(box, whole, waiting)
            if sides:
                ready[box] = sides
        if not ready:
            return False
        for box, sides in ready.items():
            _fill_box(canvas, box, sides, channels)
        waiting = [box for box in waiting if box not in ready]
    return True


def _fill_box(canvas: Canvas, box: Box, sides: list[tuple[Box, F64]], channels: slice) -> None:
    total: F64 = np.zeros(1)
    weights = np.zeros((box.height, box.width, 1))
    for line, weight in sides:
        total = total + canvas.get(line)[:, :, channels].astype(float) * weight
        weights = weights + weight
    painted = canvas.get(box).copy()
    painted[:, :, channels] = np.rint(total / weights)
    canvas.put(box.x0, box.y0, painted)


def _intact_sides(box: Box, whole: Box, damaged: list[Box]) -> list[tuple[Box, F64]]:
    """Return the intact lines of pixels around a box, and their weights: 1 over the distance."""
    down = 1 / np.arange(1, box.height + 1)[:, None, None]
    right = 1 / np.arange(1, box.width + 1)[None, :, None]
    sides = [
        (Box(box.x0, box.y0 - 1, box.x1, box.y0), down),
        (Box(box.x0, box.y1, box.x1, box.y1 + 1), down[::-1]),
        (Box(box.x0 - 1, box.y0, box.x0, box.y1), right),
        (Box(box.x1, box.y0, box.x1 + 1, box.y1), right[:, ::-1]),
    ]
    return [
        (line, weight)
        for line, weight in sides
        if line.within(whole) == line and not any(line.meets(other) for other in damaged)
    ]
