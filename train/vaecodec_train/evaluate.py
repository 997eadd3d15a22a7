"""Compare the bits that the float model estimates with real files of the exported integer model."""

from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import vaecodec
from vaecodec.errors import VaecodecError
from vaecodec.format.reader import Reader
from vaecodec.image.files import images_in, read_image
from vaecodec.metrics import psnr
from vaecodec.model import registry
from vaecodec_train.model.autoencoder import Autoencoder
from vaecodec_train.model.checkpoint import load_autoencoder
from vaecodec_train.training.dataset import Pixels

QUALITIES = (1.0, 12.0, 23.0, 34.0, 45.0, 56.0, 67.0, 78.0, 89.0, 100.0)


@dataclass
class Figures:
    """Bits per pixel and PSNR in dB of one image at one quality."""

    estimated_bpp: float  # estimate of the float model
    file_bpp: float
    words_bpp: float  # the range coder's words alone, without headers
    float_psnr: float
    file_psnr: float


def compare(checkpoint: Path, folder: Path, model: str) -> None:
    """Print a table of means over the images of a folder, for ten qualities.

    The bits of the range coder's words, relative to the estimate, show what quantizing the entropy
    networks costs.

    Args:
        checkpoint: weights, or the folder of a run.
        folder: test images.
        model: id or folder of the model exported from this checkpoint.

    Raises:
        VaecodecError: the model was not exported from this checkpoint.
    """
    autoencoder, _ = load_autoencoder(checkpoint)
    expected = [autoencoder.config.lambda_min, autoencoder.config.lambda_max]
    if registry.load_model(model).manifest["lambda"] != expected:
        raise VaecodecError(f"{model}: not exported from {checkpoint}")
    sums = {quality: np.zeros(5) for quality in QUALITIES}
    paths = images_in(folder)
    for path in track(paths, "Evaluating", console=Console(stderr=True), transient=True):
        pixels = np.array(read_image(Path(path)).convert("RGB"))
        for quality in QUALITIES:
            sums[quality] += astuple(measure(autoencoder, model, pixels, quality))
    print_table({quality: Figures(*(total / len(paths))) for quality, total in sums.items()})


@torch.no_grad()
def measure(autoencoder: Autoencoder, model: str, pixels: Pixels, quality: float) -> Figures:
    """Code an image (H, W, 3) with the float model and with the exported one."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % 64), (0, -width % 64), (0, 0)), mode="edge")
    x = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255
    out = autoencoder(x, torch.tensor([(quality - 1) / 99]))
    estimated_bits = out.bpp.item() * x.shape[2] * x.shape[3]
    reconstruction = (out.x_hat[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    data = vaecodec.encode(pixels, quality, model=model)
    words = sum(chunk.length for chunk in Reader(data).latent_chunks())
    return Figures(
        estimated_bpp=estimated_bits / (height * width),
        file_bpp=len(data) * 8 / (height * width),
        words_bpp=words * 8 / (height * width),
        float_psnr=psnr(pixels, reconstruction[:height, :width]),
        file_psnr=psnr(pixels, vaecodec.decode_array(data, model=model)),
    )


def print_table(rows: dict[float, Figures]) -> None:
    table = Table(
        "quality",
        "estimated bpp",
        "file bpp",
        "file/estimate",
        "words/estimate",
        "float dB",
        "file dB",
    )
    for quality, row in rows.items():
        table.add_row(
            f"{quality:g}",
            f"{row.estimated_bpp:.4f}",
            f"{row.file_bpp:.4f}",
            f"{100 * (row.file_bpp / row.estimated_bpp - 1):+.2f} %",
            f"{100 * (row.words_bpp / row.estimated_bpp - 1):+.2f} %",
            f"{row.float_psnr:.3f}",
            f"{row.file_psnr:.3f}",
        )
    Console().print(table)
