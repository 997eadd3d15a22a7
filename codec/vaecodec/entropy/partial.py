"""Decoding the beginning of coded data whose end is missing."""

from typing import Any

import numpy as np

from vaecodec._arrays import I32, U8, Integers
from vaecodec.entropy import backend
from vaecodec.entropy.coder import RunDecoder, Runs, sort_by_table
from vaecodec.entropy.tables import Tables


class PartialDecoder(RunDecoder):
    """A symbol source that reads the beginning of what an Encoder wrote, as far as it goes.

    Symbols that the data does not settle are 0, the likeliest value.

    The words of a range coder form one long number, and a larger number means a later symbol.
    So the words at hand settle exactly those symbols on which two decoders agree: one that sees
    the smallest continuation (zeros), and one that sees the largest (ones).

    Attributes:
        guessed: For each symbol of the last call to `decode`, the index of its table if the
            symbol is a guess, 0 if the data settles it. Shape (n,).
    """

    guessed: U8

    def __init__(self, data: bytes | memoryview):
        words = np.frombuffer(data[: len(data) // 4 * 4], "<u4").astype(np.uint32)
        ones = np.full(16, 2**32 - 1, np.uint32)
        self._lowest = backend.RangeDecoder(words)
        self._highest = backend.RangeDecoder(np.concatenate([words, ones]))
        self._ended = words.size == 0
        self._settled = 0  # symbols of the current call that the words settle
        self._zero_position: dict[int, int] = {}  # position of 0 in each distribution, by its id

    def decode(self, tables: Tables, index: Integers) -> I32:
        """Return the next symbols (n,), and set `guessed`."""
        runs = sort_by_table(index, tables)
        firsts = np.cumsum([0, *runs.counts])[:-1].tolist()
        # Uniform distributions of excesses are not among the runs, so their guess is 0.
        self._zero_position = {}
        for distribution, first, count in zip(runs.distributions, firsts, runs.counts, strict=True):
            if count:
                self._zero_position[id(distribution)] = int(runs.half_width[first])
        self._settled = 0
        in_order = self._decode_runs(runs)
        symbols = np.empty_like(in_order)
        symbols[runs.order] = in_order
        self._mark_guesses(runs, index)
        return symbols

    def _mark_guesses(self, runs: Runs, index: Integers) -> None:
        guesses = runs.order[self._settled :]
        self.guessed = np.zeros(index.size, np.uint8)
        self.guessed[guesses] = index[guesses]

    def _decode_run(self, distribution: Any, count: int) -> I32:
        settled = np.zeros(0, np.int32)
        if not self._ended:
            settled = self._settled_symbols(distribution, count)
            self._ended = settled.size < count
            self._settled += settled.size
        guess = self._zero_position.get(id(distribution), 0)
        return np.concatenate([settled, np.full(count - settled.size, guess, np.int32)])

    def _settled_symbols(self, distribution: Any, count: int) -> I32:
        """Return the symbols of a run on which both decoders agree, up to the first difference."""
        try:
            low: I32 = self._lowest.decode(distribution, count)
            high: I32 = self._highest.decode(distribution, count)
        except AssertionError:  # the data is not valid from here on
            return np.zeros(0, np.int32)
        different = np.flatnonzero(low != high)
        return low[: different[0]] if different.size else low
