"""Measures what docs/TASKS.md says of photographs: python -m vaecodec_bench.tasks.document IMAGES OUT [CHECKOUT]

OUT gets uses.json, the restored pictures and those of the document; CHECKOUT's document is rewritten.
"""

import json
import sys
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
from vaecodec.tasks.restore import INPUT_CHANNELS
from vaecodec.tasks.sample import sample
from vaecodec.tasks.score import heat_map, score
from vaecodec_bench.quality import write
from vaecodec_bench.report.markdown import rewrite, table
from vaecodec_bench.tasks import anomalies, near_duplicates, restoration

PICTURES = (
    "samples.png",
    "walk.png",
    "anomalies.png",
    "denoise.png",
    "inpaint.png",
    "superres.png",
)


def beside(pictures: Sequence[Image.Image], gap: int = 6) -> Image.Image:
    """Pictures in a row, on white."""
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    row = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    left = 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + gap
    return row


def generated(first: Image.Image, second: Image.Image, folder: Path) -> None:
    """samples.png: at temperature 1, and at 0.7; walk.png."""
    drawn = [sample(192, 192, seed, 50, temperature) for temperature in (1, 0.7) for seed in (7, 8)]
    beside(drawn).save(folder / "samples.png")
    beside(interpolate(Picture(first), Picture(second), 5), 0).save(folder / "walk.png")


def heat(image: Image.Image, other: Image.Image, folder: Path) -> None:
    """anomalies.png: blocks of noise and of stripes, and what the maps show of them."""
    rng = np.random.default_rng(1)
    damaged = anomalies.stripes(np.asarray(image), np.asarray(other), rng)
    damaged = anomalies.noisy_blocks(damaged, damaged, rng)
    found = score(Picture(damaged))
    maps = [
        heat_map(values, image.width, image.height)
        for values in (found.bits, found.excess_bits, found.error)
    ]
    beside([Image.fromarray(shown).reduce(2) for shown in (damaged, *maps)]).save(
        folder / "anomalies.png"
    )


def triptychs(original: Image.Image, number: int, folder: Path) -> None:
    """A detail of the damaged, the restored and the original picture, for each task."""
    box = (150, 200, 406, 392)
    for task in INPUT_CHANNELS:
        damaged, restored = (
            Image.open(folder / f"{task}-{number}{end}.png").convert("RGB")
            for end in ("", "-restored")
        )
        if damaged.size != original.size:
            damaged = damaged.resize(original.size, Image.Resampling.BICUBIC)
        beside([picture.crop(box) for picture in (damaged, restored, original)]).save(
            folder / f"{task}.png"
        )


def decimals(rows: dict[str, dict[str, float]], head: str, digits: int) -> str:
    """A table of figures, a row for each key."""
    columns = list(dict.fromkeys(name for values in rows.values() for name in values))
    return table(
        [head, *columns],
        [
            [
                name,
                *(
                    f"{values[column]:.{digits}f}" if column in values else "–"
                    for column in columns
                ),
            ]
            for name, values in rows.items()
        ],
    )


def paragraphs(found: dict[str, Any]) -> list[str]:
    """The generated part of the document."""
    times, restored = found["seconds"], found["restored"]
    lists = [
        f"- **{task}**: " + ", ".join(f"{way} {value:.2f} dB" for way, value in ways.items())
        for task, ways in restored.items()
    ]
    share = times["from the file"] / times["decode, then embed"]
    return [
        f"{found['images']} pictures of Kodak, model {found['model']}, quality 50.",
        "AUROC, a picture against damaged ones:",
        decimals(found["anomalies"]["pictures"], "damage", 3),
        "AUROC, cells of 16 x 16 pixels in damaged pictures (a mean over pictures):",
        decimals(found["anomalies"]["cells"], "damage", 3),
        "Recall at 1, a changed copy among the pictures:",
        decimals(found["duplicates"], "change", 3),
        f"Features from a `.vae` file take {share:.2f} of the time of decoding it and embedding the picture.",
        "Mean RGB-PSNR of restored pictures:",
        "\n".join(lists),
    ]


def main(folder: Path, out: Path, checkout: Path | None) -> None:
    names = [Path(name) for name in images_in(folder)]
    pictures = [read_image(name).convert("RGB") for name in names]
    if len(pictures) < 2:
        raise VaecodecError(
            f"{folder}: holds a single picture, and pictures are compared with each other here"
        )
    make_folder(out)
    last = pictures[-1]
    generated(last.reduce(3), next(p for p in pictures if p.size == last.size).reduce(3), out)
    heat(last, pictures[0], out)
    found = {
        "images": len(pictures),
        "model": registry.load_model().id,
        "restored": restoration.measure(names, out),
        "duplicates": near_duplicates.measure(pictures),
        "seconds": near_duplicates.speed(pictures[:8]),
        "anomalies": anomalies.measure([np.asarray(p) for p in pictures]),
    }
    triptychs(last, len(pictures) - 1, out)
    write(out / "uses.json", (json.dumps(found, indent=1) + "\n").encode())
    text = paragraphs(found)
    print("\n\n".join(text))
    if checkout is not None:
        rewrite(checkout / "docs" / "TASKS.md", text)
        make_folder(checkout / "docs" / "tasks")
        for name in PICTURES:
            write(checkout / "docs" / "tasks" / name, (out / name).read_bytes())


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    except VaecodecError as error:
        sys.exit(f"uses: {error}")
