"""Painting damaged parts of a picture from the pixels around them."""

import numpy as np

from vaecodec.image.box import Box
from vaecodec.image.canvas import Canvas
from vaecodec.image.samples import Samples


def fill(canvas: Canvas, boxes: list[Box], channels: slice) -> bool:
    """Paint some channels of each box from the lines of pixels around it.

    The lines are weighted by their nearness. Boxes without an intact neighbour wait until other
    boxes are painted. Returns False if nothing is intact.
    """
    waiting = list(boxes)
    whole = Box(0, 0, *canvas.size)
    while waiting:
        ready = [
            box
            for box in waiting
            if any(_is_intact(line, whole, waiting) for line, _ in _lines_around(box))
        ]
        if not ready:
            return False
        for box in ready:
            _paint(canvas, box, channels, whole, waiting)
        waiting = [box for box in waiting if box not in ready]
    return True


def _paint(canvas: Canvas, box: Box, channels: slice, whole: Box, damaged: list[Box]) -> None:
    total = np.zeros(1)
    weights = np.zeros((box.height, box.width, 1))
    for line, weight in _lines_around(box):
        if _is_intact(line, whole, damaged):
            total = total + canvas.get(line)[:, :, channels].astype(float) * weight
            weights = weights + weight
    painted = canvas.get(box).copy()
    painted[:, :, channels] = np.rint(total / weights)
    canvas.put(box.x0, box.y0, painted)


def _is_intact(line: Box, whole: Box, damaged: list[Box]) -> bool:
    return line.within(whole) == line and not any(line.meets(box) for box in damaged)


def _lines_around(box: Box) -> list[tuple[Box, Samples]]:
    """Return the four lines of pixels around a box, with their weights (1/distance) in it."""
    down = 1 / np.arange(1, box.height + 1)[:, None, None]
    right = 1 / np.arange(1, box.width + 1)[None, :, None]
    return [
        (Box(box.x0, box.y0 - 1, box.x1, box.y0), down),
        (Box(box.x0, box.y1, box.x1, box.y1 + 1), down[::-1]),
        (Box(box.x0 - 1, box.y0, box.x0, box.y1), right),
        (Box(box.x1, box.y0, box.x1 + 1, box.y1), right[:, ::-1]),
    ]
