"""The Bjøntegaard delta rate: how many more bits one codec needs than another for the same quality, on average."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

Curve = Sequence[tuple[float, float]]  # (bits per pixel, quality such as PSNR in dB), in any order


def bd_rate(anchor: Curve, test: Curve) -> float:
    """Percent by which `test` needs more bits than `anchor` at equal quality; negative where it needs fewer.

    From the mean difference of the logarithms of the rates over the range of quality that both curves cover (Bjøntegaard,
    VCEG-M33, 2001), with piecewise cubic interpolation (pchip), as later test conditions have it, not one polynomial.
    Raises ValueError for curves that share no such range, and for too few or impossible points.
    """
    a, t = _log_rate(anchor), _log_rate(test)
    low, high = max(a.x[0], t.x[0]), min(a.x[-1], t.x[-1])
    if low >= high:
        raise ValueError(
            f"the curves share no range of quality: one has {a.x[0]:.2f} to {a.x[-1]:.2f}, "
            f"the other {t.x[0]:.2f} to {t.x[-1]:.2f}"
        )
    mean = (float(t.integrate(low, high)) - float(a.integrate(low, high))) / float(high - low)
    return 100 * math.expm1(mean)


def _log_rate(curve: Curve) -> PchipInterpolator:
    """Natural logarithm of the rate as a function of the quality."""
    points = np.array(sorted(curve, key=lambda point: point[1]), float).reshape(-1, 2)
    rate, quality = points.T
    if not (
        len(points) >= 2
        and np.isfinite(points).all()
        and (rate > 0).all()
        and (np.diff(quality) > 0).all()
    ):
        raise ValueError(
            "a curve takes two or more points of different, finite quality and of rates above zero"
        )
    return PchipInterpolator(quality, np.log(rate))
