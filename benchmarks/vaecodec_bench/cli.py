"""The `vaecodec-bench` command.

`quality` and `plot` are also commands of `vaecodec`, as `vaecodec bench` and `vaecodec plot`. The
modules that need optional packages are loaded inside the commands.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vaecodec.cli.errors import run_command
from vaecodec.errors import VaecodecError
from vaecodec.spec import MAX_THREADS

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compare vaecodec with other codecs, on real files.",
)

Folder = Annotated[
    Path, typer.Argument(help="Folder of images.", metavar="DIR", show_default=False)
]
Report = Annotated[
    Path, typer.Argument(help="Folder of a report.", metavar="REPORT", show_default=False)
]
OutputDir = Annotated[
    Path, typer.Option("-o", "--output-dir", help="Folder of the report.", metavar="DIR")
]
Model = Annotated[
    str | None,
    typer.Option(help="Id or folder of vaecodec's model.", show_default="the default model"),
]
Checkout = Annotated[
    Path, typer.Option(help="Root of the repository.", metavar="DIR", show_default="here")
]


@contextmanager
def explain_missing_package(command: str) -> Iterator[None]:
    """Turn the import error of an optional package into a sentence that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise VaecodecError(
            f"{command} needs the package {error.name}: pip install 'vaecodec[bench]'"
        ) from None


@app.command()
def quality(
    folder: Folder,
    output: OutputDir = Path("report"),
    model: Model = None,
    speed: Annotated[
        bool, typer.Option("--speed", help="Measure speed and memory instead of quality.")
    ] = False,
    metrics: Annotated[
        str, typer.Option(help="Metrics to measure, separated by commas, or all.")
    ] = "all",
    pictures: Annotated[
        int, typer.Option(min=0, help="Number of images that the report shows side by side.")
    ] = 3,
    jobs: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of processes, or with --speed threads per codec. 0 means one per core.",
        ),
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Keep what an earlier run into the same folder measured, if images, codecs and "
            "metrics are unchanged.",
        ),
    ] = False,
) -> None:
    """Compare vaecodec with other codecs on real files and write a report.

    The report has a page (index.html), diagrams, results.json and results.csv.

    Example: vaecodec bench benchmarks/data/kodak -o report/
    """
    with explain_missing_package("bench"):
        from vaecodec_bench.report.build import report_quality, report_speed
    if speed:
        succeeded = report_speed(folder, output, model, jobs)
    else:
        succeeded = report_quality(folder, output, model, jobs, metrics, pictures, resume)
    _finish_report(output, succeeded)


@app.command()
def speed(
    folder: Folder,
    output: OutputDir = Path("report"),
    model: Model = None,
    threads: Annotated[
        int, typer.Option(min=0, help="Threads of each codec. 0 means one per core.")
    ] = 0,
) -> None:
    """Measure speed and memory and add them to a report.

    Example: vaecodec-bench speed benchmarks/data/kodak -o report/
    """
    with explain_missing_package("bench"):
        from vaecodec_bench.report.build import report_speed
    _finish_report(output, report_speed(folder, output, model, threads))


@app.command()
def engine(
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output-dir",
            help="Write engine.json into this folder.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    model: Model = None,
    threads: Annotated[
        int, typer.Option(min=1, max=MAX_THREADS, help="Number of threads to compare with one.")
    ] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds.")] = 20,
) -> None:
    """Measure the integer engine with each kernel that this processor has.

    Example: vaecodec-bench engine -o report/
    """
    with explain_missing_package("engine"):
        from vaecodec_bench.engine import report_engine
    report_engine(output, model, threads, rounds)


def _finish_report(output: Path, succeeded: bool) -> None:
    print(f"The report: {output / 'index.html'}")
    if not succeeded:
        raise typer.Exit(1)


@app.command()
def plot(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="The results.json files of several runs.", metavar="RESULTS", show_default=False
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The diagram: .png, .svg or .pdf.")
    ] = Path("rd.png"),
    metric: Annotated[str, typer.Option(help="A metric that the runs have measured.")] = "psnr",
) -> None:
    """Plot several benchmark runs in one diagram and print vaecodec's BD-rates.

    Each later run of vaecodec is compared with the first one. Published curves are added if the
    images are Kodak's.

    Example: vaecodec plot mine/results.json theirs/results.json -o rd.png
    """
    with explain_missing_package("plot"):
        from vaecodec_bench.report.plot import overlay
    overlay(files, output, metric)


@app.command()
def page(report: Report = Path("report")) -> None:
    """Regenerate index.html from the files of a report."""
    with explain_missing_package("bench"):
        from vaecodec_bench.report.page import write_page
    _check_folder(report)
    print(f"The report: {write_page(report)}")


@app.command()
def docs(report: Report = Path("report"), checkout: Checkout = Path(".")) -> None:
    """Rewrite the generated parts of README.md and docs/BENCHMARKS.md from a report."""
    with explain_missing_package("bench"):
        from vaecodec_bench.report.markdown import update_docs
    update_docs(report, checkout)


@app.command()
def tasks(
    folder: Folder,
    output: Annotated[
        Path,
        typer.Option("-o", "--output-dir", help="Folder for figures and pictures.", metavar="DIR"),
    ] = Path("report/tasks"),
    checkout: Annotated[
        Path | None,
        typer.Option(
            help="Root of a repository whose document is rewritten.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure the tasks beyond coding: anomalies, near duplicates and restoration.

    Example: vaecodec-bench tasks benchmarks/data/kodak --checkout .
    """
    with explain_missing_package("bench"):
        from vaecodec_bench.tasks.document import measure_tasks
    measure_tasks(folder, output, checkout)


@app.command()
def demo(
    photo: Annotated[Path, typer.Argument(help="An image.", metavar="IMAGE", show_default=False)],
    output: Annotated[Path, typer.Argument(help="Folder for the pictures.", metavar="DIR")] = Path(
        "demo"
    ),
) -> None:
    """Compare vaecodec with JPEG on one photograph."""
    from vaecodec_bench.demo import run_demo

    run_demo(photo, output)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise VaecodecError(f"{folder}: not a folder")


def main() -> None:
    """Run the command line."""
    run_command(app, "vaecodec-bench")
