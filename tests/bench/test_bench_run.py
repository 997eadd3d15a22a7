"""The benchmark from a folder of images to its report."""
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vaecodec_bench.run
from vaecodec.errors import VaecodecError
from vaecodec_bench.codecs import Codec, all_codecs


def blurred_noise(seed: int, width: int, height: int) -> Image.Image:
    rough = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, one of them greyscale and of odd size, a broken file between them, and a file that is no image."""
    blurred_noise(1, 96, 64).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8 not a JPEG file")
    blurred_noise(2, 72, 104).convert("L").crop((0, 0, 71, 99)).save(tmp_path / "c.webp", lossless=True)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def check_report(out: Path, names: list[str]) -> dict[str, float]:
    """Check what holds for any report. Returns its BD-rates."""
    assert {path.name for path in out.iterdir()} == {"results.json", "rd.png"}
    with Image.open(out / "rd.png") as diagram:
        diagram.load()
        assert diagram.format == "PNG" and diagram.width >= 800
    results = json.loads((out / "results.json").read_text())
    assert results["images"] == names
    for codec in results["codecs"].values():
        assert len(codec["points"]) >= 10
        for point in codec["points"]:
            assert [image["name"] for image in point["images"]] == names
            assert all(image["bytes"] > 0 for image in point["images"])
            for key in ("bpp", "psnr"):
                assert point[key] == pytest.approx(np.mean([image[key] for image in point["images"]]))
        assert codec["points"][0]["bpp"] < codec["points"][-1]["bpp"]
        assert codec["points"][0]["psnr"] < codec["points"][-1]["psnr"]
    rates: dict[str, float] = results["bd_rate"]
    return rates


def test_report(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "report"
    assert vaecodec_bench.run.run(folder, out, None, 1) == 1
    rate, = check_report(out, ["a.png", "c.webp"]).values()
    printed = capsys.readouterr()
    assert "b.jpg: not an image that can be read" in printed.err
    assert f"BD-rate of vaecodec vs JPEG: {rate:+.2f} %".replace("-", "−").replace("BD−", "BD-") in printed.out

    results = json.loads((out / "results.json").read_text())
    point = next(p for p in results["codecs"]["JPEG"]["points"] if p["quality"] == 75)
    with Image.open(folder / "c.webp") as image:
        original = image.convert("RGB")
    file = io.BytesIO()
    original.save(file, "JPEG", quality=75, subsampling=2, optimize=True)
    mse = np.mean((np.asarray(original, float) - np.asarray(Image.open(file), float)) ** 2, axis=(0, 1))
    assert point["images"][1]["bytes"] == len(file.getvalue())
    assert point["images"][1]["bpp"] == len(file.getvalue()) * 8 / (71 * 99)
    assert point["images"][1]["psnr"] == pytest.approx(10 * np.log10(255**2 / mse.mean()))


def patched(monkeypatch: pytest.MonkeyPatch, change: Callable[[Codec], Codec]) -> None:
    """Have JPEG as the first codec, and a changed JPEG as the second."""
    jpeg = next(codec for codec in all_codecs(None, 1) if codec.name == "JPEG")
    monkeypatch.setattr(vaecodec_bench.run, "all_codecs", lambda *_: (jpeg, replace(change(jpeg), name="other")))


def test_a_codec_that_fails_on_one_image(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    def change(jpeg: Codec) -> Codec:
        def encode(image: Image.Image, quality: float) -> bytes:
            if image.width == 96 and quality > 50:
                raise RuntimeError("too wide")
            return jpeg.encode(image, quality)

        return replace(jpeg, encode=encode)

    patched(monkeypatch, change)
    assert vaecodec_bench.run.run(folder, tmp_path / "report", None, 1) == 2
    assert check_report(tmp_path / "report", ["c.webp"]) == {"JPEG vs other": 0}
    assert "a.png: other failed at quality 60 (too wide)" in capsys.readouterr().err


def test_a_codec_that_changes_the_size(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    patched(monkeypatch, lambda jpeg: replace(jpeg, decode=lambda data: jpeg.decode(data).crop((0, 0, 1, 1))))
    with pytest.raises(VaecodecError, match="none of its images could be measured"):
        vaecodec_bench.run.run(folder, tmp_path / "report", None, 1)
    assert "a.png: other failed at quality 5 (decoded to shape (1, 1, 3), not (64, 96, 3))" in capsys.readouterr().err
    assert not list((tmp_path / "report").iterdir())


def test_plain_colours_have_no_bd_rate_but_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (32, 32), (128, 128, 128)).save(tmp_path / "grey.png")
    patched(monkeypatch, lambda jpeg: jpeg)
    assert vaecodec_bench.run.run(tmp_path, tmp_path / "report", None, 1) == 0
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert results["bd_rate"] == {"JPEG vs other": None}
    assert results["codecs"]["JPEG"]["points"][-1]["psnr"] == 100
    assert "BD-rate of JPEG vs other: a curve takes" in capsys.readouterr().err


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(VaecodecError, match="holds no image files"):
        vaecodec_bench.run.run(tmp_path, tmp_path / "report", None, 1)
    assert not (tmp_path / "report").exists()
