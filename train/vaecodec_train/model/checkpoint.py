"""Checkpoints: safetensors files whose metadata holds the configuration of the autoencoder."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vaecodec.errors import VaecodecError
from vaecodec_train.model import legacy_v0
from vaecodec_train.model.autoencoder import Autoencoder, ModelConfig

UNUSED_BUFFERS = ("_cdf_length", "_offset", "_quantized_cdf")  # CompressAI's own tables


def save_autoencoder(
    autoencoder: Autoencoder, path: Path, figures: dict[str, object] | None = None
) -> None:
    """Write the weights (with their present dtypes), the configuration and the training figures."""
    metadata = {
        "config": json.dumps(dataclasses.asdict(autoencoder.config)),
        "figures": json.dumps(figures or {}),
    }
    tensors = {name: tensor.contiguous() for name, tensor in autoencoder.state_dict().items()}
    save_file(tensors, path, metadata=metadata)


def load_autoencoder(path: Path) -> tuple[Autoencoder, dict[str, object]]:
    """Load an autoencoder and its training figures.

    Args:
        path: a .safetensors file, or the folder of a training run.

    Returns:
        The autoencoder in float32 and eval mode, and the figures.

    Raises:
        VaecodecError: the file is missing, damaged, or not a checkpoint of this codec.
    """
    path = path / "model.safetensors" if path.is_dir() else path
    try:
        with safe_open(path, "pt") as f:
            metadata = f.metadata() or {}
            tensors = {name: f.get_tensor(name).float() for name in f.keys()}  # noqa: SIM118
        figures = json.loads(metadata.get("figures", "{}"))
        if legacy_v0.MARKER in tensors:
            figures = legacy_v0.FIGURES
            tensors = {legacy_v0.current_name(name): tensor for name, tensor in tensors.items()}
        autoencoder = Autoencoder(_config(metadata))
        _load_tensors(autoencoder, tensors)
        return autoencoder.eval(), figures
    except OSError as error:
        raise VaecodecError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise VaecodecError(f"{path}: not a checkpoint of this codec ({reason})") from None


def _config(metadata: dict[str, str]) -> ModelConfig:
    stored: dict[str, Any] = json.loads(metadata.get("config", "{}"))
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
    return ModelConfig(**values)


def _load_tensors(autoencoder: Autoencoder, tensors: dict[str, Tensor]) -> None:
    """Raise ValueError if a tensor is missing or unknown."""
    tensors = {name: t for name, t in tensors.items() if not name.endswith(UNUSED_BUFFERS)}
    missing, unknown = autoencoder.load_state_dict(tensors, strict=False)
    missing = [name for name in missing if not name.endswith(UNUSED_BUFFERS)]
    if missing:
        raise ValueError(f"tensor {missing[0]} is missing")
    if unknown:
        raise ValueError(f"tensor {unknown[0]} is unknown")
