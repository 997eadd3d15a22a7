"""Starts a model from the weights of a smaller one: more latent channels, a bypass, more blocks of the context model, a wider
range of lambda."""

import dataclasses
import math

import numpy as np
import torch
from torch import Tensor

from vaecodec.errors import VaecodecError
from vaecodec_train.model.autoencoder import STEPS, Codec, ModelConfig

SMALL = (
    0.02  # new connections begin near zero, so that the grown model computes what the old one did
)


def spread(old: int, new: int) -> list[int]:
    """New places of the old latent channels: each of the four groups keeps its channels and gets new ones at its end."""
    return [g * (new // STEPS) + i for g in range(STEPS) for i in range(old // STEPS)]


def resampled(table: Tensor, old: ModelConfig, new: ModelConfig, extrapolate: bool) -> Tensor:
    """A quality table (anchors, C) for another range of lambda; beyond the old range its last slope, or its last row."""
    position = torch.linspace(math.log(new.lambda_min), math.log(new.lambda_max), new.anchors)
    span = (math.log(old.lambda_max) - math.log(old.lambda_min)) / (old.anchors - 1)
    at = (position - math.log(old.lambda_min)) / span
    if not extrapolate:
        at = at.clamp(0, old.anchors - 1)
    i = at.floor().clamp(0, old.anchors - 2).long()
    return torch.lerp(table[i], table[i + 1], (at - i)[:, None])


@torch.no_grad()
def grow(old: Codec, config: ModelConfig) -> Codec:
    """A model of `config` that codes like `old` where both can. Raises VaecodecError if widths but m differ."""
    a, b = old.config, config
    grown = {
        name: getattr(b, name)
        for name in ("m", "bypass", "context_blocks", "anchors", "lambda_min", "lambda_max")
    }
    if (
        dataclasses.replace(a, **grown) != b
        or b.m < a.m
        or b.context_blocks < a.context_blocks
        or (a.bypass and (b.m > a.m or not b.bypass))
    ):
        raise VaecodecError(
            "a model grows in m, the bypass, the blocks of its context model and the range of lambda alone, "
            "and with a bypass not in m"
        )
    new = Codec(b)
    places = torch.tensor(spread(a.m, b.m))
    both = torch.cat([places, places + b.m])  # rows of the heads: means, then log-scales
    fresh = torch.tensor(np.setdiff1d(np.arange(b.m), places.numpy()))
    state, source = new.state_dict(), old.state_dict()
    last = {
        f"context.{s}.{a.context_blocks + 1}": f"context.{s}.{b.context_blocks + 1}"
        for s in range(STEPS - 1)
    }
    heads = ["prior_head", *last]
    columns = (
        "g_s.stem.weight",
        "h_a.0.weight",
        *[f"context_in.{s}.weight" for s in range(STEPS - 1)],
    )
    for name, value in source.items():
        layer = name.rsplit(".", 1)[0]
        target = state[name.replace(layer, last.get(layer, layer))]
        if name.endswith(("_cdf_length", "_offset", "_quantized_cdf")):
            continue
        if name in ("log_gain_a", "log_gain_s", "bias_h"):
            target.copy_(resampled(value, a, b, extrapolate=False))
        elif name in ("log_gain_y", "bias_scale"):
            table = resampled(value, a, b, extrapolate=True)
            target.copy_(table.mean(1, keepdim=True).expand(-1, b.m))
            target[:, places] = table
            if name == "bias_scale":
                target[:, fresh] = -2.0  # nearly silent until they are of use
        elif layer in heads:
            target.zero_()
            target[both] = value
        elif name in columns:
            target.mul_(SMALL)
            target[:, places] = value
        elif layer == "g_a.head":
            target.mul_(SMALL)
            target[places] = value
        else:
            target.copy_(value)
    new.load_state_dict(state)
    for name, value in new.named_parameters():
        part, _, number, place, kind = (name + "....").split(".")[:5]
        if part == "context" and place in ("mix_out", "project") and int(number) > a.context_blocks:
            value.mul_(SMALL if kind == "weight" else 0)
    if a.bypass:
        return new
    if new.g_a.bypass is not None and new.g_s.bypass is not None:
        for conv in (new.g_a.bypass.conv, new.g_s.bypass.conv):
            conv.weight.mul_(SMALL)
            assert conv.bias is not None
            conv.bias.zero_()
        new.g_a.bypass.conv.weight[places] = 0
        new.g_s.bypass.conv.weight[:, places] = 0
    return new
