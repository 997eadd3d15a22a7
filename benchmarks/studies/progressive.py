"""What the beginning of a file shows, beside JPEG's progressive mode: python progressive.py IMAGES OUT.png

For every image: a .vae file, the progressive JPEG nearest to it in size, both cut at the same shares of their bytes.
"""

import io
import sys
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


def jpeg_like(image: Image.Image, size: int) -> bytes:
    """The progressive JPEG nearest to `size` bytes."""
    files = []
    for quality in range(1, 96):
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality, progressive=True, optimize=True)
        files.append(out.getvalue())
    return min(files, key=lambda file: abs(len(file) - size))


def shown(image: Image.Image, data: bytes, ours: bool) -> float:
    """PSNR in dB of what a cut file shows; of a grey picture where it shows nothing."""
    try:
        decoded = (
            vaecodec.decode(data, preview=True)
            if ours
            else Image.open(io.BytesIO(data)).convert("RGB")
        )
    except (VaecodecError, OSError):
        decoded = Image.new("RGB", image.size, (128, 128, 128))
    return psnr(np.asarray(image), np.asarray(decoded))


def main(folder: Path, out: Path) -> None:
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    curves: dict[str, list[list[float]]] = {"vaecodec": [], "JPEG, progressive": []}
    for name in images_in(folder):
        image = read_image(Path(name)).convert("RGB")
        ours = vaecodec.encode(image, QUALITY, progressive=True)
        files = {"vaecodec": ours, "JPEG, progressive": jpeg_like(image, len(ours))}
        for codec, data in files.items():
            curves[codec].append(
                [
                    shown(image, data[: round(len(data) * share)], codec == "vaecodec")
                    for share in SHARES
                ]
            )
    figure = Figure(figsize=(8, 5), dpi=130, layout="constrained")
    axes = figure.subplots()
    for codec, rows in curves.items():
        means = [fmean(column) for column in zip(*rows, strict=True)]
        axes.plot([100 * share for share in SHARES], means, marker="o", markersize=4, label=codec)
        print(
            codec,
            *(
                f"{100 * share:g} %: {value:.2f} dB,"
                for share, value in zip(SHARES, means, strict=True)
            ),
        )
    axes.set(
        xlabel="share of the file's bytes (%)",
        ylabel="RGB-PSNR (dB)",
        title=f"Cut files of equal size, mean of {len(rows)} images, vaecodec at quality {QUALITY}",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
