"""PNG files of what a small autoencoder does."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaecodec_train.tutorial.models import Autoencoder

ENLARGED = 2


def grid(images: Tensor, columns: int, path: Path) -> None:
    """Images (n, 1, 28, 28) in [0, 1], row by row, as one picture."""
    rows = -(-len(images) // columns)
    sheet = torch.ones(rows * columns, 30, 30)
    sheet[: len(images), 1:-1, 1:-1] = images[:, 0]
    pixels = sheet.reshape(rows, columns, 30, 30).transpose(1, 2).reshape(rows * 30, columns * 30)
    picture = Image.fromarray((pixels * 255).round().byte().numpy())
    picture.resize(
        (picture.width * ENLARGED, picture.height * ENLARGED), Image.Resampling.NEAREST
    ).save(path)


@torch.no_grad()
def draw(model: Autoencoder, images: Tensor, labels: Tensor, folder: Path) -> None:
    """reconstructions.png, samples.png, walk.png and map.png of a model, from test digits (10,000 of them at the most)."""
    shown = images[:16]
    grid(torch.cat([shown, model.reconstruct(shown)]), 16, folder / "reconstructions.png")
    noise = torch.randn(96, model.latent, generator=torch.Generator().manual_seed(0))
    grid(torch.sigmoid(model.decode(noise)), 16, folder / "samples.png")
    latents = torch.cat([model.encode(batch)[0] for batch in torch.split(images, 1000)])
    steps = torch.linspace(0, 1, 16)[:, None]
    firsts = [int((labels == digit).nonzero()[0]) for digit in range(10)]
    pairs = list(zip(firsts[::2], firsts[1::2], strict=True))
    walks = [
        torch.sigmoid(model.decode(latents[a] * (1 - steps) + latents[b] * steps)) for a, b in pairs
    ]
    grid(torch.cat(walks), 16, folder / "walk.png")
    _map(latents, labels, folder / "map.png")


def _map(latents: Tensor, labels: Tensor, path: Path) -> None:
    """The latents on their two main axes (PCA), coloured by digit."""
    from matplotlib.figure import Figure

    centred = latents - latents.mean(0)
    flat = (centred @ torch.linalg.svd(centred, full_matrices=False)[2][:2].T).numpy()
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.add_subplot()
    for digit in range(10):
        here = np.flatnonzero(labels.numpy() == digit)
        axes.scatter(
            flat[here, 0], flat[here, 1], s=3, color=f"C{digit}", label=str(digit), linewidths=0
        )
    axes.set(xlabel="first principal axis of the latents", ylabel="second")
    axes.legend(markerscale=5, title="digit", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)
