"""Datasets: broken images, batches, and synthetic patterns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from small_training import start_trainer
from vaecodec.errors import VaecodecError
from vaecodec_train.training.dataset import draw_batch, open_dataset
from vaecodec_train.training.synthetic import KINDS


def test_a_broken_image_is_named_and_skipped(
    tmp_path: Path, images: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for path in images.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.png").write_bytes((images / "1.png").read_bytes()[:500])
    data = open_dataset([folder], tmp_path / "cache", 64, 2, quiet=True)
    assert "broken.png: skipped" in capfd.readouterr().err
    assert len(data.train) == 6
    assert not set(data.train) & set(data.held_out)
    assert np.array_equal(data.image(0), np.asarray(Image.open(images / "1.png")))
    with pytest.raises(VaecodecError, match="held out"):
        open_dataset([folder], tmp_path / "cache", 64, 8, quiet=True)


def test_batches_depend_on_seed_and_iteration_alone(tmp_path: Path, images: Path) -> None:
    t = start_trainer(tmp_path, images)
    first, again, other = (draw_batch(t.dataset, t.config, number) for number in (7, 7, 8))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_a_batch_covers_all_qualities(tmp_path: Path, images: Path) -> None:
    t = start_trainer(tmp_path, images)
    for number in range(20):
        _, q = draw_batch(t.dataset, t.config, number)
        assert q.dtype == np.float32 and q.min() >= 0 and q.max() <= 1
        bands = np.minimum((q * t.config.batch).astype(int), t.config.batch - 1)
        assert sorted(bands) == list(range(t.config.batch))


@pytest.mark.parametrize("kind", KINDS)
def test_patterns_depend_on_the_seed(images: Path, kind: Any) -> None:
    photo = np.asarray(Image.open(images / "1.png"))[:64, :64]
    first, again, other = (kind(np.random.default_rng(seed), photo) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    for picture in (first, other):
        assert picture.shape == photo.shape
        assert picture.dtype == np.uint8
        assert not np.array_equal(picture, photo)


def test_batches_with_patterns(images: Path, tmp_path: Path) -> None:
    t = start_trainer(tmp_path, images, patterns=0.5)
    without = start_trainer(tmp_path, images, patterns=0.0)
    first, again, plain = (draw_batch(x.dataset, x.config, 0)[0] for x in (t, t, without))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, plain)
