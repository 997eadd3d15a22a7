"""Quality tables: a row of integers for every quality."""

import numpy as np
import numpy.typing as npt

from vaecodec.engine.network import Network
from vaecodec.spec import QUALITY_SPAN, quality_position

I64 = npt.NDArray[np.int64]
Rows = dict[str, tuple[I64, I64]]  # of each gain layer: gain and bias, both of shape (channels,)


def table_row(table: npt.NDArray[np.integer], quality: float) -> I64:  # type: ignore[type-arg]
    """Interpolate a quality table (knots, channels) at a quality from 1 to 100, in integers."""
    index, rest = quality_position(quality, len(table))
    lower = table[index].astype(np.int64)
    upper = table[min(index + 1, len(table) - 1)].astype(np.int64)
    # Integer division, because a float division could round a tie differently.
    row: I64 = (lower * (QUALITY_SPAN - rest) + upper * rest + QUALITY_SPAN // 2) // QUALITY_SPAN
    return row


def gain_rows(network: Network, quality: float) -> Rows:
    """Return gain and bias of each gain layer of a network at a quality from 1 to 100."""
    return {
        layer.name: (
            table_row(network.tensors[f"{layer.name}.gain"], quality),
            table_row(network.tensors[f"{layer.name}.bias"], quality),
        )
        for layer in network.layers
        if layer.kind == "gain"
    }
