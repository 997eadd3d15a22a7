"""Pictures in memory, as the encoder takes them."""

import os
import warnings
from typing import BinaryIO

import numpy as np
from PIL import Image

from vaecodec._arrays import Samples
from vaecodec.errors import ImageError
from vaecodec.format.color import Color, color_named
from vaecodec.format.container import MAX_PIXELS
from vaecodec.image.box import Box
from vaecodec.image.limits import check_size
from vaecodec.image.modes import COLOR_OF_MODE, PlainImage, plain_image

ImageSource = Image.Image | Samples | str | os.PathLike[str] | BinaryIO


class Picture:
    """A picture to encode. Its samples are read box by box, so large pictures are not copied.

    Args:
        source: A PIL image, an array, or an image file (a path or an open binary file). Arrays are
            uint8 or uint16 and have shape (H, W) or (H, W, channels). One channel is grey, two are
            grey and alpha, three are RGB, four are RGB and alpha.
        max_pixels: Refuse pictures with more pixels than this.
        exif: Replaces the EXIF of the image.

    Attributes:
        source: A PIL image in a mode of a `Color`, or an array (H, W, channels). It is upright.
        color: Layout of the samples.
        width: Width in pixels.
        height: Height in pixels.
        metadata: icc_profile, exif and xmp, those that the image has.
        notes: One sentence for each thing that had to be changed, such as a conversion from CMYK.

    Raises:
        ImageError: If the picture cannot be read or represented. The message names the path.
        OSError: If the path cannot be opened.

    Example:
        >>> picture = Picture(np.zeros((32, 48, 3), np.uint8))
        >>> picture.width, picture.height, picture.color.name
        (48, 32, 'RGB')
    """

    def __init__(
        self,
        source: ImageSource,
        max_pixels: int = MAX_PIXELS,
        exif: bytes | Image.Exif | None = None,
    ):
        plain = _plain(source, max_pixels, exif)
        self.metadata = plain.metadata
        self.notes = plain.notes
        self.source = plain.pixels
        self.color: Color
        if isinstance(self.source, Image.Image):
            self.color = COLOR_OF_MODE[self.source.mode]
            self.width, self.height = self.source.size
        else:
            self.source, self.color = _array_and_color(self.source)
            self.height, self.width = self.source.shape[:2]
        check_size(self.width, self.height, max_pixels)

    def samples(self, box: Box) -> Samples:
        """Return the colours of a box as (h, w, 3): red, green and blue, or three times grey.

        8-bit samples are uint8, 16-bit samples become float32 between 0 and 255. Where the box
        extends beyond the right and lower edges of the picture, the last column and row are
        repeated.
        """
        inside = box.within(Box(0, 0, self.width, self.height))
        array = crop_samples(self.source, inside)[:, :, : self.color.color_channels]
        if array.dtype == np.uint16:
            array = array.astype(np.float32) / np.float32(257)
        if self.color.is_grey:
            array = np.repeat(array, 3, axis=2)
        below = box.y1 - inside.y1
        right = box.x1 - inside.x1
        if below or right:
            array = np.pad(array, ((0, below), (0, right), (0, 0)), mode="edge")
        return np.ascontiguousarray(array)

    def colors(self) -> Samples:
        """Return the whole picture without alpha: (H, W) for grey, else (H, W, 3)."""
        array = crop_samples(self.source, Box(0, 0, self.width, self.height))
        return array[:, :, 0] if self.color.is_grey else array[:, :, :3]

    def alpha(self, box: Box) -> Samples:
        """Return the alpha (h, w), uint8 or uint16, of a box that lies inside the picture."""
        return crop_samples(self.source, box)[:, :, -1]


def as_picture(
    source: Picture | ImageSource,
    max_pixels: int = MAX_PIXELS,
    exif: bytes | Image.Exif | None = None,
    stacklevel: int = 3,
) -> Picture:
    """Return `source` as a `Picture` and warn of each change that this requires (UserWarning).

    Args:
        source: A Picture, which is returned unchanged, or whatever `Picture` takes.
        max_pixels: Refuse pictures with more pixels than this.
        exif: Replaces the EXIF of the image.
        stacklevel: As for `warnings.warn`. The default is the caller of the caller.

    Returns:
        The picture.

    Raises:
        ImageError: If the picture cannot be read or represented. The message names the path.
        OSError: If the path cannot be opened.
    """
    if isinstance(source, Picture):
        return source
    picture = Picture(source, max_pixels, exif)
    for note in picture.notes:
        warnings.warn(note, stacklevel=stacklevel)
    return picture


def crop_samples(source: Image.Image | Samples, box: Box) -> Samples:
    """Return a box of a PIL image or of an array (H, W, channels) as (h, w, channels)."""
    if isinstance(source, Image.Image):
        array = np.asarray(source.crop((box.x0, box.y0, box.x1, box.y1)))
        return array[:, :, None] if array.ndim == 2 else array
    return source[box.y0 : box.y1, box.x0 : box.x1]


def _plain(source: ImageSource, max_pixels: int, exif: bytes | Image.Exif | None) -> PlainImage:
    if isinstance(source, Image.Image):
        check_size(*source.size, max_pixels)
        return plain_image(source, exif)
    if isinstance(source, np.ndarray):
        return PlainImage(source, {}, [])
    if isinstance(source, (str, os.PathLike)) or hasattr(source, "read"):
        from vaecodec.image.files import read_plain_image  # that module needs Picture

        return read_plain_image(source, max_pixels, exif)
    return PlainImage(np.asarray(source), {}, [])


def _array_and_color(array: Samples) -> tuple[Samples, Color]:
    """Return the array as (H, W, channels), and its color. Raises ImageError."""
    if array.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"arrays must be uint8 or uint16, not {array.dtype}")
    shape = array.shape
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or not 1 <= array.shape[2] <= 4:
        raise ImageError(f"arrays must have shape (H, W) or (H, W, 1 to 4), not {shape}")
    name = ("L", "LA", "RGB", "RGBA")[array.shape[2] - 1]
    return array, color_named(name if array.dtype == np.uint8 else f"{name}16")
