"""Pictures to look at side by side: vaecodec at a few bit rates, and each peer's file of the nearest size."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import vaecodec
from vaecodec.cli.errors import print_error
from vaecodec.errors import VaecodecError
from vaecodec.image.files import make_folder
from vaecodec.metrics import psnr
from vaecodec_bench.peers import EFFORTS, OURS, Codec, available
from vaecodec_bench.quality import read_rgb, write
from vaecodec_bench.results import Results

RATES = (0.25, 0.5, 1.0)  # bits per pixel
SIDE = 1024  # pixels; of larger pictures the page holds the middle
SHOWN = f"WebP at quality 90 (of pictures larger than {SIDE} x {SIDE}, the middle)"
TRIES = 3  # of a peer's quality, on the way to the size wanted


def write_pictures(folder: Path, out: Path, found: Results, model: str | None, count: int) -> int:
    """viewer/*.webp and viewer/pictures.json into `out`, of up to `count` of the images measured, spread over all.

    Returns the number of failures, each named on standard error. Raises VaecodecError.
    """
    images = list(found.images)[:: max(1, len(found.images) // count)][:count] if count else []
    codecs = available(model)[0]
    make_folder(out / "viewer")
    pictures: list[dict[str, Any]] = []
    failures = 0
    for name in images:
        image = read_rgb(folder / name)

        def keep(
            codec: str, rate: float, picture: Image.Image, more: dict[str, Any], name: str = name
        ) -> None:
            file = f"{len(pictures):03}.webp"
            write(out / "viewer" / file, _shown(picture))
            pictures.append({"image": name, "codec": codec, "rate": rate, "file": file} | more)

        size = image.width * image.height
        keep(
            "original",
            0,
            image,
            {
                "width": min(image.width, SIDE),
                "height": min(image.height, SIDE),
                "bytes": (folder / name).stat().st_size,
            },
        )
        for rate in RATES:
            target = 0
            for codec in codecs.values():
                if codec.name != OURS and (codec.name in EFFORTS or not _sizes(found, codec, name)):
                    continue  # ours with more effort takes minutes; others are compared by speed only, or failed on this image
                try:
                    data = (
                        nearest(codec, image, target, _sizes(found, codec, name))
                        if target
                        else ours(image, rate, model)
                    )
                    decoded = codec.decode(data, 0)
                except (
                    Exception
                ) as error:  # codecs raise many kinds, and the others can still be shown
                    print_error(f"{name}: {codec.name}", VaecodecError(f"failed ({error})"))
                    failures += 1
                    if not target:
                        break  # without ours there is nothing to compare with
                    continue
                target = target or len(data)
                ratio = min(psnr(np.asarray(image), np.asarray(decoded)), 100)
                keep(
                    codec.name,
                    rate,
                    decoded,
                    {"bytes": len(data), "bpp": len(data) * 8 / size, "psnr": ratio},
                )
    write(
        out / "viewer" / "pictures.json",
        json.dumps(pictures, indent=1, ensure_ascii=False).encode(),
    )
    return failures


def ours(image: Image.Image, rate: float, model: str | None) -> bytes:
    """vaecodec's file of at most `rate` bits per pixel; its smallest one where none is so small."""
    try:
        return vaecodec.encode(image, bpp=rate, model=model)
    except VaecodecError:
        return vaecodec.encode(image, 1, model=model)


def nearest(codec: Codec, image: Image.Image, size: int, known: dict[float, int]) -> bytes:
    """The codec's file nearest to `size` bytes, within its range of qualities. known: bytes by quality, where measured."""
    tried: dict[float, bytes] = {}
    for _ in range(TRIES):
        line = sorted(known.items(), key=lambda item: item[1])
        quality = float(np.interp(np.log(size), np.log([b for _, b in line]), [q for q, _ in line]))
        tried[quality] = codec.encode(image, quality, 0)
        if quality in known or abs(len(tried[quality]) / size - 1) < 0.005:
            break
        known[quality] = len(tried[quality])
    return min(tried.values(), key=lambda data: abs(len(data) - size))


def _sizes(found: Results, codec: Codec, image: str) -> dict[float, int]:
    return {s.quality: s.bytes for s in found.samples if s.codec == codec.name and s.image == image}


def _shown(picture: Image.Image) -> bytes:
    width, height = min(picture.width, SIDE), min(picture.height, SIDE)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    out = io.BytesIO()
    picture.crop((left, top, left + width, top + height)).save(out, "WEBP", quality=90)
    return out.getvalue()
