"""Canvases: pictures in memory that the decoder fills box by box."""

import numpy as np
from PIL import Image

from vaecodec._arrays import Samples
from vaecodec.format.color import Color
from vaecodec.image.box import Box
from vaecodec.image.picture import crop_samples


def to_samples(values: Samples, color: Color) -> Samples:
    """Round (h, w, 3) float32 values of 0 to 255 to samples (h, w, 1 or 3) of the depth of `color`.

    Grey is the mean of the three channels. `values` may be overwritten.
    """
    if color.is_grey:
        values = values.mean(2, keepdims=True, dtype=np.float32)
    if color.peak != 255:
        values *= np.float32(color.peak / 255)
    np.clip(np.rint(values, out=values), 0, color.peak, out=values)
    return values.astype(color.dtype)


def reduce_plane(plane: Samples, scale: int) -> Samples:
    """Reduce (h, w) to the rounded means of squares of scale x scale samples.

    The last column and row are repeated to complete the squares at the right and lower edges.
    """
    h, w = plane.shape
    padded = np.pad(plane, ((0, -h % scale), (0, -w % scale)), mode="edge")
    squares = padded.reshape(padded.shape[0] // scale, scale, padded.shape[1] // scale, scale)
    means: Samples = np.rint(squares.mean((1, 3), dtype=np.float32)).astype(plane.dtype)
    return means


class ImageCanvas:
    """A PIL image to decode into. `color` must have a Pillow mode."""

    def __init__(self, width: int, height: int, color: Color):
        assert color.pillow_mode is not None
        self.content = Image.new(color.pillow_mode, (width, height))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.content.size

    def put(self, x: int, y: int, samples: Samples) -> None:
        """Put samples (h, w, channels) at a position."""
        plane = samples[:, :, 0] if samples.shape[2] == 1 else samples
        self.content.paste(Image.fromarray(np.ascontiguousarray(plane)), (x, y))

    def get(self, box: Box) -> Samples:
        """Return the samples (h, w, channels) of a box."""
        return crop_samples(self.content, box)


class ArrayCanvas:
    """An array (H, W, channels) to decode into, for any color."""

    def __init__(self, width: int, height: int, color: Color):
        self.content: Samples = np.zeros((height, width, color.channels), color.dtype)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        height, width = self.content.shape[:2]
        return width, height

    def put(self, x: int, y: int, samples: Samples) -> None:
        """Put samples (h, w, channels) at a position."""
        height, width = samples.shape[:2]
        self.content[y : y + height, x : x + width] = samples

    def get(self, box: Box) -> Samples:
        """Return the samples (h, w, channels) of a box, as a view."""
        return crop_samples(self.content, box)


Canvas = ImageCanvas | ArrayCanvas
