"""Conversion of Pillow's modes to those that a .vae file can hold."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from vaecodec._arrays import Samples
from vaecodec.errors import ImageError
from vaecodec.format.color import COLORS
from vaecodec.image.alpha import add_alpha
from vaecodec.image.metadata import image_upright, read_metadata

COLOR_OF_MODE = {color.pillow_mode: color for color in COLORS if color.pillow_mode}
CONVERTED_MODES = {
    "1": "L",
    "YCbCr": "RGB",
    "La": "LA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "I;16B": "I;16",
    "I;16L": "I;16",
}


class PlainImage(NamedTuple):
    """An upright image in a mode of COLOR_OF_MODE, or an array (H, W, channels), and its metadata.

    metadata: icc_profile, exif, xmp. notes: One sentence for each thing that had to be changed.
    """

    pixels: Image.Image | Samples
    metadata: dict[str, bytes]
    notes: list[str]

    @property
    def depth(self) -> int:
        """Bits per sample: 8 or 16."""
        if isinstance(self.pixels, Image.Image):
            return COLOR_OF_MODE[self.pixels.mode].depth
        return 8 * self.pixels.dtype.itemsize


def plain_image(image: Image.Image, exif: bytes | Image.Exif | None = None) -> PlainImage:
    """Turn an image upright and convert its mode. `exif` replaces the image's own EXIF.

    Raises ImageError if no mode of COLOR_OF_MODE can represent the image.
    """
    image.load()  # turns TIFF images upright and corrects their EXIF
    transparent = image.info.get("transparency")
    metadata, orientation, notes = read_metadata(image, exif)
    image = image_upright(image, orientation)
    if image.mode == "CMYK":
        image, note = _cmyk_to_rgb(image, metadata.pop("icc_profile", None))
        notes.append(note)
    pixels = _convert(image, transparent)
    if isinstance(pixels, Image.Image) and pixels.mode not in COLOR_OF_MODE:
        raise ImageError(
            f"images of mode {pixels.mode} are not supported; convert to RGB or L (grey) first"
        )
    return PlainImage(pixels, metadata, notes)


def _convert(image: Image.Image, transparent: object) -> Image.Image | Samples:
    """Convert modes for which there is a rule. `transparent`: Pillow's info["transparency"]."""
    if image.mode in ("P", "PA"):
        return image.convert("RGB" if image.mode == "P" and transparent is None else "RGBA")
    if transparent is not None:
        if image.mode in ("1", "L", "I;16"):
            grey = np.asarray(image.convert("L") if image.mode == "1" else image)
            return add_alpha(grey[:, :, None], (transparent,))  # type: ignore[arg-type]  # an int
        if image.mode == "RGB":
            return image.convert("RGBA")
    if image.mode == "I":
        lowest, highest = image.getextrema()
        if lowest >= 0 and highest < 2**16:  # type: ignore[operator]  # numbers in this mode
            return Image.fromarray(np.asarray(image).astype(np.uint16))
    if image.mode in CONVERTED_MODES:
        return image.convert(CONVERTED_MODES[image.mode])
    return image


def _cmyk_to_rgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str]:
    """Return the image in RGB, and a note that says how it was converted.

    The colour profile is used if there is a valid one, else Pillow's plain formula.
    """
    from PIL import ImageCms

    if profile is not None:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            assert converted is not None
            return converted, "its CMYK colours are converted to sRGB by their profile"
        except (ImageCms.PyCMSError, OSError):
            pass
    return image.convert("RGB"), "its CMYK colours are converted to RGB without a profile"
