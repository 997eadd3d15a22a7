"""Curves of other codecs on Kodak, as their authors or CompressAI published them: for context, not measured here."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from vaecodec_bench.bd_rate import Curve

FOLDER = Path(__file__).parent
KODAK = {f"kodim{number:02d}" for number in range(1, 25)}


@dataclass(frozen=True)
class Published:
    """One curve, bits per pixel and RGB-PSNR in dB, and where it was published."""

    name: str
    source: str
    curve: Curve


def curves_for(images: Collection[str]) -> list[Published]:
    """All published curves where the files named are the 24 Kodak images, and none for any others."""
    if {Path(name).stem for name in images} != KODAK:
        return []
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))]
    return [
        Published(f["name"], f["source"], list(zip(f["bpp"], f["psnr_rgb"], strict=True)))
        for f in found
    ]
