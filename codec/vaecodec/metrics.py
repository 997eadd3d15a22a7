"""Measures of picture quality."""

import numpy as np

from vaecodec._arrays import Samples


def psnr(a: Samples, b: Samples) -> float:
    """Return the PSNR of two pictures in dB: 10 log10(peak^2 / MSE) over all samples.

    The sum runs row by row, so that large pictures need no second copy.

    Args:
        a: A uint8 or uint16 array.
        b: An array of the same shape and dtype.

    Returns:
        The PSNR in dB, infinity for equal arrays.
    """
    error = 0.0
    for row, other in zip(a, b, strict=True):
        difference = row.astype(np.float32) - other.astype(np.float32)
        error += float(np.square(difference).sum(dtype=np.float64))
    if error == 0:
        return float("inf")
    peak = 65535 if a.dtype == np.uint16 else 255
    return 10 * float(np.log10(peak**2 * a.size / error))
