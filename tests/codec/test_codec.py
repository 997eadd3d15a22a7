"""Pictures in, pictures out."""

import dataclasses
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vaecodec
from conftest import kodak_crop, psnr
from vaecodec import api
from vaecodec.coding import targets
from vaecodec.errors import FormatError, ImageError, ModelError, VaecodecError
from vaecodec.format import container
from vaecodec.format.reader import Reader
from vaecodec.model import registry


def tile_payloads(data: bytes) -> list[bytes]:
    reader = Reader(data)
    return [reader.payload(chunk) for chunk in reader.latent_chunks()]


@pytest.mark.parametrize(
    "width, height", [(1, 1), (1, 70), (16, 16), (17, 33), (64, 64), (65, 63), (200, 5), (129, 257)]
)
def test_any_size(width: int, height: int) -> None:
    picture = kodak_crop(5, 257, 257).resize((width, height))
    decoded = vaecodec.decode(vaecodec.encode(picture, 90))
    assert (decoded.size, decoded.mode) == ((width, height), "RGB")
    assert psnr(picture, decoded) > 26


def test_quality_orders_size_and_psnr(photo: Image.Image) -> None:
    files = [vaecodec.encode(photo, quality) for quality in (1, 25, 50, 75, 100)]
    sizes, ratios = [len(f) for f in files], [psnr(photo, vaecodec.decode(f)) for f in files]
    assert sizes == sorted(sizes) and ratios == sorted(ratios)
    assert sizes[0] * 5 < sizes[-1] and ratios[0] + 6 < ratios[-1]


def test_beats_jpeg_at_the_same_size(photo: Image.Image, photo_file: bytes) -> None:
    import io

    jpeg = io.BytesIO()
    for quality in range(95, 0, -1):
        jpeg = io.BytesIO()
        photo.save(jpeg, "JPEG", quality=quality, optimize=True)
        if len(jpeg.getvalue()) <= len(photo_file):
            break
    assert psnr(photo, vaecodec.decode(photo_file)) > psnr(photo, Image.open(jpeg)) + 1.5


def test_arrays_and_images_give_the_same_file(photo: Image.Image, photo_file: bytes) -> None:
    assert vaecodec.encode(np.asarray(photo)) == photo_file
    assert vaecodec.encode(np.asarray(photo)[:, ::-1][:, ::-1]) == photo_file
    grey = photo.convert("L")
    assert vaecodec.encode(np.asarray(grey)) == vaecodec.encode(grey)


def test_effort_buys_quality(photo: Image.Image) -> None:
    fast, slow = (vaecodec.encode(photo, 50, effort=effort) for effort in (0, 1))
    assert len(slow) < 1.01 * len(fast)
    assert psnr(photo, vaecodec.decode(slow)) > psnr(photo, vaecodec.decode(fast)) + 0.03
    assert slow == vaecodec.encode(photo, 50, effort=1)


def test_effort_meets_targets_with_few_tries(
    photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    efforts: list[int] = []
    honest = api.encode_picture
    monkeypatch.setattr(
        api, "encode_picture", lambda *args: efforts.append(args[-1]) or honest(*args)
    )
    assert 0.98 * 4000 <= len(vaecodec.encode(photo, size=4000, effort=1)) <= 4000
    assert 34 <= psnr(photo, vaecodec.decode(vaecodec.encode(photo, psnr=34, effort=1))) <= 34.1
    assert efforts.count(0) > efforts.count(1) and efforts.count(1) <= 12
    assert vaecodec.probe(vaecodec.encode(photo, size=10**7, effort=1)).quality == 100
    with pytest.raises(VaecodecError, match="cannot reach 70 dB: quality 100 gives"):
        vaecodec.encode(photo, psnr=70, effort=1)


def search_in(curve: list[float], near: int | None) -> tuple[float, int]:
    """What `_search` finds among values at the qualities 100, 200, .. (linear between), and how often it looked."""
    looked = []

    def attempt(quality: int) -> tuple[bytes, float]:
        looked.append(quality)
        return b"", float(np.interp(quality, np.arange(1, len(curve) + 1) * 100, curve))

    return targets._search(attempt, 1.01, False, near)[1], len(looked)


@pytest.mark.parametrize("near", [None, 100, 2000, 4900, 5050, 5200, 9000, 10000])
def test_search_from_anywhere(near: int | None) -> None:
    falling = (np.linspace(100, 1, 100) / 50).tolist()  # 1 at quality 51
    value, looked = search_in(falling, near)
    assert 1 <= value <= 1.01 and looked <= 12
    assert (
        search_in([3.0] * 100, near)[0] == 3 and search_in([0.5] * 100, near)[0] == 0.5
    )  # all fit, none does
    if near == 5050:
        assert looked < search_in(falling, None)[1]


def test_effort_with_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaecodec.coding.tiling.MAX_ONE_TILE_PIXELS", 2**12)
    picture = kodak_crop(3, 600, 70)
    files = [vaecodec.encode(picture, 50, effort=effort) for effort in (0, 1)]
    assert vaecodec.probe(files[1]).tiles == 2 and len(files[1]) < 1.01 * len(files[0])
    assert psnr(picture, vaecodec.decode(files[1])) > psnr(picture, vaecodec.decode(files[0]))


def test_effort_that_cannot_be_made(photo: Image.Image) -> None:
    with pytest.raises(VaecodecError, match="a whole number from 0 to 9, not 10"):
        vaecodec.encode(photo, effort=10)
    with pytest.raises(
        ModelError, match=r"model d02043bc has no refine\.onnx, so effort must be 0"
    ):
        vaecodec.encode(photo, effort=1, model="d02043bc")


def patterns() -> dict[str, np.ndarray]:
    """Pictures of single pixels at full contrast, (96, 128) or (96, 128, 3), unlike anything in photographs."""
    black, white, red, green = 0, 255, (255, 0, 0), (0, 255, 0)
    made = {
        "checkers": np.tile([[black, white], [white, black]], (48, 64)),
        "stripes": np.tile([[black], [white]], (48, 128)),
        "columns": np.tile([[red, green]], (96, 64, 1)),
        "noise": np.random.default_rng(0).integers(0, 2, (96, 128)) * 255,
        "dither": np.asarray(kodak_crop(7, 128, 96).convert("1").convert("L")),
    }
    return {name: picture.astype(np.uint8) for name, picture in made.items()}


@pytest.mark.parametrize("quality", [20, 90])
@pytest.mark.parametrize("name", patterns())
def test_patterns_stay_near_plain_grey_at_worst(name: str, quality: float) -> None:
    """Unbounded activations would grow from layer to layer on them, up to files larger than the pixels and to NaN."""
    picture = patterns()[name]
    data = vaecodec.encode(picture, quality)
    decoded = vaecodec.decode_array(data)
    assert np.mean((picture - decoded.astype(float)) ** 2) < 1.4 * np.mean(
        np.var(picture.astype(float), (0, 1))
    )
    assert len(data) < 2 * picture.shape[0] * picture.shape[1]


def test_grey_stays_grey(photo: Image.Image) -> None:
    grey = photo.convert("L")
    decoded = vaecodec.decode(vaecodec.encode(grey, 80))
    assert decoded.mode == "L"
    assert psnr(grey, decoded) > 32


def test_orientation_is_applied(photo: Image.Image) -> None:
    turned = photo.copy()
    turned.getexif()[0x0112] = 6
    assert vaecodec.decode(vaecodec.encode(turned)).size == (photo.height, photo.width)


def test_a_damaged_model_is_refused(tmp_path: Path, photo: Image.Image) -> None:
    source = registry.load_model().folder
    damages = [
        ("g_s.onnx", lambda d: d[:5000] + b"\0" * 100 + d[5100:]),
        ("tables.npz", lambda d: d[:-50]),
        ("manifest.json", lambda d: d.replace(b'"id": "', b'"id": "zz')),
        ("h_a.onnx", None),
    ]
    for i, (file, change) in enumerate(damages):
        folder = tmp_path / str(i)
        shutil.copytree(source, folder)
        if change is None:
            (folder / file).unlink()
        else:
            (folder / file).write_bytes(change((folder / file).read_bytes()))
        with pytest.raises(ModelError, match=str(folder)):
            vaecodec.encode(photo, model=str(folder))


def test_probe(photo_file: bytes) -> None:
    header = vaecodec.probe(photo_file[:26])
    assert (header.width, header.height, header.color.name, header.quality) == (237, 155, "RGB", 50)


@pytest.mark.parametrize(
    "image, reason",
    [
        (Image.new("F", (4, 4)), "mode F"),
        (Image.new("LAB", (4, 4)), "mode LAB"),
        (Image.new("HSV", (4, 4)), "mode HSV"),
        (Image.fromarray(np.full((4, 4), -5, np.int32)), "mode I "),
        (np.zeros((4, 4, 3)), "uint8"),
        (np.zeros((4, 4, 5), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
        (np.broadcast_to(np.uint8(0), (2**15, 2**15)), "exceed the limit"),
    ],
)
def test_refused_images(image: Image.Image, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        vaecodec.encode(image)


@pytest.mark.parametrize("quality", [0, 0.99, 100.01, -5, float("nan")])
def test_refused_qualities(photo: Image.Image, quality: float) -> None:
    with pytest.raises(VaecodecError, match="between 1 and 100"):
        vaecodec.encode(photo, quality)


def test_targets(photo: Image.Image) -> None:
    pixels = photo.width * photo.height
    assert 0.98 * 4000 <= len(vaecodec.encode(photo, size=4000)) <= 4000
    assert 0.98 * 0.5 <= len(vaecodec.encode(photo, bpp=0.5)) * 8 / pixels <= 0.5
    assert 34 <= psnr(photo, vaecodec.decode(vaecodec.encode(photo, psnr=34))) <= 34 * 1.02
    with pytest.raises(VaecodecError, match="quality 1 takes"):
        vaecodec.encode(photo, size=100)
    with pytest.raises(VaecodecError, match="quality 100 gives"):
        vaecodec.encode(photo, psnr=70)
    assert (
        vaecodec.probe(vaecodec.encode(photo, size=10**7)).quality == 100
    )  # a limit that needs no search
    assert vaecodec.probe(vaecodec.encode(photo, psnr=5)).quality == 1
    for wrong in ({"bpp": float("nan")}, {"size": 0}, {"psnr": float("inf")}):
        with pytest.raises(VaecodecError, match="positive"):
            vaecodec.encode(photo, **wrong)
    with pytest.raises(ValueError, match="one of"):
        vaecodec.encode(photo, 50, size=4000)


def test_threads_agree_to_one_grey_level(photo_file: bytes) -> None:
    one, two = (np.asarray(vaecodec.decode(photo_file, threads=n), int) for n in (1, 2))
    assert np.abs(one - two).max() <= 1


def test_escapes_code_any_latent() -> None:
    """Latents far outside every table, as no photograph has, still come back."""
    from vaecodec.entropy.coder import Decoder, Encoder
    from vaecodec.entropy.tables import Tables

    tables = Tables(
        np.array([1, 2]), np.array([2**22, 2**23, 2**22, 2**22, 2**22, 2**23 - 2, 1, 1])
    )
    symbols = np.array([0, 1, -1, 2, -2, 500, -32768, 32768, 3, -3, 0, 40], np.int32)
    index = np.array([0, 1] * 6, np.uint8)
    coder = Encoder()
    coder.encode(tables, index, symbols)
    coder.encode(tables, index[:3], symbols[:3])
    decoder = Decoder(coder.finish())
    assert decoder.decode(tables, index).tolist() == symbols.tolist()
    assert decoder.decode(tables, index[:3]).tolist() == symbols[:3].tolist()


def test_damaged_data_under_right_checksums_is_never_shown(photo_file: bytes) -> None:
    """Even where the chunk's checksum was made right again, the checksum of the latents tells."""
    header, (tile,) = vaecodec.probe(photo_file), tile_payloads(photo_file)
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(tile)
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        with pytest.raises(FormatError, match="damaged"):
            vaecodec.decode(container.write(header, [(b"T", bytes(damaged))]))
    for length in (0, 3, 4, 5, 8, 100, len(tile) - 4, len(tile) - 40):
        with pytest.raises(FormatError, match="damaged"):
            vaecodec.decode(container.write(header, [(b"T", bytes(tile[:length]))]))


def test_a_claim_of_many_pixels_costs_nothing(photo_file: bytes) -> None:
    """A header that claims two megapixels over a hundred bytes is refused before memory is spent on them."""
    import tracemalloc

    header = dataclasses.replace(vaecodec.probe(photo_file), width=1400, height=1400)
    tile = tile_payloads(photo_file)[0]
    data = container.write(header, [(b"T", bytes(tile[:100]))])
    tracemalloc.start()
    with pytest.raises(FormatError, match="100 bytes cannot hold 1400 x 1400"):
        vaecodec.decode(data)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_unknown_and_wrong_models(photo: Image.Image, photo_file: bytes) -> None:
    data = bytearray(photo_file)
    data[18:22] = b"\xde\xad\xbe\xef"
    data[22:26] = zlib.crc32(data[:22]).to_bytes(4, "little")
    with pytest.raises(ModelError, match="model deadbeef is not installed"):
        vaecodec.decode(bytes(data))
    with pytest.raises(ModelError, match="not with"):
        vaecodec.decode(bytes(data), model=vaecodec.probe(photo_file).model)
    with pytest.raises(ModelError):
        vaecodec.encode(photo, model="no/such/folder")


def test_importing_does_not_import_torch() -> None:
    code = (
        "import sys, vaecodec; vaecodec.encode, vaecodec.decode; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0
