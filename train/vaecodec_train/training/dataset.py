"""Training images, decoded once into a memory-mapped cache, and the batches cut from them.

A batch depends only on the seed and the number of the iteration.
"""

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.progress import track

from vaecodec.errors import VaecodecError
from vaecodec.image.files import images_in
from vaecodec_train.config import TrainConfig
from vaecodec_train.training.synthetic import synthetic_picture

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Dataset:
    """Images (H, W, 3) in one flat file. Some are held out for measuring."""

    pixels: npt.NDArray[np.uint8]  # the samples of all images, one image after the other
    shapes: list[tuple[int, int]]  # height, width
    offsets: list[int]  # of each image in pixels
    train: list[int]  # indices of the images to train on
    held_out: list[int]  # indices of the images to measure on

    def image(self, i: int) -> Pixels:
        h, w = self.shapes[i]
        start = self.offsets[i]
        return self.pixels[start : start + 3 * h * w].reshape(h, w, 3)


def open_dataset(
    folders: list[Path], cache: Path, min_side: int, held_out: int, quiet: bool = False
) -> Dataset:
    """Open the images in some folders.

    The cache is rebuilt if the name, size or modification time of a file changed. A file that
    cannot be read is skipped, with a warning on standard error.

    Args:
        folders: folders of image files.
        cache: folder for the decoded images.
        min_side: smaller images are ignored.
        held_out: number of images to hold out.
        quiet: show no progress bar.

    Raises:
        VaecodecError: there are not more than `held_out` images of that size.
    """
    paths = [Path(name) for folder in folders for name in images_in(folder)]
    state = [f"{p.resolve()} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in paths]
    key = hashlib.sha256("\n".join(state).encode()).hexdigest()[:16]
    data = cache / f"{key}.bin"
    index = cache / f"{key}.json"
    if not index.exists():
        write_cache(paths, data, index, quiet)
    stored = json.loads(index.read_text())
    shapes = [(int(h), int(w)) for h, w in stored["shapes"]]
    ends = np.cumsum([3 * h * w for h, w in shapes], dtype=int).tolist()
    offsets = [0, *ends][: len(shapes)]
    usable = [i for i, shape in enumerate(shapes) if min(shape) >= min_side]
    if len(usable) <= held_out:
        raise VaecodecError(
            f"{', '.join(map(str, folders))}: {len(usable)} images of at least "
            f"{min_side} x {min_side} pixels, but {held_out} are held out and training needs more"
        )
    # Hold out by the hash of the name, so that adding other images does not change which ones.
    ordered = sorted(usable, key=lambda i: hashlib.sha256(stored["names"][i].encode()).digest())
    pixels = np.memmap(data, np.uint8, "r")
    return Dataset(pixels, shapes, offsets, sorted(ordered[held_out:]), sorted(ordered[:held_out]))


def write_cache(paths: list[Path], data: Path, index: Path, quiet: bool) -> None:
    """Decode the images into the file `data`, and write their names and shapes to `index`."""
    data.parent.mkdir(parents=True, exist_ok=True)
    shapes: list[tuple[int, ...]] = []
    names: list[str] = []
    part = data.with_suffix(f".{os.getpid()}.part")  # each process of torchrun writes its own
    progress = track(
        paths, "Decoding images", console=Console(stderr=True), disable=quiet, transient=True
    )
    with part.open("wb") as f:
        for path in progress:
            try:
                with Image.open(path) as image:
                    array = np.asarray(image.convert("RGB"))
            except Exception as error:  # Pillow's decoders raise many kinds
                reason = str(error).splitlines()[0] if str(error) else repr(error)
                print(f"{path}: skipped, cannot be read ({reason})", file=sys.stderr)
                continue
            f.write(array.tobytes())
            shapes.append(array.shape[:2])
            names.append(path.name)
    part.replace(data)
    part.write_text(json.dumps({"shapes": shapes, "names": names}))
    part.replace(index)


def draw_batch(
    dataset: Dataset, config: TrainConfig, iteration: int
) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """Return the crops (batch, patch, patch, 3) and qualities (batch,) in [0, 1] of an iteration.

    The same arguments always give the same batch.
    """
    rng = np.random.default_rng([config.seed, iteration])
    crops = [draw_crop(dataset, config, rng) for _ in range(config.batch)]
    # One quality in each of `batch` equal bands, so that every batch covers all qualities.
    q = (rng.permutation(config.batch) + rng.random(config.batch)) / config.batch
    return np.stack(crops), q.astype(np.float32)


def draw_crop(dataset: Dataset, config: TrainConfig, rng: np.random.Generator) -> Pixels:
    """Cut a crop (patch, patch, 3) from a random training image and augment it."""
    image = dataset.image(dataset.train[int(rng.integers(len(dataset.train)))])
    scale = float(rng.uniform(0.5, 1)) if config.downscale else 1.0
    side = min(round(config.patch / scale), *image.shape[:2])
    y, x = (
        int(rng.integers(0, length - side + 1)) if config.crop else (length - side) // 2
        for length in image.shape[:2]
    )
    crop = image[y : y + side, x : x + side]
    if side != config.patch:
        size = (config.patch, config.patch)
        crop = np.asarray(Image.fromarray(crop).resize(size, Image.Resampling.LANCZOS))
    if config.flip:
        crop = crop[:: int(rng.choice([-1, 1])), :: int(rng.choice([-1, 1]))]
    if config.patterns and rng.random() < config.patterns:
        crop = synthetic_picture(rng, crop)
    return crop


def held_out_crops(dataset: Dataset, size: int = 256) -> list[Pixels]:
    """Return a square centre crop of each held-out image, sides multiples of 64 up to `size`."""
    crops = []
    for i in dataset.held_out:
        image = dataset.image(i)
        side = min(size, min(image.shape[:2]) // 64 * 64)
        y, x = ((length - side) // 2 for length in image.shape[:2])
        crops.append(np.array(image[y : y + side, x : x + side]))
    return crops
