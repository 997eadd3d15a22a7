"""Draw pages of handwritten digits.

Run it as: python train/studies/digits.py MNIST_DIR OUT

The pages are the example of fine-tuning in docs/TRAINING.md. MNIST_DIR holds the four idx.gz files.
OUT/train gets 400 pages of 9 x 9 digits from the training set, OUT/test 24 pages from the test set.
"""

import gzip
import sys
from pathlib import Path

import numpy as np
from PIL import Image

DIGITS_PER_SIDE = 9  # of a page


def read_digits(file: Path) -> np.ndarray:
    """Return the images (n, 28, 28) uint8 of an idx3 file."""
    data = gzip.decompress(file.read_bytes())
    return np.frombuffer(data, np.uint8, offset=16).reshape(-1, 28, 28)


def write_pages(images: np.ndarray, folder: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for page in range(count):
        chosen = images[rng.integers(0, len(images), DIGITS_PER_SIDE**2)]
        cells = chosen.reshape(DIGITS_PER_SIDE, DIGITS_PER_SIDE, 28, 28).transpose(0, 2, 1, 3)
        sheet = cells.reshape(DIGITS_PER_SIDE * 28, DIGITS_PER_SIDE * 28)
        # Dark ink on white paper, 260 x 260 pixels.
        Image.fromarray(255 - np.pad(sheet, 4)).save(folder / f"{page:03}.png")


def main(source: Path, out: Path) -> None:
    for part, prefix, count in (("train", "train", 400), ("test", "t10k", 24)):
        write_pages(
            read_digits(source / f"{prefix}-images-idx3-ubyte.gz"), out / part, count, count
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
