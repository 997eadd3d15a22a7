"""Networks are saved and loaded, and damaged files are refused in a sentence."""

import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import flipped
from random_networks import (
    VALID_LAYERS,
    random_context,
    random_stream,
    random_synthesis,
    valid_network,
)
from vaecodec.engine import Layer, Network, load_network, save_network
from vaecodec.errors import ModelError, VaecodecError

NETWORKS = (
    valid_network(),
    random_stream(1, 5, 2),
    random_synthesis(2, 3, 4),
    random_context(3, 1, 4, 8),
)


@pytest.mark.parametrize("network", NETWORKS)
def test_round_trip(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "network.npz"
    save_network(network, path)
    loaded = load_network(path)
    assert (loaded.buffers, loaded.layers) == (network.buffers, network.layers)
    assert loaded.tensors.keys() == network.tensors.keys()
    for name, tensor in network.tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert np.array_equal(loaded.tensors[name], tensor)
    first = path.read_bytes()
    save_network(loaded, path)
    assert [m.CRC for m in zipfile.ZipFile(path).infolist()] == [
        m.CRC for m in zipfile.ZipFile(io.BytesIO(first)).infolist()
    ]


def file_refused(path: Path) -> str:
    with pytest.raises(ModelError) as error:
        load_network(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    return message.removeprefix(f"{path}: ")


def archive(members: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    np.savez(out, **members)
    return out.getvalue()


def with_description(description: object) -> bytes:
    """Return a file of the valid network whose JSON text is another."""
    text = description if isinstance(description, bytes) else json.dumps(description).encode()
    return archive({**valid_network().tensors, "network": np.frombuffer(text, np.uint8)})


def described(path: list[Any], value: object) -> bytes:
    """Return a file of the valid network with one value in its JSON text replaced."""
    description: Any = {
        "buffers": {name: [b.channels, b.scale] for name, b in valid_network().buffers.items()},
        "layers": [dataclasses.asdict(layer) for layer in VALID_LAYERS],
    }
    place = description
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return with_description(description)


def test_description_can_be_written_in_full(tmp_path: Path) -> None:
    path = tmp_path / "network.npz"
    path.write_bytes(described(["layers", 0, "factor"], 1))
    assert load_network(path).layers == VALID_LAYERS


JUNK = (None, True, 1.0, 4.5, -1, 2**70, "", "3", "other", [], [1], [[1, 1]], {}, {"channels": 3})
PLACES = [
    ["buffers"],
    ["buffers", "x"],
    ["buffers", "x", 0],
    ["buffers", "x", 1],
    ["layers"],
    ["layers", 2],
    *(["layers", 2, field.name] for field in dataclasses.fields(Layer)),
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_descriptions_of_wrong_types(place: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "network.npz"
    for junk in JUNK:
        allowed = place[-1] in ("add", "relu") and type(junk) is bool
        path.write_bytes(described(place, junk))
        if not allowed:
            file_refused(path)


@pytest.mark.parametrize(
    "description",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"NaN",
        b'{"buffers": {}, "layers": []}',
        b'{"layers": []}',
        *(json.dumps(junk).encode() for junk in JUNK),
    ],
    ids=lambda description: str(description[:20]),
)
def test_other_descriptions(description: bytes, tmp_path: Path) -> None:
    path = tmp_path / "network.npz"
    path.write_bytes(with_description(description))
    file_refused(path)


def test_unknown_field(tmp_path: Path) -> None:
    path = tmp_path / "network.npz"
    path.write_bytes(described(["layers", 0, "stride"], 2))
    assert "stride" in file_refused(path)


@pytest.mark.parametrize("name", [*valid_network().tensors, "network"])
def test_missing_or_wrong_members(name: str, tmp_path: Path) -> None:
    path = tmp_path / "network.npz"
    members = dict(np.load(io.BytesIO(described(["layers", 0, "add"], False))))
    removed = members.pop(name)
    path.write_bytes(archive(members))
    assert name in file_refused(path)
    for wrong in (removed.astype(np.float64), np.array("text"), np.zeros(0, np.uint8)):
        path.write_bytes(archive({**members, name: wrong}))
        file_refused(path)
    objects = archive({**members, name: np.array([{}], object)})
    path.write_bytes(objects)
    file_refused(path)
    path.write_bytes(archive(members))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, b"not a NumPy array")  # it is called the same, without .npy
    file_refused(path)


def npy(shape: str, dtype: str = "<i2") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00\x00\x00",
        npy("(4, 3)"),
        npy("(4, -3)"),
        npy("(1 << 60, 1 << 60)"),
        npy("(1000000000000000, 3)"),
        npy("(99999999999999999999999, 3)"),
        npy("(4, 3"),
        npy("('a',)"),
        npy("()" + " " * 20_000),
        npy("(4, 3)", "<q"),
        npy("(4, 3)", "nonsense"),
    ],
    ids=lambda member: str(member[10:40]),
)
def test_damaged_arrays(member: bytes, tmp_path: Path) -> None:
    path = tmp_path / "network.npz"
    members = dict(np.load(io.BytesIO(described(["layers", 0, "add"], False))))
    del members["a.weight"]
    path.write_bytes(archive(members))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("a.weight.npy", member)
    file_refused(path)


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    path = tmp_path / "network.npz"
    file_refused(path)  # missing
    file_refused(tmp_path)  # a folder
    array = io.BytesIO()
    np.save(array, np.arange(4))
    for data in (b"", b"PK", b"text", array.getvalue(), b"PK\x05\x06" + bytes(18)):
        path.write_bytes(data)
        file_refused(path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """The valid network as a file, and as one that is compressed."""
    stored = described(["layers", 0, "add"], False)
    packed = io.BytesIO()
    np.savez_compressed(packed, **dict(np.load(io.BytesIO(stored))))
    return stored, packed.getvalue()


@pytest.mark.parametrize("packed", [0, 1])
def test_truncated_files(saved: tuple[bytes, bytes], packed: int, tmp_path: Path) -> None:
    path, data = tmp_path / "network.npz", saved[packed]
    path.write_bytes(data)
    assert load_network(path).layers == VALID_LAYERS
    for size in range(0, len(data), 37):
        path.write_bytes(data[:size])
        file_refused(path)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "network.npz"


@pytest.mark.parametrize("packed", [0, 1])
@given(data=st.data())
@settings(deadline=None, max_examples=250)
def test_damaged_files(
    saved: tuple[bytes, bytes], scratch: Path, packed: int, data: st.DataObject
) -> None:
    """Damage is either refused or does not matter."""
    damaged = saved[packed]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged = flipped(damaged, at, data.draw(st.integers(1, 255)))
    scratch.write_bytes(damaged)
    try:
        network = load_network(scratch)
    except VaecodecError as error:
        assert str(error).startswith(str(scratch))
        return
    assert (network.buffers, network.layers) == (valid_network().buffers, VALID_LAYERS)
    for name, tensor in valid_network().tensors.items():
        assert np.array_equal(network.tensors[name], tensor)
