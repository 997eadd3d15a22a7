"""h_s and the context model in int64 NumPy and in float64 PyTorch, from docs/FORMAT.md.

Each can stand in for `vaecodec.model.networks.Networks` in `vaecodec.coding.latents.decode_tile`.
They read the model folder by themselves and share no arithmetic with the engine.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

GROUP_AT = [[step ^ x for x in (0, 2, 3, 1)] for step in range(4)]
LIMIT = 16383


class IntegerNetworks:
    """The algorithm; a backend below computes the sums. Activations are int64, (h, w, channels)."""

    def __init__(self, nets: Any):
        self.y_tables, self.z_tables = nets.y_tables, nets.z_tables
        self.tables = arrays(Path(nets.folder) / "tables.npz")
        self.y_shift = self.tables["y_shift"]
        self.m, self.channels_z = len(self.y_shift), len(self.tables["z_median"])
        names = ("h_s", "context_0", "context_1", "context_2", "context_3")
        self.networks = {name: arrays(Path(nets.folder) / f"{name}.npz") for name in names}

    def sums(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """weight * x + bias: 1x1 for weights (outputs, inputs), else depthwise 3x3 with a border of zeros."""
        raise NotImplementedError

    def run(self, name: str, x: np.ndarray, quality: float) -> np.ndarray:
        tensors = self.networks[name]
        description = json.loads(bytes(tensors["network"]))
        scale = description["buffers"]["input"][1]
        h, w = x.shape[0] // scale, x.shape[1] // scale
        buffers = {
            buffer: np.zeros((h * scale, w * scale, channels), np.int64)
            for buffer, (channels, scale) in description["buffers"].items()
        }
        buffers["input"][:] = clamp(x)
        for layer in description["layers"]:
            begin, to = layer.get("source_channel", 0), layer.get("target_channel", 0)
            source = buffers[layer["source"]][:, :, begin : begin + layer["inputs"]].copy()
            target = buffers[layer["target"]][:, :, to : to + layer["outputs"]]
            if layer["kind"].endswith("shuffle"):
                shuffle(layer, source, target)
                continue
            part = {
                key: tensors[f"{layer['name']}.{key}"]
                for key in ("weight", "gain", "bias", "shift")
                if f"{layer['name']}.{key}" in tensors
            }
            if layer["kind"] == "gain":
                total = source * row(part["gain"], quality) + row(part["bias"], quality)
            else:
                total = self.sums(source, part["weight"], part["bias"])
            assert np.abs(total).max() < 2**31
            result = clamp(rounded(total, part["shift"]))
            if layer.get("add"):
                result = clamp(result + target)
            target[:] = np.maximum(result, 0) if layer.get("relu") else result
        return buffers["output"]

    def hyper_synthesis(self, z: np.ndarray, quality: float) -> np.ndarray:
        x = 16 * z.transpose(1, 2, 0).astype(np.int64) + self.tables["z_median"]
        p = self.run("h_s", clamp(x), quality)
        return np.concatenate([p, np.zeros((*p.shape[:2], self.m), np.int64)], 2).astype(np.int16)

    def context(
        self, step: int, state: np.ndarray, quality: float
    ) -> tuple[np.ndarray, np.ndarray]:
        x = state if step else state[:, :, : -self.m]
        out = self.run(f"context_{step}", x.astype(np.int64), quality)
        n, bias, means, indices = self.m // 4, row(self.tables["bias_scale"], quality), [], []
        for position, group in enumerate(GROUP_AT[step]):
            first, channels = position * 2 * n, slice(group * n, group * n + n)
            factor = 2 ** self.y_shift[channels].astype(np.int64)
            means.append(out[:, :, first : first + n] * factor)
            log_scale = out[:, :, first + n : first + 2 * n] + bias[channels]
            indices.append(self.tables["scale_index"][np.clip(log_scale, -2048, 2047) + 2048])
        return np.stack(means, 2).astype(np.int32), np.stack(indices, 2)

    def y_input(self, step: int, y: np.ndarray) -> np.ndarray:
        shift = np.stack([self.y_shift.reshape(4, -1)[group] for group in GROUP_AT[step]])
        return clamp(rounded(y.astype(np.int64), shift)).astype(np.int16)


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def clamp(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -LIMIT, LIMIT)


def rounded(x: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """x / 2^shift per channel, halves up, in integers only."""
    step = 2 ** shift.astype(np.int64)
    return (2 * x + step) // (2 * step)


def row(table: np.ndarray, quality: float) -> np.ndarray:
    table = table.astype(np.int64)
    at = (round(quality * 100) - 100) * (len(table) - 1)
    i, rest = at // 9900, at % 9900
    return (table[i] * (9900 - rest) + table[min(i + 1, len(table) - 1)] * rest + 4950) // 9900


def shuffle(layer: dict[str, Any], source: np.ndarray, target: np.ndarray) -> None:
    f, up = layer["factor"], layer["kind"] == "shuffle"
    n = target.shape[2] if up else source.shape[2]
    for a in range(f):
        for b in range(f):
            channels = slice((a * f + b) * n, (a * f + b + 1) * n)
            if up:
                target[a::f, b::f] = source[:, :, channels]
            else:
                target[:, :, channels] = source[a::f, b::f]


class Int64(IntegerNetworks):
    def sums(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        assert x.dtype == np.int64
        w = weight.astype(np.int64)
        if w.ndim == 2:
            return np.einsum("hwi,oi->hwo", x, w) + bias
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))
        return np.einsum("hwcab,cab->hwc", windows, w) + bias


class Torch(IntegerNetworks):
    def sums(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        import torch

        def tensor(a: np.ndarray) -> Any:
            return torch.from_numpy(a.astype(np.float64))

        depthwise = weight.ndim == 3
        out = torch.nn.functional.conv2d(
            tensor(x.transpose(2, 0, 1))[None],
            tensor(weight)[:, None] if depthwise else tensor(weight)[:, :, None, None],
            tensor(bias),
            padding=int(depthwise),
            groups=len(weight) if depthwise else 1,
        )[0].numpy()
        assert (out == np.rint(out)).all()
        return out.astype(np.int64).transpose(1, 2, 0)


@dataclass
class Trace:
    """Runs `decode_tile` with these networks and keeps a hash of all that it computes on the way."""

    nets: Any
    digest: Any = field(default_factory=hashlib.sha256)
    states: list[np.ndarray] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.nets, name)

    def hyper_synthesis(self, z: np.ndarray, quality: float) -> Any:
        state = self.nets.hyper_synthesis(z, quality)
        self.digest.update(z.astype("<i4").tobytes() + state.astype("<i2").tobytes())
        return state

    def context(self, step: int, state: np.ndarray, quality: float) -> Any:
        self.states.append(state.copy())
        mean, index = self.nets.context(step, state, quality)
        self.digest.update(state.astype("<i2").tobytes())
        self.digest.update(mean.astype("<i4").tobytes() + index.astype(np.uint8).tobytes())
        return mean, index


def digest_tile(nets: Any, quality: float, size: tuple[int, int], sources: Sequence[Any]) -> str:
    """Hash of everything exact in decoding a tile with these networks. Checks what the context steps are given."""
    from vaecodec.coding.latents import decode_tile

    trace = Trace(nets)
    latents = decode_tile(trace, quality, size, sources)
    assert len(trace.states) == 4
    for step, state in enumerate(trace.states):
        check_known(latents.y, state, step, nets.y_shift)
    trace.digest.update(latents.y.astype("<i4").tobytes())
    return str(trace.digest.hexdigest())


def check_known(y: np.ndarray, state: np.ndarray, step: int, y_shift: np.ndarray) -> None:
    """A step sees what the steps before it have decoded of y (m, h, w), and zeros elsewhere."""
    m, h, w = y.shape
    seen = state[:h, :w, -m:]
    expected = clamp(rounded(y.transpose(1, 2, 0), y_shift))
    for position in range(4):
        for past in range(4):
            group = GROUP_AT[past][position]
            first, last = group * (m // 4), (group + 1) * (m // 4)
            part = np.s_[position // 2 :: 2, position % 2 :: 2, first:last]
            assert (seen[part] == (expected[part] if past < step else 0)).all()


def digest(data: bytes, nets: Any) -> str:
    """Hash of everything exact in decoding a .vae file of one tile with these networks."""
    from vaecodec.entropy.coder import Decoder
    from vaecodec.format.reader import Reader

    reader = Reader(data)
    (chunk,) = reader.latent_chunks()
    tile, header = reader.payload(chunk), reader.header
    size = (header.height, header.width)
    return digest_tile(nets, header.quality, size, [Decoder(tile[4:])] * 5)
