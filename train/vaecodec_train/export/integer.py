"""Turns the float entropy networks (h_s, context model) into integer ones that every machine evaluates alike.

Every activation is an integer in [-LIMIT, LIMIT] with a real step per channel, every weight an integer, and every layer

    out = clamp(round_half_even((sum(weight * activation) + bias) / 2^shift), low, high)

The weights of each output channel are as fine as keeps every partial sum below 2^24, so float32, float64 and int64 agree.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vaecodec_train.model.autoencoder import LOG_SCALE_MAX, LOG_SCALE_MIN, STEPS, Codec

LIMIT = 2047  # activations: 12 bits with sign, exact even under TF32 multipliers
WEIGHT_LIMIT = 2047  # measured: with 127, the lowest qualities lose 1.8 %
ACCUMULATOR = 2**24  # float32 holds every integer below it
Z_FRACTION = 16  # z_hat is held in 1/16
Y_FRACTION = 64  # means and y_hat are held in 1/64
SCALES = 64  # probability tables for y
LOG_SCALE_STEP = (LOG_SCALE_MAX - LOG_SCALE_MIN) / (SCALES - 1)
LOG_SCALE_UNIT = LOG_SCALE_STEP / 16  # log-scales are held in sixteenths of an index
MARGIN = (
    1.1  # activations may exceed those seen in calibration by this much before they are clamped
)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class IntegerConv:
    """weight (O, I, k, k) int16, bias (O,) int32, shift (O,) int8."""

    weight: Array
    bias: Array
    shift: Array


@dataclass(frozen=True)
class IntegerModel:
    """Everything integer that encoder and decoder share, by layer name; quality tables have one row an anchor."""

    convs: dict[str, IntegerConv]
    y_shift: list[Array]  # per context step, (m,): right shift of y_hat before context_in
    z_median: Array  # (z,) int32, in 1 / Z_FRACTION
    bias_h: Array  # (anchors, p) int32, in the step of h_s's output
    bias_scale: Array  # (anchors, m) int32, in LOG_SCALE_UNIT, with LOG_SCALE_MIN at 0
    scale_index: Array  # (4096,) uint8: table of the log-scale, -2048..2047


@torch.no_grad()
def input_ranges(model: Codec, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Largest magnitude per channel of the input of every convolution of h_s and the context model."""
    ranges: dict[str, Tensor] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen = inputs[0].float().abs().amax((0, 2, 3))
            ranges[name] = torch.maximum(ranges[name], seen) if name in ranges else seen

        return hook

    hooks = [m.register_forward_pre_hook(watch(name)) for name, m in entropy_convs(model).items()]
    for x, q in batches:
        model(x, q)
    for hook in hooks:
        hook.remove()
    return ranges


def entropy_convs(model: Codec) -> dict[str, nn.Conv2d]:
    parts = ("h_s.", "prior_head", "context_in.", "context.")
    return {
        n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and n.startswith(parts)
    }


def integer_conv(
    conv: nn.Conv2d, step_in: Tensor, step_out: Tensor, limit: int = LIMIT
) -> IntegerConv:
    """Fold the steps into the weights; each output channel takes the largest shift that the accumulator allows."""
    w = conv.weight.detach().double()
    w = w * (step_in.reshape(-1, 1, 1, 1) if conv.groups > 1 else step_in.reshape(1, -1, 1, 1))
    w = w / step_out.reshape(-1, 1, 1, 1)
    assert conv.bias is not None
    b = conv.bias.detach().double() / step_out
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
class Steps:
    """The real size of one integer step: of what each layer reads and writes, one value a channel (float64)."""

    layers: dict[str, tuple[Tensor, Tensor]]  # by layer name: inputs (I,), outputs (O,)
    y_shift: list[Tensor]  # see IntegerModel
    hyper: Tensor  # (p,) of h_s's output


@torch.no_grad()
def plan(model: Codec, batches: Iterable[tuple[Tensor, Tensor]]) -> Steps:
    """model in eval mode; batches: pairs (images (B, 3, H, W) in [0, 1], qualities (B,) in [0, 1]) for calibration."""
    c = model.config
    ranges = input_ranges(model, batches)
    convs = entropy_convs(model)
    layers: dict[str, tuple[Tensor, Tensor]] = {}

    def step(*readers: str, writer: str = "", step_in: Tensor | None = None) -> Tensor:
        """One step per channel for a tensor that the layers `readers` read and the layer `writer` writes (from `step_in`)."""
        largest = torch.stack([ranges[n].double() for n in readers]).amax(0)
        steps = largest.clamp_min(1e-9) * MARGIN / LIMIT
        if step_in is None:
            return steps
        # Nothing is gained by an output finer than the noise that the rounding of the inputs brings along.
        conv = convs[writer]
        weight = conv.weight.double() * (
            step_in.reshape(-1, 1, 1, 1) if conv.groups > 1 else step_in.reshape(1, -1, 1, 1)
        )
        floor = 0.1 * weight.square().sum((1, 2, 3)).sqrt()
        return torch.maximum(steps, floor.reshape(len(steps), -1).amax(1))

    def put(name: str, step_in: Tensor, step_out: Tensor) -> None:
        layers[name] = step_in, step_out

    def block(name: str, stream: Tensor) -> None:
        first = step(f"{name}.spatial", writer=f"{name}.mix_in", step_in=stream)
        second = step(f"{name}.mix_out", writer=f"{name}.spatial", step_in=first)
        third = step(f"{name}.project", writer=f"{name}.expand", step_in=stream)
        for part, step_in, step_out in (
            ("mix_in", stream, first),
            ("spatial", first, second),
            ("mix_out", second, stream),
            ("expand", stream, third),
            ("project", third, stream),
        ):
            put(f"{name}.{part}", step_in, step_out)

    # The quarter that h_s applies to z_hat is folded into the step of its input.
    z_step = torch.full((c.z,), 0.25 / Z_FRACTION, dtype=torch.double)
    coarse = step("h_s.1.mix_in", "h_s.1.expand", "h_s.2.conv", writer="h_s.0.conv", step_in=z_step)
    fine = step("h_s.3.mix_in", "h_s.3.expand", "prior_head", writer="h_s.2.conv", step_in=coarse)
    put("h_s.0.conv", z_step, coarse.repeat_interleave(4))
    block("h_s.1", coarse)
    put("h_s.2.conv", coarse, fine.repeat_interleave(4))
    block("h_s.3", fine)

    mean_step = torch.full(
        (c.m,), 0.25 / Y_FRACTION, dtype=torch.double
    )  # heads give a quarter of the mean
    head_step = torch.cat([mean_step, torch.full((c.m,), LOG_SCALE_UNIT, dtype=torch.double)])
    put("prior_head", fine, head_step)
    y_shift = []
    for s in range(STEPS - 1):
        largest = (
            ranges[f"context_in.{s}"].double() * 4 * Y_FRACTION * MARGIN
        )  # of y_hat, in 1 / Y_FRACTION
        shift = torch.ceil(torch.log2(largest.clamp_min(LIMIT) / LIMIT))
        y_shift.append(shift)
        y_step = 0.25 / Y_FRACTION * torch.exp2(shift)
        last = c.context_blocks + 1
        seen = step(f"context.{s}.0")[c.p :]
        both = torch.cat([fine, seen])
        stream = step(
            f"context.{s}.{last}",
            *[f"context.{s}.{b}.{part}" for b in range(1, last) for part in ("mix_in", "expand")],
            writer=f"context.{s}.0",
            step_in=both,
        )
        put(f"context_in.{s}", y_step, seen)
        put(f"context.{s}.0", both, stream)
        for b in range(1, last):
            block(f"context.{s}.{b}", stream)
        put(f"context.{s}.{last}", stream, head_step)

    return Steps(layers, y_shift, fine)


@torch.no_grad()
def quantize(model: Codec, steps: Steps) -> IntegerModel:
    """The integer form of `model` with the steps that plan() chose for it."""
    convs = entropy_convs(model)
    median = model.prior_z._get_medians().reshape(-1).double()
    u = (np.arange(4096) - 2048) * LOG_SCALE_UNIT
    index = np.clip(np.rint(np.logaddexp(0, u) / LOG_SCALE_STEP), 0, SCALES - 1)
    return IntegerModel(
        convs={name: integer_conv(convs[name], *both) for name, both in steps.layers.items()},
        y_shift=[shift.numpy().astype(np.int8) for shift in steps.y_shift],
        z_median=torch.round(median * Z_FRACTION).numpy().astype(np.int32),
        bias_h=torch.round(model.bias_h.double() / steps.hyper).numpy().astype(np.int32),
        bias_scale=torch.round((model.bias_scale.double() - LOG_SCALE_MIN) / LOG_SCALE_UNIT)
        .numpy()
        .astype(np.int32),
        scale_index=index.astype(np.uint8),
    )


def gaussian_table(scale: float) -> Array:
    """Probabilities of the integers -h..h under a Gaussian of this scale; h reaches 2^-20 of mass on either side."""
    half = max(2, math.ceil(scale * 5.5))
    edges = np.arange(-half - 0.5, half + 1) / scale
    cdf = np.array([0.5 * math.erfc(-e / math.sqrt(2)) for e in edges])
    return np.maximum(np.diff(cdf), 1e-12)
