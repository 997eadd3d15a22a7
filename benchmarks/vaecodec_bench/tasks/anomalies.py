"""Tell photographs from damaged ones: the codec's score against a PCA of the pixels."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from vaecodec.coding.tiling import CELL_Y
from vaecodec.image.picture import Picture
from vaecodec.tasks.score import score

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float64]

BLOCKS_PER_PICTURE = 6  # where only parts of a picture are damaged
BLOCK_SIDE = 64  # pixels
COMPONENTS = 48  # of the 768 samples of a cell
DONOR_OFFSET = 7  # a picture's donor of foreign blocks comes this many places later


def block_positions(shape: tuple[int, ...], rng: np.random.Generator) -> list[tuple[slice, slice]]:
    """Choose random blocks on the grid of cells."""
    positions = []
    for _ in range(BLOCKS_PER_PICTURE):
        corner = []
        for length in shape[:2]:
            corner.append(int(rng.integers(0, (length - BLOCK_SIDE) // CELL_Y + 1)) * CELL_Y)
        y, x = corner
        positions.append((slice(y, y + BLOCK_SIDE), slice(x, x + BLOCK_SIDE)))
    return positions


def add_noise(image: Pixels, rng: np.random.Generator, sigma: float = 25) -> Pixels:
    """Add Gaussian noise with a standard deviation of `sigma` grey levels."""
    return np.clip(np.rint(image + rng.normal(0, sigma, image.shape)), 0, 255).astype(np.uint8)


def paste_blocks(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """Replace blocks with random parts of another photograph."""
    result = image.copy()
    for position in block_positions(image.shape, rng):
        y, x = (int(rng.integers(0, length - BLOCK_SIDE + 1)) for length in other.shape[:2])
        result[position] = other[y : y + BLOCK_SIDE, x : x + BLOCK_SIDE]
    return result


def add_noise_to_blocks(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    result = image.copy()
    for position in block_positions(image.shape, rng):
        result[position] = add_noise(image[position], rng)
    return result


def draw_striped_blocks(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """Replace blocks with fine stripes of random colours."""
    result = image.copy()
    for position in block_positions(image.shape, rng):
        colors = rng.integers(0, 256, (3, 3), dtype=np.uint8)
        result[position] = np.resize(colors, (BLOCK_SIDE, 3))
    return result


def rotate_channels(image: Pixels) -> Pixels:
    """Turn red, green, blue into green, blue, red."""
    return image[:, :, [1, 2, 0]]


# Each damages a picture, given another picture and a random generator.
DAMAGES: dict[str, Callable[[Pixels, Pixels, np.random.Generator], Pixels]] = {
    "noise of 25 grey levels": lambda image, other, rng: add_noise(image, rng),
    "blocks of such noise": add_noise_to_blocks,
    "blocks of stripes": draw_striped_blocks,
    "blocks of another photograph": paste_blocks,
    "colour channels rotated": lambda image, other, rng: rotate_channels(image),
    "colours inverted": lambda image, other, rng: np.invert(image),
}


def auroc(normal: Values, anomalous: Values) -> float:
    """Return the area under the ROC curve.

    This is the probability that an anomalous value is larger than a normal one. Ties count half.
    """
    ranks = rankdata(np.concatenate([normal, anomalous]))[len(normal) :]
    wins = ranks.sum() - len(anomalous) * (len(anomalous) + 1) / 2
    return float(wins / (len(normal) * len(anomalous)))


def cell_samples(image: Pixels) -> Values:
    """Return the samples of each complete cell as an array of shape (h, w, 768)."""
    h, w = (length // CELL_Y for length in image.shape[:2])
    cropped = image[: h * CELL_Y, : w * CELL_Y].astype(np.float64)
    return cropped.reshape(h, CELL_Y, w, CELL_Y, 3).swapaxes(1, 2).reshape(h, w, -1)


class Pca:
    """Principal components of the cells of some pictures, and their variances."""

    def __init__(self, images: Sequence[Pixels]):
        samples = [cell_samples(image).reshape(-1, 3 * CELL_Y**2) for image in images]
        values = np.concatenate(samples)
        self.mean = values.mean(0)
        variances, basis = np.linalg.eigh(np.cov(values - self.mean, rowvar=False))
        self.variances = variances[-COMPONENTS:]
        self.basis = basis[:, -COMPONENTS:]
        self.rest_variance = variances[:-COMPONENTS].mean()

    def surprise(self, image: Pixels) -> dict[str, Values]:
        """Return two measures of surprise for each cell, both of shape (h, w).

        "PCA, error" is the squared error of the reconstruction. "PCA, likelihood" is the negative
        log-likelihood under a Gaussian, up to constants.
        """
        centred = cell_samples(image) - self.mean
        coefficients = centred @ self.basis
        error = np.square(centred).sum(2) - np.square(coefficients).sum(2)
        weighted = np.square(coefficients).dot(1 / self.variances)
        likelihood = weighted + error / self.rest_variance
        return {"PCA, error": error, "PCA, likelihood": likelihood}


def detect(image: Pixels, pca: Pca) -> dict[str, Values]:
    """Return the value of each detector for each cell. Larger values are more anomalous."""
    scores = score(Picture(image))
    return {
        "bits": scores.bits.astype(np.float64),
        "unexpected bits": scores.excess_bits.astype(np.float64),
        "error": scores.error.astype(np.float64),
        **pca.surprise(image),
    }


Table = dict[str, dict[str, float]]  # damage -> detector -> AUROC
ValueLists = dict[str, dict[str, list[float]]]  # damage -> detector -> a value for each picture


def measure(images: list[Pixels]) -> dict[str, Table]:
    """Return the AUROC of each detector for each damage.

    "pictures" tells damaged pictures from undamaged ones. "cells" tells damaged cells from others
    in pictures with damaged blocks, as a mean over the pictures. The PCA is fitted to the other
    photographs of the folder, so it has seen closer relatives than the codec has.
    """
    clean: dict[str, list[float]] = {}
    pictures: ValueLists = {damage: {} for damage in DAMAGES}
    cells: ValueLists = {damage: {} for damage in DAMAGES if "blocks" in damage}
    for i, image in enumerate(images):
        pca = Pca(images[:i] + images[i + 1 :])
        other = images[(i + DONOR_OFFSET) % len(images)]
        _append_means(clean, detect(image, pca))
        for kind, (damage, function) in enumerate(DAMAGES.items()):
            damaged = function(image, other, np.random.default_rng([i, kind]))
            maps = detect(damaged, pca)
            _append_means(pictures[damage], maps)
            if damage in cells:
                _append_cell_aurocs(cells[damage], maps, damaged != image)
    return {"pictures": _picture_aurocs(clean, pictures), "cells": _means(cells)}


def _append_means(lists: dict[str, list[float]], maps: dict[str, Values]) -> None:
    for detector, values in maps.items():
        lists.setdefault(detector, []).append(float(values.mean()))


def _append_cell_aurocs(
    lists: dict[str, list[float]], maps: dict[str, Values], changed: npt.NDArray[np.bool_]
) -> None:
    """Append the AUROC of each detector on the cells of one picture.

    changed: (H, W, 3), True where the damage changed a sample.
    """
    damaged = cell_samples(changed.astype(np.uint8)).any(2)
    h, w = damaged.shape
    for detector, values in maps.items():
        complete = values[:h, :w]
        lists.setdefault(detector, []).append(auroc(complete[~damaged], complete[damaged]))


def _picture_aurocs(clean: dict[str, list[float]], pictures: ValueLists) -> Table:
    table: Table = {}
    for damage, lists in pictures.items():
        table[damage] = {}
        for detector, values in lists.items():
            table[damage][detector] = auroc(np.array(clean[detector]), np.array(values))
    return table


def _means(cells: ValueLists) -> Table:
    table: Table = {}
    for damage, lists in cells.items():
        table[damage] = {detector: float(np.mean(values)) for detector, values in lists.items()}
    return table
