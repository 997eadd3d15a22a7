"""docs/CLI.md says what the commands' help says, and the examples in it work."""

import shlex
from pathlib import Path

import pytest
from PIL import Image

from helpers import kodak_crop, run
from vaecodec.cli.reference import examples, reference

DOCUMENT = Path(__file__).parents[2] / "docs" / "CLI.md"


TEXT = DOCUMENT.read_text(encoding="utf-8")
COMMANDS = ("encode", "decode", "info", "sample", "interpolate", "score", "embed", "restore")
EXAMPLES = [
    line for line in examples(TEXT) if line.split()[1] in COMMANDS and "[OPTIONS]" not in line
]


def test_document_is_up_to_date() -> None:
    assert reference() == TEXT, "run `make docs`"


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image, photo_file: bytes) -> Path:
    """A folder with the inputs that the examples name."""
    for name in ("photo", "first", "noisy", "torn", "small", "photos/a", "photos/b"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        photo.save(path)
    kodak_crop(3, *photo.size).save(tmp_path / "last.png")
    Image.new("1", photo.size, 1).save(tmp_path / "mask.png")
    (tmp_path / "photo.vae").write_bytes(photo_file)
    (tmp_path / "compressed").mkdir()
    (tmp_path / "compressed" / "c.vae").write_bytes(photo_file)
    return tmp_path


@pytest.mark.parametrize("line", EXAMPLES)
def test_examples_work(folder: Path, line: str) -> None:
    _, command, *arguments = shlex.split(line)
    if command == "encode":
        (folder / "photo.vae").unlink()
    result = run(command, *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr.decode()


def test_every_command_has_examples() -> None:
    assert {line.split()[1] for line in EXAMPLES} == set(COMMANDS)
