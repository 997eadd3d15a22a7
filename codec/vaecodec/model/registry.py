"""The installed models: which there are, which is the default, and how one is found."""

import os
from functools import lru_cache
from pathlib import Path

from vaecodec.errors import ModelError
from vaecodec.model.networks import Networks

MODELS = Path(__file__).parent / "weights"


def default_model() -> str:
    """Id of the model that `encode` uses when none is named."""
    return (MODELS / "default").read_text().strip()


def model_for_task(task: str) -> str:
    """Id of the packaged model that has weights for a task of restoration, the default one before others; the default's
    where there is none."""
    default = default_model()
    others = sorted(folder.parent.name for folder in MODELS.glob(f"*/{task}.onnx"))
    return default if default in others or not others else others[-1]


def load_model(
    model: str | None = None, threads: int = 0, installed_only: bool = False
) -> Networks:
    """Networks by id (8 hexadecimal digits, looked up among the packaged models and in $VAECODEC_MODELS) or by folder.

    threads: of the inference engine; 0 means one a core. installed_only: for ids that come from a file, which must not
    name a folder. Raises ModelError.
    """
    name = default_model() if model is None else model
    places = [MODELS / name] if name else []
    if name and os.environ.get("VAECODEC_MODELS"):
        places.append(Path(os.environ["VAECODEC_MODELS"]) / name)
    if not installed_only:
        places.append(Path(name))
    for folder in places:
        if (folder / "manifest.json").is_file():
            return _open(folder, threads)
    raise ModelError(f"model {name} is not installed" if name else "the model's name is empty")


@lru_cache(maxsize=8)
def _open(folder: Path, threads: int) -> Networks:
    return Networks(folder, threads)
