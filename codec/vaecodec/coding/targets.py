"""Find the quality that meets a target: a size in bytes, or a PSNR in dB."""

from collections.abc import Callable

from vaecodec._arrays import Samples
from vaecodec.errors import VaecodecError
from vaecodec.image.picture import Picture
from vaecodec.metrics import psnr

LOWEST = 100  # quality in hundredths
HIGHEST = 10000
EFFORT_QUALITY_SPAN = 200  # hundredths of quality by which effort shifts a file's size or PSNR

EncodeAt = Callable[[float], bytes]  # quality -> file


def encode_to_size(size: float, encode_at: EncodeAt, first_guess: int | None = None) -> bytes:
    """Return the best file of at most `size` bytes.

    It has at least 99 % of `size` where quality can be set so finely.

    Args:
        size: The limit in bytes.
        encode_at: Returns the file of a quality.
        first_guess: A quality in hundredths at which the file is expected to be of that size or
            a little larger.

    Raises:
        VaecodecError: Quality 1 takes more bytes.
    """

    def measure(quality: int) -> tuple[bytes, float]:
        data = encode_at(quality / 100)
        return data, size / len(data)

    data, share = _search(measure, 1.01, False, first_guess)
    if share < 1:
        raise VaecodecError(
            f"cannot be made as small as {size:.0f} bytes: quality 1 takes {len(data)}"
        )
    return data


def encode_to_psnr(
    picture: Picture,
    target: float,
    encode_at: EncodeAt,
    decode: Callable[[bytes], Samples],
    first_guess: int | None = None,
) -> bytes:
    """Return the smallest file whose colours reach a PSNR.

    They have at most 0.05 dB more where quality can be set so finely.

    Args:
        picture: The picture.
        target: The PSNR in dB.
        encode_at: Returns the file of a quality.
        decode: Returns the samples of a file.
        first_guess: A quality in hundredths that is expected to reach the target or to miss it
            by a little.

    Raises:
        VaecodecError: Quality 100 does not reach the target.
    """
    original = picture.colors()

    def measure(quality: int) -> tuple[bytes, float]:
        data = encode_at(quality / 100)
        decoded = decode(data)
        if decoded.ndim == 3:
            decoded = (
                decoded[:, :, : original.shape[-1]] if original.ndim == 3 else decoded[:, :, 0]
            )
        return data, psnr(original, decoded) - target + 1

    data, reached = _search(measure, 1.05, True, first_guess)
    if reached < 1:
        best = reached - 1 + target
        raise VaecodecError(f"cannot reach {target:g} dB: quality 100 gives {best:.2f} dB")
    return data


def _search(
    measure: Callable[[int], tuple[bytes, float]],
    good_enough: float,
    rising: bool,
    first_guess: int | None,
) -> tuple[bytes, float]:
    """Bisect the quality until its measure lies between 1 and `good_enough`.

    Args:
        measure: Returns the file and the measure of a quality in hundredths.
        good_enough: End the search at this measure or below.
        rising: Whether the measure rises with quality; otherwise it falls.
        first_guess: Where to look first, and from there by EFFORT_QUALITY_SPAN towards smaller
            measures.

    Returns:
        The file and measure nearest above 1. If there is none, those of the end of the scale
        that comes nearest.
    """
    best_end, worst_end = (HIGHEST, LOWEST) if rising else (LOWEST, HIGHEST)
    good = best_end  # the quality whose measure is known to be at least 1
    bad = worst_end  # where to look for one below 1
    data = b""
    value = 0.0  # below 1: not found yet
    if first_guess is not None:
        data, value = measure(first_guess)
        if value >= 1:
            good = first_guess
            shift = -EFFORT_QUALITY_SPAN if rising else EFFORT_QUALITY_SPAN
            bad = min(max(first_guess + shift, LOWEST), HIGHEST)
    if value < 1:
        data, value = measure(good)
    if value <= good_enough:
        return data, value
    while True:
        other = measure(bad)
        if other[1] < 1:
            break
        if bad == worst_end or other[1] <= good_enough:
            return other
        good, bad = bad, worst_end
        data, value = other
    while abs(good - bad) > 1:
        middle = (good + bad) // 2
        candidate = measure(middle)
        if candidate[1] < 1:
            bad = middle
            continue
        good = middle
        data, value = candidate
        if value <= good_enough:
            break
    return data, value
