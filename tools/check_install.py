"""Check an installed vaecodec, such as one from a release's wheel: check_install.py."""

import sys

import numpy as np
from PIL import Image

import vaecodec
from vaecodec.engine import available, chosen, native


def main() -> None:
    if not native.kernels():
        sys.exit("the engine's C code is not installed")
    x, y = np.meshgrid(np.arange(96), np.arange(64))
    picture = Image.fromarray(np.stack([2 * x, 3 * y, x + y], 2).astype(np.uint8))
    data = vaecodec.encode(picture, 80)
    decoded = np.asarray(vaecodec.decode(data))
    apart = float(np.abs(decoded.astype(int) - np.asarray(picture)).mean())
    if apart > 3:
        sys.exit(f"the decoded picture differs by {apart:.1f} grey levels")
    print(
        f"vaecodec {vaecodec.__version__}, engine {chosen()} of {', '.join(available())}: "
        f"{len(data)} bytes, {apart:.2f} grey levels apart"
    )


if __name__ == "__main__":
    main()
