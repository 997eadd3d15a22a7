"""Check the size and the contents of a built wheel: python tools/check_wheel.py WHEEL."""

import sys
import zipfile
from pathlib import Path, PurePosixPath

# The wheel holds three packages and two models. The limit lies a little above what they need
# (42.3 MB), so that a file that does not belong there is noticed. Raise it together with the
# change that needs the space.
MAX_BYTES = 43_000_000
DEFAULT_MODEL = "vaecodec/model/weights/default"
MODEL_FILES = (
    "manifest.json",
    "tables.npz",
    "g_a.onnx",
    "g_s.onnx",
    "h_a.onnx",
    "h_s.onnx",
    "context_1.onnx",
    "context_2.onnx",
    "context_3.onnx",
)
OTHER_FILES = (
    "vaecodec/py.typed",
    "vaecodec_train/cli.py",
    "vaecodec_bench/report/assets/page.html",
    "vaecodec_bench/report/assets/page.css",
    "vaecodec_bench/report/assets/page.js",
    "vaecodec_bench/published/vtm.json",
)
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


def main() -> None:
    path = Path(sys.argv[1])
    wrong = problems(path)
    if wrong:
        sys.exit("\n".join(f"{path.name}: {problem}" for problem in wrong))
    print(f"{path.name}: {path.stat().st_size} bytes, complete")


if __name__ == "__main__":
    main()
