"""How much arithmetic the networks take, and the share of this machine's matrix-multiply peak that the decoder reaches."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from PIL import Image

import vaecodec
from vaecodec.model import networks, registry

SIDE = 256  # pixels, of the picture that is counted on
DECODER = ("h_s", "context_1", "context_2", "context_3", "g_s")
INPUTS = {
    "image": (SIDE, SIDE, 3),
    "y": (1, None, SIDE // 16, SIDE // 16),
    "z": (1, None, SIDE // 64, SIDE // 64),
    "p": (1, None, SIDE // 16, SIDE // 16),
}  # None: the graph says


def kmac_per_pixel(folder: Path) -> dict[str, float]:
    """Thousands of multiplications a pixel in the convolutions and matrix products of each graph of a model folder."""
    return {graph: _macs(folder / f"{graph}.onnx") / SIDE**2 / 1e3 for graph in networks.GRAPHS}


def _macs(path: Path) -> int:
    """Multiplications in one run on a picture of SIDE x SIDE, from the shapes that really occur in it."""
    model = onnx.load(path)
    products = [node for node in model.graph.node if node.op_type in ("Conv", "MatMul", "Gemm")]
    inner = sorted({name for node in products for name in (node.input[1], node.output[0])})
    constant = {
        initializer.name: tuple(initializer.dims) for initializer in model.graph.initializer
    }
    present = {output.name for output in model.graph.output}
    for name in inner:
        if name not in constant and name not in present:
            model.graph.output.append(helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    )  # it would remove names
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [name for name in inner if name not in constant]
    shapes = constant | {
        name: value.shape
        for name, value in zip(names, session.run(names, _feeds(session)), strict=True)
    }
    count = 0
    for node in products:
        weight, result = shapes[node.input[1]], shapes[node.output[0]]
        fan_in = (
            int(np.prod(weight[1:]))
            if node.op_type == "Conv"
            else int(np.prod(weight)) // int(result[-1])
        )
        count += int(np.prod(result)) * fan_in
    return count


def _feeds(session: Any) -> dict[str, Any]:
    feeds = {}
    for given in session.get_inputs():
        shape = [
            dim if isinstance(dim, int) else wanted
            for dim, wanted in zip(given.shape, INPUTS.get(given.name, given.shape), strict=True)
        ]
        feeds[given.name] = np.zeros(
            shape, np.uint8 if given.type == "tensor(uint8)" else np.float32
        )
    return feeds


def peak_share(
    image: Image.Image, model: str | None, threads: int, rounds: int = 9
) -> dict[str, Any]:
    """The decoder's multiplications a second over those of a float32 matrix product in the same engine, measured in turn.

    Returns kmac_per_pixel by graph, and for "decode" (all of it) and "g_s" (the synthesis network alone) the quartiles of
    that share, 0 to 1. image: RGB.
    """
    nets = registry.load_model(model, threads)
    per_pixel = kmac_per_pixel(nets.folder)
    data = vaecodec.encode(image, 50, model=model, threads=threads)
    size = 2048
    product = _matrix_product(size, threads)
    y = np.zeros((nets.m, -(-image.height // 64) * 4, -(-image.width // 64) * 4), np.float32)
    work: dict[str, tuple[Callable[[], object], float]] = {
        "peak": (product, size**3),
        "decode": (
            lambda: vaecodec.decode(data, model=model, threads=threads),
            1e3 * sum(per_pixel[graph] for graph in DECODER) * y.shape[1] * y.shape[2] * 256,
        ),
        "g_s": (
            lambda: nets.synthesise(y, 50),
            1e3 * per_pixel["g_s"] * y.shape[1] * y.shape[2] * 256,
        ),
    }
    speeds: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, (run, macs) in work.items():
            start = time.perf_counter()
            run()
            if number:  # the first round loads networks
                speeds[name].append(macs / (time.perf_counter() - start))
    peak = max(speeds["peak"])
    return {
        "kmac_per_pixel": per_pixel,
        "share": {
            name: statistics.quantiles([speed / peak for speed in speeds[name]], n=4)
            for name in ("decode", "g_s")
        },
    }


def _matrix_product(size: int, threads: int) -> Callable[[], object]:
    """A float32 product of two square matrices in ONNX Runtime."""

    def matrix(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, size])

    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    graph = helper.make_graph([node], "product", [matrix("a"), matrix("b")], [matrix("c")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {name: np.ones((size, size), np.float32) for name in "ab"}
    return lambda: session.run(None, feeds)
