"""Symbols <-> bytes: range coding with integer probability tables (constriction, or its equal in rangecoder.py).

Symbols are coded grouped by table, the widest tables first, so that each table codes one run. A symbol at either end of its
table is followed, after all runs, by how far it lies beyond: the number of bits of (excess + 1) less one, then the bits below
the highest.
"""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecodec.errors import FormatError

coder: Any
try:
    import constriction

    coder = constriction.stream.queue
    Categorical, Uniform = constriction.stream.model.Categorical, constriction.stream.model.Uniform
except ImportError:  # no build for this platform: the same bits, more slowly
    from vaecodec.entropy import range_coder as coder
    from vaecodec.entropy.range_coder import Categorical, Uniform

Ints = npt.NDArray[np.int32]
TOTAL = 2**24  # frequencies of a table sum to this
LENGTHS = 16  # an excess has at most 16 bits


class Tables:
    """Frequency tables over the integers -h..h, one half-width h a table.

    half_width: (n,); frequency: the n tables one after the other, each of 2h + 1 positive integers summing to 2^24.
    """

    def __init__(
        self, half_width: npt.NDArray[np.integer[Any]], frequency: npt.NDArray[np.integer[Any]]
    ):
        self.half_width = half_width.astype(np.int32)
        ends = np.cumsum(2 * self.half_width + 1)
        self.frequencies = [f.astype(np.int64) for f in np.split(frequency, ends[:-1])]
        self.least_bits = np.array(
            [24 - np.log2(f.max()) for f in self.frequencies]
        )  # of the likeliest symbol of each
        # constriction adds one to each and scales by (2^24 - n) / sum, which is exactly 1 for frequencies less one.
        self.models = [
            Categorical((f - 1).astype(np.float64), perfect=False) for f in self.frequencies
        ]

    @cached_property
    def mean_bits(self) -> npt.NDArray[np.float64]:
        """(n,) what a symbol of each table costs on average, where the table tells the truth."""
        shares = [f / TOTAL for f in self.frequencies]
        return np.array([-(p * np.log2(p)).sum() for p in shares])


class Coder:
    """Takes or gives lists of symbols. notes: what it has to say of each symbol of the last list, (n,) or one for all."""

    notes: npt.NDArray[Any] | int = 0

    def code(
        self, tables: Tables, index: npt.NDArray[np.integer[Any]], symbols: Ints | None = None
    ) -> Ints:
        """index: (n,) the table of each symbol; symbols: (n,), for coders that take them. Returns the symbols (n,)."""
        raise NotImplementedError


class Encoder(Coder):
    """Writes symbols; `finish` gives the bytes."""

    def __init__(self) -> None:
        self._coder = coder.RangeEncoder()

    def code(
        self, tables: Tables, index: npt.NDArray[np.integer[Any]], symbols: Ints | None = None
    ) -> Ints:
        """Returns the symbols as the decoder will see them."""
        assert symbols is not None
        symbols = np.clip(symbols, -(2**15), 2**15)
        order, counts, models, half = _runs(index, tables)
        by_run = symbols[order]
        clipped = np.clip(by_run, -half, half)
        positions, at = clipped + half, 0
        for model, count in zip(models, counts, strict=True):
            if count:
                self._coder.encode(positions[at : at + count], model)
                at += count
        beyond = np.abs(clipped) == half
        excess = (np.abs(by_run) - half)[beyond] + 1
        if excess.size:
            lengths = np.frexp(excess)[1].astype(np.int32) - 1
            self._coder.encode(lengths, Uniform(LENGTHS))
            for length in range(1, LENGTHS):
                values = excess[lengths == length] - (1 << length)
                if values.size:
                    self._coder.encode(values.astype(np.int32), Uniform(1 << length))
        return symbols

    def finish(self) -> bytes:
        return bytes(self._coder.get_compressed().astype("<u4").tobytes())


class Decoder(Coder):
    """Reads what an Encoder wrote. Raises FormatError where the bytes cannot be what any encoder wrote."""

    def __init__(self, data: bytes | memoryview):
        if len(data) % 4:
            raise FormatError("damaged: its coded data is not a whole number of words")
        self._coder = coder.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))

    def code(
        self, tables: Tables, index: npt.NDArray[np.integer[Any]], symbols: Ints | None = None
    ) -> Ints:
        """The next symbols of the bytes."""
        self._order, counts, models, half = _runs(index, tables)
        try:
            by_run = self._symbols(models, counts, half)
        except AssertionError:
            raise FormatError("damaged: its coded data is not valid for its model") from None
        out = np.empty_like(by_run)
        out[self._order] = by_run
        return out

    def _run(self, model: Any, count: int) -> Ints:
        """Symbols of one table, one after the other."""
        run: Ints = self._coder.decode(model, count)
        return run

    def _symbols(self, models: list[Any], counts: list[int], half: Ints) -> Ints:
        """All symbols, run by run; half: the half-width of the table of each."""
        runs = [
            self._run(model, count) for model, count in zip(models, counts, strict=True) if count
        ]
        by_run = np.concatenate(runs) - half if runs else half
        beyond = np.flatnonzero(np.abs(by_run) == half)
        if beyond.size:
            excess = np.zeros(beyond.size, np.int32)
            lengths = self._run(Uniform(LENGTHS), beyond.size)
            for length in range(1, LENGTHS):
                here = np.flatnonzero(lengths == length)
                if here.size:
                    excess[here] = self._run(Uniform(1 << length), here.size) + (1 << length) - 1
            by_run[beyond] += np.sign(by_run[beyond]) * excess
        return by_run


class CutDecoder(Decoder):
    """Reads the beginning of what an Encoder wrote, as far as it goes; what lies beyond is 0, the likeliest symbol.

    A range coder's words are one long number, and larger numbers mean later symbols, so the symbols that the words at hand
    settle are those on which two decoders agree that see the smallest and the largest numbers beginning so.
    """

    def __init__(self, data: bytes | memoryview):
        words = np.frombuffer(data[: len(data) // 4 * 4], "<u4").astype(np.uint32)
        self._lowest = coder.RangeDecoder(words)
        self._highest = coder.RangeDecoder(
            np.concatenate([words, np.full(16, 2**32 - 1, np.uint32)])
        )
        self.ended = words.size == 0
        self.settled = 0  # symbols of the present list that the words tell
        self._middle: dict[int, int] = {}

    def code(
        self, tables: Tables, index: npt.NDArray[np.integer[Any]], symbols: Ints | None = None
    ) -> Ints:
        """As Decoder.code; notes are the table index of each symbol that is a guess, 0 for the others."""
        self.settled = 0
        out = super().code(tables, index)
        guessed = self._order[self.settled :]
        self.notes = np.zeros(out.size, np.uint8)
        self.notes[guessed] = index[guessed]
        return out

    def _run(self, model: Any, count: int) -> Ints:
        settled = np.zeros(0, np.int32)
        if not self.ended:
            try:
                a, b = self._lowest.decode(model, count), self._highest.decode(model, count)
                different = np.flatnonzero(a != b)
                settled = a[: different[0]] if different.size else a
            except AssertionError:
                pass
            self.ended = settled.size < count
            self.settled += settled.size
        if not self.ended:
            return settled
        return np.concatenate(
            [settled, np.full(count - settled.size, self._middle.get(id(model), 0), np.int32)]
        )

    def _symbols(self, models: list[Any], counts: list[int], half: Ints) -> Ints:
        # Position h of a table stands for 0; the uniform models of escapes are not among them and rest at 0.
        firsts = np.cumsum([0, *counts])[:-1].tolist()
        self._middle = {
            id(model): int(half[at])
            for model, at, n in zip(models, firsts, counts, strict=True)
            if n
        }
        return super()._symbols(models, counts, half)


def _runs(
    index: npt.NDArray[np.integer[Any]], tables: Tables
) -> tuple[npt.NDArray[np.intp], list[int], list[Any], Ints]:
    """The runs of a list of symbols: its stable order by table, the length of each run, the models, each symbol's half-width.

    The last table comes first: of y that is the one of the largest scale, whose symbols tell most.
    """
    last = len(tables.models) - 1
    order = last - index.astype(np.int16)
    counts = np.bincount(order, minlength=last + 1)
    return (
        np.argsort(order, kind="stable"),
        counts.tolist(),
        tables.models[::-1],
        np.repeat(tables.half_width[::-1], counts),
    )
