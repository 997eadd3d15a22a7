"""Symbols to bytes and back: range coding with integer probability tables (docs/FORMAT.md).

Symbols are coded grouped by table, the widest table first, so that each table codes one run.
A symbol at either end of its table stands for everything beyond. How far beyond follows after
all runs: the number of bits of (excess + 1) less one, then the bits below the highest.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vaecodec._arrays import I32, Integers
from vaecodec.entropy import backend
from vaecodec.entropy.tables import Tables
from vaecodec.errors import FormatError

EXCESS_LENGTHS = 16  # an excess has at most 16 bits
MAX_SYMBOL = 2**15  # largest magnitude that an encoder writes


class SymbolSource(Protocol):
    """Anything that symbols are taken from: a decoder, or a random generator."""

    def decode(self, tables: Tables, index: Integers) -> I32:
        """Return the next symbols, shape (n,). `index` (n,) is the table of each symbol."""
        ...


class SymbolSink(Protocol):
    """Anything that symbols are given to: an encoder, or a counter of bits."""

    def encode(self, tables: Tables, index: Integers, symbols: I32) -> None:
        """Take symbols (n,). `index` (n,) is the table of each symbol."""
        ...


@dataclass(frozen=True)
class Runs:
    """How a list of symbols is sorted by table, the last table first.

    For y, the last table has the largest scale, and its symbols say most about the picture.
    """

    order: npt.NDArray[np.intp]  # (n,) the stable order of the symbols
    counts: list[int]  # length of each run
    distributions: list[Any]  # distribution of each run
    half_width: I32  # (n,) half-width of each symbol's table, in sorted order


def sort_by_table(index: Integers, tables: Tables) -> Runs:
    """Return the runs of a list of symbols. `index` (n,) is the table of each symbol."""
    last = len(tables.distributions) - 1
    reversed_index = last - index.astype(np.int16)
    counts = np.bincount(reversed_index, minlength=last + 1)
    return Runs(
        np.argsort(reversed_index, kind="stable"),
        counts.tolist(),
        tables.distributions[::-1],
        np.repeat(tables.half_width[::-1], counts),
    )


class Encoder:
    """A symbol sink that writes range-coded bytes."""

    def __init__(self) -> None:
        self._coder = backend.RangeEncoder()

    def encode(self, tables: Tables, index: Integers, symbols: I32) -> None:
        """Write symbols (n,) of magnitude at most MAX_SYMBOL."""
        runs = sort_by_table(index, tables)
        in_order = symbols[runs.order]
        clipped = np.clip(in_order, -runs.half_width, runs.half_width)
        positions = clipped + runs.half_width
        start = 0
        for distribution, count in zip(runs.distributions, runs.counts, strict=True):
            if count:
                self._coder.encode(positions[start : start + count], distribution)
                start += count
        at_end = np.abs(clipped) == runs.half_width
        excess = (np.abs(in_order) - runs.half_width)[at_end] + 1
        if excess.size:
            self._encode_excess(excess)

    def _encode_excess(self, excess: I32) -> None:
        """Write how far symbols lie beyond their tables, plus 1."""
        lengths = np.frexp(excess)[1].astype(np.int32) - 1
        self._coder.encode(lengths, backend.Uniform(EXCESS_LENGTHS))
        for length in range(1, EXCESS_LENGTHS):
            values = excess[lengths == length] - (1 << length)
            if values.size:
                self._coder.encode(values.astype(np.int32), backend.Uniform(1 << length))

    def finish(self) -> bytes:
        """Return the bytes of all symbols written so far."""
        return bytes(self._coder.get_compressed().astype("<u4").tobytes())


class RunDecoder:
    """Base of the decoders: sorts symbols into runs; `_decode_run` reads one run."""

    def _decode_run(self, distribution: Any, count: int) -> I32:
        raise NotImplementedError

    def _decode_runs(self, runs: Runs) -> I32:
        """Decode all runs and return the symbols, still sorted by table."""
        positions = [
            self._decode_run(distribution, count)
            for distribution, count in zip(runs.distributions, runs.counts, strict=True)
            if count
        ]
        if not positions:
            return runs.half_width
        symbols = np.concatenate(positions) - runs.half_width
        at_end = np.flatnonzero(np.abs(symbols) == runs.half_width)
        if at_end.size:
            symbols[at_end] += np.sign(symbols[at_end]) * self._decode_excess(at_end.size)
        return symbols

    def _decode_excess(self, count: int) -> I32:
        """Return how far `count` symbols lie beyond their tables."""
        excess = np.zeros(count, np.int32)
        lengths = self._decode_run(backend.Uniform(EXCESS_LENGTHS), count)
        for length in range(1, EXCESS_LENGTHS):
            members = np.flatnonzero(lengths == length)
            if members.size:
                low_bits = self._decode_run(backend.Uniform(1 << length), members.size)
                excess[members] = low_bits + (1 << length) - 1
        return excess


class Decoder(RunDecoder):
    """A symbol source that reads what an Encoder wrote.

    Args:
        data: The bytes that `Encoder.finish` returned.

    Raises:
        FormatError: No encoder can have written these bytes.
    """

    def __init__(self, data: bytes | memoryview):
        if len(data) % 4:
            raise FormatError("damaged: the coded data is not a whole number of 32-bit words")
        self._coder = backend.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))

    def decode(self, tables: Tables, index: Integers) -> I32:
        """Return the next symbols (n,). Raise FormatError for bytes that no encoder writes."""
        runs = sort_by_table(index, tables)
        try:
            in_order = self._decode_runs(runs)
        except AssertionError:  # constriction's way to say so
            raise FormatError("damaged: the coded data is not valid for its model") from None
        symbols = np.empty_like(in_order)
        symbols[runs.order] = in_order
        return symbols

    def _decode_run(self, distribution: Any, count: int) -> I32:
        symbols: I32 = self._coder.decode(distribution, count)
        return symbols
