"""Turn the small VAE into a codec.

Its latents are rounded, a factorized prior of the integers is learned, and a range coder writes
them. In training, additive uniform noise stands for rounding (Ballé et al. 2017). The posterior is
then a box of width 1 instead of a Gaussian, and the KL divergence becomes the number of bits.
"""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from compressai.entropy_models import EntropyBottleneck
from PIL import Image
from torch import Tensor, nn

from vaecodec.entropy.coder import MAX_SYMBOL as MAX_CODED_SYMBOL
from vaecodec.entropy.coder import Decoder, Encoder
from vaecodec.entropy.tables import Tables
from vaecodec.errors import FormatError, VaecodecError
from vaecodec_train.export.model_folder import to_frequencies
from vaecodec_train.tutorial.fit import psnr
from vaecodec_train.tutorial.models import PIXELS, DigitVae, dense_layers

MAGIC = b"digits01"
HEADER = struct.Struct("<8sII")  # magic, number of digits, CRC-32 of the latents
MAX_DIGITS = 10**6
MAX_SYMBOL = 127
SHEET_COLUMNS = 100


class DigitCodec(DigitVae):
    """784-400-200-latent-200-400-784, with a separate prior for each latent."""

    def __init__(self, latent: int = 100, weight: float = 150.0):
        super().__init__(latent)
        self.weight = weight  # of the squared error of a digit, against nats
        # A rounded latent needs no variance.
        self.encoder = nn.Sequential(nn.Flatten(), *dense_layers(PIXELS, 400, 200, latent))
        self.prior = EntropyBottleneck(latent, init_scale=4)

    def losses(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return weight * squared error, and the estimated nats of the latents (B,)."""
        noisy = self.encoder(x) + torch.rand(len(x), self.latent, generator=generator) - 0.5
        error = (torch.sigmoid(self.decode(noisy)) - x).square().sum((1, 2, 3))
        likelihood = self.prior._likelihood(noisy.T[:, None])[0]
        return self.weight * error, -likelihood.clamp_min(1e-9).log().sum((0, 1))

    @torch.no_grad()
    def tables(self) -> Tables:
        """Return the probabilities of the integers under the learned prior."""
        values = torch.arange(-MAX_SYMBOL, MAX_SYMBOL + 1).float()
        likelihood = self.prior._likelihood(values.expand(self.latent, 1, -1))[0][:, 0]
        half_widths = []
        frequencies = []
        for row in likelihood.double().numpy():
            likely = np.flatnonzero(row > 2**-20)
            half = max(1, int(np.abs(likely - MAX_SYMBOL).max())) if likely.size else 1
            probabilities = row[MAX_SYMBOL - half : MAX_SYMBOL + half + 1]
            half_widths.append(half)
            frequencies.append(to_frequencies(np.maximum(probabilities, 1e-12)))
        return Tables(np.array(half_widths), np.concatenate(frequencies))

    @torch.no_grad()
    def compress(self, images: Tensor) -> bytes:
        """Encode images (n, 1, 28, 28) to the bytes of a file."""
        rounded = torch.round(self.encoder(images)).int().numpy().reshape(-1)
        symbols = np.clip(rounded, -MAX_CODED_SYMBOL, MAX_CODED_SYMBOL)
        coder = Encoder()
        coder.encode(self.tables(), np.tile(np.arange(self.latent), len(images)), symbols)
        checksum = zlib.crc32(symbols.astype("<i4").tobytes())
        return HEADER.pack(MAGIC, len(images), checksum) + coder.finish()

    @torch.no_grad()
    def decompress(self, data: bytes) -> Tensor:
        """Decode the bytes of a file to images (n, 1, 28, 28) in [0, 1].

        Raises FormatError if they are damaged.
        """
        if len(data) < HEADER.size or data[:8] != MAGIC:
            raise FormatError("not a file of digits")
        _, count, checksum = HEADER.unpack_from(data)
        if count > MAX_DIGITS:
            raise FormatError(f"holds {count} digits; the limit is {MAX_DIGITS}")
        coder = Decoder(data[HEADER.size :])
        symbols = coder.decode(self.tables(), np.tile(np.arange(self.latent), count))
        if zlib.crc32(symbols.astype("<i4").tobytes()) != checksum:
            raise FormatError("damaged, or written by another model (checksum mismatch)")
        latents = torch.from_numpy(symbols.reshape(count, self.latent)).float()
        return torch.sigmoid(self.decode(latents))


def sheet(images: Tensor) -> npt.NDArray[np.uint8]:
    """Arrange all images (n, 1, 28, 28) in one picture, 100 in a row.

    This suits formats for photographs best. A last incomplete row is dropped.
    """
    rows = len(images) // SHEET_COLUMNS
    pixels = (images[: rows * SHEET_COLUMNS] * 255).round().byte().numpy()
    pixels = pixels.reshape(rows, SHEET_COLUMNS, 28, 28).swapaxes(1, 2)
    return np.ascontiguousarray(pixels.reshape(rows * 28, SHEET_COLUMNS * 28))


def images_of_sheet(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """Undo `sheet`: return images (n, 1, 28, 28) in [0, 1]."""
    cells = pixels.reshape(-1, 28, SHEET_COLUMNS, 28).swapaxes(1, 2)
    return torch.from_numpy(cells.reshape(-1, 1, 28, 28).astype(np.float32) / 255)


def compare_formats(images: Tensor, min_psnr: float) -> dict[str, tuple[float, float]]:
    """Return bits per digit and PSNR in dB of other formats.

    The digits are stored in one file, and for lossless formats also one by one.

    min_psnr: of a lossy format, the smallest file with at least this PSNR counts.
    """
    together = sheet(images)
    digits = (images * 255).round().byte().numpy()[:, 0]
    sizes = {
        "raw pixels": digits.size,
        "zlib, all in one": len(zlib.compress(digits.tobytes(), 9)),
        "zlib, one by one": sum(len(zlib.compress(digit.tobytes(), 9)) for digit in digits),
        "PNG, all in one": len(_saved(together, "PNG", optimize=True)),
        "PNG, one by one": sum(len(_saved(digit, "PNG", optimize=True)) for digit in digits),
    }
    results = {name: (8 * size / len(images), float("inf")) for name, size in sizes.items()}
    lossy: list[tuple[str, str, dict[str, object]]] = [
        ("JPEG, all in one", "JPEG", {"optimize": True}),
        ("WebP, all in one", "WEBP", {"method": 6}),
    ]
    for name, kind, settings in lossy:
        for quality in range(1, 101):
            data = _saved(together, kind, quality=quality, **settings)
            decoded = images_of_sheet(np.asarray(Image.open(io.BytesIO(data)).convert("L")))
            reached = psnr(images[: len(decoded)], decoded)
            if reached >= min_psnr:
                results[name] = 8 * len(data) / len(images), reached
                break
    return results


def _saved(pixels: npt.NDArray[np.uint8], kind: str, **settings: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **settings)
    return out.getvalue()


def round_trip(model: DigitCodec, images: Tensor, path: Path) -> tuple[float, float]:
    """Write the images to a file and read it back. Returns bits per digit and PSNR in dB."""
    path.write_bytes(model.compress(images))
    data = path.read_bytes()
    decoded = model.decompress(data)
    if len(decoded) != len(images):
        raise VaecodecError(f"{path}: {len(decoded)} of {len(images)} digits were decoded")
    return 8 * len(data) / len(images), psnr(images, decoded)
