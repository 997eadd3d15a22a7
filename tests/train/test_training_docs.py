"""docs/TRAINING.md names every configuration key with its default."""

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

from vaecodec_train.config import TrainConfig
from vaecodec_train.model.autoencoder import ModelConfig

PAGE = Path(__file__).parents[2] / "docs" / "TRAINING.md"
ROW = re.compile(r"^\| `([a-z_.]+)` \| `([^`]+)` \| (.+) \|$", re.MULTILINE)


def defaults() -> dict[str, Any]:
    values = dataclasses.asdict(TrainConfig())
    del values["model"]
    model = dataclasses.asdict(ModelConfig())
    return values | {f"model.{name}": value for name, value in model.items()}


def test_every_key_and_its_default() -> None:
    rows = {key: default for key, default, _ in ROW.findall(PAGE.read_text(encoding="utf-8"))}
    documented = {key: tomllib.loads(f"value = {text}")["value"] for key, text in rows.items()}
    expected = {
        key: list(value) if isinstance(value, tuple) else value for key, value in defaults().items()
    }
    assert documented == expected
    assert list(documented) == list(expected)  # in the order of the source
