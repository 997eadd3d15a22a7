"""Restored Kodak pictures against the originals, and against what needs no learning."""

from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from vaecodec.image.files import read_image, read_picture
from vaecodec.metrics import psnr
from vaecodec.tasks.restore import INPUT_CHANNELS, fill_masked, restore
from vaecodec_bench.tasks.anomalies import noisy

Pixels = npt.NDArray[np.uint8]
SIGMA, MISSING, BLOCK = 25, 0.2, 16


def damaged(task: str, image: Image.Image, seed: int, folder: Path) -> tuple[Path, Path | None]:
    """Write the damaged picture, and for inpaint the mask, as PNG."""
    rng = np.random.default_rng(seed)
    path, mask = folder / f"{task}-{seed}.png", None
    if task == "denoise":
        shown = Image.fromarray(noisy(np.asarray(image), rng, SIGMA))
    elif task == "superres":
        shown = image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
    else:
        lost = rng.random((-(-image.height // BLOCK), -(-image.width // BLOCK))) < MISSING
        missing = np.repeat(np.repeat(lost, BLOCK, 0), BLOCK, 1)[: image.height, : image.width]
        shown = Image.fromarray(np.where(missing[:, :, None], np.uint8(0), np.asarray(image)))
        mask = folder / f"mask-{seed}.png"
        Image.fromarray(missing).save(mask)
    shown.save(path)
    return path, mask


def baselines(
    task: str, image: Image.Image, mask: npt.NDArray[np.bool_] | None
) -> dict[str, Image.Image]:
    """The damaged picture by simpler means."""
    if task == "denoise":
        return {
            "as it is": image,
            "median of 3 x 3": image.filter(ImageFilter.MedianFilter(3)),
            "Gaussian blur, 1 pixel": image.filter(ImageFilter.GaussianBlur(1)),
        }
    if task == "superres":
        size = (2 * image.width, 2 * image.height)
        filters = Image.Resampling
        return {
            name: image.resize(size, kind)
            for name, kind in (
                ("bilinear", filters.BILINEAR),
                ("bicubic", filters.BICUBIC),
                ("Lanczos", filters.LANCZOS),
            )
        }
    assert mask is not None
    return {"black": image, "smooth filling": Image.fromarray(fill_masked(np.asarray(image), mask))}


def measure(images: list[Path], folder: Path) -> dict[str, dict[str, float]]:
    """Mean RGB-PSNR (dB) of each task and way, from real PNG files; of inpaint over the missing pixels as well."""
    found: dict[str, dict[str, list[float]]] = {}
    for seed, name in enumerate(images):
        whole = read_image(name).convert("RGB")
        original = whole.crop((0, 0, whole.width // 2 * 2, whole.height // 2 * 2))
        for task in INPUT_CHANNELS:
            path, mask_path = damaged(task, original, seed, folder)
            mask = None if mask_path is None else np.asarray(Image.open(mask_path).convert("L")) > 0
            with path.open("rb") as file:
                picture = read_picture(file, original.width * original.height)
            restored = restore(task, picture, mask)
            restored.save(folder / f"{task}-{seed}-restored.png")
            ways = {
                **baselines(task, Image.open(path).convert("RGB"), mask),
                "vaecodec": Image.open(folder / f"{task}-{seed}-restored.png"),
            }
            for way, image in ways.items():
                a, b = np.asarray(original), np.asarray(image)
                values = {task: psnr(a, b)}
                if mask is not None:
                    values["inpaint, missing pixels alone"] = psnr(a[mask][None], b[mask][None])
                for measured, value in values.items():
                    found.setdefault(measured, {}).setdefault(way, []).append(value)
    return {
        task: {way: fmean(values) for way, values in ways.items()} for task, ways in found.items()
    }
