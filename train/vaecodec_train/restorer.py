"""Restoration: the codec's encoder as it is, and its synthesis adapted to give the picture without the damage."""

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
from rich.progress import BarColumn, Progress, TextColumn
from torch import Tensor, nn

from vaecodec.image.files import write_file
from vaecodec.model.networks import Networks
from vaecodec.tasks.restore import INPUT_CHANNELS, fill_masked
from vaecodec_train.config import TrainConfig
from vaecodec_train.export import onnx_graphs
from vaecodec_train.model.autoencoder import Codec, Conv1x1
from vaecodec_train.training import muon
from vaecodec_train.training.dataset import Dataset, batch, held_out_crops

EMA = 0.99
DECAY = 0.6  # the part of the time, at its end, over which the rate falls to zero
Pixels = npt.NDArray[np.uint8]


class Restorer(nn.Module):
    """Damaged image (B, 3 or, with a mask, 4, H, W) in [0, 1] -> restored image (B, 3, H, W).

    The last stage of g_s also sees the damaged pixels themselves, since the latents were not made to keep all of them.
    """

    gain_a: Tensor
    gain_s: Tensor
    gain_y: Tensor

    def __init__(self, codec: Codec, channels: int):
        super().__init__()
        c, top = codec.config, torch.ones(1)
        self.channels = channels
        self.g_a, self.g_s = codec.g_a.requires_grad_(False), codec.g_s
        with torch.no_grad():
            self.register_buffer("gain_a", codec.at_quality(codec.log_gain_a, top).exp())
            self.register_buffer("gain_s", codec.at_quality(codec.log_gain_s, top).exp())
            self.register_buffer("gain_y", codec.at_quality(codec.log_gain_y, top).exp())
        self.see = zero(Conv1x1(64 * channels, c.n))
        self.keep = zero(Conv1x1(64 * channels, 192))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = self.g_a(x[:, :3], self.gain_a)
        seen = F.pixel_unshuffle(x - 0.5, 8)
        fine = self.g_s.fine(self.g_s.unfold(y) * self.gain_s + self.see(seen))
        return F.pixel_shuffle(self.g_s.head(fine) + self.keep(seen), 8) + 0.5


@torch.no_grad()
def zero(conv: nn.Conv2d) -> nn.Conv2d:
    """So that a restorer begins as the codec."""
    for parameter in conv.parameters():
        parameter.zero_()
    return conv


def noise(image: Pixels, rng: np.random.Generator, sigma: float | None = None) -> Pixels:
    """Gaussian noise of a deviation between 10 and 40 grey levels, or of `sigma`, rounded and clipped as image files are."""
    deviation = rng.uniform(10, 40) if sigma is None else sigma
    noisy = image + rng.standard_normal(image.shape, np.float32) * np.float32(deviation)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def holes(
    image: Pixels, rng: np.random.Generator, share: float | None = None, side: int = 16
) -> Pixels:
    """Squares of side x side pixels missing at random from a grid of them, a `share` of all (0.05 to 0.3 unless told)."""
    rows, columns = -(-image.shape[0] // side), -(-image.shape[1] // side)
    part = rng.uniform(0.05, 0.3) if share is None else share
    lost = np.repeat(np.repeat(rng.random((rows, columns)) < part, side, 0), side, 1)[
        : image.shape[0], : image.shape[1]
    ]
    y, x = (0, 0) if share is not None else rng.integers(0, side, 2)
    mask = np.roll(lost, (y, x), (0, 1))
    return np.dstack([fill_masked(image, mask), mask.astype(np.uint8) * 255])


def blur(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Halved and brought back to size by Pillow's bicubic filter: what superres sees."""
    from PIL import Image

    whole = Image.fromarray(image)
    half = whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.BICUBIC)
    return np.asarray(half.resize(whole.size, Image.Resampling.BICUBIC))


TASKS: dict[str, Callable[..., Pixels]] = {"denoise": noise, "inpaint": holes, "superres": blur}


def tensors(clean: list[Pixels], damaged: list[Pixels]) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) and (B, 3 or 4, H, W), float32 in [0, 1]."""
    pair = [
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)
        for images in (clean, damaged)
    ]
    return pair[0], pair[1]


def errors(restored: Tensor, clean: Tensor, damaged: Tensor) -> Tensor:
    """Mean squared error of each image (B,), where there is a mask only of the missing pixels."""
    squares = (restored - clean).square()
    if damaged.shape[1] == 3:
        return squares.mean((1, 2, 3))
    mask = damaged[:, 3:]
    return (squares * mask).sum((1, 2, 3)) / (3 * mask.sum((1, 2, 3)) + 1)


def train(
    task: str,
    codec: Codec,
    dataset: Dataset,
    minutes: float,
    size: int = 8,
    patch: int = 256,
    rate: float = 0.005,
    seed: int = 0,
    compiled: bool = True,
) -> tuple[Restorer, dict[str, Any]]:
    """Adapt g_s for so many minutes of processor time, with Muon and averaged weights. Returns the restorer and its figures:
    mean PSNR in dB on the held-out crops, damaged and restored."""
    damage = TASKS[task]
    config = TrainConfig(batch=size, patch=patch, downscale=True, seed=seed)
    model = Restorer(codec, INPUT_CHANNELS[task]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learned = [p for p in model.parameters() if p.requires_grad]
    average = [p.detach().clone() for p in learned]
    matrices, others = (
        [p for p in learned if muon.is_matrix(p)],
        [p for p in learned if not muon.is_matrix(p)],
    )
    optimizers = [
        (muon.Muon(matrices, rate), rate),
        (torch.optim.Adam(others, rate / 5), rate / 5),
    ]
    forward = torch.compile(model) if compiled else model
    start, step = time.process_time(), 0
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
    with Progress(*columns, transient=True) as progress:
        bar = progress.add_task(task, total=minutes, state="")
        while (used := (time.process_time() - start) / 60) < minutes:
            rng = np.random.default_rng([seed, step])
            crops = list(batch(dataset, config, step)[0])
            clean, damaged = tensors(
                crops, [damage(np.ascontiguousarray(crop), rng) for crop in crops]
            )
            factor = min(1.0, (step + 1) / 50, (1 - used / minutes) / DECAY)
            for optimizer, lr in optimizers:
                optimizer.param_groups[0]["lr"] = lr * factor
            loss = (
                (
                    errors(
                        forward(damaged.contiguous(memory_format=torch.channels_last)),
                        clean,
                        damaged,
                    )
                    + 1e-6
                )
                .log()
                .mean()
            )
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(learned, 1.0)
            for optimizer, _ in optimizers:
                optimizer.step()
            for p, a in zip(learned, average, strict=True):
                p.grad = None
                a.lerp_(p.detach(), 1 - min(EMA, step / (step + 10)))
            step += 1
            if step % 20 == 0:
                state = f"step {step}, {-10 * loss.item() / math.log(10):.2f} dB, {minutes - used:.0f} minutes left"
                progress.update(bar, completed=used, state=state)
                if not progress.console.is_terminal:
                    print(state, flush=True)
    with torch.no_grad():
        for p, a in zip(learned, average, strict=True):
            p.copy_(a)
    before, after = measure(model, task, dataset)
    return model.eval(), {
        "task": task,
        "steps": step,
        "batch": size,
        "patch": patch,
        "cpu_minutes": round(minutes, 1),
        "held_out_damaged_psnr": round(before, 3),
        "held_out_restored_psnr": round(after, 3),
    }


@torch.no_grad()
def measure(model: Restorer, task: str, dataset: Dataset) -> tuple[float, float]:
    """Mean PSNR (dB) on the held-out crops, damaged and restored: noise of 25 grey levels, a fifth of the blocks missing."""
    settings: dict[str, dict[str, Any]] = {
        "denoise": {"sigma": 25},
        "inpaint": {"share": 0.2},
        "superres": {},
    }
    decibels, damage = [], TASKS[task]
    for i, crop in enumerate(held_out_crops(dataset)):
        clean, damaged = tensors(
            [crop], [damage(crop, np.random.default_rng([1, i]), **settings[task])]
        )
        decibels.append(
            [
                float(-10 * errors(image, clean, damaged).log10())
                for image in (damaged[:, :3], model(damaged))
            ]
        )
    means = np.mean(decibels, 0)
    return float(means[0]), float(means[1])


@torch.no_grad()
def same_encoder(codec: Codec, nets: Networks) -> bool:
    """Whether the runtime's g_a is this codec's (whose weights it has as float16)."""
    if codec.config.m != nets.m:
        return False
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.float32)
    x, top = torch.from_numpy(image).permute(2, 0, 1)[None] / 255, torch.ones(1)
    y = (
        codec.g_a(x, codec.at_quality(codec.log_gain_a, top).exp())
        * codec.at_quality(codec.log_gain_y, top).exp()
    )
    expected = y[0].numpy()
    return bool(np.abs(nets.analyse(image, 100) - expected).max() < 0.05 * np.abs(expected).max())


def write(model: Restorer, path: Path, model_id: str, figures: dict[str, Any]) -> None:
    """An ONNX graph for the runtime: y (as g_a gives it at quality 100) and the damaged image -> the restored image."""
    g, g_s = onnx_graphs.Graph(figures["task"]), model.g_s
    y = g.input("y", TensorProto.FLOAT, [1, g_s.stem.in_channels, "h", "w"])
    image = g.input("image", TensorProto.FLOAT, ["H", "W", model.channels])
    order = np.arange(64 * model.channels).reshape(model.channels, 64).T.reshape(-1)
    seen = onnx_graphs.cells_of_8(g, image, model.channels)
    y = g.op("Div", y, g.const(model.gain_y.numpy()))
    x = g.op("Mul", onnx_graphs.unfold(g, y, g_s), g.const(model.gain_s.numpy()))
    x = g.op("Add", x, g.float_conv(seen, model.see, columns=order))
    for block in g_s.fine:
        x = onnx_graphs.float_block(g, x, block)
    kept = g.float_conv(seen, model.keep, onnx_graphs.COLOR_LAST, order, scale=255)
    x = g.op("Add", g.float_conv(x, g_s.head, onnx_graphs.COLOR_LAST, scale=255, shift=127.5), kept)
    g.output(onnx_graphs.pixels_of_cells(g, x), "restored", TensorProto.FLOAT, 3)
    stored = onnx.load_from_string(g.finish())
    onnx.helper.set_model_props(
        stored, {"model": model_id, **{name: str(value) for name, value in figures.items()}}
    )
    write_file(path, stored.SerializeToString())
