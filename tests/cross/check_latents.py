"""Decodes the golden files on this machine and compares latents exactly, pictures to one grey level."""
import hashlib
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from vaecodec import entropy
from vaecodec.codec import decode_latents, synthesise
from vaecodec.pixels import to_image


def main() -> int:
    failures = 0
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, "
          f"range coder {'constriction' if 'constriction' in sys.modules else entropy.coder.__name__}")
    for path in sorted((Path(__file__).parents[1] / "golden").glob("*.vae")):
        start = time.perf_counter()
        header, latents, nets = decode_latents(path.read_bytes(), threads=2)
        expected = json.loads(path.with_suffix(".json").read_text())
        same = all(hashlib.sha256(getattr(latents, part).astype("<i4").tobytes()).hexdigest() == expected[part]
                   for part in ("y", "z"))
        picture = np.asarray(to_image(synthesise(latents, header, nets), header.color), int)
        apart = int(np.abs(picture - np.asarray(Image.open(path.with_suffix(".png")), int)).max())
        failures += not same or apart > 1
        print(f"{path.stem}: latents {'identical' if same else 'DIFFER'}, picture within {apart} grey levels, "
              f"{time.perf_counter() - start:.1f} s")
    print("all identical" if not failures else f"{failures} files differ")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
