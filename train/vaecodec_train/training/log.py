"""The log of a run: a line on the terminal, log.jsonl, and plots."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.live import Live

from vaecodec_train.model.autoencoder import Autoencoder
from vaecodec_train.training.dataset import Pixels

QUALITIES = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0)
ITERATIONS_PER_RECORD = 20
RECORDS_PER_LINE = 10  # where the terminal cannot show one line that changes
SMOOTHING_RECORDS = 25  # records in the moving average of the plotted loss
HELD_OUT_CURVES = 6  # about as many curves are plotted besides the last


@torch.no_grad()
def estimated_curve(
    autoencoder: Autoencoder, crops: list[Pixels], qualities: tuple[float, ...] = QUALITIES
) -> list[tuple[float, float]]:
    """Measure the rate-distortion curve on some crops.

    Returns:
        A pair for each quality, each a mean over the crops: estimated bits per pixel, and PSNR in
        dB of pixels rounded to 8 bits.
    """
    points = []
    for q in qualities:
        rates = []
        psnrs = []
        for crop in crops:
            x = torch.from_numpy(np.array(crop)).permute(2, 0, 1)[None].float() / 255
            out = autoencoder(x, torch.tensor([q]))
            mse = ((out.x_hat.clamp(0, 1) * 255).round() / 255 - x).square().mean().item()
            rates.append(out.bpp.item())
            psnrs.append(-10 * np.log10(max(mse, 1e-10)))
        points.append((float(np.mean(rates)), float(np.mean(psnrs))))
    return points


class Log:
    """Writes the records of one run. Use it as a context manager.

    Args:
        folder: the folder of the run.
        iterations: the length of the run.
        silent: write nothing, for all processes but the first and for tests.
    """

    def __init__(self, folder: Path, iterations: int, silent: bool = False):
        self.folder = folder
        self.iterations = iterations
        self.silent = silent
        self.console = Console(stderr=True, quiet=silent, highlight=False)
        self.live = (
            Live(console=self.console, transient=True, refresh_per_second=1) if not silent else None
        )
        self.recent: list[dict[str, float]] = []  # values since the last record
        self.recorded_at = time.monotonic()

    def __enter__(self) -> "Log":
        if self.live and self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live and self.live.is_started:
            self.live.stop()

    def append_record(self, record: dict[str, Any]) -> None:
        """Append one line to log.jsonl."""
        if not self.silent:
            with (self.folder / "log.jsonl").open("a") as f:
                f.write(json.dumps(record) + "\n")

    def message(self, text: str) -> None:
        """Print a message and record it."""
        self.append_record({"message": text})
        self.console.print(text, markup=False)

    def iteration(
        self,
        number: int,
        values: dict[str, float],
        pixels: int,
        seconds: float,
        minutes_left: float | None = None,
    ) -> None:
        """Collect the values of one iteration, and record their means from time to time.

        Args:
            number: iterations done so far.
            values: loss, bpp and psnr of this iteration.
            pixels: pixels in a batch.
            seconds: time trained so far.
            minutes_left: for a run whose length is given in minutes.
        """
        self.recent.append(values)
        if number % ITERATIONS_PER_RECORD and number != self.iterations:
            return
        now = time.monotonic()
        speed = len(self.recent) * pixels / 1e6 / max(now - self.recorded_at, 1e-9)
        means = {name: float(np.mean([v[name] for v in self.recent])) for name in values}
        self.append_record(
            {
                "step": number,
                **{name: round(value, 6) for name, value in means.items()},
                "mpixel_per_s": round(speed, 3),
                "minutes": round(seconds / 60, 2),
            }
        )
        self.recent = []
        self.recorded_at = now
        count = f"{number}/{self.iterations}" if minutes_left is None else f"{number}"
        if minutes_left is None:
            minutes_left = (self.iterations - number) * pixels / 1e6 / speed / 60
        line = (
            f"iteration {count}  loss {means['loss']:.4f}  {means['bpp']:.3f} bpp  "
            f"{means['psnr']:.2f} dB  {speed:.2f} Mpixel/s  {minutes_left:.0f} min left"
        )
        if self.live and self.live.is_started:
            self.live.update(line)
        elif number % (RECORDS_PER_LINE * ITERATIONS_PER_RECORD) == 0:
            self.console.print(line)

    def held_out_curve(self, number: int, autoencoder: Autoencoder, crops: list[Pixels]) -> None:
        """Measure and record the curve on held-out crops, and draw the plots."""
        points = estimated_curve(autoencoder, crops)
        self.append_record({"step": number, "held_out": points})
        if not self.silent:
            curve = ", ".join(f"{bpp:.3f} bpp {psnr:.2f} dB" for bpp, psnr in points)
            self.console.print(f"iteration {number}, held out: {curve}")
            plot_log(self.folder)
        self.recorded_at = time.monotonic()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a run's log.jsonl, or none if it does not exist."""
    path = folder / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def plot_log(folder: Path) -> None:
    """Draw loss.png and held_out.png from a run's log."""
    import matplotlib

    matplotlib.use("Agg")
    records = read_log(folder)
    losses = [r for r in records if "loss" in r]
    curves = [r for r in records if "held_out" in r]
    if losses:
        plot_loss(losses, folder / "loss.png")
    if curves:
        plot_held_out(curves, folder / "held_out.png")


def plot_loss(records: list[dict[str, Any]], path: Path) -> None:
    import matplotlib.pyplot as plt

    iterations = [r["step"] for r in records]
    losses = [r["loss"] for r in records]
    window = min(SMOOTHING_RECORDS, len(records))
    smooth = np.convolve(losses, np.ones(window) / window, "valid")
    figure, axes = plt.subplots(figsize=(8, 5), dpi=120)
    axes.plot(iterations, losses, lw=0.4, alpha=0.5)
    mean = f"mean of {SMOOTHING_RECORDS * ITERATIONS_PER_RECORD} iterations"
    axes.plot(iterations[window - 1 :], smooth, label=mean)
    axes.set(xlabel="iteration", ylabel="mean of log(R + lambda D)", title="Training loss")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path)
    plt.close(figure)


def plot_held_out(records: list[dict[str, Any]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), dpi=120)
    stride = max(1, len(records) // HELD_OUT_CURVES)
    for r in records[::stride][:-1] + records[-1:]:
        rates, psnrs = zip(*r["held_out"], strict=True)
        axes.plot(rates, psnrs, marker="o", ms=3, label=f"iteration {r['step']}")
    axes.set(
        xlabel="estimated bits per pixel",
        ylabel="PSNR (dB)",
        title="Held-out crops, averaged weights",
    )
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path)
    plt.close(figure)
