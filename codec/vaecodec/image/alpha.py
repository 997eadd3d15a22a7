"""Alpha, coded without loss or made from a transparent colour."""

import io

import numpy as np
from PIL import Image

from vaecodec._arrays import Samples
from vaecodec.errors import ImageError
from vaecodec.format.color import Color


def pack_alpha(alpha: Samples) -> bytes:
    """Code a plane (h, w), uint8 or uint16, without loss.

    The result is a single sample, high byte first, if all samples are equal. Otherwise it is a PNG
    file.
    """
    if (alpha == alpha.flat[0]).all():
        return int(alpha.flat[0]).to_bytes(alpha.dtype.itemsize, "big")
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(alpha)).save(out, "PNG", optimize=alpha.dtype == np.uint8)
    return out.getvalue()


def unpack_alpha(data: bytes, width: int, height: int, color: Color) -> Samples:
    """Decode the result of `pack_alpha` to a plane (height, width) of the depth of `color`.

    Raises ImageError if `data` is damaged or has another size or depth.
    """
    if len(data) == color.sample_bytes:
        return np.full((height, width), int.from_bytes(data, "big"), color.dtype)
    modes = ("L",) if color.depth == 8 else ("I;16", "I")
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.size != (width, height) or image.mode not in modes:
                raise ImageError("alpha differs from the tile in size or depth")
            plane: Samples = np.asarray(image).astype(color.dtype)
            return plane
    except ImageError:
        raise
    except Exception:  # Pillow's decoders raise many types of exceptions for damaged files
        raise ImageError("alpha cannot be read") from None


def add_alpha(array: Samples, transparent: tuple[int, ...]) -> Samples:
    """Append alpha to (H, W, C): 0 where the samples equal `transparent`, and opaque elsewhere."""
    matches = (array == np.array(transparent)).all(2, keepdims=True)
    alpha = np.where(matches, 0, np.iinfo(array.dtype).max).astype(array.dtype)
    return np.concatenate([array, alpha], axis=2)
