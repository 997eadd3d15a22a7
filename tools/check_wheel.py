"""Check the size and the contents of built wheels: check_wheel.py [--compiled] WHEEL...

With --compiled, the engine's C code must be in them, in a form for all versions of Python.
"""

import argparse
import fnmatch
import sys
import zipfile
from pathlib import Path, PurePosixPath

# The wheel holds three packages and two models. The limit lies a little above what they need
# (43.3 MB), so that a file that does not belong there is noticed. Raise it together with the
# change that needs the space.
MAX_BYTES = 44_000_000
DEFAULT_MODEL = "vaecodec/model/weights/default"
MODEL_FILES = (
    "manifest.json",
    "tables.npz",
    "g_a.onnx",
    "g_s.onnx",
    "h_a.onnx",
    "h_s.npz",
    "context_0.npz",
    "context_1.npz",
    "context_2.npz",
    "context_3.npz",
)
OTHER_FILES = (
    "vaecodec/py.typed",
    "vaecodec/engine/_engine.pyi",
    "vaecodec_train/cli.py",
    "vaecodec_bench/report/assets/page.html",
    "vaecodec_bench/report/assets/page.css",
    "vaecodec_bench/report/assets/page.js",
    "vaecodec_bench/published/vtm.json",
)
EXTENSIONS = ("vaecodec/engine/_engine*.so", "vaecodec/engine/_engine*.pyd")
FOLDERS = {"vaecodec", "vaecodec_train", "vaecodec_bench"}


def problems(path: Path) -> list[str]:
    """Return what is wrong with the wheel at `path`, one sentence per problem."""
    size = path.stat().st_size
    wrong = [f"{size} bytes, but the limit is {MAX_BYTES}"] if size > MAX_BYTES else []
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        required = [DEFAULT_MODEL, *OTHER_FILES]
        if DEFAULT_MODEL in names:
            folder = (
                PurePosixPath(DEFAULT_MODEL).parent / wheel.read(DEFAULT_MODEL).decode().strip()
            )
            required += [str(folder / name) for name in MODEL_FILES]
    wrong += [f"{name} is missing" for name in required if name not in names]
    for name in sorted(names):
        parts = PurePosixPath(name).parts
        if parts[0] not in FOLDERS and not parts[0].endswith(".dist-info"):
            wrong.append(f"{name} does not belong to a package")
        elif "tests" in parts or parts[-1].startswith("test_"):
            wrong.append(f"{name} is a test")
    return wrong


def extension_problems(path: Path) -> list[str]:
    """Return what a wheel lacks to have the engine's C code for all versions of Python."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
    found = any(fnmatch.filter(names, pattern) for pattern in EXTENSIONS)
    wrong = [] if found else ["the engine's C code is missing"]
    return wrong if "-cp311-abi3-" in path.name else [*wrong, "the tag is not cp311-abi3"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL")
    parser.add_argument("--compiled", action="store_true", help="require the C code")
    options = parser.parse_args()
    failed = False
    for path in options.wheels:
        wrong = problems(path) + (extension_problems(path) if options.compiled else [])
        for problem in wrong:
            print(f"{path.name}: {problem}", file=sys.stderr)
        if not wrong:
            print(f"{path.name}: {path.stat().st_size} bytes, complete")
        failed |= bool(wrong)
    sys.exit(failed)


if __name__ == "__main__":
    main()
