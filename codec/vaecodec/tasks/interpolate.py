"""Interpolate between two pictures in latent space."""

import numpy as np
from PIL import Image

from vaecodec.coding.session import start_session
from vaecodec.coding.tiling import CELL_Z, pad_to_cells
from vaecodec.errors import ImageError, ParameterError
from vaecodec.format.color import color_named
from vaecodec.image.canvas import to_samples
from vaecodec.image.picture import ImageSource, Picture, as_picture
from vaecodec.spec import DEFAULT_QUALITY, Y_FRACTION

MAX_INTERPOLATE_PIXELS = 2**22  # the pictures go through the networks in one piece
MAX_FRAMES = 1000


def interpolate(
    first: Picture | ImageSource,
    last: Picture | ImageSource,
    frames: int = 8,
    quality: float = DEFAULT_QUALITY,
    *,
    model: str | None = None,
    threads: int = 0,
) -> list[Image.Image]:
    """Return pictures on the straight line between two pictures' latents.

    Args:
        first: A picture of at most 4 megapixels, as for `encode`.
        last: A picture of the same size.
        frames: Number of pictures, both ends included, 2 to 1000.
        quality: 1 to 100: the quality of the model.
        model: Id or folder of a model. None is the default model.
        threads: Number of threads. 0 is one per core.

    Returns:
        RGB images.

    Raises:
        ImageError: The sizes differ or are too large.
        ModelError: The model is missing or damaged.
        ParameterError: An argument is out of range.

    Example:
        >>> len(vaecodec.interpolate("photo.png", "photo.png", frames=3))
        3
    """
    start = as_picture(first)
    end = as_picture(last)
    if (start.width, start.height) != (end.width, end.height):
        raise ImageError(
            f"the pictures' sizes differ: {start.width} x {start.height} "
            f"and {end.width} x {end.height}"
        )
    if not 2 <= frames <= MAX_FRAMES:
        raise ParameterError(f"frames must be between 2 and {MAX_FRAMES}, not {frames}")
    session = start_session(
        start.width,
        start.height,
        quality,
        max_pixels=MAX_INTERPOLATE_PIXELS,
        model=model,
        threads=threads,
        concurrent=False,
    )
    nets = session.nets
    area = pad_to_cells(session.grid.picture, CELL_Z)
    start_y = nets.analyse(start.samples(area), session.quality)
    end_y = nets.analyse(end.samples(area), session.quality)
    images = []
    for share in np.linspace(0, 1, frames, dtype=np.float32):
        y = np.rint((start_y * (1 - share) + end_y * share) * Y_FRACTION)
        samples = nets.synthesise(y, session.quality)[: start.height, : start.width]
        images.append(Image.fromarray(to_samples(samples, color_named("RGB"))))
    return images
