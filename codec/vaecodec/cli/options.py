"""Arguments and options of the commands, and the parsers of their values."""

import math
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vaecodec.spec import DEFAULT_QUALITY, MAX_THREADS

# Input and output

Paths = Annotated[
    list[str],
    typer.Argument(
        help="INPUT OUTPUT, or INPUT... with -o. '-' is standard input or standard output.",
        metavar="PATH",
        show_default=False,
    ),
]
VaeFiles = Annotated[
    list[str] | None,
    typer.Argument(
        help="The .vae files. '-' is standard input.", metavar="FILE", show_default=False
    ),
]
Images = Annotated[
    list[str],
    typer.Argument(
        help="Images, .vae files, or folders of them.", metavar="IMAGE", show_default=False
    ),
]
DamagedImage = Annotated[
    str, typer.Argument(help="The image to restore.", metavar="IMAGE", show_default=False)
]
FirstImage = Annotated[
    str, typer.Argument(help="The image to start from.", metavar="FIRST", show_default=False)
]
LastImage = Annotated[
    str,
    typer.Argument(
        help="The image to end with. It must have the same size.",
        metavar="LAST",
        show_default=False,
    ),
]
OutputDir = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output-dir",
        help="Write one file per input to this folder. Inputs may then also be folders.",
        metavar="DIR",
        show_default=False,
    ),
]
Output = Annotated[
    Path,
    typer.Option("-o", "--output", help="The file to write.", metavar="FILE", show_default=False),
]
MapsDir = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--maps",
        help="Write heat maps into this folder: NAME-bits.png, NAME-excess.png, NAME-error.png.",
        metavar="DIR",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing outputs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
EngineInfo = Annotated[
    bool,
    typer.Option(
        "--engine",
        help="Print which engine runs the integer networks, and which others this machine has. "
        "$VAECODEC_ENGINE chooses one.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
Version = Annotated[bool, typer.Option("--version", help="Print the version and exit.")]

# Model and resources

Model = Annotated[
    str | None,
    typer.Option(
        help="Id or folder of the model.", metavar="MODEL", show_default="the default model"
    ),
]
RestorationModel = Annotated[
    str | None,
    typer.Option(
        help="Id or folder of the model.",
        metavar="MODEL",
        show_default="a packaged model with weights for the task",
    ),
]
DecoderModel = Annotated[
    str | None,
    typer.Option(
        help="Folder of the model that the file names. Needed only where it is not installed.",
        metavar="DIR",
        show_default=False,
    ),
]
Threads = Annotated[
    int, typer.Option(min=0, max=MAX_THREADS, help="Number of threads. 0 means one per core.")
]
MaxPixels = Annotated[int, typer.Option(min=1, help="Refuse pictures with more pixels than this.")]

# Quality and size

EncoderQuality = Annotated[
    float | None,
    typer.Option(
        "-Q",
        "--quality",
        min=1,
        max=100,
        show_default=str(DEFAULT_QUALITY),
        help="Quality from 1 (smallest file) to 100 (best picture).",
    ),
]
Quality = Annotated[
    float,
    typer.Option("-Q", "--quality", min=1, max=100, help="Quality setting of the model."),
]
Bpp = Annotated[
    float | None, typer.Option(help="Maximum file size in bits per pixel.", show_default=False)
]
Size = Annotated[
    str | None,
    typer.Option(
        help="Maximum file size in bytes, such as 40000, 40k or 1.5M.",
        metavar="BYTES",
        show_default=False,
    ),
]
Psnr = Annotated[float | None, typer.Option(help="Minimum PSNR in dB.", show_default=False)]
Effort = Annotated[
    int,
    typer.Option(
        min=0, max=9, help="Encoder effort. Higher values give smaller files and take longer."
    ),
]
Progressive = Annotated[
    bool,
    typer.Option(
        "--progressive",
        help="Write a file whose beginning already shows the whole picture at lower quality.",
    ),
]
Strip = Annotated[bool, typer.Option("--strip", help="Leave out the colour profile, EXIF and XMP.")]

# Decoding

Format = Annotated[
    str,
    typer.Option(
        help="Image type for output to a folder (-o) or standard output: png, jpg, webp, ...",
        metavar="TYPE",
    ),
]
Region = Annotated[
    str | None,
    typer.Option(
        help="Decode only this rectangle, in pixels.", metavar="X,Y,W,H", show_default=False
    ),
]
Scale = Annotated[
    str,
    typer.Option(help="Decode a smaller picture, which is faster: 1/2, 1/4 or 1/8.", metavar="1/N"),
]
Preview = Annotated[
    bool, typer.Option("--preview", help="Decode whatever is present of a truncated file.")
]
BestEffort = Annotated[
    bool,
    typer.Option(
        "--best-effort",
        help="Fill in damaged tiles from their neighbours. "
        "The exit code is 3 if anything was damaged.",
    ),
]

# Tasks

Dimensions = Annotated[str, typer.Option(help="Width and height in pixels.", metavar="WxH")]
Seed = Annotated[
    int, typer.Option(min=0, help="Seed of the random numbers. Equal seeds give equal pictures.")
]
Temperature = Annotated[
    float,
    typer.Option(
        min=0,
        max=10,
        help="Spread of the latents. 0 gives the most likely picture, and values above 1 give "
        "unlikely ones.",
    ),
]
FrameCount = Annotated[
    int, typer.Option("--steps", min=2, max=1000, help="Number of pictures, both ends included.")
]
Cells = Annotated[
    bool,
    typer.Option("--cells", help="Also store the features of every cell, as y_N and z_N."),
]


class RestorationTask(StrEnum):
    DENOISE = "denoise"
    INPAINT = "inpaint"
    SUPERRES = "superres"


Task = Annotated[
    RestorationTask,
    typer.Option(
        help="Remove noise, fill in missing parts, or double the size.", show_default=False
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(
        help="For inpaint: an image that is white where pixels are missing.",
        metavar="IMAGE",
        show_default=False,
    ),
]

SCALES = {"1": 1, "1/2": 2, "1/4": 4, "1/8": 8}
BYTE_UNITS = {"": 1, "k": 1000, "m": 1_000_000}


def parse_bytes(text: str) -> int:
    """Return the number of bytes that "40000", "40k" or "1.5M" stands for; k is 1000."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)([kKmM]?)[bB]?", text.strip())
    count = math.floor(float(match[1]) * BYTE_UNITS[match[2].lower()]) if match else 0
    if count < 1:
        raise typer.BadParameter(
            f"--size takes a number of bytes such as 40000, 40k or 1.5M, not '{text[:40]}'"
        )
    return count


def parse_region(text: str | None) -> tuple[int, int, int, int] | None:
    """Return the four numbers of "X,Y,W,H"."""
    if text is None:
        return None
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"--region takes four integers X,Y,W,H, not '{text[:60]}'"
        ) from None
    return x, y, width, height


def parse_scale(text: str) -> int:
    """Return N for "1/N"."""
    if text not in SCALES:
        raise typer.BadParameter(f"--scale takes 1/2, 1/4 or 1/8, not '{text[:40]}'")
    return SCALES[text]


def parse_format(text: str) -> str:
    """Return the file name extension of an image type: ".png" for "png", "PNG" or ".png"."""
    name = text.lower().removeprefix(".")
    if not name.isalnum():
        raise typer.BadParameter(f"--format takes a type of image such as png, not '{text[:40]}'")
    return f".{name}"


def parse_dimensions(text: str) -> tuple[int, int]:
    """Return width and height from "WxH"."""
    match = re.fullmatch(r"([0-9]{1,8})x([0-9]{1,8})", text.lower())
    if match is None:
        raise typer.BadParameter(
            f"--size takes a width and a height such as 256x256, not '{text[:40]}'"
        )
    return int(match[1]), int(match[2])
