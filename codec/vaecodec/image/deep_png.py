"""PNG files with 16 bits per sample and colour or alpha, which Pillow would round to 8 bits."""

import zlib
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from vaecodec._arrays import Samples
from vaecodec.format.container import strip_exif_prefix
from vaecodec.image.alpha import add_alpha
from vaecodec.image.limits import check_size
from vaecodec.image.metadata import array_upright, read_metadata
from vaecodec.image.modes import PlainImage


def read_deep_png(
    file: BinaryIO, max_pixels: int, exif: bytes | Image.Exif | None = None
) -> PlainImage:
    """Read a PNG file with pypng as an array (H, W, channels), uint16.

    pypng and Pillow raise many types of exceptions for damaged files.
    """
    import png

    image = Image.open(file)  # for the metadata; reads no pixels
    check_size(*image.size, max_pixels)
    metadata, orientation, notes = read_metadata(image, exif)
    file.seek(0)
    width, height, rows, info = png.Reader(file=file).read()
    array = np.empty((height, width, info["planes"]), np.uint16)
    for y, row in enumerate(rows):
        array[y] = np.frombuffer(row, np.uint16).reshape(width, -1)
    if info.get("transparent"):
        array = add_alpha(array, info["transparent"])
    return PlainImage(array_upright(array, orientation), metadata, notes)


def write_deep_png(array: Samples, out: BinaryIO, metadata: dict[str, Any]) -> None:
    """Write an array (H, W, channels), uint16, with its icc_profile, exif and xmp.

    Raises OSError.
    """
    import png

    class Writer(png.Writer):  # type: ignore[misc]  # pypng has no types
        """Adds the metadata, which pypng itself does not write."""

        def write_preamble(self, outfile: BinaryIO) -> None:
            super().write_preamble(outfile)
            if metadata.get("icc_profile"):
                profile = zlib.compress(metadata["icc_profile"])
                png.write_chunk(outfile, b"iCCP", b"ICC Profile\0\0" + profile)
            if metadata.get("exif"):
                png.write_chunk(outfile, b"eXIf", strip_exif_prefix(metadata["exif"]))
            if metadata.get("xmp"):
                png.write_chunk(outfile, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata["xmp"])

    height, width, channels = array.shape
    writer = Writer(width, height, greyscale=channels < 3, alpha=channels in (2, 4), bitdepth=16)
    writer.write(out, (row.reshape(-1) for row in array))
