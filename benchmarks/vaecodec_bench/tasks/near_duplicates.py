"""Find a photograph from a changed copy of it: the codec's features against a perceptual hash."""

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


def crop(image: Image.Image, share: float, across: float, down: float) -> Image.Image:
    """Crop an image to a share of each side, at position `across`, `down` (0 to 1)."""
    width, height = (round(length * share) for length in image.size)
    left = round((image.width - width) * across)
    top = round((image.height - height) * down)
    return image.crop((left, top, left + width, top + height))


def resize(image: Image.Image, factor: float) -> Image.Image:
    size = (round(image.width * factor), round(image.height * factor))
    return image.resize(size, Image.Resampling.BICUBIC)


def recompress(image: Image.Image, kind: str, quality: int) -> Image.Image:
    """Write the picture as a file of another type and read it back."""
    out = io.BytesIO()
    image.save(out, kind, quality=quality)
    return Image.open(out).convert("RGB")


def mirror(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "crop, 90 % of each side": lambda image: crop(image, 0.9, 0.5, 0.5),
    "crop, 75 %": lambda image: crop(image, 0.75, 0.8, 0.1),
    "crop, 50 %": lambda image: crop(image, 0.5, 0.3, 0.4),
    "half the size": lambda image: resize(image, 0.5),
    "a quarter of the size": lambda image: resize(image, 0.25),
    "1.5 times the size": lambda image: resize(image, 1.5),
    "JPEG of quality 50": lambda image: recompress(image, "JPEG", 50),
    "JPEG of quality 10": lambda image: recompress(image, "JPEG", 10),
    "WebP of quality 20": lambda image: recompress(image, "WebP", 20),
    ".vae of quality 1": lambda image: vaecodec.decode(vaecodec.encode(image, 1)),
    "mirrored": mirror,
}


def recall(distances: npt.NDArray[np.float32]) -> float:
    """Return the share of queries (rows) whose nearest known picture (column) is their own.

    Ties are misses.
    """
    own = np.diagonal(distances)[:, None]
    return float(((distances <= own).sum(1) == 1).mean())


def measure(images: list[Image.Image]) -> dict[str, dict[str, float]]:
    """Return the recall at 1 for each change.

    The codec's features are compared with a 64-bit perceptual hash (DCT).
    """
    known_features = _features(images)
    known_hashes = _hashes(images)
    recalls = {}
    for name, change in CHANGES.items():
        copies = [change(image) for image in images]
        distances = np.linalg.norm(_features(copies)[:, None] - known_features[None], axis=2)
        bits = (_hashes(copies)[:, None] != known_hashes[None]).sum(2).astype(np.float32)
        recalls[name] = {"features": recall(distances), "perceptual hash": recall(bits)}
    return recalls


def _features(images: list[Image.Image]) -> npt.NDArray[np.float32]:
    return np.stack([embed(Picture(np.asarray(image))).whole for image in images])


def _hashes(images: list[Image.Image]) -> npt.NDArray[np.bool_]:
    return np.stack([imagehash.phash(image).hash.reshape(-1) for image in images])


def measure_seconds(images: list[Image.Image]) -> dict[str, float]:
    """Return the median time in seconds to embed all images from .vae files of quality 50.

    There are two ways: features from the file alone, or from the pixels after decoding.
    """
    files = [vaecodec.encode(image) for image in images]
    ways: dict[str, Callable[[bytes], Embedding]] = {
        "from the file": embed_file,
        "decode, then embed": lambda data: embed(Picture(vaecodec.decode_array(data))),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(REPEATS + 1):
        for way, embed_data in ways.items():
            start = time.perf_counter()
            for data in files:
                embed_data(data)
            if turn:  # the first turn loads networks
                seconds[way].append(time.perf_counter() - start)
    return {way: median(values) for way, values in seconds.items()}
