"""Measure memory and time of large pictures, and of regions of a large picture.

The pictures are mosaics of the images in a folder, enlarged twofold. Each command runs in its own
process. Its memory beyond the pixels is its peak resident memory minus 4 bytes per pixel, which is
what Pillow takes for the picture.
"""

import argparse
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

BYTES_PER_PIXEL = 4
SEAMS_MEGAPIXELS = 40  # the size of picture whose tile borders are measured
REGION_SIDES = (64, 256, 1024, 2048)
CELL_SIDE = 16  # pixels
HEADER_SIZE = 26  # bytes

Row = tuple[float, float, float]  # megapixels, then megabytes of encoding and of decoding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of images")
    parser.add_argument("output", type=Path, help="the diagram, such as memory.png")
    parser.add_argument("megapixels", type=float, nargs="*", default=[1, 4, 16, 40, 100])
    arguments = parser.parse_args()
    files = images_in(arguments.folder)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for megapixels in arguments.megapixels:
            rows.append(measure_size(files, megapixels, Path(scratch)))
        print_regions(Path(scratch) / "large.vae")
    draw(rows, arguments.output)


def measure_size(files: list[str], megapixels: float, scratch: Path) -> Row:
    """Encode and decode a mosaic with the command line and print its memory and times."""
    source = scratch / "large.png"
    coded = scratch / "large.vae"
    image = mosaic(files, megapixels)
    pixels = image.width * image.height
    image.save(source, compress_level=1)
    del image
    options = ("--force", "--quiet")
    encode_seconds, encode_peak = run_vaecodec("encode", str(source), str(coded), *options)
    decoded = str(scratch / "large.bmp")
    decode_seconds, decode_peak = run_vaecodec("decode", str(coded), decoded, *options)
    pixel_megabytes = BYTES_PER_PIXEL * pixels / 1e6
    row = (pixels / 1e6, encode_peak - pixel_megabytes, decode_peak - pixel_megabytes)
    print(
        f"| {row[0]:.0f} | {row[1]:.0f} MB | {row[2]:.0f} MB "
        f"| {encode_seconds:.1f} s | {decode_seconds:.1f} s |",
        flush=True,
    )
    if megapixels == SEAMS_MEGAPIXELS:
        print_seams(source, coded)
    return row


def mosaic(files: list[str], megapixels: float) -> Image.Image:
    """Fill a picture with enlarged images, in rows as high as their highest image."""
    width = round((megapixels * 1.5e6) ** 0.5)
    out = Image.new("RGB", (width, round(megapixels * 1e6 / width)))
    start = -300
    x = start
    y = -200  # offsets, so that the borders of the images are not those of tiles
    row_height = 0
    number = 0
    while y < out.height:
        image = read_image(Path(files[number % len(files)])).convert("RGB")
        image = image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC)
        out.paste(image, (x, y))
        x += image.width
        row_height = max(row_height, image.height)
        number += 1
        if x >= out.width:
            x = start
            y += row_height
            row_height = 0
    return out


def run_vaecodec(*arguments: str) -> tuple[float, float]:
    """Run a `vaecodec` command and return its seconds and its peak memory in megabytes."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "vaecodec", *arguments])
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"vaecodec {arguments[0]} failed")
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes on macOS, kibibytes elsewhere
    return time.perf_counter() - start, usage.ru_maxrss / unit


class CountingFile(io.FileIO):
    """A file that counts the bytes read from it."""

    bytes_read = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(-1 if size is None else size)
        self.bytes_read += len(data)
        return data


def print_regions(path: Path) -> None:
    """Print the time and bytes that square regions need, relative to the whole picture."""
    header = vaecodec.probe(path.read_bytes()[:HEADER_SIZE])
    rows = []
    for side in REGION_SIDES:
        left = header.width // 2 - side // 2
        top = header.height // 2 - side // 2
        rows.append((f"{side} x {side}", *decode_region(path, (left, top, side, side))))
    rows.append(("all", *decode_region(path, None)))
    _, whole_seconds, whole_bytes = rows[-1]
    for name, seconds, bytes_read in rows:
        time_share = 100 * seconds / whole_seconds
        bytes_share = 100 * bytes_read / whole_bytes
        print(f"| {name} | {time_share:.1f} % | {bytes_share:.1f} % |")


def decode_region(path: Path, region: tuple[int, int, int, int] | None) -> tuple[float, int]:
    """Decode a region, or everything, and return the seconds and the number of bytes read."""
    with CountingFile(path) as file:
        start = time.perf_counter()
        vaecodec.decode(file, region=region)
        return time.perf_counter() - start, file.bytes_read


def print_seams(source: Path, coded: Path) -> None:
    """Print how much the error changes across the borders of tiles and of other cells.

    Both are means over the two directions of the absolute difference of neighbouring errors.
    """
    data = coded.read_bytes()
    decoded = np.asarray(vaecodec.decode(data), np.int16)
    error = np.asarray(read_image(source), np.int16) - decoded
    tile_side = 1 << vaecodec.probe(data[:HEADER_SIZE]).tile_log2
    at_tiles = []
    at_cells = []
    for axis in (0, 1):
        jumps = np.abs(np.diff(error, axis=axis)).mean((1 - axis, 2))
        places = np.arange(len(jumps))
        tile_borders = places % tile_side == tile_side - 1
        cell_borders = places % CELL_SIDE == CELL_SIDE - 1
        at_tiles.append(jumps[tile_borders].mean())
        at_cells.append(jumps[cell_borders & ~tile_borders].mean())
    print(
        f"change of the error across borders of tiles: {np.mean(at_tiles):.3f} grey levels, "
        f"of other cells: {np.mean(at_cells):.3f}"
    )


def draw(rows: list[Row], output: Path) -> None:
    figure = Figure(figsize=(8, 4.5), dpi=130, layout="constrained")
    axes = figure.subplots()
    megapixels = [row[0] for row in rows]
    axes.plot(megapixels, [row[1] for row in rows], marker="o", label="encode")
    axes.plot(megapixels, [row[2] for row in rows], marker="o", label="decode")
    axes.set(
        xlabel="megapixels",
        ylabel="peak memory beyond the pixels (MB)",
        ylim=(0, 650),
        xscale="log",
        title="Memory of a vaecodec process",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(output)


if __name__ == "__main__":
    main()
