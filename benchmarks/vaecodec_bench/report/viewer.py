"""Decoded pictures for the page: vaecodec at a few bit rates, and peers at the same file sizes."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import vaecodec
from vaecodec.errors import VaecodecError
from vaecodec.image.files import make_folder
from vaecodec.metrics import psnr
from vaecodec_bench.console import complain
from vaecodec_bench.files import read_rgb, write, write_json
from vaecodec_bench.metrics import MAX_DECIBELS
from vaecodec_bench.peers import EFFORTS, OURS, Peer, installed_peers
from vaecodec_bench.results import Results

RATES = (0.25, 0.5, 1.0)  # bits per pixel
MAX_SIDE = 1024  # pixels; larger pictures are cropped to their middle
PICTURE_FORMAT = f"WebP at quality 90 (cropped to the middle {MAX_SIDE} x {MAX_SIDE} if larger)"
MAX_TRIES = 3  # of a peer's quality, to come close to a file size
SIZE_TOLERANCE = 0.005


def write_pictures(folder: Path, out: Path, run: Results, model: str | None, count: int) -> int:
    """Write viewer/*.webp and viewer/pictures.json into `out`.

    Args:
        folder: The folder of the measured images.
        out: Folder of the report.
        run: The results of the quality benchmark.
        model: Id or folder of vaecodec's model, None for the default one.
        count: The maximum number of images. They are spread over all measured images.

    Returns:
        The number of failures, each of which is printed on standard error.

    Raises:
        VaecodecError: An image or the model cannot be read, or a file cannot be written.
    """
    names: list[str] = []
    if count:
        names = list(run.images)[:: max(1, len(run.images) // count)][:count]
    peers = installed_peers(model)[0]
    viewer = Viewer(out / "viewer", run, peers, model)
    make_folder(viewer.folder)
    for name in names:
        viewer.add_image(folder / name)
    write_json(viewer.folder / "pictures.json", viewer.pictures)
    return viewer.failures


class Viewer:
    """Collects the pictures of the page.

    Attributes:
        folder: Where the pictures are written.
        pictures: The rows of pictures.json.
        failures: Number of pictures that could not be coded.
    """

    def __init__(self, folder: Path, run: Results, peers: dict[str, Peer], model: str | None):
        self.folder = folder
        self.pictures: list[dict[str, Any]] = []
        self.failures = 0
        self._run = run
        self._peers = peers
        self._model = model

    def add_image(self, path: Path) -> None:
        """Add the original and the decoded pictures at each of RATES. Raises VaecodecError."""
        image = read_rgb(path)
        width = min(image.width, MAX_SIDE)
        height = min(image.height, MAX_SIDE)
        size = path.stat().st_size
        original = {"width": width, "height": height, "bytes": size}
        self._add(path.name, "original", 0, image, original)
        for rate in RATES:
            self._add_rate(path.name, image, rate)

    def _add_rate(self, name: str, image: Image.Image, rate: float) -> None:
        """Add vaecodec's picture, and each peer's with the closest file size."""
        try:
            ours = encode_at_rate(image, rate, self._model)
            decoded = self._peers[OURS].decode(ours, 0)
        except Exception as error:
            self._fail(name, OURS, error)
            return  # there is nothing to compare peers with
        self._add_decoded(name, image, rate, OURS, ours, decoded)
        for peer in self._peers.values():
            sizes = self._sizes(peer, name)
            # vaecodec with more effort takes minutes. A peer without sizes failed on this image or
            # is compared only by speed.
            if peer.name in EFFORTS or not sizes:
                continue
            try:
                data = encode_at_size(peer, image, len(ours), sizes)
                decoded = peer.decode(data, 0)
            except Exception as error:  # each library raises its own kinds
                self._fail(name, peer.name, error)
                continue
            self._add_decoded(name, image, rate, peer.name, data, decoded)

    def _add_decoded(
        self,
        name: str,
        image: Image.Image,
        rate: float,
        codec: str,
        data: bytes,
        decoded: Image.Image,
    ) -> None:
        quality = min(psnr(np.asarray(image), np.asarray(decoded)), MAX_DECIBELS)
        bpp = len(data) * 8 / (image.width * image.height)
        values = {"bytes": len(data), "bpp": bpp, "psnr": quality}
        self._add(name, codec, rate, decoded, values)

    def _add(
        self, name: str, codec: str, rate: float, picture: Image.Image, values: dict[str, Any]
    ) -> None:
        file = f"{len(self.pictures):03}.webp"
        write(self.folder / file, _as_webp(picture))
        row = {"image": name, "codec": codec, "rate": rate, "file": file}
        self.pictures.append(row | values)

    def _fail(self, name: str, codec: str, error: Exception) -> None:
        complain(f"{name}: {codec}", VaecodecError(f"failed ({error})"))
        self.failures += 1

    def _sizes(self, peer: Peer, image: str) -> dict[float, int]:
        """Return the measured file sizes of a peer by quality."""
        sizes = {}
        for sample in self._run.samples:
            if sample.codec == peer.name and sample.image == image:
                sizes[sample.quality] = sample.bytes
        return sizes


def encode_at_rate(image: Image.Image, rate: float, model: str | None) -> bytes:
    """Return vaecodec's file of at most `rate` bits per pixel, or its smallest file."""
    try:
        return vaecodec.encode(image, bpp=rate, model=model)
    except VaecodecError:
        return vaecodec.encode(image, 1, model=model)


def encode_at_size(peer: Peer, image: Image.Image, size: int, known: dict[float, int]) -> bytes:
    """Return a peer's file whose size is close to `size` bytes.

    known: measured sizes by quality. The search stays within their range of qualities.
    """
    sizes = dict(known)
    files: dict[float, bytes] = {}
    for _ in range(MAX_TRIES):
        line = sorted(sizes.items(), key=lambda item: item[1])
        log_sizes = np.log([bytes_ for _, bytes_ in line])
        quality = float(np.interp(np.log(size), log_sizes, [quality for quality, _ in line]))
        files[quality] = peer.encode(image, quality, 0)
        found_size = len(files[quality])
        if quality in sizes or abs(found_size / size - 1) < SIZE_TOLERANCE:
            break
        sizes[quality] = found_size
    return min(files.values(), key=lambda data: abs(len(data) - size))


def _as_webp(picture: Image.Image) -> bytes:
    """Return the middle of a picture as a WebP file."""
    width = min(picture.width, MAX_SIDE)
    height = min(picture.height, MAX_SIDE)
    left = (picture.width - width) // 2
    top = (picture.height - height) // 2
    out = io.BytesIO()
    picture.crop((left, top, left + width, top + height)).save(out, "WEBP", quality=90)
    return out.getvalue()
