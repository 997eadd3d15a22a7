"""The small VAE made into a codec: its latents are rounded, a learned factorized prior says how likely each integer is, and a
range coder turns them into a file.

Rounding is additive uniform noise while training (Ballé et al. 2017): the posterior is a box of width 1 instead of a Gaussian,
and the KL divergence becomes the number of bits.
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

from vaecodec.entropy.coder import MAX_SYMBOL, Decoder, Encoder
from vaecodec.entropy.tables import Tables
from vaecodec.errors import FormatError, VaecodecError
from vaecodec_train.export.model_folder import to_frequencies
from vaecodec_train.tutorial.fit import psnr
from vaecodec_train.tutorial.models import PIXELS, VariationalAutoencoder, layers

MAGIC, HEAD = b"digits01", struct.Struct("<8sII")  # number of digits, CRC-32 of the latents


class DigitCodec(VariationalAutoencoder):
    """784-400-200-latent-200-400-784, with a prior of each latent on its own."""

    def __init__(self, latent: int = 100, weight: float = 150.0):
        super().__init__(latent)
        self.weight = weight  # of a digit's squared error, in nats
        self.encoder = nn.Sequential(
            nn.Flatten(), *layers(PIXELS, 400, 200, latent)
        )  # a rounded latent needs no variance
        self.prior = EntropyBottleneck(latent, init_scale=4)

    def losses(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """weight * squared error, and the estimated nats of the latents, of each image (B,)."""
        noisy = self.encoder(x) + torch.rand(len(x), self.latent, generator=generator) - 0.5
        error = (torch.sigmoid(self.decode(noisy)) - x).square().sum((1, 2, 3))
        likelihood = self.prior._likelihood(noisy.T[:, None])[0]
        return self.weight * error, -likelihood.clamp_min(1e-9).log().sum((0, 1))

    @torch.no_grad()
    def tables(self) -> Tables:
        """The learned prior's probabilities of the integers, as the range coder takes them."""
        values = torch.arange(-127, 128).float()
        likelihood = (
            self.prior._likelihood(values.expand(self.latent, 1, -1))[0][:, 0].double().numpy()
        )
        halves, frequencies = [], []
        for row in likelihood:
            seen = np.flatnonzero(row > 2**-20)
            half = max(1, int(np.abs(seen - 127).max()) if seen.size else 1)
            halves.append(half)
            frequencies.append(to_frequencies(np.maximum(row[127 - half : 128 + half], 1e-12)))
        return Tables(np.array(halves), np.concatenate(frequencies))

    @torch.no_grad()
    def compress(self, images: Tensor) -> bytes:
        """Images (n, 1, 28, 28) -> a file."""
        rounded = torch.round(self.encoder(images)).int().numpy().reshape(-1)
        symbols = np.clip(rounded, -MAX_SYMBOL, MAX_SYMBOL)
        coder = Encoder()
        coder.encode(self.tables(), np.tile(np.arange(self.latent), len(images)), symbols)
        return (
            HEAD.pack(MAGIC, len(images), zlib.crc32(symbols.astype("<i4").tobytes()))
            + coder.finish()
        )

    @torch.no_grad()
    def decompress(self, data: bytes) -> Tensor:
        """A file -> images (n, 1, 28, 28) in [0, 1]. Raises FormatError."""
        if len(data) < HEAD.size or data[:8] != MAGIC:
            raise FormatError("not a file of digits")
        _, count, checksum = HEAD.unpack_from(data)
        if count > 10**6:
            raise FormatError(f"holds more digits ({count}) than a million")
        coder = Decoder(data[HEAD.size :])
        symbols = coder.decode(self.tables(), np.tile(np.arange(self.latent), count))
        if zlib.crc32(symbols.astype("<i4").tobytes()) != checksum:
            raise FormatError(
                "damaged: its latents do not match their checksum, or they are another model's"
            )
        return torch.sigmoid(
            self.decode(torch.from_numpy(symbols.reshape(count, self.latent)).float())
        )


def sheet(images: Tensor) -> npt.NDArray[np.uint8]:
    """All images (n, 1, 28, 28) as one picture, 100 in a row, which is what formats for photographs like best."""
    n = len(images) // 100 * 100
    pixels = (images[:n] * 255).round().byte().numpy()
    return np.ascontiguousarray(
        pixels.reshape(n // 100, 100, 28, 28).swapaxes(1, 2).reshape(n // 100 * 28, 2800)
    )


def peers(images: Tensor, target: float) -> dict[str, tuple[float, float]]:
    """Bits per digit and PSNR in dB of other ways to store the same digits, all in one file as well as one by one.

    target: PSNR; of the lossy ones the smallest file that reaches it.
    """
    whole, raw = sheet(images), (images * 255).round().byte().numpy()
    exact = float("inf")

    def bits(size: int) -> float:
        return 8 * size / len(images)

    results = {
        "raw pixels": (28 * 28 * 8.0, exact),
        "zlib, all in one": (bits(len(zlib.compress(raw.tobytes(), 9))), exact),
        "zlib, one by one": (bits(sum(len(zlib.compress(one.tobytes(), 9)) for one in raw)), exact),
        "PNG, all in one": (bits(len(_saved(whole, "PNG", optimize=True))), exact),
        "PNG, one by one": (
            bits(sum(len(_saved(one[0], "PNG", optimize=True)) for one in raw)),
            exact,
        ),
    }
    for name, kind in (("JPEG, all in one", "JPEG"), ("WebP, all in one", "WEBP")):
        for quality in range(1, 101):
            data = _saved(
                whole,
                kind,
                quality=quality,
                **({"optimize": True} if kind == "JPEG" else {"method": 6}),
            )
            decoded = np.asarray(Image.open(io.BytesIO(data)).convert("L")).reshape(
                len(images) // 100, 28, 100, 28
            )
            shown = torch.from_numpy(
                decoded.swapaxes(1, 2).reshape(-1, 1, 28, 28).astype(np.float32) / 255
            )
            reached = psnr(images[: len(shown)], shown)
            if reached >= target:
                results[name] = bits(len(data)), reached
                break
    return results


def _saved(pixels: npt.NDArray[np.uint8], kind: str, **settings: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **settings)
    return out.getvalue()


def round_trip(model: DigitCodec, images: Tensor, path: Path) -> tuple[float, float]:
    """Write the images to a file, read it back: its bits per digit, and PSNR in dB."""
    path.write_bytes(model.compress(images))
    data = path.read_bytes()
    shown = model.decompress(data)
    if len(shown) != len(images):
        raise VaecodecError(f"{path}: came back with {len(shown)} of {len(images)} digits")
    return 8 * len(data) / len(images), psnr(images, shown)
