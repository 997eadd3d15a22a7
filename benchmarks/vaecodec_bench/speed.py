"""The speed benchmark: each codec in turn in one run, so that what disturbs one disturbs all; results are ratios."""

import json
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
from rich.table import Column, Table

from vaecodec.cli.errors import print_error
from vaecodec.coding.tile_pool import available_cores
from vaecodec.errors import VaecodecError
from vaecodec.image.files import images_in, make_folder
from vaecodec_bench import processes
from vaecodec_bench.peers import OURS, Codec, available
from vaecodec_bench.processes import quartiles
from vaecodec_bench.quality import read_rgb, write
from vaecodec_bench.report import plot

PICTURES = 3
SLOW = 20.0  # seconds that a slow codec may take in all, though never fewer than 3 rounds


def run(
    folder: Path, out: Path, model: str | None, threads: int, rounds: int = 12, large: bool = True
) -> int:
    """Measure the speed of all installed codecs on up to three of the images in `folder`; write speed.json into `out`.

    threads: of each codec that lets one choose; 0 is one a core. rounds: of the warm comparison. large: also how time and
    memory grow with the picture. Returns the number of failures, each named on standard error. Raises VaecodecError.
    """
    failures = 0

    def fail(name: str, error: Exception) -> None:
        nonlocal failures
        failures += 1
        print_error(name, error)

    images = []
    paths = [Path(name) for name in images_in(folder)]
    for path in paths[:: max(1, len(paths) // PICTURES)]:
        try:
            images.append(read_rgb(path))
        except VaecodecError as error:
            fail(str(path), error)
    images = images[:PICTURES]
    if not images:
        raise VaecodecError(f"{folder}: none of the images chosen can be read")
    make_folder(out)
    codecs, versions, missing = available(model)
    for name, reason in missing.items():
        print_error(f"{name} is left out", VaecodecError(reason))
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
        task = progress.add_task("", total=None)

        def advance(what: str) -> None:
            progress.update(task, description=what, advance=1)

        results["warm"] = warm(codecs, images, threads, rounds, fail, advance)
        if processes.can_measure():
            results["processes"] = processes.cold_start(
                images[0], model, Path(scratch), max(2, rounds // 2), fail, advance
            )
            if large:
                results["growth"] = processes.growth(
                    images[0], model, Path(scratch), max(2, rounds // 4), fail, advance
                )
        try:
            from vaecodec_bench.arithmetic import peak_share

            advance("share of the peak")
            results["peak"] = peak_share(images[0], model, threads)
        except ModuleNotFoundError as error:
            fail(
                "share of the peak",
                VaecodecError(f"needs the package {error.name}: pip install 'vaecodec[bench]'"),
            )
    write(
        out / "speed.json",
        (json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(),
    )
    title = f"Median and quartiles, {results['threads']} threads"
    for kind in ("png", "svg"):
        write(out / f"speed.{kind}", plot.speed_diagram(results["warm"], title, kind))
    show(results)
    return failures


def warm(
    codecs: dict[str, Codec],
    images: list[Image.Image],
    threads: int,
    rounds: int,
    fail: Callable[[str, Exception], Any],
    advance: Callable[[str], Any],
) -> dict[str, Any]:
    """Encoding and decoding in this process, codec by codec in each round; a round's ratio is that to vaecodec in it.

    Returns for each codec that works {quality, rounds, bpp, encode, decode}, the last two each with the quartiles of the
    ratio and the median milliseconds a megapixel.
    """
    found: dict[str, Any] = {}
    seconds: dict[str, list[tuple[float, float]]] = {}
    turns: dict[str, int] = {}
    for name, codec in codecs.items():
        advance(f"first run, {name}")
        try:
            once(codec, images[0], threads)  # the first run loads networks
            encoding, decoding, size = once(codec, images[0], threads)
        except Exception as error:  # codecs raise many kinds, and the others can still be measured
            fail(name, VaecodecError(f"failed ({error})"))
            continue
        turns[name] = min(rounds, max(3, int(SLOW / (encoding + decoding))))
        seconds[name] = []
        bpp = size * 8 / images[0].width / images[0].height
        found[name] = {
            "quality": codec.usual,
            "bpp": bpp if codec.qualities else None,
            "rounds": turns[name],
        }
    if OURS not in found:
        raise VaecodecError("vaecodec itself could not be measured")
    for number in range(rounds):
        for name in found:
            if number < turns[name]:
                advance(f"round {number + 1} of {rounds}, {name}")
                time.sleep(0.02)  # threads that another codec's library left spinning come to rest
                image = images[number % len(images)]
                encoding, decoding, _ = once(codecs[name], image, threads)
                megapixels = image.width * image.height / 1e6
                seconds[name].append((encoding / megapixels, decoding / megapixels))
    for name, row in found.items():
        for index, direction in enumerate(("encode", "decode")):
            mine = [pair[index] for pair in seconds[name]]
            ours = [pair[index] for pair in seconds[OURS]]
            row[direction] = {
                "ratio": quartiles([a / b for a, b in zip(mine, ours, strict=False)]),
                "ms_per_megapixel": 1e3 * statistics.median(mine),
            }
    return found


def once(codec: Codec, image: Image.Image, threads: int) -> tuple[float, float, int]:
    """Seconds of encoding, seconds of decoding, and bytes."""
    start = time.perf_counter()
    data = codec.encode(image, codec.usual, threads)
    middle = time.perf_counter()
    codec.decode(data, threads)
    return middle - start, time.perf_counter() - middle, len(data)


def show(results: dict[str, Any]) -> None:
    """Print the ratios."""
    title = f"Time as a multiple of {OURS}'s: median (quartiles), {results['threads']} threads"
    table = Table(
        "", *(Column(name, justify="right") for name in ("encode", "decode", "rounds")), title=title
    )
    for name, row in results["warm"].items():
        table.add_row(
            f"{name}, quality {row['quality']:g}",
            spread(row["encode"]["ratio"]),
            spread(row["decode"]["ratio"]),
            str(row["rounds"]),
        )
    table.add_section()
    for name, pair in results.get("processes", {}).items():
        table.add_row(
            f"process: {name}",
            *(spread(pair[d]["ratio"]) for d in ("encode", "decode")),
            str(len(pair["encode"]["seconds"])),
        )
    console = Console(highlight=False)
    console.print(table)
    if "peak" in results:
        kmac, share = results["peak"]["kmac_per_pixel"], results["peak"]["share"]
        decode = sum(value for graph, value in kmac.items() if graph not in ("g_a", "h_a"))
        console.print(
            f"Decoding takes {decode:.1f} kMAC a pixel and reaches {share['decode'][1]:.0%} of the matrix-multiply "
            f"peak measured in between, g_s alone ({kmac['g_s']:.1f} kMAC) {share['g_s'][1]:.0%}."
        )


def spread(ratio: list[float] | None) -> str:
    """Median and quartiles for people."""
    return "–" if ratio is None else f"{ratio[1]:.2g} ({ratio[0]:.2g}–{ratio[2]:.2g})"
