"""The table of metrics: how near a decoded picture is to the original."""

import importlib.util
import io
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version as installed
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vaecodec.errors import VaecodecError
from vaecodec.metrics import psnr

Pixels = npt.NDArray[np.uint8]
HIGHEST = 100.0  # dB; also of a picture that comes back exactly, so that means stay finite


@dataclass(frozen=True)
class Metric:
    """One way of comparing two pictures; larger is better.

    label: as on an axis. version: of its library; raises ImportError with a reason where it is missing.
    measure: original and decoded, both uint8 (H, W, 3) -> the value, or None for pictures too small to be measured.
    scale: of values, before curves are drawn and compared.
    """

    label: str
    version: Callable[[], str]
    measure: Callable[[Pixels, Pixels], float | None]
    scale: Callable[[float], float] = float


def decibels(similarity: float) -> float:
    """MS-SSIM, 0 to 1, on the scale on which it is usually plotted: -10 log10(1 - MS-SSIM), at most 100 dB."""
    return min(-10 * math.log10(1 - similarity), HIGHEST) if similarity < 1 else HIGHEST


def _ms_ssim(original: Pixels, decoded: Pixels) -> float | None:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about torch.jit
        from pytorch_msssim import ms_ssim

    if min(original.shape[:2]) <= 160:  # five scales of an 11 x 11 window
        return None
    torch.set_num_threads(1)  # processes, not threads, use the cores
    a, b = (
        torch.from_numpy(np.array(x)).permute(2, 0, 1)[None].float() for x in (original, decoded)
    )
    return float(ms_ssim(a, b, data_range=255))


def _ssimulacra2(original: Pixels, decoded: Pixels) -> float | None:
    from ssimulacra2 import compute_ssimulacra2

    if min(original.shape[:2]) < 8:
        return None
    return float(compute_ssimulacra2(*(_file(x) for x in (original, decoded))))


def _file(pixels: Pixels) -> io.BytesIO:
    """An uncompressed file, as the package takes files only."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PPM")
    return out


def _packages(*names: str, extra: str) -> Callable[[], str]:
    """Version function of a metric that lives in the packages named."""

    def version() -> str:
        for name in names:
            if importlib.util.find_spec(name.replace("-", "_")) is None:
                raise ImportError(f"{name} is not installed: pip install {extra}")
        return ", ".join(f"{name} {installed(name)}" for name in names)

    return version


METRICS: dict[str, Metric] = {
    "psnr": Metric(
        "RGB-PSNR (dB)",
        lambda: "10 log10(255² / MSE), MSE over all RGB samples",
        lambda a, b: min(psnr(a, b), HIGHEST),
    ),
    "ms-ssim": Metric(
        "MS-SSIM (dB)",
        _packages("torch", "pytorch-msssim", extra="'vaecodec[bench,train]'"),
        _ms_ssim,
        decibels,
    ),
    "ssimulacra2": Metric(
        "SSIMULACRA 2", _packages("ssimulacra2", extra="'vaecodec[bench]'"), _ssimulacra2
    ),
}


def chosen(names: str) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Of "psnr,ms-ssim,...": the available ones, their versions, and the reasons of those that are missing.

    Raises VaecodecError for an unknown name.
    """
    found: list[str] = []
    versions, missing = {}, {}
    for name in dict.fromkeys(part.strip().lower() for part in names.split(",")):
        if name not in METRICS:
            raise VaecodecError(f"there is no metric '{name}'; choose from {', '.join(METRICS)}")
        try:
            versions[name] = METRICS[name].version()
            found.append(name)
        except ImportError as error:
            missing[name] = str(error)
    if not found:
        raise VaecodecError(f"none of the metrics can be measured: {'; '.join(missing.values())}")
    return found, versions, missing


def measure(names: list[str], original: Pixels, decoded: Pixels) -> dict[str, Any]:
    """The named metrics' values; None where the pictures are too small for one."""
    return {name: METRICS[name].measure(original, decoded) for name in names}
