"""The trainer: it learns, rolls back, and resumes exactly."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from small_training import MODEL, log_of, save_images, start_trainer, train
from vaecodec.errors import VaecodecError
from vaecodec_train.training.log import Log, read_log
from vaecodec_train.training.losses import rate_distortion
from vaecodec_train.training.trainer import Trainer, read_checkpoint


def loss_of(trainer: Trainer, batch: Any) -> float:
    metric = trainer.config.metric
    with torch.no_grad():
        losses = rate_distortion(trainer.autoencoder, trainer.autoencoder, *batch, metric)
    return losses.loss.item()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adam", "lr_matrix": 0.001},
        {"optimizer": "rmsprop", "lr_matrix": 0.001},
        {
            "metric": "ms-ssim",
            "patch": 192,
            "steps": 20,
            "model": {**MODEL, "lambda_min": 2.0, "lambda_max": 80.0},
        },
        {"downscale": True, "patterns": 0.5, "decay_shape": "cosine", "flip": False, "crop": False},
    ],
    ids=["muon", "adam", "rmsprop", "ms-ssim", "augmentation"],
)
def test_the_loss_of_a_batch_falls(tmp_path: Path, images: Path, changes: dict[str, Any]) -> None:
    """One batch, since losses of others depend on their pictures and qualities most of all."""
    if changes.get("patch") == 192:
        images = save_images(tmp_path / "images", 5, 256, 256)
    t = start_trainer(tmp_path / "run", images, klt_start=False, **changes)
    batch = t.inputs(0)
    before = loss_of(t, batch)
    assert train(t, 1)[0] == pytest.approx(before, abs=1e-5)
    train(t, t.config.steps - 1)
    assert loss_of(t, batch) < before - 0.05


def test_klt_start_is_a_good_start(tmp_path: Path, images: Path) -> None:
    """Before any training, it codes the pictures better than a random network does."""
    losses = []
    for start in (True, False):
        t = start_trainer(tmp_path, images, klt_start=start)
        losses.append(loss_of(t, t.inputs(0)))
    assert losses[0] < losses[1] - 1


def test_resumed_losses_equal_those_of_an_uninterrupted_run(tmp_path: Path, images: Path) -> None:
    torch.set_num_threads(1)
    try:
        whole = start_trainer(tmp_path / "a", images)
        expected = train(whole, 30)
        first = start_trainer(tmp_path / "b", images)
        assert train(first, 10) == expected[:10]
        first.save(log_of(first))
        second = start_trainer(tmp_path / "b", images)
        second.load()
        assert train(second, 20) == expected[10:]
        assert all(torch.equal(a, b) for a, b in zip(whole.ema, second.ema, strict=True))
    finally:
        torch.set_num_threads(2)


def test_a_loss_that_is_no_number_rolls_back(tmp_path: Path, images: Path) -> None:
    t = start_trainer(tmp_path, images)
    train(t, 3)
    log = Log(tmp_path, t.config.steps)
    with pytest.raises(VaecodecError, match="no checkpoint to return to"):
        t.roll_back(log)
    t.save(log)
    good = [parameter.detach().clone() for parameter in t.autoencoder.parameters()]
    train(t, 2)
    with torch.no_grad():
        t.autoencoder.g_s.head.bias.fill_(float("nan"))
    assert np.isnan(t.update(*t.inputs(t.iteration))["loss"])
    assert t.iteration == 5
    t.roll_back(log)
    assert t.iteration == 3
    assert t.slowdown == 0.5
    assert all(torch.equal(a, b) for a, b in zip(good, t.autoencoder.parameters(), strict=True))
    assert "not a number" in read_log(tmp_path)[-1]["message"]
    assert np.isfinite(train(t, 1)).all()


@pytest.mark.parametrize("compiled", [False, True])
def test_compiling_does_not_count_as_training(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    t = start_trainer(tmp_path, images, steps=3)
    t.config = dataclasses.replace(t.config, compile=compiled)
    now = 0.0
    update = t.update

    def slow_at_first(*inputs: Any) -> dict[str, float]:
        nonlocal now
        now += 10 if t.iteration else 1000
        return update(*inputs)

    monkeypatch.setattr(t, "update", slow_at_first)
    t.clock = lambda: now
    t.run(None, log_of(t))
    assert t.seconds == (20 if compiled else 1020)


@pytest.fixture
def checkpoint(tmp_path: Path, images: Path) -> Path:
    t = start_trainer(tmp_path, images)
    t.save(log_of(t))
    return tmp_path / "checkpoint.pt"


def test_damaged_checkpoints_are_refused(checkpoint: Path, images: Path) -> None:
    t = start_trainer(checkpoint.parent, images)
    whole = checkpoint.read_bytes()
    for data in (b"", b"hello", whole[:1000], whole[:-300]):
        checkpoint.write_bytes(data)
        with pytest.raises(VaecodecError, match="checkpoint"):
            t.load()


def test_other_files_of_torch_are_refused(tmp_path: Path) -> None:
    torch.save({"some": "thing"}, tmp_path / "checkpoint.pt")
    with pytest.raises(VaecodecError, match="not a checkpoint"):
        read_checkpoint(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"model": {**MODEL, "m": 48}}, "another model"), ({"optimizer": "adam"}, "optimizer")],
)
def test_checkpoints_of_other_runs_are_refused(
    checkpoint: Path, images: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(VaecodecError, match=reason):
        start_trainer(checkpoint.parent, images, **changes).load()
