"""The Bjøntegaard delta rate: the mean difference in bit rate of two codecs at equal quality."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

Curve = Sequence[tuple[float, float]]  # (bits per pixel, quality such as PSNR in dB), in any order


def bd_rate(reference: Curve, test: Curve) -> float:
    """Return by how many percent more bits `test` needs than `reference` at equal quality.

    The result is negative if `test` needs fewer bits. It is the mean difference of the logarithms
    of the rates over the range of quality that both curves cover (Bjøntegaard, VCEG-M33, 2001).
    The curves are interpolated by piecewise cubic polynomials (pchip), as in later common test
    conditions, and not by a single polynomial.

    Args:
        reference: (bits per pixel, quality) points of the codec to compare with, in any order.
        test: Points of the codec under test.

    Raises:
        ValueError: The curves share no range of quality, or a curve has too few points or
            impossible ones.
    """
    reference_log_rate = _log_rate(reference)
    test_log_rate = _log_rate(test)
    low = max(reference_log_rate.x[0], test_log_rate.x[0])
    high = min(reference_log_rate.x[-1], test_log_rate.x[-1])
    if low >= high:
        raise ValueError(
            "the curves share no range of quality: one covers "
            f"{reference_log_rate.x[0]:.2f} to {reference_log_rate.x[-1]:.2f}, "
            f"the other {test_log_rate.x[0]:.2f} to {test_log_rate.x[-1]:.2f}"
        )
    area = test_log_rate.integrate(low, high) - reference_log_rate.integrate(low, high)
    return 100 * math.expm1(float(area) / float(high - low))


def rate_at(curve: Curve, quality: float) -> float | None:
    """Return the bits per pixel that a curve needs for a quality, or None outside its range."""
    log_rate = _log_rate(curve)
    if not log_rate.x[0] <= quality <= log_rate.x[-1]:
        return None
    return math.exp(float(log_rate(quality)))


def _log_rate(curve: Curve) -> PchipInterpolator:
    """Return the natural logarithm of the rate as a function of the quality."""
    points = np.array(sorted(curve, key=lambda point: point[1]), float).reshape(-1, 2)
    rate, quality = points.T
    valid = len(points) >= 2 and np.isfinite(points).all()
    if not (valid and (rate > 0).all() and (np.diff(quality) > 0).all()):
        raise ValueError(
            "a curve needs two or more points with different, finite qualities and rates above zero"
        )
    return PchipInterpolator(quality, np.log(rate))
