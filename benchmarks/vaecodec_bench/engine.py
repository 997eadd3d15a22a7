"""The speed of the integer engine: each kind of layer, and whole networks, with each kernel.

The kernels take turns in each round of one run, and the shortest time counts, so a disturbance of
the machine affects all of them or none.
"""

import dataclasses
import math
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from vaecodec.engine import Buffer, Engine, Layer, Network, available
from vaecodec.engine.network import INPUT, LIMIT, OUTPUT
from vaecodec.engine.workers import available_cores
from vaecodec.image.files import make_folder
from vaecodec.model import networks, registry
from vaecodec_bench.arithmetic import cell_side, matrix_product
from vaecodec_bench.files import write_json
from vaecodec_bench.report.engine_tables import PEER, tables

PICTURE = (768, 512)  # pixels, the size of a Kodak picture
TURN = 3  # runs in a row, so that all but the first find their data in the caches
MAX_TURN_SECONDS = 0.1
COPIES = 5  # of a layer, in the longer of the two networks whose times are compared

Work = dict[Any, Callable[[], object]]


@dataclasses.dataclass(frozen=True)
class LayerKind:
    """What a layer's time depends on.

    Attributes:
        kind: "linear" or "depthwise".
        inputs: Number of channels that are read.
        outputs: Number of channels that are written.
        rows: Number of rows of its target.
        columns: Number of columns of its target.
    """

    kind: str
    inputs: int
    outputs: int
    rows: int
    columns: int

    @property
    def macs(self) -> int:
        """The number of multiply-accumulate operations."""
        taps = self.inputs if self.kind == "linear" else 9
        return self.rows * self.columns * self.outputs * taps


def report_engine(out: Path | None, model: str | None, threads: int, rounds: int) -> None:
    """Measure the networks of a model, print the tables, and write engine.json into a folder.

    Args:
        out: The folder, created if necessary. None writes nothing.
        model: Id or folder of the model, None for the default one.
        threads: Number of threads to compare with one.
        rounds: Number of rounds.

    Raises:
        VaecodecError: The model is missing or damaged, or the file cannot be written.
    """
    nets = registry.load_model(model, threads)
    if out is not None:
        make_folder(out)
    integer = {name: nets.engine(name).network for name in networks.NETWORKS}
    results = {
        "processor": f"{processor_name()}, {available_cores()} cores",
        "model": nets.id,
        **measure_engine(integer, PICTURE, threads, rounds),
    }
    console = Console(highlight=False)
    for part in tables(results):
        columns = [Column(title, justify="right") for title in part.head[1:]]
        table = Table(Column(part.head[0], no_wrap=True), *columns, box=None, padding=(0, 1, 0, 0))
        for row in part.rows:
            table.add_row(*row)
        console.print(part.text, table, "", sep="\n\n")
    if out is not None:
        write_json(out / "engine.json", results)


def measure_engine(
    integer: Mapping[str, Network], picture: tuple[int, int], threads: int, rounds: int
) -> dict[str, Any]:
    """Measure every engine that this machine has.

    Args:
        integer: The networks by name.
        picture: Width and height of the picture, multiples of 64.
        threads: Number of threads to compare with one.
        rounds: Number of rounds.

    Returns:
        The content of engine.json. `layers` has a row for each kind of layer, with
        `gmac_per_second` of each engine and of ONNX Runtime on one thread, None where the time
        is too short to measure. `engines` has the time of all networks on one thread, the share
        of it that linear layers do not take, and the `speedup` by `threads` threads.
    """
    counts: Counter[LayerKind] = Counter()
    work: Work = {}
    for name, network in integer.items():
        for kind, layer in layer_kinds(name, network, picture):
            if kind not in counts:
                work |= _layer_work(kind, network, layer)
            counts[kind] += 1
    for engine in available():
        for count in (1, threads):
            work[engine, count] = whole(integer, picture, count, engine)
    seconds = fastest(work, rounds)
    layers = {kind: _layer_seconds(kind, seconds) for kind in counts}
    macs = sum(kind.macs * count for kind, count in counts.items())
    engines = {}
    for engine in available():
        total = seconds[engine, 1]
        linear = sum(
            layers[kind][engine] * count for kind, count in counts.items() if kind.kind == "linear"
        )
        engines[engine] = {
            "seconds": total,
            "gmac_per_second": macs / total / 1e9,
            "other_share": 1 - linear / total,
            "speedup": total / seconds[engine, threads],
        }
    return {
        "picture": picture,
        "networks": list(integer),
        "threads": threads,
        "rounds": rounds,
        "macs": macs,
        "layers": [_layer_row(kind, durations) for kind, durations in layers.items()],
        "engines": engines,
    }


def _layer_work(kind: LayerKind, network: Network, layer: Layer) -> Work:
    """Return a short and a long run of a layer alone for each engine, and for ONNX Runtime."""
    work: Work = {}
    x = random_input((kind.rows, kind.columns, kind.inputs))
    for copies in (1, COPIES):
        alone = repeated(network, layer, copies)
        for engine in available():
            work[kind, engine, copies] = _running(Engine(alone, 1, engine), x)
        if kind.kind == "linear":
            pixels = kind.rows * kind.columns
            product = matrix_product(pixels, kind.inputs, kind.outputs, 1, copies)
            work[kind, PEER, copies] = product
    return work


def _layer_seconds(kind: LayerKind, seconds: dict[Any, float]) -> dict[str, float]:
    """Return the time of one layer by engine, without what input, output and Python take."""
    return {
        engine: (seconds[kind, engine, COPIES] - seconds[kind, engine, 1]) / (COPIES - 1)
        for engine in (*available(), PEER)
        if (kind, engine, 1) in seconds
    }


def _layer_row(kind: LayerKind, durations: dict[str, float]) -> dict[str, Any]:
    speeds = {
        engine: kind.macs / duration / 1e9 if duration > 0 else None
        for engine, duration in durations.items()
    }
    return dataclasses.asdict(kind) | {"gmac_per_second": speeds}


def layer_kinds(
    name: str, network: Network, picture: tuple[int, int]
) -> list[tuple[LayerKind, Layer]]:
    """Return the linear and depthwise layers of a network, with their sizes on a picture."""
    side = cell_side(name, network)
    width, height = picture
    found = []
    for layer in network.layers:
        if layer.kind in ("linear", "depthwise"):
            scale = network.buffers[layer.target].scale
            size = height // side * scale, width // side * scale
            found.append((LayerKind(layer.kind, layer.inputs, layer.outputs, *size), layer))
    return found


def repeated(network: Network, layer: Layer, copies: int) -> Network:
    """Return a network that does nothing but run one layer of another several times."""
    alone = dataclasses.replace(
        layer, source=INPUT, target=OUTPUT, source_channel=0, target_channel=0, add=False
    )
    parts = {f"{layer.name}.{part}" for part in ("weight", "bias", "shift")}
    return Network(
        {INPUT: Buffer(layer.inputs), OUTPUT: Buffer(layer.outputs)},
        (alone,) * copies,
        {part: network.tensors[part] for part in parts},
    )


def random_input(shape: tuple[int, ...]) -> Any:
    """Return random activations."""
    return np.random.default_rng(0).integers(-LIMIT, LIMIT + 1, shape).astype(np.int16)


def whole(
    integer: Mapping[str, Network], picture: tuple[int, int], threads: int, engine: str
) -> Callable[[], object]:
    """Return a function that runs all networks on a picture, one after the other."""
    width, height = picture
    runs = []
    for name, network in integer.items():
        buffer = network.buffers[INPUT]
        side = cell_side(name, network) // buffer.scale
        x = random_input((height // side, width // side, buffer.channels))
        runs.append(_running(Engine(network, threads, engine), x))
    return lambda: [run() for run in runs]


def _running(engine: Engine, x: Any) -> Callable[[], object]:
    return lambda: engine.run(x)


def fastest(work: Work, rounds: int) -> dict[Any, float]:
    """Return the shortest time of each function in seconds. They take turns in each round."""
    best = dict.fromkeys(work, math.inf)
    progress = Console(stderr=True)
    for _ in track(range(rounds), "Measuring", console=progress, transient=True):
        for key, run in work.items():
            begin = time.perf_counter()
            for _ in range(TURN):
                start = time.perf_counter()
                run()
                end = time.perf_counter()
                best[key] = min(best[key], end - start)
                if end - begin > MAX_TURN_SECONDS:
                    break
    return best


def processor_name() -> str:
    """Return the name of the processor, or of its architecture where the name is not known."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine()
