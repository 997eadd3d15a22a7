"""The configuration of a training run, read from a TOML file."""

import dataclasses
import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vaecodec.errors import VaecodecError
from vaecodec_train.model.autoencoder import ModelConfig
from vaecodec_train.model.blocks import BLOCKS

T = TypeVar("T")

CHOICES = {
    "optimizer": ("muon", "adam", "rmsprop"),
    "metric": ("mse", "ms-ssim"),
    "decay_shape": ("linear", "cosine"),
    "precision": ("auto", "bf16", "float32"),
}
PATCH_MULTIPLES = {"mse": 64, "ms-ssim": 192}  # MS-SSIM's five scales need larger patches


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run. docs/TRAINING.md lists them.

    The field names are the keys of the TOML file, and are stored in checkpoints.

    Raises:
        VaecodecError: a value is out of range.
    """

    steps: int = 100_000  # length of the run in iterations
    minutes: float = 0.0  # if above 0, length of the run in minutes, instead of steps
    batch: int = 8  # crops in a batch, over all processes
    patch: int = 256  # side of a crop in pixels, a multiple of 64 (of 192 for ms-ssim)
    optimizer: str = "muon"  # for the matrices of 1x1 convolutions; Adam trains everything else
    lr_matrix: float = 0.01  # learning rate of these matrices
    lr_other: float = 0.001  # learning rate of everything else
    warmup: int = 200  # iterations over which the learning rate rises
    decay: float = 0.4  # share of the run, at its end, over which the learning rate falls to zero
    decay_shape: str = "linear"  # or "cosine"
    clip: float = 1.0  # the norm of the gradient is limited to this
    ema: float = 0.999  # decay of the averaged weights, which are the ones exported
    metric: str = "mse"  # distortion to minimise: "mse" or "ms-ssim"
    klt_start: bool = True  # initialise as the best linear transform codec
    crop: bool = True  # crop at random positions, otherwise at the centre
    flip: bool = True  # flip at random, horizontally and vertically
    downscale: bool = False  # downscale by a random factor between 0.5 and 1
    patterns: float = 0.0  # share of crops turned into dithers, stripes, pixel art, noise or text
    precision: str = "auto"  # "auto" means bf16 where the hardware multiplies it natively
    compile: bool = True  # use torch.compile
    seed: int = 0  # of the initial weights, batches and noise
    held_out: int = 24  # number of images to measure on and not to train on
    checkpoint_minutes: float = 10.0  # time between checkpoints
    model: ModelConfig = field(default_factory=ModelConfig)

    def __post_init__(self) -> None:
        self._check_choices()
        multiple = PATCH_MULTIPLES[self.metric]
        if self.patch % multiple or self.patch <= 0:
            raise VaecodecError(f"patch must be a multiple of {multiple}, not {self.patch}")
        if min(self.steps, self.batch, self.held_out) < 1:
            raise VaecodecError("steps, batch and held_out must be at least 1")
        if not self.lr_matrix > 0 or not self.lr_other > 0:
            raise VaecodecError("lr_matrix and lr_other must be above 0")
        if not 0 <= self.ema < 1:
            raise VaecodecError(f"ema must be at least 0 and below 1, not {self.ema}")
        if not 0 <= self.decay <= 1:
            raise VaecodecError(f"decay must be between 0 and 1, not {self.decay}")
        if not 0 <= self.patterns <= 1:
            raise VaecodecError(f"patterns must be between 0 and 1, not {self.patterns}")
        if not 0 < self.model.lambda_min < self.model.lambda_max:
            raise VaecodecError("lambda_min must be above 0 and below lambda_max")
        if self.model.anchors < 2:
            raise VaecodecError(f"anchors must be at least 2, not {self.model.anchors}")
        if self.model.m % 4:
            raise VaecodecError(f"m must be a multiple of 4, not {self.model.m}")

    def _check_choices(self) -> None:
        values = {name: getattr(self, name) for name in CHOICES} | {"block": self.model.block}
        for name, choices in {**CHOICES, "block": tuple(BLOCKS)}.items():
            if values[name] not in choices:
                raise VaecodecError(
                    f"{name} must be one of {', '.join(choices)}, not '{values[name]}'"
                )

    def learning_rate_factor(self, iteration: int, seconds: float = 0.0) -> float:
        """Return the factor of the learning rates: it rises, stays at 1, and falls to 0.

        Args:
            iteration: iterations done so far.
            seconds: time trained so far, for a run whose length is given in minutes.
        """
        done = seconds / 60 / self.minutes if self.minutes else iteration / self.steps
        left = min(1.0, max(0.0, (1 - done) / max(1e-9, self.decay)))
        fall = left if self.decay_shape == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)
        return min(1.0, (iteration + 1) / max(1, self.warmup)) * fall


def from_dict(values: dict[str, Any]) -> TrainConfig:
    """Build a configuration from the values of a TOML file.

    Raises:
        VaecodecError: a name is unknown, or a value has the wrong type or is out of range.
    """
    values = dict(values)
    model = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in dict(values.pop("model", {})).items()
    }
    config = _build(TrainConfig, values)
    return dataclasses.replace(config, model=_build(ModelConfig, model))


def _build(kind: type[T], values: dict[str, Any]) -> T:
    defaults = kind()
    known = {f.name for f in dataclasses.fields(defaults)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise VaecodecError(f"unknown setting '{name}'")
        default = getattr(defaults, name)
        if not _fits(value, default):
            raise VaecodecError(f"{name} must be of type {type(default).__name__}, not {value!r}")
    return kind(**values)


def _fits(value: Any, default: Any) -> bool:
    """Return whether a value has the type of the default. Integers may stand for floats."""
    if isinstance(value, bool):
        return isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    return isinstance(value, type(default))


def load_config(path: Path) -> TrainConfig:
    """Read a TOML file. Raises VaecodecError, naming the file, if it is missing or invalid."""
    try:
        return from_dict(tomllib.loads(path.read_text()))
    except OSError as error:
        raise VaecodecError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise VaecodecError(f"{path}: not a TOML file ({error})") from None
    except VaecodecError as error:
        raise VaecodecError(f"{path}: {error}") from None
