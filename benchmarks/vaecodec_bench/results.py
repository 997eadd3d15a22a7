"""The results of a run: samples, the curves and BD-rates computed from them, and their files."""

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

REFERENCES = ("JPEG", "AVIF")  # the codecs that BD-rates are computed against


@dataclass(frozen=True)
class Sample:
    """One picture coded by one codec at one quality.

    Attributes:
        codec: Name of the codec.
        image: Name of the image file.
        quality: On the codec's own scale.
        bytes: Size of the coded file.
        bpp: Bits per pixel of the coded file.
        metrics: Value of each metric, None where the picture is too small for it.
    """

    codec: str
    image: str
    quality: float
    bytes: int
    bpp: float
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class BdRate:
    """The BD-rate of a codec against a reference codec, over the images that both have.

    `rate` is in percent. It is None, with a `reason`, if the curves do not allow one.
    """

    reference: str
    metric: str
    codec: str
    images: int
    rate: float | None
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the row of results.json. Its key for the reference codec is "anchor"."""
        row: dict[str, Any] = {
            "anchor": self.reference,
            "metric": self.metric,
            "codec": self.codec,
            "images": self.images,
            "rate": self.rate,
        }
        if self.reason is not None:
            row["reason"] = self.reason
        return row


@dataclass
class Results:
    """One run of the quality benchmark.

    Attributes:
        software: Versions of vaecodec, Python and the main packages.
        metrics: Version of each metric.
        codecs: Version of each codec.
        missing: Codecs and metrics that could not be used, with the reason.
        images: (width, height) of each image.
        samples: All measurements. If a codec fails on an image at any quality, that image has no
            samples of that codec.
        failures: (codec, image, reason) of each failure. The codec is "" if the image itself could
            not be read.
        interrupted: Whether the run was stopped before everything was measured.
    """

    software: dict[str, str]
    metrics: dict[str, str]
    codecs: dict[str, str]
    missing: dict[str, str]
    images: dict[str, tuple[int, int]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    interrupted: bool = False

    def measured_codecs(self) -> list[str]:
        """Return the names of the codecs that have samples, in the order of the peer table."""
        names = {sample.codec for sample in self.samples}
        return [name for name in self.codecs if name in names]

    def images_of(self, codec: str, metric: str) -> set[str]:
        """Return the images that a codec coded at every quality and that have the metric."""
        samples = [sample for sample in self.samples if sample.codec == codec]
        without_value = {s.image for s in samples if s.metrics.get(metric) is None}
        return {s.image for s in samples} - without_value

    def image_count(self, codec: str) -> int:
        """Return the largest number of images that any metric of a codec has."""
        return max(len(self.images_of(codec, metric)) for metric in self.metrics)

    def points(self, codec: str, metric: str, images: Collection[str]) -> list[dict[str, float]]:
        """Return the points of a codec's curve: quality, mean bits per pixel, and mean value.

        The means are over `images`. The points are in ascending order of quality.
        """
        by_quality: dict[float, list[Sample]] = {}
        for sample in self.samples:
            if sample.codec == codec and sample.image in images:
                by_quality.setdefault(sample.quality, []).append(sample)
        points = []
        for quality, samples in sorted(by_quality.items()):
            bpp = fmean(sample.bpp for sample in samples)
            value = fmean(sample.metrics[metric] or 0.0 for sample in samples)
            points.append({"quality": quality, "bpp": bpp, "value": value})
        return points

    def curve(self, codec: str, metric: str, images: Collection[str] | None = None) -> Curve:
        """Return a codec's curve with values on the scale that is plotted.

        By default the means are over all images that the codec has for the metric.
        """
        if images is None:
            images = self.images_of(codec, metric)
        scale = METRICS[metric].scale
        return [(p["bpp"], scale(p["value"])) for p in self.points(codec, metric, images)]

    def bd_rates(self) -> list[BdRate]:
        """Return the BD-rate of each codec against each reference codec, by each metric."""
        codecs = self.measured_codecs()
        rates = []
        for reference in REFERENCES:
            if reference not in codecs:
                continue
            for metric in self.metrics:
                for codec in codecs:
                    if codec != reference:
                        rates.append(self._bd_rate(reference, metric, codec))
        return rates

    def _bd_rate(self, reference: str, metric: str, codec: str) -> BdRate:
        common = self.images_of(codec, metric) & self.images_of(reference, metric)
        reference_curve = self.curve(reference, metric, common)
        curve = self.curve(codec, metric, common)
        try:
            rate = bd_rate(reference_curve, curve)
        except ValueError as error:
            return BdRate(reference, metric, codec, len(common), None, str(error))
        return BdRate(reference, metric, codec, len(common), rate)


def to_json(results: Results) -> bytes:
    """Return the content of results.json: all samples, and the means and BD-rates for readers."""
    means: dict[str, Any] = {}
    for codec in results.measured_codecs():
        means[codec] = {}
        for metric in results.metrics:
            images = results.images_of(codec, metric)
            points = results.points(codec, metric, images)
            means[codec][metric] = {"images": len(images), "points": points}
    rates = [rate.as_json() for rate in results.bd_rates()]
    data = asdict(results) | {"means": means, "bd_rate": rates}
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


STORED = ("software", "metrics", "codecs", "missing", "images", "failures", "interrupted")


def read(path: Path) -> Results:
    """Read a results.json. Raises VaecodecError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        results = Results(**{name: data[name] for name in STORED})
        results.samples = [Sample(**sample) for sample in data["samples"]]
        if not _is_consistent(results):
            raise ValueError("its samples are missing or do not fit the rest")
        return results
    except OSError as error:
        raise VaecodecError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError) as error:
        raise VaecodecError(f"{path}: not a results.json of vaecodec bench ({error})") from None


def _is_consistent(results: Results) -> bool:
    if not results.samples or not set(results.metrics) <= set(METRICS):
        return False
    for sample in results.samples:
        if not isinstance(sample.bpp, float):
            return False
        if sample.codec not in results.codecs or sample.image not in results.images:
            return False
    return True


def to_csv(results: Results) -> bytes:
    """Return results.csv: one line per sample, with an empty cell where a metric has no value."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(
        ["codec", "image", "width", "height", "quality", "bytes", "bpp", *results.metrics]
    )
    for sample in results.samples:
        size = results.images[sample.image]
        values = [sample.metrics.get(name) for name in results.metrics]
        quality = f"{sample.quality:g}"
        rows.writerow(
            [sample.codec, sample.image, *size, quality, sample.bytes, sample.bpp, *values]
        )
    return out.getvalue().encode()
