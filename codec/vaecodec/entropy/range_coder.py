"""The range coder in plain Python integers, bit for bit the same as constriction's.

docs/FORMAT.md specifies it under "The range coder". It runs where constriction has no wheel
(Linux on aarch64), and it is the reference for other implementations. It takes about one
microsecond per symbol. The class and method names are those of constriction that this package
uses.
"""

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

from vaecodec._arrays import F64, I32
from vaecodec.spec import FREQUENCY_BITS

TOTAL = 1 << FREQUENCY_BITS
MASK = 2**64 - 1
WORD = 2**32


class Categorical:
    """A distribution over 0..n-1.

    Args:
        probabilities: Whole numbers, each one less than the frequency of its symbol. The
            frequencies sum to 2^24.
        perfect: Must be False. It is there because constriction has it.
    """

    def __init__(self, probabilities: F64, perfect: bool = False):
        frequencies = probabilities.astype(np.int64) + 1
        self.ends: list[int] = np.concatenate([[0], np.cumsum(frequencies)]).tolist()
        if perfect or self.ends[-1] != TOTAL:
            raise ValueError("frequencies do not sum to 2^24")


class Uniform(Categorical):
    """Equal frequencies for 0..size-1. The last symbol gets the remainder of the division."""

    def __init__(self, size: int):
        step = TOTAL // size
        self.ends = [i * step for i in range(size)] + [TOTAL]


class RangeEncoder:
    """Encodes symbols into 32-bit words.

    `lower` and `range` are 64-bit. Words leave at the top whenever `range` falls below 2^32.
    """

    def __init__(self) -> None:
        self.lower = 0
        self.range = MASK
        self.words: list[int] = []

    def encode(self, symbols: I32, model: Categorical) -> None:
        """Encode symbols (n,) of one distribution."""
        ends = model.ends
        lower = self.lower
        span = self.range
        for symbol in symbols.tolist():
            scale = span >> FREQUENCY_BITS
            lower += scale * ends[symbol]
            span = scale * (ends[symbol + 1] - ends[symbol])
            if lower > MASK:
                lower &= MASK
                self._carry()
            if span < WORD:
                self.words.append(lower >> 32)
                lower = (lower << 32) & MASK
                span <<= 32
        self.lower = lower
        self.range = span

    def _carry(self) -> None:
        """Add 1 to the number that the words form."""
        at = len(self.words) - 1
        while self.words[at] == WORD - 1:
            self.words[at] = 0
            at -= 1
        self.words[at] += 1

    def get_compressed(self) -> npt.NDArray[np.uint32]:
        """Return all words, including the one or two that end the code.

        The first of these names a point within the range. A second one follows where the first
        alone would be ambiguous.
        """
        if self.range == MASK and not self.words:
            return np.zeros(0, np.uint32)
        point = self.lower + WORD - 1
        rest = RangeEncoder()
        rest.words = list(self.words)
        if point > MASK:
            rest._carry()
        last = (point & MASK) >> 32
        upper = ((self.lower + self.range) & MASK) >> 32
        ambiguous = upper == last
        return np.array([*rest.words, last] + ([0] if ambiguous else []), np.uint32)


class RangeDecoder:
    """Decodes symbols from 32-bit words. Past the end of the words it reads zeros."""

    def __init__(self, compressed: npt.NDArray[np.uint32]):
        self.words: list[int] = compressed.tolist()
        first, second = (*self.words[:2], 0, 0)[:2]
        self.offset = first << 32 | second  # the coded point less `lower` of the encoder
        self.range = MASK
        self.at = 2  # index of the next word

    def decode(self, model: Categorical, amount: int) -> I32:
        """Decode `amount` symbols of one distribution.

        Raises:
            AssertionError: No encoder can have written the words.
        """
        ends = model.ends
        words = self.words
        offset = self.offset
        span = self.range
        at = self.at
        symbols = [0] * amount
        for k in range(amount):
            scale = span >> FREQUENCY_BITS
            quantile = offset // scale
            if quantile >> FREQUENCY_BITS:
                raise AssertionError("no encoder can have written these words")
            symbol = bisect_right(ends, quantile) - 1
            offset -= scale * ends[symbol]
            span = scale * (ends[symbol + 1] - ends[symbol])
            if span < WORD:
                span <<= 32
                offset = offset << 32 | (words[at] if at < len(words) else 0)
                at += 1
            symbols[k] = symbol
        self.offset = offset
        self.range = span
        self.at = at
        return np.array(symbols, np.int32)
