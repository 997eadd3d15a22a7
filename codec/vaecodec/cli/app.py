"""The `vaecodec` command. Networks, numpy and Pillow load inside the commands, so that `info` and `--help` start fast."""

import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from vaecodec import __version__
from vaecodec.cli import tasks
from vaecodec.cli.files import Converted, byte_count, complain, open_input, pair_up, run, seekable
from vaecodec.cli.tasks import Force, Model, Threads
from vaecodec.errors import VaecodecError
from vaecodec.format.container import MAX_PIXELS

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Paths = Annotated[
    list[str],
    typer.Argument(
        help="INPUT OUTPUT, or INPUT... with -o. '-' is standard input or output.",
        metavar="PATH...",
        show_default=False,
    ),
]
OutputDir = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output-dir",
        help="Write one file per input into this folder. Inputs may be folders.",
        metavar="DIR",
        show_default=False,
    ),
]
MaxPixels = Annotated[int, typer.Option(min=1, help="Refuse pictures of more pixels than this.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """A learned image codec: small files, bit-exact decoding, fast on a CPU."""
    if version:
        print(f"vaecodec {__version__}")
        raise typer.Exit


@app.command()
def encode(
    paths: Paths,
    output_dir: OutputDir = None,
    quality: Annotated[
        float | None,
        typer.Option(
            "-Q", "--quality", min=1, max=100, show_default="50", help="1 (smallest) to 100 (best)."
        ),
    ] = None,
    bpp: Annotated[
        float | None, typer.Option(help="At most so many bits per pixel.", show_default=False)
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(help="At most so many bytes: 40000, 40k, 1.5M.", show_default=False),
    ] = None,
    psnr: Annotated[
        float | None, typer.Option(help="At least so many dB of PSNR.", show_default=False)
    ] = None,
    effort: Annotated[
        int, typer.Option(min=0, max=9, help="Spend more time on a smaller file; 0 is the fastest.")
    ] = 0,
    progressive: Annotated[
        bool,
        typer.Option(
            "--progressive",
            help="Order the bits so that every beginning of the file shows the whole picture.",
        ),
    ] = False,
    strip: Annotated[
        bool, typer.Option("--strip", help="Leave out colour profile, EXIF and XMP.")
    ] = False,
    model: Model = None,
    threads: Threads = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Compress images to .vae files. EXIF orientation is applied; colour profile, EXIF, XMP and alpha are kept.

    Example: vaecodec encode photo.png photo.vae --quality 60
    """
    targets = {"--quality": quality, "--bpp": bpp, "--size": size, "--psnr": psnr}
    given = [name for name, value in targets.items() if value is not None]
    if len(given) > 1:
        raise typer.BadParameter(f"{' and '.join(given)} exclude each other")
    if any(value is not None and not 0 < value < float("inf") for value in (bpp, psnr)):
        raise typer.BadParameter(f"{given[0]} must be a positive number")
    limit = None if size is None else byte_count(size)

    def convert(file: BinaryIO, _: str) -> Converted:
        from PIL import Image

        import vaecodec
        from vaecodec.image.files import read_picture

        Image.MAX_IMAGE_PIXELS = None  # our own limit holds
        picture = read_picture(seekable(file), max_pixels)
        data = vaecodec.encode(
            picture,
            quality,
            bpp=bpp,
            size=limit,
            psnr=psnr,
            effort=effort,
            progressive=progressive,
            strip=strip,
            model=model,
            threads=threads,
        )
        header = vaecodec.probe(data, max_pixels)
        bits = len(data) * 8 / header.width / header.height
        summary = f"{header.width} x {header.height}, {len(data)} bytes, {bits:.3f} bits per pixel, quality {header.quality:g}"
        return Converted(lambda out: out.write(data), summary, tuple(picture.notes))

    run(pair_up(paths, output_dir, ".vae"), convert, force, quiet)


@app.command()
def decode(
    paths: Paths,
    output_dir: OutputDir = None,
    format: Annotated[
        str, typer.Option(help="Type of image for -o and for standard output: png, jpg, webp, ...")
    ] = "png",
    region: Annotated[
        str | None,
        typer.Option(
            help="Only this part of the picture, in pixels.", metavar="X,Y,W,H", show_default=False
        ),
    ] = None,
    scale: Annotated[str, typer.Option(help="1/2, 1/4 or 1/8: a quick, smaller picture.")] = "1",
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what there is of a file that is cut short.")
    ] = False,
    best_effort: Annotated[
        bool,
        typer.Option(
            "--best-effort",
            help="Fill damaged tiles from their neighbours; exit code 3 if there were any.",
        ),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="Folder of the model that the files name, where it is not installed.",
            show_default=False,
        ),
    ] = None,
    threads: Threads = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Decompress .vae files to any type of image that Pillow writes; the output's extension says which.

    Example: vaecodec decode photo.vae photo.png
    """
    kind = "." + format.lower().removeprefix(".")
    if not kind[1:].isalnum():
        raise typer.BadParameter(f"--format takes a type of image such as png, not '{format}'")
    factors = {"1": 1, "1/2": 2, "1/4": 4, "1/8": 8}
    if scale not in factors:
        raise typer.BadParameter(f"--scale takes 1/2, 1/4 or 1/8, not '{scale}'")
    if preview and best_effort:
        raise typer.BadParameter("--preview and --best-effort exclude each other")
    box = region_of(region)

    def convert(file: BinaryIO, output: str) -> Converted:
        import vaecodec
        from vaecodec.image.files import image_kind, save_image

        file_kind = image_kind(kind if output == "-" else Path(output).suffix)
        with vaecodec.open(
            seekable(file),
            model=model,
            threads=threads,
            tolerant=best_effort or preview,
            max_pixels=max_pixels,
        ) as vae:
            content: Any
            if vae.header.color.pillow_mode is None:
                content = vae.read_array(box, factors[scale])
                height, width = content.shape[:2]
            else:
                content = vae.read(box, factors[scale])
                width, height = content.size
            info = vae.info()
            damage = vae.damage
        notes = [f"preview of {100 * damage.share:.1f} % of the file"] if preview else []
        cut = set(damage.truncated) if preview else set()
        damaged = [box for box in damage.tiles if box not in cut]
        lost = damage.lost
        if damaged:
            count = len(damaged)
            notes.append(
                f"{count} damaged tile{'s were' if count > 1 else ' was'} filled in: "
                + ", ".join(
                    [f"{w} x {h} at {x},{y}" for x, y, w, h in damaged[:20]]
                    + ["..."] * (count > 20)
                )
            )
        notes += [f"left out {what}" for what in lost]
        return Converted(
            lambda out: save_image(content, file_kind, out, info),
            f"{width} x {height}",
            tuple(notes),
            partial=best_effort and bool(damaged or lost),
        )

    run(pair_up(paths, output_dir, kind, ".vae"), convert, force, quiet)


def region_of(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"--region takes four whole numbers X,Y,W,H, not '{text[:60]}'"
        ) from None
    return x, y, width, height


@app.command()
def info(
    files: Annotated[
        list[str],
        typer.Argument(
            help="The .vae files; '-' is standard input.", metavar="FILE...", show_default=False
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Print the headers of .vae files and check their checksums; no network is loaded.

    Example: vaecodec info photo.vae
    """
    from vaecodec.format.reader import Reader

    failed = False
    for name in files:
        try:
            with open_input(name) as file:
                reader = Reader(seekable(file))
                reader.check_counts()
                reader.check_all()
                metadata = reader.metadata()
            header = reader.header
            fields = {
                "file": name,
                "format": header.version,
                "width": header.width,
                "height": header.height,
                "color": header.color.name,
                "quality": header.quality,
                "model": header.model,
                "bytes": reader.size,
                "bits_per_pixel": round(reader.size * 8 / header.width / header.height, 4),
                "tiles": header.tiles,
                "progressive": header.by_step or header.tiles == 1,
                "metadata": {kind: len(data) for kind, data in metadata.items()},
            }
            if as_json:
                print(json.dumps(fields))
            else:
                more = "".join(f", {kind} {len(data)} bytes" for kind, data in metadata.items())
                print(
                    f"{name}: {header.width} x {header.height} {header.color}, quality {header.quality:g}, "
                    f"{reader.size} bytes, {fields['bits_per_pixel']} bits per pixel, {header.tiles} "
                    f"tile{'s' * (header.tiles > 1)}{' step by step' * header.by_step}, model {header.model}, "
                    f"format version {header.version}{more}"
                )
        except VaecodecError as error:
            failed = complain(name, error)
        except MemoryError:
            failed = complain(name, "not enough memory")
        except OSError as error:
            failed = complain(name, f"cannot be read ({error.strerror or error})")
    if failed:
        raise typer.Exit(1)


@app.command()
def bench(
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
        str, typer.Option(help="Which metrics, separated by commas.")
    ] = "psnr,ms-ssim,ssimulacra2",
    pictures: Annotated[
        int, typer.Option(min=0, help="How many images the report shows side by side.")
    ] = 3,
    jobs: Annotated[
        int,
        typer.Option(min=0, help="Processes; with --speed threads of each codec. 0 is one a core."),
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Keep what an earlier run into this folder measured of the same "
            "images with the same versions of codecs and metrics.",
        ),
    ] = False,
) -> None:
    """Compare with other codecs, from real files, and write a report: index.html, plots, results.json and .csv.

    Example: vaecodec bench benchmarks/data/kodak -o report/
    """
    try:
        from vaecodec_bench.cli import bench as run_bench
    except ModuleNotFoundError as error:
        raise VaecodecError(
            f"bench needs the package {error.name}: pip install '.[bench]'"
        ) from None
    if not run_bench(folder, output, model, jobs, metrics, pictures, speed, resume):
        raise typer.Exit(1)


@app.command()
def plot(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="results.json files of bench.", metavar="RESULTS...", show_default=False
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The diagram: .png, .svg or .pdf.")
    ] = Path("rd.png"),
    metric: Annotated[str, typer.Option(help="psnr, ms-ssim or ssimulacra2.")] = "psnr",
) -> None:
    """Draw the curves of several benchmark runs into one diagram, with published ones where the images are Kodak's, and
    print the BD-rates of the later runs' vaecodec against the first's.

    Example: vaecodec plot mine/results.json theirs/results.json -o rd.png
    """
    try:
        from vaecodec_bench.report.plot import overlay
    except ModuleNotFoundError as error:
        raise VaecodecError(
            f"plot needs the package {error.name}: pip install '.[bench]'"
        ) from None
    overlay(files, output, metric)


for command in (tasks.sample, tasks.interpolate, tasks.score, tasks.embed, tasks.restore):
    app.command()(command)


def main() -> None:
    """Entry point: usage errors exit with 2, everything else that fails with 1, and nothing shows a traceback."""
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # so that temporary files are removed on the way out
    try:
        app()
    except VaecodecError as error:
        sys.exit(f"vaecodec: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # standard output is full or gone
        sys.exit(f"vaecodec: {error.strerror or error}")
