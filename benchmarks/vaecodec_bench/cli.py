"""What `vaecodec bench` does: one report folder, from which index.html is made again after each part."""

from pathlib import Path

from rich.console import Console

from vaecodec.errors import VaecodecError
from vaecodec_bench import quality, speed
from vaecodec_bench.report import page, plot, viewer


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
    """Measure quality, or speed, on the images in `folder` and write the report into the folder `out`.

    jobs: processes that measure quality, or threads of each codec whose speed is measured; 0 is one a core.
    pictures: how many images the page shows side by side. resume: keep what an earlier run measured with the same versions.
    Returns whether everything went well. Raises VaecodecError.
    """
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
