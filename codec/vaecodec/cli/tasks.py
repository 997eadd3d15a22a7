"""The commands beyond coding: sample, interpolate, score, embed, restore. As in cli.py, heavy modules load inside them."""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from vaecodec.cli.files import complain, open_input, seekable
from vaecodec.errors import OutputError, VaecodecError

if TYPE_CHECKING:
    from PIL import Image

    from vaecodec.image.picture import Picture

T = TypeVar("T")

Files = Annotated[
    list[str],
    typer.Argument(
        help="Images, .vae files, or folders of them.", metavar="IMAGE...", show_default=False
    ),
]
Output = Annotated[
    Path, typer.Option("-o", "--output", help="The file to write.", show_default=False)
]
Quality = Annotated[
    float,
    typer.Option("-Q", "--quality", min=1, max=100, help="At which of the model's qualities."),
]
Model = Annotated[
    str | None, typer.Option(help="Id or folder of a model.", show_default="the packaged one")
]
Threads = Annotated[
    int, typer.Option(min=0, max=1024, help="Threads of the inference engine; 0 is one a core.")
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing outputs.")]


def sample(
    output: Output,
    size: Annotated[
        str, typer.Option(help="Width and height in pixels.", metavar="WxH")
    ] = "256x256",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same picture.")] = 0,
    temperature: Annotated[
        float,
        typer.Option(
            min=0,
            max=10,
            help="Below 1: likelier latents; 0: the likeliest; above 1: stranger ones.",
        ),
    ] = 1.0,
    quality: Quality = 50,
    model: Model = None,
    threads: Threads = 0,
    force: Force = False,
) -> None:
    """Draw a picture from the codec's own prior. It has textures and edges of photographs, but shows nothing.

    Example: vaecodec sample --size 256x256 -o s.png --seed 7
    """
    sides = size.lower().split("x")
    if len(sides) != 2 or not all(
        side.isascii() and side.isdigit() and len(side) < 9 for side in sides
    ):
        raise typer.BadParameter(
            f"--size takes a width and a height such as 256x256, not '{size[:40]}'"
        )
    check(output, force)
    from vaecodec.tasks.sample import sample as draw

    with working("Drawing"):
        image = draw(
            int(sides[0]), int(sides[1]), seed, quality, temperature, model=model, threads=threads
        )
    save(image, output)


def interpolate(
    first: Annotated[str, typer.Argument(help="Image where the walk begins.", show_default=False)],
    second: Annotated[
        str, typer.Argument(help="Image of the same size where it ends.", show_default=False)
    ],
    output: Output,
    steps: Annotated[
        int, typer.Option(min=2, max=1000, help="Pictures of the walk, both ends included.")
    ] = 8,
    quality: Quality = 50,
    model: Model = None,
    threads: Threads = 0,
    force: Force = False,
) -> None:
    """Walk from one picture to another in latent space: a strip of pictures, or an animation for .gif and .webp.

    Example: vaecodec interpolate a.png b.png -o walk.png
    """
    check(output, force)
    from PIL import Image

    from vaecodec.tasks import interpolate as walk

    pictures = [plain(name) for name in (first, second)]
    with working("Walking"):
        frames = walk.interpolate(
            pictures[0], pictures[1], steps, quality, model=model, threads=threads
        )
    if output.suffix.lower() in (".gif", ".webp"):
        save(frames[0], output, save_all=True, append_images=frames[1:], duration=150, loop=0)
        return
    width, height = frames[0].size
    strip = Image.new("RGB", (width * len(frames), height))
    for i, frame in enumerate(frames):
        strip.paste(frame, (i * width, 0))
    save(strip, output)


def score(
    files: Files,
    maps: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--maps",
            help="Folder for heat maps: NAME-bits.png, NAME-excess.png, NAME-error.png.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
    quality: Quality = 50,
    model: Model = None,
    threads: Threads = 0,
    force: Force = False,
) -> None:
    """How surprising pictures are: estimated bits per pixel under the model, and how well it reproduces them.

    Example: vaecodec score photos/ -o maps/
    """
    from PIL import Image

    from vaecodec.tasks.score import heat_map
    from vaecodec.tasks.score import score as measure

    if maps is not None:
        from vaecodec.image.files import make_folder

        make_folder(maps)
    names = listed(files)
    mapped: set[str] = set()

    def one(name: str) -> None:
        picture = read(name)
        result = measure(picture, quality, model=model, threads=threads)
        if maps is not None:
            own = Path(name).name
            if own in mapped:
                raise VaecodecError(
                    f"not scored: another image of that name has its maps in {maps}"
                )
            mapped.add(own)
            for kind, values in (
                ("bits", result.bits),
                ("excess", result.excess_bits),
                ("error", result.error),
            ):
                path = maps / f"{own}-{kind}.png"
                check(path, force)
                save(Image.fromarray(heat_map(values, picture.width, picture.height)), path)
        if as_json:
            maps_of = {
                "bits_per_pixel": result.bits,
                "excess": result.excess_bits,
                "mse": result.error,
            }
            psnr = round(result.psnr, 3) if math.isfinite(result.psnr) else None
            print(
                json.dumps(
                    {
                        "file": name,
                        "bits_per_pixel": round(result.bits_per_pixel, 4),
                        "excess": round(result.excess, 4),
                        "psnr": psnr,
                        "cells": {
                            kind: values.astype(float).round(4).tolist()
                            for kind, values in maps_of.items()
                        },
                    }
                )
            )
        else:
            print(
                f"{name}: {result.bits_per_pixel:.3f} bits per pixel under the model, {result.excess:+.3f} of them "
                f"unexpected, {result.psnr:.2f} dB"
            )

    each(names, one, "Scoring")


def embed(
    files: Files,
    output: Output,
    per_cell: Annotated[
        bool, typer.Option("--cells", help="Also y and z of every cell, as y_N and z_N.")
    ] = False,
    quality: Quality = 50,
    model: Model = None,
    threads: Threads = 0,
    force: Force = False,
) -> None:
    """Features of pictures, from images or straight from .vae files without decoding pixels: an .npz of names and features.

    --quality is that of images; .vae files have their own.

    Example: vaecodec embed photos/ -o features.npz
    """
    check(output, force, image=False)
    import numpy as np

    from vaecodec.format.reader import Reader
    from vaecodec.image.files import write_file
    from vaecodec.model import registry
    from vaecodec.tasks.embed import Embedding, embed_file
    from vaecodec.tasks.embed import embed as features

    wanted = registry.load_model(model, threads).id
    found: dict[str, Embedding] = {}

    def one(name: str) -> None:
        if Path(name).suffix.lower() == ".vae":
            with open_input(name) as file:
                made_by = Reader(file).header.model
                if made_by != wanted:
                    raise VaecodecError(
                        f"was made by model {made_by}, and features of {wanted} do not compare with its own; "
                        "name it with --model"
                    )
                file.seek(0)
                found[name] = embed_file(file, model=model, threads=threads)
        else:
            found[name] = features(read(name), quality, model=model, threads=threads)

    failed = each(listed(files), one, "Embedding", go_on=True)
    if found:
        all_found = found.values()
        arrays: dict[str, Any] = {
            "names": np.array(list(found)),
            "features": np.stack([e.whole for e in all_found]),
            "quality": np.array([e.quality for e in all_found], np.float32),
            "model": np.array(wanted),
        }
        if per_cell:
            for i, embedding in enumerate(found.values()):
                arrays |= {f"y_{i}": embedding.y, f"z_{i}": embedding.z}
        named(
            str(output),
            lambda: write_file(output, lambda file: np.savez_compressed(file, **arrays)),
        )
    if failed:
        raise typer.Exit(1)


def restore(
    image: Annotated[str, typer.Argument(help="The damaged image.", show_default=False)],
    output: Output,
    task: Annotated[str, typer.Option(help="denoise, inpaint or superres.", show_default=False)],
    mask: Annotated[
        str | None,
        typer.Option(
            help="For inpaint: an image that is white where pixels are missing.", show_default=False
        ),
    ] = None,
    model: Model = None,
    threads: Threads = 0,
    force: Force = False,
) -> None:
    """Remove noise, fill in missing parts, or double the size of a picture.

    Example: vaecodec restore noisy.png --task denoise -o clean.png
    """
    from vaecodec.tasks.restore import INPUT_CHANNELS

    if task not in INPUT_CHANNELS:
        raise typer.BadParameter(f"--task takes denoise, inpaint or superres, not '{task[:40]}'")
    if (mask is not None) != (task == "inpaint"):
        raise typer.BadParameter(
            "--task inpaint needs a --mask" if mask is None else f"--task {task} takes no --mask"
        )
    check(output, force)
    from vaecodec.tasks.restore import restore as mend

    picture = plain(image)
    missing = None if mask is None else named(mask, read, mask).colors() >= 128
    if missing is not None and missing.ndim == 3:
        missing = missing.all(2)
    with working("Restoring"):
        restored = named(image, lambda: mend(task, picture, missing, model=model, threads=threads))
    save(restored, output)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Shows on a terminal that something is being done, and for how long."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as progress:
        progress.add_task(what, total=None)
        yield


def read(name: str) -> "Picture":
    """A picture from an image file or a .vae file."""
    from PIL import Image

    from vaecodec import api
    from vaecodec.format.container import MAX_PIXELS
    from vaecodec.image.files import read_picture
    from vaecodec.image.picture import Picture

    Image.MAX_IMAGE_PIXELS = None  # our own limit holds
    with open_input(name) as file:
        stream = seekable(file)
        if Path(name).suffix.lower() == ".vae":
            return Picture(api.decode_array(stream))
        picture = read_picture(stream, MAX_PIXELS)
    for note in picture.notes:
        complain(name, f"warning: {note}")
    return picture


def plain(name: str) -> "Picture":
    """A picture whose colours alone go into the output, which is said where it has more. Errors name the file."""
    picture = named(name, read, name)
    if picture.color.has_alpha or picture.color.depth > 8:
        complain(name, "warning: of its samples, colours of 8 bits are used, and alpha is left out")
    return picture


def save(image: "Image.Image", path: Path, **settings: Any) -> None:
    """Raises VaecodecError that names the file."""
    from vaecodec.image.files import image_kind, write_file

    def write() -> None:
        kind = image_kind(path.suffix)
        write_file(path, lambda file: image.save(file, kind, **settings))

    named(str(path), write)


def named(name: str, work: Callable[..., T], *arguments: Any) -> T:
    """work(*arguments), whose errors name the file."""
    try:
        return work(*arguments)
    except VaecodecError as error:
        raise VaecodecError(f"{name}: {error}") from None
    except MemoryError:
        raise VaecodecError(f"{name}: not enough memory") from None
    except OSError as error:
        raise VaecodecError(f"{name}: cannot be used ({error.strerror or error})") from None


def check(path: Path, force: bool, image: bool = True) -> None:
    """Before any work: that the output can be written. image: whether it is one."""
    if path.is_file() and not force:
        raise OutputError(f"{path}: exists already; use --force to overwrite it")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: its folder does not exist")
    if image:
        from vaecodec.image.files import image_kind

        named(str(path), image_kind, path.suffix)


def listed(files: Iterable[str]) -> list[str]:
    """The files named, and the images and .vae files in the folders named."""
    from vaecodec.image.files import images_in

    names: list[str] = []
    for name in files:
        if not Path(name).is_dir():
            names.append(name)
            continue
        compressed = [str(path) for path in sorted(Path(name).glob("*.vae"))]
        try:
            names += sorted({*images_in(Path(name), None), *compressed})
        except VaecodecError:
            if not compressed:
                raise
            names += compressed
    return names


def each(names: list[str], work: Callable[[str], None], title: str, go_on: bool = False) -> bool:
    """work(name) of each, with a progress bar; what fails is said and the others go on. Exits with 1 at the end, or with
    `go_on` returns whether anything failed."""
    from rich.console import Console
    from rich.progress import track

    failed = False
    console = Console(stderr=True)
    for name in track(
        names, title, console=console, disable=not console.is_terminal, transient=True
    ):
        try:
            named(name, work, name)
        except VaecodecError as error:
            failed = complain(name, str(error).removeprefix(f"{name}: "))
    if failed and not go_on:
        raise typer.Exit(1)
    return failed
