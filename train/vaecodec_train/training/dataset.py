"""Training images: decoded once into a memory-mapped cache, then cut into batches that depend on seed and step alone."""

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
from vaecodec_train.training.synthetic import pattern

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Dataset:
    """Images (H, W, 3) in one flat file; `held_out` of them are for measuring."""

    pixels: npt.NDArray[np.uint8]  # all samples, one image after the other
    shapes: list[tuple[int, int]]  # height, width
    offsets: list[int]
    train: list[int]
    held_out: list[int]

    def image(self, i: int) -> Pixels:
        (h, w), at = self.shapes[i], self.offsets[i]
        return self.pixels[at : at + 3 * h * w].reshape(h, w, 3)


def open_dataset(
    folders: list[Path], cache: Path, smallest: int, held_out: int, quiet: bool = False
) -> Dataset:
    """Images of at least `smallest` pixels a side. The cache is made anew when a file's name, size or time changed.

    A file that cannot be read is named on standard error and skipped.
    """
    paths = [Path(name) for folder in folders for name in images_in(folder)]
    state = [f"{p.resolve()} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in paths]
    key = hashlib.sha256("\n".join(state).encode()).hexdigest()[:16]
    data, index = cache / f"{key}.bin", cache / f"{key}.json"
    if not index.exists():
        cache.mkdir(parents=True, exist_ok=True)
        sizes, names = [], []
        part = data.with_suffix(
            f".{os.getpid()}.part"
        )  # every process of torchrun may write its own
        with part.open("wb") as f:
            for path in track(
                paths,
                "Decoding images",
                console=Console(stderr=True),
                disable=quiet,
                transient=True,
            ):
                try:
                    with Image.open(path) as image:
                        array = np.asarray(image.convert("RGB"))
                except Exception as error:  # Pillow's decoders raise many kinds
                    print(
                        f"{path}: skipped, it cannot be read ({str(error).splitlines()[0] if str(error) else error!r})",
                        file=sys.stderr,
                    )
                    continue
                f.write(array.tobytes())
                sizes.append(array.shape[:2])
                names.append(path.name)
        part.replace(data)
        part.write_text(json.dumps({"shapes": sizes, "names": names}))
        part.replace(index)
    stored = json.loads(index.read_text())
    shapes = [(int(h), int(w)) for h, w in stored["shapes"]]
    offsets = (
        np.concatenate([[0], np.cumsum([3 * h * w for h, w in shapes])[:-1]]).astype(int).tolist()
        if shapes
        else []
    )
    usable = [i for i, shape in enumerate(shapes) if min(shape) >= smallest]
    # Kept apart by the hash of the name, so that other images beside them change nothing.
    ordered = sorted(usable, key=lambda i: hashlib.sha256(stored["names"][i].encode()).digest())
    if len(usable) <= held_out:
        raise VaecodecError(
            f"{', '.join(map(str, folders))}: {len(usable)} images of at least {smallest} x {smallest} pixels; "
            f"training needs more than the {held_out} that are held out"
        )
    pixels = np.memmap(data, np.uint8, "r")
    return Dataset(pixels, shapes, offsets, sorted(ordered[held_out:]), sorted(ordered[:held_out]))


def batch(
    dataset: Dataset, config: TrainConfig, step: int
) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """Crops (batch, patch, patch, 3) and qualities (batch,) in [0, 1] of a step; the same whenever it is asked for."""
    rng = np.random.default_rng([config.seed, step])
    crops = []
    for _ in range(config.batch):
        image = dataset.image(dataset.train[int(rng.integers(len(dataset.train)))])
        scale = float(rng.uniform(0.5, 1)) if config.downscale else 1.0
        side = min(round(config.patch / scale), *image.shape[:2])
        y, x = (
            int(rng.integers(0, s - side + 1)) if config.crop else (s - side) // 2
            for s in image.shape[:2]
        )
        crop = image[y : y + side, x : x + side]
        if side != config.patch:
            crop = np.asarray(
                Image.fromarray(crop).resize((config.patch, config.patch), Image.Resampling.LANCZOS)
            )
        if config.flip:
            crop = crop[:: int(rng.choice([-1, 1])), :: int(rng.choice([-1, 1]))]
        if config.patterns and rng.random() < config.patterns:
            crop = pattern(rng, crop)
        crops.append(crop)
    return np.stack(crops), rng.random(config.batch, np.float32)


def held_out_crops(dataset: Dataset, size: int = 256) -> list[Pixels]:
    """The middle of each held-out image."""
    crops = []
    for i in dataset.held_out:
        image = dataset.image(i)
        side = min(size, min(image.shape[:2]) // 64 * 64)
        y, x = ((s - side) // 2 for s in image.shape[:2])
        crops.append(np.array(image[y : y + side, x : x + side]))
    return crops
