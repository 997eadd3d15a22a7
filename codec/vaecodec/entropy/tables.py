"""Integer probability tables, in the form that the range coder takes."""

from functools import cached_property

import numpy as np

from vaecodec._arrays import F64, Integers
from vaecodec.entropy import backend
from vaecodec.spec import FREQUENCY_BITS


class Tables:
    """Frequency tables over the integers -h..h, each with its own half-width h.

    Args:
        half_width: The half-width of each table, shape (n,).
        frequency: The frequencies of all tables, one table after the other. A table has 2h + 1
            positive integers that sum to 2^24.
    """

    def __init__(self, half_width: Integers, frequency: Integers):
        self.half_width = half_width.astype(np.int32)
        ends = np.cumsum(2 * self.half_width + 1)
        self.frequencies = [f.astype(np.int64) for f in np.split(frequency, ends[:-1])]
        # constriction adds 1 to each weight and scales by (2^24 - n) / sum. For weights that are
        # the frequencies less 1, that factor is exactly 1.
        self.distributions = [
            backend.Categorical((f - 1).astype(np.float64), perfect=False) for f in self.frequencies
        ]

    @cached_property
    def min_bits(self) -> F64:
        """Bits of the likeliest symbol of each table, shape (n,)."""
        return np.array([FREQUENCY_BITS - np.log2(f.max()) for f in self.frequencies])

    @cached_property
    def mean_bits(self) -> F64:
        """Entropy of each table in bits per symbol, shape (n,)."""
        probabilities = [f / 2**FREQUENCY_BITS for f in self.frequencies]
        return np.array([-(p * np.log2(p)).sum() for p in probabilities])
