"""Finding the quality that meets a target: a size in bytes, or a PSNR in decibels."""

from collections.abc import Callable

from vaecodec.errors import VaecodecError
from vaecodec.image.picture import Picture, Samples
from vaecodec.metrics import psnr

LOWEST, HIGHEST = 100, 10000  # quality in hundredths
NEAR = 200  # as much more or less quality is what effort brings
Attempt = Callable[[float], bytes]  # a quality -> a file


def encode_to_size(size: float, attempt: Attempt, near: int | None = None) -> bytes:
    """The best file of at most `size` bytes, and at least 99 % of it where quality can be set so finely.

    near: a quality in hundredths of which a file that size is expected to be, or a little more.
    """

    def measured(quality: int) -> tuple[bytes, float]:
        data = attempt(quality / 100)
        return data, size / len(data)

    data, met = _search(measured, 1.01, False, near)
    if met < 1:
        raise VaecodecError(
            f"cannot be made as small as {size:.0f} bytes: quality 1 takes {len(data)}"
        )
    return data


def encode_to_psnr(
    picture: Picture,
    target: float,
    attempt: Attempt,
    decode: Callable[[bytes], Samples],
    near: int | None = None,
) -> bytes:
    """The smallest file whose picture has at least `target` dB (of its colours), and at most 0.05 dB more where possible.

    near: a quality in hundredths that is expected to reach it, or a little less.
    """
    original = picture.colors()

    def measured(quality: int) -> tuple[bytes, float]:
        data = attempt(quality / 100)
        decoded = decode(data)
        return data, psnr(
            original, decoded if decoded.ndim == 2 else decoded[:, :, : original.shape[-1]]
        ) - target + 1

    data, met = _search(measured, 1.05, True, near)
    if met < 1:
        raise VaecodecError(
            f"cannot reach {target:g} dB: quality 100 gives {met - 1 + target:.2f} dB"
        )
    return data


def _search(
    attempt: Callable[[int], tuple[bytes, float]],
    good_enough: float,
    rising: bool,
    near: int | None,
) -> tuple[bytes, float]:
    """Bisect the quality until attempt's value, which rises or falls with it, lies between 1 and `good_enough`.

    near: where to look first, from there to NEAR towards smaller values. Returns the result nearest above 1; where none is,
    that of the end of the scale which came nearest.
    """
    end, first = (LOWEST, HIGHEST) if rising else (HIGHEST, LOWEST)  # `first` has the largest value
    last = end
    data, value = b"", 0.0
    if near is not None:
        data, value = attempt(near)
        if value >= 1:
            first, last = near, max(near - NEAR, LOWEST) if rising else min(near + NEAR, HIGHEST)
    if value < 1:
        data, value = attempt(first)
    if value <= good_enough:
        return data, value
    while (other := attempt(last))[1] >= 1:
        if last == end or other[1] <= good_enough:
            return other
        first, last, (data, value) = last, end, other
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
