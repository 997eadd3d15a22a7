"""From a checkpoint to a model folder that encodes and decodes exactly, with a small network of other widths."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import vaecodec
from helpers import kodak_crop, psnr
from integer_networks import Int64, digest
from small_training import UNEVEN_MODEL
from vaecodec.errors import VaecodecError
from vaecodec.model import networks, registry
from vaecodec_train.export.model_folder import export, load_crops
from vaecodec_train.model.autoencoder import Autoencoder
from vaecodec_train.model.checkpoint import load_autoencoder, save_autoencoder
from vaecodec_train.model.legacy_v0 import current_name


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    torch.manual_seed(1)
    codec = Autoencoder(UNEVEN_MODEL).eval()
    with torch.no_grad():  # untrained gains of different sizes, so that every table matters
        for table in (codec.log_gain_a, codec.log_gain_s, codec.bias_h, codec.bias_scale):
            table.normal_(0, 0.3)
    return codec


@pytest.fixture(scope="module")
def folder(model: Autoencoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    crops = [np.asarray(kodak_crop(n, 256, 256)) for n in range(1, 9)]
    return export(model, crops, tmp_path_factory.mktemp("models"), {"steps": 0})


def test_export_is_a_working_codec(folder: Path) -> None:
    picture = kodak_crop(9, 150, 91)
    data = vaecodec.encode(picture, 80, model=str(folder))
    assert vaecodec.probe(data).model == folder.name == networks.content_id(folder)
    assert vaecodec.decode(data, model=str(folder)).size == picture.size
    assert digest(data, registry.load_model(str(folder))) == digest(
        data, Int64(registry.load_model(str(folder)))
    )


@pytest.mark.parametrize(
    "mode", ["RGB", "1"]
)  # the second: dithered, so that the limits of the gated blocks matter
def test_runtime_matches_the_float_model(model: Autoencoder, folder: Path, mode: str) -> None:
    """g_a and g_s of the runtime are the trained ones, up to float16 weights."""
    picture, q = np.asarray(kodak_crop(12, 128, 192).convert(mode).convert("RGB")), 60.0
    nets = registry.load_model(str(folder))
    y = nets.analyse(picture, q)
    x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    quality = torch.tensor([(q - 1) / 99])
    with torch.no_grad():
        gain_a, gain_y = (
            model.at_quality(t, quality).exp() for t in (model.log_gain_a, model.log_gain_y)
        )
        expected = model.g_a(x, gain_a) * gain_y
        assert np.abs(y - expected[0].numpy()).max() < 0.01 * float(expected.abs().max())
        y_hat = torch.round(expected * 64)
        pixels = model.g_s(y_hat / 64 / gain_y, model.at_quality(model.log_gain_s, quality).exp())[
            0
        ].permute(1, 2, 0)
    got = nets.synthesise(y_hat[0].numpy(), q).astype(float)
    assert np.abs(got - (pixels * 255).numpy()).max() <= 1.5


def test_plain_blocks_are_exported_as_well(tmp_path: Path) -> None:
    torch.manual_seed(2)
    plain = Autoencoder(dataclasses.replace(UNEVEN_MODEL, block="plain")).eval()
    picture, q = np.asarray(kodak_crop(12, 64, 128)), 50.0
    crops = [np.asarray(kodak_crop(n, 256, 256)) for n in range(1, 9)]
    nets = registry.load_model(str(export(plain, crops, tmp_path, {})))
    y = nets.analyse(picture, q)
    x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        expected, _ = plain.latent(x, torch.tensor([(q - 1) / 99]))
    assert np.abs(y - expected[0].numpy()).max() < 0.01 * float(expected.abs().max())


def test_shipped_model_matches_its_figures() -> None:
    nets = registry.load_model()
    assert nets.manifest["id"] == networks.content_id(nets.folder) == nets.folder.name
    assert nets.manifest["lambda"][0] < nets.manifest["lambda"][1]
    picture = kodak_crop(4, 256, 256)
    assert psnr(picture, vaecodec.decode(vaecodec.encode(picture, 100))) > 36


def test_checkpoint_comes_back(model: Autoencoder, tmp_path: Path) -> None:
    save_autoencoder(model, tmp_path / "a.safetensors", {"steps": 7})
    loaded, figures = load_autoencoder(tmp_path / "a.safetensors")
    assert loaded.config == UNEVEN_MODEL and figures == {"steps": 7}
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True)
    )


def test_bad_checkpoints(model: Autoencoder, tmp_path: Path) -> None:
    save_file({"x": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    save_autoencoder(model, tmp_path / "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:-100])
    for name in ("foreign", "text", "cut", "missing"):
        with pytest.raises(VaecodecError, match=name):
            load_autoencoder(tmp_path / f"{name}.safetensors")


def test_names_of_the_first_experiment() -> None:
    names = {
        "e1.0.weight": "g_a.stem.weight",
        "e1.3.u.bias": "g_a.fine.2.expand.bias",
        "e2.4.weight": "g_a.head.weight",
        "e2.0.c.weight": "g_a.down.conv.weight",
        "d1.4.c.bias": "g_s.up.conv.bias",
        "d1.1.a.weight": "g_s.coarse.0.mix_in.weight",
        "d2.0.d.weight": "g_s.fine.0.spatial.weight",
        "d2.3.bias": "g_s.head.bias",
        "hd.3.v.bias": "h_s.3.project.bias",
        "p0.weight": "prior_head.weight",
        "cx.2.1.b.weight": "context.2.1.mix_out.weight",
        "gy": "log_gain_y",
        "eb.matrices.0": "prior_z.matrices.0",
    }
    assert {old: current_name(old) for old in names} == names


def test_calibration_needs_pictures(tmp_path: Path, model: Autoencoder) -> None:
    with pytest.raises(VaecodecError, match="no image files"):
        load_crops([tmp_path], 8)
    with pytest.raises(VaecodecError, match="at least 8"):
        export(model, [np.zeros((256, 256, 3), np.uint8)], tmp_path, {})
