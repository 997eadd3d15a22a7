"""Time to encode and decode one picture, each codec in turn in one process: python speed.py PHOTO [ROUNDS].

Ratios of medians of interleaved rounds; absolute times say as much about the machine. compressai's model has untrained
weights (its speed hardly depends on them), and peers that are not installed are skipped.
"""
import io
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

import vaecodec

Work = tuple[Callable[[], object], Callable[[], object]]
THREADS = 2


def pillow(image: Image.Image, kind: str, **options: object) -> Work:
    def encode() -> bytes:
        out = io.BytesIO()
        image.save(out, kind, **options)
        return out.getvalue()

    data = encode()
    return encode, lambda: Image.open(io.BytesIO(data)).load()


def ours(image: Image.Image) -> Work:
    data = vaecodec.encode(image, 50, threads=THREADS)
    return lambda: vaecodec.encode(image, 50, threads=THREADS), lambda: vaecodec.decode(data, threads=THREADS)


def jpeg_xl(image: Image.Image) -> Work:
    import pillow_jxl  # type: ignore[import-not-found]  # noqa: F401

    return pillow(image, "JXL", quality=75)


def mbt2018_mean(image: Image.Image) -> Work:
    import torch
    from compressai.zoo import mbt2018_mean as load

    torch.set_num_threads(THREADS)
    model = load(quality=4, pretrained=False).eval()
    model.update()
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    coded = torch.no_grad()(model.compress)(x)
    return (lambda: torch.no_grad()(model.compress)(x),
            lambda: torch.no_grad()(model.decompress)(coded["strings"], coded["shape"]))


PEERS: dict[str, Callable[[Image.Image], Work]] = {
    "vaecodec, quality 50": ours,
    "compressai mbt2018-mean, quality 4, untrained": mbt2018_mean,
    "AVIF (Pillow), quality 60": lambda image: pillow(image, "AVIF", quality=60, max_threads=THREADS),
    "JPEG XL (pillow-jxl-plugin), quality 75": jpeg_xl,
    "JPEG (Pillow), quality 75": lambda image: pillow(image, "JPEG", quality=75, optimize=True),
}


def main(photo: Path, rounds: int) -> None:
    image = Image.open(photo).convert("RGB")
    work: dict[str, Work] = {}
    for name, make in PEERS.items():
        try:
            work[name] = make(image)
        except (ImportError, OSError, KeyError) as error:
            print(f"skipped {name}: {error}", file=sys.stderr)
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in work}
    for _ in range(rounds):
        for name, pair in work.items():
            for direction in (0, 1):
                start = time.perf_counter()
                pair[direction]()
                seconds[name][direction].append(time.perf_counter() - start)
    median = {name: tuple(statistics.median(s) for s in pair) for name, pair in seconds.items()}
    base = next(iter(median.values()))
    table = Table("", "encode", "decode", "encode: times ours", "decode: times ours",
                  title=f"{photo.name}, {image.width} x {image.height}, {THREADS} threads, medians of {rounds} rounds")
    for name, (encode, decode) in median.items():
        table.add_row(name, f"{encode * 1e3:.1f} ms", f"{decode * 1e3:.1f} ms",
                      f"{encode / base[0]:.2f}", f"{decode / base[1]:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 15)
