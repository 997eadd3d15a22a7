"""Write a model folder: networks, tables and a manifest (docs/FORMAT.md, "The model")."""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from vaecodec._arrays import F64, I32, Integers
from vaecodec.coding.latents import encode_tile
from vaecodec.engine import save_network
from vaecodec.entropy.tables import Tables
from vaecodec.errors import VaecodecError
from vaecodec.image.files import images_in
from vaecodec.model import networks
from vaecodec.spec import FREQUENCY_BITS, SEGMENTS
from vaecodec_train.export.entropy import (
    LOG_SCALE_SPACING,
    Y_TABLES,
    EntropyModel,
    entropy_model,
    gaussian_table,
)
from vaecodec_train.export.onnx_graphs import all_graphs
from vaecodec_train.export.onnx_refine import gradient_graph
from vaecodec_train.model.autoencoder import LOG_SCALE_MIN, Autoencoder

PATCH = 256
PRIOR_WEIGHT = 100.0  # number of observed symbols that the parametric table counts for
BANDS = 8  # equal ranges of quality, each with its own tables of z
CALIBRATION_CROPS = 64
PASSES = 2  # number of qualities at which each crop is coded to fit the tables

Pixels = npt.NDArray[np.uint8]


def load_crops(folders: list[Path], count: int, seed: int = 0) -> list[Pixels]:
    """Cut `count` random crops (256, 256, 3) from the images in the folders.

    Each comes from a different image if there are enough. Every second crop is downscaled by a
    random factor of 0.5 to 1, so that the tables also fit pictures sharper than the images.
    """
    rng = np.random.default_rng(seed)
    paths = [Path(name) for folder in folders for name in images_in(folder)]
    crops: list[Pixels] = []
    for i in range(3 * count):
        if len(crops) == count:
            break
        with Image.open(
            paths[
                int(rng.permutation(len(paths))[0])
                if i >= len(paths)
                else (i * 7919 + seed) % len(paths)
            ]
        ) as f:
            if min(f.size) < PATCH:
                continue
            side = min(round(PATCH / rng.uniform(0.5, 1)), *f.size) if i % 2 else PATCH
            x, y = (int(rng.integers(0, whole - side + 1)) for whole in f.size)
            crop = f.convert("RGB").crop((x, y, x + side, y + side))
            crops.append(
                np.asarray(
                    crop.resize((PATCH, PATCH), Image.Resampling.LANCZOS) if side > PATCH else crop
                )
            )
    if not crops:
        raise VaecodecError(
            f"{', '.join(map(str, folders))}: no image of at least {PATCH} x {PATCH} pixels"
        )
    return crops


def batches(crops: list[Pixels], size: int = 8) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (images, qualities) for calibration. Qualities cover [0, 1] evenly, ends included."""
    for i in range(0, len(crops), size):
        part = crops[i : i + size]
        yield (
            torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2).float() / 255,
            torch.linspace(0, 1, len(part)),
        )


def to_frequencies(probability: F64) -> npt.NDArray[np.uint32]:
    """Return positive integers that sum to 2^24, close to the given probabilities."""
    p = probability / probability.sum()
    frequency = np.maximum(1, np.floor(p * 2**FREQUENCY_BITS)).astype(np.int64)
    frequency[np.argmax(frequency)] += 2**FREQUENCY_BITS - frequency.sum()
    as_stored: npt.NDArray[np.uint32] = frequency.astype(np.uint32)
    return as_stored


def refit(prior: list[F64], counts: list[F64]) -> list[F64]:
    """Smooth observed counts with the parametric tables.

    The ends of a table also stand for everything beyond them.
    """
    return [(PRIOR_WEIGHT * p / p.sum() + n) for p, n in zip(prior, counts, strict=True)]


def z_prior(autoencoder: Autoencoder) -> list[F64]:
    """Return the tables of z from the learned prior. They omit at most 2^-20 on each side."""
    tables = []
    with torch.no_grad():
        median = autoencoder.prior_z._get_medians().reshape(-1, 1, 1)
        values = torch.arange(-255, 256).float()
        p = autoencoder.prior_z._likelihood(values[None, None] + median)[0]
        for row in p[:, 0].double().numpy():
            seen = np.flatnonzero(row > 2**-20)
            half = max(2, int(np.abs(seen - 255).max())) if seen.size else 2
            tables.append(np.maximum(row[255 - half : 256 + half], 1e-12))
    return tables


class Counter:
    """A symbol sink that counts the symbols of each table."""

    def __init__(self) -> None:
        self.counts: dict[Tables, list[F64]] = {}

    def encode(self, tables: Tables, index: Integers, symbols: I32) -> None:
        """Count symbols (n,). `index` (n,) is the table of each symbol."""
        counts = self.counts.setdefault(tables, [np.zeros(2 * h + 1) for h in tables.half_width])
        half = tables.half_width[index]
        positions = np.clip(symbols, -half, half) + half
        for table in np.unique(index):
            counts[table] += np.bincount(positions[index == table], minlength=len(counts[table]))


@torch.no_grad()
def linear_synthesis(autoencoder: Autoencoder, crops: list[Pixels]) -> npt.NDArray[np.float16]:
    """Fit the matrix (8, 8, 3, m + 1) that maps y without its gain to half-size pictures of g_s.

    It is the least-squares solution.
    """
    m = autoencoder.config.m
    square, product = (
        torch.zeros(m + 1, m + 1, dtype=torch.double),
        torch.zeros(m + 1, 192, dtype=torch.double),
    )
    for x, q in batches(crops):
        y, gain = autoencoder.latent(x, q)
        y_hat = autoencoder.code_latent(y, q)[0] / gain
        picture = (
            autoencoder.g_s(y_hat, autoencoder.at_quality(autoencoder.log_gain_s, q).exp()).clamp(
                0, 1
            )
            * 255
        )
        half = torch.nn.functional.pixel_unshuffle(torch.nn.functional.avg_pool2d(picture, 2), 8)
        cells = y_hat.permute(0, 2, 3, 1).reshape(-1, m).double()
        cells = torch.cat([cells, torch.ones(len(cells), 1, dtype=torch.double)], 1)
        square += cells.T @ cells
        product += cells.T @ half.permute(0, 2, 3, 1).reshape(-1, 192).double()
    ridge = 1e-4 * square.diagonal().mean() * torch.eye(m + 1, dtype=torch.double)
    matrix = (
        torch.linalg.solve(square + ridge, product).T.reshape(3, 8, 8, m + 1).permute(1, 2, 0, 3)
    )
    stored: npt.NDArray[np.float16] = matrix.numpy().astype(np.float16)
    return stored


def write_tables(
    folder: Path,
    autoencoder: Autoencoder,
    entropy: EntropyModel,
    y: list[F64],
    z: list[F64],
    preview: npt.NDArray[np.float16],
) -> None:
    def flat(tables: list[F64]) -> npt.NDArray[np.uint32]:
        return np.concatenate([to_frequencies(t) for t in tables])

    gains = {
        name: getattr(autoencoder, name).detach().numpy()
        for name in ("log_gain_a", "log_gain_s", "log_gain_y")
    }
    np.savez(
        folder / "tables.npz",
        z_median=entropy.z_median,
        bias_scale=entropy.bias_scale,
        scale_index=entropy.scale_index,
        y_shift=entropy.y_shift,
        y_half_width=np.array([len(t) // 2 for t in y], np.uint16),
        y_frequency=flat(y),
        z_half_width=np.array([len(t) // 2 for t in z], np.uint16).reshape(BANDS, -1),
        z_frequency=flat(z),
        preview=preview,
        **gains,
    )


def write_manifest(folder: Path, autoencoder: Autoencoder, figures: dict[str, object]) -> str:
    model_id = networks.content_id(folder)
    manifest = {
        "id": model_id,
        "config": dataclasses.asdict(autoencoder.config),
        "figures": figures,
        "lambda": [autoencoder.config.lambda_min, autoencoder.config.lambda_max],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return model_id


def export(
    autoencoder: Autoencoder,
    crops: list[Pixels],
    out: Path,
    figures: dict[str, object],
) -> Path:
    """Export an autoencoder. Returns the new folder, `out`/<model id>.

    crops: for calibration and for refitting the probability tables.
    """
    if len(crops) < 8:
        raise VaecodecError(
            f"calibration needs at least 8 images of {PATCH} x {PATCH} pixels, not {len(crops)}"
        )
    out.mkdir(parents=True, exist_ok=True)
    entropy = entropy_model(autoencoder, batches(crops[:CALIBRATION_CROPS]))
    y = [
        gaussian_table(float(np.exp(LOG_SCALE_MIN + i * LOG_SCALE_SPACING)))
        for i in range(Y_TABLES)
    ]
    z = z_prior(autoencoder) * BANDS
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        folder = Path(scratch) / "model"  # with ordinary permissions, unlike the temporary folder
        folder.mkdir()
        graphs = all_graphs(autoencoder) | {"refine.onnx": gradient_graph(autoencoder)}
        for file, data in graphs.items():
            (folder / file).write_bytes(data)
        for name, network in entropy.networks.items():
            save_network(network, folder / f"{name}.npz")
        preview = linear_synthesis(autoencoder, crops[:200])
        write_tables(folder, autoencoder, entropy, y, z, preview)
        write_manifest(folder, autoencoder, {})
        nets = networks.Networks(folder)
        counter = Counter()
        for i, crop in enumerate(crops * PASSES):
            # Evenly spread, whatever the order of the crops.
            quality = 1 + 99 * (i * 0.6180339887 % 1)
            latent_y = nets.analyse(crop, quality)
            latent_z = nets.hyper_analyse(latent_y)
            size = (PATCH, PATCH)
            encode_tile(nets, quality, size, [counter] * SEGMENTS, latent_y, latent_z)
        counts_z = [
            n
            for band in range(BANDS)
            for n in counter.counts[nets.z_tables(1 + 99 * (band + 0.5) / BANDS)]
        ]
        # Residuals are symmetric: counting both signs together halves the noise of the tables.
        counts_y = [(n + n[::-1]) / 2 for n in counter.counts[nets.y_tables]]
        write_tables(folder, autoencoder, entropy, refit(y, counts_y), refit(z, counts_z), preview)
        target = out / write_manifest(folder, autoencoder, figures)
        if target.exists():
            shutil.rmtree(target)
        shutil.copytree(folder, target)
    return target
