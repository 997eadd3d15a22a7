"""The training loop: updates, averaged weights, checkpoints that resume exactly."""

import dataclasses
import os
import pickle
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from vaecodec.errors import VaecodecError
from vaecodec_train.config import TrainConfig, from_dict
from vaecodec_train.model.autoencoder import Autoencoder
from vaecodec_train.model.checkpoint import save_autoencoder
from vaecodec_train.model.klt_init import klt_start
from vaecodec_train.training.dataset import Dataset, Pixels, draw_batch, held_out_crops
from vaecodec_train.training.log import Log
from vaecodec_train.training.losses import rate_distortion
from vaecodec_train.training.muon import build_optimizers

FORMAT = "vaecodec-train 1"
CHECKPOINT = "checkpoint.pt"  # the file in a run's folder to resume from
MIN_SLOWDOWN = 1e-3  # give up after nine halvings of the learning rate
KLT_CROPS = 400


def native_bf16() -> bool:
    """Return whether the hardware multiplies bfloat16 natively."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(supported())


class Trainer:
    """One training run in a folder.

    Under torchrun several processes share each batch; `rank` and `world` are then torchrun's,
    otherwise 0 and 1.

    Args:
        config: settings of the run.
        dataset: images to train and measure on.
        folder: folder of the run.
        init: an autoencoder to start from. By default a new one.

    Raises:
        VaecodecError: the settings do not suit the number of processes.
    """

    def __init__(
        self, config: TrainConfig, dataset: Dataset, folder: Path, init: Autoencoder | None = None
    ):
        self.config = config
        self.dataset = dataset
        self.folder = folder
        self.rank = int(os.environ.get("RANK", 0))
        self.world = int(os.environ.get("WORLD_SIZE", 1))
        if config.batch % self.world:
            raise VaecodecError(
                f"a batch of {config.batch} cannot be shared equally by {self.world} processes"
            )
        if config.minutes and self.world > 1:
            raise VaecodecError(
                "the length of a run with several processes must be given in steps, not in minutes"
            )
        cuda = torch.cuda.is_available()
        self.device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if cuda else "cpu")
        if self.world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if cuda else "gloo")
        self.bf16 = config.precision == "bf16" or (config.precision == "auto" and native_bf16())
        torch.manual_seed(config.seed)
        self.autoencoder = init or Autoencoder(config.model)
        if init is None and config.klt_start:
            klt_start(self.autoencoder, self._klt_crops())
        self.autoencoder.train().to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.autoencoder.step_masks(config.patch // 16, config.patch // 16)
        self.ema = [p.detach().clone() for p in self.autoencoder.parameters()]
        self.optimizers = build_optimizers(self.autoencoder, config, self.bf16)
        self.iteration = 0
        self.slowdown = 1.0  # factor of the learning rates, halved by roll_back
        self.seconds = 0.0  # trained so far
        self.clock = time.monotonic
        self.forward = self._forward_module()
        self.clipped_parameters = [
            p for n, p in self.autoencoder.named_parameters() if not n.endswith("quantiles")
        ]

    def _klt_crops(self) -> list[Pixels]:
        count = min(KLT_CROPS, 20 * len(self.dataset.train))
        config = dataclasses.replace(self.config, batch=count, downscale=False)
        return list(draw_batch(self.dataset, config, 0)[0])

    def _forward_module(self) -> nn.Module:
        """Return the autoencoder, compiled and distributed as configured."""
        forward: nn.Module = self.autoencoder
        if self.config.compile:
            forward = torch.compile(self.autoencoder)  # type: ignore[assignment]
        if self.world > 1:
            ddp = nn.parallel.DistributedDataParallel
            # The quantiles have a loss of their own, which is the same in every process.
            ddp._set_params_and_buffers_to_ignore_for_model(  # type: ignore[no-untyped-call]
                self.autoencoder, ["prior_z.quantiles"]
            )
            cuda = self.device.type == "cuda"
            forward = ddp(forward, device_ids=[self.device.index] if cuda else None)
        return forward

    def inputs(self, iteration: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Return this process's share of an iteration's images, qualities and noise.

        They depend only on the seed and the iteration.
        """
        crops, q = draw_batch(self.dataset, self.config, iteration)
        count = len(crops)
        share = slice(self.rank * count // self.world, (self.rank + 1) * count // self.world)
        x = torch.from_numpy(crops[share]).permute(0, 3, 1, 2).float().div_(255)
        generator = torch.Generator().manual_seed(self.config.seed << 32 | iteration)

        def noise(channels: int, cell: int) -> Tensor:
            side = self.config.patch // cell
            values = torch.empty(count, channels, side, side)
            return values.uniform_(-0.5, 0.5, generator=generator)[share].to(self.device)

        noise_y = noise(self.config.model.m, 16)
        noise_z = noise(self.config.model.z, 64)
        x = x.to(self.device).contiguous(memory_format=torch.channels_last)
        return x, torch.from_numpy(q[share]).to(self.device), (noise_y, noise_z)

    def update(self, x: Tensor, q: Tensor, noise: tuple[Tensor, Tensor]) -> dict[str, float]:
        """Do one iteration. Returns loss, bits per pixel and PSNR in dB, means over the batch.

        If the loss is not a number, nothing is updated.
        """
        for optimizer, lr in self.optimizers[:2]:
            factor = self.config.learning_rate_factor(self.iteration, self.seconds)
            optimizer.param_groups[0]["lr"] = lr * self.slowdown * factor
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            result = rate_distortion(
                self.forward, self.autoencoder, x, q, noise, self.config.metric
            )
        figures = (result.loss.detach(), result.bpp.detach().mean(), result.mse.detach().mean())
        means = torch.stack(figures)
        if self.world > 1:
            dist.all_reduce(means)
            means /= self.world
        loss, bpp, mse = means.tolist()
        if not np.isfinite(loss):
            return {"loss": loss, "bpp": bpp, "psnr": float("nan")}
        result.loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.clipped_parameters, self.config.clip)
        self.autoencoder.prior_z.loss().backward()
        for optimizer, _ in self.optimizers:
            optimizer.step()
        for p in self.autoencoder.parameters():
            p.grad = None
        self.iteration += 1
        self._update_average()
        return {"loss": loss, "bpp": bpp, "psnr": -10 * float(np.log10(mse))}

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the averaged weights towards the weights; faster in the first iterations."""
        weight = 1 - min(self.config.ema, (1 + self.iteration) / (10 + self.iteration))
        parameters = [p.detach() for p in self.autoencoder.parameters()]
        torch._foreach_lerp_(self.ema, parameters, weight)

    def averaged(self) -> Autoencoder:
        """Return a copy with the averaged weights, for measuring and for export."""
        copy = Autoencoder(self.config.model)
        copy.load_state_dict({k: v.cpu() for k, v in self.autoencoder.state_dict().items()})
        with torch.no_grad():
            for p, average in zip(copy.parameters(), self.ema, strict=True):
                p.copy_(average.cpu())
        return copy.eval()

    def run(self, minutes: float | None, log: Log) -> None:
        """Train until the end of the run, for `minutes`, or until SIGINT or SIGTERM, then save.

        The first iteration of a compiled network does not count as time, since it compiles.
        """
        start = self.clock()
        compiling = self.config.compile
        saved = time.monotonic()
        seconds_before = self.seconds
        pixels = self.config.batch * self.config.patch**2

        def out_of_time() -> bool:
            return minutes is not None and self.clock() - start > 60 * minutes

        with stop_signals() as stop:
            with ThreadPoolExecutor(1) as background:
                next_inputs = background.submit(self.inputs, self.iteration)
                while not self._any_process(bool(stop) or self.finished() or out_of_time()):
                    inputs = next_inputs.result()
                    next_inputs = background.submit(self.inputs, self.iteration + 1)
                    values = self.update(*inputs)
                    if compiling:
                        start = self.clock()
                        compiling = False
                    if not np.isfinite(values["loss"]):
                        self.roll_back(log)
                        next_inputs = background.submit(self.inputs, self.iteration)
                        continue
                    self.seconds = seconds_before + self.clock() - start
                    left = self._minutes_left()
                    log.iteration(self.iteration, values, pixels, self.seconds, left)
                    save_due = time.monotonic() - saved > 60 * self.config.checkpoint_minutes
                    if self._any_process(save_due):
                        self.save(log)
                        saved = time.monotonic()
                next_inputs.cancel()
            self.save(log)

    def finished(self) -> bool:
        """Return whether the run has reached its configured length."""
        if self.config.minutes:
            return self.seconds >= 60 * self.config.minutes
        return self.iteration >= self.config.steps

    def _minutes_left(self) -> float | None:
        return self.config.minutes - self.seconds / 60 if self.config.minutes else None

    def _any_process(self, condition: bool) -> bool:
        """Return whether the condition holds in any process.

        All processes must leave the loop, and save, in the same iteration.
        """
        if self.world == 1:
            return condition
        flag = torch.tensor([float(condition)], device=self.device)
        dist.all_reduce(flag)
        return bool(flag.item() > 0)

    def roll_back(self, log: Log) -> None:
        """Return to the last checkpoint, with half the learning rate.

        Called after a loss that is not a number.

        Raises:
            VaecodecError: there is no checkpoint, or this is the tenth time.
        """
        slowdown = self.slowdown / 2
        failed = self.iteration
        problem = f"the loss of iteration {failed} is not a number"
        if not (self.folder / CHECKPOINT).exists():
            raise VaecodecError(
                f"{problem}, and there is no checkpoint to return to; try lower learning rates"
            )
        if slowdown < MIN_SLOWDOWN:
            raise VaecodecError(f"{problem}, for the tenth time; try lower learning rates")
        self.load()
        self.slowdown = slowdown
        log.message(
            f"{problem}; returning to iteration {self.iteration} "
            f"with {slowdown:g} times the learning rate"
        )

    def save(self, log: Log) -> None:
        """Write the checkpoint to resume from and the weights to export; measure and plot.

        The weights (model.safetensors) are averaged, in float16.
        """
        if self.rank:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "format": FORMAT,
            "config": dataclasses.asdict(self.config),
            "step": self.iteration,
            "slowdown": self.slowdown,
            "seconds": self.seconds,
            "model": self.autoencoder.state_dict(),
            "ema": self.ema,
            "optimizers": [optimizer.state_dict() for optimizer, _ in self.optimizers],
        }
        part = self.folder / "checkpoint.part"
        torch.save(state, part)
        part.replace(self.folder / CHECKPOINT)
        figures = {
            "steps": self.iteration,
            "batch": self.config.batch,
            "patch": self.config.patch,
            "minutes": round(self.seconds / 60, 1),
            "metric": self.config.metric,
        }
        averaged = self.averaged()
        part = self.folder / "model.part"
        save_autoencoder(averaged.half(), part, figures)
        part.replace(self.folder / "model.safetensors")
        log.held_out_curve(self.iteration, averaged.float(), held_out_crops(self.dataset))

    def load(self) -> None:
        """Continue from the checkpoint in this run's folder.

        Raises:
            VaecodecError: the checkpoint is damaged, or was made with other settings.
        """
        path = self.folder / CHECKPOINT
        state = read_checkpoint(path)
        stored = from_dict(state["config"])
        if stored.model != self.config.model or stored.optimizer != self.config.optimizer:
            raise VaecodecError(f"{path}: made with another model configuration or optimizer")
        self.autoencoder.load_state_dict(state["model"])
        for average, value in zip(self.ema, state["ema"], strict=True):
            average.copy_(value)
        for (optimizer, _), values in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        self.iteration = int(state["step"])
        self.slowdown = float(state["slowdown"])
        self.seconds = float(state["seconds"])


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Yield a list that collects SIGINT and SIGTERM, which do not stop the process meanwhile."""
    received: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the state that `Trainer.save` wrote. Raises VaecodecError for any other file."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise VaecodecError(f"{path}: cannot be read ({error.strerror})") from None
    except (RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError):
        raise VaecodecError(f"{path}: damaged, or not a checkpoint of vaecodec-train") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise VaecodecError(f"{path}: not a checkpoint of this version of vaecodec-train")
    return state
