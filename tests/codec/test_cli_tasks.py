"""`sample`, `interpolate`, `score`, `embed` and `restore` as users run them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import refused, run, succeeded
from vaecodec.model import registry


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_sample(folder: Path) -> None:
    succeeded(run("sample", "--size", "100x70", "-o", "out.png", "--seed", "7", cwd=folder))
    assert size_of(folder / "out.png") == (100, 70)


@pytest.mark.parametrize("name", ["walk.png", "walk.gif"])
def test_interpolate(folder: Path, photo: Image.Image, name: str) -> None:
    succeeded(run("interpolate", "photo.png", "photo.vae", "-o", name, "--steps", "3", cwd=folder))
    with Image.open(folder / name) as image:
        if name.endswith("gif"):
            assert image.n_frames == 3  # type: ignore[attr-defined]
        else:
            assert image.size == (3 * photo.width, photo.height)


def test_score(folder: Path, photo: Image.Image) -> None:
    result = run("score", "photo.png", "photo.vae", "--json", "-o", "maps", cwd=folder)
    succeeded(result)
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert first["file"] == "photo.png"
    assert second["file"] == "photo.vae"
    assert first["bits_per_pixel"] > second["bits_per_pixel"]
    assert {path.name for path in (folder / "maps").iterdir()} == {
        f"photo{end}-{kind}.png" for end in (".png", ".vae") for kind in ("bits", "excess", "error")
    }
    assert size_of(folder / "maps" / "photo.png-bits.png") == photo.size


def test_embed(folder: Path) -> None:
    succeeded(run("embed", "photo.png", "photo.vae", "-o", "out.npz", "--cells", cwd=folder))
    with np.load(folder / "out.npz") as stored:
        assert list(stored["names"]) == ["photo.png", "photo.vae"]
        assert stored["y_0"].dtype == np.float16
        assert np.array_equal(stored["features"][0], stored["features"][1])


def test_restore(folder: Path, photo: Image.Image) -> None:
    succeeded(run("restore", "photo.png", "--task", "denoise", "-o", "out.png", cwd=folder))
    assert size_of(folder / "out.png") == photo.size


def test_restore_with_a_mask(folder: Path, photo: Image.Image) -> None:
    Image.new("1", photo.size, 1).save(folder / "mask.png")
    options = ("--task", "inpaint", "--mask", "mask.png", "-o", "out.webp")
    succeeded(run("restore", "photo.png", *options, cwd=folder))
    assert size_of(folder / "out.webp") == photo.size


def test_a_warning_about_alpha(folder: Path, photo: Image.Image) -> None:
    clear = photo.copy()
    clear.putalpha(99)
    clear.save(folder / "clear.png")
    result = run("restore", "clear.png", "--task", "denoise", "-o", "out.png", cwd=folder)
    error = succeeded(result)
    assert "clear.png: warning" in error
    assert "alpha" in error


def test_a_warning_about_frames(folder: Path, photo: Image.Image) -> None:
    photo.save(folder / "moving.gif", save_all=True, append_images=[photo.rotate(5)])
    assert "only the first of its 2 frames" in succeeded(run("score", "moving.gif", cwd=folder))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sample --size big -o out.png", ["256x256"]),
        ("restore photo.png --task sharpen -o out.png", ["sharpen"]),
        ("restore photo.png --task inpaint -o out.png", ["--mask"]),
    ],
)
def test_wrong_usage(folder: Path, command: str, words: list[str]) -> None:
    refused(run(*command.split(), cwd=folder), *words, code=2)
    assert not (folder / "out.png").exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sample --size 64x64 -o out.xyz", ["out.xyz"]),
        ("sample --size 64x64 -o photo.png", ["photo.png", "--force"]),
        ("sample --size 64x64 -o out.png --model ffffffff", ["ffffffff"]),
        ("interpolate photo.png broken.png -o out.png", ["broken.png"]),
        ("score missing.png", ["missing.png"]),
        ("embed broken.png -o out.npz", ["broken.png"]),
        ("embed photo.png -o none/out.npz", ["none", "folder"]),
        ("embed foreign.vae -o out.npz", ["foreign.vae"]),
        ("restore photo.png --task denoise -o out.xyz", ["out.xyz"]),
        ("restore broken.png --task denoise -o out.png", ["broken.png"]),
        ("restore photo.png --task inpaint --mask small.png -o out.png", ["mask", "sizes"]),
    ],
)
def test_commands_that_fail(folder: Path, command: str, words: list[str]) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    Image.new("L", (3, 3)).save(folder / "small.png")
    model = bytes.fromhex(registry.default_model())
    data = (folder / "photo.vae").read_bytes()
    assert model in data
    (folder / "foreign.vae").write_bytes(data.replace(model, bytes(4)))
    before = sorted(folder.iterdir())
    refused(run(*command.split(), cwd=folder), *words)
    assert sorted(folder.iterdir()) == before


def test_score_of_one_broken_file_of_two(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    result = run("score", "broken.png", "photo.png", cwd=folder)
    assert result.returncode == 1
    assert b"broken.png: " in result.stderr
    assert b"photo.png" in result.stdout
