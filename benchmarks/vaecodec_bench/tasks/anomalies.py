"""Telling photographs from damaged ones: the codec's score against PCA of pixels."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from vaecodec.coding.tiling import CELL_Y
from vaecodec.image.picture import Picture
from vaecodec.tasks.score import score

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float64]

BLOCKS, SIDE = 6, 64  # of a picture, where only parts of it are damaged
COMPONENTS = 48  # of the 768 samples of a cell


def blocks(shape: tuple[int, ...], rng: np.random.Generator) -> list[tuple[slice, slice]]:
    """Squares at random, on the grid of cells."""
    corners = [
        [int(rng.integers(0, (length - SIDE) // CELL_Y + 1)) * CELL_Y for length in shape[:2]]
        for _ in range(BLOCKS)
    ]
    return [(slice(y, y + SIDE), slice(x, x + SIDE)) for y, x in corners]


def noisy(image: Pixels, rng: np.random.Generator, sigma: float = 25) -> Pixels:
    return np.clip(np.rint(image + rng.normal(0, sigma, image.shape)), 0, 255).astype(np.uint8)


def paste(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """Blocks from anywhere in another photograph."""
    result = image.copy()
    for place in blocks(image.shape, rng):
        y, x = (int(rng.integers(0, length - SIDE + 1)) for length in other.shape[:2])
        result[place] = other[y : y + SIDE, x : x + SIDE]
    return result


def noisy_blocks(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    result = image.copy()
    for place in blocks(image.shape, rng):
        result[place] = noisy(image[place], rng)
    return result


def stripes(image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """Blocks of fine stripes of random colours."""
    result = image.copy()
    for place in blocks(image.shape, rng):
        result[place] = np.resize(rng.integers(0, 256, (3, 3), dtype=np.uint8), (SIDE, 3))
    return result


DAMAGES: dict[str, Callable[[Pixels, Pixels, np.random.Generator], Pixels]] = {
    "noise of 25 grey levels": lambda image, other, rng: noisy(image, rng),
    "blocks of such noise": noisy_blocks,
    "blocks of stripes": stripes,
    "blocks of another photograph": paste,
    "colours exchanged (red, green, blue to green, blue, red)": lambda image, other, rng: image[
        :, :, [1, 2, 0]
    ],
    "colours inverted": lambda image, other, rng: np.invert(image),
}


def auroc(normal: Values, odd: Values) -> float:
    """Probability that an odd one has the larger value, ties counting half (the area under the ROC curve)."""
    ranks = rankdata(np.concatenate([normal, odd]))[len(normal) :]
    return float((ranks.sum() - len(odd) * (len(odd) + 1) / 2) / (len(normal) * len(odd)))


def patches(image: Pixels) -> Values:
    """(h, w, 768): the whole cells of a picture."""
    h, w = (length // CELL_Y for length in image.shape[:2])
    cut = image[: h * CELL_Y, : w * CELL_Y].astype(np.float64)
    return cut.reshape(h, CELL_Y, w, CELL_Y, 3).swapaxes(1, 2).reshape(h, w, -1)


class Pca:
    """Components of pixels, and their variances; surprise is what they leave, or what a Gaussian of them expects least."""

    def __init__(self, images: list[Pixels]):
        values = np.concatenate([patches(image).reshape(-1, 3 * CELL_Y**2) for image in images])
        self.mean = values.mean(0)
        variances, basis = np.linalg.eigh(np.cov(values - self.mean, rowvar=False))
        self.variances, self.basis = variances[-COMPONENTS:], basis[:, -COMPONENTS:]
        self.rest = variances[:-COMPONENTS].mean()

    def surprise(self, image: Pixels) -> dict[str, Values]:
        """(h, w) of each cell."""
        centred = patches(image) - self.mean
        coded = centred @ self.basis
        error = np.square(centred).sum(2) - np.square(coded).sum(2)
        return {
            "PCA, error": error,
            "PCA, likelihood": np.square(coded).dot(1 / self.variances) + error / self.rest,
        }


def look(image: Pixels, pca: Pca) -> tuple[dict[str, float], dict[str, Values]]:
    """What each detector says of a picture and of its cells; larger is odder."""
    found = score(Picture(image))
    cells = {
        "bits": found.bits.astype(np.float64),
        "unexpected bits": found.excess_bits.astype(np.float64),
        "error": found.error.astype(np.float64),
        **pca.surprise(image),
    }
    whole = {name: float(values.mean()) for name, values in cells.items()}
    return whole, cells


def measure(images: list[Pixels]) -> dict[str, dict[str, dict[str, float]]]:
    """AUROC of each detector for each damage: of pictures, and of cells where only blocks are damaged (a mean over pictures).

    PCA is fitted on the other photographs of the folder, so it has seen nearer relatives than the codec has.
    """
    odd = {
        damage: [
            DAMAGES[damage](image, images[(i + 7) % len(images)], np.random.default_rng([i, kind]))
            for i, image in enumerate(images)
        ]
        for kind, damage in enumerate(DAMAGES)
    }
    whole: dict[str, dict[str, list[float]]] = {}
    cells: dict[str, dict[str, list[float]]] = {}
    for i, image in enumerate(images):
        pca = Pca([other for j, other in enumerate(images) if j != i])
        for damage, shown in (
            ("", image),
            *((damage, damaged[i]) for damage, damaged in odd.items()),
        ):
            values, maps = look(shown, pca)
            for detector, value in values.items():
                whole.setdefault(damage, {}).setdefault(detector, []).append(value)
            if "blocks" in damage:
                hit = patches(shown != image).any(2)
                h, w = hit.shape
                for detector, of_cells in maps.items():
                    inner = of_cells[:h, :w]
                    cells.setdefault(damage, {}).setdefault(detector, []).append(
                        auroc(inner[~hit], inner[hit])
                    )
    clean = whole.pop("")
    return {
        "pictures": {
            damage: {
                name: auroc(np.array(clean[name]), np.array(found)) for name, found in by.items()
            }
            for damage, by in whole.items()
        },
        "cells": {
            damage: {name: float(np.mean(found)) for name, found in by.items()}
            for damage, by in cells.items()
        },
    }
