"""`decode` of parts, of reduced sizes, and of damaged files, as users run it."""

from pathlib import Path

import pytest
from PIL import Image

from helpers import flipped, refused, run, succeeded
from vaecodec.format.reader import Reader


@pytest.fixture
def folder(tmp_path: Path, tiled: bytes) -> Path:
    """A folder that holds a file of six tiles: good.vae, cut.vae, and bad.vae with one damaged."""
    (tmp_path / "good.vae").write_bytes(tiled)
    (tmp_path / "cut.vae").write_bytes(tiled[: len(tiled) // 2])
    damaged = flipped(tiled, Reader(tiled).latent_chunks()[2].at + 9)
    (tmp_path / "bad.vae").write_bytes(damaged)
    return tmp_path


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_region(folder: Path) -> None:
    succeeded(run("decode", "good.vae", "part.png", "--region", "10,20,30,40", cwd=folder))
    assert size_of(folder / "part.png") == (30, 40)


def test_scale(folder: Path) -> None:
    succeeded(run("decode", "good.vae", "small.png", "--scale", "1/4", cwd=folder))
    assert size_of(folder / "small.png") == (75, 55)


def test_preview_of_a_truncated_file(folder: Path) -> None:
    error = succeeded(run("decode", "cut.vae", "out.png", "--preview", cwd=folder))
    assert "preview of 5" in error


def test_preview_of_a_damaged_file(folder: Path) -> None:
    error = succeeded(run("decode", "bad.vae", "out.png", "--preview", cwd=folder))
    assert "100.0 %" in error
    assert "44 x 128 at 256,0" in error


def test_a_damaged_file_is_refused(folder: Path) -> None:
    refused(run("decode", "bad.vae", "out.png", cwd=folder), "1 of its 6 tiles (2)")
    assert not (folder / "out.png").exists()


def test_best_effort_names_the_damaged_tiles(folder: Path) -> None:
    result = run("decode", "bad.vae", "out.png", "--best-effort", cwd=folder)
    assert result.returncode == 3
    assert b"44 x 128 at 256,0" in result.stderr
    assert b"128 x 128 at 256,0" not in result.stderr
    assert size_of(folder / "out.png") == (300, 217)


@pytest.mark.parametrize(
    "options",
    [
        ("--region", "1,2,3"),
        ("--scale", "2"),
        ("--preview", "--best-effort"),
        ("--format", "a/b"),
    ],
)
def test_wrong_usage(folder: Path, options: tuple[str, ...]) -> None:
    refused(run("decode", "good.vae", "out.png", *options, cwd=folder), code=2)


def test_a_region_outside_the_picture(folder: Path) -> None:
    result = run("decode", "good.vae", "out.png", "--region", "0,0,301,1", cwd=folder)
    refused(result, "good.vae", "does not lie")


def test_info_tells_the_number_of_tiles(folder: Path) -> None:
    assert b"6 tiles" in run("info", "good.vae", cwd=folder).stdout


def test_info_refuses_damaged_files(folder: Path) -> None:
    assert run("info", "bad.vae", "cut.vae", cwd=folder).returncode == 1
