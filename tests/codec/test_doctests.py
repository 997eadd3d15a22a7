"""The examples in docstrings run as they stand."""

import doctest
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import vaecodec

MODULES = [
    "vaecodec",
    "vaecodec.api",
    "vaecodec.coding.vae_file",
    "vaecodec.engine",
    "vaecodec.format.container",
    "vaecodec.image.picture",
    "vaecodec.pillow",
    "vaecodec.tasks.embed",
    "vaecodec.tasks.interpolate",
    "vaecodec.tasks.restore",
    "vaecodec.tasks.sample",
    "vaecodec.tasks.score",
]
SOURCE = Path(vaecodec.__file__).parent


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run in a folder that holds photo.png and photo.vae."""
    monkeypatch.chdir(folder)
    module = import_module(name)
    result = doctest.testmod(module, extraglobs={"vaecodec": vaecodec, "np": np})
    assert result.failed == 0
    assert result.attempted > 0 or name == "vaecodec.coding.vae_file"


def test_every_module_with_examples_is_listed() -> None:
    names = set()
    for path in SOURCE.rglob("*.py"):
        if ">>>" in path.read_text(encoding="utf-8"):
            parts = path.relative_to(SOURCE.parent).with_suffix("").parts
            names.add(".".join(parts).removesuffix(".__init__"))
    assert names <= set(MODULES)


def test_no_example_is_skipped() -> None:
    skipping = [
        path for path in SOURCE.rglob("*.py") if "doctest: +SKIP" in path.read_text("utf-8")
    ]
    assert not skipping
