"""The rate-distortion and speed diagrams, as files for documents."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from vaecodec.errors import ParameterError, VaecodecError
from vaecodec_bench import results
from vaecodec_bench.bd_rate import Curve, bd_rate
from vaecodec_bench.console import DIRECTIONS, format_percent
from vaecodec_bench.files import write
from vaecodec_bench.metrics import METRICS, check_metric
from vaecodec_bench.peers import EFFORTS, OURS
from vaecodec_bench.published.curves import curves_for
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
PEER_BAR_COLOR = "#7a8794"
DASHES = ((0, (6, 2)), (0, (4, 2, 1, 2)), (0, (2, 1.5)), (0, (8, 2, 2, 2)))
KINDS = ("png", "svg", "pdf")

NamedRun = tuple[str, Results]


@dataclass(frozen=True)
class Line:
    """A curve in a diagram. Published curves are dashed and in the background."""

    label: str
    curve: Curve
    published: bool = False


def lines_of(runs: Sequence[NamedRun], metric: str, with_published: bool) -> list[Line]:
    """Return the curves of one or more named runs.

    vaecodec has a curve for each run, another codec only for the first run that has it. Published
    curves are added for PSNR if all runs used the Kodak images.
    """
    lines = []
    for codec in EFFORTS:
        for name, run in runs:
            if codec in run.measured_codecs():
                label = codec if len(runs) == 1 else f"{codec}, {name}"
                lines.append(Line(label, run.curve(codec, metric)))
    seen = set(EFFORTS)
    for _, run in runs:
        for codec in run.measured_codecs():
            if codec not in seen:
                seen.add(codec)
                lines.append(Line(codec, run.curve(codec, metric)))
    on_kodak = all(curves_for(run.images) for _, run in runs)
    if with_published and metric == "psnr" and on_kodak:
        for published in curves_for(runs[0][1].images):
            lines.append(Line(f"{published.name}, published", published.curve, published=True))
    return [line for line in lines if line.curve]


def diagram(lines: Sequence[Line], metric: str, title: str, kind: str) -> bytes:
    """Draw a rate-distortion diagram and return the bytes of a file. kind: one of KINDS.

    The axes are limited to the range of the first curve, which is ours.
    """
    figure = Figure(figsize=(10, 5.8), dpi=130, layout="constrained")
    axes = figure.subplots()
    for number, line in enumerate(lines):
        rates, values = zip(*line.curve, strict=True)
        axes.plot(rates, values, label=line.label, **_line_style(line, number))
    rates, values = zip(*lines[0].curve, strict=True)
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
    return save_figure(figure, kind)


def _line_style(line: Line, number: int) -> dict[str, Any]:
    style: dict[str, Any] = {"color": COLORS[number % len(COLORS)]}
    if line.published:
        dashes = DASHES[number % len(DASHES)]
        return style | {"linestyle": dashes, "linewidth": 1, "alpha": 0.7, "zorder": 1}
    style |= {"marker": "o", "markersize": 4}
    if line.label.startswith(OURS):
        return style | {"linewidth": 2.6, "zorder": 3}
    return style | {"linewidth": 1.3, "zorder": 2}


def save_figure(figure: Figure, kind: str) -> bytes:
    """Return a file of one of KINDS. Equal diagrams give equal files."""
    out = io.BytesIO()
    with rc_context({"svg.hashsalt": "vaecodec"}):
        figure.savefig(out, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return out.getvalue()


def write_diagrams(run: Results, out: Path) -> list[Path]:
    """Write rd-METRIC.png and .svg into `out` for each metric that has values.

    Returns the paths. Raises VaecodecError.
    """
    paths = []
    for metric in run.metrics:
        lines = lines_of([("", run)], metric, with_published=True)
        if lines:
            title = _title_of(run, metric)
            for kind in ("png", "svg"):
                path = out / f"rd-{metric}.{kind}"
                write(path, diagram(lines, metric, title, kind))
                paths.append(path)
    return paths


def _title_of(run: Results, metric: str) -> str:
    version = run.codecs.get(OURS, "")
    count = len(run.images_of(OURS, metric)) or len(run.images)
    return f"{_means_over(count)} · {OURS} {version}"


def _means_over(count: int) -> str:
    return f"Means over {count} image{'s' * (count != 1)}"


def overlay(files: Sequence[Path], out: Path, metric: str) -> None:
    """Draw the curves of several runs into one diagram and print our BD-rates.

    Each later run of vaecodec is compared with the first one. A run is named after the folder of
    its file.

    Args:
        files: The results.json files of the runs. All must have the same images.
        out: The diagram, a file with an extension of KINDS.
        metric: Name of the metric.

    Raises:
        VaecodecError: A file cannot be used, has other images, or lacks the metric.
    """
    kind = out.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        extensions = ", ".join(f".{kind}" for kind in KINDS)
        raise ParameterError(f"{out}: the name of a diagram must end in {extensions}")
    check_metric(metric)
    runs = _read_runs(files)
    images = runs[0][1].images
    for file, (_, run) in zip(files, runs, strict=True):
        if metric not in run.metrics:
            raise VaecodecError(f"{file}: has no values of {metric}, only {', '.join(run.metrics)}")
        if run.images.keys() != images.keys():
            raise VaecodecError(f"{file}: was measured on other images than {files[0]}")
    lines = lines_of(runs, metric, with_published=True)
    if not lines:
        raise VaecodecError(f"{files[0]}: no image has a value of {metric}")
    write(out, diagram(lines, metric, _means_over(len(images)), kind))
    for sentence in gains(runs, metric):
        print(sentence)


def _read_runs(files: Sequence[Path]) -> list[NamedRun]:
    """Read the runs and name them by their folders, or by their paths if folders are ambiguous."""
    runs = [results.read(file) for file in files]
    names = [file.resolve().parent.name for file in files]
    if len(set(names)) < len(names):
        names = [str(file) for file in files]
    return list(zip(names, runs, strict=True))


def gains(runs: Sequence[NamedRun], metric: str) -> list[str]:
    """Return a line of text with the BD-rate of each vaecodec curve in the later runs.

    The reference is the same codec in the first run that has it.
    """
    sentences = []
    for codec in EFFORTS:
        with_codec = [(name, run) for name, run in runs if codec in run.measured_codecs()]
        for name, run in with_codec[1:]:
            first_name, first = with_codec[0]
            common = run.images_of(codec, metric) & first.images_of(codec, metric)
            reference = first.curve(codec, metric, common)
            try:
                rate = format_percent(bd_rate(reference, run.curve(codec, metric, common)))
            except ValueError as error:
                rate = f"none: {error}"
            sentences.append(f"{codec}, {name}: BD-rate ({metric}) vs {first_name}: {rate}")
    return sentences


def speed_diagram(warm: Mapping[str, Any], title: str, kind: str) -> bytes:
    """Draw the time ratios as bars and return the bytes of a file. kind: one of KINDS.

    warm: the part "warm" of speed.json. Bars are medians, and whiskers are quartiles.
    """
    names = list(warm)[::-1]
    colors = [COLORS[0] if name == OURS else PEER_BAR_COLOR for name in names]
    figure = Figure(figsize=(10, 1.2 + 0.34 * len(names)), dpi=130, layout="constrained")
    figure.suptitle(title, fontsize=11)
    for axes, direction in zip(figure.subplots(1, 2, sharey=True), DIRECTIONS, strict=True):
        lows, medians, highs = zip(*(warm[name][direction]["ratio"] for name in names), strict=True)
        below = [median - low for median, low in zip(medians, lows, strict=True)]
        above = [high - median for median, high in zip(medians, highs, strict=True)]
        whiskers = [below, above]
        axes.barh(names, medians, xerr=whiskers, color=colors, error_kw={"linewidth": 1})
        axes.axvline(1, color="black", linewidth=0.6)
        xlabel = f"time as a multiple of {OURS}'s (log scale)"
        axes.set(xscale="log", title=direction, xlabel=xlabel)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return save_figure(figure, kind)
