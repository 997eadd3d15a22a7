"""Pillow plugin: after `import vaecodec.pillow`, Pillow opens and saves .vae files.

Example:
    >>> import vaecodec.pillow
    >>> from PIL import Image
    >>> Image.open("photo.vae").crop((0, 0, 64, 64)).size
    (64, 64)
"""

from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageFile

from vaecodec.api import encode
from vaecodec.api import open as open_vae
from vaecodec.coding.vae_file import Region
from vaecodec.errors import FormatError, VaecodecError
from vaecodec.format.color import Color
from vaecodec.format.container import SIGNATURE
from vaecodec.format.reader import Reader
from vaecodec.image.picture import as_picture

ENCODE_OPTIONS = (
    "quality",
    "bpp",
    "size",
    "psnr",
    "effort",
    "progressive",
    "strip",
    "model",
    "threads",
)


def _accept(prefix: bytes) -> bool:
    return prefix[:4] == SIGNATURE


def _mode_of(color: Color) -> str:
    """Return the mode for a colour. 16-bit colours, which Pillow has no mode for, become 8-bit."""
    return color.pillow_mode or color.as_8_bit.name


class VaeImageFile(ImageFile.ImageFile):
    """A .vae file.

    Opening it reads the header and the metadata. `load` decodes the pixels, and `crop` decodes
    those of a region alone. 16-bit colours are rounded to 8 bits, as by Pillow's own plugins.

    `info` has `quality` and `model`, and `icc_profile`, `exif` and `xmp` where the file has them.
    """

    format = "VAE"
    format_description = "vaecodec image"

    def _open(self) -> None:
        try:
            reader = Reader(cast(BinaryIO, self.fp), tolerant=True)
        except FormatError as error:
            raise SyntaxError(str(error)) from None
        header = reader.header
        # As with every plugin, it is load() that tells what is damaged.
        self.info.update(reader.metadata([]))
        self.info.update(quality=header.quality, model=header.model)
        self._mode = _mode_of(header.color)
        self._size = (header.width, header.height)
        self._scale: int | None = 1  # None once the pixels are loaded

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Let `load` decode the picture at the smallest of 1/2, 1/4 and 1/8 that covers `size`."""
        if self._scale != 1 or size is None:
            return None
        for scale in (8, 4, 2):
            if self.width >= scale * size[0] and self.height >= scale * size[1]:
                box = (0, 0, self.width / scale, self.height / scale)
                self._scale = scale
                self._size = (-(-self.width // scale), -(-self.height // scale))
                return self.mode, box
        return None

    def load(self) -> Any:
        if self._scale is not None:
            image = self._decode(None)
            self.im = image.im
            self._scale = None
            self._close_file()
        return Image.Image.load(self)

    def _close_file(self) -> None:
        if getattr(self, "_exclusive_fp", False) and self.fp is not None:
            self.fp.close()
        self.fp = None

    def load_prepare(self) -> None:
        """Do nothing. `load` does all the work."""

    def crop(self, box: tuple[float, float, float, float] | None = None) -> Image.Image:
        """Return a region. Before `load`, only the tiles that it needs are decoded."""
        if box is not None and self._scale == 1:
            x0, y0, x1, y1 = (round(side) for side in box)
            if 0 <= x0 < x1 <= self.width and 0 <= y0 < y1 <= self.height:
                return self._decode((x0, y0, x1 - x0, y1 - y0))
        return super().crop(box)

    def verify(self) -> None:
        """Check every checksum of the file. Raise OSError if one is wrong."""
        if self.fp is None:
            raise RuntimeError("verify must be called directly after open")
        try:
            reader = Reader(cast(BinaryIO, self.fp))
            reader.check_counts()
            reader.check_all()
        except FormatError as error:
            raise OSError(str(error)) from None
        finally:
            self._close_file()

    def _decode(self, region: Region | None) -> Image.Image:
        if self.fp is None:
            raise ValueError("the file of this image is closed")
        scale = self._scale or 1
        try:
            with open_vae(
                cast(BinaryIO, self.fp), tolerant=ImageFile.LOAD_TRUNCATED_IMAGES
            ) as file:
                if file.header.color.pillow_mode is not None:
                    return file.read(region, scale)
                samples = np.rint(file.read_array(region, scale) / 257).astype(np.uint8)
                image = Image.fromarray(samples)
                image.info.update(file.info())
                return image
        except VaecodecError as error:
            raise OSError(str(error)) from None

    def __setstate__(self, state: list[Any]) -> None:
        super().__setstate__(state)
        self._scale = None


def _save(image: Image.Image, fp: Any, filename: str | bytes) -> None:
    """Save an image.

    Options are ENCODE_OPTIONS, as for `vaecodec.encode`, and icc_profile, exif and xmp. Without
    these three, those in the image's `info` are kept.
    """
    options: dict[str, Any] = image.encoderinfo
    try:
        exif = (options["exif"] or b"") if "exif" in options else None
        picture = as_picture(image, exif=exif)
        for name in ("icc_profile", "xmp"):
            if name in options:
                picture.metadata[name] = options[name] or b""
        chosen = {name: options[name] for name in ENCODE_OPTIONS if name in options}
        fp.write(encode(picture, **chosen))
    except VaecodecError as error:
        raise OSError(str(error)) from None


Image.register_open(VaeImageFile.format, VaeImageFile, _accept)
Image.register_save(VaeImageFile.format, _save)
Image.register_extension(VaeImageFile.format, ".vae")
Image.register_mime(VaeImageFile.format, "image/x-vae")
