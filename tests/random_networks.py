"""A small valid network, random ones built like the real ones, and a model folder of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from vaecodec.engine import Buffer, Layer, Network, save_network
from vaecodec.model.networks import GRAPHS, content_id
from vaecodec.spec import POSITIONS

KNOTS = 3

VALID_LAYERS = (
    Layer("linear", "input", "x", 3, 4, "a"),
    Layer("depthwise", "x", "y", 4, 4, "b"),
    Layer("linear", "y", "x", 4, 4, "c", add=True),
    Layer("gain", "x", "x", 4, 4, "g"),
    Layer("shuffle", "x", "output", 4, 1, factor=2),
)


def valid_network() -> Network:
    """Return a small valid network with every kind of layer but one."""
    buffers = {"input": Buffer(3), "x": Buffer(4), "y": Buffer(4), "output": Buffer(1, 2)}
    tensors: dict[str, Any] = {
        "a.weight": np.ones((4, 3), np.int16),
        "b.weight": np.ones((4, 3, 3), np.int16),
        "c.weight": np.ones((4, 4), np.int16),
        "g.gain": np.ones((2, 4), np.int32),
        "g.bias": np.ones((2, 4), np.int32),
    }
    for name in "abcg":
        tensors.setdefault(f"{name}.bias", np.zeros(4, np.int32))
        tensors[f"{name}.shift"] = np.zeros(4, np.uint8)
    return Network(buffers, VALID_LAYERS, tensors)


class Builder:
    """Adds layers with random tensors, under which activations neither die out nor all saturate."""

    def __init__(self, rng: np.random.Generator, **channels: int | tuple[int, int]):
        self.rng = rng
        self.buffers = {
            name: Buffer(*(value if isinstance(value, tuple) else (value,)))
            for name, value in channels.items()
        }
        self.layers: list[Layer] = []
        self.tensors: dict[str, Any] = {}

    def network(self) -> Network:
        return Network(self.buffers, tuple(self.layers), self.tensors)

    def linear(self, source: str, target: str, name: str, size: int = 1000, **options: Any) -> None:
        """Add a linear layer between whole buffers, or between the channels that the options name."""
        inputs = options.pop("inputs", self.buffers[source].channels)
        outputs = options.pop("outputs", self.buffers[target].channels)
        self._sums(name, (outputs, inputs), inputs, size)
        self.layers.append(Layer("linear", source, target, inputs, outputs, name, **options))

    def depthwise(self, source: str, target: str, name: str) -> None:
        channels = self.buffers[source].channels
        self._sums(name, (channels, 3, 3), 9, 1000)
        self.layers.append(Layer("depthwise", source, target, channels, channels, name))

    def _sums(self, name: str, shape: tuple[int, ...], inputs: int, size: int) -> None:
        """Add random tensors: `size` is that of the bias, compared to the products' factor of about 1."""
        shift = self.rng.integers(8, 14, shape[0]).astype(np.uint8)
        step = 2.0**shift
        spread = (step / np.sqrt(inputs)).reshape(-1, *[1] * (len(shape) - 1))
        self.tensors[f"{name}.weight"] = np.rint(self.rng.normal(0, spread, shape)).astype(np.int16)
        self.tensors[f"{name}.bias"] = np.rint(self.rng.normal(0, size * step)).astype(np.int32)
        self.tensors[f"{name}.shift"] = shift

    def gain(self, source: str, target: str, name: str, one: bool = False) -> None:
        """Add a gain of about 1, or with `one` of exactly 1, and a bias, both different by quality."""
        channels = self.buffers[source].channels
        shape = (KNOTS, channels)
        shift = np.full(channels, 0 if one else 10, np.uint8)
        gain = np.ones(shape) if one else self.rng.integers(500, 1500, shape)
        self.tensors[f"{name}.gain"] = gain.astype(np.int32)
        bias = self.rng.integers(-2000, 2000, shape) << shift
        self.tensors[f"{name}.bias"] = bias.astype(np.int32)
        self.tensors[f"{name}.shift"] = shift
        self.layers.append(Layer("gain", source, target, channels, channels, name))

    def shuffle(self, kind: str, source: str, target: str, factor: int = 2) -> None:
        inputs, outputs = (self.buffers[name].channels for name in (source, target))
        self.layers.append(Layer(kind, source, target, inputs, outputs, factor=factor))

    def block(self, stream: str, name: str, number: int) -> None:
        """Add a block on a stream. Its buffers are the stream's name with _mix0, _mix1, _spatial, _wide."""
        mix = f"{stream}_mix{number % 2}"
        channels, scale = self.buffers[stream].channels, self.buffers[stream].scale
        for buffer, size in ((mix, 1), (f"{stream}_spatial", 1), (f"{stream}_wide", 2)):
            self.buffers.setdefault(buffer, Buffer(size * channels, scale))
        self.linear(stream, mix, f"{name}.mix_in", relu=True)
        self.depthwise(mix, f"{stream}_spatial", f"{name}.spatial")
        self.linear(f"{stream}_spatial", stream, f"{name}.mix_out", add=True)
        self.linear(stream, f"{stream}_wide", f"{name}.expand", relu=True)
        self.linear(f"{stream}_wide", stream, f"{name}.project", add=True)


def random_stream(seed: int, channels: int, blocks: int, mix_buffers: int = 2) -> Network:
    """Return blocks on one stream between two linear layers and a gain. All is at scale 1.

    With one `mix_buffers`, all blocks use the same, so a block cannot begin before the last one has ended.
    """
    rng = np.random.default_rng(seed)
    b = Builder(rng, input=channels + 1, x=channels, output=channels)
    b.linear("input", "x", "first")
    for i in range(blocks):
        b.block("x", f"block.{i}", i % mix_buffers)
    b.gain("x", "x", "gain")
    b.linear("x", "output", "last")
    return b.network()


def random_synthesis(seed: int, inputs: int, channels: int) -> Network:
    """Return two shuffles to four times the resolution, each with a block behind it, like h_s."""
    b = Builder(
        np.random.default_rng(seed),
        **{"input": inputs, "a": 4 * channels, "b": (channels, 2), "c": (4 * channels, 2)},
        **{"d": (channels, 4), "output": (channels, 4)},
    )
    b.linear("input", "a", "h_s.0.conv")
    b.shuffle("shuffle", "a", "b")
    b.block("b", "h_s.1", 0)
    b.linear("b", "c", "h_s.2.conv")
    b.shuffle("shuffle", "c", "d")
    b.block("d", "h_s.3", 0)
    b.gain("d", "output", "bias_h", one=True)
    return b.network()


def random_patches(seed: int, channels: int) -> Network:
    """Return a block on patches of 8x8 cells, and back to cells, like g_a and g_s."""
    b = Builder(
        np.random.default_rng(seed),
        **{"input": (channels, 8), "patches": 64 * channels, "x": 11},
        **{"back": 64 * channels, "output": (channels, 8)},
    )
    b.shuffle("unshuffle", "input", "patches", 8)
    b.linear("patches", "x", "g_a.0")
    b.block("x", "g_a.1", 0)
    b.linear("x", "back", "g_s.0")
    b.shuffle("shuffle", "back", "output", 8)
    return b.network()


def random_context(seed: int, step: int, channels: int, m: int) -> Network:
    """Return a network like that of a context step, with a linear layer per position at its end."""
    inputs = channels + m if step else channels
    b = Builder(
        np.random.default_rng(seed),
        **{"input": (inputs, 2), "x": (channels, 2), "squares": 4 * channels, "output": 2 * m},
    )
    if step:
        b.linear("input", "x", f"context.{step}.0")
        b.block("x", f"context.{step}.1", 0)
    b.shuffle("unshuffle", "x" if step else "input", "squares")
    for x in range(POSITIONS):
        b.linear(
            "squares",
            "output",
            f"context.{step}.head.{x}",
            size=300,
            inputs=channels,
            outputs=m // 2,
            source_channel=x * channels,
            target_channel=x * (m // 2),
        )
    return b.network()


def random_model(folder: Path, seed: int, m: int, channels: int, channels_z: int) -> Path:
    """Write a model folder with random integer networks and empty files for the float ones."""
    rng = np.random.default_rng(seed)
    save_network(random_synthesis(seed, channels_z, channels), folder / "h_s.npz")
    for step in range(4):
        context = random_context(seed + step, step, channels, m)
        save_network(context, folder / f"context_{step}.npz")
    for graph in GRAPHS:
        (folder / f"{graph}.onnx").write_bytes(b"")
    y_half_width, y_frequency = random_tables(rng, 64)
    z_tables = [random_tables(rng, channels_z) for _ in range(2)]
    np.savez(
        folder / "tables.npz",
        bias_scale=rng.integers(-500, 500, (KNOTS, m)).astype(np.int16),
        scale_index=np.sort(rng.integers(0, 64, 4096)).astype(np.uint8),
        # From 7, so that 64 is no multiple of the step, rounding matters.
        y_shift=rng.integers(0, 10, m).astype(np.uint8),
        z_median=rng.integers(-40, 40, channels_z).astype(np.int16),
        y_half_width=y_half_width,
        y_frequency=y_frequency,
        z_half_width=np.stack([half_width for half_width, _ in z_tables]),
        z_frequency=np.concatenate([frequency for _, frequency in z_tables]),
    )
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({"id": content_id(folder)}))
    return folder


def random_tables(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the half-widths and frequencies of some tables, from narrow to wide."""
    half_width = np.linspace(1, 200, count).astype(np.uint16)
    frequencies = []
    for size in 2 * half_width.astype(int) + 1:
        frequency = rng.integers(1, 2**24 // size, size)
        frequency[size // 2] += 2**24 - frequency.sum()
        frequencies.append(frequency.astype(np.uint32))
    return half_width, np.concatenate(frequencies)
