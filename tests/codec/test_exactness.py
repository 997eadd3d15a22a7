"""Symbols, means and table indices do not depend on what computes them (docs/EXACTNESS.md)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import vaecodec
from helpers import kodak_crop
from integer_networks import Int64, Torch, digest
from vaecodec.model import registry

# Six pictures, sizes that do and do not fill their cells, the whole range of quality.
CASES = [
    (1, 256, 192, 1),
    (5, 203, 131, 30.5),
    (8, 192, 192, 50),
    (13, 65, 257, 70),
    (20, 128, 64, 90.25),
    (24, 160, 144, 100),
]


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return [vaecodec.encode(kodak_crop(n, w, h), quality) for n, w, h, quality in CASES]


@pytest.fixture(scope="module")
def expected(files: list[bytes]) -> list[str]:
    """What the runtime computes, on one thread."""
    return [digest(data, registry.load_model(None, 1)) for data in files]


@pytest.mark.parametrize("threads", [1, 2])
def test_runtime(files: list[bytes], expected: list[str], threads: int) -> None:
    assert [digest(data, registry.load_model(None, threads)) for data in files] == expected


@pytest.fixture(scope="module")
def reference() -> Int64:
    pytest.importorskip("onnx")
    return Int64(registry.load_model())


def test_int64(files: list[bytes], expected: list[str], reference: Int64) -> None:
    assert [digest(data, reference) for data in files] == expected


@pytest.mark.torch
@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
def test_torch(files: list[bytes], expected: list[str], double: bool, threads: int) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert [digest(data, Torch(registry.load_model(), double)) for data in files] == expected
    finally:
        torch.set_num_threads(before)


CHILD = """
import sys
from pathlib import Path
import onnxruntime
from integer_networks import Torch, digest
from vaecodec.model import networks, registry
level = sys.argv[2]
if level != "torch":
    class Options(onnxruntime.SessionOptions):
        def __init__(self):
            super().__init__()
            self.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    onnxruntime.SessionOptions = Options
nets = registry.load_model()
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(digest(path.read_bytes(), Torch(nets, False) if level == "torch" else nets))
"""


TORCH = [pytest.mark.torch, pytest.mark.slow]


@pytest.mark.parametrize(
    ("engine", "environment"),
    [
        pytest.param("torch", {"ONEDNN_MAX_CPU_ISA": "SSE41"}, marks=TORCH),
        pytest.param("torch", {"ONEDNN_MAX_CPU_ISA": "AVX2"}, marks=TORCH),
        pytest.param(
            "torch",
            {"ATEN_CPU_CAPABILITY": "default", "DNNL_DEFAULT_FPMATH_MODE": "STRICT"},
            marks=TORCH,
        ),
        ("ORT_DISABLE_ALL", {}),
        ("ORT_ENABLE_BASIC", {"OMP_NUM_THREADS": "1"}),
        ("ORT_ENABLE_EXTENDED", {}),
        ("ORT_ENABLE_ALL", {}),
    ],
)
def test_other_kernels(
    files: list[bytes],
    expected: list[str],
    tmp_path: Path,
    engine: str,
    environment: dict[str, str],
) -> None:
    """Other instruction sets of oneDNN; other optimizations, so other kernels, of ONNX Runtime."""
    for i, data in enumerate(files):
        (tmp_path / str(i)).write_bytes(data)
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, str(tmp_path), engine],
        capture_output=True,
        text=True,
        env={**os.environ, **environment, "PYTHONPATH": path},
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.split() == expected


def test_sums_stay_exact_in_float32(reference: Int64) -> None:
    """No input can bring a partial sum of any layer to 2^24, as the weights alone show."""
    names = [name.removesuffix(".weight") for name in reference.weights if name.endswith(".weight")]
    assert len(names) == 37
    for name in names:
        weight, bias, shift = (
            reference.weights[f"{name}.{part}"].astype(int) for part in ("weight", "bias", "shift")
        )
        assert (abs(weight).sum((1, 2, 3)) * 2047 + abs(bias) < 2**24).all(), name
        assert (shift >= 0).all(), name
        assert abs(weight).max() <= 2047, name
