"""Turn the entropy networks (h_s, context model) into integer ones.

These give the same result on every machine. Every activation is an integer in [-LIMIT, LIMIT] with
a real scale per channel, every weight is an integer, and every layer is

    out = clamp(round_half_even((sum(weight * activation) + bias) / 2^shift), low, high)

The weights of each output channel are as fine as possible while every partial sum stays below 2^24,
so that float32, float64 and int64 agree.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vaecodec.spec import STEPS, Y_FRACTION, Z_FRACTION
from vaecodec_train.model.autoencoder import LOG_SCALE_MAX, LOG_SCALE_MIN, Autoencoder

LIMIT = 2047  # activations: 12 bits with sign, exact even under TF32 multipliers
WEIGHT_LIMIT = 2047  # measured: with 127, the lowest qualities lose 1.8 %
ACCUMULATOR = 2**24  # float32 holds every integer below it
Y_TABLES = 64  # probability tables for y
LOG_SCALE_SPACING = (LOG_SCALE_MAX - LOG_SCALE_MIN) / (Y_TABLES - 1)
LOG_SCALE_UNIT = LOG_SCALE_SPACING / 16  # log-scales are held in sixteenths of an index
MARGIN = 1.1  # activations may exceed those seen in calibration by this factor before clamping

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class IntegerConv:
    """weight (O, I, k, k) int16, bias (O,) int32, shift (O,) int8."""

    weight: Array
    bias: Array
    shift: Array


@dataclass(frozen=True)
class IntegerModel:
    """The integer networks and tables that encoder and decoder share.

    Quality tables have one row per knot.
    """

    convs: dict[str, IntegerConv]
    y_shift: list[Array]  # per context step, (m,): right shift of y_hat before context_in
    z_median: Array  # (z,) int32, in 1 / Z_FRACTION
    bias_h: Array  # (knots, p) int32, in the scale of h_s's output
    bias_scale: Array  # (knots, m) int32, in LOG_SCALE_UNIT, with LOG_SCALE_MIN at 0
    scale_index: Array  # (4096,) uint8: table of the log-scale, -2048..2047


@torch.no_grad()
def input_ranges(
    autoencoder: Autoencoder, batches: Iterable[tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """Measure the largest input magnitude per channel of every entropy convolution."""
    ranges: dict[str, Tensor] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen = inputs[0].float().abs().amax((0, 2, 3))
            ranges[name] = torch.maximum(ranges[name], seen) if name in ranges else seen

        return hook

    hooks = [
        m.register_forward_pre_hook(watch(name)) for name, m in entropy_convs(autoencoder).items()
    ]
    for x, q in batches:
        autoencoder(x, q)
    for hook in hooks:
        hook.remove()
    return ranges


def entropy_convs(autoencoder: Autoencoder) -> dict[str, nn.Conv2d]:
    parts = ("h_s.", "prior_head", "context_in.", "context.")
    return {
        n: m
        for n, m in autoencoder.named_modules()
        if isinstance(m, nn.Conv2d) and n.startswith(parts)
    }


def integer_conv(
    conv: nn.Conv2d, scale_in: Tensor, scale_out: Tensor, limit: int = LIMIT
) -> IntegerConv:
    """Fold the scales into the weights.

    Each output channel gets the largest shift that the accumulator allows.
    """
    w = conv.weight.detach().double()
    w = w * (scale_in.reshape(-1, 1, 1, 1) if conv.groups > 1 else scale_in.reshape(1, -1, 1, 1))
    w = w / scale_out.reshape(-1, 1, 1, 1)
    assert conv.bias is not None
    b = conv.bias.detach().double() / scale_out
    total, largest = w.abs().sum((1, 2, 3)) * limit + b.abs(), w.abs().amax((1, 2, 3))
    shift = torch.floor(
        torch.log2(torch.minimum(ACCUMULATOR / total, WEIGHT_LIMIT / largest.clamp_min(1e-12)))
    )
    while True:
        unit = torch.exp2(shift)
        wi, bi = torch.round(w * unit.reshape(-1, 1, 1, 1)), torch.round(b * unit)
        over = (wi.abs().sum((1, 2, 3)) * limit + bi.abs() >= ACCUMULATOR) | (
            wi.abs().amax((1, 2, 3)) > WEIGHT_LIMIT
        )
        if not over.any():
            break
        shift = shift - over.double()
    assert bool((shift >= 0).all()), "a layer's output is finer than its input can be"
    return IntegerConv(
        wi.numpy().astype(np.int16), bi.numpy().astype(np.int32), shift.numpy().astype(np.int8)
    )


@dataclass(frozen=True)
class Scales:
    """The real value of one integer unit, per channel of each layer (float64)."""

    layers: dict[str, tuple[Tensor, Tensor]]  # by layer name: inputs (I,), outputs (O,)
    y_shift: list[Tensor]  # see IntegerModel
    hyper: Tensor  # (p,) of h_s's output


@torch.no_grad()
def plan(autoencoder: Autoencoder, batches: Iterable[tuple[Tensor, Tensor]]) -> Scales:
    """Choose the scales of all activations.

    autoencoder: in eval mode. batches: images (B, 3, H, W) and qualities (B,), both in [0, 1], for
    calibration.
    """
    c = autoencoder.config
    ranges = input_ranges(autoencoder, batches)
    convs = entropy_convs(autoencoder)
    layers: dict[str, tuple[Tensor, Tensor]] = {}

    def scale(*readers: str, writer: str = "", scale_in: Tensor | None = None) -> Tensor:
        """Return a scale per channel for a tensor that `writer` writes and `readers` read."""
        largest = torch.stack([ranges[n].double() for n in readers]).amax(0)
        scales = largest.clamp_min(1e-9) * MARGIN / LIMIT
        if scale_in is None:
            return scales
        # An output finer than the noise from rounding the inputs would gain nothing.
        conv = convs[writer]
        weight = conv.weight.double() * (
            scale_in.reshape(-1, 1, 1, 1) if conv.groups > 1 else scale_in.reshape(1, -1, 1, 1)
        )
        floor = 0.1 * weight.square().sum((1, 2, 3)).sqrt()
        return torch.maximum(scales, floor.reshape(len(scales), -1).amax(1))

    def put(name: str, scale_in: Tensor, scale_out: Tensor) -> None:
        layers[name] = scale_in, scale_out

    def block(name: str, stream: Tensor) -> None:
        first = scale(f"{name}.spatial", writer=f"{name}.mix_in", scale_in=stream)
        second = scale(f"{name}.mix_out", writer=f"{name}.spatial", scale_in=first)
        third = scale(f"{name}.project", writer=f"{name}.expand", scale_in=stream)
        for part, scale_in, scale_out in (
            ("mix_in", stream, first),
            ("spatial", first, second),
            ("mix_out", second, stream),
            ("expand", stream, third),
            ("project", third, stream),
        ):
            put(f"{name}.{part}", scale_in, scale_out)

    # The quarter that h_s applies to z_hat is folded into the scale of its input.
    z_scale = torch.full((c.z,), 0.25 / Z_FRACTION, dtype=torch.double)
    coarse = scale(
        "h_s.1.mix_in", "h_s.1.expand", "h_s.2.conv", writer="h_s.0.conv", scale_in=z_scale
    )
    fine = scale("h_s.3.mix_in", "h_s.3.expand", "prior_head", writer="h_s.2.conv", scale_in=coarse)
    put("h_s.0.conv", z_scale, coarse.repeat_interleave(4))
    block("h_s.1", coarse)
    put("h_s.2.conv", coarse, fine.repeat_interleave(4))
    block("h_s.3", fine)

    mean_scale = torch.full(
        (c.m,), 0.25 / Y_FRACTION, dtype=torch.double
    )  # heads give a quarter of the mean
    head_scale = torch.cat([mean_scale, torch.full((c.m,), LOG_SCALE_UNIT, dtype=torch.double)])
    put("prior_head", fine, head_scale)
    y_shift = []
    for s in range(STEPS - 1):
        largest = (
            ranges[f"context_in.{s}"].double() * 4 * Y_FRACTION * MARGIN
        )  # of y_hat, in 1 / Y_FRACTION
        shift = torch.ceil(torch.log2(largest.clamp_min(LIMIT) / LIMIT))
        y_shift.append(shift)
        y_scale = 0.25 / Y_FRACTION * torch.exp2(shift)
        last = c.context_blocks + 1
        seen = scale(f"context.{s}.0")[c.p :]
        both = torch.cat([fine, seen])
        stream = scale(
            f"context.{s}.{last}",
            *[f"context.{s}.{b}.{part}" for b in range(1, last) for part in ("mix_in", "expand")],
            writer=f"context.{s}.0",
            scale_in=both,
        )
        put(f"context_in.{s}", y_scale, seen)
        put(f"context.{s}.0", both, stream)
        for b in range(1, last):
            block(f"context.{s}.{b}", stream)
        put(f"context.{s}.{last}", stream, head_scale)

    return Scales(layers, y_shift, fine)


@torch.no_grad()
def quantize(autoencoder: Autoencoder, scales: Scales) -> IntegerModel:
    """Return the integer form of `autoencoder` with the scales that plan() chose for it."""
    convs = entropy_convs(autoencoder)
    median = autoencoder.prior_z._get_medians().reshape(-1).double()
    u = (np.arange(4096) - 2048) * LOG_SCALE_UNIT
    index = np.clip(np.rint(np.logaddexp(0, u) / LOG_SCALE_SPACING), 0, Y_TABLES - 1)
    return IntegerModel(
        convs={name: integer_conv(convs[name], *both) for name, both in scales.layers.items()},
        y_shift=[shift.numpy().astype(np.int8) for shift in scales.y_shift],
        z_median=torch.round(median * Z_FRACTION).numpy().astype(np.int32),
        bias_h=torch.round(autoencoder.bias_h.double() / scales.hyper).numpy().astype(np.int32),
        bias_scale=torch.round((autoencoder.bias_scale.double() - LOG_SCALE_MIN) / LOG_SCALE_UNIT)
        .numpy()
        .astype(np.int32),
        scale_index=index.astype(np.uint8),
    )


def gaussian_table(scale: float) -> Array:
    """Return the probabilities of the integers -h..h under a Gaussian of this scale.

    h is so large that less than 2^-20 of the mass lies beyond it on either side.
    """
    half = max(2, math.ceil(scale * 5.5))
    edges = np.arange(-half - 0.5, half + 1) / scale
    cdf = np.array([0.5 * math.erfc(-e / math.sqrt(2)) for e in edges])
    return np.maximum(np.diff(cdf), 1e-12)
