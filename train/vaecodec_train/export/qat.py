"""Quantization-aware training of the entropy networks before export.

Forward passes use rounded weights and activations (integer.py), backward passes the gradient of the
identity. g_a and h_a do not change, so neither do the latents, and only the rate is trained.
"""

from collections.abc import Iterator
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vaecodec_train.export.integer import LIMIT, Scales, entropy_convs, integer_conv
from vaecodec_train.model.autoencoder import Autoencoder
from vaecodec_train.model.blocks import ste_round


class OnGrid(nn.Module):
    """A parameter as multiples of 1 / unit."""

    unit: Tensor

    def __init__(self, unit: Tensor):
        super().__init__()
        self.register_buffer("unit", unit.float())

    def forward(self, x: Tensor) -> Tensor:
        return ste_round(x * self.unit) / self.unit


def rounded(x: Tensor, scale: Tensor, limit: float) -> Tensor:
    scale = scale.float().reshape(1, -1, 1, 1)
    return ste_round(x / scale).clamp(-limit, limit) * scale


def fake_quantize(autoencoder: Autoencoder, scales: Scales) -> list[Any]:
    """Put weights, biases and activations of the entropy networks on their integer grids.

    Returns the hooks.
    """
    hooks = []
    for name, conv in entropy_convs(autoencoder).items():
        scale_in, scale_out = scales.layers[name]
        shift = torch.from_numpy(integer_conv(conv, scale_in, scale_out).shift).double()
        unit = torch.exp2(shift) / scale_out
        columns = scale_in.reshape(-1, 1) if conv.groups > 1 else scale_in.reshape(1, -1)
        parametrize.register_parametrization(
            conv, "weight", OnGrid((unit[:, None] * columns)[:, :, None, None])
        )
        parametrize.register_parametrization(conv, "bias", OnGrid(unit))
        is_head = name == "prior_head" or name.endswith(f".{autoencoder.config.context_blocks + 1}")
        limit = float("inf") if is_head else LIMIT  # means and log-scales are not clamped

        def after(
            module: nn.Module,
            inputs: Any,
            out: Tensor,
            scale: Tensor = scale_out,
            limit: float = limit,
        ) -> Tensor:
            return rounded(out, scale, limit)

        hooks.append(conv.register_forward_hook(after))
        if (
            name.startswith("context_in") or name == "h_s.0.conv"
        ):  # what the others read is on the grid already

            def before(
                module: nn.Module, inputs: tuple[Tensor, ...], scale: Tensor = scale_in
            ) -> tuple[Tensor]:
                return (rounded(inputs[0], scale, LIMIT),)

            hooks.append(conv.register_forward_pre_hook(before))
    return hooks


def entropy_parameters(autoencoder: Autoencoder) -> list[nn.Parameter]:
    parts = ("h_s.", "prior_head", "context", "bias_h", "bias_scale")
    return [p for name, p in autoencoder.named_parameters() if name.startswith(parts)]


def train_entropy(
    autoencoder: Autoencoder,
    scales: Scales,
    batches: Iterator[tuple[Tensor, Tensor]],
    count: int,
    lr: float = 2e-5,
) -> None:
    """Train the entropy networks under fake quantization, then remove the quantization.

    The loss is the mean logarithm of the estimated rate, minimised by `count` iterations of Adam.

    batches: (images (B, 3, H, W) in [0, 1], qualities (B,) in [0, 1]).
    """
    hooks = fake_quantize(autoencoder, scales)
    learned = entropy_parameters(autoencoder)
    optimizer = torch.optim.Adam(learned, lr)
    for i in track(
        range(count), "Quantization-aware training", console=Console(stderr=True), transient=True
    ):
        optimizer.param_groups[0]["lr"] = lr * (1 - i / count)
        x, q = next(batches)
        with torch.no_grad():
            y, _ = autoencoder.latent(x, q)
        bits_y, bits_z = autoencoder.code_latent(y, q)[1:]
        loss = (bits_y + bits_z).log().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        autoencoder.zero_grad(set_to_none=True)
    for hook in hooks:
        hook.remove()
    for conv in entropy_convs(autoencoder).values():
        for name in ("weight", "bias"):
            parametrize.remove_parametrizations(conv, name, leave_parametrized=False)  # type: ignore[no-untyped-call]
