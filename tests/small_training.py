"""A small model, a few images, and a trainer of them, for several test files."""

from pathlib import Path
from typing import Any

from helpers import kodak_crop
from vaecodec_train.config import from_dict
from vaecodec_train.model.autoencoder import ModelConfig
from vaecodec_train.training.dataset import open_dataset
from vaecodec_train.training.log import Log
from vaecodec_train.training.trainer import Trainer

MODEL: dict[str, Any] = {
    "n": 16,
    "k": 24,
    "m": 32,
    "z": 8,
    "p": 16,
    "g_a_blocks": [1, 1],
    "g_s_blocks": [1, 1],
    "anchors": 4,
    "bypass": True,
}
UNEVEN_MODEL = ModelConfig(
    n=24,
    k=32,
    m=48,
    z=16,
    p=20,
    g_a_blocks=(1, 1),
    g_s_blocks=(1, 2),
    context_blocks=1,
    anchors=4,
    bypass=True,
)  # every width differs from the others
SMALL: dict[str, Any] = {
    "steps": 60,
    "batch": 4,
    "patch": 64,
    "warmup": 5,
    "precision": "float32",
    "compile": False,
    "held_out": 2,
    "model": MODEL,
}


def save_images(folder: Path, count: int, width: int, height: int) -> Path:
    """Write crops of the first Kodak pictures."""
    folder.mkdir(exist_ok=True)
    for number in range(1, count + 1):
        kodak_crop(number, width, height).save(folder / f"{number}.png")
    return folder


def start_trainer(folder: Path, images: Path, **changes: Any) -> Trainer:
    """Return a trainer of the small model, with changes of its configuration."""
    config = from_dict({**SMALL, **changes})
    folder.mkdir(exist_ok=True)
    dataset = open_dataset([images], folder / "cache", config.patch, config.held_out, quiet=True)
    return Trainer(config, dataset, folder)


def log_of(trainer: Trainer) -> Log:
    return Log(trainer.folder, trainer.config.steps, silent=True)


def train(trainer: Trainer, iterations: int) -> list[float]:
    """Return the losses of some iterations."""
    losses = []
    for _ in range(iterations):
        losses.append(trainer.update(*trainer.inputs(trainer.iteration))["loss"])
    return losses
