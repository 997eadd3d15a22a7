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
from vaecodec_train.tutorial.commands import app as basics

if TYPE_CHECKING:
    from vaecodec_train.config import TrainConfig
    from vaecodec_train.model.autoencoder import Codec

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(basics, name="basics")

Checkpoint = Annotated[
    Path,
    typer.Argument(
        help="Weights, a .safetensors file, or the folder of a run.", show_default=False
    ),
]
Data = Annotated[
    list[Path],
    typer.Option(help="Folder of images; may be given several times.", show_default=False),
]
Output = Annotated[
    Path, typer.Option("-o", "--output-dir", help="Folder of the run.", show_default=False)
]
Cache = Annotated[
    Path | None,
    typer.Option(
        help="Folder for the decoded images.", show_default="cache, in the folder of the run"
    ),
]
Calibration = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        help="Folder of images to quantize on and to fit "
        "probability tables to; never the test images.",
        show_default="the folders that the run was trained on",
    ),
]
Crops = Annotated[
    int, typer.Option(min=8, help="Number of 256 x 256 crops to quantize and fit tables on.")
]
Aware = Annotated[
    int, typer.Option(min=0, help="Steps of quantization-aware training of the entropy networks.")
]
DATA_RECORD = "data.json"  # in the folder of a run: the folders of its images


@app.callback()
def root() -> None:
    """Train the codec's networks and export them for the vaecodec command."""


@app.command()
def run(
    config: Annotated[
        Path, typer.Argument(help="Settings, a TOML file; see train/configs/.", show_default=False)
    ],
    data: Data,
    output: Output,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in that folder.")
    ] = False,
    init: Annotated[
        Path | None,
        typer.Option(help="Weights to start from; a smaller model is grown.", show_default=False),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Stop and save after so many minutes.", show_default=False),
    ] = None,
    cache: Cache = None,
    metric: Annotated[
        str | None, typer.Option(help="mse or ms-ssim.", show_default="the configuration's")
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="muon, adam or rmsprop, of the matrices of 1x1 convolutions.",
            show_default="the configuration's",
        ),
    ] = None,
) -> None:
    """Train. Ctrl-C saves and stops; --resume goes on as if nothing had happened.

    Example: vaecodec-train run train/configs/default.toml --data photos/ -o runs/1
    """
    from vaecodec_train.config import load_config
    from vaecodec_train.model.checkpoint import load_model
    from vaecodec_train.model.grow import grow

    settings = load_config(config)
    changed = {
        name: value
        for name, value in (("metric", metric), ("optimizer", optimizer))
        if value is not None
    }
    settings = dataclasses.replace(settings, **changed)  # type: ignore[arg-type]
    start = None
    if init is not None and not resume:
        start, _ = load_model(init)
        if start.config != settings.model:
            start = grow(start, settings.model)
    train(settings, data, output, cache, start, resume, minutes)


@app.command()
def finetune(
    model: Checkpoint,
    data: Data,
    output: Output,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to train.")] = 10.0,
    rate: Annotated[
        float,
        typer.Option(min=1e-5, help="Learning rate of the matrices; a fifth of it for the rest."),
    ] = 0.002,
    held_out: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images to measure on and not to train on.",
            show_default="a tenth, at most 24",
        ),
    ] = None,
    cache: Cache = None,
) -> None:
    """Adapt a model to your own kind of images: the same networks, trained on from these weights.

    Example: vaecodec-train finetune train/weights/b7bfe488.safetensors --data scans/ -o runs/scans
    """
    from vaecodec.image.files import images_in
    from vaecodec_train.config import TrainConfig
    from vaecodec_train.model.checkpoint import load_model

    start, _ = load_model(model)
    held_out = held_out or max(1, min(24, sum(len(images_in(folder)) for folder in data) // 10))
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
    start: "Codec | None",
    resume: bool = False,
    minutes: float | None = None,
) -> None:
    """One run in the folder `output`, from its checkpoint, from the weights of `start`, or from nothing."""
    from vaecodec_train.training.dataset import open_dataset
    from vaecodec_train.training.log import Log
    from vaecodec_train.training.trainer import Trainer

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VaecodecError(f"{output}: cannot be created ({error.strerror})") from None
    if (output / "checkpoint.pt").exists() and not resume:
        raise VaecodecError(
            f"{output}: holds a run already; continue it with `run --resume`, or name another folder"
        )
    if resume and not (output / "checkpoint.pt").exists():
        raise VaecodecError(f"{output}: holds no run to resume")
    dataset = open_dataset(data, cache or output / "cache", settings.patch, settings.held_out)
    trainer = Trainer(settings, dataset, output, start)
    if resume:
        trainer.load()
    (output / DATA_RECORD).write_text(json.dumps([str(folder.resolve()) for folder in data]) + "\n")
    with Log(output, settings.steps, silent=trainer.rank > 0) as log:
        trainer.run(minutes, log)


def calibration_folders(checkpoint: Path, given: list[Path] | None) -> list[Path]:
    """The folders named on the command line, or those that the run at `checkpoint` was trained on."""
    record = checkpoint / DATA_RECORD
    if given:
        return given
    if not record.exists():
        raise VaecodecError(
            f"{checkpoint}: does not say what it was trained on; name a folder of images with --data"
        )
    return [Path(name) for name in json.loads(record.read_text())]


@app.command()
def export(
    checkpoint: Checkpoint,
    data: Calibration = None,
    output: Annotated[
        Path, typer.Option("-o", "--output-dir", help="Where to put the model's folder.")
    ] = Path("models"),
    crops: Crops = 800,
    aware: Aware = 200,
) -> None:
    """Write a model folder for the runtime: ONNX graphs, integer tables, manifest.

    Example: vaecodec-train export runs/1 -o models/
    """
    from vaecodec_train.export.model_folder import export as write_model
    from vaecodec_train.export.model_folder import load_crops
    from vaecodec_train.model.checkpoint import load_model

    model, figures = load_model(checkpoint)
    print(
        write_model(
            model, load_crops(calibration_folders(checkpoint, data), crops), output, figures, aware
        )
    )


@app.command()
def restore(
    task: Annotated[str, typer.Argument(help="denoise, inpaint or superres.", show_default=False)],
    weights: Checkpoint,
    data: Annotated[
        list[Path],
        typer.Option(help="Folder of images; may be given several times.", show_default=False),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Id or folder of the model that these weights were exported to.",
            show_default="the packaged one",
        ),
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0.01, help="Of processor time, over all cores.")
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
    cache: Cache = None,
) -> None:
    """Adapt a model's synthesis to give pictures without noise, without holes, or with twice the resolution.

    Example: vaecodec-train restore denoise train/weights/d02043bc.safetensors --data photos/ -o denoise.onnx
    """
    from vaecodec.model import registry
    from vaecodec_train.model.checkpoint import load_model
    from vaecodec_train.restorer import TASKS, same_encoder, write
    from vaecodec_train.restorer import train as adapt
    from vaecodec_train.training.dataset import open_dataset

    if task not in TASKS:
        raise typer.BadParameter(f"the task is one of {', '.join(TASKS)}, not '{task}'")
    nets = registry.load_model(model)
    codec, _ = load_model(weights)
    if not same_encoder(codec, nets):
        raise VaecodecError(
            f"{weights}: not the weights of model {nets.id}; name theirs with --model"
        )
    path = output or nets.folder / f"{task}.onnx"
    if path.exists() and not force:
        raise VaecodecError(
            f"{path}: exists already; use --force to overwrite it, or -o to write another file"
        )
    if not os.access(path.parent, os.W_OK):
        raise VaecodecError(f"{path}: its folder does not exist or cannot be written to")
    dataset = open_dataset(data, cache or Path("runs/cache"), 256, 24)
    restorer, figures = adapt(task, codec, dataset, minutes)
    write(restorer, path, nets.id, figures)
    print(f"{path}: {path.stat().st_size} bytes, {figures}")


@app.command(name="eval")
def evaluate(
    checkpoint: Checkpoint,
    images: Annotated[Path, typer.Argument(help="Folder of test images.", show_default=False)],
    model: Annotated[
        str | None,
        typer.Option(
            help="Id or folder of the exported model.", show_default="exported for the occasion"
        ),
    ] = None,
    data: Calibration = None,
    crops: Crops = 800,
    aware: Aware = 200,
) -> None:
    """Compare a checkpoint's estimated bits with the files of its exported model, quality by quality.

    Example: vaecodec-train eval runs/1 benchmarks/data/kodak
    """
    from vaecodec_train.evaluate import compare
    from vaecodec_train.export.model_folder import export as write_model
    from vaecodec_train.export.model_folder import load_crops
    from vaecodec_train.model.checkpoint import load_model

    with tempfile.TemporaryDirectory() as scratch:
        if model is None:
            pictures = load_crops(calibration_folders(checkpoint, data), crops)
            model = str(write_model(load_model(checkpoint)[0], pictures, Path(scratch), {}, aware))
        compare(checkpoint, images, model)


def main() -> None:
    """Entry point: usage errors exit with 2, everything else that fails with 1, and nothing shows a traceback."""
    warnings.filterwarnings(
        "ignore", category=FutureWarning, message=".*torch.jit"
    )  # of a library that we import
    try:
        app()
    except VaecodecError as error:
        sys.exit(f"vaecodec-train: {error}")
    except ModuleNotFoundError as error:
        sys.exit(f"vaecodec-train: needs the package {error.name}: pip install '.[train]'")
    except KeyboardInterrupt:
        sys.exit(130)
