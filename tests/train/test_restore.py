"""Training of restorers: they begin as the codec, improve, and give the same in the runtime as in torch."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from helpers import kodak_crop
from small_training import MODEL
from vaecodec.errors import VaecodecError
from vaecodec.model import registry
from vaecodec.tasks.restore import INPUT_CHANNELS
from vaecodec_train.cli import restore
from vaecodec_train.config import from_dict
from vaecodec_train.model.autoencoder import Autoencoder
from vaecodec_train.model.checkpoint import load_autoencoder
from vaecodec_train.restorer import (
    TASKS,
    Restorer,
    same_encoder,
    to_tensor,
    train_restorer,
    write_restorer,
)
from vaecodec_train.training.dataset import Dataset, open_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("images")
    for n in range(1, 7):
        kodak_crop(n, 160, 128).save(folder / f"{n}.png")
    return open_dataset([folder], folder / "cache", 64, 2, quiet=True)


def codec(seed: int = 0) -> Autoencoder:
    torch.manual_seed(seed)
    return Autoencoder(from_dict({"patch": 64, "model": MODEL}).model)


@pytest.mark.parametrize("task", TASKS)
def test_restorers_learn_and_run_alike(task: str, dataset: Dataset, tmp_path: Path) -> None:
    start = codec()
    g_a = {name: value.clone() for name, value in start.g_a.state_dict().items()}
    _, before = train_restorer(task, codec(), dataset, 0, batch=2, patch=64, compiled=False)
    model, figures = train_restorer(task, start, dataset, 0.15, batch=2, patch=64, compiled=False)
    assert figures["held_out_restored_psnr"] > before["held_out_restored_psnr"] + 1
    assert figures["held_out_damaged_psnr"] == before["held_out_damaged_psnr"]
    assert all(
        torch.equal(value, g_a[name]) for name, value in model.g_a.state_dict().items()
    )  # the codec's, as it was

    write_restorer(model, tmp_path / "task.onnx", "0123abcd", figures)
    crop = np.asarray(kodak_crop(9, 96, 64))
    damaged = TASKS[task](crop, np.random.default_rng(0))
    assert damaged.shape == (64, 96, INPUT_CHANNELS[task])
    x = to_tensor([damaged])
    with torch.no_grad():
        expected = model(x)[0].permute(1, 2, 0).numpy() * 255
        y = (model.g_a(x[:, :3], model.gain_a) * model.gain_y).numpy()
    session = onnxruntime.InferenceSession(tmp_path / "task.onnx")
    (restored,) = session.run(None, {"y": y, "image": damaged.astype(np.float32)})
    assert np.abs(restored - expected).max() < 2  # the weights are float16
    assert session.get_modelmeta().custom_metadata_map["model"] == "0123abcd"


def test_a_restorer_begins_as_the_codec(dataset: Dataset) -> None:
    start = codec()
    x = torch.rand(1, 3, 64, 64)
    top = torch.ones(1)
    with torch.no_grad():
        y = start.g_a(x, start.at_quality(start.log_gain_a, top).exp())
        expected = start.g_s(y, start.at_quality(start.log_gain_s, top).exp())
        assert torch.allclose(Restorer(start, 3)(x), expected, atol=1e-5)


def test_damage() -> None:
    rng, image = np.random.default_rng(0), np.full((64, 96, 3), 128, np.uint8)
    assert TASKS["denoise"](image, rng, sigma=25).std() == pytest.approx(25, rel=0.05)
    holes = TASKS["inpaint"](image, rng, share=0.5)
    assert 0.2 < (holes[:, :, 3] > 0).mean() < 0.8 and (holes[:, :, :3] == 128).all()
    blurred = TASKS["superres"](np.asarray(kodak_crop(1, 96, 64)), rng)
    half = (
        kodak_crop(1, 96, 64)
        .resize((48, 32), Image.Resampling.BICUBIC)
        .resize((96, 64), Image.Resampling.BICUBIC)
    )
    assert np.array_equal(blurred, np.asarray(half))


def test_weights_of_the_shipped_model() -> None:
    weights = Path(__file__).parents[2] / "train" / "weights"
    assert same_encoder(
        load_autoencoder(weights / "f5079916.safetensors")[0], registry.load_model("f5079916")
    )
    other, _ = load_autoencoder(weights / "f5079916.safetensors")
    with torch.no_grad():
        other.g_a.stem.weight *= 1.2
    assert not same_encoder(other, registry.load_model("f5079916"))
    assert not same_encoder(codec(), registry.load_model("f5079916"))


def test_outputs_are_checked_before_the_training(dataset: Dataset, tmp_path: Path) -> None:
    weights = Path(__file__).parents[2] / "train" / "weights" / "f5079916.safetensors"
    (tmp_path / "there.onnx").write_bytes(b"")
    for output, reason in (
        (tmp_path / "there.onnx", "--force"),
        (tmp_path / "none" / "x.onnx", "folder"),
    ):
        with pytest.raises(VaecodecError, match=reason):
            restore("denoise", weights, [tmp_path], "f5079916", 30, output)
