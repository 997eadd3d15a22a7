"""Fixtures that several test files share."""

from pathlib import Path

import pytest
from PIL import Image

import vaecodec
from helpers import encode_tiled, kodak_crop


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A photograph of odd size, 237 x 155."""
    return kodak_crop(23, 237, 155)


@pytest.fixture(scope="session")
def photo_file(photo: Image.Image) -> bytes:
    """That photograph as a .vae file of quality 50."""
    return vaecodec.encode(photo)


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image, photo_file: bytes) -> Path:
    """A folder that holds photo.png, and photo.vae of quality 50."""
    photo.save(tmp_path / "photo.png")
    (tmp_path / "photo.vae").write_bytes(photo_file)
    return tmp_path


@pytest.fixture(scope="session")
def scene() -> Image.Image:
    """A photograph of six tiles of 128 x 128 pixels, 300 x 217."""
    return kodak_crop(20, 300, 217)


@pytest.fixture(scope="session")
def whole(scene: Image.Image) -> bytes:
    """The scene as a file of one tile, of quality 60."""
    return vaecodec.encode(scene, 60)


@pytest.fixture(scope="session")
def tiled(scene: Image.Image) -> bytes:
    """The scene as a file of six tiles, tile by tile."""
    return encode_tiled(scene, 60)


@pytest.fixture(scope="session")
def stepped(scene: Image.Image) -> bytes:
    """The scene as a file of six tiles, step by step."""
    return encode_tiled(scene, 60, progressive=True)


@pytest.fixture(scope="session")
def tiled_picture(tiled: bytes) -> Image.Image:
    """The decoded picture of the file of six tiles."""
    return vaecodec.decode(tiled)
