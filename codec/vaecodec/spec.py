"""Constants and integer rules of docs/FORMAT.md that format, runtime and trainer share."""

from vaecodec.errors import ParameterError

STEPS = 4  # context steps in which y is coded, and groups that its channels form
POSITIONS = 4  # positions in a 2x2 square of cells of y
SEGMENTS = STEPS + 1  # coded parts of a tile: z, then the steps of y
Z_FRACTION = 16  # z_hat is a fixed-point number in units of 1/16
Y_FRACTION = 64  # means and y_hat are fixed-point numbers in units of 1/64
FREQUENCY_BITS = 24  # the frequencies of a probability table sum to 2^24
DEFAULT_QUALITY = 50
QUALITY_SPAN = 9900  # hundredths between quality 1 and quality 100
MAX_THREADS = 1024

Part = tuple[slice, slice, slice]  # of a latent array: rows, columns, channels


def group_at(step: int, position: int) -> int:
    """Return which of the four channel groups a step codes at a position of each 2x2 square.

    `position` is 0 to 3, row by row.
    """
    return step ^ (0, 2, 3, 1)[position]


def step_parts(step: int, m: int) -> list[Part]:
    """Return the parts of y (h, w, m) that a step codes, one for each position of a 2x2 square."""
    group_size = m // STEPS
    parts = []
    for position in range(POSITIONS):
        row, column = divmod(position, 2)
        first = group_at(step, position) * group_size
        channels = slice(first, first + group_size)
        parts.append((slice(row, None, 2), slice(column, None, 2), channels))
    return parts


def quality_position(quality: float, knots: int) -> tuple[int, int]:
    """Return where a quality lies among the knots of a quality table.

    Qualities 1 to 100 run evenly over the knots. The result is the index of the knot below and
    the distance from it, in units of 1/9900 of the distance between two knots.
    """
    return divmod((round(quality * 100) - 100) * (knots - 1), QUALITY_SPAN)


def check_quality(quality: float) -> float:
    """Return `quality` rounded to hundredths. Raise ParameterError outside 1 to 100."""
    if not 1 <= quality <= 100:
        raise ParameterError(f"quality must be between 1 and 100, not {quality:g}")
    return round(quality * 100) / 100


def check_threads(threads: int) -> None:
    """Raise ParameterError unless `threads` is a whole number from 0 to MAX_THREADS."""
    if threads not in range(MAX_THREADS + 1):
        raise ParameterError(f"threads must be between 0 and {MAX_THREADS}, not {threads}")
