"""What pictures are decoded into."""

import numpy as np
from PIL import Image

from vaecodec.image.box import Box
from vaecodec.image.picture import PLAIN_MODES, Samples, cut


def finished(samples: Samples, color: str) -> Samples:
    """(h, w, 3) floats of 0 to 255, which are overwritten -> (h, w, 1 or 3) of the color's depth; grey is the three's mean."""
    top = 65535 if color.endswith("16") else 255
    if "RGB" not in color:
        samples = samples.mean(2, keepdims=True, dtype=np.float32)
    if top != 255:
        samples *= np.float32(top / 255)
    np.clip(np.rint(samples, out=samples), 0, top, out=samples)
    return samples.astype(np.uint16 if top == 65535 else np.uint8)


def reduced(samples: Samples, scale: int) -> Samples:
    """(h, w) -> rounded means of squares of scale x scale; the last ones repeat the edge."""
    h, w = samples.shape
    padded = np.pad(samples, ((0, -h % scale), (0, -w % scale)), mode="edge")
    squares = padded.reshape(padded.shape[0] // scale, scale, padded.shape[1] // scale, scale)
    means: Samples = np.rint(squares.mean((1, 3), dtype=np.float32)).astype(samples.dtype)
    return means


class Canvas:
    """What is decoded into: a PIL image, or an array (H, W, channels) for colours that Pillow has no mode for."""

    def __init__(self, width: int, height: int, color: str, array: bool):
        modes = {color: mode for mode, color in PLAIN_MODES.items()}
        self.image = (
            None if array or color not in modes else Image.new(modes[color], (width, height))
        )
        self.size = width, height
        channels = (3 if "RGB" in color else 1) + ("A" in color)
        kind = np.uint16 if color.endswith("16") else np.uint8
        self.array = np.zeros((height, width, channels), kind) if self.image is None else None

    @property
    def content(self) -> Image.Image | Samples:
        """The PIL image, or the array."""
        if self.image is not None:
            return self.image
        assert self.array is not None
        return self.array

    def put(self, x: int, y: int, samples: Samples) -> None:
        """samples: (h, w, channels)."""
        if self.image is not None:
            plane = samples[:, :, 0] if samples.shape[2] == 1 else samples
            self.image.paste(Image.fromarray(np.ascontiguousarray(plane)), (x, y))
        elif self.array is not None:
            self.array[y : y + samples.shape[0], x : x + samples.shape[1]] = samples

    def get(self, box: Box) -> Samples:
        """(h, w, channels) of a box."""
        return cut(self.content, box)


def fill(canvas: Canvas, boxes: list[Box], channels: slice) -> bool:
    """Paint some channels of each box from the lines around it, weighted by their nearness; boxes with no good neighbour yet
    wait for others. False where nothing is good."""
    waiting, whole = list(boxes), Box(0, 0, *canvas.size)
    while waiting:
        ready = [
            box for box in waiting if any(_good(line, whole, waiting) for line, _ in _sides(box))
        ]
        if not ready:
            return False
        for box in ready:
            total, weights = np.zeros(1), np.zeros((box.height, box.width, 1))
            for line, weight in _sides(box):
                if _good(line, whole, waiting):
                    total = total + canvas.get(line)[:, :, channels].astype(float) * weight
                    weights = weights + weight
            painted = canvas.get(box).copy()
            painted[:, :, channels] = np.rint(total / weights)
            canvas.put(box.x0, box.y0, painted)
        waiting = [box for box in waiting if box not in ready]
    return True


def _good(line: Box, whole: Box, bad: list[Box]) -> bool:
    return line.within(whole) == line and not any(line.meets(box) for box in bad)


def _sides(box: Box) -> list[tuple[Box, Samples]]:
    """The lines of pixels around a box, each with its weight in the box, one over the distance."""
    down = 1 / np.arange(1, box.height + 1)[:, None, None]
    right = 1 / np.arange(1, box.width + 1)[None, :, None]
    return [
        (Box(box.x0, box.y0 - 1, box.x1, box.y0), down),
        (Box(box.x0, box.y1, box.x1, box.y1 + 1), down[::-1]),
        (Box(box.x0 - 1, box.y0, box.x0, box.y1), right),
        (Box(box.x1, box.y0, box.x1 + 1, box.y1), right[:, ::-1]),
    ]
