"""The range coder in plain Python integers, bit for bit as constriction's (docs/FORMAT.md, "The range coder").

Used where constriction has no build (Linux on aarch64), and the reference for whoever writes another decoder. It is slow,
about a microsecond a symbol; it has the few names of constriction that entropy.py calls.
"""

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

PRECISION = 24  # frequencies sum to 2^24
MASK = 2**64 - 1
WORD = 2**32


class Categorical:
    """probabilities: whole numbers, one less than each frequency, so that the frequencies sum to 2^24."""

    def __init__(self, probabilities: npt.NDArray[np.float64], perfect: bool = False):
        self.ends = np.concatenate([[0], np.cumsum(probabilities.astype(np.int64) + 1)]).tolist()
        if perfect or self.ends[-1] != 1 << PRECISION:
            raise ValueError("frequencies do not sum to 2^24")


class Uniform(Categorical):
    """Equal frequencies for 0..size - 1; the last takes what the division leaves."""

    def __init__(self, size: int):
        step = (1 << PRECISION) // size
        self.ends = [i * step for i in range(size)] + [1 << PRECISION]


class RangeEncoder:
    """`lower` and `range` are 64-bit; 32-bit words leave at the top whenever `range` falls below 2^32."""

    def __init__(self) -> None:
        self.lower, self.range, self.words = 0, MASK, []  # type: ignore[var-annotated]

    def encode(self, symbols: npt.NDArray[np.int32], model: Categorical) -> None:
        ends, lower, span = model.ends, self.lower, self.range
        for symbol in symbols.tolist():
            scale = span >> PRECISION
            lower += scale * ends[symbol]
            span = scale * (ends[symbol + 1] - ends[symbol])
            if lower > MASK:
                lower &= MASK
                self._carry()
            if span < WORD:
                self.words.append(lower >> 32)
                lower, span = (lower << 32) & MASK, span << 32
        self.lower, self.range = lower, span

    def _carry(self) -> None:
        at = len(self.words) - 1
        while self.words[at] == WORD - 1:
            self.words[at] = 0
            at -= 1
        self.words[at] += 1

    def get_compressed(self) -> npt.NDArray[np.uint32]:
        """All words: one more names a point within the range, a second one where the first alone would be ambiguous."""
        if self.range == MASK and not self.words:
            return np.zeros(0, np.uint32)
        point = self.lower + WORD - 1
        words, rest = list(self.words), RangeEncoder()
        if point > MASK:
            rest.words = words
            rest._carry()
        word = (point & MASK) >> 32
        upper = ((self.lower + self.range) & MASK) >> 32
        return np.array([*words, word] + ([0] if upper == word else []), np.uint32)


class RangeDecoder:
    """Past the end of its words it reads zeros; raises AssertionError where no encoder can have written the words."""

    def __init__(self, compressed: npt.NDArray[np.uint32]):
        self.words, self.at = compressed.tolist(), 2
        first, second = (*self.words[:2], 0, 0)[:2]
        self.offset, self.range = first << 32 | second, MASK  # offset: the point less `lower`

    def decode(self, model: Categorical, amount: int) -> npt.NDArray[np.int32]:
        ends, offset, span, words, at = model.ends, self.offset, self.range, self.words, self.at
        out = [0] * amount
        for k in range(amount):
            scale = span >> PRECISION
            quantile = offset // scale
            if quantile >> PRECISION:
                raise AssertionError("these words were not written by an encoder")
            symbol = bisect_right(ends, quantile) - 1
            offset -= scale * ends[symbol]
            span = scale * (ends[symbol + 1] - ends[symbol])
            if span < WORD:
                span <<= 32
                offset = offset << 32 | (words[at] if at < len(words) else 0)
                at += 1
            out[k] = symbol
        self.offset, self.range, self.at = offset, span, at
        return np.array(out, np.int32)
