"""Decode the golden files here, and compare latents exactly and pictures to one grey level."""

import json
import platform
import sys
import time
from pathlib import Path

import numpy as np

import vaecodec
from vaecodec.engine import chosen
from vaecodec.entropy import backend

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers import GOLDEN, latent_sums


def main() -> int:
    failures = 0
    print(
        f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, "
        f"range coder {backend.NAME}, engine {chosen()}"
    )
    for path in sorted(GOLDEN.glob("*.vae")):
        start = time.perf_counter()
        data = path.read_bytes()
        same = latent_sums(data, threads=2) == json.loads(path.with_suffix(".json").read_text())
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
