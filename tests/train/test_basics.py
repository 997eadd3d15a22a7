"""The textbook autoencoders on a few digits drawn here: they learn, write what they promise, and refuse what is no MNIST."""

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from vaecodec.errors import FormatError, VaecodecError
from vaecodec_train.tutorial.commands import app, load_model
from vaecodec_train.tutorial.digits import Digits, load_digits
from vaecodec_train.tutorial.fit import fit, measure
from vaecodec_train.tutorial.judge import Judge
from vaecodec_train.tutorial.models import KINDS
from vaecodec_train.tutorial.quantized import DigitCodec, round_trip
from vaecodec_train.tutorial.tasks import (
    Pca,
    auroc,
    cluster_purity,
    few_labels,
    linear_probe,
    one_class,
)


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Figures 0 to 9, printed at random places and sizes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.uint8) % 10
    images = np.zeros((count, 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        canvas = Image.new("L", (28, 28))
        ImageDraw.Draw(canvas).text(
            tuple(rng.uniform((4, 0), (12, 6))),
            str(label),
            255,
            font_size=float(rng.uniform(18, 24)),
        )
        image[:] = np.asarray(canvas)
    return images, labels


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MNIST's four files, of 600 and 200 digits."""
    folder = tmp_path_factory.mktemp("mnist")
    for part, count in (("train", 600), ("t10k", 200)):
        images, labels = drawn(count, count)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))  # unpacked ones serve too
    return folder


@pytest.fixture(scope="module")
def digits(folder: Path) -> Digits:
    return load_digits(folder)


def invoke(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, str(result.exception)
    return result.exit_code, result.output


def test_digits(digits: Digits) -> None:
    assert digits.train.shape == (600, 1, 28, 28) and digits.test_labels.shape == (200,)
    assert (
        digits.train.min() == 0 and digits.train.max() == 1 and digits.train.dtype == torch.float32
    )


@pytest.mark.parametrize("damage", ["missing", "no gzip", "short", "kind", "count"])
def test_what_is_no_mnist(folder: Path, tmp_path: Path, damage: str) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path, data = tmp_path / "t10k-images-idx3-ubyte.gz", idx(drawn(200, 1)[0])
    if damage == "missing":
        path.unlink()
    else:
        contents = {
            "no gzip": b"hello",
            "short": gzip.compress(data[:-1]),
            "kind": gzip.compress(b"\1" + data[1:]),
            "count": gzip.compress(idx(drawn(10, 1)[0])),
        }
        path.write_bytes(contents[damage])
    with pytest.raises(VaecodecError, match=str(tmp_path)):
        load_digits(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_fall(kind: str, digits: Digits) -> None:
    torch.manual_seed(0)
    model = KINDS[kind]()
    before = measure(model, digits.test)
    fit(model, model.losses, digits.train, 6)
    after = measure(model, digits.test)
    assert after["psnr"] > before["psnr"] + 3
    if "elbo" in after:
        assert after["elbo"] > before["elbo"] + 50
        assert (
            after["elbo"] == pytest.approx(-after["reconstruction"] - after["kl"], rel=1e-5)
            and after["kl"] > 0
        )


def test_the_kl_divergence_is_that_of_gaussians(digits: Digits) -> None:
    torch.manual_seed(0)
    model = KINDS["vae"]()
    mean, log_variance = model.encode(digits.test[:3])
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(
        posterior, torch.distributions.Normal(0.0, 1.0)
    ).sum(1)
    assert torch.allclose(model.losses(digits.test[:3])[1], expected, rtol=1e-4)


@pytest.mark.parametrize("kind", ["ae", "convae"])
def test_command(kind: str, folder: Path, tmp_path: Path) -> None:
    code, output = invoke(kind, "--data", folder, "-o", tmp_path, "--epochs", 1)
    assert code == 0, output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert {"psnr", "ssim"} <= set(figures["test"])
    assert figures["frechet distance"]["other real digits"] >= 0
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert len(pictures) == 4, pictures
    for name in pictures:
        with Image.open(tmp_path / name) as image:
            image.load()
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(log) == 1
    assert {"reconstruction", "kl"} <= set(log[0])
    assert isinstance(load_model(tmp_path), KINDS[kind])


@pytest.mark.slow
def test_probe_command(folder: Path, tmp_path: Path) -> None:
    code, output = invoke("vae", "--data", folder, "-o", tmp_path, "--epochs", 1)
    assert code == 0, output
    code, output = invoke("probe", tmp_path, "--data", folder, "-o", tmp_path / "probe")
    assert code == 0, output
    assert "linear probe" in output


def test_commands_that_fail(folder: Path, tmp_path: Path) -> None:
    code, message = invoke("vae", "--data", tmp_path, "-o", tmp_path / "out")
    assert (
        code == 1
        and str(tmp_path) in message
        and "idx.gz" in message
        and not (tmp_path / "out").exists()
    )
    code, message = invoke("probe", tmp_path, "--data", folder, "-o", tmp_path / "out")
    assert code == 1 and "model.pt" in message
    (tmp_path / "model.pt").write_bytes(b"nothing")
    code, message = invoke("probe", tmp_path, "--data", folder, "-o", tmp_path / "out")
    assert code == 1 and "not a model" in message


def test_quantized_digits_come_back(digits: Digits, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = DigitCodec()
    _, before = round_trip(model, digits.test, tmp_path / "before.digits")
    fit(model, model.losses, digits.train, 8, names=("weighted error", "nats"))
    after_bits, after = round_trip(model, digits.test, tmp_path / "test.digits")
    assert after > before + 2 and after_bits == 8 * (tmp_path / "test.digits").stat().st_size / 200
    data = (tmp_path / "test.digits").read_bytes()
    # Its estimate is what the file takes: rounding instead of noise changes it by little.
    nats = model.losses(digits.test)[1].mean().item()
    assert after_bits == pytest.approx(nats / np.log(2), rel=0.1)
    for damaged in (b"", data[:10], b"x" + data[1:], data[:-8], data[:40] + b"\xff" + data[41:]):
        with pytest.raises(FormatError):
            model.decompress(damaged)


def test_auroc() -> None:
    assert auroc(torch.tensor([1.0, 2, 3]), torch.tensor([4.0, 5])) == 1
    assert auroc(torch.tensor([4.0, 5]), torch.tensor([1.0, 2, 3])) == 0
    assert auroc(torch.tensor([1.0, 1]), torch.tensor([1.0, 1, 1])) == 0.5
    assert auroc(torch.tensor([1.0, 3]), torch.tensor([2.0, 3])) == 0.625  # pairs: 1, 1, 0, 0.5


def test_pca_keeps_what_lies_in_its_plane() -> None:
    torch.manual_seed(0)
    plane = (torch.randn(200, 3) @ torch.randn(3, 784) + 1).reshape(200, 1, 28, 28)
    assert torch.allclose(Pca(plane, 3).reconstruct(plane), plane, atol=1e-3)


def test_telling_digits_apart(digits: Digits) -> None:
    torch.manual_seed(0)
    told = torch.eye(10)[digits.train_labels] + torch.randn(600, 10) / 5
    assert linear_probe(told, digits.train_labels, told[:100], digits.train_labels[:100]) > 0.95
    assert (
        linear_probe(
            torch.randn(600, 10), digits.train_labels, told[:100], digits.train_labels[:100]
        )
        < 0.5
    )
    assert 0.2 < cluster_purity(digits.test.flatten(1), digits.test_labels) < 1
    labels = torch.arange(100) % 10
    assert cluster_purity(torch.eye(10)[labels] * 9, labels) == 1
    ours, pca = one_class(digits, 8, 150)
    assert ours > 0.6 and pca > 0.7
    scores = few_labels(KINDS["convae"](), digits, per_class=5, epochs=2)
    assert all(0 <= score <= 1 for score in scores)


def test_judge_prefers_digits(digits: Digits) -> None:
    judge = Judge(digits)
    assert judge.distance(digits.train[:200]) < judge.distance(torch.rand(200, 1, 28, 28))
    assert judge.distance(digits.test) == pytest.approx(0, abs=0.1)
