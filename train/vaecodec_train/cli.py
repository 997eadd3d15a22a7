"""The `vaecodec-train` command."""

import dataclasses
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaecodec.errors import VaecodecError
from vaecodec_train.options import (
    CacheOption,
    CalibrationOption,
    CheckpointArgument,
    CropsOption,
    DataOption,
    OutputOption,
)
from vaecodec_train.tutorial.commands import app as tutorial

if TYPE_CHECKING:
    from vaecodec_train.config import TrainConfig
    from vaecodec_train.model.autoencoder import Autoencoder

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(tutorial, name="tutorial")
app.add_typer(tutorial, name="basics", hidden=True)  # its former name

DATA_RECORD = "data.json"  # file in the folder of a run that lists the folders of its images
MAX_HELD_OUT = 24


@app.callback()
def root() -> None:
    """Train the networks of the codec and export them for the vaecodec command."""


@app.command()
def run(
    config: Annotated[
        Path,
        typer.Argument(help="Settings: a TOML file, see train/configs/.", show_default=False),
    ],
    data: DataOption,
    output: OutputOption,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the output folder.")
    ] = False,
    init: Annotated[
        Path | None,
        typer.Option(
            help="Weights to start from. A smaller model is grown to the configured size.",
            show_default=False,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Stop and save after this many minutes.", show_default=False),
    ] = None,
    cache: CacheOption = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Distortion to minimise: mse or ms-ssim.", show_default="the configuration's"
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="Optimizer for the matrices of 1x1 convolutions: muon, adam or rmsprop.",
            show_default="the configuration's",
        ),
    ] = None,
) -> None:
    """Train a model.

    Ctrl-C saves and stops. A resumed run gives the same result as one that was never stopped.

    Example: vaecodec-train run train/configs/default.toml --data photos/ -o runs/1
    """
    from vaecodec_train.config import load_config
    from vaecodec_train.model.checkpoint import load_autoencoder
    from vaecodec_train.model.grow import grow

    settings = load_config(config)
    if metric is not None:
        settings = dataclasses.replace(settings, metric=metric)
    if optimizer is not None:
        settings = dataclasses.replace(settings, optimizer=optimizer)
    start = None
    if init is not None and not resume:
        start, _ = load_autoencoder(init)
        if start.config != settings.model:
            start = grow(start, settings.model)
    train(settings, data, output, cache, start, resume, minutes)


@app.command()
def finetune(
    checkpoint: CheckpointArgument,
    data: DataOption,
    output: OutputOption,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to train.")] = 10.0,
    rate: Annotated[
        float,
        typer.Option(
            min=1e-5,
            help="Learning rate of the matrices. Everything else has a fifth of it.",
        ),
    ] = 0.002,
    held_out: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of images to measure on and not to train on.",
            show_default="a tenth, at most 24",
        ),
    ] = None,
    cache: CacheOption = None,
) -> None:
    """Adapt a model to your own kind of images by training its networks further.

    Example: vaecodec-train finetune train/weights/db8fe560.safetensors --data scans/ -o runs/scans
    """
    from vaecodec.image.files import images_in
    from vaecodec_train.config import TrainConfig
    from vaecodec_train.model.checkpoint import load_autoencoder

    start, _ = load_autoencoder(checkpoint)
    if held_out is None:
        images = sum(len(images_in(folder)) for folder in data)
        held_out = max(1, min(MAX_HELD_OUT, images // 10))
    settings = TrainConfig(
        minutes=minutes,
        lr_matrix=rate,
        lr_other=rate / 5,
        warmup=20,
        decay=1.0,
        ema=0.99,
        compile=False,
        held_out=held_out,
        model=start.config,
    )
    train(settings, data, output, cache, start)


def train(
    settings: "TrainConfig",
    data: list[Path],
    output: Path,
    cache: Path | None,
    start: "Autoencoder | None",
    resume: bool = False,
    minutes: float | None = None,
) -> None:
    """Train in the folder `output`.

    The run continues from its checkpoint if `resume`, otherwise it starts from the weights of
    `start`, or from a new autoencoder.
    """
    from vaecodec_train.training.dataset import open_dataset
    from vaecodec_train.training.log import Log
    from vaecodec_train.training.trainer import CHECKPOINT, Trainer

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VaecodecError(f"{output}: cannot be created ({error.strerror})") from None
    if (output / CHECKPOINT).exists() and not resume:
        raise VaecodecError(
            f"{output}: already holds a run; continue it with `run --resume` "
            "or choose another folder"
        )
    if resume and not (output / CHECKPOINT).exists():
        raise VaecodecError(f"{output}: holds no run to resume")
    dataset = open_dataset(data, cache or output / "cache", settings.patch, settings.held_out)
    trainer = Trainer(settings, dataset, output, start)
    if resume:
        trainer.load()
    (output / DATA_RECORD).write_text(json.dumps([str(folder.resolve()) for folder in data]) + "\n")
    with Log(output, settings.steps, silent=trainer.rank > 0) as log:
        trainer.run(minutes, log)


@app.command()
def export(
    checkpoint: CheckpointArgument,
    data: CalibrationOption = None,
    output: Annotated[
        Path, typer.Option("-o", "--output-dir", help="Folder in which to create the model folder.")
    ] = Path("models"),
    crops: CropsOption = 800,
) -> None:
    """Write a model folder for the vaecodec command: networks, tables and a manifest.

    Example: vaecodec-train export runs/1 -o models/
    """
    print(export_checkpoint(checkpoint, data, output, crops))


def export_checkpoint(checkpoint: Path, data: list[Path] | None, output: Path, crops: int) -> Path:
    """Export a checkpoint. Returns the model folder, a new folder in `output`."""
    from vaecodec_train.export.model_folder import export as write_model
    from vaecodec_train.export.model_folder import load_crops
    from vaecodec_train.model.checkpoint import load_autoencoder

    autoencoder, figures = load_autoencoder(checkpoint)
    pictures = load_crops(calibration_folders(checkpoint, data), crops)
    return write_model(autoencoder, pictures, output, figures)


def calibration_folders(checkpoint: Path, data: list[Path] | None) -> list[Path]:
    """Return the folders given on the command line, or those that the run was trained on."""
    if data:
        return data
    record = checkpoint / DATA_RECORD
    if not record.exists():
        raise VaecodecError(
            f"{checkpoint}: does not record which images it was trained on; "
            "give a folder of images with --data"
        )
    return [Path(name) for name in json.loads(record.read_text())]


@app.command(name="eval")
def evaluate(
    checkpoint: CheckpointArgument,
    images: Annotated[Path, typer.Argument(help="Folder of test images.", show_default=False)],
    model: Annotated[
        str | None,
        typer.Option(help="Id or folder of the exported model.", show_default="a temporary export"),
    ] = None,
    data: CalibrationOption = None,
    crops: CropsOption = 800,
) -> None:
    """Compare the bits that a checkpoint estimates with real files, for ten qualities.

    Example: vaecodec-train eval runs/1 benchmarks/data/kodak
    """
    from vaecodec_train.evaluate import compare

    with tempfile.TemporaryDirectory() as scratch:
        if model is None:
            model = str(export_checkpoint(checkpoint, data, Path(scratch), crops))
        compare(checkpoint, images, model)


@app.command()
def restore(
    task: Annotated[str, typer.Argument(help="denoise, inpaint or superres.", show_default=False)],
    weights: CheckpointArgument,
    data: DataOption,
    model: Annotated[
        str | None,
        typer.Option(
            help="Id or folder of the model exported from these weights.",
            show_default="the default model",
        ),
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0.01, help="Processor time to use, over all cores.")
    ] = 30,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The file to write.",
            show_default="TASK.onnx in the model's folder",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Overwrite an existing output.")
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder for the decoded images.", show_default="runs/cache"),
    ] = None,
) -> None:
    """Adapt the synthesis of a model to remove noise, fill holes, or double the resolution.

    Example: vaecodec-train restore denoise train/weights/db8fe560.safetensors --data photos/
    -o denoise.onnx
    """
    from vaecodec.model import registry
    from vaecodec_train.model.checkpoint import load_autoencoder
    from vaecodec_train.restorer import TASKS, same_encoder, train_restorer, write_restorer
    from vaecodec_train.training.dataset import open_dataset

    if task not in TASKS:
        raise typer.BadParameter(f"task must be one of {', '.join(TASKS)}, not '{task}'")
    nets = registry.load_model(model)
    autoencoder, _ = load_autoencoder(weights)
    if not same_encoder(autoencoder, nets):
        raise VaecodecError(
            f"{weights}: not the weights of model {nets.id}; name their model with --model"
        )
    path = output or nets.folder / f"{task}.onnx"
    check_writable(path, force)
    dataset = open_dataset(data, cache or Path("runs/cache"), 256, MAX_HELD_OUT)
    restorer, figures = train_restorer(task, autoencoder, dataset, minutes)
    write_restorer(restorer, path, nets.id, figures)
    print(f"{path}: {path.stat().st_size} bytes, {figures}")


def check_writable(path: Path, force: bool) -> None:
    """Raise VaecodecError if `path` exists (unless `force`) or its folder is not writable."""
    if path.exists() and not force:
        raise VaecodecError(
            f"{path}: already exists; overwrite it with --force, or choose another file with -o"
        )
    if not os.access(path.parent, os.W_OK):
        raise VaecodecError(f"{path}: its folder does not exist or cannot be written to")


def main() -> None:
    """Run the command. Usage errors exit with 2 and other failures with 1, without a traceback."""
    # torch.jit warns inside a library that is imported here.
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit")
    try:
        app()
    except VaecodecError as error:
        sys.exit(f"vaecodec-train: {error}")
    except ModuleNotFoundError as error:
        sys.exit(
            f"vaecodec-train: the package {error.name} is missing: pip install 'vaecodec[train]'"
        )
    except KeyboardInterrupt:
        sys.exit(130)
