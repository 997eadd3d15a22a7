"""What several test files share: pictures, comparisons, small tiles, and the command line."""

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import vaecodec
from vaecodec.coding.encoder import encode_picture
from vaecodec.coding.session import start_session
from vaecodec.format.container import MAX_PIXELS
from vaecodec.image.files import save_image
from vaecodec.image.picture import ImageSource, Picture, as_picture

ROOT = Path(__file__).parents[1]
KODAK = ROOT / "benchmarks" / "data" / "kodak"
GOLDEN = ROOT / "tests" / "golden"

Result = subprocess.CompletedProcess[bytes]


def kodak_crop(number: int, width: int, height: int) -> Image.Image:
    """Return the middle of a Kodak picture."""
    with Image.open(KODAK / f"kodim{number:02}.png") as image:
        left = (image.width - width) // 2
        top = (image.height - height) // 2
        return image.convert("RGB").crop((left, top, left + width, top + height))


def image_bytes(image: Image.Image, kind: str = "PNG", **options: object) -> io.BytesIO:
    """Return an image file of the given type."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    out.seek(0)
    return out


def saved_bytes(
    picture: Image.Image | np.ndarray, kind: str, info: dict[str, Any] | None = None
) -> io.BytesIO:
    """Return what `save_image` writes, with the metadata of `info` or of the image."""
    if info is None:
        info = picture.info if isinstance(picture, Image.Image) else {}
    out = io.BytesIO()
    save_image(picture, kind, out, info)
    out.seek(0)
    return out


def psnr(a: object, b: object) -> float:
    """Return the PSNR of two 8-bit pictures in dB."""
    error = np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def difference(a: object, b: object) -> int:
    """Return the largest difference of two samples at the same place."""
    return int(np.abs(np.asarray(a, int) - np.asarray(b, int)).max())


def flipped(data: bytes, at: int, bits: int = 0x10) -> bytes:
    """Return the data with some bits of one byte inverted."""
    damaged = bytearray(data)
    damaged[at] ^= bits
    return bytes(damaged)


def encode_tiled(
    source: Picture | ImageSource,
    quality: float = 50,
    tile_code: int = 7,
    *,
    model: str | None = None,
    progressive: bool = False,
    effort: int = 0,
) -> bytes:
    """Encode with a tile code of choice, so that small pictures have several tiles.

    The default is that of tiles of 128 x 128 pixels. 0 is one tile for the whole picture.
    """
    picture = as_picture(source)
    session = start_session(
        picture.width,
        picture.height,
        quality,
        max_pixels=MAX_PIXELS,
        model=model,
        concurrent=not effort,
        tile_code=tile_code,
    )
    return encode_picture(picture, session, progressive, effort=effort)


def latent_sums(data: bytes, threads: int = 0) -> dict[str, str]:
    """Return the SHA-256 of y and of z over all tiles of a file."""
    with vaecodec.open(data, threads=threads) as file:
        tiles = file.latents()
    sums = {}
    for part in ("y", "z"):
        digest = hashlib.sha256()
        for tile in tiles:
            digest.update(getattr(tile, part).astype("<i4").tobytes())
        sums[part] = digest.hexdigest()
    return sums


def run(*args: object, stdin: bytes = b"", cwd: Path | None = None) -> Result:
    """Run the command line in a child process."""
    return subprocess.run(
        [sys.executable, "-m", "vaecodec", *map(str, args)],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )


def succeeded(result: Result) -> str:
    """Check for exit code 0. Return what was written to standard error."""
    error = result.stderr.decode()
    assert result.returncode == 0, error
    return error


def refused(result: Result, *words: str, code: int = 1) -> None:
    """Check for an exit code, no output and a readable error that has all the words.

    With exit code 1, the error is a single line.
    """
    error = result.stderr.decode()
    assert result.returncode == code, error
    assert "Traceback" not in error
    assert result.stdout == b""
    if code == 1:
        assert len(error.strip().splitlines()) == 1, error
    missing = [word for word in words if word not in error]
    assert not missing, error
