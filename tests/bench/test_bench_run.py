"""The benchmark from a folder of images to its results."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vaecodec_bench.quality
from helpers import kodak_crop
from vaecodec.errors import VaecodecError
from vaecodec_bench import peers, results
from vaecodec_bench.peers import OURS, OURS_EFFORT_3, Peer
from vaecodec_bench.quality import measure_quality
from vaecodec_bench.report.build import report_quality, report_speed

Peers = Callable[..., None]


def blurred_noise(seed: int, width: int, height: int) -> Image.Image:
    rough = np.random.default_rng(seed).integers(
        0, 256, (height // 8, width // 8, 3), dtype=np.uint8
    )
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, one of them greyscale and of odd size, a broken file between them, and a file that is no image."""
    place = tmp_path / "images"
    place.mkdir()
    blurred_noise(1, 96, 64).save(place / "a.png")
    (place / "b.jpg").write_bytes(b"\xff\xd8 not a JPEG file")
    blurred_noise(2, 72, 104).convert("L").crop((0, 0, 71, 99)).save(
        place / "c.webp", lossless=True
    )
    (place / "notes.txt").write_text("no image")
    return place


@pytest.fixture
def few_peers(monkeypatch: pytest.MonkeyPatch) -> Peers:
    """Have only these peers, each with few qualities."""

    def use(*wanted: Peer) -> None:
        monkeypatch.delitem(peers.EFFORTS, OURS_EFFORT_3)
        monkeypatch.setattr(
            peers, "PEERS", tuple(replace(c, qualities=c.qualities[1::2]) for c in wanted)
        )

    return use


@pytest.fixture
def jpeg() -> Peer:
    return next(codec for codec in peers.PEERS if codec.name == "JPEG")


def test_every_number_is_that_of_a_file(
    folder: Path, tmp_path: Path, few_peers: Peers, jpeg: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    few_peers(jpeg)
    found = measure_quality(folder, tmp_path / "deep" / "report", None, 1, "psnr")
    assert "b.jpg: not an image that can be read" in capsys.readouterr().err
    assert found.failures == [("", "b.jpg", "not an image that can be read")]
    assert found.images == {"a.png": (96, 64), "c.webp": (71, 99)}

    with Image.open(folder / "c.webp") as image:
        original = image.convert("RGB")
    for quality in jpeg.qualities[1::2]:
        file = io.BytesIO()
        original.save(file, "JPEG", quality=quality, subsampling=2, optimize=True)
        mse = np.mean(
            (np.asarray(original, float) - np.asarray(Image.open(file), float)) ** 2, axis=(0, 1)
        ).mean()
        sample = next(
            s for s in found.samples if (s.codec, s.image, s.quality) == ("JPEG", "c.webp", quality)
        )
        assert (sample.bytes, sample.bpp) == (
            len(file.getvalue()),
            len(file.getvalue()) * 8 / (71 * 99),
        )
        assert sample.metrics == {"psnr": pytest.approx(10 * np.log10(255**2 / mse))}

    data = json.loads((tmp_path / "deep" / "report" / "results.json").read_text())
    for codec in (OURS, "JPEG"):
        assert data["means"][codec]["psnr"]["images"] == 2
        for point in data["means"][codec]["psnr"]["points"]:
            mine = [
                s
                for s in data["samples"]
                if (s["codec"], s["quality"]) == (codec, point["quality"])
            ]
            assert [s["image"] for s in mine] == ["a.png", "c.webp"]
            assert point["bpp"] == pytest.approx(np.mean([s["bpp"] for s in mine]))
            assert point["value"] == pytest.approx(np.mean([s["metrics"]["psnr"] for s in mine]))
    assert (
        results.read(tmp_path / "deep" / "report" / "results.json").bd_rates() == found.bd_rates()
    )
    rows = list(csv.DictReader((tmp_path / "deep" / "report" / "results.csv").open()))
    assert [(r["codec"], r["image"], float(r["psnr"]), int(r["bytes"])) for r in rows] == [
        (s.codec, s.image, s.metrics["psnr"], s.bytes) for s in found.samples
    ]


def test_processes_give_the_same_results(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jpeg: Peer
) -> None:
    monkeypatch.delitem(peers.EFFORTS, OURS_EFFORT_3)
    monkeypatch.setattr(
        peers, "PEERS", (jpeg,)
    )  # as other processes, which are not patched, have it too
    one = measure_quality(folder, tmp_path / "one", None, 1, "psnr")
    two = measure_quality(folder, tmp_path / "two", None, 2, "psnr")
    assert one.samples == two.samples and len(one.samples) == 2 * 2 * 8


def test_a_codec_that_fails_on_one_image(
    folder: Path, tmp_path: Path, few_peers: Peers, jpeg: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    def encode(image: Image.Image, quality: float, threads: int) -> bytes:
        if image.width == 96 and quality > 50:
            raise RuntimeError("too wide")
        return jpeg.encode(image, quality, threads)

    few_peers(jpeg, replace(jpeg, name="narrow", encode=encode))
    (folder / "b.jpg").unlink()
    out = tmp_path / "report"
    assert not report_quality(folder, out, None, 1, "psnr", 1)
    assert "a.png: narrow: failed at quality 70 (too wide)" in capsys.readouterr().err
    found = results.read(out / "results.json")
    assert found.images_of("JPEG", "psnr") == {"a.png", "c.webp"} and found.images_of(
        "narrow", "psnr"
    ) == {"c.webp"}
    rate = next(r for r in found.bd_rates() if r.codec == "narrow" and r.reference == "JPEG")
    assert (rate.images, rate.rate) == (
        1,
        0,
    )  # on the picture that both have, where they are the same codec
    assert (
        "a.png" in (out / "index.html").read_text()
        and "failed at quality 70 (too wide)" in (out / "index.html").read_text()
    )


def test_a_codec_that_changes_the_size(
    folder: Path, tmp_path: Path, few_peers: Peers, jpeg: Peer
) -> None:
    few_peers(
        replace(jpeg, decode=lambda data, threads: jpeg.decode(data, threads).crop((0, 0, 1, 1)))
    )
    found = measure_quality(folder, tmp_path / "report", None, 1, "psnr")
    assert (
        "JPEG",
        "a.png",
        "failed at quality 12 (decoded to shape (1, 1, 3), not (64, 96, 3))",
    ) in found.failures
    assert found.measured_codecs() == [OURS] and found.bd_rates() == []


def test_a_missing_peer_and_a_missing_metric(
    folder: Path,
    tmp_path: Path,
    few_peers: Peers,
    jpeg: Peer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def find(name: str, *_: object) -> None:
        assert name in ("pillow_jxl", "torch")

    jxl = next(codec for codec in peers.PEERS if codec.name == "JPEG XL")
    few_peers(jpeg, jxl)
    monkeypatch.setattr("importlib.util.find_spec", find)
    found = measure_quality(folder, tmp_path / "report", None, 1, "psnr,ms-ssim")
    assert list(found.codecs) == [OURS, "JPEG"] and list(found.metrics) == ["psnr"]
    assert found.missing == {
        "JPEG XL": "pillow_jxl is not installed: pip install pillow-jxl-plugin",
        "ms-ssim": "torch is not installed: pip install 'vaecodec[bench,train]'",
    }
    printed = capsys.readouterr().err
    assert all(f"{name} is left out: {reason}" in printed for name, reason in found.missing.items())


def test_an_interrupt_keeps_what_was_measured(
    folder: Path,
    tmp_path: Path,
    few_peers: Peers,
    jpeg: Peer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    few_peers(jpeg)
    measure = vaecodec_bench.quality.measure_pair

    def stop(codec: Peer, path: Path, names: list[str]) -> list[results.Sample]:
        if path.name == "c.webp" and codec.name == "JPEG":
            raise KeyboardInterrupt
        return measure(codec, path, names)

    monkeypatch.setattr(vaecodec_bench.quality, "measure_pair", stop)
    assert not report_quality(folder, tmp_path / "report", None, 1, "psnr", 1)
    found = results.read(tmp_path / "report" / "results.json")
    assert (
        found.interrupted
        and found.images_of("JPEG", "psnr") == {"a.png"}
        and len(found.images_of(OURS, "psnr")) == 2
    )
    assert "interrupted" in capsys.readouterr().err


def test_resuming_measures_only_what_is_missing_or_changed(
    folder: Path, tmp_path: Path, few_peers: Peers, jpeg: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    measure = vaecodec_bench.quality.measure_pair

    def note(codec: Peer, path: Path, names: list[str]) -> list[results.Sample]:
        asked.append((codec.name, path.name))
        return measure(codec, path, names)

    monkeypatch.setattr(vaecodec_bench.quality, "measure_pair", note)
    out = tmp_path / "report"
    few_peers(jpeg)
    first = measure_quality(folder, out, None, 1, "psnr", resume=True)  # there is nothing to keep
    assert len(asked) == 4
    asked.clear()
    assert (
        measure_quality(folder, out, None, 1, "psnr", resume=True).samples == first.samples
        and not asked
    )
    stored = results.read(out / "results.json")
    stored.samples = [
        s for s in stored.samples if (s.codec, s.image, s.quality) != ("JPEG", "a.png", 70)
    ]
    stored.codecs[OURS] = "another version"
    (out / "results.json").write_bytes(results.to_json(stored))
    assert measure_quality(folder, out, None, 1, "psnr", resume=True).samples == first.samples
    assert sorted(asked) == [("JPEG", "a.png"), (OURS, "a.png"), (OURS, "c.webp")]
    asked.clear()
    blurred_noise(3, 104, 64).save(folder / "a.png")  # of another size
    measure_quality(folder, out, None, 1, "psnr", resume=True)
    assert sorted(asked) == [("JPEG", "a.png"), (OURS, "a.png")]


def test_plain_colours_have_no_bd_rate_but_a_report(
    tmp_path: Path, few_peers: Peers, jpeg: Peer
) -> None:
    (tmp_path / "grey").mkdir()
    Image.new("RGB", (32, 32), (128, 128, 128)).save(tmp_path / "grey" / "grey.png")
    few_peers(jpeg)
    assert report_quality(tmp_path / "grey", tmp_path / "report", None, 1, "psnr", 1)
    (rate,) = results.read(tmp_path / "report" / "results.json").bd_rates()
    assert rate.rate is None and "a curve needs" in str(rate.reason)


def test_every_installed_peer(tmp_path: Path) -> None:
    """Each codes a picture whose sides are odd, better at its highest quality, into a larger file."""
    found, _, missing = peers.installed_peers(None)
    assert missing == {}, "the extra test installs all of them"
    assert len(found) == 13
    image = kodak_crop(23, 177, 129)
    for codec in found.values():
        if not codec.qualities:  # by speed only
            data = codec.encode(image.crop((0, 0, 70, 66)), codec.speed_quality, 1)
            assert codec.decode(data, 1).size == (70, 66)
            continue
        errors, sizes = [], []
        for quality in (codec.qualities[0], codec.qualities[-1]):
            data = codec.encode(image, quality, 1)
            decoded = codec.decode(data, 1)
            assert decoded.size == image.size and decoded.mode == "RGB"
            sizes.append(len(data))
            errors.append(np.mean((np.asarray(decoded, float) - np.asarray(image, float)) ** 2))
        assert sizes[1] > 2 * sizes[0]
        assert errors[1] < errors[0] / 2 and errors[0] < 1500


@pytest.mark.parametrize(
    "metrics, message", [("psnr,nonsense", "no metric 'nonsense'"), ("", "no metric ''")]
)
def test_unknown_metrics(folder: Path, tmp_path: Path, metrics: str, message: str) -> None:
    with pytest.raises(VaecodecError, match=message):
        measure_quality(folder, tmp_path / "report", None, 1, metrics)


def test_folders_without_images(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    reports = ((report_quality, ("psnr", 1)), (report_speed, ()))
    for report, more in reports:
        with pytest.raises(VaecodecError, match="empty: contains no image files"):
            report(tmp_path / "empty", tmp_path / "report", None, 1, *more)
        with pytest.raises(VaecodecError, match="nowhere: not a folder"):
            report(tmp_path / "nowhere", tmp_path / "report", None, 1, *more)
    (tmp_path / "empty" / "x.png").write_bytes(b"")
    messages = ("none of its images could be measured", "none of the chosen images can be read")
    for (report, more), message in zip(reports, messages, strict=True):
        with pytest.raises(VaecodecError, match=message):
            report(tmp_path / "empty", tmp_path / "report", None, 1, *more)
