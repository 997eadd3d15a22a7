"""The rate–distortion diagrams, as files for documents."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from vaecodec.errors import VaecodecError
from vaecodec_bench import results
from vaecodec_bench.bd_rate import Curve, bd_rate
from vaecodec_bench.metrics import METRICS
from vaecodec_bench.peers import EFFORTS, OURS
from vaecodec_bench.published.curves import curves_for
from vaecodec_bench.quality import percent, write
from vaecodec_bench.results import Results

COLORS = (
    "#e6194b",
    "#4363d8",
    "#42a5f5",
    "#2e9e4f",
    "#b8860b",
    "#f58231",
    "#8d5524",
    "#911eb4",
    "#00838f",
    "#ad1457",
    "#7d6b63",
)
KINDS = ("png", "svg", "pdf")


@dataclass(frozen=True)
class Line:
    """A curve in a diagram. published: dashed and in the background."""

    label: str
    curve: Curve
    published: bool = False


def lines_of(runs: Sequence[tuple[str, Results]], metric: str, with_published: bool) -> list[Line]:
    """Curves of one or more runs, each with its name: vaecodec's of every run, another codec's of the first that has it."""
    lines = [
        Line(codec if len(runs) == 1 else f"{codec}, {name}", found.curve(codec, metric))
        for codec in EFFORTS
        for name, found in runs
        if codec in found.curves_of()
    ]
    seen = set(EFFORTS)
    for _, found in runs:
        for codec in found.curves_of():
            if codec not in seen:
                seen.add(codec)
                lines.append(Line(codec, found.curve(codec, metric)))
    if metric == "psnr" and with_published and all(curves_for(found.images) for _, found in runs):
        lines += [
            Line(f"{p.name}, published", p.curve, True) for p in curves_for(runs[0][1].images)
        ]
    return [line for line in lines if line.curve]


def diagram(lines: Sequence[Line], metric: str, title: str, kind: str) -> bytes:
    """A file of one of KINDS. The range shown is that of the measured curves whose first is ours."""
    figure = Figure(figsize=(10, 5.8), dpi=130, layout="constrained")
    axes = figure.subplots()
    dashes = [(0, (6, 2)), (0, (4, 2, 1, 2)), (0, (2, 1.5)), (0, (8, 2, 2, 2))]
    for number, line in enumerate(lines):
        rate, value = zip(*line.curve, strict=True)
        color = COLORS[number % len(COLORS)]
        if line.published:
            axes.plot(
                rate,
                value,
                color=color,
                linestyle=dashes[number % 4],
                linewidth=1,
                alpha=0.7,
                label=line.label,
                zorder=1,
            )
        else:
            ours = line.label.startswith(OURS)
            axes.plot(
                rate,
                value,
                color=color,
                marker="o",
                markersize=4,
                linewidth=2.6 if ours else 1.3,
                label=line.label,
                zorder=3 if ours else 2,
            )
    first = lines[0].curve
    rates, values = [bpp for bpp, _ in first], [value for _, value in first]
    spread = max(values) - min(values) or 1
    axes.set(
        xlabel="rate (bits per pixel)",
        ylabel=METRICS[metric].label,
        title=title,
        xlim=(0, 1.15 * max(rates)),
        ylim=(min(values) - 0.08 * spread, max(values) + 0.25 * spread),
    )
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    return saved(figure, kind)


def saved(figure: Figure, kind: str) -> bytes:
    """A file of one of KINDS; equal diagrams give equal files."""
    out = io.BytesIO()
    with rc_context({"svg.hashsalt": "vaecodec"}):
        figure.savefig(out, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return out.getvalue()


def title_of(found: Results, metric: str) -> str:
    """What a diagram of one run shows."""
    ours = found.codecs.get(OURS, "")
    images = len(found.images_of(OURS, metric)) or len(found.images)
    return f"Means over {images} image{'s' * (images != 1)} · {OURS} {ours}"


def write_diagrams(found: Results, out: Path) -> list[Path]:
    """rd-METRIC.png and .svg of each metric with values into the folder `out`. Raises VaecodecError."""
    paths = []
    for metric in found.metrics:
        lines = lines_of([("", found)], metric, with_published=True)
        if lines:
            for kind in ("png", "svg"):
                paths.append(out / f"rd-{metric}.{kind}")
                write(paths[-1], diagram(lines, metric, title_of(found, metric), kind))
    return paths


def overlay(files: Sequence[Path], out: Path, metric: str) -> None:
    """The diagram of several results.json together, and our BD-rates against the first run's on standard output; the name of
    a run is that of its file's folder.

    Raises VaecodecError, also for a metric that a run lacks.
    """
    kind = out.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise VaecodecError(
            f"{out}: a diagram's name ends in {', '.join('.' + kind for kind in KINDS)}"
        )
    if metric not in METRICS:
        raise VaecodecError(f"there is no metric '{metric}'; choose from {', '.join(METRICS)}")
    runs = [(file.resolve().parent.name, results.read(file)) for file in files]
    if len({name for name, _ in runs}) < len(runs):
        runs = [(str(file), found) for file, (_, found) in zip(files, runs, strict=True)]
    for file, (_, found) in zip(files, runs, strict=True):
        if metric not in found.metrics:
            raise VaecodecError(f"{file}: holds no {metric}, only {', '.join(found.metrics)}")
        if found.images.keys() != runs[0][1].images.keys():
            raise VaecodecError(f"{file}: was measured on other images than {files[0]}")
    lines = lines_of(runs, metric, with_published=True)
    if not lines:
        raise VaecodecError(f"{files[0]}: holds no picture with a value of {metric}")
    count = len(runs[0][1].images)
    write(out, diagram(lines, metric, f"Means over {count} image{'s' * (count != 1)}", kind))
    for row in gains(runs, metric):
        print(row)


def gains(runs: Sequence[tuple[str, Results]], metric: str) -> list[str]:
    """A sentence for each of our curves in the later runs: its BD-rate against that of the first run which has it."""
    sentences = []
    for codec in EFFORTS:
        having = [(name, found) for name, found in runs if codec in found.curves_of()]
        for name, found in having[1:]:
            anchor, other = having[0]
            both = found.images_of(codec, metric) & other.images_of(codec, metric)
            try:
                rate = percent(
                    bd_rate(other.curve(codec, metric, both), found.curve(codec, metric, both))
                )
            except ValueError as error:
                rate = f"none: {error}"
            sentences.append(f"{codec}, {name}: BD-rate ({metric}) against {anchor}: {rate}")
    return sentences


def speed_diagram(warm: Mapping[str, Any], title: str, kind: str) -> bytes:
    """A file of one of KINDS: bars of the median ratios of speed.json's part "warm", with their quartiles as whiskers."""
    names = list(warm)[::-1]
    figure = Figure(figsize=(10, 1.2 + 0.34 * len(names)), dpi=130, layout="constrained")
    figure.suptitle(title, fontsize=11)
    for axes, way in zip(figure.subplots(1, 2, sharey=True), ("encode", "decode"), strict=True):
        ratios = [warm[name][way]["ratio"] for name in names]
        whiskers = [
            [ratio[1] - ratio[0] for ratio in ratios],
            [ratio[2] - ratio[1] for ratio in ratios],
        ]
        colors = [COLORS[0] if name == OURS else "#7a8794" for name in names]
        axes.barh(
            names,
            [ratio[1] for ratio in ratios],
            xerr=whiskers,
            color=colors,
            error_kw={"linewidth": 1},
        )
        axes.axvline(1, color="black", linewidth=0.6)
        axes.set(xscale="log", title=way, xlabel=f"time as a multiple of {OURS}'s (logarithmic)")
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return saved(figure, kind)
