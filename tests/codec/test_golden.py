"""Files written once decode for ever: to the same latents, and to pictures within one grey level."""
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vaecodec
from conftest import GOLDEN
from vaecodec import entropy, rangecoder
from vaecodec.codec import decode_latents
from vaecodec.networks import MODELS, Networks

FILES = sorted(GOLDEN.glob("*.vae"))


def latent_sums(data: bytes) -> dict[str, str]:
    _, latents, _ = decode_latents(data)
    return {part: hashlib.sha256(getattr(latents, part).astype("<i4").tobytes()).hexdigest() for part in ("y", "z")}


def test_there_are_some() -> None:
    assert len(FILES) >= 6


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_latents_and_picture(path: Path) -> None:
    data = path.read_bytes()
    assert latent_sums(data) == json.loads(path.with_suffix(".json").read_text())
    picture, expected = vaecodec.decode(data), Image.open(path.with_suffix(".png"))
    assert picture.mode == expected.mode
    assert np.abs(np.asarray(picture, int) - np.asarray(expected, int)).max() <= 1


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_latents_without_constriction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The range coder in plain Python decodes the same."""
    for name, value in (("coder", rangecoder), ("Categorical", rangecoder.Categorical), ("Uniform", rangecoder.Uniform)):
        monkeypatch.setattr(entropy, name, value)
    monkeypatch.setattr("vaecodec.networks.load", lambda model, threads=0, installed_only=False: Networks(MODELS / model))
    assert latent_sums(path.read_bytes()) == json.loads(path.with_suffix(".json").read_text())


