"""Start a larger autoencoder from the weights of a smaller one.

The larger one may have more latent channels, a bypass, more blocks in the context model, and a
wider range of lambda.
"""

import dataclasses
import math

import numpy as np
import torch
from torch import Tensor

from vaecodec.errors import VaecodecError
from vaecodec.spec import STEPS
from vaecodec_train.model.autoencoder import Autoencoder, ModelConfig
from vaecodec_train.model.checkpoint import UNUSED_BUFFERS

# Factor for the weights of new connections: so small that the larger network first computes what
# the smaller one did.
NEW_WEIGHT_FACTOR = 0.02
NEW_LOG_SCALE = -2.0  # new channels cost almost no bits until training makes use of them
GROWING_FIELDS = ("m", "bypass", "context_blocks", "anchors", "lambda_min", "lambda_max")


def new_positions(old: int, new: int) -> list[int]:
    """Return the new indices of the old latent channels.

    Each of the four groups keeps its channels and gets new ones at its end.
    """
    return [g * (new // STEPS) + i for g in range(STEPS) for i in range(old // STEPS)]


def resample_table(table: Tensor, old: ModelConfig, new: ModelConfig, extrapolate: bool) -> Tensor:
    """Resample a quality table (knots, C) for another range of lambda.

    Beyond the old range the table continues with its last slope if `extrapolate`, else with its
    last row.
    """
    log_lambda = torch.linspace(math.log(new.lambda_min), math.log(new.lambda_max), new.anchors)
    spacing = (math.log(old.lambda_max) - math.log(old.lambda_min)) / (old.anchors - 1)
    position = (log_lambda - math.log(old.lambda_min)) / spacing
    if not extrapolate:
        position = position.clamp(0, old.anchors - 1)
    knot = position.floor().clamp(0, old.anchors - 2).long()
    return torch.lerp(table[knot], table[knot + 1], (position - knot)[:, None])


@torch.no_grad()
def grow(old: Autoencoder, config: ModelConfig) -> Autoencoder:
    """Return an autoencoder of `config` that codes like `old` at every lambda that both have.

    Raises:
        VaecodecError: `config` changes other fields than `GROWING_FIELDS`, or shrinks one.
    """
    check_growth(old.config, config)
    new = Autoencoder(config)
    channels = torch.tensor(new_positions(old.config.m, config.m))
    copy_weights(old, new, channels)
    silence_new_blocks(new, old.config.context_blocks)
    if not old.config.bypass:
        silence_bypass(new, channels)
    return new


def check_growth(old: ModelConfig, new: ModelConfig) -> None:
    """Raise VaecodecError unless a network of configuration `old` can grow into one of `new`."""
    expected = dataclasses.replace(old, **{name: getattr(new, name) for name in GROWING_FIELDS})
    smaller = new.m < old.m or new.context_blocks < old.context_blocks
    bypass_changes = old.bypass and (new.m > old.m or not new.bypass)
    if expected != new or smaller or bypass_changes:
        raise VaecodecError(
            "only m, the bypass, the blocks of the context model and the range of lambda can grow, "
            "and m cannot grow in a model that has a bypass"
        )


def copy_weights(old: Autoencoder, new: Autoencoder, channels: Tensor) -> None:
    """Copy all weights of `old` to their places in `new`.

    channels: new indices of the old latent channels.
    """
    m = new.config.m
    head_rows = torch.cat([channels, channels + m])  # means, then log-scales
    new_channels = torch.tensor(np.setdiff1d(np.arange(m), channels.numpy()))
    # The last layer of each context network moves behind the new blocks.
    old_last = old.config.context_blocks + 1
    new_last = new.config.context_blocks + 1
    renamed_layers = {
        f"context.{s}.{old_last}": f"context.{s}.{new_last}" for s in range(STEPS - 1)
    }
    heads = ["prior_head", *renamed_layers]
    reading_y = ["g_s.stem.weight", "h_a.0.weight"]
    reading_y += [f"context_in.{s}.weight" for s in range(STEPS - 1)]
    state = new.state_dict()
    for name, value in old.state_dict().items():
        if name.endswith(UNUSED_BUFFERS):
            continue
        layer = name.rsplit(".", 1)[0]
        target = state[name.replace(layer, renamed_layers.get(layer, layer))]
        if name in ("log_gain_a", "log_gain_s", "bias_h"):
            target.copy_(resample_table(value, old.config, new.config, extrapolate=False))
        elif name in ("log_gain_y", "bias_scale"):
            table = resample_table(value, old.config, new.config, extrapolate=True)
            target.copy_(table.mean(1, keepdim=True).expand(-1, m))
            target[:, channels] = table
            if name == "bias_scale":
                target[:, new_channels] = NEW_LOG_SCALE
        elif layer in heads:
            target.zero_()
            target[head_rows] = value
        elif name in reading_y:
            target.mul_(NEW_WEIGHT_FACTOR)
            target[:, channels] = value
        elif layer == "g_a.head":
            target.mul_(NEW_WEIGHT_FACTOR)
            target[channels] = value
        else:
            target.copy_(value)
    new.load_state_dict(state)


def silence_new_blocks(new: Autoencoder, old_blocks: int) -> None:
    """Scale down the residual branches of new context blocks."""
    for name, value in new.named_parameters():
        part, _, number, layer, kind = (name + "....").split(".")[:5]
        if part == "context" and layer in ("mix_out", "project") and int(number) > old_blocks:
            value.mul_(NEW_WEIGHT_FACTOR if kind == "weight" else 0)


def silence_bypass(new: Autoencoder, channels: Tensor) -> None:
    """Disconnect a new bypass from the old latent channels, and scale down its other weights."""
    if new.g_a.bypass is None or new.g_s.bypass is None:
        return
    for conv in (new.g_a.bypass.conv, new.g_s.bypass.conv):
        conv.weight.mul_(NEW_WEIGHT_FACTOR)
        assert conv.bias is not None
        conv.bias.zero_()
    new.g_a.bypass.conv.weight[channels] = 0
    new.g_s.bypass.conv.weight[:, channels] = 0
