"""Measures the tasks beyond coding and rewrites the generated part of docs/TASKS.md."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vaecodec.errors import VaecodecError
from vaecodec.image.files import images_in, make_folder, read_image
from vaecodec.image.picture import Picture
from vaecodec.model import registry
from vaecodec.tasks.interpolate import interpolate
from vaecodec.tasks.sample import sample
from vaecodec.tasks.score import heat_map, score
from vaecodec_bench.files import read_bytes, write, write_json
from vaecodec_bench.report.markdown import rewrite, table
from vaecodec_bench.tasks import anomalies, near_duplicates, restoration

DOCUMENT = Path("docs/TASKS.md")
DOCUMENT_PICTURES = Path("docs/tasks")
PICTURES = (
    "samples.png",
    "walk.png",
    "anomalies.png",
    "denoise.png",
    "inpaint.png",
    "superres.png",
)
DETAIL = (150, 200, 406, 392)  # left, top, right, bottom of the crops that show restoration
EMBEDDED_PICTURES = 8  # whose embedding is timed


def measure_tasks(folder: Path, out: Path, checkout: Path | None) -> None:
    """Measure the tasks on the images in `folder` and print the figures.

    Args:
        folder: A folder of at least two images.
        out: Folder for tasks.json, the restored pictures and those of the document.
        checkout: Root of the repository whose document is rewritten, if any.

    Raises:
        VaecodecError: There are too few images, or a file cannot be read or written.
    """
    paths = [Path(name) for name in images_in(folder)]
    images = [read_image(path).convert("RGB") for path in paths]
    if len(images) < 2:
        raise VaecodecError(
            f"{folder}: has a single image, and the measurements compare images with each other"
        )
    make_folder(out)
    last = images[-1]
    partner = next(image for image in images if image.size == last.size)
    draw_samples(out)
    draw_walk(last.reduce(3), partner.reduce(3), out)
    draw_heat_maps(last, images[0], out)
    figures = {
        "images": len(images),
        "model": registry.load_model().id,
        "restored": restoration.measure(paths, out),
        "duplicates": near_duplicates.measure(images),
        "seconds": near_duplicates.measure_seconds(images[:EMBEDDED_PICTURES]),
        "anomalies": anomalies.measure([np.asarray(image) for image in images]),
    }
    draw_triptychs(last, len(images) - 1, out)
    write_json(out / "tasks.json", figures)
    text = paragraphs(figures)
    print("\n\n".join(text))
    if checkout is not None:
        rewrite(checkout / DOCUMENT, text)
        make_folder(checkout / DOCUMENT_PICTURES)
        for name in PICTURES:
            write(checkout / DOCUMENT_PICTURES / name, read_bytes(out / name))


def side_by_side(pictures: Sequence[Image.Image], gap: int = 6) -> Image.Image:
    """Put pictures in a row on a white ground."""
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    row = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    left = 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + gap
    return row


def draw_samples(folder: Path) -> None:
    """Write samples.png: two samples at temperature 1 and two at 0.7."""
    samples = []
    for temperature in (1, 0.7):
        samples += [sample(192, 192, seed, 50, temperature) for seed in (7, 8)]
    side_by_side(samples).save(folder / "samples.png")


def draw_walk(first: Image.Image, last: Image.Image, folder: Path) -> None:
    """Write walk.png: five pictures from `first` to `last` in latent space."""
    side_by_side(interpolate(Picture(first), Picture(last), 5), gap=0).save(folder / "walk.png")


def draw_heat_maps(image: Image.Image, other: Image.Image, folder: Path) -> None:
    """Write anomalies.png: a photograph with blocks of noise and of stripes, and its heat maps."""
    rng = np.random.default_rng(1)
    damaged = anomalies.draw_striped_blocks(np.asarray(image), np.asarray(other), rng)
    damaged = anomalies.add_noise_to_blocks(damaged, damaged, rng)
    scores = score(Picture(damaged))
    pictures = [damaged]
    for values in (scores.bits, scores.excess_bits, scores.error):
        pictures.append(heat_map(values, image.width, image.height))
    reduced = [Image.fromarray(picture).reduce(2) for picture in pictures]
    side_by_side(reduced).save(folder / "anomalies.png")


def draw_triptychs(original: Image.Image, number: int, folder: Path) -> None:
    """Write TASK.png for each task: details of the damaged, the restored and the original picture.

    number: of the picture among those in `folder`.
    """
    for task in restoration.TASKS:
        damaged = Image.open(folder / f"{task}-{number}.png").convert("RGB")
        restored = Image.open(folder / f"{task}-{number}-restored.png").convert("RGB")
        if damaged.size != original.size:
            damaged = damaged.resize(original.size, Image.Resampling.BICUBIC)
        details = [picture.crop(DETAIL) for picture in (damaged, restored, original)]
        side_by_side(details).save(folder / f"{task}.png")


def decimals_table(rows: dict[str, dict[str, float]], head: str, digits: int) -> str:
    """Return a Markdown table with a row for each key."""
    columns = list(dict.fromkeys(name for values in rows.values() for name in values))
    lines = []
    for name, values in rows.items():
        cells = [f"{values[c]:.{digits}f}" if c in values else "–" for c in columns]
        lines.append([name, *cells])
    return table([head, *columns], lines)


def paragraphs(figures: dict[str, Any]) -> list[str]:
    """Return the generated part of the document."""
    seconds = figures["seconds"]
    share = seconds["from the file"] / seconds["decode, then embed"]
    restored = []
    for task, methods in figures["restored"].items():
        values = ", ".join(f"{method} {value:.2f} dB" for method, value in methods.items())
        restored.append(f"- **{task}**: {values}")
    return [
        f"{figures['images']} Kodak pictures, model {figures['model']}, quality 50.",
        "AUROC of telling damaged pictures from undamaged ones:",
        decimals_table(figures["anomalies"]["pictures"], "damage", 3),
        "AUROC of telling damaged cells of 16 x 16 pixels from others, mean over the pictures:",
        decimals_table(figures["anomalies"]["cells"], "damage", 3),
        "Recall at 1 of finding the original of a changed copy among all pictures:",
        decimals_table(figures["duplicates"], "change", 3),
        f"Features from a `.vae` file take {share:.2f} times as long as decoding the file and "
        "embedding the picture.",
        "Mean RGB-PSNR of restored pictures:",
        "\n".join(restored),
    ]
