"""The table of metrics, which measure how close a decoded picture is to the original."""

import importlib.util
import io
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version as installed_version

import numpy as np
import numpy.typing as npt
from PIL import Image

from vaecodec.errors import ParameterError, VaecodecError
from vaecodec.metrics import psnr

Pixels = npt.NDArray[np.uint8]
MAX_DECIBELS = 100.0  # also the value of an exact copy, so that means stay finite


@dataclass(frozen=True)
class Metric:
    """One way of comparing two pictures. Larger values are better.

    Attributes:
        label: Title of the axis in diagrams.
        version: Returns the version of the metric's library. Raises ImportError with a sentence if
            the library is missing.
        measure: Takes the original and the decoded picture, both uint8 (H, W, 3). Returns the
            value, or None if the pictures are too small for this metric.
        scale: Applied to values before curves are drawn and compared.
        digits: Decimal places of values in tables.
    """

    label: str
    version: Callable[[], str]
    measure: Callable[[Pixels, Pixels], float | None]
    scale: Callable[[float], float] = float
    digits: int = 2

    @property
    def short_label(self) -> str:
        """The label without the unit."""
        return self.label.replace(" (dB)", "")


def decibels(similarity: float) -> float:
    """Return -10 log10(1 - similarity), at most 100 dB: the usual scale for plots of MS-SSIM."""
    if similarity >= 1:
        return MAX_DECIBELS
    return min(-10 * math.log10(1 - similarity), MAX_DECIBELS)


def _ms_ssim(original: Pixels, decoded: Pixels) -> float | None:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about torch.jit
        from pytorch_msssim import ms_ssim

    if min(original.shape[:2]) <= 160:  # five scales of an 11 x 11 window
        return None
    torch.set_num_threads(1)  # processes, not threads, use the cores
    tensors = []
    for pixels in (original, decoded):
        tensors.append(torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float())
    return float(ms_ssim(*tensors, data_range=255))


def _ssimulacra2(original: Pixels, decoded: Pixels) -> float | None:
    from ssimulacra2 import compute_ssimulacra2

    if min(original.shape[:2]) < 8:
        return None
    return float(compute_ssimulacra2(_as_ppm(original), _as_ppm(decoded)))


def _as_ppm(pixels: Pixels) -> io.BytesIO:
    """Return the picture as an uncompressed file, because ssimulacra2 takes only files."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PPM")
    return out


def _package_versions(*names: str, extra: str) -> Callable[[], str]:
    """Return the `version` function of a metric that needs these packages."""

    def version() -> str:
        for name in names:
            if importlib.util.find_spec(name.replace("-", "_")) is None:
                raise ImportError(f"{name} is not installed: pip install {extra}")
        return ", ".join(f"{name} {installed_version(name)}" for name in names)

    return version


METRICS: dict[str, Metric] = {
    "psnr": Metric(
        "RGB-PSNR (dB)",
        lambda: "10 log10(255² / MSE), MSE over all RGB samples",
        lambda original, decoded: min(psnr(original, decoded), MAX_DECIBELS),
    ),
    "ms-ssim": Metric(
        "MS-SSIM (dB)",
        _package_versions("torch", "pytorch-msssim", extra="'vaecodec[bench,train]'"),
        _ms_ssim,
        decibels,
        digits=4,
    ),
    "ssimulacra2": Metric(
        "SSIMULACRA 2", _package_versions("ssimulacra2", extra="'vaecodec[bench]'"), _ssimulacra2
    ),
}


def check_metric(name: str) -> None:
    """Raise ParameterError if there is no metric of this name."""
    if name not in METRICS:
        raise ParameterError(f"there is no metric '{name}'; choose from {', '.join(METRICS)}")


def choose_metrics(names: str) -> tuple[dict[str, str], dict[str, str]]:
    """Parse "psnr,ms-ssim,..." or "all", and check which of these metrics can be measured.

    Returns:
        The version of each available metric, and the reason for each missing one.

    Raises:
        VaecodecError: A name is unknown, or none of the metrics is available.
    """
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    chosen = [part.strip().lower() for part in names.split(",")]
    for name in METRICS if chosen == ["all"] else dict.fromkeys(chosen):
        check_metric(name)
        try:
            versions[name] = METRICS[name].version()
        except ImportError as error:
            missing[name] = str(error)
    if not versions:
        raise VaecodecError(f"none of the metrics can be measured: {'; '.join(missing.values())}")
    return versions, missing


def measure(names: list[str], original: Pixels, decoded: Pixels) -> dict[str, float | None]:
    """Return the value of each named metric, None if the pictures are too small for it."""
    return {name: METRICS[name].measure(original, decoded) for name in names}
