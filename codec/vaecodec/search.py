"""Finding the quality that meets a target: a size in bytes, or a PSNR in decibels."""
from collections.abc import Callable

import numpy as np

from vaecodec.errors import VaecodecError
from vaecodec.picture import Picture, Samples

LOWEST, HIGHEST = 100, 10000  # quality in hundredths
Attempt = Callable[[float], bytes]  # a quality -> a file


def psnr(a: Samples, b: Samples) -> float:
    """10 log10(peak^2 / MSE) in dB over all samples of two uint8 or two uint16 arrays of one shape; infinite where they are
    equal. Works row by row, so that large pictures need no second copy."""
    error = 0.0
    for row, other in zip(a, b, strict=True):
        error += float(np.square(row.astype(np.float32) - other.astype(np.float32)).sum(dtype=np.float64))
    peak = 65535 if a.dtype == np.uint16 else 255
    return float("inf") if error == 0 else 10 * float(np.log10(peak**2 * a.size / error))


def encode_to_size(size: float, attempt: Attempt) -> bytes:
    """The best file of at most `size` bytes, and at least 99 % of it where quality can be set so finely."""
    def measured(quality: int) -> tuple[bytes, float]:
        data = attempt(quality / 100)
        return data, size / len(data)

    data, met = _search(measured, good_enough=1.01, rising=False)
    if met < 1:
        raise VaecodecError(f"cannot be made as small as {size:.0f} bytes: quality 1 takes {len(data)}")
    return data


def encode_to_psnr(picture: Picture, target: float, attempt: Attempt, decode: Callable[[bytes], Samples]) -> bytes:
    """The smallest file whose picture has at least `target` dB (of its colours), and at most 0.05 dB more where possible."""
    original = picture.colors()

    def measured(quality: int) -> tuple[bytes, float]:
        data = attempt(quality / 100)
        decoded = decode(data)
        return data, psnr(original, decoded if decoded.ndim == 2 else decoded[:, :, : original.shape[-1]]) - target + 1

    data, met = _search(measured, good_enough=1.05, rising=True)
    if met < 1:
        raise VaecodecError(f"cannot reach {target:g} dB: quality 100 gives {met - 1 + target:.2f} dB")
    return data


def _search(attempt: Callable[[int], tuple[bytes, float]], good_enough: float, rising: bool) -> tuple[bytes, float]:
    """Bisect the quality until attempt's value, which rises or falls with it, lies between 1 and `good_enough`.

    Returns the result nearest above 1; where none is, that of the end of the scale which came nearest.
    """
    last, first = (LOWEST, HIGHEST) if rising else (HIGHEST, LOWEST)  # `first` has the largest value
    data, value = attempt(first)
    if value <= good_enough:
        return data, value
    other = attempt(last)
    if other[1] >= 1:
        return other
    while abs(first - last) > 1:
        middle = (first + last) // 2
        candidate = attempt(middle)
        if candidate[1] >= 1:
            first, (data, value) = middle, candidate
            if value <= good_enough:
                break
        else:
            last = middle
    return data, value
