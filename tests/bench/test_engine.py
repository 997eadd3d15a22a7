"""The benchmark of the integer engine, on tiny networks. No test looks at the clock."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fuzz import tiny
from helpers import ROOT
from vaecodec.engine import Buffer, Engine, Layer, Network, available
from vaecodec_bench import cli, engine
from vaecodec_bench.engine import COPIES, LayerKind, layer_kinds, repeated
from vaecodec_bench.report import markdown
from vaecodec_bench.report.engine_tables import PEER, tables

PICTURE = (192, 128)


def network(channels: int, scale: int = 1) -> Network:
    """Return a network of a linear layer, a depthwise one, a sum and a finer output."""
    layers = (
        Layer("linear", "input", "x", channels, 4 * channels, "grow", relu=True),
        Layer("depthwise", "x", "y", 4 * channels, 4 * channels, "filter"),
        Layer("linear", "input", "y", channels, 4 * channels, "again", add=True),
        Layer("shuffle", "y", "output", 4 * channels, channels, factor=2),
    )
    buffers = {
        "input": Buffer(channels, scale),
        "x": Buffer(4 * channels, scale),
        "y": Buffer(4 * channels, scale),
        "output": Buffer(channels, 2 * scale),
    }
    rng = np.random.default_rng(channels)
    tensors: dict[str, Any] = {}
    for layer in layers[:3]:
        shape = (layer.inputs,) if layer.kind == "linear" else (3, 3)
        weight = rng.integers(-500, 500, (layer.outputs, *shape))
        tensors[f"{layer.name}.weight"] = weight.astype(np.int16)
        tensors[f"{layer.name}.bias"] = rng.integers(-99, 99, layer.outputs).astype(np.int32)
        tensors[f"{layer.name}.shift"] = rng.integers(7, 10, layer.outputs).astype(np.uint8)
    return Network(buffers, layers, tensors)


NETWORKS = {"h_s": network(5), "context_0": network(3, 2)}
# h_s reads z, of which there are 2 x 3 on this picture. The other one reads inputs at 1/16.
KINDS = {
    "h_s": [LayerKind("linear", 5, 20, 2, 3), LayerKind("depthwise", 20, 20, 2, 3)],
    "context_0": [LayerKind("linear", 3, 12, 8, 12), LayerKind("depthwise", 12, 12, 8, 12)],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_have_their_sizes_on_the_picture(name: str) -> None:
    linear, depthwise = KINDS[name]
    found = [kind for kind, _ in layer_kinds(name, NETWORKS[name], PICTURE)]
    assert found == [linear, depthwise, linear]
    cells = 2 * 3 if name == "h_s" else 4 * 6
    assert sum(kind.macs for kind in found) == NETWORKS[name].macs_per_cell * cells


@pytest.mark.parametrize("copies", [1, COPIES])
def test_a_layer_alone(copies: int) -> None:
    part = NETWORKS["h_s"]
    x = engine.random_input((4, 3, 5))
    out = Engine(repeated(part, part.layers[0], copies)).run(x)
    weight, bias, shift = (part.tensors[f"grow.{name}"] for name in ("weight", "bias", "shift"))
    total = x.astype(np.int64) @ weight.astype(np.int64).T + bias
    expected = np.floor(total / 2.0**shift + 0.5)  # rounded half up
    assert (out == np.clip(expected, 0, 16383)).all()


def test_all_networks_run_in_turn() -> None:
    outputs: Any = engine.whole(NETWORKS, PICTURE, 1, available()[0])()
    assert [output.shape for output in outputs] == [(4, 6, 5), (16, 24, 3)]


def test_the_shortest_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    def taking(*durations: float) -> Any:
        left = list(durations)

        def run() -> None:
            nonlocal now
            now += left.pop(0)

        return run, left

    fast, fast_left = taking(*[2**-7] * 4, 2**-8, 2**-7)
    slow, slow_left = taking(4, 2)
    found = engine.fastest({"fast": fast, "slow": slow}, 2)
    assert found == {"fast": 2**-8, "slow": 2}
    assert fast_left == slow_left == []  # a slow one runs once in a round


def made_up_times(work: engine.Work, _: int) -> dict[Any, float]:
    """Say that products run at 2 GMAC/s, all else at 1, and that 3 s come on top of each layer."""
    seconds = {}
    for key in work:
        if isinstance(key[0], LayerKind):
            kind, name, copies = key
            speed = 1e9 if kind.kind == "depthwise" else 4e9 if name == PEER else 2e9
            seconds[key] = 3 + copies * kind.macs / speed
        else:
            seconds[key] = 1e-4 / key[1] ** 0.5
    return seconds


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What made-up times give, as read from a file."""
    monkeypatch.setattr(engine, "fastest", made_up_times)
    found = engine.measure_engine(NETWORKS, PICTURE, 4, 1)
    found |= {"processor": "Abacus 2000", "model": "0123abcd"}
    return dict(json.loads(json.dumps(found, allow_nan=False)))


def test_speeds_and_shares(results: dict[str, Any]) -> None:
    kinds = [kind for part in KINDS.values() for kind in part]
    for kind, row in zip(kinds, results["layers"], strict=True):
        speeds = row.pop("gmac_per_second")
        assert LayerKind(**row) == kind
        expected = 2 if kind.kind == "linear" else 1
        assert speeds.pop(PEER, 4) == pytest.approx(4)
        assert speeds == {name: pytest.approx(expected) for name in available()}
    linear = 2 * sum(kind.macs for kind in kinds if kind.kind == "linear")
    macs = linear + sum(kind.macs for kind in kinds if kind.kind == "depthwise")
    assert results["macs"] == macs
    assert list(results["engines"]) == list(available())
    for row in results["engines"].values():
        assert row == {
            "seconds": 1e-4,
            "gmac_per_second": pytest.approx(macs / 1e5),
            "other_share": pytest.approx(1 - linear / 2e9 / 1e-4),
            "speedup": pytest.approx(2),
        }


def test_tables(results: dict[str, Any]) -> None:
    layers, networks = tables(results)
    assert layers.head == ["layer", "at", *available(), PEER]
    assert [row[:2] for row in layers.rows] == [
        ["5 → 20", "2 x 3"],
        ["depthwise 20", "2 x 3"],
        ["3 → 12", "8 x 12"],
        ["depthwise 12", "8 x 12"],
    ]
    assert layers.rows[0][2:] == ["2 (0.50)"] * len(available()) + ["4"]
    assert layers.rows[1][2:] == ["1"] * len(available()) + ["–"]
    assert [row[0] for row in networks.rows] == list(available())
    assert {row[-1] for row in networks.rows} == {"2.00 ×"}


def test_a_time_too_short_to_measure(
    monkeypatch: pytest.MonkeyPatch, results: dict[str, Any]
) -> None:
    monkeypatch.setattr(engine, "fastest", lambda work, _: dict.fromkeys(work, 1.0))
    found = engine.measure_engine(NETWORKS, PICTURE, 2, 1)
    assert found["layers"][0]["gmac_per_second"] == dict.fromkeys((*available(), PEER))
    assert set(tables(found)[0].rows[0][2:]) == {"–"}


def test_the_document_keeps_all_but_the_part_about_the_engine(
    tmp_path: Path, results: dict[str, Any]
) -> None:
    text = (ROOT / "docs" / "BENCHMARKS.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(markdown.ENGINE_BEGIN)
    after = rest.partition(markdown.ENGINE_END)[2]
    page = tmp_path / "docs" / "BENCHMARKS.md"
    page.parent.mkdir()
    page.write_text(text, encoding="utf-8")
    (tmp_path / "engine.json").write_text(json.dumps(results))
    for _ in range(2):  # the second time finds what the first one wrote
        markdown.update_docs(tmp_path, tmp_path)
        new = page.read_text(encoding="utf-8")
        assert new.startswith(before + markdown.ENGINE_BEGIN)
        assert new.endswith(markdown.ENGINE_END + after)
        generated = new[len(before) : len(new) - len(after)]
        assert "Measured on Abacus 2000" in generated
        assert "    vaecodec-bench engine --threads 4 -o report\n" in generated
        assert generated.count("\n| --- |") == 2


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "PICTURE", PICTURE)
    arguments = ("engine", "--model", tiny.MODEL, "--rounds", "1", "-o", str(tmp_path / "out"))
    monkeypatch.setattr("sys.argv", ["vaecodec-bench", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    found = json.loads((tmp_path / "out" / "engine.json").read_text())
    assert found["picture"] == list(PICTURE) and found["processor"]
    printed = capsys.readouterr().out
    for name, row in found["engines"].items():
        assert row["seconds"] > 0 and name in printed
