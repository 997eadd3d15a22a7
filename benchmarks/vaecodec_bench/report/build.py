"""Measure codecs and write all the files of a report."""

from pathlib import Path

from vaecodec.errors import ParameterError
from vaecodec_bench.console import print_bd_rates
from vaecodec_bench.quality import measure_quality
from vaecodec_bench.report.page import write_page
from vaecodec_bench.report.plot import write_diagrams
from vaecodec_bench.report.viewer import write_pictures
from vaecodec_bench.speed import measure_speed


def report_quality(
    folder: Path,
    out: Path,
    model: str | None,
    jobs: int,
    metrics: str,
    pictures: int,
    resume: bool = False,
) -> bool:
    """Measure quality on the images in `folder` and write the report into `out`.

    Args:
        folder: A folder of images.
        out: Folder of the report.
        model: Id or folder of vaecodec's model, None for the default one.
        jobs: Number of processes, 0 for one per core.
        metrics: Names separated by commas.
        pictures: How many images the page shows side by side.
        resume: Keep what an earlier run measured with the same versions.

    Returns:
        Whether everything succeeded.

    Raises:
        VaecodecError: Nothing could be measured, or the report cannot be written.
    """
    _check_folder(folder)
    results = measure_quality(folder, out, model, jobs, metrics, resume)
    print_bd_rates(results)
    write_diagrams(results, out)
    if results.interrupted:
        pictures = 0
    failures = write_pictures(folder, out, results, model, pictures)
    write_page(out)
    return not (failures or results.failures or results.interrupted)


def report_speed(folder: Path, out: Path, model: str | None, threads: int) -> bool:
    """Measure speed on the images in `folder` and write the report into `out`.

    threads: of each codec, 0 for one per core. Returns whether everything succeeded. Raises
    VaecodecError.
    """
    _check_folder(folder)
    failures = measure_speed(folder, out, model, threads)
    write_page(out)
    return not failures


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ParameterError(f"{folder}: not a folder")
