"""Files written once decode for ever: to the same latents, and to pictures within one grey level."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import vaecodec
from conftest import GOLDEN
from vaecodec.entropy import backend, range_coder
from vaecodec.model.networks import Networks
from vaecodec.model.registry import MODELS

FILES = sorted(GOLDEN.glob("*.vae"))


def latent_sums(data: bytes) -> dict[str, str]:
    """SHA-256 over the latents of all tiles."""
    with vaecodec.open(data) as file:
        tiles = file.latents()
    return {
        part: hashlib.sha256(
            b"".join(getattr(tile, part).astype("<i4").tobytes() for tile in tiles)
        ).hexdigest()
        for part in ("y", "z")
    }


def test_there_are_some() -> None:
    assert len(FILES) >= 12


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_latents_and_picture(path: Path) -> None:
    data = path.read_bytes()
    assert latent_sums(data) == json.loads(path.with_suffix(".json").read_text())
    picture, expected = vaecodec.decode_array(data), np.load(path.with_suffix(".npz"))["picture"]
    step = 257 if picture.dtype == np.uint16 else 1
    assert picture.shape == expected.shape and picture.dtype == expected.dtype
    assert np.abs(picture.astype(int) - expected.astype(int)).max() <= step
    if vaecodec.probe(data).color.has_alpha:
        assert np.array_equal(picture[..., -1], expected[..., -1])


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_latents_without_constriction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The range coder in plain Python decodes the same."""
    for name in ("RangeDecoder", "Categorical", "Uniform"):
        monkeypatch.setattr(backend, name, getattr(range_coder, name))
    monkeypatch.setattr(
        "vaecodec.coding.tile_pool.load_model",
        lambda model, threads=0, installed_only=False: Networks(MODELS / model),
    )
    assert latent_sums(path.read_bytes()) == json.loads(path.with_suffix(".json").read_text())
