"""The speed benchmark's parts against what is known of them; no test looks at the clock."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from helpers import kodak_crop
from vaecodec.errors import VaecodecError
from vaecodec.model import networks, registry
from vaecodec_bench import arithmetic, peers, processes, speed
from vaecodec_bench.processes import ProcessBench, mirrored_mosaic, quartiles, run_process
from vaecodec_bench.report import markdown


def test_multiplications_are_those_of_the_layers(tmp_path: Path) -> None:
    """A 3x3 convolution from 4 to 8 channels, a depthwise one, and a matrix product, at 1/16 of the picture's sides."""

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return helper.make_tensor(
            name, TensorProto.FLOAT, shape, np.zeros(shape, np.float32).ravel()
        )

    nodes = [
        helper.make_node("Conv", ["y", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node(
            "Cast", ["half"], ["w2"], to=TensorProto.FLOAT
        ),  # weights need not be constants of the graph
        helper.make_node("Conv", ["a", "w2"], ["b"], pads=[1, 1, 1, 1], group=8, strides=[2, 2]),
        helper.make_node("MatMul", ["b", "w3"], ["c"]),
    ]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, "h", "w"])
    c = helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 8, None, 5])
    half = helper.make_tensor(
        "half", TensorProto.FLOAT16, (8, 1, 3, 3), np.zeros(72, np.float16).ravel()
    )
    graph = helper.make_graph(
        nodes, "g", [y], [c], [weight("w1", 8, 4, 3, 3), half, weight("w3", 8, 5)]
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "g.onnx",
    )
    assert (
        arithmetic._count_multiplications(tmp_path / "g.onnx")
        == 16 * 16 * 8 * 4 * 9 + 8 * 8 * 8 * 9 + 8 * 8 * 8 * 5
    )


def test_multiplications_of_the_shipped_model() -> None:
    count = arithmetic.kmac_per_pixel(registry.load_model())
    assert set(count) == {*networks.GRAPHS, *networks.NETWORKS}
    assert all(value > 0 for value in count.values())
    assert count["g_s"] > count["h_s"] > count["h_a"] / 4
    assert count["context_0"] < count["context_1"] == count["context_2"] == count["context_3"]


def test_the_share_of_the_peak() -> None:
    share = arithmetic.peak_share(kodak_crop(5, 384, 256), None, 1, rounds=3)["share"]
    assert set(share) == {"decode", "g_s"} and all(
        value > 0 for part in share.values() for value in part
    )


def test_peak_memory_is_that_of_the_process_alone(tmp_path: Path) -> None:
    """Of one that holds 200 MB, and of one that holds little, both from a parent that holds much."""
    ballast = np.ones(50_000_000)
    code = "import sys; x = bytearray(int(sys.argv[3])); open(sys.argv[2], 'wb').write(open(sys.argv[1], 'rb').read())"
    (tmp_path / "in").write_bytes(b"content")
    peaks = [
        run_process(
            (sys.executable, "-S", "-c", code, "IN", "OUT", str(size)),
            tmp_path / "in",
            tmp_path / "out",
        )[1]
        for size in (0, 200_000_000)
    ]
    assert peaks[0] < 60e6 < 200e6 < peaks[1] < 260e6 and ballast.nbytes == 400_000_000
    assert (tmp_path / "out").read_bytes() == b"content"


def test_processes_that_fail(tmp_path: Path) -> None:
    for command, message in (
        ((sys.executable, "-c", "raise ValueError('too bad')"), r"failed \(ValueError: too bad\)"),
        ((sys.executable, "-c", "pass"), r"failed \(no output\)"),
        (("no-such-program",), "no-such-program could not be started"),
    ):
        with pytest.raises(VaecodecError, match=message):
            run_process(command, tmp_path / "in", tmp_path / "out")


def test_a_tool_that_fails_is_named_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, jpeg, *_ = processes.tools(None)
    monkeypatch.setattr(
        processes,
        "tools",
        lambda _: [ours, jpeg, replace(jpeg, name="broken", decode=("no-such-program",))],
    )
    complaints: list[str] = []
    bench = ProcessBench(
        None,
        tmp_path,
        lambda name, error: complaints.append(f"{name}: {error}"),
        lambda what: None,
    )
    found = bench.cold_start(kodak_crop(5, 64, 64), 2)
    assert complaints == ["broken: no-such-program could not be started"]
    assert list(found) == ["vaecodec", "JPEG (python -c, Pillow)"]
    assert (
        found["vaecodec"]["decode"]["ratio"] == [1, 1, 1]
        and found["vaecodec"]["decode"]["peak_mb"] > 50
    )
    assert all(len(part["seconds"]) == 2 for row in found.values() for part in row.values())


def test_a_codec_that_fails_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise RuntimeError("no")

    ours = peers.vaecodec_peer(peers.OURS, registry.default_model())
    complaints: list[str] = []
    images = [kodak_crop(5, 64, 64), kodak_crop(19, 96, 64)]
    found = speed.measure_warm(
        {"vaecodec": ours, "broken": replace(ours, encode=fail)},
        images,
        1,
        4,
        lambda name, error: complaints.append(f"{name}: {error}"),
        lambda what: None,
    )
    assert complaints == ["broken: failed (no)"] and list(found) == ["vaecodec"]
    assert found["vaecodec"]["encode"]["ratio"] == [1, 1, 1] and found["vaecodec"]["rounds"] == 4


def test_tiled() -> None:
    image = kodak_crop(5, 30, 20)
    large = np.asarray(mirrored_mosaic(image, 100, 47))
    assert large.shape == (47, 100, 3)
    original = np.asarray(image)
    assert (large[:20, :30] == original).all() and (
        large[20:40, 30:60] == original[::-1, ::-1]
    ).all()
    assert (large[:, 29] == large[:, 30]).all() and (large[19] == large[20]).all()


def test_quartiles() -> None:
    assert quartiles([4, 1, 2, 3, 5]) == [2, 3, 4]
    assert quartiles([7]) == [7, 7, 7]


def test_the_document_keeps_all_but_its_generated_part(tmp_path: Path) -> None:
    from made_up_results import made_up
    from vaecodec_bench import results
    from vaecodec_bench.report import plot

    out, place = tmp_path / "report", tmp_path / "checkout"
    for folder in (out, place / "docs"):
        folder.mkdir(parents=True)
    found = made_up(0)
    (out / "results.json").write_bytes(results.to_json(found))
    plot.write_diagrams(found, out)
    ratio = {"ratio": [0.4, 0.5, 0.625], "ms_per_megapixel": 1.0}
    warm = {"JPEG": {"quality": 75, "rounds": 9, "encode": ratio, "decode": ratio}}
    (out / "speed.json").write_text(json.dumps({"warm": warm, "threads": 2, "machine": "test"}))
    (out / "speed.png").write_bytes(b"picture")
    pages = place / "README.md", place / "docs" / "BENCHMARKS.md"
    for page in pages:
        page.write_text(f"before\n\n{markdown.BEGIN}\nold\n{markdown.END}\n\nafter\n")
    for _ in range(2):  # the second time finds what the first one wrote
        markdown.update_docs(out, place)
        for page in pages:
            text = page.read_text()
            assert text.startswith(f"before\n\n{markdown.BEGIN}\n")
            assert text.endswith(f"{markdown.END}\n\nafter\n") and "old" not in text
        assert (
            "| JPEG | 43 kB | – | ~0.4 ms (0.5 ×) | ~0.4 ms (0.5 ×) |" in pages[0].read_text()
            and "| AVIF | 48 kB | +10.0 % | – | – |" in pages[0].read_text()
        )
        assert (
            "| vaecodec | −9.1 % | −17.4 % | 1 |" in text
            and "| JPEG | 75 | 0.5 (0.4–0.62) | 0.5 (0.4–0.62) | 1 | 1 | 9 |" in text
        )
        assert (place / "docs" / "benchmarks" / "rd-psnr.png").read_bytes() == (
            out / "rd-psnr.png"
        ).read_bytes()
    page.write_text("no marks")
    with pytest.raises(VaecodecError, match=r"BENCHMARKS\.md: cannot be read, or lacks the marks"):
        markdown.update_docs(out, place)
