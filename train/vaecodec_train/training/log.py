"""What a run tells: a line on the terminal, log.jsonl, and plots of loss and of held-out rate–distortion."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.live import Live

from vaecodec_train.model.autoencoder import Codec
from vaecodec_train.training.dataset import Pixels

QUALITIES = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0)
EVERY = 20  # steps between lines of the log


@torch.no_grad()
def estimated_curve(
    model: Codec, crops: list[Pixels], qualities: tuple[float, ...] = QUALITIES
) -> list[tuple[float, float]]:
    """(estimated bits per pixel, PSNR in dB of 8-bit pixels), means over the crops, one pair a quality."""
    points = []
    for q in qualities:
        rates, ratios = [], []
        for crop in crops:
            x = torch.from_numpy(np.array(crop)).permute(2, 0, 1)[None].float() / 255
            out = model(x, torch.tensor([q]))
            mse = ((out.x_hat.clamp(0, 1) * 255).round() / 255 - x).square().mean().item()
            rates.append(out.bpp.item())
            ratios.append(-10 * np.log10(max(mse, 1e-10)))
        points.append((float(np.mean(rates)), float(np.mean(ratios))))
    return points


class Log:
    """silent: on all processes but the first, and in tests."""

    def __init__(self, folder: Path, steps: int, silent: bool = False):
        self.folder, self.steps, self.silent = folder, steps, silent
        self.console = Console(stderr=True, quiet=silent, highlight=False)
        self.live = (
            Live(console=self.console, transient=True, refresh_per_second=1) if not silent else None
        )
        self.recent: list[dict[str, float]] = []
        self.last = time.monotonic()

    def __enter__(self) -> "Log":
        if self.live and self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live and self.live.is_started:
            self.live.stop()

    def write(self, record: dict[str, Any]) -> None:
        if not self.silent:
            with (self.folder / "log.jsonl").open("a") as f:
                f.write(json.dumps(record) + "\n")

    def say(self, text: str) -> None:
        self.write({"message": text})
        self.console.print(text, markup=False)

    def step(
        self,
        step: int,
        values: dict[str, float],
        pixels: int,
        seconds: float,
        left: float | None = None,
    ) -> None:
        """values: loss, bpp and psnr of this step; pixels: in a batch; seconds: of training so far; left: minutes to go,
        where the run is not measured in steps."""
        self.recent.append(values)
        if step % EVERY and step != self.steps:
            return
        now = time.monotonic()
        speed = len(self.recent) * pixels / 1e6 / max(now - self.last, 1e-9)
        means = {name: float(np.mean([v[name] for v in self.recent])) for name in values}
        self.write(
            {
                "step": step,
                **{k: round(v, 6) for k, v in means.items()},
                "mpixel_per_s": round(speed, 3),
                "minutes": round(seconds / 60, 2),
            }
        )
        self.recent, self.last = [], now
        of = "" if left is not None else f"/{self.steps}"
        left = (self.steps - step) * pixels / 1e6 / speed / 60 if left is None else left
        line = (
            f"step {step}{of}  loss {means['loss']:.4f}  {means['bpp']:.3f} bpp  {means['psnr']:.2f} dB  "
            f"{speed:.2f} Mpixel/s  {left:.0f} min left"
        )
        if self.live and self.live.is_started:
            self.live.update(line)
        elif step % (10 * EVERY) == 0:
            self.console.print(line)

    def measure(self, step: int, model: Codec, crops: list[Pixels]) -> None:
        """Held-out rate–distortion of the averaged weights, and the plots."""
        points = estimated_curve(model, crops)
        self.write({"step": step, "held_out": points})
        if not self.silent:
            self.console.print(
                f"step {step}, held out: " + ", ".join(f"{b:.3f} bpp {p:.2f} dB" for b, p in points)
            )
            plot(self.folder)
        self.last = time.monotonic()


def read_log(folder: Path) -> list[dict[str, Any]]:
    path = folder / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def plot(folder: Path) -> None:
    """loss.png and held_out.png of a run's log."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    records = read_log(folder)
    steps = [r for r in records if "loss" in r]
    if steps:
        figure, axes = plt.subplots(figsize=(8, 5), dpi=120)
        axes.plot([r["step"] for r in steps], [r["loss"] for r in steps], lw=0.4, alpha=0.5)
        window = min(25, len(steps))
        smooth = np.convolve([r["loss"] for r in steps], np.ones(window) / window, "valid")
        axes.plot([r["step"] for r in steps][window - 1 :], smooth, label="mean of 500 steps")
        axes.set(xlabel="step", ylabel="mean of log(R + lambda D)", title="Training loss")
        axes.legend()
        axes.grid(alpha=0.3)
        figure.savefig(folder / "loss.png")
        plt.close(figure)
    curves = [r for r in records if "held_out" in r]
    if curves:
        figure, axes = plt.subplots(figsize=(8, 5), dpi=120)
        for r in curves[:: max(1, len(curves) // 6)][:-1] + curves[-1:]:
            axes.plot(
                *zip(*r["held_out"], strict=True), marker="o", ms=3, label=f"step {r['step']}"
            )
        axes.set(
            xlabel="estimated bits per pixel",
            ylabel="PSNR (dB)",
            title="Held-out crops, averaged weights",
        )
        axes.legend()
        axes.grid(alpha=0.3)
        figure.savefig(folder / "held_out.png")
        plt.close(figure)
