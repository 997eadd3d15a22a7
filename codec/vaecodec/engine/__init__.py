"""The integer engine, which runs networks with the same result on every machine.

>>> import numpy as np
>>> from vaecodec.engine import Buffer, Engine, Layer, Network
>>> double = Network(
...     {"input": Buffer(1), "output": Buffer(1)},
...     (Layer("linear", "input", "output", 1, 1, "double"),),
...     {
...         "double.weight": np.array([[4]], np.int16),
...         "double.bias": np.array([0], np.int32),
...         "double.shift": np.array([1], np.uint8),
...     },
... )
>>> Engine(double).run(np.array([[[3], [-5]]], np.int16)).ravel().tolist()
[6, -10]
"""

import os

import numpy as np

from vaecodec._arrays import I16
from vaecodec.engine import native, reference
from vaecodec.engine.network import INPUT, Buffer, Layer, Network, check, load_network, save_network
from vaecodec.engine.quality import gain_rows
from vaecodec.errors import ParameterError

__all__ = [
    "Buffer",
    "Engine",
    "Layer",
    "Network",
    "available",
    "chosen",
    "load_network",
    "save_network",
]

NUMPY = "numpy"
VARIABLE = "VAECODEC_ENGINE"


def available() -> tuple[str, ...]:
    """Return the names of the engines that this machine can run, the fastest first.

    All but the last, "numpy", are kernels of the engine in C.
    """
    return (*native.kernels(), NUMPY)


def chosen() -> str:
    """Return the name of the engine to use: that in $VAECODEC_ENGINE, or else the fastest one.

    Raises:
        ParameterError: This machine does not have the engine that the variable names.
    """
    names = available()
    name = os.environ.get(VARIABLE) or names[0]
    if name not in names:
        raise ParameterError(
            f"{VARIABLE}={name}: there is no such engine here, only {', '.join(names)}"
        )
    return name


class Engine:
    """A network, ready to run.

    Args:
        network: The network.
        threads: Number of threads among which the rows are divided.
        name: One of `available()`. None is `chosen()`.

    Raises:
        ModelError: The network is invalid.
        ParameterError: There is no such engine.
    """

    def __init__(self, network: Network, threads: int = 1, name: str | None = None):
        self.network = check(network)
        self.threads = threads
        self.name = chosen() if name is None else name
        if self.name not in available():
            raise ParameterError(f"there is no engine {self.name}")
        self._program = native.Program(network) if self.name != NUMPY else None

    @property
    def inputs(self) -> int:
        """The number of channels of the input."""
        return self.network.buffers[INPUT].channels

    def run(self, x: I16, quality: float = 50.0) -> I16:
        """Run the network.

        Args:
            x: The input, int16, shape (h, w, channels). h and w are multiples of the input's
                scale. Values beyond ±16383 are clamped.
            quality: 1 to 100. Only gain layers use it.

        Returns:
            The output, int16, shape (h, w, channels) with h and w in proportion to its scale.

        Raises:
            ValueError: The type or the shape of `x` is not as above.
        """
        buffer = self.network.buffers[INPUT]
        if x.dtype != np.int16 or x.ndim != 3 or x.shape[2] != buffer.channels:
            raise ValueError(
                f"x must be int16 of {buffer.channels} channels, not {x.dtype} {x.shape}"
            )
        if x.shape[0] % buffer.scale or x.shape[1] % buffer.scale or not x.size:
            raise ValueError(
                f"both sides of x must be multiples of {buffer.scale}, not {x.shape[:2]}"
            )
        rows = gain_rows(self.network, quality)
        if self._program is None:
            return reference.run(self.network, x, rows)
        return self._program.run(x, self._program.gains(rows), self.name, self.threads)
