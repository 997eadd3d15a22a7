"""Measures of picture quality."""

from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[Any]  # uint8 or uint16


def psnr(a: Samples, b: Samples) -> float:
    """10 log10(peak^2 / MSE) in dB over all samples of two uint8 or two uint16 arrays of one shape; infinite where they are
    equal. Works row by row, so that large pictures need no second copy."""
    error = 0.0
    for row, other in zip(a, b, strict=True):
        error += float(
            np.square(row.astype(np.float32) - other.astype(np.float32)).sum(dtype=np.float64)
        )
    peak = 65535 if a.dtype == np.uint16 else 255
    return float("inf") if error == 0 else 10 * float(np.log10(peak**2 * a.size / error))
