"""Arrays of samples."""

from typing import Any

import numpy.typing as npt

from vaecodec.errors import ImageError

Samples = npt.NDArray[Any]  # uint8 or uint16


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise ImageError if there are no pixels or more than `max_pixels`."""
    if width == 0 or height == 0:
        raise ImageError(f"the image is empty ({width} x {height})")
    if width * height > max_pixels:
        raise ImageError(f"{width} x {height} pixels exceed the limit of {max_pixels}")
