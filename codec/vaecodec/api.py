"""The public functions that turn pictures into .vae files and back."""

import math
from dataclasses import dataclass, replace

from PIL import Image

from vaecodec._arrays import Samples
from vaecodec.coding.encoder import encode_picture
from vaecodec.coding.session import Session, start_picture_session
from vaecodec.coding.targets import EncodeAt, encode_to_psnr, encode_to_size
from vaecodec.coding.vae_file import Region, Source, VaeFile
from vaecodec.errors import ParameterError, VaecodecError
from vaecodec.format.container import MAX_PIXELS
from vaecodec.format.reader import Reader
from vaecodec.image.picture import ImageSource, Picture
from vaecodec.spec import DEFAULT_QUALITY

MAX_EFFORT = 9


def encode(
    source: Picture | ImageSource,
    quality: float | None = None,
    *,
    bpp: float | None = None,
    size: int | None = None,
    psnr: float | None = None,
    effort: int = 0,
    progressive: bool = False,
    strip: bool = False,
    model: str | None = None,
    threads: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> bytes:
    r"""Compress a picture.

    Give at most one of `quality`, `bpp`, `size` and `psnr`. The last three are found by search,
    which takes several encodings.

    Args:
        source: Path of an image file, a PIL image, or an array of shape (H, W) or
            (H, W, 1 to 4), uint8 or uint16: grey or RGB, with or without alpha.
        quality: 1 (smallest file) to 100 (best picture) in steps of 0.01. The default is 50.
        bpp: Upper limit in bits per pixel.
        size: Upper limit in bytes.
        psnr: Lower limit of the PSNR of the colours in dB.
        effort: 0 to 9. Each unit takes the time of about 25 more encodings and makes the file
            smaller at the same quality. It needs up to 3 GB of memory.
        progressive: Order the bits of a large picture so that each prefix of the file shows all
            of it.
        strip: Leave out ICC profile, EXIF and XMP.
        model: Id or folder of a model. None is the default model.
        threads: Number of threads. 0 is one per core.
        max_pixels: Refuse larger pictures.

    Returns:
        The bytes of a .vae file (docs/FORMAT.md).

    Raises:
        ImageError: The picture cannot be read or represented.
        ModelError: The model is missing, damaged or unable to do this.
        ParameterError: An argument is out of range.
        VaecodecError: The target cannot be reached.

    Warns:
        UserWarning: Something of the picture is changed or left out, such as the frames of an
            animation after the first.

    Example:
        >>> data = vaecodec.encode("photo.png", quality=60)
        >>> data[:4]
        b'\x89VAE'
    """
    _check_targets(quality, bpp, size, psnr, effort)
    effort = int(effort)
    picture, session = start_picture_session(
        source,
        DEFAULT_QUALITY if quality is None else quality,
        max_pixels=max_pixels,
        model=model,
        threads=threads,
        # Gradients take much memory, so with effort the tiles come one after the other.
        concurrent=not effort,
    )
    if bpp is None and size is None and psnr is None:
        return encode_picture(picture, session, progressive, strip, effort)
    max_bytes = bpp * picture.width * picture.height / 8 if bpp is not None else size
    search = _TargetSearch(picture, session, max_bytes, psnr, progressive, strip, effort, threads)
    return search.run()


def _check_targets(
    quality: float | None,
    bpp: float | None,
    size: int | None,
    psnr: float | None,
    effort: int,
) -> None:
    """Raise ParameterError for targets that exclude each other or are out of range."""
    if sum(value is not None for value in (quality, bpp, size, psnr)) > 1:
        raise ParameterError("give only one of quality, bpp, size and psnr")
    for name, value in (("bpp", bpp), ("size", size), ("psnr", psnr)):
        if value is not None and not 0 < value < math.inf:
            raise ParameterError(f"{name} must be a positive number, not {value}")
    if effort not in range(MAX_EFFORT + 1):
        raise ParameterError(f"effort must be a whole number from 0 to 9, not {effort}")


@dataclass(frozen=True)
class _TargetSearch:
    """The search for the file of a picture that meets a size in bytes, or a PSNR in dB."""

    picture: Picture
    session: Session
    max_bytes: float | None
    psnr: float | None
    progressive: bool
    strip: bool
    effort: int
    threads: int

    def run(self) -> bytes:
        if not self.effort:
            return self._search(0, None)
        try:
            # The search without effort is quick and tells where to look.
            first_guess = round(Reader(self._search(0, None)).header.quality * 100)
        except VaecodecError:  # the target is out of reach without effort
            return self._search(self.effort, None)
        return self._search(self.effort, first_guess)

    def _search(self, effort: int, first_guess: int | None) -> bytes:
        encode_at = self._encoder(effort)
        if self.psnr is not None:
            return encode_to_psnr(self.picture, self.psnr, encode_at, self._decode, first_guess)
        assert self.max_bytes is not None
        return encode_to_size(self.max_bytes, encode_at, first_guess)

    def _encoder(self, effort: int) -> EncodeAt:
        def encode_at(quality: float) -> bytes:
            session = replace(self.session, quality=quality)
            return encode_picture(self.picture, session, self.progressive, self.strip, effort)

        return encode_at

    def _decode(self, data: bytes) -> Samples:
        return decode_array(data, model=str(self.session.nets.folder), threads=self.threads)


def open(  # like PIL.Image.open
    source: Source,
    *,
    model: str | None = None,
    threads: int = 0,
    tolerant: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> VaeFile:
    """Open a .vae file to read its header, its metadata, and all or parts of its picture.

    Args:
        source: Path, bytes-like object (such as bytes, mmap or memoryview) or binary file.
        model: Folder of the model that the file names, if it is not installed.
        threads: Number of threads. 0 is one per core.
        tolerant: Read a damaged or truncated file as far as possible. `VaeFile.damage` tells
            what is lost.
        max_pixels: Refuse larger pictures.

    Returns:
        The open file, which is a context manager.

    Raises:
        FormatError: This is not a .vae file, or its header is damaged.
        OSError: There is no such file.
        ParameterError: `threads` is out of range.

    Example:
        >>> with vaecodec.open("photo.vae") as file:
        ...     size = file.header.width, file.header.height
        ...     corner = file.read(region=(0, 0, 64, 64))
        >>> corner.size
        (64, 64)
    """
    return VaeFile(source, model=model, threads=threads, tolerant=tolerant, max_pixels=max_pixels)


def decode(
    source: Source,
    *,
    region: Region | None = None,
    scale: int = 1,
    tolerant: bool = False,
    model: str | None = None,
    threads: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Decode a .vae file to a PIL image.

    Args:
        source: Path, bytes-like object or binary file.
        region: x, y, width and height in pixels of the whole picture.
        scale: 1, or 2, 4 or 8 for a quick preview at 1/2, 1/4 or 1/8 of the resolution.
        tolerant: Read a damaged or truncated file as far as possible.
        model: Folder of the model that the file names, if it is not installed.
        threads: Number of threads. 0 is one per core.
        max_pixels: Refuse larger pictures.

    Returns:
        The image, as `VaeFile.read` returns it.

    Raises:
        FormatError: The file is damaged.
        ImageError: Pillow has no mode for 16-bit colours. Use `decode_array`.
        ModelError: The model that the file names is missing.
        ParameterError: An argument is out of range.

    Example:
        >>> vaecodec.decode("photo.vae").save("decoded.png")
    """
    with open(
        source, tolerant=tolerant, model=model, threads=threads, max_pixels=max_pixels
    ) as file:
        return file.read(region, scale)


def decode_array(
    source: Source,
    *,
    region: Region | None = None,
    scale: int = 1,
    tolerant: bool = False,
    model: str | None = None,
    threads: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> Samples:
    """Decode a .vae file to an array.

    Args:
        source: Path, bytes-like object or binary file.
        region: x, y, width and height in pixels of the whole picture.
        scale: 1, or 2, 4 or 8 for a quick preview at 1/2, 1/4 or 1/8 of the resolution.
        tolerant: Read a damaged or truncated file as far as possible.
        model: Folder of the model that the file names, if it is not installed.
        threads: Number of threads. 0 is one per core.
        max_pixels: Refuse larger pictures.

    Returns:
        An array of shape (H, W) for grey, else (H, W, 2 to 4), uint8 or uint16.

    Raises:
        FormatError: The file is damaged.
        ModelError: The model that the file names is missing.
        ParameterError: An argument is out of range.

    Example:
        >>> vaecodec.decode_array("photo.vae").dtype
        dtype('uint8')
    """
    with open(
        source, tolerant=tolerant, model=model, threads=threads, max_pixels=max_pixels
    ) as file:
        return file.read_array(region, scale)
