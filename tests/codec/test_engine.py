"""Which engine runs, and what it accepts."""

import os
import subprocess
import sys

import numpy as np
import pytest

from random_networks import random_context, random_synthesis, valid_network
from vaecodec.engine import Engine, available, chosen, native
from vaecodec.errors import ParameterError


def test_the_fastest_comes_first_and_numpy_last() -> None:
    order = ("vnni", "avxvnni", "avx2", "sse2", "neon", "portable", "numpy")
    assert available() == tuple(name for name in order if name in available())
    assert available()[-1] == "numpy"
    assert ("portable" in available()) == (native.kernels() != ())


@pytest.mark.parametrize("value", [None, ""])
def test_the_fastest_is_the_default(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAECODEC_ENGINE", raising=False)
    if value is not None:
        monkeypatch.setenv("VAECODEC_ENGINE", value)
    assert chosen() == Engine(valid_network()).name == available()[0]


@pytest.mark.parametrize("name", available())
def test_variable_chooses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAECODEC_ENGINE", name)
    assert chosen() == Engine(valid_network()).name == name


@pytest.mark.parametrize("name", available())
def test_argument_goes_before_the_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAECODEC_ENGINE", "unknown")
    assert Engine(valid_network(), name=name).name == name


def test_variable_names_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAECODEC_ENGINE", "VNNI2")
    for call in (chosen, lambda: Engine(valid_network())):
        with pytest.raises(ParameterError) as error:
            call()
        assert all(word in str(error.value) for word in ("VAECODEC_ENGINE=VNNI2", *available()))


def test_argument_names_no_engine() -> None:
    with pytest.raises(ParameterError, match="there is no engine VNNI2"):
        Engine(valid_network(), name="VNNI2")


def test_engine_without_a_kernel_is_numpy() -> None:
    """Where the extension was not built, the engine runs all the same."""
    code = """
import sys
sys.modules["vaecodec.engine._engine"] = None
from vaecodec.engine import available, chosen
print(available(), chosen())
"""
    environment = {k: v for k, v in os.environ.items() if k != "VAECODEC_ENGINE"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split() == ["('numpy',)", "numpy"], done.stderr


@pytest.mark.parametrize("name", available())
@pytest.mark.parametrize(
    "x",
    [
        np.zeros((2, 2, 3), np.int32),
        np.zeros((2, 2, 3), np.uint16),
        np.zeros((2, 2, 3), np.float32),
        np.zeros((2, 2, 4), np.int16),
        np.zeros((2, 3), np.int16),
        np.zeros((1, 2, 2, 3), np.int16),
        np.zeros((0, 2, 3), np.int16),
        np.zeros((2, 0, 3), np.int16),
    ],
    ids=lambda x: f"{x.dtype} {x.shape}",
)
def test_inputs_that_do_not_fit(name: str, x: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"of x|x must be"):
        Engine(valid_network(), name=name).run(x)


@pytest.mark.parametrize("name", available())
def test_sides_and_scales(name: str) -> None:
    synthesis = Engine(random_synthesis(1, 3, 5), name=name)
    assert synthesis.run(np.zeros((2, 3, 3), np.int16)).shape == (8, 12, 5)
    context = Engine(random_context(1, 0, 3, 8), name=name)
    assert context.run(np.zeros((2, 6, 3), np.int16)).shape == (1, 3, 16)
    for shape in ((3, 2, 3), (2, 3, 3), (1, 1, 3)):
        with pytest.raises(ValueError, match="multiples of 2"):
            context.run(np.zeros(shape, np.int16))
