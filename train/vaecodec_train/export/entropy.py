"""The integer entropy networks of a model folder (h_s and the four context steps) and their tables.

docs/FORMAT.md, "The model", says what they read and write.
"""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vaecodec._arrays import F64, I32, U8
from vaecodec.engine import Network
from vaecodec.engine.network import INPUT, LIMIT, OUTPUT
from vaecodec.spec import POSITIONS, STEPS, Y_FRACTION, Z_FRACTION, group_at
from vaecodec_train.export.engine_network import MARGIN, Affine, Builder, affine
from vaecodec_train.export.ranges import Ranges, watched
from vaecodec_train.model.autoencoder import LOG_SCALE_MAX, LOG_SCALE_MIN, Autoencoder
from vaecodec_train.model.blocks import Conv1x1

Y_TABLES = 64  # probability tables for y
LOG_SCALE_SPACING = (LOG_SCALE_MAX - LOG_SCALE_MIN) / (Y_TABLES - 1)
LOG_SCALE_UNIT = LOG_SCALE_SPACING / 16  # log-scales are held in sixteenths of an index


@dataclass(frozen=True)
class EntropyModel:
    """The integer networks and tables that encoder and decoder share.

    Quality tables have one row per knot.
    """

    networks: dict[str, Network]  # h_s, context_0 to context_3
    y_shift: U8  # (m,) right shift of y_hat before the context steps, left shift of the means
    z_median: I32  # (z,) in 1 / Z_FRACTION
    bias_scale: I32  # (knots, m) in LOG_SCALE_UNIT, with LOG_SCALE_MIN at 0
    scale_index: U8  # (4096,) table of the log-scale, -2048..2047


def entropy_model(
    autoencoder: Autoencoder, batches: Iterable[tuple[Tensor, Tensor]]
) -> EntropyModel:
    """Return the integer entropy model of an autoencoder in eval mode.

    batches: images (B, 3, H, W) and qualities (B,), both in [0, 1], for calibration.

    Raises:
        VaecodecError: a layer cannot be held in integers.
    """
    largest_y = np.zeros(autoencoder.config.m)
    with watched(autoencoder) as ranges:
        for x, q in batches:
            y_hat, _, _ = autoencoder.code_latent(autoencoder.latent(x, q)[0], q)
            largest_y = np.maximum(largest_y, y_hat.abs().amax((0, 2, 3)).double().numpy())
    shift = np.ceil(np.log2(np.maximum(MARGIN * Y_FRACTION * largest_y / LIMIT, 1)))
    # y and z enter the networks divided by 4, and these return a quarter of the mean.
    y_steps = 0.25 / Y_FRACTION * np.exp2(shift)
    median = autoencoder.prior_z._get_medians().detach().reshape(-1).double().numpy()
    z_median = np.rint(median * Z_FRACTION)
    h_s, p_steps = hyper_synthesis(autoencoder, ranges, median - z_median / Z_FRACTION)
    networks = {"h_s": h_s}
    for step in range(STEPS):
        networks[f"context_{step}"] = context(autoencoder, ranges, step, p_steps, y_steps)
    bias_scale = autoencoder.bias_scale.detach().double().numpy()
    log_scale = (np.arange(4096) - 2048) * LOG_SCALE_UNIT
    index = np.clip(np.rint(np.logaddexp(0, log_scale) / LOG_SCALE_SPACING), 0, Y_TABLES - 1)
    return EntropyModel(
        networks=networks,
        y_shift=shift.astype(np.uint8),
        z_median=z_median.astype(np.int32),
        bias_scale=np.rint((bias_scale - LOG_SCALE_MIN) / LOG_SCALE_UNIT).astype(np.int32),
        scale_index=index.astype(np.uint8),
    )


@torch.no_grad()
def hyper_synthesis(
    autoencoder: Autoencoder, ranges: Ranges, median_rest: F64
) -> tuple[Network, F64]:
    """Return h_s with the bias of each quality, z (zh, zw, z) -> p (4zh, 4zw, p), and p's steps.

    median_rest: (z,) the medians of z minus their rounded values. The first layer's bias makes up
    for it.
    """
    h_s = copy.deepcopy(autoencoder.h_s).double()
    first: Any = h_s[0].conv
    first.bias += 0.25 * first.weight[:, :, 0, 0] @ torch.from_numpy(median_rest)
    builder = Builder("h_s", ranges.of("h_s"), np.full(len(median_rest), 0.25 / Z_FRACTION), 1)
    stream = builder.sequence(h_s, INPUT, last=ranges.reads["prior_head"])
    p_steps = builder.steps[stream]
    builder.buffer(OUTPUT, p_steps, builder.buffers[stream].scale)
    bias = autoencoder.bias_h.double().numpy()
    builder.gain("bias_h", np.ones_like(bias), bias, stream, OUTPUT, max_shift=0)
    return builder.finish(), p_steps


def context(
    autoencoder: Autoencoder, ranges: Ranges, step: int, p_steps: F64, y_steps: F64
) -> Network:
    """Return the network of a context step, whose layers begin with "context." and the step.

    It reads p and (except in step 0) y (2h, 2w, p + m). It writes (h, w, 2m): for each position of
    a 2x2 square the means of the group that is coded there, then its log-scales.
    """
    name = f"context.{step}"
    if step == 0:
        builder = Builder(name, Ranges(), p_steps, 2)
        stream = INPUT
        head: Any = autoencoder.prior_head
    else:
        both = np.concatenate([p_steps, y_steps])
        builder = Builder(name, ranges.of(f"context.{step - 1}"), both, 2)
        modules: list[Any] = list(autoencoder.context[step - 1].children())
        first, *blocks, head = modules
        context_in: Any = autoencoder.context_in[step - 1]
        folded = fold(context_in, first)
        last = ranges.reads[f"context.{step - 1}.{len(blocks) + 1}"]
        stream = builder.sequence(nn.Sequential(folded, *blocks), INPUT, last)
    squares = builder.unshuffle(stream, "squares")
    log_steps = np.full(len(y_steps), LOG_SCALE_UNIT)
    add_heads(builder, affine(head), squares, step, y_steps, log_steps)
    return builder.finish()


def add_heads(
    builder: Builder, head: Affine, squares: str, step: int, y_steps: F64, log_steps: F64
) -> None:
    """Add the output of a context step: of each position only the channels coded there."""
    m = len(y_steps)
    width = len(builder.steps[squares]) // POSITIONS
    coded = np.arange(m).reshape(STEPS, -1)[[group_at(step, x) for x in range(POSITIONS)]]
    rows = np.concatenate([coded, m + coded], 1)  # (positions, 2 m/4) of the head
    builder.buffer(
        OUTPUT, np.concatenate([y_steps, log_steps])[rows.ravel()], builder.buffers[squares].scale
    )
    for x, part in enumerate(rows):
        builder.layer(
            f"head.{x}",
            head.rows(part),
            squares,
            OUTPUT,
            source_channel=x * width,
            target_channel=x * len(part),
        )


@torch.no_grad()
def fold(context_in: nn.Conv2d, first: nn.Conv2d) -> Conv1x1:
    """Return first(concat(p, context_in(y))) as one layer in float64 that reads p and y."""
    p = first.out_channels
    into_p, into_seen = torch.split(first.weight.double(), [p, context_in.out_channels], 1)
    y_part = into_seen[:, :, 0, 0] @ context_in.weight.double()[:, :, 0, 0]
    assert context_in.bias is not None and first.bias is not None
    folded = Conv1x1(p + context_in.in_channels, p).double()
    folded.weight.copy_(torch.cat([into_p, y_part[:, :, None, None]], 1))
    folded.bias.copy_(first.bias.double() + into_seen[:, :, 0, 0] @ context_in.bias.double())  # type: ignore[union-attr]
    return folded


def gaussian_table(scale: float) -> npt.NDArray[np.float64]:
    """Return the probabilities of the integers -h..h under a Gaussian of this scale.

    h is so large that less than 2^-20 of the mass lies beyond it on either side.
    """
    half = max(2, math.ceil(scale * 5.5))
    edges = np.arange(-half - 0.5, half + 1) / scale
    cdf = np.array([0.5 * math.erfc(-e / math.sqrt(2)) for e in edges])
    return np.maximum(np.diff(cdf), 1e-12)
