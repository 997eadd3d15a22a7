"""A training run's configuration: two small tables of a TOML file."""

import dataclasses
import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaecodec.errors import VaecodecError
from vaecodec_train.model.autoencoder import BLOCKS, ModelConfig

CHOICES = {
    "optimizer": ("muon", "adam", "rmsprop"),
    "metric": ("mse", "ms-ssim"),
    "decay_shape": ("linear", "cosine"),
    "precision": ("auto", "bf16", "float32"),
}


@dataclass(frozen=True)
class TrainConfig:
    """What a run does; the defaults are the recipe of docs/TRAINING.md."""

    steps: int = 100_000
    minutes: float = 0.0  # above 0: the length of the run, instead of steps
    batch: int = 8  # over all processes
    patch: int = (
        256  # pixels a side, a multiple of 64 (of 192 for ms-ssim, whose five scales need so many)
    )
    optimizer: str = "muon"  # of the matrices of 1x1 convolutions; everything else uses Adam
    lr_matrix: float = 0.01
    lr_other: float = 0.001
    warmup: int = 200  # steps
    decay: float = (
        0.4  # the part of the run, at its end, over which the learning rate falls to zero
    )
    decay_shape: str = "linear"
    clip: float = 1.0  # largest norm of the gradient
    ema: float = 0.999  # decay of the averaged weights, those that are exported
    metric: str = "mse"
    klt_start: bool = True
    crop: bool = True  # at random; otherwise the middle
    flip: bool = True
    downscale: bool = False  # by a random factor between 0.5 and 1
    patterns: float = (
        0.0  # the part of the crops that are made into dithers, stripes, pixel art, noise or text
    )
    precision: str = "auto"  # bf16 where the processor multiplies it natively
    compile: bool = True
    seed: int = 0
    held_out: int = 24  # images that are measured on and never trained on
    checkpoint_minutes: float = 10.0
    model: ModelConfig = field(default_factory=ModelConfig)

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise VaecodecError(
                    f"{name} must be one of {', '.join(choices)}, not '{getattr(self, name)}'"
                )
        if self.model.block not in BLOCKS:
            raise VaecodecError(
                f"block must be one of {', '.join(BLOCKS)}, not '{self.model.block}'"
            )
        if self.patch % (192 if self.metric == "ms-ssim" else 64) or self.patch <= 0:
            raise VaecodecError(
                f"patch must be a multiple of {192 if self.metric == 'ms-ssim' else 64}, not {self.patch}"
            )
        if min(self.steps, self.batch, self.held_out) < 1:
            raise VaecodecError("steps, batch and held_out must be at least 1")
        if (
            not self.lr_matrix > 0
            or not self.lr_other > 0
            or not 0 <= self.ema < 1
            or not 0 <= self.decay <= 1
        ):
            raise VaecodecError(
                "learning rates must be above 0, ema at least 0 and below 1, decay between 0 and 1"
            )
        if not 0 <= self.patterns <= 1:
            raise VaecodecError(f"patterns must be between 0 and 1, not {self.patterns}")
        if (
            not 0 < self.model.lambda_min < self.model.lambda_max
            or self.model.anchors < 2
            or self.model.m % 4
        ):
            raise VaecodecError(
                "lambda_min must be above 0 and below lambda_max, anchors at least 2, m a multiple of 4"
            )

    def rate(self, step: int, seconds: float = 0.0) -> float:
        """Factor of the learning rates: up over the warm-up, flat, down over the decay. seconds: of training so far."""
        done = seconds / 60 / self.minutes if self.minutes else step / self.steps
        left = min(1.0, max(0.0, (1 - done) / max(1e-9, self.decay)))
        fall = left if self.decay_shape == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)
        return min(1.0, (step + 1) / max(1, self.warmup)) * fall


def from_dict(values: dict[str, Any]) -> TrainConfig:
    """Raises VaecodecError for unknown names and for values of a wrong type."""

    def build(kind: Any, given: dict[str, Any]) -> Any:
        known = {f.name: f for f in dataclasses.fields(kind)}
        for name, value in given.items():
            if name not in known:
                raise VaecodecError(f"unknown setting '{name}'")
            default = getattr(kind(), name)
            fits = (
                isinstance(value, (int, float))
                if isinstance(default, float)
                else isinstance(value, type(default))
            )
            if not fits or (isinstance(value, bool) and not isinstance(default, bool)):
                raise VaecodecError(
                    f"{name} must be of type {type(default).__name__}, not {value!r}"
                )
        return kind(**given)

    values = dict(values)
    model = {
        k: tuple(v) if isinstance(v, list) else v for k, v in dict(values.pop("model", {})).items()
    }
    config: TrainConfig = dataclasses.replace(
        build(TrainConfig, values), model=build(ModelConfig, model)
    )
    return config


def load_config(path: Path) -> TrainConfig:
    try:
        return from_dict(tomllib.loads(path.read_text()))
    except OSError as error:
        raise VaecodecError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise VaecodecError(f"{path}: not a TOML file ({error})") from None
    except VaecodecError as error:
        raise VaecodecError(f"{path}: {error}") from None
