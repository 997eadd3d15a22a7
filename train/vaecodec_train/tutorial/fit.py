"""Training and measuring a small autoencoder."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from pytorch_msssim import ssim
from rich.progress import track
from torch import Tensor, nn

from vaecodec_train.tutorial.models import Autoencoder

BATCH = 128
RATE = 0.001
Loss = Callable[
    [Tensor], tuple[Tensor, Tensor]
]  # a batch -> two parts of the loss of each of its images


def fit(
    model: nn.Module,
    losses: Loss,
    images: Tensor,
    epochs: int,
    log: Path | None = None,
    seed: int = 0,
    names: tuple[str, str] = ("reconstruction", "kl"),
) -> None:
    """Adam over shuffled batches, its rate falling to zero. Prints and logs the means of both parts of the loss by epoch."""
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    steps = -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 1 - step / (epochs * steps)
    )
    order = torch.Generator().manual_seed(seed)
    model.train()
    for epoch in range(1, epochs + 1):
        sums = torch.zeros(2)
        batches = torch.split(torch.randperm(len(images), generator=order), BATCH)
        silent = log is None or not sys.stdout.isatty()
        for batch in track(batches, f"epoch {epoch}/{epochs}", transient=True, disable=silent):
            first, second = losses(images[batch])
            optimizer.zero_grad()
            torch.autograd.backward((first + second).mean())
            optimizer.step()
            schedule.step()
            sums += torch.stack([first.detach().sum(), second.detach().sum()])
        means = (sums / len(images)).tolist()
        if log is not None:
            print(f"epoch {epoch}/{epochs}: {names[0]} {means[0]:.2f}, {names[1]} {means[1]:.2f}")
            with log.open("a") as f:
                f.write(json.dumps({"epoch": epoch, **dict(zip(names, means, strict=True))}) + "\n")
    model.eval()


@torch.no_grad()
def psnr(images: Tensor, others: Tensor) -> float:
    """Mean over the images of 10 log10(1 / MSE), in dB."""
    return float((-10 * (images - others).square().mean((1, 2, 3)).clamp_min(1e-12).log10()).mean())


@torch.no_grad()
def measure(model: Autoencoder, images: Tensor) -> dict[str, float]:
    """PSNR and SSIM of reconstructions from the means; for variational models the ELBO in nats and its parts, per image."""
    shown = torch.cat([model.reconstruct(batch) for batch in torch.split(images, 1000)])
    figures = {"psnr": psnr(images, shown), "ssim": float(ssim(images, shown, data_range=1.0))}
    if model.variational:
        noise = torch.Generator().manual_seed(0)
        parts = torch.cat(
            [torch.stack(model.losses(batch, noise)) for batch in torch.split(images, 1000)], 1
        ).mean(1)
        figures |= {
            "reconstruction": float(parts[0]),
            "kl": float(parts[1]),
            "elbo": -float(parts.sum()),
        }
    return figures
