"""The wheel holds everything that an installed package needs, and nothing else.

With a compiler it is one for all versions of Python on a platform, without one for all platforms.
"""

import os
import shutil
import subprocess
import sys
import tarfile
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
    "setup.py",
    "README.md",
    "LICENSE",
)
NOT_SOURCES = ("__pycache__", "*.so", "*.pyd")


def has_setuptools() -> bool:
    """Return whether the build backend that pyproject.toml asks for is installed."""
    try:
        return int(version("setuptools").partition(".")[0]) >= 77
    except PackageNotFoundError:
        return False


def check_wheel(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "check_wheel.py"), *options, str(path)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Copy the checkout, so that no build folder stays behind in it."""
    if not has_setuptools():
        pytest.skip("needs setuptools 77 or newer to build without a network")
    folder = tmp_path / "source"
    for name in SOURCES:
        origin = ROOT / name
        if origin.is_dir():
            shutil.copytree(origin, folder / name, ignore=shutil.ignore_patterns(*NOT_SOURCES))
        else:
            shutil.copy(origin, folder / name)
    return folder


def build_wheel(source: Path, out: Path, **variables: str) -> Path:
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(out)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(source)]
    subprocess.run(command, check=True, env=os.environ | variables)
    (path,) = out.glob("*.whl")
    return path


def engines_in(wheel: Path, folder: Path) -> list[str]:
    """Unpack a wheel, run a network with the engine that it chooses, and return all engines."""
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    code = (
        "import doctest, vaecodec.engine as engine; "
        "tried = doctest.testmod(engine); assert tried.attempted and not tried.failed; "
        "print(engine.__file__, *engine.available())"
    )
    variables = os.environ | {"PYTHONPATH": str(folder)}
    variables.pop("VAECODEC_ENGINE", None)
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=variables)
    where, *engines = result.stdout.split()
    assert Path(where).is_relative_to(folder)
    return engines


@pytest.mark.slow
def test_wheel(source: Path, tmp_path: Path) -> None:
    import vaecodec

    wheel = build_wheel(source, tmp_path)
    assert wheel.name.startswith(f"vaecodec-{vaecodec.__version__}-cp311-abi3-")
    result = check_wheel(wheel, "--compiled")
    assert result.returncode == 0, result.stderr
    with zipfile.ZipFile(wheel) as file:
        folder = f"vaecodec-{vaecodec.__version__}.dist-info"
        entry_points = file.read(f"{folder}/entry_points.txt").decode()
    for command in ("vaecodec = ", "vaecodec-train = ", "vaecodec-bench = ", "[vaecodec.commands]"):
        assert command in entry_points
    engines = engines_in(wheel, tmp_path / "installed")
    assert engines[-2:] == ["portable", "numpy"]


@pytest.mark.slow
def test_wheel_without_a_compiler(source: Path, tmp_path: Path) -> None:
    import vaecodec

    wheel = build_wheel(source, tmp_path, CC=str(shutil.which("false")))
    assert wheel.name == f"vaecodec-{vaecodec.__version__}-py3-none-any.whl"
    result = check_wheel(wheel)
    assert result.returncode == 0, result.stderr
    result = check_wheel(wheel, "--compiled")
    assert result.returncode == 1
    assert "the engine's C code is missing" in result.stderr
    assert "the tag is not cp311-abi3" in result.stderr
    assert engines_in(wheel, tmp_path / "installed") == ["numpy"]


@pytest.mark.slow
def test_source_archive_can_be_built(source: Path, tmp_path: Path) -> None:
    code = f"import setuptools.build_meta as backend; print(backend.build_sdist({str(tmp_path)!r}))"
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    wheel = build_wheel(tmp_path / archive.name.removesuffix(".tar.gz"), tmp_path)
    result = check_wheel(wheel, "--compiled")
    assert result.returncode == 0, result.stderr


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
