"""h_s and the context model in int64 numpy, torch float64 and torch float32, from docs/FORMAT.md.

Each can stand in for `vaecodec.model.networks.Networks` in `vaecodec.coding.latents.decode_tile`.
They share no arithmetic with it.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

GROUP_AT = [[step ^ x for x in (0, 2, 3, 1)] for step in range(4)]


class IntegerNetworks:
    """The algorithm; a backend below gives `conv` its arithmetic. Activations are (C, h, w) arrays of whole numbers."""

    def __init__(self, nets: Any):
        import onnx  # the codec's other tests run without it

        self.y_tables, self.z_tables, self.tables = nets.y_tables, nets.z_tables, nets.tables
        self.m, self.channels_z = nets.m, nets.channels_z
        self.weights: dict[str, np.ndarray] = {}
        for name in ("h_s", "context_1", "context_2", "context_3"):
            for tensor in onnx.load(Path(nets.folder) / f"{name}.onnx").graph.initializer:
                self.weights[tensor.name] = onnx.numpy_helper.to_array(tensor)

    def conv(
        self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, shift: np.ndarray
    ) -> np.ndarray:
        """round_half_even((weight * x + bias) / 2^shift) as int64, 1x1 or depthwise 3x3 with a border of zeros."""
        raise NotImplementedError

    def layer(self, x: np.ndarray, name: str, low: int = -2047, high: int = 2047) -> np.ndarray:
        out = self.conv(
            x, *(self.weights[f"{name}.{part}"] for part in ("weight", "bias", "shift"))
        )
        return np.clip(out, low, high)

    def block(self, x: np.ndarray, name: str) -> np.ndarray:
        big = 2**30
        inner = self.layer(self.layer(x, f"{name}.mix_in", 0), f"{name}.spatial")
        x = np.clip(x + self.layer(inner, f"{name}.mix_out", -big, big), -2047, 2047)
        inner = self.layer(x, f"{name}.expand", 0)
        return np.clip(x + self.layer(inner, f"{name}.project", -big, big), -2047, 2047)

    def row(self, name: str, quality: float) -> np.ndarray:
        table = self.tables[name].astype(np.int64)
        at = (round(quality * 100) - 100) * (len(table) - 1)
        i, rest = at // 9900, at % 9900
        return (table[i] * (9900 - rest) + table[min(i + 1, len(table) - 1)] * rest + 4950) // 9900

    def head(
        self, x: np.ndarray, name: str, step: int, quality: float
    ) -> tuple[np.ndarray, np.ndarray]:
        big = 2**30
        both, bias = self.layer(x, name, -big, big), self.row("bias_scale", quality)
        n, means, indices = self.m // 4, [], []
        for position, group in enumerate(GROUP_AT[step]):
            rows, columns = slice(position // 2, None, 2), slice(position % 2, None, 2)
            means.append(np.clip(both[group * n : group * n + n, rows, columns], -(2**20), 2**20))
            log_scale = both[self.m + group * n : self.m + group * n + n, rows, columns]
            log_scale = np.clip(
                log_scale + bias[group * n : group * n + n, None, None], -2048, 2047
            )
            indices.append(self.tables["scale_index"][log_scale + 2048])
        return np.stack(means).astype(np.float32), np.stack(indices)

    def hyper_synthesis(
        self, z: np.ndarray, quality: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = np.clip(z.astype(np.int64) * 16 + self.tables["z_median"][:, None, None], -2047, 2047)
        x = self.block(shuffle(self.layer(x, "h_s.0.conv")), "h_s.1")
        x = self.block(shuffle(self.layer(x, "h_s.2.conv")), "h_s.3")
        p = np.clip(x + self.row("bias_h", quality)[:, None, None], -2047, 2047)
        return p, *self.head(p, "prior_head", 0, quality)

    def context(
        self, step: int, p: np.ndarray, y: np.ndarray, quality: float
    ) -> tuple[np.ndarray, np.ndarray]:
        s = step - 1
        y = np.clip(round_shift(y.astype(np.int64), self.weights[f"y_shift.{s}"]), -2047, 2047)
        x = self.layer(np.concatenate([p, self.layer(y, f"context_in.{s}")]), f"context.{s}.0")
        return self.head(self.block(x, f"context.{s}.1"), f"context.{s}.2", step, quality)


def shuffle(x: np.ndarray) -> np.ndarray:
    """(4C, h, w) -> (C, 2h, 2w)."""
    c, h, w = x.shape
    return x.reshape(c // 4, 2, 2, h, w).transpose(0, 3, 1, 4, 2).reshape(c // 4, 2 * h, 2 * w)


def round_shift(x: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """x / 2^shift per channel, ties to even, in integers only."""
    s = shift.astype(np.int64)[:, None, None]
    quotient = x >> s
    rest, half = x - (quotient << s), (np.int64(1) << s) >> 1
    up = (rest > half) | ((rest == half) & (quotient % 2 == 1) & (s > 0))
    return quotient + (up & (s > 0))


class Int64(IntegerNetworks):
    def conv(
        self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, shift: np.ndarray
    ) -> np.ndarray:
        assert x.dtype == np.int64
        w = weight.astype(np.int64)
        if w.shape[2] == 1:
            total = np.einsum("oi,ihw->ohw", w[:, :, 0, 0], x)
        else:
            padded, (_, rows, columns) = np.pad(x, ((0, 0), (1, 1), (1, 1))), x.shape
            total = sum(
                w[:, 0, i, j, None, None] * padded[:, i : i + rows, j : j + columns]
                for i in range(3)
                for j in range(3)
            )
        total = total + bias.astype(np.int64)[:, None, None]
        assert np.abs(total).max() < 2**24
        return round_shift(total, shift)


class Torch(IntegerNetworks):
    def __init__(self, nets: Any, double: bool):
        import torch

        super().__init__(nets)
        self.torch, self.dtype = torch, torch.float64 if double else torch.float32

    def conv(
        self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, shift: np.ndarray
    ) -> np.ndarray:
        def tensor(a: np.ndarray) -> Any:
            return self.torch.from_numpy(a.astype(np.float64)).to(self.dtype)

        depthwise = weight.shape[2] == 3
        out = self.torch.nn.functional.conv2d(
            tensor(x)[None],
            tensor(weight),
            tensor(bias),
            padding=int(depthwise),
            groups=len(weight) if depthwise else 1,
        )[0]
        return (
            self.torch.round(out * tensor(2.0 ** -shift.astype(np.float64))[:, None, None])
            .numpy()
            .astype(np.int64)
        )


@dataclass
class Trace:
    """Runs `decode_tile` with these networks and keeps a hash of all means, table indices and symbols."""

    nets: Any
    digest: Any = field(default_factory=hashlib.sha256)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.nets, name)

    def _seen(self, mean: np.ndarray, index: np.ndarray) -> None:
        self.digest.update(mean.astype("<i4").tobytes() + index.astype(np.uint8).tobytes())

    def hyper_synthesis(self, z: np.ndarray, quality: float) -> Any:
        self.digest.update(z.astype("<i4").tobytes())
        p, mean, index = self.nets.hyper_synthesis(z, quality)
        self._seen(mean, index)
        return p, mean, index

    def context(self, step: int, p: np.ndarray, y: np.ndarray, quality: float) -> Any:
        self.digest.update(y.astype("<i4").tobytes())
        mean, index = self.nets.context(step, p, y, quality)
        self._seen(mean, index)
        return mean, index


def digest(data: bytes, nets: Any) -> str:
    """Hash of everything exact in decoding a .vae file of one tile with these networks."""
    from vaecodec.coding.latents import decode_tile
    from vaecodec.entropy.coder import Decoder
    from vaecodec.format.reader import Reader

    reader = Reader(data)
    (chunk,) = reader.latent_chunks()
    tile, header = reader.payload(chunk), reader.header
    trace = Trace(nets)
    size = (header.height, header.width)
    latents = decode_tile(trace, header.quality, size, [Decoder(tile[4:])] * 5)
    assert latents.checksum() == int.from_bytes(tile[:4], "little")
    trace.digest.update(latents.y.astype("<i4").tobytes())
    return str(trace.digest.hexdigest())
