"""What a benchmark run prints: warnings while it runs, tables of results at its end."""

import sys
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from vaecodec_bench.peers import OURS
from vaecodec_bench.results import Results

DIRECTIONS = ("encode", "decode")


def complain(name: str, problem: Exception | str) -> None:
    """Print one sentence about an image or a codec on standard error."""
    if sys.stderr is not None:
        print(f"vaecodec: {name}: {problem}", file=sys.stderr)


def format_percent(rate: float | None) -> str:
    """Format a BD-rate for a table."""
    return "–" if rate is None else f"{rate:+.1f} %".replace("-", "\N{MINUS SIGN}")


def format_ratio(quartiles: list[float] | None) -> str:
    """Format a ratio of times as its median with the quartiles in brackets."""
    if quartiles is None:
        return "–"
    low, median, high = quartiles
    return f"{median:.2g} ({low:.2g}–{high:.2g})"


def print_bd_rates(results: Results) -> None:
    """Print a table of BD-rates for each reference codec, with the number of images used."""
    rates = results.bd_rates()
    for reference in dict.fromkeys(rate.reference for rate in rates):
        columns = [Column(metric, justify="right") for metric in results.metrics]
        table = Table(f"BD-rate vs {reference}", *columns, Column("images", justify="right"))
        by_key = {(rate.codec, rate.metric): rate for rate in rates if rate.reference == reference}
        for codec in results.measured_codecs():
            cells = []
            for metric in results.metrics:
                rate = by_key.get((codec, metric))
                cells.append(format_percent(rate.rate if rate else None))
            count = results.image_count(codec)
            table.add_row(codec, *cells, f"{count} of {len(results.images)}")
        Console(highlight=False).print(table)


def print_speed(speed: dict[str, Any]) -> None:
    """Print the ratios of times in speed.json."""
    title = f"Time as a multiple of {OURS}'s: median (quartiles), {speed['threads']} threads"
    columns = [Column(name, justify="right") for name in (*DIRECTIONS, "rounds")]
    table = Table("", *columns, title=title)
    for name, row in speed["warm"].items():
        ratios = [format_ratio(row[direction]["ratio"]) for direction in DIRECTIONS]
        table.add_row(f"{name}, quality {row['quality']:g}", *ratios, str(row["rounds"]))
    table.add_section()
    for name, row in speed.get("processes", {}).items():
        ratios = [format_ratio(row[direction]["ratio"]) for direction in DIRECTIONS]
        table.add_row(f"process: {name}", *ratios, str(len(row["encode"]["seconds"])))
    console = Console(highlight=False)
    console.print(table)
    if "peak" in speed:
        console.print(peak_sentence(speed["peak"]))


def peak_sentence(peak: dict[str, Any]) -> str:
    """Say how much arithmetic decoding takes and which share of the machine's peak it reaches."""
    kmac = peak["kmac_per_pixel"]
    share = peak["share"]
    decoding = sum(value for graph, value in kmac.items() if graph not in ("g_a", "h_a"))
    return (
        f"Decoding takes {decoding:.1f} kMAC per pixel and reaches {share['decode'][1]:.0%} of the "
        f"matrix-multiply peak measured in the same run. g_s alone ({kmac['g_s']:.1f} kMAC) "
        f"reaches {share['g_s'][1]:.0%}."
    )
