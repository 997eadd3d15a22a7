"""The trainer: it learns, survives, resumes exactly, and shares a batch among processes."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import kodak_crop
from vaecodec.errors import VaecodecError
from vaecodec_train.config import TrainConfig, from_dict, load_config
from vaecodec_train.model.autoencoder import Autoencoder
from vaecodec_train.model.checkpoint import load_autoencoder, save_autoencoder
from vaecodec_train.model.grow import grow
from vaecodec_train.training.dataset import draw_batch, open_dataset
from vaecodec_train.training.log import Log, estimated_curve, read_log
from vaecodec_train.training.losses import rate_distortion
from vaecodec_train.training.synthetic import KINDS
from vaecodec_train.training.trainer import Trainer, read_checkpoint

SMALL = {
    "steps": 60,
    "batch": 4,
    "patch": 64,
    "warmup": 5,
    "precision": "float32",
    "compile": False,
    "held_out": 2,
    "model": {
        "n": 16,
        "k": 24,
        "m": 32,
        "z": 8,
        "p": 16,
        "g_a_blocks": [1, 1],
        "g_s_blocks": [1, 1],
        "anchors": 4,
        "bypass": True,
    },
}


def to_toml(values: dict[str, object]) -> str:
    plain = "\n".join(f"{k} = {json.dumps(v)}" for k, v in values.items() if k != "model")
    return (
        plain
        + "\n[model]\n"
        + "\n".join(f"{k} = {json.dumps(v)}" for k, v in values["model"].items())
    )  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for n in range(1, 9):
        kodak_crop(n, 160, 128).save(folder / f"{n}.png")
    return folder


def trainer(folder: Path, images: Path, **changes: object) -> Trainer:
    config = from_dict({**SMALL, **changes})
    folder.mkdir(exist_ok=True)
    return Trainer(
        config,
        open_dataset([images], folder / "cache", config.patch, config.held_out, quiet=True),
        folder,
    )


def log_of(t: Trainer) -> Log:
    return Log(t.folder, t.config.steps, silent=True)


def steps(t: Trainer, count: int) -> list[float]:
    return [t.update(*t.inputs(t.iteration))["loss"] for _ in range(count)]


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
            "model": {**SMALL["model"], "lambda_min": 2.0, "lambda_max": 80.0},
        },  # type: ignore[dict-item]
        {"downscale": True, "patterns": 0.5, "decay_shape": "cosine", "flip": False, "crop": False},
    ],
)
def test_it_learns(
    tmp_path: Path,
    images: Path,
    changes: dict[str, object],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if changes.get("patch") == 192:
        images = tmp_path_factory.mktemp("larger")
        for n in range(1, 6):
            kodak_crop(n, 256, 256).save(images / f"{n}.png")
    t = trainer(tmp_path, images, klt_start=False, **changes)
    same = t.inputs(
        0
    )  # one batch, since the loss of others depends on their pictures and qualities most of all

    def loss() -> float:
        with torch.no_grad():
            return rate_distortion(t.autoencoder, t.autoencoder, *same, t.config.metric).loss.item()

    before = loss()
    assert steps(t, 1)[0] == pytest.approx(before, abs=1e-5)
    steps(t, t.config.steps - 1)
    assert loss() < before - 0.05


def test_patterns_are_of_every_kind_and_the_same_each_time(images: Path, tmp_path: Path) -> None:
    photo = np.asarray(Image.open(images / "1.png"))[:64, :64]
    for kind in KINDS:
        drawn = [kind(np.random.default_rng(seed), photo) for seed in (1, 1, 2)]
        assert all(
            d.shape == photo.shape and d.dtype == np.uint8 and not np.array_equal(d, photo)
            for d in drawn
        )
        assert np.array_equal(drawn[0], drawn[1])
    t = trainer(tmp_path, images, patterns=0.5)
    without = trainer(tmp_path, images, patterns=0.0)
    first, again, plain = (draw_batch(x.dataset, x.config, 0)[0] for x in (t, t, without))
    assert np.array_equal(first, again) and not np.array_equal(first, plain)


def test_klt_start_is_a_good_start(tmp_path: Path, images: Path) -> None:
    """Before any training it codes the pictures better than a random network does."""
    loss = []
    for start in (True, False):
        t = trainer(tmp_path, images, klt_start=start)
        with torch.no_grad():
            loss.append(
                rate_distortion(t.autoencoder, t.autoencoder, *t.inputs(0), "mse").loss.item()
            )
    assert loss[0] < loss[1] - 1


def test_resumed_losses_equal_those_of_an_uninterrupted_run(tmp_path: Path, images: Path) -> None:
    torch.set_num_threads(1)
    try:
        whole = trainer(tmp_path / "a", images)
        expected = steps(whole, 30)
        first = trainer(tmp_path / "b", images)
        assert steps(first, 10) == expected[:10]
        first.save(log_of(first))
        second = trainer(tmp_path / "b", images)
        second.load()
        assert steps(second, 20) == expected[10:]
        assert all(torch.equal(a, b) for a, b in zip(whole.ema, second.ema, strict=True))
    finally:
        torch.set_num_threads(2)


def test_a_loss_that_is_no_number_rolls_back(tmp_path: Path, images: Path) -> None:
    t = trainer(tmp_path, images)
    steps(t, 3)
    log = Log(tmp_path, 60)
    with pytest.raises(VaecodecError, match="no checkpoint to return to"):
        t.roll_back(log)
    t.save(log)
    good = [p.detach().clone() for p in t.autoencoder.parameters()]
    steps(t, 2)
    with torch.no_grad():
        t.autoencoder.g_s.head.bias.fill_(float("nan"))
    assert np.isnan(t.update(*t.inputs(t.iteration))["loss"]) and t.iteration == 5
    t.roll_back(log)
    assert t.iteration == 3 and t.slowdown == 0.5
    assert all(torch.equal(a, b) for a, b in zip(good, t.autoencoder.parameters(), strict=True))
    assert "not a number" in read_log(tmp_path)[-1]["message"]
    assert np.isfinite(steps(t, 1)).all()


def test_checkpoints_that_are_refused(tmp_path: Path, images: Path) -> None:
    t = trainer(tmp_path, images)
    t.save(log_of(t))
    whole = (tmp_path / "checkpoint.pt").read_bytes()
    for data in (b"", b"hello", whole[:1000], whole[:-300]):
        (tmp_path / "checkpoint.pt").write_bytes(data)
        with pytest.raises(VaecodecError, match="checkpoint"):
            t.load()
    torch.save({"some": "thing"}, tmp_path / "checkpoint.pt")
    with pytest.raises(VaecodecError, match="not a checkpoint"):
        read_checkpoint(tmp_path / "checkpoint.pt")
    (tmp_path / "checkpoint.pt").write_bytes(whole)
    with pytest.raises(VaecodecError, match="another model"):
        trainer(tmp_path, images, model={**SMALL["model"], "m": 48}).load()  # type: ignore[dict-item]
    with pytest.raises(VaecodecError, match="optimizer"):
        trainer(tmp_path, images, optimizer="adam").load()


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
    assert len(data.train) == 6 and not set(data.train) & set(data.held_out)
    assert np.array_equal(data.image(0), np.asarray(Image.open(images / "1.png")))
    with pytest.raises(VaecodecError, match="held out"):
        open_dataset([folder], tmp_path / "cache", 64, 8, quiet=True)


def test_batches_depend_on_seed_and_step_alone(tmp_path: Path, images: Path) -> None:
    t = trainer(tmp_path, images)
    first, again, other = (draw_batch(t.dataset, t.config, step) for step in (7, 7, 8))
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_interruption_saves_and_resumes(tmp_path: Path, images: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(to_toml({**SMALL, "steps": 100_000}))
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "vaecodec_train",
        "run",
        str(config),
        "--data",
        str(images),
        "-o",
        str(tmp_path / "run"),
    ]
    for extra, number in (([], signal.SIGTERM), (["--resume"], signal.SIGINT)):
        child = subprocess.Popen([*command, *extra], stderr=subprocess.PIPE)
        seen = len(read_log(tmp_path / "run"))
        while child.poll() is None and len(read_log(tmp_path / "run")) < seen + 2:
            time.sleep(0.1)
        child.send_signal(number)
        _, error = child.communicate()
        assert child.returncode == 0, error.decode()
    last = read_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"]
    numbers = [r["step"] for r in read_log(tmp_path / "run") if "loss" in r]
    assert numbers == sorted(numbers) and last >= numbers[-1] >= 80
    assert (tmp_path / "run" / "loss.png").stat().st_size > 1000 and (
        tmp_path / "run" / "held_out.png"
    ).exists()
    model, figures = load_autoencoder(tmp_path / "run" / "model.safetensors")
    assert figures["steps"] == last
    assert len(estimated_curve(model, [np.asarray(kodak_crop(3, 64, 64))])) == 8
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 1 and "--resume" in again.stderr and "Traceback" not in again.stderr


def test_finetune_adapts_a_model(tmp_path: Path, images: Path) -> None:
    """From weights to a run folder whose held-out curve is a better one; the run lasts as long as it was told to."""
    torch.manual_seed(0)
    start = Autoencoder(from_dict(SMALL).model)
    save_autoencoder(start, tmp_path / "start.safetensors")
    larger = tmp_path / "larger"
    larger.mkdir()
    for n in range(1, 13):
        kodak_crop(n, 256, 256).save(larger / f"{n}.png")
    command = [sys.executable, "-W", "ignore", "-m", "vaecodec_train"]
    done = subprocess.run(
        [
            *command,
            "finetune",
            str(tmp_path / "start.safetensors"),
            "--data",
            str(larger),
            "-o",
            str(tmp_path / "run"),
            "--minutes",
            "0.1",
            "--held-out",
            "2",
            "--rate",
            "0.02",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    model, figures = load_autoencoder(tmp_path / "run")
    assert model.config == start.config and figures["steps"] >= 1
    crops = [np.array(kodak_crop(n, 128, 128)) for n in (3, 7)]
    before, after = (estimated_curve(m.eval(), crops, (0.5,))[0] for m in (start, model))
    assert after[1] > before[1]
    tests = tmp_path / "tests"
    tests.mkdir()
    kodak_crop(20, 96, 64).save(tests / "a.png")
    done = subprocess.run(
        [*command, "eval", str(tmp_path / "run"), str(tests), "--aware", "2", "--crops", "16"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "file bpp" in done.stdout, done.stderr
    done = subprocess.run(
        [*command, "eval", str(tmp_path / "start.safetensors"), str(tests)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "--data" in done.stderr and "Traceback" not in done.stderr


def test_a_run_in_minutes_decays_by_the_clock() -> None:
    config = TrainConfig(minutes=10, warmup=1, decay=0.5)
    assert [config.learning_rate_factor(9, 60.0 * minute) for minute in (0, 5, 7.5, 10, 11)] == [
        1,
        1,
        0.5,
        0,
        0,
    ]


CHILD = """
import json, sys
from pathlib import Path
import torch, torch.distributed as dist
torch.set_num_threads(1)
from vaecodec_train.config import from_dict
from vaecodec_train.training.dataset import open_dataset
from vaecodec_train.model.grow import grow
from vaecodec_train.training.trainer import Trainer
config = from_dict(json.loads(sys.argv[1]))
data = open_dataset([Path(sys.argv[2])], Path(sys.argv[3]), config.patch, config.held_out, quiet=True)
trainer = Trainer(config, data, Path(sys.argv[3]))
losses = [trainer.update(*trainer.inputs(trainer.iteration))["loss"] for _ in range(8)]
if trainer.rank == 0:
    print(json.dumps(losses))
if dist.is_initialized():
    dist.destroy_process_group()
"""


def test_two_processes_train_like_one(tmp_path: Path, images: Path) -> None:
    open_dataset([images], tmp_path / "cache", 64, 2, quiet=True)
    (tmp_path / "child.py").write_text(CHILD)
    args = [str(tmp_path / "child.py"), json.dumps(SMALL), str(images), str(tmp_path / "cache")]
    one = subprocess.run([sys.executable, *args], capture_output=True, text=True)
    two = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            *args,
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert one.returncode == 0 and two.returncode == 0, one.stderr + two.stderr
    expected = json.loads(one.stdout.splitlines()[-1])
    assert json.loads(two.stdout.splitlines()[-1]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("steps = 'many'", "steps must be"),
        ("speed = 9", "unknown setting 'speed'"),
        ("[model]\nq = 3", "unknown setting 'q'"),
        ("steps = [", "not a TOML"),
        ("optimizer = 'sgd'", "muon, adam, rmsprop"),
        ("lr_other = 0.0", "above 0"),
        ("[model]\nblock = 'dense'", "gated, plain"),
        ("[model]\nm = 30", "multiple of 4"),
        ("patch = 100", "multiple of 64"),
    ],
)
def test_configurations_that_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(VaecodecError, match=reason):
        load_config(tmp_path / "c.toml")


def test_learning_rate() -> None:
    config = TrainConfig(steps=1000, warmup=100, decay=0.4)
    assert [round(config.learning_rate_factor(s), 3) for s in (0, 49, 99, 300, 600, 800, 1000)] == [
        0.01,
        0.5,
        1,
        1,
        1,
        0.5,
        0,
    ]


def test_a_grown_model_codes_like_the_old_one() -> None:
    """The same rate and distortion at the same lambda, but for the first noise of the new channels."""
    torch.manual_seed(0)
    small = from_dict({**SMALL, "model": {**SMALL["model"], "bypass": False}}).model  # type: ignore[dict-item]
    old = Autoencoder(small).eval()
    with torch.no_grad():
        for table in (old.log_gain_a, old.log_gain_s, old.bias_h, old.bias_scale):
            table.copy_(torch.linspace(-0.2, 0.2, len(table))[:, None].expand_as(table))
    wide = dataclasses.replace(
        small, m=48, bypass=True, lambda_min=small.lambda_min / 2, lambda_max=small.lambda_max * 4
    )
    new = grow(old, wide).eval()
    x = (
        torch.from_numpy(np.asarray(kodak_crop(3, 128, 128)).copy()).permute(2, 0, 1)[None].float()
        / 255
    )
    for lmbda in (small.lambda_min, 0.01, small.lambda_max):
        q_old, q_new = (
            torch.tensor(
                [np.log(lmbda / c.lambda_min) / np.log(c.lambda_max / c.lambda_min)],
                dtype=torch.float32,
            )
            for c in (small, wide)
        )
        with torch.no_grad():
            a, b = old(x, q_old), new(x, q_new)
        assert (a.x_hat - b.x_hat).square().mean().sqrt() < 0.05
        assert b.bpp.item() == pytest.approx(a.bpp.item(), abs=0.1)
    deep = grow(new, dataclasses.replace(wide, context_blocks=3)).eval()
    with torch.no_grad():
        a, b = new(x, torch.tensor([0.5])), deep(x, torch.tensor([0.5]))
    assert torch.allclose(a.x_hat, b.x_hat, atol=0.01) and b.bpp.item() == pytest.approx(
        a.bpp.item(), rel=0.02
    )
    with pytest.raises(VaecodecError, match="can grow"):
        grow(new, dataclasses.replace(wide, m=64))
