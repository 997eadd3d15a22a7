"""Curves of other codecs on the Kodak images, as their authors or CompressAI published them.

They are shown for context and are not measured here.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from vaecodec_bench.bd_rate import Curve

KODAK = {f"kodim{number:02d}" for number in range(1, 25)}


@dataclass(frozen=True)
class Published:
    """A published curve.

    Attributes:
        name: Name of the codec.
        source: Where the curve was published.
        curve: (bits per pixel, RGB-PSNR in dB) points, each a mean over the 24 Kodak images.
    """

    name: str
    source: str
    curve: Curve


def curves_for(images: Collection[str]) -> list[Published]:
    """Return the published curves if `images` names the 24 Kodak images, and none otherwise."""
    if {Path(name).stem for name in images} != KODAK:
        return []
    files = [file for file in resources.files(__package__).iterdir() if file.name.endswith(".json")]
    curves = []
    for file in sorted(files, key=lambda file: file.name):
        data = json.loads(file.read_text(encoding="utf-8"))
        curve = list(zip(data["bpp"], data["psnr_rgb"], strict=True))
        curves.append(Published(data["name"], data["source"], curve))
    return curves
