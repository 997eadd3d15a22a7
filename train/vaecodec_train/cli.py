"""The `vaecodec-train` command."""
import sys
from pathlib import Path
from typing import Annotated

import typer

from vaecodec.errors import VaecodecError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  context_settings={"help_option_names": ["-h", "--help"]})

Checkpoint = Annotated[Path, typer.Argument(help="Weights, a .safetensors file, or the folder of a run.", show_default=False)]


@app.callback()
def root() -> None:
    """Train the codec's networks and export them for the vaecodec command."""


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="Settings, a TOML file; see train/configs/.", show_default=False)],
    data: Annotated[list[Path], typer.Option(help="Folder of images; may be given several times.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output-dir", help="Folder of the run.", show_default=False)],
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in that folder.")] = False,
    init: Annotated[Path | None, typer.Option(help="Weights to start from; a smaller model is grown.",
                                              show_default=False)] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop and save after so many minutes.",
                                                  show_default=False)] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for the decoded images.",
                                               show_default="cache, in the folder of the run")] = None,
) -> None:
    """Train. Ctrl-C saves and stops; --resume goes on as if nothing had happened.

    Example: vaecodec-train run train/configs/default.toml --data photos/ -o runs/1
    """
    from vaecodec_train.checkpoint import load_model
    from vaecodec_train.config import load_config
    from vaecodec_train.data import open_dataset
    from vaecodec_train.grow import grow
    from vaecodec_train.loop import Trainer
    from vaecodec_train.runlog import Log

    settings = load_config(config)
    output.mkdir(parents=True, exist_ok=True)
    if (output / "checkpoint.pt").exists() and not resume:
        raise VaecodecError(f"{output}: holds a run already; continue it with --resume, or name another folder")
    if resume and not (output / "checkpoint.pt").exists():
        raise VaecodecError(f"{output}: holds no run to resume")
    start = None
    if init is not None and not resume:
        start, _ = load_model(init)
        if start.config != settings.model:
            start = grow(start, settings.model)
    dataset = open_dataset(data, cache or output / "cache", settings.patch, settings.held_out)
    trainer = Trainer(settings, dataset, output, start)
    if resume:
        trainer.load()
    with Log(output, settings.steps, silent=trainer.rank > 0) as log:
        trainer.run(minutes, log)


@app.command()
def export(
    checkpoint: Checkpoint,
    data: Annotated[Path, typer.Option(help="Folder of images to quantize on and to fit probability tables to; "
                                            "never the test images.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output-dir", help="Where to put the model's folder.")] = Path("models"),
    crops: Annotated[int, typer.Option(min=8, help="Number of 256 x 256 crops to use.")] = 800,
) -> None:
    """Write a model folder for the runtime: ONNX graphs, integer tables, manifest.

    Example: vaecodec-train export v0.safetensors --data photos/ -o models/
    """
    from vaecodec_train.checkpoint import load_model
    from vaecodec_train.export import export as write_model
    from vaecodec_train.export import load_crops

    model, figures = load_model(checkpoint)
    print(write_model(model, load_crops(data, crops), output, figures))


@app.command(name="eval")
def evaluate(
    checkpoint: Checkpoint,
    images: Annotated[Path, typer.Argument(help="Folder of test images.", show_default=False)],
    model: Annotated[str | None, typer.Option(help="Id or folder of the exported model.",
                                              show_default="the packaged one")] = None,
) -> None:
    """Compare a checkpoint's estimated bits with the files of its exported model, quality by quality.

    Example: vaecodec-train eval v0.safetensors benchmarks/data/kodak
    """
    from vaecodec_train.evaluate import compare

    compare(checkpoint, images, model)


def main() -> None:
    """Entry point: usage errors exit with 2, everything else that fails with 1, and nothing shows a traceback."""
    try:
        app()
    except VaecodecError as error:
        sys.exit(f"vaecodec-train: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
