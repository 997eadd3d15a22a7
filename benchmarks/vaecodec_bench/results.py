"""What was measured: samples, the curves and BD-rates that follow from them, and the files that hold them."""

import csv
import io
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from vaecodec.errors import VaecodecError
from vaecodec_bench.bd_rate import Curve, bd_rate
from vaecodec_bench.metrics import METRICS

ANCHORS = ("JPEG", "AVIF")


@dataclass(frozen=True)
class Sample:
    """One picture from one codec at one quality: the file's size, and each metric's value, None where it has none."""

    codec: str
    image: str
    quality: float
    bytes: int
    bpp: float
    metrics: dict[str, float | None]


@dataclass
class Results:
    """A run. images: (width, height) by name. codecs, metrics: versions by name. missing: codecs and metrics that could
    not be used, with the reason. failures: (codec or "", image, reason); a picture that a codec fails on at any quality has
    no samples of that codec. interrupted: before everything was measured."""

    software: dict[str, str]
    metrics: dict[str, str]
    codecs: dict[str, str]
    missing: dict[str, str]
    images: dict[str, tuple[int, int]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    interrupted: bool = False

    def images_of(self, codec: str, metric: str) -> set[str]:
        """The pictures on which a codec's curve can rest: measured at every quality, and with that metric."""
        mine = [s for s in self.samples if s.codec == codec]
        return {s.image for s in mine} - {s.image for s in mine if s.metrics.get(metric) is None}

    def points(self, codec: str, metric: str, images: Collection[str]) -> list[dict[str, float]]:
        """A codec's curve over some pictures: quality, mean bits per pixel, mean value; in the order of qualities."""
        rows: dict[float, list[Sample]] = {}
        for sample in self.samples:
            if sample.codec == codec and sample.image in images:
                rows.setdefault(sample.quality, []).append(sample)
        return [
            {
                "quality": quality,
                "bpp": fmean(s.bpp for s in row),
                "value": fmean(s.metrics[metric] or 0.0 for s in row),
            }
            for quality, row in sorted(rows.items())
        ]

    def curve(self, codec: str, metric: str, images: Collection[str] | None = None) -> Curve:
        """(bits per pixel, value on the scale of plots) of a codec, over its own pictures unless told which."""
        points = self.points(
            codec, metric, self.images_of(codec, metric) if images is None else images
        )
        return [(p["bpp"], METRICS[metric].scale(p["value"])) for p in points]

    def bd_rates(self) -> list[dict[str, Any]]:
        """BD-rates in percent against each anchor, by each metric, over the pictures that both have.

        Each is {anchor, metric, codec, images, rate} with a rate of None, and a reason, where the curves allow none.
        """
        rates: list[dict[str, Any]] = []
        for anchor in (a for a in ANCHORS if a in self.curves_of()):
            for metric in self.metrics:
                for codec in self.curves_of():
                    if codec == anchor:
                        continue
                    both = self.images_of(codec, metric) & self.images_of(anchor, metric)
                    row: dict[str, Any] = {
                        "anchor": anchor,
                        "metric": metric,
                        "codec": codec,
                        "images": len(both),
                    }
                    try:
                        row["rate"] = bd_rate(
                            self.curve(anchor, metric, both), self.curve(codec, metric, both)
                        )
                    except ValueError as error:
                        row |= {"rate": None, "reason": str(error)}
                    rates.append(row)
        return rates

    def curves_of(self) -> list[str]:
        """Names of the codecs that have samples, in the order of the table."""
        have = {sample.codec for sample in self.samples}
        return [name for name in self.codecs if name in have]


def to_json(results: Results) -> bytes:
    """results.json: all samples, and for the reader also the means and BD-rates."""
    means = {
        codec: {
            metric: {
                "images": len(results.images_of(codec, metric)),
                "points": results.points(codec, metric, results.images_of(codec, metric)),
            }
            for metric in results.metrics
        }
        for codec in results.curves_of()
    }
    data = asdict(results) | {"means": means, "bd_rate": results.bd_rates()}
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read(path: Path) -> Results:
    """A results.json. Raises VaecodecError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        results = Results(
            **{
                name: data[name]
                for name in (
                    "software",
                    "metrics",
                    "codecs",
                    "missing",
                    "images",
                    "failures",
                    "interrupted",
                )
            }
        )
        results.samples = [Sample(**sample) for sample in data["samples"]]
        known = all(
            isinstance(s.bpp, float) and s.codec in results.codecs and s.image in results.images
            for s in results.samples
        )
        if not (known and results.samples and set(results.metrics) <= set(METRICS)):
            raise ValueError("it holds no samples that fit together")
        return results
    except OSError as error:
        raise VaecodecError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError) as error:
        raise VaecodecError(f"{path}: not a results.json of vaecodec bench ({error})") from None


def to_csv(results: Results) -> bytes:
    """results.csv: one line a sample; an empty cell where a metric has no value."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(
        ["codec", "image", "width", "height", "quality", "bytes", "bpp", *results.metrics]
    )
    for s in results.samples:
        rows.writerow(
            [
                s.codec,
                s.image,
                *results.images[s.image],
                f"{s.quality:g}",
                s.bytes,
                s.bpp,
                *(s.metrics.get(name) for name in results.metrics),
            ]
        )
    return out.getvalue().encode()
