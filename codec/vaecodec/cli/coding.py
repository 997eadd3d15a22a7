"""The `encode` and `decode` commands."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

from vaecodec.cli import options
from vaecodec.cli.files import Converted, convert_files, pair_up
from vaecodec.format.container import MAX_PIXELS

if TYPE_CHECKING:
    from PIL import Image

    from vaecodec._arrays import Samples
    from vaecodec.coding.vae_file import Damage, Region, VaeFile

MAX_LISTED_TILES = 20  # damaged tiles that one warning lists


def encode(
    paths: options.Paths,
    output_dir: options.OutputDir = None,
    quality: options.EncoderQuality = None,
    bpp: options.Bpp = None,
    size: options.Size = None,
    psnr: options.Psnr = None,
    effort: options.Effort = 0,
    progressive: options.Progressive = False,
    strip: options.Strip = False,
    model: options.Model = None,
    threads: options.Threads = 0,
    max_pixels: options.MaxPixels = MAX_PIXELS,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Compress images to .vae files.

    The EXIF orientation is applied. The colour profile, EXIF, XMP and the
    alpha channel are kept.

    Examples:
        vaecodec encode photo.png photo.vae --quality 60
        vaecodec encode photo.png small.vae --size 40k --effort 2
        vaecodec encode photos/ -o compressed/
    """
    check_targets({"--quality": quality, "--bpp": bpp, "--size": size, "--psnr": psnr})
    max_bytes = None if size is None else options.parse_bytes(size)

    def convert(file: BinaryIO, _: str) -> Converted:
        import vaecodec
        from vaecodec.image.files import read_picture

        allow_large_images()
        picture = read_picture(file, max_pixels)
        data = vaecodec.encode(
            picture,
            quality,
            bpp=bpp,
            size=max_bytes,
            psnr=psnr,
            effort=effort,
            progressive=progressive,
            strip=strip,
            model=model,
            threads=threads,
            max_pixels=max_pixels,
        )
        header = vaecodec.probe(data, max_pixels)
        bits_per_pixel = len(data) * 8 / header.width / header.height
        summary = (
            f"{header.width} x {header.height}, {len(data)} bytes, "
            f"{bits_per_pixel:.3f} bits per pixel, quality {header.quality:g}"
        )
        return Converted(lambda out: out.write(data), summary, tuple(picture.notes))

    convert_files(pair_up(paths, output_dir, ".vae"), convert, force, quiet)


def check_targets(targets: dict[str, float | str | None]) -> None:
    """Check that at most one of the options --quality, --bpp, --size and --psnr has a value."""
    given = {option: value for option, value in targets.items() if value is not None}
    if len(given) > 1:
        raise typer.BadParameter(f"{' and '.join(given)} cannot be used together")
    for option, value in given.items():
        if isinstance(value, float) and not 0 < value < math.inf:
            raise typer.BadParameter(f"{option} must be a positive number")


def decode(
    paths: options.Paths,
    output_dir: options.OutputDir = None,
    format: options.Format = "png",
    region: options.Region = None,
    scale: options.Scale = "1",
    preview: options.Preview = False,
    best_effort: options.BestEffort = False,
    model: options.DecoderModel = None,
    threads: options.Threads = 0,
    max_pixels: options.MaxPixels = MAX_PIXELS,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Decompress .vae files to any image type that Pillow can write.

    The extension of the output selects the type.

    Examples:
        vaecodec decode photo.vae decoded.png
        vaecodec decode photo.vae part.png --region 0,0,64,64
        vaecodec decode compressed/ -o thumbnails/ --format jpg --scale 1/4
    """
    suffix = options.parse_format(format)
    factor = options.parse_scale(scale)
    rectangle = options.parse_region(region)
    if preview and best_effort:
        raise typer.BadParameter("--preview and --best-effort cannot be used together")

    def convert(file: BinaryIO, output: str) -> Converted:
        import vaecodec
        from vaecodec.image.files import image_kind, save_image

        kind = image_kind(suffix if output == "-" else Path(output).suffix)
        with vaecodec.open(
            file,
            model=model,
            threads=threads,
            tolerant=best_effort or preview,
            max_pixels=max_pixels,
        ) as vae:
            picture, (width, height) = read_any_color(vae, rectangle, factor)
            info = vae.info()
            damage = vae.damage
        damaged = damaged_tiles(damage, preview)
        notes = []
        if preview:
            notes.append(f"preview of {100 * damage.share:.1f} % of the file")
        if damaged:
            notes.append(damage_note(damaged))
        notes += [f"left out {part}" for part in damage.lost]
        return Converted(
            lambda out: save_image(picture, kind, out, info),
            f"{width} x {height}",
            tuple(notes),
            partial=best_effort and bool(damaged or damage.lost),
        )

    convert_files(pair_up(paths, output_dir, suffix, ".vae"), convert, force, quiet)


def read_any_color(
    vae: "VaeFile", region: "Region | None", scale: int
) -> "tuple[Image.Image | Samples, tuple[int, int]]":
    """Return the picture and its size: an array where Pillow has no mode for the colours."""
    if vae.header.color.pillow_mode is not None:
        image = vae.read(region, scale)
        return image, image.size
    samples = vae.read_array(region, scale)
    height, width = samples.shape[:2]
    return samples, (width, height)


def damaged_tiles(damage: "Damage", preview: bool) -> "list[Region]":
    """Return the damaged tiles, for a preview without those that the end of the file cuts off."""
    truncated = set(damage.truncated) if preview else set()
    return [tile for tile in damage.tiles if tile not in truncated]


def damage_note(damaged: "list[Region]") -> str:
    """Return a warning that lists damaged tiles."""
    tiles = [f"{width} x {height} at {x},{y}" for x, y, width, height in damaged]
    if len(tiles) > MAX_LISTED_TILES:
        tiles[MAX_LISTED_TILES:] = ["..."]
    verb = "tile was" if len(damaged) == 1 else "tiles were"
    return f"{len(damaged)} damaged {verb} filled in: {', '.join(tiles)}"


def allow_large_images() -> None:
    """Switch off Pillow's own limit on the number of pixels, in favour of max_pixels."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
