"""Files decode for ever to the same latents, and to pictures within one grey level."""

import json
from pathlib import Path

import numpy as np
import pytest

import vaecodec
from helpers import GOLDEN, latent_sums
from vaecodec.entropy import backend, range_coder
from vaecodec.model import registry

FILES = sorted(GOLDEN.glob("*.vae"))


def test_there_are_golden_files() -> None:
    assert len(FILES) >= 12


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_latents_and_picture(path: Path) -> None:
    data = path.read_bytes()
    assert latent_sums(data) == json.loads(path.with_suffix(".json").read_text())
    picture = vaecodec.decode_array(data)
    expected = np.load(path.with_suffix(".npz"))["picture"]
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
    # Models that are loaded already hold tables of constriction.
    monkeypatch.setattr(registry, "_open", registry._open.__wrapped__)
    assert latent_sums(path.read_bytes()) == json.loads(path.with_suffix(".json").read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_latents_in_numpy_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine in NumPy decodes the same, without any compiled code of this project."""
    monkeypatch.setenv("VAECODEC_ENGINE", "numpy")
    # Models that are loaded already hold other engines.
    monkeypatch.setattr(registry, "_open", registry._open.__wrapped__)
    assert latent_sums(path.read_bytes()) == json.loads(path.with_suffix(".json").read_text())
