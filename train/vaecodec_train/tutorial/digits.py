"""Read MNIST from its four idx files, or from the folder that torchvision makes."""

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaecodec.errors import VaecodecError

DIGIT_SIDE = 28  # pixels
PARTS = ("train", "t10k")  # training set and test set


@dataclass(frozen=True)
class Digits:
    """Images (n, 1, 28, 28), float32 in [0, 1], and their labels (n,), 0 to 9."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def load_digits(folder: Path) -> Digits:
    """Load the digits in a folder that holds MNIST's four idx files or torchvision's MNIST/raw.

    The files may be compressed or not.

    Raises:
        VaecodecError: a file is missing, damaged or something else.
    """
    tensors: list[Tensor] = []
    raw = folder / "MNIST" / "raw"
    folder = raw if raw.is_dir() else folder
    for part in PARTS:
        images = _read_idx(folder / f"{part}-images-idx3-ubyte", 3)
        labels = _read_idx(folder / f"{part}-labels-idx1-ubyte", 1)
        if images.shape[1:] != (DIGIT_SIDE, DIGIT_SIDE) or len(images) != len(labels):
            raise VaecodecError(
                f"{folder}: the {part} images are not {len(labels)} digits of 28 x 28 pixels"
            )
        tensors.append(torch.from_numpy(images[:, None].astype(np.float32) / 255))
        tensors.append(torch.from_numpy(labels.astype(np.int64)))
    return Digits(*tensors)


def _read_idx(path: Path, dimensions: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """Read an idx file of bytes, compressed or not. MNIST's web page describes the format."""
    packed = path.with_name(path.name + ".gz")
    try:
        data = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
        kind, *shape = struct.unpack_from(f">{dimensions + 1}I", data)
        if kind != 0x800 + dimensions:
            raise ValueError("not an idx file of bytes")
        return np.frombuffer(data, np.uint8, offset=4 * (dimensions + 1)).reshape(shape)
    except FileNotFoundError:
        raise VaecodecError(
            f"{path.parent}: {packed.name} is missing; get MNIST's four idx.gz files from "
            "https://ossci-datasets.s3.amazonaws.com/mnist/"
        ) from None
    except OSError as error:
        raise VaecodecError(f"{packed}: cannot be read ({error.strerror or error})") from None
    except (ValueError, struct.error, EOFError) as error:
        raise VaecodecError(f"{packed}: damaged ({error})") from None
