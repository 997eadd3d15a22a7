"""Estimated bits of the float model beside the real files of its exported, integer one."""

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
from vaecodec_train.model.checkpoint import load_model

QUALITIES = (1.0, 12.0, 23.0, 34.0, 45.0, 56.0, 67.0, 78.0, 89.0, 100.0)


@torch.no_grad()
def compare(checkpoint: Path, folder: Path, model: str) -> None:
    """Print, for ten qualities, the mean over the images: estimated bits per pixel, those of the file, those of the range
    coder's words alone (what quantizing the entropy networks may change), and both PSNRs in dB."""
    float_model, _ = load_model(checkpoint)
    if registry.load_model(model).manifest["lambda"] != [
        float_model.config.lambda_min,
        float_model.config.lambda_max,
    ]:
        raise VaecodecError(f"{model}: exported from another model than {checkpoint}")
    rows = {q: np.zeros(5) for q in QUALITIES}
    paths = images_in(folder)
    for path in track(paths, "Evaluating", console=Console(stderr=True), transient=True):
        image = read_image(Path(path)).convert("RGB")
        pixels = np.array(image)
        height, width = pixels.shape[:2]
        padded = np.pad(pixels, ((0, -height % 64), (0, -width % 64), (0, 0)), mode="edge")
        x = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255
        for q in QUALITIES:
            out = float_model(x, torch.tensor([(q - 1) / 99]))
            estimate = out.bpp.item() * x.shape[2] * x.shape[3]
            decoded = (
                (out.x_hat[0].permute(1, 2, 0).clamp(0, 1) * 255)
                .round()
                .byte()
                .numpy()[:height, :width]
            )
            data = vaecodec.encode(pixels, q, model=model)
            words = sum(chunk.length for chunk in Reader(data).latent_chunks()) * 8
            bits = np.array([estimate, len(data) * 8, words]) / (height * width)
            picture = vaecodec.decode_array(data, model=model)
            rows[q] += np.array([*bits, psnr(pixels, decoded), psnr(pixels, picture)]) / len(paths)
    table = Table(
        "quality",
        "estimated bpp",
        "file bpp",
        "file/estimate",
        "words/estimate",
        "float dB",
        "file dB",
    )
    for q, (estimated, file, words, float_db, file_db) in rows.items():
        table.add_row(
            f"{q:g}",
            f"{estimated:.4f}",
            f"{file:.4f}",
            f"{100 * (file / estimated - 1):+.2f} %",
            f"{100 * (words / estimated - 1):+.2f} %",
            f"{float_db:.3f}",
            f"{file_db:.3f}",
        )
    Console().print(table)
