"""Write the float networks as ONNX graphs, with float16 weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from vaecodec_train.model.autoencoder import Analysis, Autoencoder, Synthesis
from vaecodec_train.model.blocks import GATED_LIMIT, PlainBlock

Array = npt.NDArray[Any]
COLOR_LAST = (
    np.arange(192).reshape(3, 64).T.reshape(-1)
)  # torch's pixel_shuffle orders (colour, row, column)
OPSET, IR_VERSION = 18, 9  # old enough for every ONNX Runtime that we support


class Graph:
    """Collects nodes; every method takes and returns names of tensors."""

    def __init__(self, name: str):
        self.name, self.nodes, self.weights = name, [], {}  # type: ignore[var-annotated]
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self._count = 0

    def input(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, tensor: str, name: str, kind: int, rank: int) -> None:
        self.nodes.append(helper.make_node("Identity", [tensor], [name]))
        self.outputs.append(
            helper.make_tensor_value_info(name, kind, [f"{name}_{i}" for i in range(rank)])
        )

    def const(self, value: Array, name: str | None = None) -> str:
        self._count += 1
        name = name or f"c{self._count}"
        self.weights[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        self._count += 1
        out = f"t{self._count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def ints(self, *values: int) -> str:
        return self.const(np.array(values, np.int64))

    def clip(self, x: str, low: float, high: float) -> str:
        return self.op("Clip", x, self.const(np.float32(low)), self.const(np.float32(high)))  # type: ignore[arg-type]

    def conv(self, x: str, weight: str, bias: str, depthwise: int = 0) -> str:
        """depthwise: number of channels, or 0 for a 1x1 convolution."""
        if depthwise:
            return self.op(
                "Conv", x, weight, bias, kernel_shape=[3, 3], pads=[1] * 4, group=depthwise
            )
        return self.op("Conv", x, weight, bias, kernel_shape=[1, 1])

    def float_conv(
        self,
        x: str,
        conv: nn.Conv2d,
        rows: Any = slice(None),
        columns: Any = slice(None),
        scale: float = 1,
        shift: float | Array = 0,
    ) -> str:
        """Return conv(x) * scale + shift for some output and input channels.

        The weights are stored as float16.
        """
        assert conv.bias is not None
        weight = self.const(conv.weight.detach().numpy()[rows][:, columns].astype(np.float16))
        bias = conv.bias.detach().numpy()[rows].astype(np.float32) * np.float32(scale) + np.asarray(
            shift, np.float32
        )
        weight = self.op("Cast", weight, to=TensorProto.FLOAT)
        if scale != 1:
            weight = self.op("Mul", weight, self.const(np.float32(scale)))  # type: ignore[arg-type]
        return self.conv(x, weight, self.const(bias), conv.groups if conv.groups > 1 else 0)

    def silu(self, x: str) -> str:
        return self.op("Mul", x, self.op("Sigmoid", x))

    def shuffle(self, x: str, factor: int = 2) -> str:
        return self.op("DepthToSpace", x, blocksize=factor, mode="CRD")

    def unshuffle(self, x: str, channels: int) -> str:
        """Torch's pixel_unshuffle by 2; ONNX's SpaceToDepth orders the channels differently."""
        x = self.op("SpaceToDepth", x, blocksize=2)  # (offset, c) -> torch wants (c, offset)
        order = np.arange(4 * channels).reshape(4, channels).T.reshape(-1)
        return self.op("Gather", x, self.const(order.astype(np.int64)), axis=1)

    def finish(self) -> bytes:
        graph = helper.make_graph(
            self.nodes, self.name, self.inputs, self.outputs, list(self.weights.values())
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="vaecodec-train",
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def float_block(g: Graph, x: str, block: Any) -> str:
    if isinstance(block, PlainBlock):
        inner = g.float_conv(g.op("Relu", g.float_conv(x, block.mix_in)), block.spatial)
        x = g.op("Add", x, g.float_conv(inner, block.mix_out))
        return g.op(
            "Add", x, g.float_conv(g.op("Relu", g.float_conv(x, block.expand)), block.project)
        )
    inner = g.float_conv(g.silu(g.float_conv(x, block.mix_in)), block.spatial)
    x = g.op("Add", x, g.float_conv(inner, block.mix_out))
    half = block.project.in_channels
    gate = g.silu(g.float_conv(x, block.expand, slice(half)))
    value = g.float_conv(x, block.expand, slice(half, None))
    return g.op("Add", x, bounded_project(g, g.op("Mul", gate, value), block.project))


def bounded_project(g: Graph, product: str, project: nn.Conv2d) -> str:
    """Return project(clamp(product)).

    HardSigmoid, unlike Clip, keeps the blocked layout of ONNX Runtime. The weights of `project`
    undo its scale.
    """
    share = g.op(
        "HardSigmoid", product, alpha=0.5 / GATED_LIMIT, beta=0.5
    )  # clamp(product) = (2 share - 1) GATED_LIMIT
    assert project.bias is not None
    weights = project.weight.detach().numpy().astype(np.float16).astype(np.float32).sum((1, 2, 3))
    bias = project.bias.detach().numpy()
    return g.float_conv(
        share,
        project,
        scale=2 * GATED_LIMIT,
        shift=bias - 2 * GATED_LIMIT * bias - GATED_LIMIT * weights,
    )


def cells_of_8(g: Graph, image: str, channels: int) -> str:
    """Map pixels (H, W, channels), 0 to 255, to (1, 64 channels, H/8, W/8), -1/2 to 1/2.

    The order of the channels is (row, column, colour).
    """
    # Two transpositions of contiguous runs, kept apart by a reshape, because ONNX
    # Runtime is slow at the single transposition that they amount to.
    cells = g.op("Div", g.op("Shape", image, end=2), g.ints(8))
    down = g.op("Slice", cells, g.ints(0), g.ints(1))
    x = g.op(
        "Transpose",
        g.op("Reshape", image, g.op("Concat", down, g.ints(8, -1), axis=0)),
        perm=[1, 0, 2],
    )
    x = g.op("Transpose", g.op("Reshape", x, g.ints(8, -1, 8 * channels)), perm=[0, 2, 1])
    x = g.op("Reshape", x, g.op("Concat", g.ints(1, 64 * channels), cells, axis=0))
    return g.op("Sub", g.op("Mul", x, g.const(np.float32(1 / 255))), g.const(np.float32(0.5)))  # type: ignore[arg-type]


def pixels_of_cells(g: Graph, x: str) -> str:
    """(1, 192, h, w) in channel order (row, column, colour) -> (8h, 8w, 3)."""
    size = g.op("Shape", x, start=2, end=4)
    x = g.op("Transpose", g.op("Reshape", x, g.ints(8, 24, -1)), perm=[0, 2, 1])
    down = g.op("Slice", size, g.ints(0), g.ints(1))
    x = g.op(
        "Transpose",
        g.op("Reshape", x, g.op("Concat", g.ints(8), down, g.ints(-1), axis=0)),
        perm=[1, 0, 2],
    )
    return g.op("Reshape", x, g.op("Concat", g.op("Mul", size, g.ints(8)), g.ints(3), axis=0))


def analysis(g_a: Analysis) -> bytes:
    """g_a.onnx: image (H, W, 3) of 0 to 255, gain, gain_y -> y (1, m, H/16, W/16)."""
    n, m = g_a.stem.out_channels, g_a.head.out_channels
    g = Graph("g_a")
    image = g.input("image", TensorProto.FLOAT, ["H", "W", 3])
    gain = g.input("gain", TensorProto.FLOAT, [1, n, 1, 1])
    gain_y = g.input("gain_y", TensorProto.FLOAT, [1, m, 1, 1])
    x = g.float_conv(cells_of_8(g, image, 3), g_a.stem, columns=COLOR_LAST)
    for block in g_a.fine:
        x = float_block(g, x, block)
    fine = g.unshuffle(g.op("Mul", x, gain), n)
    x = g.float_conv(fine, g_a.down.conv)
    for block in g_a.coarse:
        x = float_block(g, x, block)
    x = g.float_conv(x, g_a.head)
    if g_a.bypass is not None:
        x = g.op("Add", x, g.float_conv(fine, g_a.bypass.conv))
    g.output(g.op("Mul", x, gain_y), "y", TensorProto.FLOAT, 4)
    return g.finish()


def unfold(g: Graph, y: str, g_s: Synthesis) -> str:
    """Synthesis.unfold: y divided by its gain -> (1, n, 2h, 2w)."""
    x = g.float_conv(y, g_s.stem)
    for block in g_s.coarse:
        x = float_block(g, x, block)
    x = g.float_conv(x, g_s.up.conv)
    if g_s.bypass is not None:
        x = g.op("Add", x, g.float_conv(y, g_s.bypass.conv))
    return g.shuffle(x)


def synthesis(g_s: Synthesis) -> bytes:
    """g_s.onnx: y (1, m, h, w) in 1/64, gain, gain_y -> image (16h, 16w, 3), about 0 to 255."""
    n, m = g_s.head.in_channels, g_s.stem.in_channels
    g = Graph("g_s")
    y = g.input("y", TensorProto.FLOAT, [1, m, "h", "w"])
    gain = g.input("gain", TensorProto.FLOAT, [1, n, 1, 1])
    gain_y = g.input("gain_y", TensorProto.FLOAT, [1, m, 1, 1])
    x = g.op("Mul", unfold(g, g.op("Mul", y, gain_y), g_s), gain)
    # A depthwise identity gives its output ONNX Runtime's blocked layout, which the layers after it
    # keep.
    x = g.op("Conv", x, g.const(np.ones((n, 1, 1, 1), np.float32)), kernel_shape=[1, 1], group=n)
    for block in g_s.fine:
        x = float_block(g, x, block)
    x = g.float_conv(x, g_s.head, COLOR_LAST, scale=255, shift=127.5)
    g.output(pixels_of_cells(g, x), "image", TensorProto.FLOAT, 3)
    return g.finish()


def hyper_analysis(h_a: nn.Sequential) -> bytes:
    """h_a.onnx: y (1, m, 4h, 4w) -> z (1, channels, h, w).

    It may be in float, because only the encoder uses it.
    """
    g = Graph("h_a")
    y = g.input("y", TensorProto.FLOAT, [1, h_a[0].in_channels, "h", "w"])  # type: ignore[list-item]
    x = g.float_conv(g.op("Mul", y, g.const(np.float32(0.25))), h_a[0])  # type: ignore[arg-type]
    for block, down in ((h_a[1], h_a[2]), (h_a[3], h_a[4])):
        x = float_block(g, x, block)
        d: Any = down
        x = g.float_conv(g.unshuffle(x, d.conv.in_channels // 4), d.conv)
    g.output(x, "z", TensorProto.FLOAT, 4)
    return g.finish()


def all_graphs(autoencoder: Autoencoder) -> dict[str, bytes]:
    """Return the ONNX files of a model folder except refine.onnx, by name."""
    return {
        "g_a.onnx": analysis(autoencoder.g_a),
        "g_s.onnx": synthesis(autoencoder.g_s),
        "h_a.onnx": hyper_analysis(autoencoder.h_a),
    }
