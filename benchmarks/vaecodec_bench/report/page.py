"""index.html, a single page with all results of a report that loads nothing from elsewhere."""

import base64
import html
import json
from pathlib import Path
from typing import Any

from vaecodec_bench import results
from vaecodec_bench.bd_rate import bd_rate
from vaecodec_bench.files import read_bytes, read_json, write
from vaecodec_bench.metrics import METRICS
from vaecodec_bench.peers import OURS
from vaecodec_bench.published.curves import curves_for
from vaecodec_bench.report.plot import COLORS, lines_of
from vaecodec_bench.report.viewer import PICTURE_FORMAT
from vaecodec_bench.results import Results

ASSETS = Path(__file__).parent / "assets"
PER_IMAGE_REFERENCE = "JPEG"


def write_page(out: Path) -> Path:
    """Write index.html into `out` from those of results.json, speed.json and viewer/ that exist.

    Returns the path of the page. Raises VaecodecError.
    """
    data: dict[str, Any] = {"ours": OURS, "colors": COLORS, "pictureFormat": PICTURE_FORMAT}
    if (out / "results.json").exists():
        data |= _quality_data(results.read(out / "results.json"))
    if (out / "speed.json").exists():
        data["speed"] = read_json(out / "speed.json")
    if (out / "viewer" / "pictures.json").exists():
        data["pictures"] = _pictures_data(out / "viewer")
    inline = json.dumps(data, ensure_ascii=False, allow_nan=False)
    parts = {
        "{{title}}": html.escape(_title(data)),
        "{{css}}": _asset("page.css"),
        "{{js}}": _asset("page.js"),
        "{{data}}": inline.replace("<", "\\u003c"),  # a name must not end the script element
    }
    page = _asset("page.html")
    for mark, text in parts.items():
        page = page.replace(mark, text)
    write(out / "index.html", page.encode())
    return out / "index.html"


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _title(data: dict[str, Any]) -> str:
    version = data.get("codecs", {}).get(OURS, "")
    return f"{OURS} {version}".strip()


def _pictures_data(viewer: Path) -> list[dict[str, Any]]:
    """Return the rows of pictures.json with the pictures themselves as data URLs."""
    pictures: list[dict[str, Any]] = read_json(viewer / "pictures.json")
    for picture in pictures:
        encoded = base64.b64encode(read_bytes(viewer / picture["file"])).decode()
        picture["src"] = f"data:image/webp;base64,{encoded}"
    return pictures


def _quality_data(run: Results) -> dict[str, Any]:
    """Return what the page shows of a quality run."""
    codecs = run.measured_codecs()
    counts = {}
    for codec in codecs:
        counts[codec] = {metric: len(run.images_of(codec, metric)) for metric in run.metrics}
    return {
        "images": run.images,
        "codecs": {name: run.codecs[name] for name in codecs},
        "missing": run.missing,
        "failures": run.failures,
        "interrupted": run.interrupted,
        "charts": [_chart_data(run, metric) for metric in run.metrics],
        "rates": [rate.as_json() for rate in run.bd_rates()],
        "software": run.software,
        "counts": counts,
        "perImage": {metric: _rates_by_image(run, metric) for metric in run.metrics},
        "sources": [{"name": p.name, "source": p.source} for p in curves_for(run.images)],
    }


def _chart_data(run: Results, metric: str) -> dict[str, Any]:
    lines = []
    for line in lines_of([("", run)], metric, with_published=True):
        lines.append({"label": line.label, "curve": line.curve, "published": line.published})
    label = METRICS[metric].label
    return {"metric": metric, "label": label, "version": run.metrics[metric], "lines": lines}


def _rates_by_image(run: Results, metric: str) -> dict[str, dict[str, float | None]]:
    """Return the BD-rate against JPEG on each image alone, in percent, by image and codec.

    A value is None if the curves do not allow a BD-rate.
    """
    table = {}
    for image, size in run.images.items():
        # A small object for each image, because curves search all samples.
        samples = [sample for sample in run.samples if sample.image == image]
        single = Results({}, run.metrics, run.codecs, {}, {image: size}, samples)
        reference = single.curve(PER_IMAGE_REFERENCE, metric)
        rates: dict[str, float | None] = {}
        for codec in run.measured_codecs():
            if codec != PER_IMAGE_REFERENCE:
                try:
                    rates[codec] = bd_rate(reference, single.curve(codec, metric))
                except ValueError:
                    rates[codec] = None
        table[image] = rates
    return table
