"""Memory and time of large pictures, and of regions of one: python large.py IMAGES OUT.png [MEGAPIXELS...]

The pictures are mosaics of the images in a folder, enlarged twofold. Each command runs in a process of its own; what it
takes beyond the pixels (4 bytes each, as Pillow holds them) is its peak resident memory less those.
"""

import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import vaecodec
from vaecodec.image.files import images_in, read_image


def mosaic(files: list[str], megapixels: float) -> Image.Image:
    width = round((megapixels * 1.5e6) ** 0.5)
    out = Image.new("RGB", (width, round(megapixels * 1e6 / width)))
    x, y, height, number = -300, -200, 0, 0  # so that the images' edges are not those of tiles
    while y < out.height:
        image = read_image(Path(files[number % len(files)])).convert("RGB")
        image = image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC)
        out.paste(image, (x, y))
        x, height, number = x + image.width, max(height, image.height), number + 1
        if x >= out.width:
            x, y, height = -300, y + height, 0
    return out


def measured(*command: str) -> tuple[float, float]:
    """Seconds and peak megabytes of a `vaecodec` command."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "vaecodec", *command])
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"vaecodec {command[0]} failed")
    return time.perf_counter() - start, usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


class Counting(io.FileIO):
    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(-1 if size is None else size)
        self.taken += len(data)
        return data


def regions(file: Path) -> None:
    """Time and bytes of squares of growing size from the middle of a file, relative to the whole."""
    header = vaecodec.probe(file.read_bytes()[:26])
    rows = []
    for side in (64, 256, 1024, 2048, 0):
        region = (
            (header.width // 2 - side // 2, header.height // 2 - side // 2, side, side)
            if side
            else None
        )
        with Counting(file) as opened:
            start = time.perf_counter()
            vaecodec.decode(opened, region=region)
            rows.append(
                (f"{side} x {side}" if side else "all", time.perf_counter() - start, opened.taken)
            )
    for name, seconds, taken in rows:
        print(
            f"| {name} | {100 * seconds / rows[-1][1]:.1f} % | {100 * taken / rows[-1][2]:.1f} % |"
        )


def seams(source: Path, coded: Path) -> None:
    """How much the error jumps from one pixel to the next across the edges of tiles, and elsewhere: the mean over both ways."""
    error = np.asarray(read_image(source), np.int16) - np.asarray(
        vaecodec.decode(coded.read_bytes()), np.int16
    )
    side = 1 << vaecodec.probe(coded.read_bytes()[:26]).tile_log2
    at_edges, elsewhere = [], []
    for jumps in (
        np.abs(np.diff(error, axis=0)).mean((1, 2)),
        np.abs(np.diff(error, axis=1)).mean((0, 2)),
    ):
        edges = np.arange(len(jumps)) % side == side - 1
        at_edges.append(jumps[edges].mean())
        elsewhere.append(jumps[(np.arange(len(jumps)) % 16 == 15) & ~edges].mean())
    print(
        f"error's jump across edges of tiles {np.mean(at_edges):.3f} grey levels, of other cells {np.mean(elsewhere):.3f}"
    )


def main(folder: Path, out: Path, sizes: list[float]) -> None:
    files = images_in(folder)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        source, coded, decoded = (Path(scratch) / name for name in ("a.png", "a.vae", "b.bmp"))
        for megapixels in sizes:
            image = mosaic(files, megapixels)
            pixels = image.width * image.height
            image.save(source, compress_level=1)
            del image
            encoding, first = measured("encode", str(source), str(coded), "--force", "--quiet")
            decoding, second = measured("decode", str(coded), str(decoded), "--force", "--quiet")
            rows.append(
                (pixels / 1e6, first - 4e-6 * pixels, second - 4e-6 * pixels, encoding, decoding)
            )
            print(
                "| {:.0f} | {:.0f} MB | {:.0f} MB | {:.1f} s | {:.1f} s |".format(*rows[-1]),
                flush=True,
            )
            if megapixels == 40:
                seams(source, coded)
        regions(coded)
    figure = Figure(figsize=(8, 4.5), dpi=130, layout="constrained")
    axes = figure.subplots()
    for column, name in ((1, "encode"), (2, "decode")):
        axes.plot([row[0] for row in rows], [row[column] for row in rows], marker="o", label=name)
    axes.set(
        xlabel="megapixels",
        ylabel="peak memory beyond the pixels (MB)",
        ylim=(0, 650),
        xscale="log",
        title="Memory of the command line, whole process",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out)


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        [float(size) for size in sys.argv[3:]] or [1, 4, 16, 40, 100],
    )
