"""Image files <-> arrays, with Pillow doing the files."""
import io
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from vaecodec.container import MAX_PIXELS, too_large
from vaecodec.errors import ImageError, VaecodecError

Pixels = npt.NDArray[np.uint8]


def check_quality(quality: float) -> float:
    """quality in hundredths. Raises VaecodecError outside 1 to 100."""
    if not 1 <= quality <= 100:
        raise VaecodecError(f"quality must be between 1 and 100, not {quality:g}")
    return round(quality * 100) / 100


def to_array(image: Image.Image | Pixels) -> tuple[Pixels, str]:
    """(H, W, 3) uint8 and "RGB" or "L". Raises ImageError for what cannot be represented."""
    if isinstance(image, Image.Image):
        if image.mode not in ("RGB", "L"):
            raise ImageError(f"images of mode {image.mode} are not supported; convert to RGB or L (greyscale) first")
        if "transparency" in image.info:
            raise ImageError("images with transparency are not supported; convert to RGB or L (greyscale) first")
        if getattr(image, "n_frames", 1) > 1:
            raise ImageError("animated and many-page images are not supported; extract one picture first")
        array = np.asarray(ImageOps.exif_transpose(image))  # the file holds upright pixels and no tag
    else:
        array = np.asarray(image)
        if array.dtype != np.uint8:
            raise ImageError(f"arrays must be uint8, not {array.dtype}")
        if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
            raise ImageError(f"arrays must have shape (H, W, 3) or (H, W), not {array.shape}")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise ImageError(f"the image is empty ({array.shape[1]} x {array.shape[0]})")
    if too_large(array.shape[1], array.shape[0]):
        raise ImageError(f"the image has {array.shape[1]} x {array.shape[0]} pixels, more than the {MAX_PIXELS} supported")
    if array.ndim == 2:
        return np.repeat(array[:, :, None], 3, axis=2), "L"
    return np.ascontiguousarray(array), "RGB"


def to_image(pixels: Pixels, color: str) -> Image.Image:
    """(H, W, 3) uint8 -> a PIL image; for "L" the mean of the three channels."""
    if color == "L":
        return Image.fromarray(((pixels.astype(np.uint16).sum(2) + 1) // 3).astype(np.uint8))
    return Image.fromarray(pixels)


def read_image(data: bytes) -> Image.Image:
    """A loaded PIL image from the bytes of any file that Pillow reads. Raises ImageError."""
    if not data:
        raise ImageError("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is lower
            image = Image.open(io.BytesIO(data))
        if too_large(*image.size):
            raise ImageError(f"{image.width} x {image.height} pixels are more than the {MAX_PIXELS} supported")
        if image.format == "PNG" and data[24] == 16:
            raise ImageError("images of 16 bits a sample are not supported; convert to 8 bits first")
        image.load()
        return image
    except Image.DecompressionBombError:
        raise ImageError(f"more pixels than the {MAX_PIXELS} supported") from None
    except UnidentifiedImageError:
        raise ImageError("not an image that can be read") from None
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        raise ImageError(f"damaged image ({str(error).splitlines()[0] if str(error) else type(error).__name__})") from None


def image_kind(suffix: str) -> str:
    """Pillow's name for the type of image that `suffix` (".png", ".jpg", ...) names. Raises ImageError."""
    kind = Image.registered_extensions().get(suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise ImageError(f"cannot write images of type '{suffix}'; try .png")
    return kind


def image_bytes(image: Image.Image, kind: str) -> bytes:
    """The image as a file of a type that Pillow writes. Raises ImageError."""
    out = io.BytesIO()
    try:
        image.save(out, kind)
    except Exception as error:  # Pillow's encoders raise many kinds for what they cannot hold
        raise ImageError(f"cannot be written as {kind} ({error})") from None
    return out.getvalue()


def write_file(path: Path, data: bytes) -> None:
    """Write all of `data` or nothing: to a temporary file in the same folder, then rename. Raises OSError.

    A link is followed; what is not an ordinary file, such as a device or a pipe, is written to as it is.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # mkstemp's files are private; an output is an ordinary file
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
