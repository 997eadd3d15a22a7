"""The tables of engine.json, as the command prints them and docs/BENCHMARKS.md shows them."""

from dataclasses import dataclass
from typing import Any

PEER = "ONNX Runtime"


@dataclass(frozen=True)
class EngineTable:
    """One table.

    Attributes:
        text: What it shows.
        head: The titles of the columns. All but the first are aligned to the right.
        rows: The rows.
    """

    text: str
    head: list[str]
    rows: list[list[str]]


def tables(results: dict[str, Any]) -> list[EngineTable]:
    """Return the table of layers and the table of whole networks."""
    return [_layers(results), _networks(results)]


def _layers(results: dict[str, Any]) -> EngineTable:
    engines = list(results["engines"])
    rows = []
    for layer in results["layers"]:
        speeds = layer["gmac_per_second"]
        size = f"{layer['rows']} x {layer['columns']}"
        channels = f"{layer['inputs']} → {layer['outputs']}"
        name = channels if layer["kind"] == "linear" else f"{layer['kind']} {layer['outputs']}"
        cells = [_speed(speeds[engine], speeds.get(PEER)) for engine in engines]
        rows.append([name, size, *cells, _speed(speeds.get(PEER), None)])
    text = (
        "Single layers on one thread, in GMAC/s: billions of multiply-accumulate operations per "
        "second. Linear layers are named by their channels. In brackets: the "
        f"multiple of the speed of {PEER}'s float32 product of the same size, in the same run."
    )
    return EngineTable(text, ["layer", "at", *engines, PEER], rows)


def _speed(speed: float | None, peer: float | None) -> str:
    """Format a speed, with the multiple of another one if that is known."""
    if speed is None:
        return "–"
    text = f"{speed:.0f}" if speed >= 10 else f"{speed:.2g}"
    return f"{text} ({speed / peer:.2f})" if peer else text


def _networks(results: dict[str, Any]) -> EngineTable:
    threads = results["threads"]
    rows = [
        [
            engine,
            f"{row['seconds'] * 1e3:.3g}",
            f"{row['gmac_per_second']:.3g}",
            f"{row['other_share']:.0%}",
            f"{row['speedup']:.2f} ×",
        ]
        for engine, row in results["engines"].items()
    ]
    width, height = results["picture"]
    text = (
        f"Whole networks ({', '.join(results['networks'])}: {results['macs'] / 1e9:.2f} GMAC for "
        f"a picture of {width} x {height}) on one thread, the share of the time that all but "
        "linear layers take (depthwise layers, shuffles, gains, copies and Python), and the speed "
        f"of {threads} threads as a multiple of that of one."
    )
    return EngineTable(text, ["engine", "ms", "GMAC/s", "not linear", f"{threads} threads"], rows)
