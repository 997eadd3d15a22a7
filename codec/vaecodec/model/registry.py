"""The installed models: which one is the default, and where a model is found."""

import os
from functools import lru_cache
from pathlib import Path

from vaecodec.errors import ModelError
from vaecodec.model.networks import Networks

MODELS = Path(__file__).parent / "weights"


def default_model() -> str:
    """Return the id of the model that `encode` uses by default."""
    return (MODELS / "default").read_text().strip()


def model_for_task(task: str) -> str:
    """Return the id of a packaged model with weights for `task`.

    Prefer the default model, and return it if no model has such weights.
    """
    default = default_model()
    candidates = sorted(path.parent.name for path in MODELS.glob(f"*/{task}.onnx"))
    return default if default in candidates or not candidates else candidates[-1]


def load_model(
    model: str | None = None, threads: int = 0, installed_only: bool = False
) -> Networks:
    """Load the networks of a model.

    Args:
        model: Id (8 hexadecimal digits) of a packaged model or of one in $VAECODEC_MODELS, or a
            model folder. None is the default model.
        threads: Threads of the inference engine. 0 is one per core.
        installed_only: Accept no folder. For ids that come from a file.

    Raises:
        ModelError: There is no such model, or it is damaged.
    """
    name = default_model() if model is None else model
    if not name:
        raise ModelError("the model's name is empty")
    folders = [MODELS / name]
    if os.environ.get("VAECODEC_MODELS"):
        folders.append(Path(os.environ["VAECODEC_MODELS"]) / name)
    if not installed_only:
        folders.append(Path(name))
    for folder in folders:
        if (folder / "manifest.json").is_file():
            return _open(folder, threads)
    raise ModelError(f"model {name} is not installed")


@lru_cache(maxsize=8)
def _open(folder: Path, threads: int) -> Networks:
    return Networks(folder, threads)
