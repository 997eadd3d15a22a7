"""Train restorers: the encoder of a codec with a synthesis that removes damage."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto
from PIL import Image
from rich.progress import BarColumn, Progress, TextColumn
from torch import Tensor, nn

from vaecodec.image.files import write_file
from vaecodec.model.networks import Networks
from vaecodec.tasks.restore import INPUT_CHANNELS, fill_masked
from vaecodec_train.config import TrainConfig
from vaecodec_train.export import onnx_graphs
from vaecodec_train.model.autoencoder import Autoencoder
from vaecodec_train.model.blocks import Conv1x1
from vaecodec_train.training.dataset import Dataset, draw_batch, held_out_crops
from vaecodec_train.training.muon import Muon, is_matrix

EMA = 0.99
WARMUP = 50  # iterations over which the learning rate rises
DECAY = 0.6  # share of the time, at its end, over which the learning rate falls to zero
ITERATIONS_PER_REPORT = 20
HOLE_SIDE = 16
Pixels = npt.NDArray[np.uint8]


class Restorer(nn.Module):
    """Damaged image (B, 3 or, with a mask, 4, H, W) in [0, 1] -> restored image (B, 3, H, W).

    g_a is frozen. The last stage of g_s also reads the damaged pixels, since the latents do not
    keep all of their detail:

        x --> g_a --> g_s.unfold --> * gain --> + --> g_s.fine --> g_s.head --> + --> restored
        |                                       ^                               ^
        +--> pixel_unshuffle by 8 --> to_fine --+                               |
                                 +--> to_output --------------------------------+

    Args:
        autoencoder: gives g_a, g_s and the gains of the highest quality. Its g_s is trained in
            place.
        channels: channels of the damaged image.
    """

    gain_a: Tensor
    gain_s: Tensor
    gain_y: Tensor

    def __init__(self, autoencoder: Autoencoder, channels: int):
        super().__init__()
        highest = torch.ones(1)
        self.channels = channels
        self.g_a = autoencoder.g_a.requires_grad_(False)
        self.g_s = autoencoder.g_s
        with torch.no_grad():
            for name in ("gain_a", "gain_s", "gain_y"):
                table = getattr(autoencoder, f"log_{name}")
                self.register_buffer(name, autoencoder.at_quality(table, highest).exp())
        self.to_fine = zeroed(Conv1x1(64 * channels, autoencoder.config.n))
        self.to_output = zeroed(Conv1x1(64 * channels, 192))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = self.g_a(x[:, :3], self.gain_a)
        cells = F.pixel_unshuffle(x - 0.5, 8)
        fine = self.g_s.fine(self.g_s.unfold(y) * self.gain_s + self.to_fine(cells))
        return F.pixel_shuffle(self.g_s.head(fine) + self.to_output(cells), 8) + 0.5


@torch.no_grad()
def zeroed(conv: nn.Conv2d) -> nn.Conv2d:
    """Set all weights to zero, so that a new restorer computes what the codec does."""
    for parameter in conv.parameters():
        parameter.zero_()
    return conv


def add_noise(image: Pixels, rng: np.random.Generator, sigma: float | None = None) -> Pixels:
    """Add Gaussian noise and round to 8 bits.

    sigma: standard deviation in grey levels. By default random between 10 and 40.
    """
    deviation = rng.uniform(10, 40) if sigma is None else sigma
    noisy = image + rng.standard_normal(image.shape, np.float32) * np.float32(deviation)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def cut_holes(image: Pixels, rng: np.random.Generator, share: float | None = None) -> Pixels:
    """Remove random squares of a grid.

    Returns (H, W, 4): the image with filled holes, and their mask (255).

    share: share of the squares that are removed. By default random between 0.05 and 0.3, with a
    randomly shifted grid.
    """
    height, width = image.shape[:2]
    rows = -(-height // HOLE_SIDE)
    columns = -(-width // HOLE_SIDE)
    probability = rng.uniform(0.05, 0.3) if share is None else share
    squares = rng.random((rows, columns)) < probability
    mask = np.repeat(np.repeat(squares, HOLE_SIDE, 0), HOLE_SIDE, 1)[:height, :width]
    if share is None:
        y, x = rng.integers(0, HOLE_SIDE, 2)
        mask = np.roll(mask, (y, x), (0, 1))
    return np.dstack([fill_masked(image, mask), mask.astype(np.uint8) * 255])


def blur(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Halve the image and enlarge it again with Pillow's bicubic filter, as superres does."""
    picture = Image.fromarray(image)
    half_size = (picture.width // 2, picture.height // 2)
    half = picture.resize(half_size, Image.Resampling.BICUBIC)
    return np.asarray(half.resize(picture.size, Image.Resampling.BICUBIC))


TASKS: dict[str, Callable[..., Pixels]] = {
    "denoise": add_noise,
    "inpaint": cut_holes,
    "superres": blur,
}
HELD_OUT_DAMAGE: dict[str, dict[str, Any]] = {
    "denoise": {"sigma": 25},
    "inpaint": {"share": 0.2},
    "superres": {},
}


def to_tensor(images: list[Pixels]) -> Tensor:
    """Stack images (H, W, C) to (B, C, H, W), float32 in [0, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)


def mean_squared_errors(restored: Tensor, clean: Tensor, damaged: Tensor) -> Tensor:
    """Return the mean squared error of each image (B,). With a mask, only missing pixels count."""
    squares = (restored - clean).square()
    if damaged.shape[1] == 3:
        return squares.mean((1, 2, 3))
    mask = damaged[:, 3:]
    return (squares * mask).sum((1, 2, 3)) / (3 * mask.sum((1, 2, 3)) + 1)


def draw_pairs(
    dataset: Dataset, config: TrainConfig, iteration: int, damage: Callable[..., Pixels]
) -> tuple[Tensor, Tensor]:
    """Return the batch of an iteration, clean (B, 3, H, W) and damaged (B, 3 or 4, H, W)."""
    rng = np.random.default_rng([config.seed, iteration])
    crops = list(draw_batch(dataset, config, iteration)[0])
    damaged = [damage(np.ascontiguousarray(crop), rng) for crop in crops]
    return to_tensor(crops), to_tensor(damaged)


def train_restorer(
    task: str,
    autoencoder: Autoencoder,
    dataset: Dataset,
    minutes: float,
    batch: int = 8,
    patch: int = 256,
    rate: float = 0.005,
    seed: int = 0,
    compiled: bool = True,
) -> tuple[Restorer, dict[str, Any]]:
    """Adapt g_s to a task with Muon and averaged weights.

    Args:
        task: a key of `TASKS`.
        autoencoder: the codec to start from; its g_s is trained in place.
        dataset: clean images.
        minutes: processor time in minutes, summed over all cores.
        batch: crops in a batch.
        patch: side of a crop in pixels.
        rate: learning rate of the matrices; everything else has a fifth of it.
        seed: random seed of the batches and the damage.
        compiled: use torch.compile.

    Returns:
        The restorer and its figures, among them the mean PSNR in dB on the held-out crops, damaged
        and restored.
    """
    config = TrainConfig(batch=batch, patch=patch, downscale=True, seed=seed)
    restorer = Restorer(autoencoder, INPUT_CHANNELS[task]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learned = [p for p in restorer.parameters() if p.requires_grad]
    averages = [p.detach().clone() for p in learned]
    optimizers = [
        (Muon([p for p in learned if is_matrix(p)], rate), rate),
        (torch.optim.Adam([p for p in learned if not is_matrix(p)], rate / 5), rate / 5),
    ]
    forward = torch.compile(restorer) if compiled else restorer
    start = time.process_time()
    iteration = 0
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
    with Progress(*columns, transient=True) as progress:
        bar = progress.add_task(task, total=minutes, state="")
        while (used := (time.process_time() - start) / 60) < minutes:
            clean, damaged = draw_pairs(dataset, config, iteration, TASKS[task])
            factor = min(1.0, (iteration + 1) / WARMUP, (1 - used / minutes) / DECAY)
            for optimizer, lr in optimizers:
                optimizer.param_groups[0]["lr"] = lr * factor
            restored = forward(damaged.contiguous(memory_format=torch.channels_last))
            loss = (mean_squared_errors(restored, clean, damaged) + 1e-6).log().mean()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(learned, 1.0)
            for optimizer, _ in optimizers:
                optimizer.step()
            for p, average in zip(learned, averages, strict=True):
                p.grad = None
                average.lerp_(p.detach(), 1 - min(EMA, iteration / (iteration + 10)))
            iteration += 1
            if iteration % ITERATIONS_PER_REPORT == 0:
                psnr = -10 * loss.item() / math.log(10)
                state = f"iteration {iteration}, {psnr:.2f} dB, {minutes - used:.0f} minutes left"
                progress.update(bar, completed=used, state=state)
                if not progress.console.is_terminal:
                    print(state, flush=True)
    with torch.no_grad():
        for p, average in zip(learned, averages, strict=True):
            p.copy_(average)
    before, after = measure(restorer, task, dataset)
    return restorer.eval(), {
        "task": task,
        "steps": iteration,
        "batch": batch,
        "patch": patch,
        "cpu_minutes": round(minutes, 1),
        "held_out_damaged_psnr": round(before, 3),
        "held_out_restored_psnr": round(after, 3),
    }


@torch.no_grad()
def measure(restorer: Restorer, task: str, dataset: Dataset) -> tuple[float, float]:
    """Return the mean PSNR in dB on the held-out crops, damaged and restored.

    The damage is noise of 25 grey levels, a fifth of the squares missing, or half the resolution.
    """
    psnrs = []
    for i, crop in enumerate(held_out_crops(dataset)):
        rng = np.random.default_rng([1, i])
        clean = to_tensor([crop])
        damaged = to_tensor([TASKS[task](crop, rng, **HELD_OUT_DAMAGE[task])])
        pair = (damaged[:, :3], restorer(damaged))
        psnrs.append([float(-10 * mean_squared_errors(x, clean, damaged).log10()) for x in pair])
    before, after = np.mean(psnrs, 0)
    return float(before), float(after)


@torch.no_grad()
def same_encoder(autoencoder: Autoencoder, nets: Networks) -> bool:
    """Return whether a loaded model has the g_a of the autoencoder, up to float16 weights."""
    if autoencoder.config.m != nets.m:
        return False
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.float32)
    x = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    y, _ = autoencoder.latent(x, torch.ones(1))
    expected = y[0].numpy()
    return bool(np.abs(nets.analyse(image, 100) - expected).max() < 0.05 * np.abs(expected).max())


def write_restorer(restorer: Restorer, path: Path, model_id: str, figures: dict[str, Any]) -> None:
    """Write the ONNX graph that `vaecodec restore` runs.

    Inputs are y, as g_a gives it at quality 100, and the damaged image. The output is the restored
    image.

    Args:
        restorer: a trained restorer.
        path: the file to write.
        model_id: id of the exported model whose g_a it needs; stored in the file.
        figures: see `train_restorer`; stored in the file.
    """
    g = onnx_graphs.Graph(figures["task"])
    g_s = restorer.g_s
    y = g.input("y", TensorProto.FLOAT, [1, g_s.stem.in_channels, "h", "w"])
    image = g.input("image", TensorProto.FLOAT, ["H", "W", restorer.channels])
    color_last = np.arange(64 * restorer.channels).reshape(restorer.channels, 64).T.reshape(-1)
    cells = onnx_graphs.cells_of_8(g, image, restorer.channels)
    y = g.op("Div", y, g.const(restorer.gain_y.numpy()))
    x = g.op("Mul", onnx_graphs.unfold(g, y, g_s), g.const(restorer.gain_s.numpy()))
    x = g.op("Add", x, g.float_conv(cells, restorer.to_fine, columns=color_last))
    for block in g_s.fine:
        x = onnx_graphs.float_block(g, x, block)
    rows = onnx_graphs.COLOR_LAST
    detail = g.float_conv(cells, restorer.to_output, rows, color_last, scale=255)
    x = g.op("Add", g.float_conv(x, g_s.head, rows, scale=255, shift=127.5), detail)
    g.output(onnx_graphs.pixels_of_cells(g, x), "restored", TensorProto.FLOAT, 3)
    stored = onnx.load_from_string(g.finish())
    properties = {"model": model_id, **{name: str(value) for name, value in figures.items()}}
    onnx.helper.set_model_props(stored, properties)
    write_file(path, stored.SerializeToString())
