"""The folders import each other in one direction only, and `vaecodec info` starts without numpy."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "vaecodec": ROOT / "codec" / "vaecodec",
    "vaecodec_train": ROOT / "train" / "vaecodec_train",
    "vaecodec_bench": ROOT / "benchmarks" / "vaecodec_bench",
}
SOURCES = [ROOT / name for name in ("codec", "train", "benchmarks", "tests", "tools")]
MAX_LINES = 400

# A module may import from its own row and from those above it. "" is the package itself.
CODEC_ORDER = (
    ("_arrays", "_version", "errors", "spec", "metrics"),
    ("format",),
    ("image",),
    ("entropy",),
    ("engine",),
    ("model",),
    ("coding",),
    ("tasks",),
    ("", "api", "pillow"),
    ("cli", "__main__"),
)
TRAIN_ORDER = (
    ("model",),
    ("config",),
    ("training",),
    ("export",),
    ("restorer", "evaluate", "tutorial"),
    ("", "cli", "options", "__main__"),
)
HEAVY = {"numpy", "PIL", "onnxruntime", "torch"}
LIGHT = ("", "format.*", "errors", "spec", "cli.app", "cli.options")


def modules(package: str) -> dict[str, Path]:
    """Map the dotted names of a package's modules to their files."""
    root = PACKAGES[package]
    names = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        names[".".join(parts).removesuffix(".__init__")] = path
    return names


ALL_MODULES = {name: path for package in PACKAGES for name, path in modules(package).items()}


def imported(nodes: list[ast.stmt], at_import: bool) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted name of everything that is imported.

    With `at_import`, leave out what functions import when they are called and what only type checkers see.
    """
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield node.lineno, name if name in ALL_MODULES else str(node.module)
        elif at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        elif at_import and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imported(node.orelse, at_import)
        else:
            for part in ("body", "orelse", "finalbody", "handlers", "cases"):
                yield from imported(getattr(node, part, []), at_import)


def imports_of(path: Path, at_import: bool = False) -> list[tuple[int, str]]:
    return list(imported(ast.parse(path.read_text(encoding="utf-8")).body, at_import))


def rank(order: tuple[tuple[str, ...], ...], module: str) -> int:
    """Return the row of a module's folder, or of the module itself at the top of its package."""
    folder = module.partition(".")[2].partition(".")[0]
    return next(row for row, folders in enumerate(order) if folder in folders)


@pytest.mark.parametrize(
    ("package", "order"), [("vaecodec", CODEC_ORDER), ("vaecodec_train", TRAIN_ORDER)]
)
def test_folders_import_in_order(package: str, order: tuple[tuple[str, ...], ...]) -> None:
    wrong = []
    for module, path in modules(package).items():
        for line, name in imports_of(path):
            if name.split(".")[0] == package and rank(order, name) > rank(order, module):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("package", "others"),
    [("vaecodec", {"vaecodec_train", "vaecodec_bench"}), ("vaecodec_train", {"vaecodec_bench"})],
)
def test_packages_import_in_one_direction(package: str, others: set[str]) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(package).values()
        for line, name in imports_of(path)
        if name.split(".")[0] in others
    ]
    assert not wrong, "\n".join(wrong)


def loaded_with(module: str) -> dict[str, str]:
    """Map everything that importing `module` imports, directly or not, to the place of the import."""
    places: dict[str, str] = {}
    waiting = [module]
    while waiting:
        path = ALL_MODULES.get(waiting.pop())
        for line, name in imports_of(path, at_import=True) if path else []:
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                ancestor = ".".join(parts[:end])
                if ancestor not in places:
                    places[ancestor] = f"{path.relative_to(ROOT)}:{line}" if path else ""
                    waiting.append(ancestor)
    return places


def light_modules() -> list[str]:
    names = modules("vaecodec")
    light = []
    for pattern in LIGHT:
        if pattern.endswith("*"):
            light += [name for name in names if name.startswith(f"vaecodec.{pattern[:-1]}")]
        else:
            light.append(f"vaecodec.{pattern}".rstrip("."))
    return light


@pytest.mark.parametrize("module", light_modules())
def test_light_modules_import_nothing_heavy(module: str) -> None:
    assert module in ALL_MODULES
    wrong = [
        f"{place} imports {name}" for name, place in loaded_with(module).items() if name in HEAVY
    ]
    assert not wrong, "\n".join(wrong)


def test_files_are_short() -> None:
    counts = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for source in SOURCES
        for path in source.rglob("*.py")
    }
    wrong = [
        f"{path.relative_to(ROOT)} has {count} lines, more than {MAX_LINES}"
        for path, count in counts.items()
        if count > MAX_LINES
    ]
    assert not wrong, "\n".join(wrong)
