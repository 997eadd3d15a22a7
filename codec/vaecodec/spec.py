"""Constants and integer rules that the format, the runtime and the trainer share (docs/FORMAT.md)."""

from vaecodec.errors import ParameterError

STEPS = 4  # context steps in which y is coded
SEGMENTS = STEPS + 1  # coded parts of a tile: z, then the steps of y
Z_FRACTION = 16  # z_hat is a fixed-point number in units of 1/16
Y_FRACTION = 64  # means and y_hat are fixed-point numbers in units of 1/64
FREQUENCY_BITS = 24  # the frequencies of a probability table sum to 2^24


def group_at(step: int, position: int) -> int:
    """Which of the four groups of channels a step codes at a position (0..3, row by row) of every 2x2 cell."""
    return step ^ (0, 2, 3, 1)[position]


def check_quality(quality: float) -> float:
    """quality in hundredths. Raises ParameterError outside 1 to 100."""
    if not 1 <= quality <= 100:
        raise ParameterError(f"quality must be between 1 and 100, not {quality:g}")
    return round(quality * 100) / 100
