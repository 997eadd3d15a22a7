"""The wheel holds everything that an installed package needs, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = (
    "codec/vaecodec",
    "train/vaecodec_train",
    "benchmarks/vaecodec_bench",
    "tests",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)


def has_setuptools() -> bool:
    """Return whether the build backend that pyproject.toml asks for is installed."""
    try:
        return int(version("setuptools").partition(".")[0]) >= 77
    except PackageNotFoundError:
        return False


def check_wheel(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "check_wheel.py"), str(path)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, so that no build folder stays behind in the checkout."""
    if not has_setuptools():
        pytest.skip("needs setuptools 77 or newer to build without a network")
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        origin = ROOT / name
        if origin.is_dir():
            shutil.copytree(origin, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(origin, source / name)
    out = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(out)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True)
    (path,) = out.glob("*.whl")
    return path


@pytest.mark.slow
def test_wheel_is_complete_and_small(wheel: Path) -> None:
    result = check_wheel(wheel)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_wheel_has_the_version_and_the_commands(wheel: Path) -> None:
    import vaecodec

    assert wheel.name.startswith(f"vaecodec-{vaecodec.__version__}-py3-none-any")
    with zipfile.ZipFile(wheel) as file:
        folder = f"vaecodec-{vaecodec.__version__}.dist-info"
        entry_points = file.read(f"{folder}/entry_points.txt").decode()
    for command in ("vaecodec = ", "vaecodec-train = ", "vaecodec-bench = ", "[vaecodec.commands]"):
        assert command in entry_points


def test_an_incomplete_wheel_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vaecodec-0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tests/test_packaging.py", "")
        file.writestr("vaecodec/test_something.py", "")
    result = check_wheel(path)
    assert result.returncode == 1
    assert "vaecodec/py.typed is missing" in result.stderr
    assert "tests/test_packaging.py does not belong to a package" in result.stderr
    assert "vaecodec/test_something.py is a test" in result.stderr
