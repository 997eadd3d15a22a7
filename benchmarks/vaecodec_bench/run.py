"""The rate-distortion benchmark: every size is that of a file on disk, every picture decoded from that file."""
import json
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

import vaecodec
from vaecodec.batch import complain, images_in
from vaecodec.errors import VaecodecError
from vaecodec.pixels import read_image, write_file
from vaecodec.search import psnr
from vaecodec_bench.bd import Curve, bd_rate
from vaecodec_bench.codecs import Codec, all_codecs
from vaecodec_bench.plot import rd_png

HIGHEST_PSNR = 100.0  # dB; also of a picture that comes back exactly, so that means stay finite


@dataclass(frozen=True)
class Sample:
    """One image at one quality: the file's size in bytes and in bits per pixel, the decoded picture's PSNR in dB."""

    name: str
    bytes: int
    bpp: float
    psnr: float


@dataclass(frozen=True)
class Point:
    """A codec at one quality: means over the images of bits per pixel and of PSNR in dB."""

    quality: float
    bpp: float
    psnr: float
    images: tuple[Sample, ...]


def run(folder: Path, out: Path, model: str | None, threads: int) -> int:
    """Measure all codecs on the images in `folder` and write results.json and rd.png into the folder `out`.

    An image that cannot be read, or that any of the codecs fails on, is named on standard error and left out for all.
    model, threads: of vaecodec. Returns the number of images left out. Raises VaecodecError.
    """
    paths = [Path(name) for name in images_in(folder, None)]
    codecs = all_codecs(model, threads)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VaecodecError(f"{out}: cannot be created ({error.strerror})") from None
    rows = _measure_all(paths, codecs)
    if not rows:
        raise VaecodecError(f"{folder}: none of its images could be measured")
    points = _points(rows, codecs)
    curves = {name: [(point.bpp, point.psnr) for point in line] for name, line in points.items()}
    rates = _bd_rates(curves)
    results = {
        "software": {"vaecodec": vaecodec.__version__, "python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "pillow", "onnxruntime", "scipy")},
        "images": [row[0].name for row in rows],
        "codecs": {codec.name: {"version": codec.version, "points": [asdict(p) for p in points[codec.name]]}
                   for codec in codecs},
        "bd_rate": rates,
    }
    _write(out / "results.json", (json.dumps(results, indent=1, allow_nan=False) + "\n").encode())
    summary = [_sentence(pair, rate) for pair, rate in rates.items()]
    _write(out / "rd.png", rd_png(curves, "\n".join([f"Mean of {len(rows)} image{'s' * (len(rows) > 1)}", *summary])))
    _show(points, summary)
    return len(paths) - len(rows)


def _measure_all(paths: Sequence[Path], codecs: Sequence[Codec]) -> list[tuple[Sample, ...]]:
    """For each image that nothing fails on, its samples: codec by codec, quality by quality."""
    rows: list[tuple[Sample, ...]] = []
    steps = sum(len(codec.qualities) for codec in codecs)
    with (Progress(console=Console(stderr=True), transient=True) as progress,
          tempfile.TemporaryDirectory(prefix="vaecodec-bench-") as scratch):
        task = progress.add_task("", total=len(paths) * steps)
        for number, path in enumerate(paths, 1):
            progress.update(task, description=path.name)
            try:
                rows.append(_measure(path, codecs, Path(scratch) / "file", lambda: progress.advance(task)))
            except VaecodecError as error:
                complain(str(path), error)
            progress.update(task, completed=number * steps)
    return rows


def _measure(path: Path, codecs: Sequence[Codec], file: Path, advance: Callable[[], None]) -> tuple[Sample, ...]:
    """One image's samples. file: where the codecs' files go, one after another. Raises VaecodecError."""
    try:
        pixels = np.asarray(read_image(path.read_bytes()).convert("RGB"))
    except OSError as error:
        raise VaecodecError(f"cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise VaecodecError(f"cannot be converted to RGB ({error})") from None
    image = Image.fromarray(pixels)  # without comments and profiles, which some codecs would put into their files
    samples = []
    for codec in codecs:
        for quality in codec.qualities:
            try:
                file.write_bytes(codec.encode(image, quality))
                decoded = np.asarray(codec.decode(file.read_bytes()))
                if decoded.shape != pixels.shape:
                    raise VaecodecError(f"decoded to shape {decoded.shape}, not {pixels.shape}")
            except Exception as error:  # codecs raise many kinds, and the other images can still be measured
                raise VaecodecError(f"{codec.name} failed at quality {quality:g} ({error})") from None
            size = file.stat().st_size
            samples.append(Sample(path.name, size, size * 8 / (image.width * image.height),
                                  min(psnr(pixels, decoded), HIGHEST_PSNR)))
            advance()
    return tuple(samples)


def _points(rows: Sequence[tuple[Sample, ...]], codecs: Sequence[Codec]) -> dict[str, list[Point]]:
    """The curve of each codec, by its name. rows: as from _measure_all."""
    points: dict[str, list[Point]] = {codec.name: [] for codec in codecs}
    settings = [(codec.name, quality) for codec in codecs for quality in codec.qualities]
    for (name, quality), samples in zip(settings, zip(*rows, strict=True), strict=True):
        points[name].append(Point(quality, fmean(s.bpp for s in samples), fmean(s.psnr for s in samples), samples))
    return points


def _bd_rates(curves: Mapping[str, Curve]) -> dict[str, float | None]:
    """BD-rate in percent of the first codec against each other one; None where the curves allow none."""
    (ours, test), *others = curves.items()
    rates: dict[str, float | None] = {}
    for name, anchor in others:
        pair = f"{ours} vs {name}"
        try:
            rates[pair] = bd_rate(anchor, test)
        except ValueError as error:
            rates[pair] = None
            complain(f"BD-rate of {pair}", error)
    return rates


def _sentence(pair: str, rate: float | None) -> str:
    return f"BD-rate of {pair}: " + ("undefined" if rate is None else f"{rate:+.2f} %".replace("-", "\N{MINUS SIGN}"))


def _write(path: Path, data: bytes) -> None:
    try:
        write_file(path, data)
    except OSError as error:
        raise VaecodecError(f"{path}: cannot be written ({error.strerror})") from None


def _show(points: dict[str, list[Point]], summary: Sequence[str]) -> None:
    """Print the curves and the BD-rates."""
    table = Table("codec", *(Column(name, justify="right") for name in ("quality", "bits per pixel", "RGB-PSNR (dB)")))
    for name, line in points.items():
        for point in line:
            table.add_row(name, f"{point.quality:g}", f"{point.bpp:.4f}", f"{point.psnr:.2f}")
        table.add_section()
    Console(highlight=False).print(table, *summary, sep="\n")
