"""Finding a photograph from a changed copy of it: the codec's features against a perceptual hash."""

import io
import time
from collections.abc import Callable
from statistics import median

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

import vaecodec
from vaecodec.image.picture import Picture
from vaecodec.tasks.embed import Embedding, embed, embed_file

REPEATS = 5


def part(image: Image.Image, share: float, across: float, down: float) -> Image.Image:
    """A crop of this share of each side; across, down: where, from 0 to 1."""
    w, h = (round(length * share) for length in image.size)
    left, top = round((image.width - w) * across), round((image.height - h) * down)
    return image.crop((left, top, left + w, top + h))


def scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize(
        (round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC
    )


def again(image: Image.Image, kind: str, quality: int) -> Image.Image:
    """Written as a file of another type and read back."""
    out = io.BytesIO()
    image.save(out, kind, quality=quality)
    return Image.open(out).convert("RGB")


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "crop, 90 % of each side": lambda image: part(image, 0.9, 0.2, 0.7),
    "crop, 75 %": lambda image: part(image, 0.75, 0.8, 0.1),
    "crop, 50 %": lambda image: part(image, 0.5, 0.3, 0.4),
    "half the size": lambda image: scaled(image, 0.5),
    "a quarter of the size": lambda image: scaled(image, 0.25),
    "1.5 times the size": lambda image: scaled(image, 1.5),
    "JPEG of quality 50": lambda image: again(image, "JPEG", 50),
    "JPEG of quality 10": lambda image: again(image, "JPEG", 10),
    "WebP of quality 20": lambda image: again(image, "WebP", 20),
    ".vae of quality 1": lambda image: vaecodec.decode(vaecodec.encode(image, 1)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def recall(distances: npt.NDArray[np.float32]) -> float:
    """The part of the queries (rows) whose nearest known picture (column) is their own; ties are misses."""
    own = np.diagonal(distances)[:, None]
    return float(((distances <= own).sum(1) == 1).mean())


def measure(images: list[Image.Image]) -> dict[str, dict[str, float]]:
    """Recall at 1 for each change, of the features and of a 64-bit perceptual hash (DCT)."""

    def features(pictures: list[Image.Image]) -> npt.NDArray[np.float32]:
        return np.stack([embed(Picture(np.asarray(image))).whole for image in pictures])

    def hashes(pictures: list[Image.Image]) -> npt.NDArray[np.bool_]:
        return np.stack([imagehash.phash(image).hash.reshape(-1) for image in pictures])

    known, known_hashes = features(images), hashes(images)
    found = {}
    for name, change in CHANGES.items():
        changed = [change(image) for image in images]
        far = np.linalg.norm(features(changed)[:, None] - known[None], axis=2)
        bits = (hashes(changed)[:, None] != known_hashes[None]).sum(2).astype(np.float32)
        found[name] = {"features": recall(far), "perceptual hash": recall(bits)}
    return found


def speed(images: list[Image.Image]) -> dict[str, float]:
    """Seconds for all the pictures as .vae files of quality 50: features from the file, and after decoding its pixels."""
    files = [vaecodec.encode(image) for image in images]

    def decoded(data: bytes) -> Embedding:
        return embed(Picture(vaecodec.decode_array(data)))

    taken: dict[str, list[float]] = {"from the file": [], "decode, then embed": []}
    for turn in range(REPEATS + 1):
        for name, work in (("from the file", embed_file), ("decode, then embed", decoded)):
            start = time.perf_counter()
            for data in files:
                work(data)
            if turn:  # the first is for warming up
                taken[name].append(time.perf_counter() - start)
    return {name: median(seconds) for name, seconds in taken.items()}
