"""Quality tables: a row of values for every quality."""

from typing import Any

import numpy as np
import numpy.typing as npt

from vaecodec._arrays import I64
from vaecodec.engine.network import Network, Tensor
from vaecodec.spec import QUALITY_SPAN, quality_position

Rows = dict[str, tuple[I64, I64]]  # of each gain layer: gain and bias, both of shape (channels,)


def neighbours(
    table: npt.NDArray[Any], quality: float
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int]:
    """Return the rows of a quality table below and above a quality from 1 to 100.

    The third value is the distance from the lower row, in units of 1/9900 of that between the two.
    """
    index, rest = quality_position(quality, len(table))
    return table[index], table[min(index + 1, len(table) - 1)], rest


def table_row(table: Tensor, quality: float) -> I64:
    """Interpolate a quality table (knots, channels) at a quality from 1 to 100, in integers."""
    lower, upper, rest = neighbours(table, quality)
    total = lower.astype(np.int64) * (QUALITY_SPAN - rest) + upper.astype(np.int64) * rest
    # Integer division, because a float division could round a tie differently.
    row: I64 = (total + QUALITY_SPAN // 2) // QUALITY_SPAN
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
