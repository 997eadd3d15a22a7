"""Add golden files for a model: python tests/golden/make.py [MODEL], the default one if not named.

Existing files are never rewritten.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import vaecodec

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers import GOLDEN, encode_tiled, kodak_crop, latent_sums


def sixteen_bits(picture: Image.Image) -> np.ndarray:
    """Return a smooth picture with more than 256 levels."""
    fine = np.asarray(picture, np.uint16) * 257
    ramp = np.arange(fine.shape[1], dtype=np.uint16) % 200
    return fine + ramp.reshape(1, -1, *[1] * (fine.ndim - 2))


def with_alpha(picture: Image.Image) -> Image.Image:
    picture.putalpha(Image.radial_gradient("L").resize(picture.size))
    return picture


def with_metadata(picture: Image.Image) -> Image.Image:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    picture.info.update(icc_profile=bytes(range(256)), exif=exif.tobytes(), xmp=b"<x:xmpmeta/>")
    return picture


TILED = {"tile_code": 7}
CASES: dict[str, tuple[Any, float, dict[str, Any]]] = {
    "smallest": (kodak_crop(3, 1, 1), 50.0, {}),
    "odd": (kodak_crop(7, 77, 51), 37.25, {}),
    "low": (kodak_crop(15, 200, 140), 1.0, {}),
    "high": (kodak_crop(19, 130, 190), 100.0, {}),
    "grey": (kodak_crop(10, 96, 64).convert("L"), 75.0, {}),
    "black": (Image.new("RGB", (64, 64)), 50.0, {}),
    "tiled": (kodak_crop(20, 300, 200), 40.0, TILED),
    "progressive": (kodak_crop(21, 200, 300), 60.0, {**TILED, "progressive": True}),
    "alpha": (with_alpha(kodak_crop(22, 90, 70)), 50.0, {}),
    "alpha-tiled": (
        with_alpha(kodak_crop(2, 150, 131).convert("L")),
        50.0,
        {**TILED, "progressive": True},
    ),
    "grey16": (sixteen_bits(kodak_crop(12, 100, 80).convert("L")), 90.0, {}),
    "color16": (sixteen_bits(kodak_crop(13, 80, 100)), 90.0, {}),
    "alpha16": (sixteen_bits(with_alpha(kodak_crop(14, 64, 64))), 60.0, {}),
    "grey-alpha16": (sixteen_bits(with_alpha(kodak_crop(5, 70, 50).convert("L"))), 45.0, {}),
    "tiled16": (sixteen_bits(kodak_crop(6, 200, 150)), 30.0, TILED),
    "metadata": (with_metadata(kodak_crop(9, 66, 66)), 50.0, {}),
}


def main(model: str | None = None) -> None:
    for name, (image, quality, options) in CASES.items():
        data = encode_tiled(image, quality, model=model, **{"tile_code": 0, **options})
        header = vaecodec.probe(data)
        path = GOLDEN / f"v{header.version}-{header.model}-{name}.vae"
        if path.exists():
            continue
        path.write_bytes(data)
        np.savez_compressed(path.with_suffix(".npz"), picture=vaecodec.decode_array(data))
        path.with_suffix(".json").write_text(json.dumps(latent_sums(data), indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
