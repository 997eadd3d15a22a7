"""The range coder in plain Python must give constriction's bits, whatever the symbols and however hostile the words."""

import numpy as np
import pytest

from vaecodec.entropy import range_coder

constriction = pytest.importorskip("constriction")  # it has no wheels for some platforms
queue, model = constriction.stream.queue, constriction.stream.model


def tables(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Frequencies less one of a random table, from nearly flat to nearly certain."""
    size = int(rng.integers(2, 40))
    p = rng.random(size) ** rng.choice([0.5, 3, 30]) + 1e-12
    less_one = np.floor(p / p.sum() * (2**24 - size))
    less_one[np.argmax(less_one)] += 2**24 - size - less_one.sum()
    return less_one, size


@pytest.mark.parametrize("seed", range(150))
def test_same_words_as_constriction(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs, runs = range_coder.RangeEncoder(), queue.RangeEncoder(), []
    for _ in range(int(rng.integers(0, 12))):
        if rng.random() < 0.3:
            size = int(rng.integers(1, 12))
            mine, peer = range_coder.Uniform(1 << size), model.Uniform(1 << size)
            p, n = None, 1 << size
        else:
            less_one, n = tables(rng)
            mine, peer = (
                range_coder.Categorical(less_one),
                model.Categorical(less_one, perfect=False),
            )
            p = (less_one + 1) / 2**24 if rng.random() < 0.7 else None  # likely symbols, or any
        symbols = rng.choice(n, int(rng.integers(1, 60)), p=p).astype(np.int32)
        ours.encode(symbols, mine)
        theirs.encode(symbols, peer)
        runs.append((mine, peer, symbols))
    words = ours.get_compressed()
    assert words.tolist() == theirs.get_compressed().tolist()
    decoder = range_coder.RangeDecoder(words)
    for mine, _, symbols in runs:
        assert decoder.decode(mine, len(symbols)).tolist() == symbols.tolist()

    # Damaged words: the same garbage, or a refusal at the same run.
    damaged = np.concatenate([words, rng.integers(0, 2**32, 3).astype(np.uint32)])[
        : max(1, len(words) - 1)
    ]
    damaged[rng.integers(len(damaged))] ^= np.uint32(1 << int(rng.integers(32)))
    ours_d, theirs_d = range_coder.RangeDecoder(damaged), queue.RangeDecoder(damaged)
    for mine, peer, symbols in runs:
        results = []
        for decode, table in ((ours_d.decode, mine), (theirs_d.decode, peer)):
            try:
                results.append(decode(table, len(symbols)).tolist())
            except AssertionError:
                results.append(None)
        assert results[0] == results[1]
        if results[0] is None:
            break


def test_carry_through_many_words() -> None:
    """A run of certain symbols at the very top of the range makes a carry ripple through words of all ones."""
    top = np.array([2**24 - 3, 0.0, 0.0])
    ours, theirs = range_coder.RangeEncoder(), queue.RangeEncoder()
    for symbols in ([2] * 30, [1] * 3, [2] * 40, [0] * 5):
        ours.encode(np.array(symbols, np.int32), range_coder.Categorical(top))
        theirs.encode(np.array(symbols, np.int32), model.Categorical(top, perfect=False))
    assert ours.get_compressed().tolist() == theirs.get_compressed().tolist()
