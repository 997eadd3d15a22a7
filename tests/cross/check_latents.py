"""Decodes the golden files on this machine and compares latents exactly, pictures to one grey level."""

import hashlib
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np

import vaecodec
from vaecodec.entropy import backend


def main() -> int:
    failures = 0
    print(
        f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, "
        f"range coder {backend.NAME}"
    )
    for path in sorted((Path(__file__).parents[1] / "golden").glob("*.vae")):
        start = time.perf_counter()
        data = path.read_bytes()
        with vaecodec.open(data, threads=2) as file:
            tiles = file.latents()
        expected = json.loads(path.with_suffix(".json").read_text())
        sums = {
            part: hashlib.sha256(
                b"".join(getattr(t, part).astype("<i4").tobytes() for t in tiles)
            ).hexdigest()
            for part in ("y", "z")
        }
        same = sums == expected
        picture = vaecodec.decode_array(data, threads=2)
        step = 257 if picture.dtype == np.uint16 else 1
        stored = np.load(path.with_suffix(".npz"))["picture"].astype(int)
        apart = -(-int(np.abs(picture.astype(int) - stored).max()) // step)
        failures += not same or apart > 1
        print(
            f"{path.stem}: latents {'identical' if same else 'DIFFER'}, picture within {apart} grey levels, "
            f"{time.perf_counter() - start:.1f} s"
        )
    print("all identical" if not failures else f"{failures} files differ")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
