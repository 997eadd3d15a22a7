"""Image files <-> pictures, with Pillow doing the files."""
import io
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from vaecodec.container import MAX_PIXELS
from vaecodec.errors import ImageError, VaecodecError
from vaecodec.picture import METADATA, ORIENTATION, Picture, Samples, check_size

# What the values 2 to 8 of EXIF's orientation ask for.
TURNS: dict[int, Callable[[Samples], Samples]] = {
    2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: np.rot90(a)}


def check_quality(quality: float) -> float:
    """quality in hundredths. Raises VaecodecError outside 1 to 100."""
    if not 1 <= quality <= 100:
        raise VaecodecError(f"quality must be between 1 and 100, not {quality:g}")
    return round(quality * 100) / 100


def _damaged(error: Exception) -> ImageError:
    return ImageError(f"damaged image ({str(error).splitlines()[0] if str(error) else type(error).__name__})")


def read_image(file: Path | bytes | BinaryIO, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """A loaded PIL image from any file that Pillow reads. Raises ImageError; OSError where there is no such file."""
    stream = io.BytesIO(file) if isinstance(file, bytes) else file.open("rb") if isinstance(file, Path) else file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is ours
            image = Image.open(stream)
        check_size(*image.size, max_pixels)
        image.load()
        return image
    except Image.DecompressionBombError:
        raise ImageError(f"more pixels than the {max_pixels} allowed") from None
    except UnidentifiedImageError:
        raise ImageError("not an image that can be read" if stream.seek(0, io.SEEK_END) else "empty file") from None
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        raise _damaged(error) from None
    finally:
        if isinstance(file, Path):
            stream.close()


def read_picture(file: BinaryIO, max_pixels: int = MAX_PIXELS) -> Picture:
    """What `encode` takes from an image file. PNG files of 16 bits and colours or alpha, which Pillow would round to 8 bits,
    are read by pypng. Raises ImageError."""
    start = file.read(26)
    file.seek(0)
    if start[:8] != b"\x89PNG\r\n\x1a\n" or len(start) < 26 or start[24] != 16 or start[25] == 0:
        return Picture(read_image(file, max_pixels), max_pixels)
    import png

    try:
        header = Image.open(file)
        check_size(*header.size, max_pixels)
        exif = header.getexif()
        metadata = {name: header.info[name] for name in METADATA if isinstance(header.info.get(name), bytes)}
        file.seek(0)
        width, height, rows, info = png.Reader(file=file).read()
        array = np.empty((height, width, info["planes"]), np.uint16)
        for y, row in enumerate(rows):
            array[y] = np.frombuffer(row, np.uint16).reshape(width, -1)
    except ImageError:
        raise
    except Exception as error:  # pypng raises many kinds for damaged files, and Pillow does
        raise _damaged(error) from None
    if exif.get(ORIENTATION, 1) in TURNS:
        array = TURNS[exif[ORIENTATION]](array)
        exif[ORIENTATION] = 1
        metadata["exif"] = exif.tobytes()
    picture = Picture(array, max_pixels)
    picture.metadata = metadata
    return picture


def image_kind(suffix: str) -> str:
    """Pillow's name for the type of image that `suffix` (".png", ".jpg", ...) names. Raises ImageError."""
    kind = Image.registered_extensions().get(suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise ImageError(f"cannot write images of type '{suffix}'; try .png")
    return kind


def save_image(image: Image.Image | Samples, kind: str, out: BinaryIO, metadata: dict[str, Any]) -> None:
    """Write the picture, with its metadata where the type has a place for them, as a file of Pillow's type `kind`; arrays,
    which have 16 bits and colours or alpha, become PNG by pypng. Raises ImageError; OSError where the disk is full."""
    if not isinstance(image, Image.Image):
        if kind != "PNG":
            raise ImageError(f"16 bits a sample cannot be written as {kind}; decode to .png")
        import png

        height, width, channels = image.shape
        writer = png.Writer(width, height, greyscale=channels < 3, alpha=channels in (2, 4), bitdepth=16)
        writer.write(out, (row.reshape(-1) for row in image))
        return
    kept = {name: metadata[name] for name in METADATA if metadata.get(name)}
    if kind == "PNG" and "xmp" in kept:
        from PIL.PngImagePlugin import PngInfo

        texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", kept.pop("xmp").decode("utf-8", "replace"))
        kept["pnginfo"] = texts
    try:
        image.save(out, kind, **kept)
    except Exception as error:  # Pillow's encoders raise many kinds for what they cannot hold
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ImageError(f"cannot be written as {kind} ({error})") from None


def write_file(path: Path, save: bytes | Callable[[BinaryIO], object]) -> None:
    """Write all that `save` writes (or is) or nothing: to a temporary file in the same folder, then rename. Raises OSError.

    A link is followed; what is not an ordinary file, such as a device or a pipe, is written to as it is.
    """
    path = path.resolve()
    fill = (lambda f: f.write(save)) if isinstance(save, bytes) else save
    if path.exists() and not path.is_file():
        with path.open("wb") as f:
            fill(f)
        return
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".vaecodec-", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as f:
            fill(f)
            f.flush()
            os.fsync(f.fileno())  # before the rename, so that a crash leaves the old file or the new one
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~mask)  # mkstemp's files are private
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
