"""The rate-distortion benchmark.

Every size is that of a file on disk, and every picture is decoded from that file.
"""

import multiprocessing
import platform
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.progress import Progress

import vaecodec
from vaecodec.engine.workers import available_cores
from vaecodec.errors import VaecodecError
from vaecodec.image.files import images_in, make_folder
from vaecodec_bench import metrics, results
from vaecodec_bench.console import complain
from vaecodec_bench.files import read_rgb, write
from vaecodec_bench.peers import Peer, installed_peers, load_peer
from vaecodec_bench.results import Results, Sample

Pair = tuple[Peer, Path]


def measure_quality(
    folder: Path,
    out: Path,
    model: str | None,
    jobs: int,
    metric_names: str = "psnr",
    resume: bool = False,
) -> Results:
    """Measure all installed codecs on the images in `folder` and write the results into `out`.

    The files are results.json and results.csv. A failure of an image, or of one codec on one
    image, is printed on standard error, recorded in the results, and does not stop the run. After
    an interrupt the results hold what was measured so far.

    Args:
        folder: A folder of images.
        out: Folder of the report. It is created if necessary.
        model: Id or folder of vaecodec's model, None for the default one.
        jobs: Number of processes, 0 for one per core.
        metric_names: Separated by commas.
        resume: Keep the samples of an earlier run that `reusable_samples` accepts.

    Raises:
        VaecodecError: The folder or the metrics cannot be used, or nothing could be measured.
    """
    paths = [Path(name) for name in images_in(folder)]
    metric_versions, missing_metrics = metrics.choose_metrics(metric_names)
    peers, versions, missing_peers = installed_peers(model)
    missing = missing_peers | missing_metrics
    run = Results(_software_versions(), metric_versions, versions, missing)
    for name, reason in missing.items():
        complain(f"{name} is left out", reason)
    make_folder(out)
    readable = _readable_images(paths, run)
    if resume:
        run.samples = reusable_samples(out / "results.json", run, peers)
    done = {(sample.codec, sample.image) for sample in run.samples}
    pairs = []
    for path in readable:
        for peer in peers.values():
            if peer.qualities and (peer.name, path.name) not in done:
                pairs.append((peer, path))
    _measure_pairs(pairs, run, model, list(metric_versions), jobs or available_cores())
    if not run.samples:
        raise VaecodecError(f"{folder}: none of its images could be measured")
    order = list(run.codecs)
    run.samples.sort(key=lambda s: (order.index(s.codec), s.image, s.quality))
    write(out / "results.json", results.to_json(run))
    write(out / "results.csv", results.to_csv(run))
    return run


def _software_versions() -> dict[str, str]:
    versions = {
        "vaecodec": vaecodec.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    for package in ("numpy", "pillow", "onnxruntime", "scipy"):
        versions[package] = version(package)
    return versions


def _readable_images(paths: Sequence[Path], run: Results) -> list[Path]:
    """Record the size of each image in `run`, or its failure, and return the readable ones."""
    readable = []
    for path in paths:
        try:
            run.images[path.name] = read_rgb(path).size
            readable.append(path)
        except VaecodecError as error:
            complain(str(path), error)
            run.failures.append(("", path.name, str(error)))
    return readable


def reusable_samples(earlier: Path, run: Results, peers: dict[str, Peer]) -> list[Sample]:
    """Return the samples of an earlier run that the new run would only repeat.

    The software and the metrics must be the same in both runs. A sample is kept if its codec has
    the same version, its image has the same name and size, and the codec was measured on that
    image at the same qualities.

    Args:
        earlier: The results.json of the earlier run. It may be missing.
        run: The new run, without samples.
        peers: The codecs of the new run.

    Raises:
        VaecodecError: The file is not a results.json.
    """
    if not earlier.exists():
        return []
    before = results.read(earlier)
    if (before.software, before.metrics) != (run.software, run.metrics):
        return []
    by_pair: dict[tuple[str, str], list[Sample]] = {}
    for sample in before.samples:
        by_pair.setdefault((sample.codec, sample.image), []).append(sample)
    kept: list[Sample] = []
    for (codec, image), samples in by_pair.items():
        if codec not in peers or before.codecs[codec] != run.codecs[codec]:
            continue
        if image not in run.images or tuple(before.images[image]) != run.images[image]:
            continue
        if [sample.quality for sample in samples] == sorted(peers[codec].qualities):
            kept += samples
    return kept


def _measure_pairs(
    pairs: Sequence[Pair], run: Results, model: str | None, metric_names: list[str], jobs: int
) -> None:
    """Add the samples and failures of all pairs of codec and image to `run`."""
    waiting: dict[Future[list[Sample]], Pair] = {}
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as progress, _process_pool(jobs) as pool:
        bar = progress.add_task("", total=len(pairs))
        try:
            if pool is None:
                for peer, path in pairs:
                    progress.update(bar, description=f"{path.name}, {peer.name}")
                    _record(run, peer, path, partial(measure_pair, peer, path, metric_names))
                    progress.advance(bar)
                return
            for peer, path in pairs:
                future = pool.submit(_measure_in_process, peer.name, model, path, metric_names)
                waiting[future] = (peer, path)
            for future in as_completed(waiting):
                peer, path = waiting[future]
                progress.update(bar, description=f"{path.name}, {peer.name}", advance=1)
                _record(run, peer, path, future.result)
        except KeyboardInterrupt:
            run.interrupted = True
            complain("interrupted", "the report holds what was measured so far")
            for future in waiting:
                future.cancel()


def _record(run: Results, peer: Peer, path: Path, measure: Callable[[], list[Sample]]) -> None:
    """Add the samples that `measure` returns to `run`, or its failure."""
    try:
        run.samples += measure()
    except (VaecodecError, BrokenExecutor) as error:  # the latter if its process was killed
        complain(f"{path}: {peer.name}", error)
        run.failures.append((peer.name, path.name, str(error)))


@contextmanager
def _process_pool(jobs: int) -> Iterator[ProcessPoolExecutor | None]:
    """Start processes to measure in. The pool is None for a single job, which needs no process."""
    if jobs == 1:
        yield None
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, spawn, _ignore_interrupts) as pool:
        yield pool


def _ignore_interrupts() -> None:
    # Ctrl-C reaches all processes of a terminal, and only the first one handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _measure_in_process(
    name: str, model: str | None, path: Path, metric_names: list[str]
) -> list[Sample]:
    """Load a peer and call measure_pair, in a worker process. A Peer cannot be sent there."""
    return measure_pair(load_peer(name, model), path, metric_names)


def measure_pair(peer: Peer, path: Path, metric_names: list[str]) -> list[Sample]:
    """Return the samples of one codec on one image, one for each quality.

    Raises VaecodecError if the codec fails at any quality.
    """
    image = read_rgb(path)
    pixels = np.asarray(image)
    samples = []
    with tempfile.TemporaryDirectory(prefix="vaecodec-bench-") as scratch:
        file = Path(scratch) / "file"
        for quality in peer.qualities:
            try:
                decoded = _code(peer, image, quality, file)
                values = metrics.measure(metric_names, pixels, decoded)
            except Exception as error:  # each library raises its own kinds
                raise VaecodecError(f"failed at quality {quality:g} ({error})") from None
            size = file.stat().st_size
            bpp = size * 8 / (image.width * image.height)
            samples.append(Sample(peer.name, path.name, quality, size, bpp, values))
    return samples


def _code(peer: Peer, image: Image.Image, quality: float, file: Path) -> npt.NDArray[np.uint8]:
    """Write the coded picture to `file` and return the pixels decoded from it."""
    file.write_bytes(peer.encode(image, quality, 1))
    decoded = np.asarray(peer.decode(file.read_bytes(), 1))
    shape = (image.height, image.width, 3)
    if decoded.shape != shape:
        raise VaecodecError(f"decoded to shape {decoded.shape}, not {shape}")
    return decoded
