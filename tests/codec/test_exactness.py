"""Symbols, means and table indices do not depend on what computes them (docs/EXACTNESS.md)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaecodec
from helpers import kodak_crop
from integer_networks import Int64, Torch, digest, digest_tile
from random_networks import random_model
from vaecodec.engine import available
from vaecodec.entropy.tables import Tables
from vaecodec.model import registry
from vaecodec.model.networks import Networks

# Six pictures, sizes that do and do not fill their cells, the whole range of quality.
PICTURES = [
    (1, 256, 192, 1),
    (5, 203, 131, 30.5),
    (8, 192, 192, 50),
    (13, 65, 257, 70),
    (20, 128, 64, 90.25),
    (24, 160, 144, 100),
]
# Height, width and quality of tiles for random models.
TILES = [(1, 1, 1.0), (64, 65, 30.5), (130, 200, 50.0), (256, 64, 99.99), (17, 321, 100.0)]
# m, channels of p, channels of z.
MODELS = [(4, 3, 2), (28, 17, 5), (64, 40, 24)]

Digests = Callable[[Any], list[str]]  # of networks: the hash of each file or tile


class Symbols:
    """A source of random symbols, small ones and a few large ones."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def decode(self, tables: Tables, index: np.ndarray) -> np.ndarray:
        width = tables.half_width[index]
        symbols = self.rng.integers(-width, width + 1)
        rare = self.rng.random(len(symbols)) < 0.01
        symbols[rare] = self.rng.integers(-(2**15), 2**15, rare.sum())
        return symbols.astype(np.int32)


def random_digests(nets: Any) -> list[str]:
    return [
        digest_tile(nets, quality, (height, width), [Symbols(i)] * 5)
        for i, (height, width, quality) in enumerate(TILES)
    ]


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return [vaecodec.encode(kodak_crop(n, w, h), quality) for n, w, h, quality in PICTURES]


@pytest.fixture(scope="module", params=["default", *MODELS], ids=str)
def subject(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Digests]:
    """A model folder, and what hashes all that networks decode with it: the default model, then random ones."""
    if request.param == "default":
        files = request.getfixturevalue("files")
        return registry.load_model().folder, lambda nets: [digest(data, nets) for data in files]
    folder = tmp_path_factory.mktemp("model")
    return random_model(folder, sum(request.param), *request.param), random_digests


@pytest.fixture(scope="module")
def expected(subject: tuple[Path, Digests]) -> list[str]:
    """What the independent implementation computes."""
    folder, digests = subject
    return digests(Int64(Networks(folder)))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("engine", available())
def test_engine(
    subject: tuple[Path, Digests],
    expected: list[str],
    engine: str,
    threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VAECODEC_ENGINE", engine)
    folder, digests = subject
    nets = Networks(folder, threads)
    assert digests(nets) == expected
    assert nets.engine("h_s").name == engine


@pytest.mark.torch
@pytest.mark.parametrize("threads", [1, 2])
def test_torch(subject: tuple[Path, Digests], expected: list[str], threads: int) -> None:
    import torch

    folder, digests = subject
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert digests(Torch(Networks(folder))) == expected
    finally:
        torch.set_num_threads(before)


def test_random_models_reach_many_tables(tmp_path: Path) -> None:
    """Random activations are neither all zero nor all saturated, so that the tests above compare something."""
    nets = Networks(random_model(tmp_path, 1, 28, 17, 5), 1)
    rng = np.random.default_rng(0)
    state = nets.hyper_synthesis(rng.integers(-50, 50, (5, 6, 7)).astype(np.int32), 50)
    state[..., 17:] = rng.integers(-3000, 3000, (24, 28, 28))
    for step in range(4):
        mean, index = nets.context(step, state, 50)
        assert len(np.unique(index)) > 32
        assert len(np.unique(mean)) > 1000
    saturated = np.abs(state[..., :17]) == 16383
    assert 0 < saturated.mean() < 0.5
