"""The rate–distortion benchmark: every size is that of a file on disk, every picture decoded from that file."""

import multiprocessing
import platform
import signal
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

import vaecodec
from vaecodec.cli.errors import print_error
from vaecodec.coding.tile_pool import available_cores
from vaecodec.errors import VaecodecError
from vaecodec.image.files import images_in, make_folder, read_image, write_file
from vaecodec_bench import metrics, results
from vaecodec_bench.peers import Codec, available, named
from vaecodec_bench.results import Results, Sample


def run(
    folder: Path,
    out: Path,
    model: str | None,
    jobs: int,
    metric_names: str = "psnr",
    resume: bool = False,
) -> Results:
    """Measure all installed codecs on the images in `folder`, and write results.json and results.csv into `out`.

    An image that cannot be read, and each pair of codec and image that fails, is named on standard error and in the results,
    and the rest goes on; after an interrupt the results hold what was measured. model: of vaecodec. jobs: processes, 0 is
    one a core. metric_names: separated by commas. resume: see `measured`. Raises VaecodecError.
    """
    paths = [Path(name) for name in images_in(folder)]
    names, metric_versions, missing_metrics = metrics.chosen(metric_names)
    codecs, versions, missing = available(model)
    missing |= missing_metrics
    found = Results(
        {
            "vaecodec": vaecodec.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
        }
        | {name: version(name) for name in ("numpy", "pillow", "onnxruntime", "scipy")},
        metric_versions,
        versions,
        missing,
    )
    for name, reason in missing.items():
        print_error(f"{name} is left out", VaecodecError(reason))
    make_folder(out)
    images = []
    for path in paths:
        try:
            found.images[path.name] = read_rgb(path).size
            images.append(path)
        except VaecodecError as error:
            print_error(str(path), error)
            found.failures.append(("", path.name, str(error)))
    if resume:
        found.samples = measured(out / "results.json", found, codecs)
    done = {(s.codec, s.image) for s in found.samples}
    pairs = [
        (codec, path)
        for path in images
        for codec in codecs.values()
        if codec.qualities and (codec.name, path.name) not in done
    ]
    _measure_all(pairs, found, model, names, jobs or available_cores())
    if not found.samples:
        raise VaecodecError(f"{folder}: none of its images could be measured")
    order = list(found.codecs)
    found.samples.sort(
        key=lambda s: (order.index(s.codec), s.image, s.quality)
    )  # not in that of finishing
    write(out / "results.json", results.to_json(found))
    write(out / "results.csv", results.to_csv(found))
    return found


def measured(earlier: Path, now: Results, codecs: dict[str, Codec]) -> list[Sample]:
    """What of an earlier run still holds: samples of images of the same name and size, from the same version of a codec at the
    same qualities, where all software and metrics are the same as well. Raises VaecodecError where it is no results.json."""
    before = results.read(earlier) if earlier.exists() else now
    if (before.software, before.metrics) != (now.software, now.metrics):
        return []
    same = {name for name in codecs if before.codecs.get(name) == now.codecs[name]}
    images = {
        name for name, size in now.images.items() if tuple(before.images.get(name, ())) == size
    }
    kept = [s for s in before.samples if s.codec in same and s.image in images]
    whole = {
        (c.name, i)
        for c in codecs.values()
        for i in images
        if [s.quality for s in kept if (s.codec, s.image) == (c.name, i)] == sorted(c.qualities)
    }
    return [s for s in kept if (s.codec, s.image) in whole]


def read_rgb(path: Path) -> Image.Image:
    """The picture in a file, as RGB without comments and profiles, which some codecs would put into their files.

    Raises VaecodecError.
    """
    try:
        return Image.fromarray(np.asarray(read_image(path.read_bytes()).convert("RGB")))
    except OSError as error:
        raise VaecodecError(f"cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise VaecodecError(f"cannot be converted to RGB ({error})") from None


def write(path: Path, data: bytes) -> None:
    """Write all of a file or nothing. Raises VaecodecError."""
    try:
        write_file(path, data)
    except OSError as error:
        raise VaecodecError(f"{path}: cannot be written ({error.strerror})") from None


def _measure_all(
    pairs: Sequence[tuple[Codec, Path]],
    found: Results,
    model: str | None,
    names: list[str],
    jobs: int,
) -> None:
    """Add the samples and failures of all pairs to `found`."""
    with (
        Progress(console=Console(stderr=True), transient=True) as progress,
        _executor(jobs) as pool,
    ):
        task = progress.add_task("", total=len(pairs))
        waiting: dict[Future[list[Sample]], tuple[Codec, Path]] = {}
        try:
            if pool is None:
                for codec, path in pairs:
                    progress.update(task, description=f"{path.name}, {codec.name}")
                    try:
                        found.samples += measure_pair(codec, path, names)
                    except VaecodecError as error:
                        _failed(found, codec, path, error)
                    progress.advance(task)
                return
            waiting = {
                pool.submit(_measure_named, codec.name, model, path, names): (codec, path)
                for codec, path in pairs
            }
            for future in as_completed(waiting):
                codec, path = waiting[future]
                progress.update(task, description=f"{path.name}, {codec.name}", advance=1)
                try:
                    found.samples += future.result()
                except (
                    VaecodecError,
                    BrokenExecutor,
                ) as error:  # the second: its process was killed
                    _failed(found, codec, path, error)
        except KeyboardInterrupt:
            found.interrupted = True
            print_error(
                "interrupted", VaecodecError("the report holds what was measured until then")
            )
            for future in waiting:
                future.cancel()


def _failed(found: Results, codec: Codec, path: Path, error: Exception) -> None:
    print_error(f"{path}: {codec.name}", error)
    found.failures.append((codec.name, path.name, str(error)))


@contextmanager
def _executor(jobs: int) -> Iterator[ProcessPoolExecutor | None]:
    """Processes to measure in; None, for this one, where one suffices."""
    if jobs == 1:
        yield None
        return
    with ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), _ignore_interrupts
    ) as pool:
        yield pool


def _ignore_interrupts() -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C goes to all processes of a terminal; the first one handles it


def _measure_named(name: str, model: str | None, path: Path, names: list[str]) -> list[Sample]:
    """measure_pair in another process: codecs hold functions, which cannot be sent there."""
    return measure_pair(named(name, model), path, names)


def measure_pair(codec: Codec, path: Path, names: list[str]) -> list[Sample]:
    """One image's samples from one codec, at each of its qualities. Raises VaecodecError where any of them fails."""
    image = read_rgb(path)
    pixels = np.asarray(image)
    samples = []
    with tempfile.TemporaryDirectory(prefix="vaecodec-bench-") as scratch:
        file = Path(scratch) / "file"
        for quality in codec.qualities:
            try:
                file.write_bytes(codec.encode(image, quality, 1))
                decoded = np.asarray(codec.decode(file.read_bytes(), 1))
                if decoded.shape != pixels.shape:
                    raise VaecodecError(f"decoded to shape {decoded.shape}, not {pixels.shape}")
                size = file.stat().st_size
                samples.append(
                    Sample(
                        codec.name,
                        path.name,
                        quality,
                        size,
                        size * 8 / (image.width * image.height),
                        metrics.measure(names, pixels, decoded),
                    )
                )
            except (
                Exception
            ) as error:  # codecs raise many kinds, and the others can still be measured
                raise VaecodecError(f"failed at quality {quality:g} ({error})") from None
    return samples


def show(found: Results) -> None:
    """Print the BD-rates, one table an anchor, and on how many pictures each rests."""
    rates = found.bd_rates()
    for anchor in dict.fromkeys(row["anchor"] for row in rates):
        table = Table(
            f"BD-rate vs {anchor}",
            *(Column(metric, justify="right") for metric in found.metrics),
            Column("images", justify="right"),
        )
        for codec in found.curves_of():
            mine = {
                row["metric"]: row["rate"]
                for row in rates
                if row["codec"] == codec and row["anchor"] == anchor
            }
            images = max(len(found.images_of(codec, metric)) for metric in found.metrics)
            table.add_row(
                codec,
                *(percent(mine.get(metric)) for metric in found.metrics),
                f"{images} of {len(found.images)}",
            )
        Console(highlight=False).print(table)


def percent(rate: float | None) -> str:
    """A BD-rate for people."""
    return "–" if rate is None else f"{rate:+.1f} %".replace("-", "\N{MINUS SIGN}")
