"""Restored Kodak pictures compared with the originals, and with methods that need no training."""

from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from vaecodec.image.files import read_image, read_picture
from vaecodec.metrics import psnr
from vaecodec.tasks.restore import fill_masked, restore
from vaecodec_bench.tasks.anomalies import add_noise

Mask = npt.NDArray[np.bool_]  # (H, W), True where pixels are missing

TASKS = ("denoise", "inpaint", "superres")
NOISE_SIGMA = 25  # grey levels
MISSING_SHARE = 0.2
MISSING_BLOCK_SIDE = 16  # pixels
MISSING_PIXELS = "inpaint, missing pixels alone"


def write_damaged(
    task: str, image: Image.Image, seed: int, folder: Path
) -> tuple[Path, Path | None]:
    """Write the damaged picture, and for inpaint the mask, as PNG files and return their paths."""
    rng = np.random.default_rng(seed)
    mask_path = None
    if task == "denoise":
        damaged = Image.fromarray(add_noise(np.asarray(image), rng, NOISE_SIGMA))
    elif task == "superres":
        half = (image.width // 2, image.height // 2)
        damaged = image.resize(half, Image.Resampling.BICUBIC)
    else:
        mask = _random_mask(image.width, image.height, rng)
        damaged = Image.fromarray(np.where(mask[:, :, None], np.uint8(0), np.asarray(image)))
        mask_path = folder / f"mask-{seed}.png"
        Image.fromarray(mask).save(mask_path)
    path = folder / f"{task}-{seed}.png"
    damaged.save(path)
    return path, mask_path


def _random_mask(width: int, height: int, rng: np.random.Generator) -> Mask:
    """Return a mask of blocks, MISSING_SHARE of which are missing."""
    side = MISSING_BLOCK_SIDE
    blocks = rng.random((-(-height // side), -(-width // side))) < MISSING_SHARE
    return np.repeat(np.repeat(blocks, side, 0), side, 1)[:height, :width]


def baselines(task: str, image: Image.Image, mask: Mask | None) -> dict[str, Image.Image]:
    """Restore a damaged picture by simple methods."""
    if task == "denoise":
        return {
            "noisy": image,
            "median of 3 x 3": image.filter(ImageFilter.MedianFilter(3)),
            "Gaussian blur, 1 pixel": image.filter(ImageFilter.GaussianBlur(1)),
        }
    if task == "superres":
        size = (2 * image.width, 2 * image.height)
        filters = Image.Resampling
        return {
            "bilinear": image.resize(size, filters.BILINEAR),
            "bicubic": image.resize(size, filters.BICUBIC),
            "Lanczos": image.resize(size, filters.LANCZOS),
        }
    assert mask is not None
    filled = Image.fromarray(fill_masked(np.asarray(image), mask))
    return {"black": image, "smooth filling": filled}


def measure(images: list[Path], folder: Path) -> dict[str, dict[str, float]]:
    """Return the mean RGB-PSNR in dB of each task and method, from PNG files in `folder`.

    For inpaint there is also a row for the missing pixels alone.
    """
    values: dict[str, dict[str, list[float]]] = {}
    for seed, name in enumerate(images):
        picture = read_image(name).convert("RGB")
        even_size = (picture.width // 2 * 2, picture.height // 2 * 2)
        original = picture.crop((0, 0, *even_size))
        for task in TASKS:
            for row, psnrs in _measure_task(task, original, seed, folder).items():
                for method, value in psnrs.items():
                    values.setdefault(row, {}).setdefault(method, []).append(value)
    means = {}
    for row, methods in values.items():
        means[row] = {method: fmean(psnrs) for method, psnrs in methods.items()}
    return means


def _measure_task(
    task: str, original: Image.Image, seed: int, folder: Path
) -> dict[str, dict[str, float]]:
    """Return the PSNR of each method on one picture, in one or two rows."""
    path, mask_path = write_damaged(task, original, seed, folder)
    mask = None
    if mask_path is not None:
        mask = np.asarray(Image.open(mask_path).convert("L")) > 0
    with path.open("rb") as file:
        picture = read_picture(file, original.width * original.height)
    restored_path = folder / f"{task}-{seed}-restored.png"
    restore(task, picture, mask).save(restored_path)
    pictures = baselines(task, Image.open(path).convert("RGB"), mask)
    pictures["vaecodec"] = Image.open(restored_path)
    expected = np.asarray(original)
    rows: dict[str, dict[str, float]] = {task: {}}
    for method, image in pictures.items():
        actual = np.asarray(image)
        rows[task][method] = psnr(expected, actual)
        if mask is not None:
            missing = psnr(expected[mask][None], actual[mask][None])
            rows.setdefault(MISSING_PIXELS, {})[method] = missing
    return rows
