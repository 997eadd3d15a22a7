"""The speed benchmark.

The codecs take turns in each round of one run, so a disturbance of the machine affects all of them.
Results are ratios to vaecodec's time.
"""

import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.progress import Progress

from vaecodec.engine.workers import available_cores
from vaecodec.errors import VaecodecError
from vaecodec.image.files import images_in, make_folder
from vaecodec_bench import processes
from vaecodec_bench.console import DIRECTIONS, complain, print_speed
from vaecodec_bench.files import read_rgb, write, write_json
from vaecodec_bench.peers import OURS, Peer, installed_peers
from vaecodec_bench.processes import quartiles
from vaecodec_bench.report import plot

MAX_PICTURES = 3
MAX_SECONDS = 20.0  # of one codec in all rounds
MIN_ROUNDS = 3  # of a codec that takes longer than that

Fail = Callable[[str, Exception], Any]
Advance = Callable[[str], Any]


def measure_speed(
    folder: Path,
    out: Path,
    model: str | None,
    threads: int,
    rounds: int = 12,
    large: bool = True,
) -> int:
    """Measure the speed of all installed codecs and write speed.json into `out`.

    Args:
        folder: A folder of images, of which up to three are used.
        out: Folder of the report. It is created if necessary.
        model: Id or folder of vaecodec's model, None for the default one.
        threads: Of each codec that offers a choice, 0 for one per core.
        rounds: Number of rounds of the comparison in one process.
        large: Also measure how time and memory grow with the picture.

    Returns:
        The number of failures, each of which is printed on standard error.

    Raises:
        VaecodecError: No image can be read, or vaecodec itself cannot be measured.
    """
    failures = []

    def fail(name: str, error: Exception) -> None:
        failures.append(name)
        complain(name, error)

    images = _choose_images(folder, fail)
    make_folder(out)
    peers, versions, missing = installed_peers(model)
    for name, reason in missing.items():
        complain(f"{name} is left out", reason)
    results: dict[str, Any] = {
        "machine": f"{platform.machine()}, {available_cores()} cores",
        "threads": threads or available_cores(),
        "pictures": [image.size for image in images],
        "codecs": versions,
        "missing": missing,
    }
    with (
        Progress(console=Console(stderr=True), transient=True) as progress,
        tempfile.TemporaryDirectory(prefix="vaecodec-bench-") as scratch,
    ):
        bar = progress.add_task("", total=None)

        def advance(what: str) -> None:
            progress.update(bar, description=what, advance=1)

        results["warm"] = measure_warm(peers, images, threads, rounds, fail, advance)
        if processes.can_measure():
            bench = processes.ProcessBench(model, Path(scratch), fail, advance)
            results["processes"] = bench.cold_start(images[0], max(2, rounds // 2))
            if large:
                results["growth"] = bench.growth(images[0], max(2, rounds // 4))
        advance("share of the peak")
        peak = _peak_share(images[0], model, threads, fail)
        if peak is not None:
            results["peak"] = peak
    write_json(out / "speed.json", results)
    title = f"Median and quartiles, {results['threads']} threads"
    for kind in ("png", "svg"):
        write(out / f"speed.{kind}", plot.speed_diagram(results["warm"], title, kind))
    print_speed(results)
    return len(failures)


def _choose_images(folder: Path, fail: Fail) -> list[Image.Image]:
    """Read up to MAX_PICTURES images, spread over the folder."""
    images = []
    paths = [Path(name) for name in images_in(folder)]
    for path in paths[:: max(1, len(paths) // MAX_PICTURES)]:
        try:
            images.append(read_rgb(path))
        except VaecodecError as error:
            fail(str(path), error)
    if not images:
        raise VaecodecError(f"{folder}: none of the chosen images can be read")
    return images[:MAX_PICTURES]


def _peak_share(
    image: Image.Image, model: str | None, threads: int, fail: Fail
) -> dict[str, Any] | None:
    try:
        from vaecodec_bench.arithmetic import peak_share
    except ModuleNotFoundError as error:
        message = f"needs the package {error.name}: pip install 'vaecodec[bench]'"
        fail("share of the peak", VaecodecError(message))
        return None
    return peak_share(image, model, threads)


def measure_warm(
    peers: dict[str, Peer],
    images: list[Image.Image],
    threads: int,
    rounds: int,
    fail: Fail,
    advance: Advance,
) -> dict[str, Any]:
    """Measure encoding and decoding in this process, one codec after the other in each round.

    Returns:
        {quality, bpp, rounds, encode, decode} of each codec that works. The last two hold the
        quartiles of the ratio to vaecodec's time in the same round as `ratio`, and the median
        milliseconds per megapixel as `ms_per_megapixel`.
    """
    rows: dict[str, Any] = {}
    for name, peer in peers.items():
        advance(f"first run, {name}")
        try:
            rows[name] = _first_run(peer, images[0], threads, rounds)
        except Exception as error:  # each library raises its own kinds
            fail(name, VaecodecError(f"failed ({error})"))
    if OURS not in rows:
        raise VaecodecError("vaecodec itself could not be measured")
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    for number in range(rounds):
        image = images[number % len(images)]
        megapixels = image.width * image.height / 1e6
        for name, row in rows.items():
            if number < row["rounds"]:
                advance(f"round {number + 1} of {rounds}, {name}")
                time.sleep(0.02)  # lets threads that another library left spinning come to rest
                encoding, decoding, _ = time_codec(peers[name], image, threads)
                times[name].append((encoding / megapixels, decoding / megapixels))
    for name, row in rows.items():
        for index, direction in enumerate(DIRECTIONS):
            theirs = [pair[index] for pair in times[name]]
            ours = [pair[index] for pair in times[OURS]]
            row[direction] = {
                "ratio": quartiles([a / b for a, b in zip(theirs, ours, strict=False)]),
                "ms_per_megapixel": 1e3 * statistics.median(theirs),
            }
    return rows


def _first_run(peer: Peer, image: Image.Image, threads: int, rounds: int) -> dict[str, Any]:
    """Load the codec and choose its number of rounds by its speed."""
    time_codec(peer, image, threads)  # loads networks
    encoding, decoding, size = time_codec(peer, image, threads)
    affordable = int(MAX_SECONDS / (encoding + decoding))
    return {
        "quality": peer.speed_quality,
        "bpp": size * 8 / image.width / image.height if peer.qualities else None,
        "rounds": min(rounds, max(MIN_ROUNDS, affordable)),
    }


def time_codec(peer: Peer, image: Image.Image, threads: int) -> tuple[float, float, int]:
    """Return the seconds of encoding, the seconds of decoding, and the number of bytes."""
    start = time.perf_counter()
    data = peer.encode(image, peer.speed_quality, threads)
    middle = time.perf_counter()
    peer.decode(data, threads)
    return middle - start, time.perf_counter() - middle, len(data)
