"""The commands `vaecodec bench` and `vaecodec plot`."""

from pathlib import Path
from typing import Annotated

import typer

from vaecodec.cli.options import Model
from vaecodec.errors import VaecodecError


def quality(
    folder: Annotated[
        Path, typer.Argument(help="Folder of images.", metavar="DIR", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output-dir", help="Folder of the report.", metavar="DIR")
    ] = Path("report"),
    model: Model = None,
    speed: Annotated[
        bool, typer.Option("--speed", help="Measure speed and memory instead of quality.")
    ] = False,
    metrics: Annotated[
        str, typer.Option(help="Metrics, separated by commas.")
    ] = "psnr,ms-ssim,ssimulacra2",
    pictures: Annotated[
        int, typer.Option(min=0, help="Number of images that the report shows side by side.")
    ] = 3,
    jobs: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of processes, or with --speed of threads per codec. 0 means one per core.",
        ),
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Keep what an earlier run into this folder measured on the same images with the "
            "same versions of codecs and metrics.",
        ),
    ] = False,
) -> None:
    """Compare vaecodec with other codecs on a folder of images and write a report.

    Sizes are those of real files. The report consists of index.html, plots,
    results.json and results.csv.

    Examples:
        vaecodec bench benchmarks/data/kodak -o report/
        vaecodec bench benchmarks/data/kodak -o report/ --speed
    """
    if not bench(folder, output, model, jobs, metrics, pictures, speed, resume):
        raise typer.Exit(1)


def plot(
    files: Annotated[
        list[Path],
        typer.Argument(help="results.json files of bench.", metavar="RESULTS", show_default=False),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="The diagram, a .png, .svg or .pdf file.", metavar="FILE"
        ),
    ] = Path("rd.png"),
    metric: Annotated[str, typer.Option(help="psnr, ms-ssim or ssimulacra2.")] = "psnr",
) -> None:
    """Draw the curves of several benchmark runs into one diagram and print BD-rates.

    Published curves are added if the images are Kodak's. The BD-rates
    compare vaecodec in each later run with the first run.

    Examples:
        vaecodec plot report/results.json -o rd.png
        vaecodec plot before/results.json after/results.json -o rd.svg
    """
    from vaecodec_bench.report.plot import overlay

    overlay(files, output, metric)


def bench(
    folder: Path,
    out: Path,
    model: str | None,
    jobs: int,
    metrics: str,
    pictures: int,
    only_speed: bool,
    resume: bool = False,
) -> bool:
    """Measure quality, or speed, on the images in `folder` and write a report into `out`.

    Args:
        folder: Folder of images.
        out: Folder for the report.
        model: Id or folder of the model; None for the packaged model.
        jobs: Number of processes, or of threads per codec for speed. 0 means one per core.
        metrics: Metrics of quality, separated by commas.
        pictures: Number of images that the page shows side by side.
        only_speed: Measure speed and memory instead of quality.
        resume: Keep what an earlier run measured with the same versions.

    Returns whether everything succeeded. Raises VaecodecError.
    """
    from rich.console import Console

    from vaecodec_bench import quality, speed
    from vaecodec_bench.report import page, plot, viewer

    if not folder.is_dir():
        raise VaecodecError(f"{folder}: not a folder")
    if only_speed:
        well = not speed.run(folder, out, model, jobs)
    else:
        found = quality.run(folder, out, model, jobs, metrics, resume)
        quality.show(found)
        plot.write_diagrams(found, out)
        well = not (found.failures or found.interrupted)
        well &= not viewer.write_pictures(
            folder, out, found, model, 0 if found.interrupted else pictures
        )
    report = page.write_page(out)
    Console(highlight=False).print(f"The report: {report}", soft_wrap=True)
    return well
