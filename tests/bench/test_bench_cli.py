"""The `vaecodec-bench` command: exit codes, messages, and what it imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from vaecodec_bench import cli


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Run the command and return its exit code, or the sentence that it exits with."""
    monkeypatch.setattr("sys.argv", ["vaecodec-bench", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


def test_failures_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = str(tmp_path / "missing")
    for arguments in (("quality", missing), ("speed", missing), ("page", missing)):
        assert run(monkeypatch, *arguments) == f"vaecodec-bench: {missing}: not a folder"
    expected = f"vaecodec-bench: {missing}: No such file or directory"
    assert run(monkeypatch, "demo", missing, str(tmp_path)) == expected
    assert str(run(monkeypatch, "docs", missing)).startswith(
        f"vaecodec-bench: {missing}/results.json: cannot be read ("
    )


def test_wrong_usage_exits_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, threads = ("quality", ".", "--jobs", "-1"), ("engine", "--threads", "0")
    for arguments in (("nonsense",), ("quality",), jobs, threads):
        assert run(monkeypatch, *arguments) == 2


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = ("report", "engine", "arithmetic")
    for name in [*sys.modules]:
        if name.startswith(tuple(f"vaecodec_bench.{part}" for part in parts)):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    for arguments, words, package in (
        (("quality", str(tmp_path)), "bench", "matplotlib"),
        (("plot", str(tmp_path)), "plot", "matplotlib"),
        (("engine",), "engine", "onnx"),
    ):
        assert run(monkeypatch, *arguments) == (
            f"vaecodec-bench: {words} needs the package {package}: pip install 'vaecodec[bench]'"
        )


def test_the_demo_needs_only_the_codec() -> None:
    code = (
        "import sys, vaecodec_bench.cli, vaecodec_bench.demo; "
        "print({'matplotlib', 'scipy', 'onnx', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
