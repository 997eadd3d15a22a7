"""README's examples run literally, and the links and names in the documents exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md"))]
ARCHITECTURE = ROOT / "docs" / "ARCHITECTURE.md"
NOT_RUN = ("pip install", "make")


def code_blocks(language: str) -> list[str]:
    """Return the contents of README's fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S)


def shell_commands() -> list[str]:
    lines = [line for block in code_blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith(NOT_RUN)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but photo.png, a crop of a Kodak picture."""
    folder = tmp_path_factory.mktemp("readme")
    with Image.open(ROOT / "benchmarks" / "data" / "kodak" / "kodim23.png") as image:
        image.crop((100, 100, 337, 255)).save(folder / "photo.png")
    return folder


def run(folder: Path, *command: str) -> None:
    """Run a command in `folder` with this Python's scripts first on the path."""
    scripts = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": scripts + os.pathsep + os.environ["PATH"]}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_readme_examples_run_in_order(folder: Path) -> None:
    commands = shell_commands()
    assert len(commands) == 4
    for command in commands:
        run(folder, "sh", "-c", command)
    (python,) = code_blocks("python")
    run(folder, sys.executable, "-c", python)


def test_readme_fits_one_screen() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 100


def links(document: Path) -> list[str]:
    """Return the relative link and image targets of a document, without code blocks."""
    text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def headings(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to a document's headings."""
    titles = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_exist(document: Path) -> None:
    missing = []
    for link in links(document):
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if not target.exists() or (anchor and anchor not in headings(target)):
            missing.append(link)
    assert not missing


def test_every_document_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    assert {path.name for path in DOCUMENTS[1:]} - {"README.md"} <= set(links(index))


def table_rows() -> list[tuple[Path, str, str]]:
    """Return (folder, files, names) of each row of ARCHITECTURE.md's tables of places."""
    rows = []
    folder = ROOT
    for line in ARCHITECTURE.read_text("utf-8").splitlines():
        if line.startswith("#"):
            found = re.search(r"`(\w+/\w+)/`", line)
            folder = ROOT / found[1] if found else ROOT
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and folder != ROOT and len(cells) == 4:
            rows.append((folder, cells[1], cells[2]))
    return rows


def test_architecture_names_real_places() -> None:
    """Each file of the tables exists and holds the names beside it."""
    rows = table_rows()
    assert len(rows) > 40
    wrong = []
    for folder, files, names in rows:
        paths = [folder / name for name in re.findall(r"`([\w./]+)`", files)]
        wrong += [str(path.relative_to(ROOT)) for path in paths if not path.exists()]
        text = "".join(path.read_text("utf-8") for path in paths if path.is_file())
        for name in re.findall(r"`(\w+)`", names):
            if text and not re.search(
                rf"^ *(class|def) {name}\b|^ *{name}\b.*=|\b{name}:", text, re.M
            ):
                wrong.append(f"{files}: {name}")
    assert not wrong
