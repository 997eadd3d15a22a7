"""Train a small autoencoder and measure it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from pytorch_msssim import ssim
from rich.progress import track
from torch import Tensor, nn

from vaecodec_train.tutorial.models import DigitAutoencoder

BATCH = 128
LEARNING_RATE = 0.001
MEASURED_BATCH = 1000
# Maps a batch of images to the two parts of the loss of each image.
Losses = Callable[[Tensor], tuple[Tensor, Tensor]]


def fit(
    model: nn.Module,
    losses: Losses,
    images: Tensor,
    epochs: int,
    log: Path | None = None,
    seed: int = 0,
    names: tuple[str, str] = ("reconstruction", "kl"),
) -> None:
    """Train with Adam on shuffled batches. The learning rate falls to zero.

    Args:
        model: trained in place.
        losses: a method of the model.
        images: (n, 1, 28, 28) in [0, 1].
        epochs: number of passes over the images.
        log: file to append the mean losses of each epoch to. They are also printed. By default
            neither is done.
        seed: of the order of the images.
        names: names of the two parts of the loss, for the log.
    """
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    iterations = epochs * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1 - done / iterations)
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
    """Return the mean over the images of 10 log10(1 / MSE), in dB."""
    return float((-10 * (images - others).square().mean((1, 2, 3)).clamp_min(1e-12).log10()).mean())


@torch.no_grad()
def measure(model: DigitAutoencoder, images: Tensor) -> dict[str, float]:
    """Return PSNR and SSIM of the reconstructions from the means of the latents.

    For variational models also the evidence lower bound in nats per image, and its two parts.
    """
    batches = torch.split(images, MEASURED_BATCH)
    reconstructed = torch.cat([model.reconstruct(batch) for batch in batches])
    figures = {
        "psnr": psnr(images, reconstructed),
        "ssim": float(ssim(images, reconstructed, data_range=1.0)),
    }
    if model.variational:
        noise = torch.Generator().manual_seed(0)
        losses = torch.cat([torch.stack(model.losses(batch, noise)) for batch in batches], 1)
        means = losses.mean(1)
        figures["reconstruction"] = float(means[0])
        figures["kl"] = float(means[1])
        figures["elbo"] = -float(means.sum())
    return figures
