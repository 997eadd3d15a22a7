"""Compare truncated .vae files with truncated progressive JPEG files.

For each image, a progressive .vae file and the progressive JPEG file closest to it in size are both
truncated to the same shares of their bytes. The diagram shows the mean PSNR.
"""

import argparse
import io
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageFile

import vaecodec
from vaecodec.errors import VaecodecError
from vaecodec.image.files import images_in, read_image
from vaecodec.metrics import psnr

SHARES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
QUALITY = 60
OURS = "vaecodec"
JPEG = "JPEG, progressive"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of images")
    parser.add_argument("output", type=Path, help="the diagram, such as progressive.png")
    arguments = parser.parse_args()
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    curves = measure(arguments.folder)
    for codec, curve in curves.items():
        points = [
            f"{100 * share:g} %: {db:.2f} dB" for share, db in zip(SHARES, curve, strict=True)
        ]
        print(f"{codec}: {', '.join(points)}")
    draw(curves, len(images_in(arguments.folder)), arguments.output)


def measure(folder: Path) -> dict[str, list[float]]:
    """Return each codec's mean PSNR in dB at each share in SHARES."""
    rows: dict[str, list[list[float]]] = {OURS: [], JPEG: []}
    for name in images_in(folder):
        image = read_image(Path(name)).convert("RGB")
        ours = vaecodec.encode(image, QUALITY, progressive=True)
        files = {OURS: ours, JPEG: jpeg_of_size(image, len(ours))}
        for codec, data in files.items():
            row = []
            for share in SHARES:
                truncated = data[: round(len(data) * share)]
                row.append(psnr_of_truncated(image, truncated, codec))
            rows[codec].append(row)
    means = {}
    for codec, values in rows.items():
        means[codec] = [fmean(column) for column in zip(*values, strict=True)]
    return means


def jpeg_of_size(image: Image.Image, size: int) -> bytes:
    """Return the progressive JPEG file whose size is closest to `size` bytes."""
    files = []
    for quality in range(1, 96):
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality, progressive=True, optimize=True)
        files.append(out.getvalue())
    return min(files, key=lambda file: abs(len(file) - size))


def psnr_of_truncated(image: Image.Image, data: bytes, codec: str) -> float:
    """Return the PSNR in dB of a truncated file. One that cannot be decoded counts as grey."""
    try:
        if codec == OURS:
            decoded = vaecodec.decode(data, tolerant=True)
        else:
            decoded = Image.open(io.BytesIO(data)).convert("RGB")
    except (VaecodecError, OSError):
        decoded = Image.new("RGB", image.size, (128, 128, 128))
    return psnr(np.asarray(image), np.asarray(decoded))


def draw(curves: dict[str, list[float]], images: int, output: Path) -> None:
    figure = Figure(figsize=(8, 5), dpi=130, layout="constrained")
    axes = figure.subplots()
    for codec, curve in curves.items():
        percent = [100 * share for share in SHARES]
        axes.plot(percent, curve, marker="o", markersize=4, label=codec)
    axes.set(
        xlabel="share of the file's bytes (%)",
        ylabel="RGB-PSNR (dB)",
        title=f"Truncated files of equal size, mean of {images} images, "
        f"vaecodec at quality {QUALITY}",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(output)


if __name__ == "__main__":
    main()
