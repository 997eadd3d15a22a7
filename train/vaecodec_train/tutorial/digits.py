"""MNIST, from the four idx files in a folder or from where torchvision put them."""

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaecodec.errors import VaecodecError

SIDE = 28
PARTS = {"train": "train", "test": "t10k"}


@dataclass(frozen=True)
class Digits:
    """Images (n, 1, 28, 28), float32 in [0, 1], and their labels (n,), 0 to 9."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def load(folder: Path) -> Digits:
    """The digits in a folder: the four idx files, compressed or not, or torchvision's MNIST/raw. Raises VaecodecError."""
    tensors: list[Tensor] = []
    place = folder / "MNIST" / "raw" if (folder / "MNIST" / "raw").is_dir() else folder
    for part in PARTS.values():
        images = _idx(place / f"{part}-images-idx3-ubyte", 3)
        labels = _idx(place / f"{part}-labels-idx1-ubyte", 1)
        if images.shape[1:] != (SIDE, SIDE) or len(images) != len(labels):
            raise VaecodecError(
                f"{place}: its {part} images are not {len(labels)} digits of 28 x 28 pixels"
            )
        tensors += [
            torch.from_numpy(images[:, None].astype(np.float32) / 255),
            torch.from_numpy(labels.astype(np.int64)),
        ]
    return Digits(*tensors)


def _idx(path: Path, dimensions: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """An idx file of bytes, compressed or not (the format is described at the end of MNIST's own page)."""
    packed = path.with_name(path.name + ".gz")
    try:
        data = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
        kind, *shape = struct.unpack_from(f">{dimensions + 1}I", data)
        if kind != 0x800 + dimensions:
            raise ValueError("not an idx file of bytes")
        return np.frombuffer(data, np.uint8, offset=4 * (dimensions + 1)).reshape(shape)
    except FileNotFoundError:
        raise VaecodecError(
            f"{path.parent}: holds no {packed.name}; get MNIST's four idx.gz files from "
            "https://ossci-datasets.s3.amazonaws.com/mnist/"
        ) from None
    except OSError as error:
        raise VaecodecError(f"{packed}: cannot be read ({error.strerror or error})") from None
    except (ValueError, struct.error, EOFError) as error:
        raise VaecodecError(f"{packed}: damaged ({error})") from None
