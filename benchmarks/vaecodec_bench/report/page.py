"""report/index.html: one page with everything that a folder of results holds, which loads nothing from elsewhere."""

import base64
import html
import json
from pathlib import Path
from typing import Any

from vaecodec.errors import VaecodecError
from vaecodec_bench import results
from vaecodec_bench.bd_rate import bd_rate
from vaecodec_bench.metrics import METRICS
from vaecodec_bench.peers import OURS
from vaecodec_bench.published.curves import curves_for
from vaecodec_bench.quality import write
from vaecodec_bench.report.plot import COLORS, lines_of
from vaecodec_bench.report.viewer import SHOWN
from vaecodec_bench.results import Results

PAGE = Path(__file__).parent / "assets"


def write_page(out: Path) -> Path:
    """index.html into the folder `out`, from its results.json, speed.json and viewer/, as far as they are there.

    Raises VaecodecError.
    """
    data: dict[str, Any] = {"ours": OURS, "colors": COLORS, "shown": SHOWN}
    if (out / "results.json").exists():
        data |= _quality(results.read(out / "results.json"))
    if (out / "speed.json").exists():
        data["speed"] = read_json(out / "speed.json")
    if (out / "viewer" / "pictures.json").exists():
        data["pictures"] = read_json(out / "viewer" / "pictures.json")
        for picture in data["pictures"]:
            try:
                encoded = base64.b64encode((out / "viewer" / picture["file"]).read_bytes()).decode()
            except OSError as error:
                raise VaecodecError(
                    f"{out / 'viewer' / picture['file']}: cannot be read ({error.strerror})"
                ) from None
            picture["src"] = f"data:image/webp;base64,{encoded}"
    page = (PAGE / "page.html").read_text(encoding="utf-8")
    inline = json.dumps(data, ensure_ascii=False, allow_nan=False).replace(
        "<", "\\u003c"
    )  # names must not end the script
    parts = {
        "{{title}}": html.escape(_title(data)),
        "{{css}}": _part("page.css"),
        "{{js}}": _part("page.js"),
        "{{data}}": inline,
    }
    for mark, text in parts.items():
        page = page.replace(mark, text)
    write(out / "index.html", page.encode())
    return out / "index.html"


def read_json(path: Path) -> Any:
    """What a JSON file of a report holds. Raises VaecodecError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise VaecodecError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise VaecodecError(f"{path}: damaged ({error})") from None


def _part(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _title(data: dict[str, Any]) -> str:
    return f"{OURS} {data.get('codecs', {}).get(OURS, '')}".strip()


def _quality(found: Results) -> dict[str, Any]:
    """What the page shows of a quality run."""
    charts = [
        {
            "metric": metric,
            "label": METRICS[metric].label,
            "version": found.metrics[metric],
            "lines": [
                {"label": line.label, "curve": line.curve, "published": line.published}
                for line in lines_of([("", found)], metric, with_published=True)
            ],
        }
        for metric in found.metrics
    ]
    return {
        "images": found.images,
        "codecs": {name: found.codecs[name] for name in found.curves_of()},
        "missing": found.missing,
        "failures": found.failures,
        "interrupted": found.interrupted,
        "charts": charts,
        "rates": found.bd_rates(),
        "software": found.software,
        "counts": {
            codec: {metric: len(found.images_of(codec, metric)) for metric in found.metrics}
            for codec in found.curves_of()
        },
        "perImage": {metric: _per_image(found, metric) for metric in found.metrics},
        "sources": [{"name": p.name, "source": p.source} for p in curves_for(found.images)],
    }


def _per_image(found: Results, metric: str) -> dict[str, dict[str, float | None]]:
    """BD-rate in percent against JPEG on each image alone, by image and codec; None where the curves allow none."""
    table: dict[str, dict[str, float | None]] = {}
    by_image: dict[str, Results] = {}
    for image, size in found.images.items():  # small results, as curves look at all samples
        samples = [sample for sample in found.samples if sample.image == image]
        by_image[image] = Results({}, found.metrics, found.codecs, {}, {image: size}, samples)
    for image, alone in by_image.items():
        table[image] = {}
        for codec in found.curves_of():
            if codec != "JPEG":
                try:
                    table[image][codec] = bd_rate(
                        alone.curve("JPEG", metric), alone.curve(codec, metric)
                    )
                except ValueError:
                    table[image][codec] = None
    return table
