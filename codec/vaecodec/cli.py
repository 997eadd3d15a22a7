"""The `vaecodec` command. Networks, numpy and Pillow load inside the commands, so that `info` and `--help` start fast."""
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from vaecodec import __version__
from vaecodec.batch import byte_count, complain, pair_up, read, run
from vaecodec.errors import VaecodecError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich",
                  context_settings={"help_option_names": ["-h", "--help"]})

Paths = Annotated[list[str], typer.Argument(help="INPUT OUTPUT, or INPUT... with -o. '-' is standard input or output.",
                                            metavar="PATH...", show_default=False)]
OutputDir = Annotated[Path | None, typer.Option("-o", "--output-dir", help="Write one file per input into this folder. "
                                                "Inputs may be folders.", metavar="DIR", show_default=False)]
Threads = Annotated[int, typer.Option(min=0, help="Threads of the inference engine; 0 is one a core.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing outputs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """A learned image codec: small files, bit-exact decoding, fast on a CPU."""
    if version:
        print(f"vaecodec {__version__}")
        raise typer.Exit


@app.command()
def encode(
    paths: Paths,
    output_dir: OutputDir = None,
    quality: Annotated[float | None, typer.Option("-Q", "--quality", min=1, max=100, show_default="50",
                                                  help="1 (smallest) to 100 (best).")] = None,
    bpp: Annotated[float | None, typer.Option(help="At most so many bits per pixel.", show_default=False)] = None,
    size: Annotated[str | None, typer.Option(help="At most so many bytes: 40000, 40k, 1.5M.", show_default=False)] = None,
    psnr: Annotated[float | None, typer.Option(help="At least so many dB of PSNR.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(help="Id or folder of a model.", show_default="the packaged one")] = None,
    threads: Threads = 0,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Compress images to .vae files.

    Example: vaecodec encode photo.png photo.vae --quality 60
    """
    targets = {"--quality": quality, "--bpp": bpp, "--size": size, "--psnr": psnr}
    given = [name for name, value in targets.items() if value is not None]
    if len(given) > 1:
        raise typer.BadParameter(f"{' and '.join(given)} exclude each other")
    if any(value is not None and not 0 < value < float("inf") for value in (bpp, psnr)):
        raise typer.BadParameter(f"{given[0]} must be a positive number")
    limit = None if size is None else byte_count(size)

    def convert(data: bytes, _: str) -> tuple[bytes, str]:
        import vaecodec
        from vaecodec.pixels import read_image

        out = vaecodec.encode(read_image(data), quality, bpp=bpp, size=limit, psnr=psnr, model=model, threads=threads)
        header = vaecodec.probe(out)
        bits = len(out) * 8 / header.width / header.height
        return out, (f"{header.width} x {header.height}, {len(out)} bytes, {bits:.3f} bits per pixel, "
                     f"quality {header.quality:g}")

    run(pair_up(paths, output_dir, ".vae"), convert, force, quiet)


@app.command()
def decode(
    paths: Paths,
    output_dir: OutputDir = None,
    format: Annotated[str, typer.Option(help="Type of image for -o and for standard output: png, jpg, webp, ...")] = "png",
    model: Annotated[str | None, typer.Option(help="Folder of the model that the files name, where it is not installed.",
                                              show_default=False)] = None,
    threads: Threads = 0,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Decompress .vae files to any type of image that Pillow writes; the output's extension says which.

    Example: vaecodec decode photo.vae photo.png
    """
    kind = "." + format.lower().removeprefix(".")

    def convert(data: bytes, output: str) -> tuple[bytes, str]:
        import vaecodec
        from vaecodec.pixels import image_bytes, image_kind

        file_kind = image_kind(kind if output == "-" else Path(output).suffix)
        image = vaecodec.decode(data, model=model, threads=threads)
        return image_bytes(image, file_kind), f"{image.width} x {image.height}"

    run(pair_up(paths, output_dir, kind, ".vae"), convert, force, quiet)


@app.command()
def info(
    files: Annotated[list[str], typer.Argument(help="The .vae files; '-' is standard input.", metavar="FILE...",
                                               show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Print the headers of .vae files and check their checksums; no network is loaded.

    Example: vaecodec info photo.vae
    """
    from vaecodec import container

    failed = False
    for name in files:
        try:
            data = read(name)
            header = container.probe(data)
            container.tile_payloads(data, 1)
            fields = {"file": name, "format": header.version, "width": header.width, "height": header.height,
                      "color": header.color, "quality": header.quality, "model": header.model, "bytes": len(data),
                      "bits_per_pixel": round(len(data) * 8 / header.width / header.height, 4)}
            if as_json:
                print(json.dumps(fields))
            else:
                print(f"{name}: {header.width} x {header.height} {header.color}, quality {header.quality:g}, "
                      f"{len(data)} bytes, {fields['bits_per_pixel']} bits per pixel, model {header.model}, "
                      f"format version {header.version}")
        except VaecodecError as error:
            failed = complain(name, error)
    if failed:
        raise typer.Exit(1)


@app.command()
def bench(
    folder: Annotated[Path, typer.Argument(help="Folder of images.", metavar="DIR", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output-dir", help="Folder of the report.", metavar="DIR")] = Path("report"),
    model: Annotated[str | None, typer.Option(help="Id or folder of a model.", show_default="the packaged one")] = None,
    speed: Annotated[bool, typer.Option("--speed", help="Measure speed and memory instead of quality.")] = False,
    metrics: Annotated[str, typer.Option(help="Which metrics, separated by commas.")] = "psnr,ms-ssim,ssimulacra2",
    pictures: Annotated[int, typer.Option(min=0, help="How many images the report shows side by side.")] = 3,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; with --speed threads of each codec. 0 is one a core.")] = 0,
) -> None:
    """Compare with other codecs, from real files, and write a report: index.html, plots, results.json and .csv.

    Example: vaecodec bench benchmarks/data/kodak -o report/
    """
    try:
        from vaecodec_bench.command import bench as run_bench
    except ModuleNotFoundError as error:
        raise VaecodecError(f"bench needs the package {error.name}: pip install 'vaecodec[bench]'") from None
    if not run_bench(folder, output, model, jobs, metrics, pictures, speed):
        raise typer.Exit(1)


@app.command()
def plot(
    files: Annotated[list[Path], typer.Argument(help="results.json files of bench.", metavar="RESULTS...",
                                                 show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The diagram: .png, .svg or .pdf.")] = Path("rd.png"),
    metric: Annotated[str, typer.Option(help="psnr, ms-ssim or ssimulacra2.")] = "psnr",
) -> None:
    """Draw the curves of several benchmark runs into one diagram, with published ones where the images are Kodak's.

    Example: vaecodec plot mine/results.json theirs/results.json -o rd.png
    """
    try:
        from vaecodec_bench.plot import overlay
    except ModuleNotFoundError as error:
        raise VaecodecError(f"plot needs the package {error.name}: pip install 'vaecodec[bench]'") from None
    overlay(files, output, metric)


def main() -> None:
    """Entry point: usage errors exit with 2, everything else that fails with 1, and nothing shows a traceback."""
    try:
        app()
    except VaecodecError as error:
        sys.exit(f"vaecodec: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
