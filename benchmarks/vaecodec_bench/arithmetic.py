"""The arithmetic of the networks, and the share of this machine's peak that the decoder reaches."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import vaecodec
from vaecodec.engine import Network
from vaecodec.engine.network import INPUT
from vaecodec.model import networks, registry

IMAGE_SIDE = 256  # pixels, of the picture whose multiplications are counted
DECODER = (*networks.NETWORKS, "g_s")
INPUT_SHAPES = {  # None: as the graph says
    "image": (IMAGE_SIDE, IMAGE_SIDE, 3),
    "y": (1, None, IMAGE_SIDE // 16, IMAGE_SIDE // 16),
}
INPUT_SIDES = {"h_s": 64}  # pixels of the picture per input of an integer network, or else 16
PRODUCT_SIDE = 2048  # of the matrices whose product measures the peak


def kmac_per_pixel(nets: networks.Networks) -> dict[str, float]:
    """Return thousands of multiplications per pixel of each network of a model.

    Counted are convolutions, linear layers and matrix products.
    """
    counts = {}
    for graph in networks.GRAPHS:
        count = _count_multiplications(nets.folder / f"{graph}.onnx")
        counts[graph] = count / IMAGE_SIDE**2 / 1e3
    for name in networks.NETWORKS:
        network = nets.engine(name).network
        counts[name] = network.macs_per_cell / cell_side(name, network) ** 2 / 1e3
    return counts


def cell_side(name: str, network: Network) -> int:
    """Return how many pixels of the picture a cell of a network's coarsest buffer is wide."""
    return INPUT_SIDES.get(name, 16) * network.buffers[INPUT].scale


def _count_multiplications(path: Path) -> int:
    """Count the multiplications of one run on a picture of IMAGE_SIDE x IMAGE_SIDE."""
    model = onnx.load(path)
    products = [node for node in model.graph.node if node.op_type in ("Conv", "MatMul", "Gemm")]
    shapes = _shapes(model, products)
    count = 0
    for node in products:
        weight = shapes[node.input[1]]
        result = shapes[node.output[0]]
        if node.op_type == "Conv":
            fan_in = int(np.prod(weight[1:]))
        else:
            fan_in = int(np.prod(weight)) // int(result[-1])
        count += int(np.prod(result)) * fan_in
    return count


def _shapes(model: Any, products: list[Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights and results of these nodes, from a real run of the model.

    The names are added to the outputs of the model.
    """
    constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    outputs = {output.name for output in model.graph.output}
    names = {name for node in products for name in (node.input[1], node.output[0])}
    computed = sorted(names - constants.keys())
    for name in computed:
        if name not in outputs:
            model.graph.output.append(helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    # Optimizations would remove names.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = _session(model, options)
    values = session.run(computed, _zero_inputs(session))
    return constants | {name: value.shape for name, value in zip(computed, values, strict=True)}


def _session(model: Any, options: Any) -> Any:
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _zero_inputs(session: Any) -> dict[str, Any]:
    inputs = {}
    for tensor in session.get_inputs():
        wanted = INPUT_SHAPES.get(tensor.name, tensor.shape)
        shape = []
        for size, replacement in zip(tensor.shape, wanted, strict=True):
            shape.append(size if isinstance(size, int) else replacement)
        dtype = np.uint8 if tensor.type == "tensor(uint8)" else np.float32
        inputs[tensor.name] = np.zeros(shape, dtype)
    return inputs


def peak_share(
    image: Image.Image, model: str | None, threads: int, rounds: int = 9
) -> dict[str, Any]:
    """Compare the decoder's multiplications per second with those of a plain matrix product.

    The product of two float32 matrices runs in the same inference engine, in turn with the decoder.

    Args:
        image: An RGB picture.
        model: Id or folder of vaecodec's model, None for the default one.
        threads: 0 for one per core.
        rounds: Number of rounds.

    Returns:
        `kmac_per_pixel` by network, and `share`: the quartiles of the share that is reached,
        0 to 1, of all of decoding ("decode") and of the synthesis network alone ("g_s").
    """
    nets = registry.load_model(model, threads)
    per_pixel = kmac_per_pixel(nets)
    data = vaecodec.encode(image, 50, model=model, threads=threads)
    rows = -(-image.height // 64) * 4
    columns = -(-image.width // 64) * 4
    y = np.zeros((nets.m, rows, columns), np.float32)
    pixels = rows * columns * 256
    decoder_macs = 1e3 * pixels * sum(per_pixel[name] for name in DECODER)
    work: dict[str, tuple[Callable[[], object], float]] = {
        "peak": (
            matrix_product(PRODUCT_SIDE, PRODUCT_SIDE, PRODUCT_SIDE, threads),
            PRODUCT_SIDE**3,
        ),
        "decode": (lambda: vaecodec.decode(data, model=model, threads=threads), decoder_macs),
        "g_s": (lambda: nets.synthesise(y, 50), 1e3 * pixels * per_pixel["g_s"]),
    }
    speeds: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, (run, macs) in work.items():
            start = time.perf_counter()
            run()
            if number:  # the first round loads networks
                speeds[name].append(macs / (time.perf_counter() - start))
    peak = max(speeds["peak"])
    share = {}
    for name in ("decode", "g_s"):
        share[name] = statistics.quantiles([speed / peak for speed in speeds[name]], n=4)
    return {"kmac_per_pixel": per_pixel, "share": share}


def matrix_product(
    rows: int, inputs: int, outputs: int, threads: int, count: int = 1
) -> Callable[[], object]:
    """Return a function that multiplies a float32 matrix by `count` others in ONNX Runtime.

    The others are constants, as the weights of a network are.

    Args:
        rows: Rows of the first matrix.
        inputs: Its columns, and the rows of the others.
        outputs: Columns of the others.
        threads: 0 for one per core.
        count: Number of other matrices.
    """
    rng = np.random.default_rng(0)
    names = [f"y{number}" for number in range(count)]
    nodes, weights, results = [], [], []
    for name in names:
        weight = rng.standard_normal((inputs, outputs), np.float32)
        nodes.append(helper.make_node("MatMul", ["x", f"{name}.weight"], [name]))
        weights.append(numpy_helper.from_array(weight, f"{name}.weight"))
        results.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, outputs]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, inputs])
    graph = helper.make_graph(nodes, "product", [x], results, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = _session(model, options)
    feeds = {"x": rng.standard_normal((rows, inputs), np.float32)}
    return lambda: session.run(None, feeds)
