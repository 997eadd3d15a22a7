"""Reading and writing image files, and other file operations. Pillow does most of the work."""

import io
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from vaecodec._arrays import Samples
from vaecodec.errors import ImageError, VaecodecError
from vaecodec.format.container import MAX_PIXELS, with_exif_prefix
from vaecodec.format.reader import seekable
from vaecodec.image.deep_png import read_deep_png, write_deep_png
from vaecodec.image.limits import check_size
from vaecodec.image.metadata import NAMES
from vaecodec.image.modes import PlainImage, plain_image
from vaecodec.image.picture import Picture

ImagePath = str | os.PathLike[str]
PNG_GREY = 0  # color type
TIFF_BITS_PER_SAMPLE = 258  # tag


def read_image(file: ImagePath | bytes | BinaryIO, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read an image file of any type that Pillow supports.

    Args:
        file: A path, the bytes of a file, or an open binary file.
        max_pixels: Refuse images with more pixels than this.

    Returns:
        The loaded image, as Pillow reads it.

    Raises:
        ImageError: If the file is not an image, is damaged or is too large. The message names the
            path.
        OSError: If the path cannot be opened.
    """
    with _opened(file) as stream:
        return _read_with_pillow(stream, max_pixels)[0]


def read_picture(file: ImagePath | BinaryIO, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read an image file as a picture to encode.

    The picture is upright and has the metadata of the file. PNG files keep their 16 bits per
    sample. In other types of files, Pillow rounds the samples of colours to 8 bits. `Picture.notes`
    tells what had to be changed.

    Args:
        file: A path or an open binary file.
        max_pixels: Refuse images with more pixels than this.

    Returns:
        The picture.

    Raises:
        ImageError: If the file is not an image, is damaged or is too large, or if its mode cannot
            be represented. The message names the path.
        OSError: If the path cannot be opened.
    """
    return Picture(file, max_pixels)


def read_plain_image(
    file: ImagePath | BinaryIO, max_pixels: int, exif: bytes | Image.Exif | None = None
) -> PlainImage:
    """Read an image file for `Picture`. Raises what `read_picture` raises."""
    with _opened(file) as stream:
        bits, color_type = _png_format(stream)
        if bits == 16 and color_type != PNG_GREY:
            with _reading_errors(stream):
                return read_deep_png(stream, max_pixels, exif)
        image, file_bits = _read_with_pillow(stream, max_pixels)
        if bits in (2, 4) and color_type == PNG_GREY and "transparency" in image.info:
            # Pillow scales the samples to 8 bits, but not the transparent one.
            image.info["transparency"] *= 255 // (2**bits - 1)
        plain = plain_image(image, exif)
    if file_bits > 8 and plain.depth == 8:
        plain.notes.append(
            f"its {file_bits} bits per sample are read as 8; only 16-bit PNG keeps its depth"
        )
    return plain


@contextmanager
def _opened(file: ImagePath | bytes | BinaryIO) -> Iterator[BinaryIO]:
    """Open `file`. If it is a path, ImageErrors raised in the block are made to name it."""
    if isinstance(file, bytes):
        yield io.BytesIO(file)
    elif isinstance(file, (str, os.PathLike)):
        with open(file, "rb") as stream:
            try:
                yield seekable(stream)
            except ImageError as error:
                raise ImageError(f"{os.fspath(file)}: {error}") from None
    else:
        yield seekable(file)


@contextmanager
def _reading_errors(stream: BinaryIO) -> Iterator[None]:
    """Turn the exceptions of Pillow and pypng into ImageErrors."""
    try:
        yield
    except Image.DecompressionBombError:
        raise ImageError("more pixels than PIL.Image.MAX_IMAGE_PIXELS allows") from None
    except UnidentifiedImageError:
        empty = stream.seek(0, io.SEEK_END) == 0
        raise ImageError("empty file" if empty else "not an image that can be read") from None
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # the decoders raise many types of exceptions for damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"damaged image ({reason})") from None


def _read_with_pillow(stream: BinaryIO, max_pixels: int) -> tuple[Image.Image, int]:
    """Return the loaded image, and the number of bits per sample in the file."""
    with _reading_errors(stream):
        with warnings.catch_warnings():
            # `max_pixels` is the limit.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(stream)
        check_size(*image.size, max_pixels)
        bits = bits_per_sample(image, stream)
        image.load()
        return image, bits


def _png_format(stream: BinaryIO) -> tuple[int, int]:
    """Return bit depth and colour type of a PNG file, and (0, 0) for other files."""
    start = stream.read(26)
    stream.seek(0)
    is_png = start.startswith(b"\x89PNG\r\n\x1a\n") and len(start) == 26
    return (start[24], start[25]) if is_png else (0, 0)


def bits_per_sample(image: ImageFile.ImageFile, stream: BinaryIO) -> int:
    """Return the bits per sample of a file that is open but not loaded.

    The number is exact for the types of files whose colours Pillow rounds to 8 bits. It is 8 for
    all others.
    """
    if isinstance(image, TiffImageFile):
        return int(max(image.tag_v2.get(TIFF_BITS_PER_SAMPLE, (8,))))
    if image.format == "PPM":
        args = image.tile[0].args
        return int(args[1]).bit_length() if isinstance(args, tuple) and image.mode == "RGB" else 8
    position = stream.tell()
    stream.seek(0)
    start = stream.read(4096)
    stream.seek(position)
    if image.format == "JPEG2000":
        siz = start.partition(b"\xff\x4f\xff\x51")[2]
        if len(siz) > 36:
            return (siz[36] & 127) + 1  # Ssiz (ISO/IEC 15444-1, A.5.1)
    if image.format == "AVIF":
        av1c = start.partition(b"av1C")[2]
        if len(av1c) > 2:  # high_bitdepth and twelve_bit of the AV1 configuration
            return 12 if av1c[2] & 32 else 10 if av1c[2] & 64 else 8
    return 8


def image_kind(suffix: str) -> str:
    """Return Pillow's name of the type of image with a suffix (".png", ".jpg", ...).

    Raises ImageError if Pillow cannot write such files.
    """
    kind = Image.registered_extensions().get(suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise ImageError(f"cannot write images of type '{suffix}'; try .png")
    return kind


def save_image(
    image: Image.Image | Samples, kind: str, out: BinaryIO, metadata: dict[str, Any]
) -> None:
    """Write an image file.

    Args:
        image: A PIL image, or an array (H, W, channels), uint16, with colour or alpha, which can
            only be written as PNG.
        kind: Pillow's name of the type of file, see `image_kind`.
        out: An open binary file.
        metadata: May hold icc_profile, exif and xmp, which are kept if the type of file has a place
            for them. Other entries are ignored.

    Raises:
        ImageError: If this type of file cannot hold the image.
        OSError: If writing fails, for example because the disk is full.
    """
    if not isinstance(image, Image.Image):
        if kind != "PNG":
            raise ImageError(f"16 bits per sample cannot be written as {kind}; decode to .png")
        write_deep_png(image, out, metadata)
        return
    options = {name: metadata[name] for name in NAMES if metadata.get(name)}
    if "exif" in options:
        options["exif"] = with_exif_prefix(options["exif"])  # JPEG needs it
    if kind == "PNG" and "xmp" in options:
        from PIL.PngImagePlugin import PngInfo

        texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", options.pop("xmp").decode("utf-8", "replace"))
        options["pnginfo"] = texts
    try:
        image.save(out, kind, **options)
    except Exception as error:  # the encoders raise many types of exceptions
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ImageError(f"cannot be written as {kind} ({error})") from None


def write_file(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file completely or not at all.

    The content goes to a temporary file in the same folder, which is then renamed. Symbolic links
    are followed. Devices and pipes are written to directly.

    Args:
        path: The file.
        content: The bytes to write, or a function that writes them to an open binary file.

    Raises:
        OSError: If writing fails. An existing file is left unchanged.
    """
    path = path.resolve()
    save = (lambda file: file.write(content)) if isinstance(content, bytes) else content
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            save(file)
        return
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".vaecodec-", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            save(file)
            file.flush()
            # Sync before the rename, so that a crash leaves either the old file or the new one.
            os.fsync(file.fileno())
        os.chmod(temporary, _mode_of(path))
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _mode_of(path: Path) -> int:
    """Return the permissions of a file, or those of a new file if it does not exist.

    Files that mkstemp creates are readable only by their owner.
    """
    if path.exists():
        return path.stat().st_mode & 0o7777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def make_folder(path: Path) -> None:
    """Create a folder and its parents unless it exists. Raises VaecodecError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VaecodecError(f"{path}: cannot be created ({error.strerror})") from None


def images_in(folder: Path, suffix: str | None = None) -> list[str]:
    """Return the sorted paths of the files in a folder that have a suffix.

    The suffix is in lower case. By default, it is any suffix of an image file that Pillow reads.
    Raises VaecodecError if there are no such files or if the folder cannot be read.
    """
    suffixes = {suffix}
    if suffix is None:
        readable = Image.registered_extensions().items()
        suffixes = {extension for extension, kind in readable if kind in Image.OPEN}
    try:
        names = [
            str(path)
            for path in sorted(folder.iterdir())
            if path.suffix.lower() in suffixes and path.is_file()
        ]
    except OSError as error:
        raise VaecodecError(f"{folder}: cannot be read ({error.strerror})") from None
    if not names:
        raise VaecodecError(f"{folder}: contains no {suffix or 'image'} files")
    return names
