"""Pillow plugin: after `import vaecodec.pillow`, Image.open reads .vae files and Image.save writes them."""

from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageFile

from vaecodec.api import decode_canvas, encode
from vaecodec.errors import FormatError, VaecodecError
from vaecodec.format.container import SIGNATURE
from vaecodec.format.reader import Reader
from vaecodec.image.picture import as_picture

OPTIONS = ("quality", "bpp", "size", "psnr", "effort", "progressive", "strip", "model", "threads")


def _accept(prefix: bytes) -> bool:
    return prefix[:4] == SIGNATURE


class VaeImageFile(ImageFile.ImageFile):
    """A .vae file. Opening reads headers and metadata; pixels are decoded by load(), or by crop() those of a region alone.

    info: quality, model, and icc_profile, exif, xmp where the file has them. Colours of 16 bits a sample, for which Pillow has
    no mode, are rounded to 8, as Pillow's own plugins do.
    """

    format = "VAE"
    format_description = "vaecodec image"

    def _open(self) -> None:
        try:
            reader = Reader(cast(BinaryIO, self.fp), tolerant=True)
        except FormatError as error:
            raise SyntaxError(str(error)) from None
        header = reader.header
        self.info.update(
            reader.metadata([])
        )  # as with every plugin, it is load() that says what is damaged
        self._mode = cast(str, header.color.pillow_mode or header.color.as_8_bit.pillow_mode)
        self._size = header.width, header.height
        self.info.update(quality=header.quality, model=header.model)
        self._scale: int | None = 1  # None: the pixels are there

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Before load(): let it decode the picture at 1/2, 1/4 or 1/8, the smallest that is at least of `size`."""
        if self._scale != 1 or size is None:
            return None
        scale = next(
            (s for s in (8, 4, 2) if self.width >= s * size[0] and self.height >= s * size[1]), 1
        )
        if scale == 1:
            return None
        box = (0, 0, self.width / scale, self.height / scale)
        self._scale, self._size = scale, (-(-self.width // scale), -(-self.height // scale))
        return self.mode, box

    def load(self) -> Any:
        if self._scale is not None:
            image = self._decode(None)
            self.im, self._scale = image.im, None
            if getattr(self, "_exclusive_fp", False) and self.fp is not None:
                self.fp.close()
            self.fp = None
        return Image.Image.load(self)

    def load_prepare(self) -> None:
        """Nothing: load() above does it all."""

    def crop(self, box: tuple[float, float, float, float] | None = None) -> Image.Image:
        if box is not None and self._scale == 1:
            x0, y0, x1, y1 = (round(side) for side in box)
            if 0 <= x0 < x1 <= self.width and 0 <= y0 < y1 <= self.height:
                return self._decode((x0, y0, x1 - x0, y1 - y0))
        return super().crop(box)

    def verify(self) -> None:
        """Every checksum of the file. Raises OSError."""
        if self.fp is None:
            raise RuntimeError("verify must be called directly after open")
        try:
            reader = Reader(cast(BinaryIO, self.fp))
            reader.check_counts()
            reader.check_all()
        except FormatError as error:
            raise OSError(str(error)) from None
        finally:
            if getattr(self, "_exclusive_fp", False):
                self.fp.close()
            self.fp = None

    def _decode(self, region: tuple[int, int, int, int] | None) -> Image.Image:
        if self.fp is None:
            raise ValueError("the file of this image is closed")
        try:
            canvas, info = decode_canvas(
                cast(BinaryIO, self.fp),
                region=region,
                scale=self._scale or 1,
                best_effort=ImageFile.LOAD_TRUNCATED_IMAGES,
            )
        except VaecodecError as error:
            raise OSError(str(error)) from None
        image = canvas.content
        if not isinstance(image, Image.Image):
            image = Image.fromarray(np.rint(image / 257).astype(np.uint8))
        image.info.update(info)
        return image

    def __setstate__(self, state: list[Any]) -> None:
        super().__setstate__(state)
        self._scale = None


def _save(image: Image.Image, fp: Any, filename: str | bytes) -> None:
    """Options: OPTIONS, as of vaecodec.encode, and icc_profile, exif, xmp; without these, what the image's info has is kept."""
    options: dict[str, Any] = image.encoderinfo
    try:
        picture = as_picture(image, exif=(options["exif"] or b"") if "exif" in options else None)
        picture.metadata |= {
            name: options[name] or b"" for name in ("icc_profile", "xmp") if name in options
        }
        fp.write(encode(picture, **{name: options[name] for name in OPTIONS if name in options}))
    except VaecodecError as error:
        raise OSError(str(error)) from None


Image.register_open(VaeImageFile.format, VaeImageFile, _accept)
Image.register_save(VaeImageFile.format, _save)
Image.register_extension(VaeImageFile.format, ".vae")
Image.register_mime(VaeImageFile.format, "image/x-vae")
