"""Checkpoints: safetensors files whose metadata holds the model's configuration."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vaecodec.errors import VaecodecError
from vaecodec_train.model.autoencoder import Codec, ModelConfig

# The first experiment's weights carry these short names.
V0_NAMES = [
    (r"^e1\.0\.", "g_a.stem."),
    (r"^e1\.(\d)\.", "g_a.fine.-."),
    (r"^e2\.0\.c\.", "g_a.down.conv."),
    (r"^e2\.4\.", "g_a.head."),
    (r"^e2\.(\d)\.", "g_a.coarse.-."),
    (r"^d1\.0\.", "g_s.stem."),
    (r"^d1\.4\.c\.", "g_s.up.conv."),
    (r"^d1\.(\d)\.", "g_s.coarse.-."),
    (r"^d2\.3\.", "g_s.head."),
    (r"^d2\.(\d)\.", "g_s.fine.+."),
    (r"^he\.", "h_a."),
    (r"^hd\.", "h_s."),
    (r"^p0\.", "prior_head."),
    (r"^ci\.", "context_in."),
    (r"^cx\.", "context."),
    (r"^eb\.", "prior_z."),
    (r"^qe$", "log_gain_a"),
    (r"^qd$", "log_gain_s"),
    (r"^gy$", "log_gain_y"),
    (r"^hq$", "bias_h"),
    (r"^lb$", "bias_scale"),
]
V0_FIGURES = {"steps": 9595, "batch": 8, "patch": 256, "minutes": 53, "cores": 2}
V0_LAYERS = {
    "a": "mix_in",
    "d": "spatial",
    "b": "mix_out",
    "u": "expand",
    "v": "project",
    "c": "conv",
}


def v0_name(name: str) -> str:
    """Today's name of a tensor of the first experiment."""
    for pattern, new in V0_NAMES:
        match = re.match(pattern, name)
        if match:
            if new.endswith((".-.", ".+.")):  # a numbered block, counted from 0 now
                new = f"{new[:-2]}{int(match[1]) - (new[-2] == '-')}."
            name = new + name[match.end() :]
            break
    return re.sub(r"\.([adbuvc])\.(weight|bias)$", lambda m: f".{V0_LAYERS[m[1]]}.{m[2]}", name)


def save_model(model: Codec, path: Path, figures: dict[str, object] | None = None) -> None:
    """Write weights (their dtypes as they are), configuration and training figures to `path`."""
    metadata = {
        "config": json.dumps(dataclasses.asdict(model.config)),
        "figures": json.dumps(figures or {}),
    }
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path, metadata=metadata)


def load_model(path: Path) -> tuple[Codec, dict[str, object]]:
    """Model in float32 and its training figures, from a file or from the folder of a run.

    Raises VaecodecError where the file is missing, damaged or foreign.
    """
    path = path / "model.safetensors" if path.is_dir() else path
    try:
        with safe_open(path, "pt") as f:
            metadata = f.metadata() or {}
            tensors = {name: f.get_tensor(name).float() for name in f.keys()}  # noqa: SIM118
        figures = json.loads(metadata.get("figures", "{}"))
        if "e1.0.weight" in tensors:
            figures = V0_FIGURES
            tensors = {v0_name(name): tensor for name, tensor in tensors.items()}
        stored: dict[str, Any] = json.loads(metadata.get("config", "{}"))
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()
        }
        model = Codec(ModelConfig(**values))
        buffers = (
            "_cdf_length",
            "_offset",
            "_quantized_cdf",
        )  # compressai's own tables, which are not used here
        tensors = {k: v for k, v in tensors.items() if not k.endswith(buffers)}
        missing, foreign = model.load_state_dict(tensors, strict=False)
        missing = [name for name in missing if not name.endswith(buffers)]
        if missing or foreign:
            raise ValueError(
                f"tensor {(missing or foreign)[0]} is {'missing' if missing else 'unknown'}"
            )
        return model.eval(), figures
    except OSError as error:
        raise VaecodecError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise VaecodecError(
            f"{path}: not a checkpoint of this codec ({str(error).splitlines()[0]})"
        ) from None
