"""The commands beyond coding: sample, interpolate, score, embed, restore."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vaecodec.cli import options
from vaecodec.cli.coding import allow_large_images
from vaecodec.cli.errors import errors_naming, print_error
from vaecodec.cli.files import (
    check_writable,
    expand_inputs,
    for_each_file,
    open_input,
    print_json,
    write_output,
)
from vaecodec.errors import VaecodecError
from vaecodec.spec import DEFAULT_QUALITY

if TYPE_CHECKING:
    from PIL import Image

    from vaecodec.image.picture import Picture
    from vaecodec.tasks.embed import Embedding
    from vaecodec.tasks.score import Score

FRAME_DURATION = 150  # milliseconds per picture of an animation


def sample(
    output: options.Output,
    size: options.Dimensions = "256x256",
    seed: options.Seed = 0,
    temperature: options.Temperature = 1.0,
    quality: options.Quality = DEFAULT_QUALITY,
    model: options.Model = None,
    threads: options.Threads = 0,
    force: options.Force = False,
) -> None:
    """Sample an image from the model's prior.

    The image has natural textures and edges, but no recognisable objects.

    Examples:
        vaecodec sample -o sample.png --seed 7
        vaecodec sample -o calm.png --size 512x384 --temperature 0.5
    """
    width, height = options.parse_dimensions(size)
    check_writable(output, force)
    import vaecodec

    with spinner("Sampling"):
        image = vaecodec.sample(
            width, height, seed, quality, temperature, model=model, threads=threads
        )
    save_image(image, output)


def interpolate(
    first: options.FirstImage,
    last: options.LastImage,
    output: options.Output,
    steps: options.FrameCount = 8,
    quality: options.Quality = DEFAULT_QUALITY,
    model: options.Model = None,
    threads: options.Threads = 0,
    force: options.Force = False,
) -> None:
    """Interpolate between two images in latent space.

    The output is a strip of pictures, or an animation if its name ends in
    .gif or .webp.

    Examples:
        vaecodec interpolate first.png last.png -o strip.png
        vaecodec interpolate first.png last.png -o animation.gif --steps 16
    """
    check_writable(output, force)
    import vaecodec

    first_picture = read_colors_only(first)
    last_picture = read_colors_only(last)
    with spinner("Interpolating"):
        frames = vaecodec.interpolate(
            first_picture, last_picture, steps, quality, model=model, threads=threads
        )
    if output.suffix.lower() in (".gif", ".webp"):
        save_animation(frames, output)
    else:
        save_image(side_by_side(frames), output)


def score(
    images: options.Images,
    maps: options.MapsDir = None,
    as_json: options.Json = False,
    quality: options.Quality = DEFAULT_QUALITY,
    model: options.Model = None,
    threads: options.Threads = 0,
    force: options.Force = False,
) -> None:
    """Score how surprising images are to the model.

    The scores are the estimated bits per pixel, how many of these bits the
    model did not expect, and the PSNR of the reconstruction.

    Examples:
        vaecodec score photo.png
        vaecodec score photos/ -o maps/
        vaecodec score --json photo.png
    """
    from vaecodec.tasks import score as scoring

    if maps is not None:
        from vaecodec.image.files import make_folder

        make_folder(maps)
    mapped_names: set[str] = set()

    def score_file(name: str) -> None:
        picture = read_picture(name)
        result = scoring.score(picture, quality, model=model, threads=threads)
        if maps is not None:
            file_name = Path(name).name
            if file_name in mapped_names:
                raise VaecodecError(
                    f"not scored: {maps} already holds the maps of another image with this name"
                )
            mapped_names.add(file_name)
            save_maps(result, picture.width, picture.height, maps / file_name, force)
        if as_json:
            print_json(score_fields(name, result))
        else:
            print(score_line(name, result))

    if not for_each_file(expand_inputs(images), score_file, "Scoring"):
        raise typer.Exit(1)


def save_maps(result: "Score", width: int, height: int, stem: Path, force: bool) -> None:
    """Save the heat maps of a score as STEM-bits.png, STEM-excess.png and STEM-error.png."""
    from PIL import Image

    from vaecodec.tasks.score import heat_map

    maps = {"bits": result.bits, "excess": result.excess_bits, "error": result.error}
    for kind, values in maps.items():
        path = stem.with_name(f"{stem.name}-{kind}.png")
        check_writable(path, force)
        save_image(Image.fromarray(heat_map(values, width, height)), path)


def score_fields(name: str, result: "Score") -> dict[str, Any]:
    """Return what `score --json` prints about an image."""
    cells = {"bits_per_pixel": result.bits, "excess": result.excess_bits, "mse": result.error}
    return {
        "file": name,
        "bits_per_pixel": round(result.bits_per_pixel, 4),
        "excess": round(result.excess, 4),
        "psnr": round(result.psnr, 3) if math.isfinite(result.psnr) else None,
        "cells": {kind: values.astype(float).round(4).tolist() for kind, values in cells.items()},
    }


def score_line(name: str, result: "Score") -> str:
    return (
        f"{name}: {result.bits_per_pixel:.3f} bits per pixel under the model, "
        f"{result.excess:+.3f} of them unexpected, {result.psnr:.2f} dB"
    )


def embed(
    images: options.Images,
    output: options.Output,
    per_cell: options.Cells = False,
    quality: options.Quality = DEFAULT_QUALITY,
    model: options.Model = None,
    threads: options.Threads = 0,
    force: options.Force = False,
) -> None:
    """Compute feature vectors of images and store them in an .npz file.

    The features of .vae files come straight from their latents, without
    decoding pixels. --quality applies to images; .vae files have their own.

    Examples:
        vaecodec embed photos/ -o features.npz
        vaecodec embed photo.png photo.vae -o features.npz --cells
    """
    check_writable(output, force, image=False)
    from vaecodec.model import registry
    from vaecodec.tasks import embed as embedding

    model_id = registry.load_model(model, threads).id
    embeddings: dict[str, Embedding] = {}

    def embed_file(name: str) -> None:
        if not is_vae(name):
            picture = read_picture(name)
            embeddings[name] = embedding.embed(picture, quality, model=model, threads=threads)
            return
        with open_input(name) as file:
            check_model(file, model_id)
            embeddings[name] = embedding.embed_file(file, model=model, threads=threads)

    succeeded = for_each_file(expand_inputs(images), embed_file, "Embedding")
    if embeddings:
        save_embeddings(embeddings, model_id, per_cell, output)
    if not succeeded:
        raise typer.Exit(1)


def check_model(file: Any, model_id: str) -> None:
    """Check that an open .vae file was made with a model, and return to the file's beginning."""
    from vaecodec.format.reader import Reader

    file_model = Reader(file).header.model
    if file_model != model_id:
        raise VaecodecError(
            f"was made with model {file_model}, whose features cannot be compared with those of "
            f"{model_id}; select it with --model"
        )
    file.seek(0)


def save_embeddings(
    embeddings: "dict[str, Embedding]", model_id: str, per_cell: bool, output: Path
) -> None:
    import numpy as np

    arrays: dict[str, Any] = {
        "names": np.array(list(embeddings)),
        "features": np.stack([embedding.whole for embedding in embeddings.values()]),
        "quality": np.array([embedding.quality for embedding in embeddings.values()], np.float32),
        "model": np.array(model_id),
    }
    if per_cell:
        for i, embedding in enumerate(embeddings.values()):
            arrays[f"y_{i}"] = embedding.y
            arrays[f"z_{i}"] = embedding.z
    with errors_naming(str(output)):
        write_output(str(output), lambda file: np.savez_compressed(file, **arrays))


def restore(
    image: options.DamagedImage,
    output: options.Output,
    task: options.Task,
    mask: options.Mask = None,
    model: options.RestorationModel = None,
    threads: options.Threads = 0,
    force: options.Force = False,
) -> None:
    """Remove noise, fill in missing parts, or double the size of an image.

    Task inpaint fills in the pixels that --mask marks. Task superres doubles
    the width and height.

    Examples:
        vaecodec restore noisy.png --task denoise -o clean.png
        vaecodec restore torn.png --task inpaint --mask mask.png -o whole.png
        vaecodec restore small.png --task superres -o large.png
    """
    inpaint = task is options.RestorationTask.INPAINT
    if inpaint and mask is None:
        raise typer.BadParameter("--task inpaint needs a --mask")
    if not inpaint and mask is not None:
        raise typer.BadParameter(f"--task {task} takes no --mask")
    check_writable(output, force)
    from vaecodec.tasks import restore as restoration

    picture = read_colors_only(image)
    missing = None if mask is None else read_mask(mask)
    with spinner("Restoring"), errors_naming(image):
        restored = restoration.restore(task.value, picture, missing, model=model, threads=threads)
    save_image(restored, output)


def is_vae(name: str) -> bool:
    return Path(name).suffix.lower() == ".vae"


def read_picture(name: str) -> "Picture":
    """Read a picture from an image file or a .vae file."""
    import vaecodec
    from vaecodec.format.container import MAX_PIXELS
    from vaecodec.image import files
    from vaecodec.image.picture import Picture

    allow_large_images()
    with open_input(name) as file:
        if is_vae(name):
            return Picture(vaecodec.decode_array(file))
        picture = files.read_picture(file, MAX_PIXELS)
    for note in picture.notes:
        print_error(name, f"warning: {note}")
    return picture


def read_colors_only(name: str) -> "Picture":
    """Read a picture of which only 8-bit colours go into the output; warn if it has more."""
    with errors_naming(name):
        picture = read_picture(name)
    if str(picture.color) not in ("L", "RGB"):
        print_error(name, "warning: only its colours are used, with 8 bits, and no alpha channel")
    return picture


def read_mask(name: str) -> Any:
    """Return a boolean array (H, W) that is true where an image is white."""
    with errors_naming(name):
        white = read_picture(name).colors() >= 128
    return white if white.ndim == 2 else white.all(2)


def side_by_side(frames: "list[Image.Image]") -> "Image.Image":
    from PIL import Image

    width, height = frames[0].size
    strip = Image.new("RGB", (width * len(frames), height))
    for i, frame in enumerate(frames):
        strip.paste(frame, (i * width, 0))
    return strip


def save_animation(frames: "list[Image.Image]", path: Path) -> None:
    save_image(
        frames[0],
        path,
        save_all=True,
        append_images=frames[1:],
        duration=FRAME_DURATION,
        loop=0,
    )


def save_image(image: "Image.Image", path: Path, **settings: Any) -> None:
    """Save an image with Pillow's settings. Raises VaecodecError that names the file."""
    from vaecodec.image.files import image_kind

    with errors_naming(str(path)):
        kind = image_kind(path.suffix)
        write_output(str(path), lambda file: image.save(file, kind, **settings))


@contextmanager
def spinner(title: str) -> Iterator[None]:
    """Show on a terminal that work is going on, and for how long."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    hidden = not console.is_terminal
    with Progress(*columns, console=console, disable=hidden, transient=True) as progress:
        progress.add_task(title, total=None)
        yield
