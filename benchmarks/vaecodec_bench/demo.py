"""One photograph through vaecodec and through JPEG: python demo.py PHOTO FOLDER. Needs only the codec itself."""

import io
import sys
import time
from collections.abc import Callable
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


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """The result, and the seconds of the second run: the first one loads networks."""
    work()
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()


def db(image: Image.Image, data: bytes) -> float:
    return psnr(np.asarray(image), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def main(photo: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.open(photo).convert("RGB")
    pixels = image.width * image.height
    data, encode_seconds = timed(lambda: vaecodec.encode(image))
    decoded, decode_seconds = timed(lambda: vaecodec.decode(data))
    ours = psnr(np.asarray(image), np.asarray(decoded))
    same_psnr = next((q for q in range(1, 101) if db(image, jpeg(image, q)) >= ours), 100)
    same_size = max((q for q in range(1, 101) if len(jpeg(image, q)) <= len(data)), default=1)

    title = f"{photo.name}, {image.width} x {image.height}"
    table = Table("", "bytes", "bits per pixel", "PSNR", "encode", "decode", title=title)

    def row(name: str, file: bytes, ratio: float, encoding: float, decoding: float) -> None:
        table.add_row(
            name,
            f"{len(file):,}",
            f"{len(file) * 8 / pixels:.3f}",
            f"{ratio:.2f} dB",
            f"{encoding * 1e3:.0f} ms",
            f"{decoding * 1e3:.0f} ms",
        )

    row("vaecodec, quality 50", data, ours, encode_seconds, decode_seconds)
    write_file(folder / "original.png", photo.read_bytes())
    write_file(folder / "vaecodec.vae", data)
    decoded.save(folder / "vaecodec.png")
    for quality, name in ((same_psnr, "same-quality"), (same_size, "same-size")):
        _, encoding = timed(lambda q=quality: jpeg(image, q))  # type: ignore[misc]
        file = jpeg(image, quality)
        _, decoding = timed(lambda f=file: Image.open(io.BytesIO(f)).load())  # type: ignore[misc]
        row(
            f"JPEG, quality {quality} ({name.replace('-', ' ')})",
            file,
            db(image, file),
            encoding,
            decoding,
        )
        write_file(folder / f"jpeg-{name}.jpg", file)
    Console().print(table)
    print(
        f"The pictures are in {folder}/: original.png, vaecodec.png, jpeg-same-quality.jpg, jpeg-same-size.jpg."
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
