"""Reading and writing the files of a benchmark, with errors in one sentence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vaecodec.errors import OutputError, VaecodecError
from vaecodec.image.files import read_image, write_file


def read_rgb(path: Path) -> Image.Image:
    """Read an image file as RGB, without metadata that some codecs would copy into their files.

    Raises VaecodecError.
    """
    try:
        return Image.fromarray(np.asarray(read_image(path.read_bytes()).convert("RGB")))
    except OSError as error:
        raise VaecodecError(f"cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise VaecodecError(f"cannot be converted to RGB ({error})") from None


def read_bytes(path: Path) -> bytes:
    """Read a file of a report. Raises VaecodecError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise VaecodecError(f"{path}: cannot be read ({error.strerror})") from None


def read_json(path: Path) -> Any:
    """Read a JSON file of a report. Raises VaecodecError."""
    try:
        return json.loads(read_bytes(path))
    except ValueError as error:
        raise VaecodecError(f"{path}: damaged ({error})") from None


def write(path: Path, data: bytes) -> None:
    """Write the whole file or nothing. Raises OutputError."""
    try:
        write_file(path, data)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None


def write_json(path: Path, data: Any) -> None:
    """Write data as indented JSON. Raises OutputError."""
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    write(path, f"{text}\n".encode())
