"""Image files <-> pictures, with Pillow doing the files."""

import io
import os
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from vaecodec.errors import ImageError, VaecodecError
from vaecodec.format.container import MAX_PIXELS
from vaecodec.image.picture import METADATA, Picture, Samples, check_size, metadata_of, with_clear

# What the values 2 to 8 of EXIF's orientation ask for.
TURNS: dict[int, Callable[[Samples], Samples]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def _damaged(error: Exception) -> ImageError:
    return ImageError(
        f"damaged image ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    )


def read_image(file: Path | bytes | BinaryIO, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """A loaded PIL image from any file that Pillow reads. Raises ImageError; OSError where there is no such file."""
    return _read(file, max_pixels)[0]


def _read(file: Path | bytes | BinaryIO, max_pixels: int) -> tuple[Image.Image, int]:
    """The image, and how many bits a sample it has in the file."""
    stream = (
        io.BytesIO(file)
        if isinstance(file, bytes)
        else file.open("rb")
        if isinstance(file, Path)
        else file
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", Image.DecompressionBombWarning
            )  # the limit below is ours
            image = Image.open(stream)
        check_size(*image.size, max_pixels)
        bits = bits_of(image, stream)
        image.load()
        return image, bits
    except Image.DecompressionBombError:
        raise ImageError(f"more pixels than the {max_pixels} allowed") from None
    except UnidentifiedImageError:
        raise ImageError(
            "not an image that can be read" if stream.seek(0, io.SEEK_END) else "empty file"
        ) from None
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        raise _damaged(error) from None
    finally:
        if isinstance(file, Path):
            stream.close()


def bits_of(image: ImageFile.ImageFile, stream: BinaryIO) -> int:
    """Bits a sample of a file that is opened but not loaded, for those types whose colours Pillow rounds to 8 bits; else 8."""
    if isinstance(image, TiffImageFile):
        return int(max(image.tag_v2.get(258, (8,))))
    if image.format == "PPM":
        args = image.tile[0].args
        return int(args[1]).bit_length() if isinstance(args, tuple) and image.mode == "RGB" else 8
    at = stream.tell()
    stream.seek(0)
    start = stream.read(4096)
    stream.seek(at)
    if image.format == "JPEG2000" and len(siz := start.partition(b"\xff\x4f\xff\x51")[2]) > 36:
        return (siz[36] & 127) + 1  # Ssiz (ISO/IEC 15444-1, A.5.1)
    if image.format == "AVIF" and len(av1c := start.partition(b"av1C")[2]) > 2:
        return (
            12 if av1c[2] & 32 else 10 if av1c[2] & 64 else 8
        )  # high_bitdepth and twelve_bit of the AV1 configuration
    return 8


def read_picture(file: BinaryIO, max_pixels: int = MAX_PIXELS) -> Picture:
    """What `encode` takes from an image file. PNG files of 16 bits and colours or alpha, which Pillow would round to 8 bits,
    are read by pypng. Raises ImageError."""
    start = file.read(26)
    file.seek(0)
    png_bits, png_color = (
        (start[24], start[25]) if start[:8] == b"\x89PNG\r\n\x1a\n" and len(start) == 26 else (0, 0)
    )
    if png_bits == 16 and png_color:
        return _read_deep_png(file, max_pixels)
    image, bits = _read(file, max_pixels)
    if png_bits in (2, 4) and not png_color and "transparency" in image.info:
        image.info["transparency"] *= 255 // (
            2**png_bits - 1
        )  # Pillow scales the samples, but not this
    picture = Picture(image, max_pixels)
    if bits > 8 and not picture.color.endswith("16"):
        picture.notes.append(
            f"its {bits} bits a sample are read as 8; those of 16-bit PNG are kept"
        )
    return picture


def _read_deep_png(file: BinaryIO, max_pixels: int) -> Picture:
    import png

    try:
        header = Image.open(file)
        check_size(*header.size, max_pixels)
        metadata, notes, orientation = metadata_of(header)
        file.seek(0)
        width, height, rows, info = png.Reader(file=file).read()
        array = np.empty((height, width, info["planes"]), np.uint16)
        for y, row in enumerate(rows):
            array[y] = np.frombuffer(row, np.uint16).reshape(width, -1)
        if info.get("transparent"):
            array = with_clear(array, info["transparent"])
    except ImageError:
        raise
    except Exception as error:  # pypng raises many kinds for damaged files, and Pillow does
        raise _damaged(error) from None
    picture = Picture(TURNS[orientation](array) if orientation in TURNS else array, max_pixels)
    picture.metadata, picture.notes = metadata, notes
    return picture


def image_kind(suffix: str) -> str:
    """Pillow's name for the type of image that `suffix` (".png", ".jpg", ...) names. Raises ImageError."""
    kind = Image.registered_extensions().get(suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise ImageError(f"cannot write images of type '{suffix}'; try .png")
    return kind


def save_image(
    image: Image.Image | Samples, kind: str, out: BinaryIO, metadata: dict[str, Any]
) -> None:
    """Write the picture, with its metadata where the type has a place for them, as a file of Pillow's type `kind`; arrays,
    which have 16 bits and colours or alpha, become PNG by pypng. Raises ImageError; OSError where the disk is full."""
    if not isinstance(image, Image.Image):
        if kind != "PNG":
            raise ImageError(f"16 bits a sample cannot be written as {kind}; decode to .png")
        _write_deep_png(image, out, metadata)
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


def _write_deep_png(array: Samples, out: BinaryIO, metadata: dict[str, Any]) -> None:
    import png

    class Writer(png.Writer):  # type: ignore[misc]  # pypng writes no metadata
        def write_preamble(self, outfile: BinaryIO) -> None:
            super().write_preamble(outfile)
            if metadata.get("icc_profile"):
                png.write_chunk(
                    outfile, b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata["icc_profile"])
                )
            if metadata.get("exif"):
                png.write_chunk(outfile, b"eXIf", metadata["exif"].removeprefix(b"Exif\0\0"))
            if metadata.get("xmp"):
                png.write_chunk(outfile, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata["xmp"])

    height, width, channels = array.shape
    writer = Writer(width, height, greyscale=channels < 3, alpha=channels in (2, 4), bitdepth=16)
    writer.write(out, (row.reshape(-1) for row in array))


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
            os.fsync(
                f.fileno()
            )  # before the rename, so that a crash leaves the old file or the new one
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(
            temporary, path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~mask
        )  # mkstemp's files are private
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def make_folder(path: Path) -> None:
    """With its parents, unless it is there. Raises VaecodecError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VaecodecError(f"{path}: cannot be created ({error.strerror})") from None


def images_in(folder: Path, only: str | None = None) -> list[str]:
    """Files directly in `folder` whose extension is `only`, or any that Pillow reads. Raises VaecodecError for none."""
    if only is None:
        suffixes = {
            suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN
        }
    else:
        suffixes = {only}
    try:
        found = [
            str(p) for p in sorted(folder.iterdir()) if p.suffix.lower() in suffixes and p.is_file()
        ]
    except OSError as error:
        raise VaecodecError(f"{folder}: cannot be read ({error.strerror})") from None
    if not found:
        raise VaecodecError(f"{folder}: holds no {only or 'image'} files")
    return found
