"""The limit on the size of a picture."""

from vaecodec.errors import ImageError


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise ImageError if there are no pixels or more than `max_pixels`."""
    if width < 1 or height < 1:
        raise ImageError(f"the image is empty ({width} x {height})")
    if width * height > max_pixels:
        raise ImageError(f"{width} x {height} pixels exceed the limit of {max_pixels}")
