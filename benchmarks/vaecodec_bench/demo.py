"""One photograph coded by vaecodec and by JPEG. Needs only the dependencies of the codec."""

import io
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

import vaecodec
from vaecodec.image.files import write_file
from vaecodec.metrics import psnr

T = TypeVar("T")


def run_demo(photo: Path, folder: Path) -> None:
    """Print a table of sizes, PSNR and times, and write the coded and decoded files to `folder`.

    Two JPEG files are compared with the .vae file: the smallest one with at least its PSNR, and
    the best one of at most its size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.open(photo).convert("RGB")
    data, encoding = _timed(partial(vaecodec.encode, image))
    decoded, decoding = _timed(partial(vaecodec.decode, data))
    quality = psnr(np.asarray(image), np.asarray(decoded))
    write_file(folder / "original.png", photo.read_bytes())
    write_file(folder / "vaecodec.vae", data)
    decoded.save(folder / "vaecodec.png")

    title = f"{photo.name}, {image.width} x {image.height}"
    table = Table("", "bytes", "bits per pixel", "PSNR", "encode", "decode", title=title)
    _add_row(table, "vaecodec, quality 50", image, data, quality, encoding, decoding)
    jpegs = {q: _jpeg(image, q) for q in range(1, 101)}
    same_quality = next((q for q, file in jpegs.items() if _psnr_of(image, file) >= quality), 100)
    same_size = max((q for q, file in jpegs.items() if len(file) <= len(data)), default=1)
    for q, criterion in ((same_quality, "same quality"), (same_size, "same size")):
        file, encoding = _timed(partial(_jpeg, image, q))
        _, decoding = _timed(partial(_decode_jpeg, file))
        name = f"JPEG, quality {q} ({criterion})"
        _add_row(table, name, image, file, _psnr_of(image, file), encoding, decoding)
        write_file(folder / f"jpeg-{criterion.replace(' ', '-')}.jpg", file)
    Console().print(table)
    print(
        f"The pictures are in {folder}/: original.png, vaecodec.png, jpeg-same-quality.jpg, "
        "jpeg-same-size.jpg."
    )


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return the result, and the seconds of a second run, because the first one loads networks."""
    work()
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def _jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()


def _decode_jpeg(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def _psnr_of(image: Image.Image, jpeg: bytes) -> float:
    return psnr(np.asarray(image), np.asarray(_decode_jpeg(jpeg).convert("RGB")))


def _add_row(
    table: Table,
    name: str,
    image: Image.Image,
    file: bytes,
    quality: float,
    encoding: float,
    decoding: float,
) -> None:
    bpp = len(file) * 8 / (image.width * image.height)
    table.add_row(
        name,
        f"{len(file):,}",
        f"{bpp:.3f}",
        f"{quality:.2f} dB",
        f"{encoding * 1e3:.0f} ms",
        f"{decoding * 1e3:.0f} ms",
    )
