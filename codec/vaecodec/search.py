"""Finding the quality that meets a target: a size in bytes, or a PSNR in decibels."""
from collections.abc import Callable

import numpy as np

from vaecodec.codec import Pixels, encode_pixels, synthesise
from vaecodec.container import HEADER_SIZE, probe
from vaecodec.errors import VaecodecError
from vaecodec.networks import Networks
from vaecodec.pixels import to_image

LOWEST, HIGHEST = 100, 10000  # quality in hundredths


def psnr(a: Pixels, b: Pixels) -> float:
    """10 log10(255^2 / MSE) in dB over all samples of two uint8 arrays of one shape; infinite where they are equal."""
    mse = float(np.mean(np.square(a.astype(np.float32) - b.astype(np.float32)), dtype=np.float64))
    return float("inf") if mse == 0 else 10 * float(np.log10(255**2 / mse))


def encode_to_size(pixels: Pixels, color: str, size: float, nets: Networks) -> bytes:
    """The best file of at most `size` bytes, and at least 99 % of it where quality can be set so finely."""
    def attempt(quality: int) -> tuple[bytes, float]:
        data, _ = encode_pixels(pixels, color, quality / 100, nets)
        return data, size / len(data)

    data, met = _search(attempt, good_enough=1.01, rising=False)
    if met < 1:
        raise VaecodecError(f"cannot be made as small as {size:.0f} bytes: quality 1 takes {len(data)}")
    return data


def encode_to_psnr(pixels: Pixels, color: str, target: float, nets: Networks) -> bytes:
    """The smallest file whose picture has at least `target` dB, and at most 0.05 dB more where possible."""
    original = np.asarray(to_image(pixels, color))

    def attempt(quality: int) -> tuple[bytes, float]:
        data, latents = encode_pixels(pixels, color, quality / 100, nets)
        decoded = to_image(synthesise(latents, probe(data[:HEADER_SIZE]), nets), color)
        return data, psnr(original, np.asarray(decoded)) - target + 1

    data, met = _search(attempt, good_enough=1.05, rising=True)
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
