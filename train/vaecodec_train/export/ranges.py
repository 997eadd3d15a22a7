"""How large the activations of a network are: the largest magnitudes seen in calibration."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaecodec._arrays import F64


@dataclass(frozen=True)
class Ranges:
    """The largest magnitude per channel of what the modules of a network read and write.

    reads, writes: by name of the module in the network.
    """

    reads: dict[str, F64] = field(default_factory=dict)
    writes: dict[str, F64] = field(default_factory=dict)

    def of(self, name: str) -> "Ranges":
        """Return the ranges inside the module `name`, by the names that modules have there."""
        start = f"{name}."
        return Ranges(
            *(
                {
                    key[len(start) :]: largest
                    for key, largest in part.items()
                    if key.startswith(start)
                }
                for part in (self.reads, self.writes)
            )
        )


@contextmanager
def watched(network: nn.Module) -> Iterator[Ranges]:
    """Record the ranges of all modules of `network` that are called in the body of `with`.

    Activations have the shape (B, channels, h, w).
    """
    ranges = Ranges()

    def record(seen: dict[str, F64], name: str, x: Any) -> None:
        if isinstance(x, Tensor) and x.ndim == 4:
            largest = x.detach().abs().amax((0, 2, 3)).double().numpy()
            seen[name] = np.maximum(seen.get(name, 0), largest)

    def watch(name: str, module: nn.Module) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            record(ranges.reads, name, inputs[0])
            record(ranges.writes, name, output)

        return module.register_forward_hook(hook)

    hooks = [watch(name, module) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad():
            yield ranges
    finally:
        for hook in hooks:
            hook.remove()
