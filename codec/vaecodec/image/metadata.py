"""Colour profile, EXIF and XMP of images, and the orientation that EXIF asks for."""

import re
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.Image import Transpose

from vaecodec._arrays import Samples
from vaecodec.format.container import METADATA_NAMES, with_exif_prefix

NAMES = tuple(METADATA_NAMES.values())  # icc_profile, exif, xmp
ORIENTATION = 0x0112
# The tags of a TIFF file that EXIF has too: description, make, model, orientation, resolution,
# software, date, artist, copyright, and the pointers to the Exif and GPS directories.
EXIF_TAGS_OF_TIFF = {270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 33432, 0x8769, 0x8825}
XMP_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)\d")


class Turn(NamedTuple):
    """How to turn pixels upright: Pillow's name of the operation, and the same for arrays."""

    transpose: Transpose
    turn_array: Callable[[Samples], Samples]


TURNS = {
    2: Turn(Transpose.FLIP_LEFT_RIGHT, lambda a: a[:, ::-1]),
    3: Turn(Transpose.ROTATE_180, lambda a: a[::-1, ::-1]),
    4: Turn(Transpose.FLIP_TOP_BOTTOM, lambda a: a[::-1]),
    5: Turn(Transpose.TRANSPOSE, lambda a: a.swapaxes(0, 1)),
    6: Turn(Transpose.ROTATE_270, lambda a: np.rot90(a, -1)),
    7: Turn(Transpose.TRANSVERSE, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
    8: Turn(Transpose.ROTATE_90, lambda a: np.rot90(a)),
}  # by EXIF orientation; 1 is upright


def image_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image turned upright from an EXIF orientation."""
    turn = TURNS.get(orientation)
    return image if turn is None else image.transpose(turn.transpose)


def array_upright(array: Samples, orientation: int) -> Samples:
    """Return an array (H, W, channels) turned upright from an EXIF orientation, as a view."""
    turn = TURNS.get(orientation)
    return array if turn is None else turn.turn_array(array)


class ImageMetadata(NamedTuple):
    """The metadata of an image.

    blocks: icc_profile, exif and xmp, those that the image has. Their orientation is 1 (upright).
    orientation: The EXIF orientation that the pixels have, 1 to 8.
    notes: One sentence for each thing that is left out.
    """

    blocks: dict[str, bytes]
    orientation: int
    notes: list[str]


def read_metadata(image: Image.Image, exif: bytes | Image.Exif | None = None) -> ImageMetadata:
    """Return the metadata of an image. `exif` replaces the image's own EXIF."""
    notes = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        notes.append(f"only the first of its {frames} frames or pages is kept")
    blocks: dict[str, bytes] = {}
    for name in NAMES:
        data = image.info.get(name)
        if isinstance(data, (bytes, str)) and data:
            blocks[name] = data.encode() if isinstance(data, str) else data
    if "xmp" in blocks:
        blocks["xmp"] = XMP_ORIENTATION.sub(rb"\g<1>1", blocks["xmp"])
    if exif is not None:
        blocks["exif"] = exif if isinstance(exif, bytes) else exif.tobytes()
    orientation = 1
    try:
        tags = Image.Exif()
        with warnings.catch_warnings(action="ignore"):
            tags.load(image.getexif().tobytes() if exif is None else blocks["exif"])
        orientation = tags.get(ORIENTATION, 1)
        if exif is None and image.format == "TIFF":
            for tag in set(tags) - EXIF_TAGS_OF_TIFF:
                del tags[tag]
        if orientation != 1:
            tags[ORIENTATION] = 1
        if tags and (orientation != 1 or "exif" not in blocks):
            blocks["exif"] = tags.tobytes()
    except Exception:  # Pillow's parser raises many types of exceptions for damaged EXIF
        notes.append("its EXIF is damaged and is left out")
        blocks.pop("exif", None)
        orientation = 1
    if blocks.get("exif"):
        blocks["exif"] = with_exif_prefix(blocks["exif"])
    return ImageMetadata(blocks, orientation, notes)
