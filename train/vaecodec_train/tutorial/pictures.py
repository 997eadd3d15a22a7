"""Draw what a small autoencoder does, as PNG files."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaecodec_train.tutorial.models import DigitAutoencoder

ENLARGEMENT = 2
CELL_SIDE = 30  # a digit of 28 pixels and its border
COLUMNS = 16
ROWS_OF_SAMPLES = 6


def save_grid(images: Tensor, columns: int, path: Path) -> None:
    """Save images (n, 1, 28, 28) in [0, 1] as one picture, row by row."""
    rows = -(-len(images) // columns)
    cells = torch.ones(rows * columns, CELL_SIDE, CELL_SIDE)
    cells[: len(images), 1:-1, 1:-1] = images[:, 0]
    pixels = cells.reshape(rows, columns, CELL_SIDE, CELL_SIDE).transpose(1, 2)
    pixels = pixels.reshape(rows * CELL_SIDE, columns * CELL_SIDE)
    picture = Image.fromarray((pixels * 255).round().byte().numpy())
    size = (picture.width * ENLARGEMENT, picture.height * ENLARGEMENT)
    picture.resize(size, Image.Resampling.NEAREST).save(path)


@torch.no_grad()
def draw_model(model: DigitAutoencoder, images: Tensor, labels: Tensor, folder: Path) -> None:
    """Draw reconstructions.png, samples.png, walk.png and map.png from test digits."""
    originals = images[:COLUMNS]
    pairs = torch.cat([originals, model.reconstruct(originals)])
    save_grid(pairs, COLUMNS, folder / "reconstructions.png")
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(ROWS_OF_SAMPLES * COLUMNS, model.latent, generator=generator)
    save_grid(torch.sigmoid(model.decode(noise)), COLUMNS, folder / "samples.png")
    latents = torch.cat([model.encode(batch)[0] for batch in torch.split(images, 1000)])
    save_grid(latent_walks(model, latents, labels), COLUMNS, folder / "walk.png")
    plot_map(latents, labels, folder / "map.png")


def latent_walks(model: DigitAutoencoder, latents: Tensor, labels: Tensor) -> Tensor:
    """Return images decoded between the latents of two digits: 0 to 1, 2 to 3, and so on."""
    t = torch.linspace(0, 1, COLUMNS)[:, None]
    examples = [latents[int((labels == digit).nonzero()[0])] for digit in range(10)]
    walks = [
        torch.sigmoid(model.decode(start * (1 - t) + end * t))
        for start, end in zip(examples[::2], examples[1::2], strict=True)
    ]
    return torch.cat(walks)


def plot_map(latents: Tensor, labels: Tensor, path: Path) -> None:
    """Plot the latents along their two principal axes (PCA), coloured by digit."""
    from matplotlib.figure import Figure

    centred = latents - latents.mean(0)
    points = (centred @ torch.linalg.svd(centred, full_matrices=False)[2][:2].T).numpy()
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.add_subplot()
    for digit in range(10):
        x, y = points[np.flatnonzero(labels.numpy() == digit)].T
        axes.scatter(x, y, s=3, color=f"C{digit}", label=str(digit), linewidths=0)
    axes.set(xlabel="first principal axis of the latents", ylabel="second")
    axes.legend(markerscale=5, title="digit", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)
