"""Models that are missing, damaged, or not those of the file."""

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vaecodec
from vaecodec.errors import ModelError
from vaecodec.model import registry
from vaecodec.model.networks import content_id


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A copy of the default model."""
    return Path(shutil.copytree(registry.load_model().folder, tmp_path / "model"))


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("g_s.onnx", lambda data: data[:5000] + bytes(100) + data[5100:]),
        ("tables.npz", lambda data: data[:-50]),
        ("manifest.json", lambda data: data.replace(b'"id": "', b'"id": "zz')),
    ],
)
def test_a_damaged_model_is_refused(
    model_folder: Path, photo: Image.Image, file: str, change: Callable[[bytes], bytes]
) -> None:
    path = model_folder / file
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ModelError, match=str(model_folder)):
        vaecodec.encode(photo, model=str(model_folder))


def test_an_incomplete_model_is_refused(model_folder: Path, photo: Image.Image) -> None:
    (model_folder / "h_a.onnx").unlink()
    with pytest.raises(ModelError, match=str(model_folder)):
        vaecodec.encode(photo, model=str(model_folder))


def sealed(folder: Path) -> str:
    """Give a changed model the id of its contents."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["id"] = content_id(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder)


@pytest.mark.parametrize("name", ["h_s", "context_0", "context_3"])
def test_networks_that_do_not_fit_each_other_are_refused(
    model_folder: Path, photo: Image.Image, name: str
) -> None:
    other = "context_0" if name != "context_0" else "context_1"
    shutil.copy(model_folder / f"{other}.npz", model_folder / f"{name}.npz")
    with pytest.raises(ModelError, match=rf"{name}\.npz: does not fit the other files"):
        vaecodec.encode(photo, model=sealed(model_folder))


@pytest.mark.parametrize(("value", "extra"), [(17, 0), (0, 1)])
def test_a_model_with_a_wrong_y_shift_is_refused(
    model_folder: Path, photo: Image.Image, value: int, extra: int
) -> None:
    with np.load(model_folder / "tables.npz") as file:
        tables = {name: file[name] for name in file.files}
    tables["y_shift"] = np.full(len(tables["y_shift"]) + extra, value, np.uint8)
    np.savez(model_folder / "tables.npz", **tables)
    with pytest.raises(ModelError, match="y_shift"):
        vaecodec.encode(photo, model=sealed(model_folder))


def test_a_model_folder_serves_as_its_id(
    model_folder: Path, photo: Image.Image, photo_file: bytes
) -> None:
    assert vaecodec.encode(photo, model=str(model_folder)) == photo_file


def test_no_model(photo: Image.Image) -> None:
    with pytest.raises(ModelError, match="no/such/folder is not installed"):
        vaecodec.encode(photo, model="no/such/folder")


@pytest.fixture
def foreign_file(photo_file: bytes) -> bytes:
    """A file that names the model deadbeef."""
    data = bytearray(photo_file)
    data[18:22] = b"\xde\xad\xbe\xef"
    data[22:26] = zlib.crc32(data[:22]).to_bytes(4, "little")
    return bytes(data)


def test_a_file_of_a_model_that_is_not_installed(foreign_file: bytes) -> None:
    with pytest.raises(ModelError, match="model deadbeef is not installed"):
        vaecodec.decode(foreign_file)


def test_a_file_is_not_decoded_with_another_model(foreign_file: bytes) -> None:
    with pytest.raises(ModelError, match="not with"):
        vaecodec.decode(foreign_file, model=registry.default_model())
