"""Runs of `vaecodec-train`: interrupted, resumed, finetuned, and in two processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers import kodak_crop
from small_training import MODEL, SMALL, save_images
from vaecodec_train.config import from_dict
from vaecodec_train.model.autoencoder import Autoencoder
from vaecodec_train.model.checkpoint import load_autoencoder, save_autoencoder
from vaecodec_train.training.dataset import open_dataset
from vaecodec_train.training.log import estimated_curve, read_log
from vaecodec_train.training.trainer import read_checkpoint

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-W", "ignore", "-m", "vaecodec_train"]


def run(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, args)], capture_output=True, text=True)


def to_toml(values: dict[str, Any]) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items() if name != "model"]
    lines.append("[model]")
    lines += [f"{name} = {json.dumps(value)}" for name, value in values["model"].items()]
    return "\n".join(lines)


def interrupt(command: list[str], folder: Path, number: signal.Signals) -> None:
    """Start a run, and send it a signal when it has logged twice."""
    child = subprocess.Popen(command, stderr=subprocess.PIPE)
    records = len(read_log(folder))
    while child.poll() is None and len(read_log(folder)) < records + 2:
        time.sleep(0.1)
    child.send_signal(number)
    _, error = child.communicate()
    assert child.returncode == 0, error.decode()


def test_interruption_saves_and_resumes(tmp_path: Path, images: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(to_toml({**SMALL, "steps": 100_000}))
    out = tmp_path / "run"
    args = ["run", str(config), "--data", str(images), "-o", str(out)]
    interrupt([*COMMAND, *args], out, signal.SIGTERM)
    interrupt([*COMMAND, *args, "--resume"], out, signal.SIGINT)
    last = read_checkpoint(out / "checkpoint.pt")["step"]
    numbers = [record["step"] for record in read_log(out) if "loss" in record]
    assert numbers == sorted(numbers)
    assert last >= numbers[-1] >= 80
    assert (out / "loss.png").stat().st_size > 1000
    assert (out / "held_out.png").exists()
    model, figures = load_autoencoder(out / "model.safetensors")
    assert figures["steps"] == last
    assert len(estimated_curve(model, [np.asarray(kodak_crop(3, 64, 64))])) == 8
    again = run(*args)
    assert again.returncode == 1
    assert "--resume" in again.stderr
    assert "Traceback" not in again.stderr


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a model with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    save_autoencoder(Autoencoder(from_dict({"model": MODEL}).model), path)
    return path


@pytest.fixture(scope="module")
def finetuned(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of six seconds."""
    folder = tmp_path_factory.mktemp("finetune")
    data = save_images(folder / "images", 12, 256, 256)
    options = ("--minutes", 0.1, "--held-out", 2, "--rate", 0.02)
    result = run("finetune", start, "--data", data, "-o", folder / "run", *options)
    assert result.returncode == 0, result.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an image to evaluate on."""
    folder = tmp_path_factory.mktemp("unseen")
    kodak_crop(20, 96, 64).save(folder / "a.png")
    return folder


def test_finetune_adapts_a_model(start: Path, finetuned: Path) -> None:
    before, _ = load_autoencoder(start)
    after, figures = load_autoencoder(finetuned)
    assert after.config == before.config
    assert figures["steps"] >= 1
    crops = [np.array(kodak_crop(n, 128, 128)) for n in (3, 7)]
    psnr_before, psnr_after = (
        estimated_curve(model.eval(), crops, (0.5,))[0][1] for model in (before, after)
    )
    assert psnr_after > psnr_before


def test_eval_of_a_run(finetuned: Path, unseen: Path) -> None:
    result = run("eval", finetuned, unseen, "--crops", 16)
    assert result.returncode == 0, result.stderr
    assert "file bpp" in result.stdout


def test_eval_of_a_checkpoint_needs_data(start: Path, unseen: Path) -> None:
    result = run("eval", start, unseen)
    assert result.returncode == 1
    assert "--data" in result.stderr
    assert "Traceback" not in result.stderr


CHILD = """
import json, sys
from pathlib import Path
import torch, torch.distributed as dist
torch.set_num_threads(1)
from vaecodec_train.config import from_dict
from vaecodec_train.training.dataset import open_dataset
from vaecodec_train.training.trainer import Trainer
config = from_dict(json.loads(sys.argv[1]))
images, folder = Path(sys.argv[2]), Path(sys.argv[3])
data = open_dataset([images], folder, config.patch, config.held_out, quiet=True)
trainer = Trainer(config, data, folder)
losses = [trainer.update(*trainer.inputs(trainer.iteration))["loss"] for _ in range(8)]
if trainer.rank == 0:
    print(json.dumps(losses))
if dist.is_initialized():
    dist.destroy_process_group()
"""


def losses_of(command: list[str], **variables: str) -> list[float]:
    """Return the losses that a child process prints."""
    environment = {**os.environ, **variables}
    result = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment
    )
    assert result.returncode == 0, result.stderr
    losses: list[float] = json.loads(result.stdout.splitlines()[-1])
    return losses


def test_two_processes_train_like_one(tmp_path: Path, images: Path) -> None:
    open_dataset([images], tmp_path / "cache", 64, 2, quiet=True)
    (tmp_path / "child.py").write_text(CHILD)
    args = [str(tmp_path / "child.py"), json.dumps(SMALL), str(images), str(tmp_path / "cache")]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    expected = losses_of(args)
    assert losses_of([*launcher, *args], OMP_NUM_THREADS="1") == pytest.approx(expected, abs=1e-5)
