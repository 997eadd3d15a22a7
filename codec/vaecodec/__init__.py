"""vaecodec: a learned image codec with a real file format.

>>> import vaecodec                                          # doctest: +SKIP
>>> data = vaecodec.encode(PIL.Image.open("photo.png"))      # doctest: +SKIP
>>> vaecodec.decode(data).save("decoded.png")                # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vaecodec._version import __version__

if TYPE_CHECKING:
    from vaecodec.api import decode, decode_array, encode
    from vaecodec.errors import FormatError, ImageError, ModelError, VaecodecError
    from vaecodec.format.container import Header, probe

__all__ = [
    "FormatError",
    "Header",
    "ImageError",
    "ModelError",
    "VaecodecError",
    "__version__",
    "decode",
    "decode_array",
    "encode",
    "probe",
]

_HOMES = {
    "encode": "api",
    "decode": "api",
    "decode_array": "api",
    "probe": "format.container",
    "Header": "format.container",
}


def __getattr__(name: str) -> Any:
    """Load on first use, so that `vaecodec info` starts without numpy or an inference engine."""
    if name not in __all__:
        raise AttributeError(f"module 'vaecodec' has no attribute {name!r}")
    return getattr(import_module(f"vaecodec.{_HOMES.get(name, 'errors')}"), name)
