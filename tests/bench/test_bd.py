"""The BD-rate against cases whose answer is known."""

import random

import bjontegaard
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vaecodec_bench.bd_rate import Curve, bd_rate

ANCHOR: Curve = [(0.1, 27.1), (0.25, 30.2), (0.5, 33.0), (1.1, 36.9), (2.0, 40.3)]
TEST: Curve = [(0.08, 27.9), (0.2, 30.6), (0.45, 33.9), (0.9, 37.0), (1.9, 41.2)]


def scaled(curve: Curve, factor: float) -> Curve:
    return [(rate * factor, psnr) for rate, psnr in curve]


@given(st.floats(0.01, 100))
def test_every_rate_scaled(factor: float) -> None:
    assert bd_rate(ANCHOR, scaled(ANCHOR, factor)) == pytest.approx(
        100 * (factor - 1), rel=1e-9, abs=1e-9
    )


def test_halved_and_identical() -> None:
    assert bd_rate(ANCHOR, scaled(ANCHOR, 0.5)) == pytest.approx(-50, abs=1e-9)
    assert bd_rate(ANCHOR, ANCHOR) == 0


def test_both_directions_cancel() -> None:
    there, back = bd_rate(ANCHOR, TEST) / 100, bd_rate(TEST, ANCHOR) / 100
    assert there < 0 < back
    assert (1 + there) * (1 + back) == pytest.approx(1, abs=1e-12)


def test_order_of_points_is_irrelevant() -> None:
    shuffled = random.Random(1).sample(ANCHOR, len(ANCHOR))
    assert shuffled != ANCHOR
    assert bd_rate(shuffled, TEST[::-1]) == bd_rate(ANCHOR, TEST)


def test_exponential_curves() -> None:
    """Log-rates linear in PSNR, where interpolation is exact: psnr / 6 and psnr / 5 - 1, both known for 31 to 35 dB.

    The difference psnr / 30 - 1 has its mean at 33 dB: exp(0.1) - 1.
    """
    anchor = [(float(np.exp(psnr / 6)), psnr) for psnr in (29.0, 31.5, 33.0, 35.0)]
    test = [(float(np.exp(psnr / 5 - 1)), psnr) for psnr in (31.0, 32.0, 34.0, 37.0)]
    assert bd_rate(anchor, test) == pytest.approx(100 * (np.exp(0.1) - 1), rel=1e-12)


def hermite(curve: Curve, at: np.ndarray) -> np.ndarray:
    """Natural logarithm of the rate at the PSNRs `at`, by the formulas of Fritsch and Butland (1984) as in pchip."""
    psnr, log_rate = np.array([p for _, p in curve]), np.log([r for r, _ in curve])
    h, slope = np.diff(psnr), np.diff(log_rate) / np.diff(psnr)
    inner = [
        (3 * (h[i] + h[i + 1]))
        / ((2 * h[i + 1] + h[i]) / slope[i] + (h[i + 1] + 2 * h[i]) / slope[i + 1])
        for i in range(len(slope) - 1)
    ]
    first = ((2 * h[0] + h[1]) * slope[0] - h[0] * slope[1]) / (h[0] + h[1])
    last = ((2 * h[-1] + h[-2]) * slope[-1] - h[-1] * slope[-2]) / (h[-1] + h[-2])
    assert (
        (slope > 0).all() and 0 < first < 3 * slope[0] and 0 < last < 3 * slope[-1]
    )  # the formulas' plain case
    d = np.array([first, *inner, last])
    i = np.clip(np.searchsorted(psnr, at) - 1, 0, len(h) - 1)
    t = (at - psnr[i]) / h[i]
    return (
        (1 + 2 * t) * (1 - t) ** 2 * log_rate[i]
        + t * (1 - t) ** 2 * h[i] * d[i]
        + t**2 * (3 - 2 * t) * log_rate[i + 1]
        + t**2 * (t - 1) * h[i] * d[i + 1]
    )


def test_numerical_integration() -> None:
    at = np.linspace(27.9, 40.3, 100_001)
    difference = hermite(TEST, at) - hermite(ANCHOR, at)
    mean = ((difference[1:] + difference[:-1]) / 2).mean()  # the trapezoidal rule
    assert bd_rate(ANCHOR, TEST) == pytest.approx(100 * (np.exp(mean) - 1), rel=1e-7)


@pytest.mark.parametrize(
    "anchor, test, expected",
    [
        (
            [(9487.76, 40.037), (4593.60, 38.615), (2486.44, 36.845), (1358.24, 34.851)],
            [(9787.80, 40.121), (4469.00, 38.651), (2451.52, 36.970), (1356.24, 34.987)],
            -4.417485350589045,
        ),
        (
            [(686.76, 40.28), (309.58, 37.18), (157.11, 34.24), (85.95, 31.42)],
            [(893.34, 40.39), (407.80, 37.21), (204.93, 34.17), (112.75, 31.24)],
            31.379878202397627,
        ),
    ],
)
def test_published_curves(anchor: Curve, test: Curve, expected: float) -> None:
    """The examples of the packages bjontegaard and Bjontegaard_metric; results of bjontegaard 1.3.0, method pchip."""
    assert bd_rate(anchor, test) == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.floats(0.3, 3), min_size=8, max_size=8), st.floats(-2, 2))
def test_the_package_bjontegaard(steps: list[float], shift: float) -> None:
    """bjontegaard 1.3, method pchip, on curves that rise by any steps."""
    curves = [
        [(0.1 * 2 ** (k + 0.2 * steps[k]), 27 + offset + sum(part[: k + 1])) for k in range(4)]
        for part, offset in ((steps[:4], 0), (steps[4:], shift))
    ]
    anchor, test = (zip(*curve, strict=True) for curve in curves)
    low, high = max(c[0][1] for c in curves), min(c[-1][1] for c in curves)
    assume(high - low > 0.2)
    theirs = bjontegaard.bd_rate(*anchor, *test, method="pchip", min_overlap=0)
    assert bd_rate(*curves) == pytest.approx(theirs, rel=1e-6, abs=1e-6)


def test_curves_without_common_psnr() -> None:
    higher = [(rate, psnr + 14) for rate, psnr in ANCHOR]
    with pytest.raises(
        ValueError,
        match=r"share no range of quality: one covers 27\.10 to 40\.30, the other 41\.10",
    ):
        bd_rate(ANCHOR, higher)
    touching = [(rate, psnr + 40.3 - 27.1) for rate, psnr in ANCHOR]
    with pytest.raises(ValueError, match="share no range"):
        bd_rate(touching, ANCHOR)


@pytest.mark.parametrize(
    "curve",
    [
        [],
        [(1.0, 30.0)],
        [(1.0, 30.0), (2.0, 30.0)],
        [(0.0, 30.0), (1.0, 31.0)],
        [(1.0, 30.0), (2.0, float("inf"))],
    ],
)
def test_what_is_no_curve(curve: Curve) -> None:
    with pytest.raises(ValueError, match="two or more points"):
        bd_rate(curve, ANCHOR)
