"""Adds golden files for the default model: python tests/golden/make.py. Existing ones are for ever and are never rewritten."""
import hashlib
import json
import sys
from pathlib import Path

from PIL import Image

import vaecodec
from vaecodec.codec import decode_latents

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from conftest import kodak_crop  # noqa: E402

CASES = {
    "smallest": (kodak_crop(3, 1, 1), 50.0),
    "odd": (kodak_crop(7, 77, 51), 37.25),
    "low": (kodak_crop(15, 200, 140), 1.0),
    "high": (kodak_crop(19, 130, 190), 100.0),
    "grey": (kodak_crop(10, 96, 64).convert("L"), 75.0),
    "black": (Image.new("RGB", (64, 64)), 50.0),
}


def main() -> None:
    for name, (image, quality) in CASES.items():
        data = vaecodec.encode(image, quality)
        header, latents, _ = decode_latents(data)
        path = HERE / f"v{header.version}-{header.model}-{name}.vae"
        if path.exists():
            continue
        path.write_bytes(data)
        vaecodec.decode(data).save(path.with_suffix(".png"), optimize=True)
        sums = {part: hashlib.sha256(getattr(latents, part).astype("<i4").tobytes()).hexdigest() for part in ("y", "z")}
        path.with_suffix(".json").write_text(json.dumps(sums, indent=1) + "\n")


if __name__ == "__main__":
    main()
