"""Types of the command-line options that several commands of `vaecodec-train` share."""

from pathlib import Path
from typing import Annotated

import typer

CheckpointArgument = Annotated[
    Path,
    typer.Argument(
        help="Weights: a .safetensors file, or the folder of a run.", show_default=False
    ),
]
DataOption = Annotated[
    list[Path],
    typer.Option(
        "--data", help="Folder of images. May be given several times.", show_default=False
    ),
]
OutputOption = Annotated[
    Path, typer.Option("-o", "--output-dir", help="Output folder of the run.", show_default=False)
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Folder for the decoded images.",
        show_default="cache, in the folder of the run",
    ),
]
CalibrationOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        help="Folder of images for calibration and for fitting probability tables. "
        "Never use the test images.",
        show_default="the folders that the run was trained on",
    ),
]
CropsOption = Annotated[
    int,
    typer.Option(
        "--crops", min=8, help="Number of 256 x 256 crops for calibration and fitting tables."
    ),
]
