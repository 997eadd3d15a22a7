"""vaecodec: a learned image codec with a real file format.

Example:
    >>> import vaecodec
    >>> data = vaecodec.encode("photo.png", quality=60)
    >>> vaecodec.decode(data).size == vaecodec.decode("photo.vae").size
    True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vaecodec._version import __version__

if TYPE_CHECKING:
    from vaecodec.api import decode, decode_array, encode, open
    from vaecodec.coding.vae_file import Damage, VaeFile
    from vaecodec.errors import (
        FormatError,
        ImageError,
        ModelError,
        OutputError,
        ParameterError,
        VaecodecError,
    )
    from vaecodec.format.color import Color
    from vaecodec.format.container import Header, probe
    from vaecodec.tasks.embed import Embedding, embed, embed_file
    from vaecodec.tasks.interpolate import interpolate
    from vaecodec.tasks.restore import restore
    from vaecodec.tasks.sample import sample
    from vaecodec.tasks.score import Score, score

__all__ = [
    "Color",
    "Damage",
    "Embedding",
    "FormatError",
    "Header",
    "ImageError",
    "ModelError",
    "OutputError",
    "ParameterError",
    "Score",
    "VaeFile",
    "VaecodecError",
    "__version__",
    "decode",
    "decode_array",
    "embed",
    "embed_file",
    "encode",
    "interpolate",
    "open",
    "probe",
    "restore",
    "sample",
    "score",
]

_MODULES = {
    "Color": "format.color",
    "Damage": "coding.vae_file",
    "Embedding": "tasks.embed",
    "Header": "format.container",
    "Score": "tasks.score",
    "VaeFile": "coding.vae_file",
    "decode": "api",
    "decode_array": "api",
    "embed": "tasks.embed",
    "embed_file": "tasks.embed",
    "encode": "api",
    "interpolate": "tasks.interpolate",
    "open": "api",
    "probe": "format.container",
    "restore": "tasks.restore",
    "sample": "tasks.sample",
    "score": "tasks.score",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use, so that `vaecodec info` starts without NumPy."""
    if name not in __all__:
        raise AttributeError(f"module 'vaecodec' has no attribute {name!r}")
    value = getattr(import_module(f"vaecodec.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
