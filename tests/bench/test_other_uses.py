"""The measurements of docs/TASKS.md: detectors, search and restoration on few and small pictures."""

import json
from pathlib import Path

import numpy as np
import pytest

from helpers import kodak_crop
from vaecodec.errors import VaecodecError
from vaecodec_bench.report import markdown
from vaecodec_bench.tasks import anomalies, document, near_duplicates, restoration


def test_auroc() -> None:
    assert anomalies.auroc(np.array([1.0, 2, 3]), np.array([4.0, 5])) == 1
    assert anomalies.auroc(np.array([1.0, 3]), np.array([2.0, 3])) == 0.625  # pairs: 1, 1, 0, 0.5


def test_recall() -> None:
    assert near_duplicates.recall(np.array([[0.0, 1], [1, 0]], np.float32)) == 1
    assert (
        near_duplicates.recall(np.array([[0.0, 1], [1, 1]], np.float32)) == 0.5
    )  # a tie is a miss


@pytest.mark.parametrize("damage", anomalies.DAMAGES)
def test_damages_change_what_they_say(damage: str) -> None:
    image, other = (np.asarray(kodak_crop(n, 256, 192)) for n in (1, 2))
    shown = anomalies.DAMAGES[damage](image, other, np.random.default_rng(0))
    changed = (shown != image).any(2).mean()
    assert shown.shape == image.shape and shown.dtype == np.uint8
    assert changed < 0.6 if "blocks" in damage else changed > 0.9


def test_pca_of_pixels() -> None:
    image = np.asarray(kodak_crop(1, 320, 240))
    noise = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    pca = anomalies.Pca([image])
    for detector, surprise in pca.surprise(noise).items():
        assert (
            surprise.shape == (15, 20)
            and surprise.mean() > 5 * pca.surprise(image)[detector].mean()
        )


@pytest.mark.slow
def test_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out, checkout = tmp_path / "images", tmp_path / "out", tmp_path / "checkout"
    folder.mkdir()
    (checkout / "docs").mkdir(parents=True)
    page = checkout / "docs" / "TASKS.md"
    page.write_text(f"Before\n\n{markdown.BEGIN}\n\nold\n\n{markdown.END}\n\nAfter\n")
    for n in (1, 5, 23):
        kodak_crop(n, 408, 394).save(folder / f"{n}.png")
    monkeypatch.setattr(near_duplicates, "REPEATS", 1)
    few = {name: near_duplicates.CHANGES[name] for name in ("half the size", "JPEG of quality 50")}
    monkeypatch.setattr(near_duplicates, "CHANGES", few)
    some = {
        name: anomalies.DAMAGES[name]
        for name in ("noise of 25 grey levels", "blocks of such noise")
    }
    monkeypatch.setattr(anomalies, "DAMAGES", some)
    document.measure_tasks(folder, out, checkout)
    found = json.loads((out / "tasks.json").read_text())
    assert found["images"] == 3 and set(found["duplicates"]) == set(few)
    assert found["duplicates"]["JPEG of quality 50"]["features"] == 1
    assert found["anomalies"]["pictures"]["noise of 25 grey levels"]["unexpected bits"] == 1
    assert set(found["anomalies"]["cells"]) == {"blocks of such noise"}
    assert found["seconds"]["from the file"] < found["seconds"]["decode, then embed"]
    restored = found["restored"]
    assert restored["denoise"]["vaecodec"] > restored["denoise"]["noisy"] + 6
    assert restored["superres"]["vaecodec"] > restored["superres"]["bicubic"]
    missing = restored["inpaint, missing pixels alone"]
    assert missing["vaecodec"] > missing["smooth filling"] > missing["black"]
    text = page.read_text()
    assert (
        text.startswith("Before")
        and text.endswith("After\n")
        and "old" not in text
        and "perceptual hash" in text
    )
    assert all(
        (checkout / "docs" / "tasks" / name).stat().st_size > 1000 for name in document.PICTURES
    )
    assert "Recall at 1" in capsys.readouterr().out


def test_a_single_picture_is_too_few(tmp_path: Path) -> None:
    kodak_crop(1, 64, 64).save(tmp_path / "one.png")
    with pytest.raises(VaecodecError, match="single image"):
        document.measure_tasks(tmp_path, tmp_path / "out", None)


def test_noise_is_that_of_the_task(tmp_path: Path) -> None:
    grey = kodak_crop(1, 256, 256).point(lambda value: 128)
    path, mask = restoration.write_damaged("denoise", grey, 0, tmp_path)
    from PIL import Image

    with Image.open(path) as noisy:
        assert mask is None and np.asarray(noisy).std() == pytest.approx(
            restoration.NOISE_SIGMA, rel=0.02
        )
    path, mask = restoration.write_damaged("inpaint", grey, 0, tmp_path)
    assert mask is not None
    with Image.open(mask) as missing:
        assert np.asarray(missing).mean() == pytest.approx(restoration.MISSING_SHARE, abs=0.1)
