"""The training loop: batches, loss, optimizers, averaged weights, checkpoints, and what happens when a run is interrupted."""

import dataclasses
import os
import pickle
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from vaecodec.errors import VaecodecError
from vaecodec_train.config import TrainConfig, from_dict
from vaecodec_train.model.autoencoder import Codec
from vaecodec_train.model.checkpoint import save_model
from vaecodec_train.model.klt_init import klt_start
from vaecodec_train.training import muon
from vaecodec_train.training.dataset import Dataset, batch, held_out_crops
from vaecodec_train.training.log import Log

FORMAT = "vaecodec-train 1"


def native_bf16() -> bool:
    """Whether bfloat16 is multiplied by the hardware and not emulated."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(supported())


def losses(
    model: nn.Module, codec: Codec, x: Tensor, q: Tensor, noise: tuple[Tensor, Tensor], metric: str
) -> dict[str, Tensor]:
    """loss: mean over the batch of log(R + lambda D), whose logarithm makes every rate count alike; bpp and mse: (B,)."""
    out = model(x, q, noise)
    mse = (out.x_hat - x).square().mean((1, 2, 3))
    if metric == "mse":
        distortion = 255**2 * mse
    else:
        from pytorch_msssim import ms_ssim

        distortion = 1 - ms_ssim(out.x_hat.clamp(0, 1), x, data_range=1.0, size_average=False)
    return {
        "loss": (out.bpp + codec.lmbda(q) * distortion).log().mean(),
        "bpp": out.bpp,
        "mse": mse,
    }


class Trainer:
    """One run in a folder; rank and world are those of torchrun, 0 and 1 without it."""

    def __init__(
        self, config: TrainConfig, dataset: Dataset, folder: Path, init: Codec | None = None
    ):
        self.config, self.dataset, self.folder = config, dataset, folder
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if config.batch % self.world:
            raise VaecodecError(
                f"a batch of {config.batch} cannot be shared equally by {self.world} processes"
            )
        if config.minutes and self.world > 1:
            raise VaecodecError("a run of several processes is measured in steps, not in minutes")
        cuda = torch.cuda.is_available()
        self.device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if cuda else "cpu")
        if self.world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if cuda else "gloo")
        self.bf16 = config.precision == "bf16" or (config.precision == "auto" and native_bf16())
        torch.manual_seed(config.seed)
        self.codec = init or Codec(config.model)
        if init is None and config.klt_start:
            klt_start(self.codec, self._start_crops())
        self.codec.train().to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.codec.step_masks(config.patch // 16, config.patch // 16)
        self.ema = [p.detach().clone() for p in self.codec.parameters()]
        self.optimizers = muon.build(self.codec, config, self.bf16)
        self.step, self.slowdown, self.seconds = 0, 1.0, 0.0
        self.clock = time.monotonic
        self.forward: nn.Module = torch.compile(self.codec) if config.compile else self.codec  # type: ignore[assignment]
        if self.world > 1:
            ddp = nn.parallel.DistributedDataParallel
            # The quantiles learn from a loss of their own, alike on every process.
            ddp._set_params_and_buffers_to_ignore_for_model(self.codec, ["prior_z.quantiles"])  # type: ignore[no-untyped-call]
            self.forward = ddp(self.forward, device_ids=[self.device.index] if cuda else None)
        self.net = [p for n, p in self.codec.named_parameters() if not n.endswith("quantiles")]

    def _start_crops(self) -> list[Any]:
        config = dataclasses.replace(
            self.config, batch=min(400, 20 * len(self.dataset.train)), downscale=False
        )
        return list(batch(self.dataset, config, 0)[0])

    def inputs(self, step: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """This process's share of a step's images, qualities and noise, which depend on seed and step alone."""
        crops, q = batch(self.dataset, self.config, step)
        mine = slice(
            self.rank * len(crops) // self.world, (self.rank + 1) * len(crops) // self.world
        )
        x = torch.from_numpy(crops[mine]).permute(0, 3, 1, 2).float().div_(255)
        generator = torch.Generator().manual_seed(self.config.seed << 32 | step)
        side, c = self.config.patch, self.config.model
        noise = [
            torch.empty(len(crops), channels, side // cell, side // cell).uniform_(
                -0.5, 0.5, generator=generator
            )[mine]
            for channels, cell in ((c.m, 16), (c.z, 64))
        ]
        x = x.to(self.device).contiguous(memory_format=torch.channels_last)
        return (
            x,
            torch.from_numpy(q[mine]).to(self.device),
            (noise[0].to(self.device), noise[1].to(self.device)),
        )

    def train_step(self, x: Tensor, q: Tensor, noise: tuple[Tensor, Tensor]) -> dict[str, float]:
        """One update. Returns loss, bits per pixel and PSNR (dB) of the batch; a loss that is no number updates nothing."""
        for optimizer, lr in self.optimizers[:2]:
            optimizer.param_groups[0]["lr"] = (
                lr * self.slowdown * self.config.rate(self.step, self.seconds)
            )
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            result = losses(self.forward, self.codec, x, q, noise, self.config.metric)
        means = torch.stack(
            [result["loss"].detach(), result["bpp"].detach().mean(), result["mse"].detach().mean()]
        )
        if self.world > 1:
            dist.all_reduce(means)
            means /= self.world
        loss, bpp, mse = means.tolist()
        if not np.isfinite(loss):
            return {"loss": loss, "bpp": bpp, "psnr": float("nan")}
        result["loss"].backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net, self.config.clip)
        self.codec.prior_z.loss().backward()
        for optimizer, _ in self.optimizers:
            optimizer.step()
        for p in self.codec.parameters():
            p.grad = None
        self.step += 1
        with torch.no_grad():
            weight = 1 - min(self.config.ema, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self.ema, [p.detach() for p in self.codec.parameters()], weight)
        return {"loss": loss, "bpp": bpp, "psnr": -10 * float(np.log10(mse))}

    def averaged(self) -> Codec:
        """A copy of the model with its averaged weights, for measuring and for export."""
        model = Codec(self.config.model)
        model.load_state_dict({k: v.cpu() for k, v in self.codec.state_dict().items()})
        with torch.no_grad():
            for p, e in zip(model.parameters(), self.ema, strict=True):
                p.copy_(e.cpu())
        return model.eval()

    def run(self, minutes: float | None, log: Log) -> None:
        """Train to the last step, for so many minutes, or until SIGINT or SIGTERM; save in every case."""
        stop: list[int] = []
        before = {
            s: signal.signal(s, lambda number, _: stop.append(number))
            for s in (signal.SIGINT, signal.SIGTERM)
        }
        start, saved, base = self.clock(), time.monotonic(), self.seconds
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self.inputs, self.step)
            while not self._agree(bool(stop) or self.finished()):
                if minutes is not None and self._agree(self.clock() - start > 60 * minutes):
                    break
                current, coming = coming.result(), ahead.submit(self.inputs, self.step + 1)
                values = self.train_step(*current)
                if not np.isfinite(values["loss"]):
                    self.roll_back(log)
                    coming = ahead.submit(self.inputs, self.step)
                    continue
                self.seconds = base + self.clock() - start
                left = self.config.minutes - self.seconds / 60 if self.config.minutes else None
                log.step(
                    self.step, values, self.config.batch * self.config.patch**2, self.seconds, left
                )
                if self._agree(time.monotonic() - saved > 60 * self.config.checkpoint_minutes):
                    self.save(log)
                    saved = time.monotonic()
            coming.cancel()
        self.save(log)
        for number, handler in before.items():
            signal.signal(number, handler)

    def finished(self) -> bool:
        if self.config.minutes:
            return self.seconds >= 60 * self.config.minutes
        return self.step >= self.config.steps

    def _agree(self, wish: bool) -> bool:
        """Whether any process wishes so: all of them must leave the loop at the same step."""
        if self.world == 1:
            return wish
        flag = torch.tensor([float(wish)], device=self.device)
        dist.all_reduce(flag)
        return bool(flag.item() > 0)

    def roll_back(self, log: Log) -> None:
        """After a loss that is no number: the last checkpoint, at half the learning rate.

        Raises VaecodecError where there is none, and at the tenth time.
        """
        slowdown, step = self.slowdown / 2, self.step
        if slowdown < 1e-3 or not (self.folder / "checkpoint.pt").exists():
            raise VaecodecError(
                f"the loss of step {step} is not a number, and there is no way back: try lower learning rates"
            )
        self.load()
        self.slowdown = slowdown
        log.say(
            f"the loss of step {step} is not a number: back to step {self.step}, at {slowdown:g} of the learning rate"
        )

    def save(self, log: Log) -> None:
        """checkpoint.pt to resume from, model.safetensors (averaged, float16) to export; measure and plot."""
        if self.rank:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "format": FORMAT,
            "config": dataclasses.asdict(self.config),
            "step": self.step,
            "slowdown": self.slowdown,
            "seconds": self.seconds,
            "model": self.codec.state_dict(),
            "ema": self.ema,
            "optimizers": [o.state_dict() for o, _ in self.optimizers],
        }
        part = self.folder / "checkpoint.part"
        torch.save(state, part)
        part.replace(self.folder / "checkpoint.pt")
        model = self.averaged()
        figures = {
            "steps": self.step,
            "batch": self.config.batch,
            "patch": self.config.patch,
            "minutes": round(self.seconds / 60, 1),
            "metric": self.config.metric,
        }
        part = self.folder / "model.part"
        save_model(model.half(), part, figures)
        part.replace(self.folder / "model.safetensors")
        log.measure(self.step, model.float(), held_out_crops(self.dataset))

    def load(self) -> None:
        """Continue from this folder's checkpoint. Raises VaecodecError where it is damaged, foreign or of other settings."""
        state = read_checkpoint(self.folder / "checkpoint.pt")
        stored = from_dict(state["config"])
        if stored.model != self.config.model or stored.optimizer != self.config.optimizer:
            raise VaecodecError(
                f"{self.folder / 'checkpoint.pt'}: made with another model configuration or optimizer"
            )
        self.codec.load_state_dict(state["model"])
        for mine, stored in zip(self.ema, state["ema"], strict=True):
            mine.copy_(stored)
        for (optimizer, _), stored in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(stored)
        self.step, self.slowdown, self.seconds = (
            int(state["step"]),
            float(state["slowdown"]),
            float(state["seconds"]),
        )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state that Trainer.save wrote. Raises VaecodecError for anything else."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise VaecodecError(f"{path}: cannot be read ({error.strerror})") from None
    except (RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError):
        raise VaecodecError(f"{path}: not a whole checkpoint of vaecodec-train") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise VaecodecError(f"{path}: not a checkpoint of this version of vaecodec-train")
    return state
