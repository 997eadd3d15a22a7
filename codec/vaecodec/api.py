"""Pictures <-> .vae bytes: the only place that knows the whole way."""

from typing import Any, BinaryIO

from PIL import Image

from vaecodec.coding.decoder import Tiles, decode_tiles
from vaecodec.coding.encoder import encode_picture
from vaecodec.coding.latents import Latents
from vaecodec.coding.tile_pool import Crew
from vaecodec.coding.tiling import tile_log2
from vaecodec.errors import ImageError, ModelError, VaecodecError
from vaecodec.format.container import MAX_PIXELS, Header
from vaecodec.format.reader import Reader
from vaecodec.image.box import Box
from vaecodec.image.canvas import ArrayCanvas, Canvas, ImageCanvas, new_canvas
from vaecodec.image.picture import ImageSource, Picture, Samples, as_picture
from vaecodec.model.networks import Networks
from vaecodec.spec import check_quality

Region = tuple[int, int, int, int]


def encode(
    image: ImageSource | Picture,
    quality: float | None = None,
    *,
    bpp: float | None = None,
    size: int | None = None,
    psnr: float | None = None,
    effort: int = 0,
    progressive: bool = False,
    strip: bool = False,
    model: str | None = None,
    threads: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> bytes:
    """Compress a picture.

    image: a PIL image, a path, or an array (H, W) or (H, W, 1 to 4), grey or colours, with alpha or without, uint8 or uint16.
    quality: 1 (smallest) to 100 (best) in steps of 0.01; 50 unless told. Instead of it, one target, found by search:
    bpp (bits per pixel) or size (bytes), which the file will not exceed, or psnr (dB), which the picture will not miss.
    effort: 0 to 9; each unit spends the time of about 25 encodings more on a smaller file at the same quality, with up
    to 3 GB of memory.
    progressive: order the bits of large pictures so that each prefix shows all of it. strip: drop profile, EXIF and XMP.
    model: id or folder of a model; None is the default one. threads: 0 is one a core.
    Returns the bytes of a .vae file (docs/FORMAT.md), and warns of what had to be changed (UserWarning). Raises ImageError,
    ModelError, VaecodecError; ValueError for two of quality and the targets.
    """
    if sum(value is not None for value in (quality, bpp, size, psnr)) > 1:
        raise ValueError("give one of quality, bpp, size and psnr")
    for name, value in (("bpp", bpp), ("size", size), ("psnr", psnr)):
        if value is not None and not 0 < value < float("inf"):
            raise VaecodecError(f"{name} must be a positive number, not {value}")
    if effort not in range(10):
        raise VaecodecError(f"effort must be a whole number from 0 to 9, not {effort}")
    fixed = check_quality(50 if quality is None else quality)
    picture = as_picture(image, max_pixels)
    pixels = picture.width * picture.height
    # Gradients take much memory, so with them the tiles come one after the other, each with all threads.
    crew = Crew(model, threads, tile_log2(picture.width, picture.height) > 0 and not effort)

    def attempt(quality: float, effort: int = int(effort)) -> bytes:
        return encode_picture(picture, quality, crew, progressive, strip, effort)

    if bpp is None and size is None and psnr is None:
        return attempt(fixed)
    from vaecodec.coding import targets

    def found(attempt: targets.Attempt, near: int | None = None) -> bytes:
        if psnr is None:
            return targets.encode_to_size(
                size if size is not None else (bpp or 0) * pixels / 8, attempt, near
            )
        return targets.encode_to_psnr(
            picture,
            psnr,
            attempt,
            lambda data: decode_array(data, model=model, threads=threads),
            near,
        )

    if not effort:
        return found(attempt)
    try:
        near = round(Reader(found(lambda quality: attempt(quality, 0))).header.quality * 100)
    except VaecodecError:  # out of reach without effort
        near = None
    return found(attempt, near)


def decode(
    data: bytes | BinaryIO,
    *,
    region: Region | None = None,
    scale: int = 1,
    best_effort: bool = False,
    preview: bool = False,
    model: str | None = None,
    threads: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Picture of a .vae file, of which only what is needed is read: a PIL image of mode L, RGB, LA, RGBA or I;16.

    region: x, y, width, height in pixels of the whole picture. scale: 2, 4 or 8 for a quick picture so many times smaller.
    best_effort: fill damaged tiles from their neighbours; info["damaged"] lists them as (x, y, width, height), and
    info["lost"] what else is damaged, a sentence each. preview: make what can be made of a file that is cut short or still
    arriving; info["share"] is the part of it at hand, and "damaged" then lists what is damaged but not cut.
    model: folder of the model that the file names, where it is not installed. threads: 0 is one a core.
    info also holds icc_profile, exif and xmp where the file does, quality and model.
    Raises FormatError, ModelError; ImageError for 16-bit colours, which Pillow has no mode for: see decode_array.
    """
    reader = Reader(data, best_effort or preview, max_pixels)
    if reader.header.color.pillow_mode is None:
        raise ImageError("Pillow has no mode for 16-bit colours; use decode_array")
    canvas, info = _decode(reader, False, region, scale, preview, model, threads)
    assert isinstance(canvas, ImageCanvas)
    canvas.content.info.update(info)
    return canvas.content


def decode_canvas(
    data: bytes | BinaryIO,
    *,
    region: Region | None = None,
    scale: int = 1,
    best_effort: bool = False,
    preview: bool = False,
    model: str | None = None,
    threads: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> tuple[Canvas, dict[str, Any]]:
    """As decode, for any kind of picture: a canvas, and what decode puts into `info`."""
    return _decode(
        Reader(data, best_effort or preview, max_pixels),
        False,
        region,
        scale,
        preview,
        model,
        threads,
    )


def decode_array(
    data: bytes | BinaryIO,
    *,
    region: Region | None = None,
    scale: int = 1,
    best_effort: bool = False,
    preview: bool = False,
    model: str | None = None,
    threads: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> Samples:
    """As decode, but an array: (H, W) for grey, else (H, W, 2 to 4), uint8 or uint16."""
    reader = Reader(data, best_effort or preview, max_pixels)
    canvas, _ = _decode(reader, True, region, scale, preview, model, threads)
    assert isinstance(canvas, ArrayCanvas)
    array = canvas.content
    return array[:, :, 0] if array.shape[2] == 1 else array


def _decode(
    reader: Reader,
    array: bool,
    region: Region | None,
    scale: int,
    preview: bool,
    model: str | None,
    threads: int,
) -> tuple[Canvas, dict[str, Any]]:
    header = reader.header
    wanted = _box(header, region, scale)
    crew = _crew(header, model, threads)
    tiles = Tiles(reader, crew.nets)
    lost: list[str] = []
    info: dict[str, Any] = {"quality": header.quality, "model": header.model}
    info |= reader.metadata(lost if reader.tolerant else None)
    canvas = new_canvas(-(-wanted.width // scale), -(-wanted.height // scale), header.color, array)
    decode_tiles(tiles, wanted, canvas, crew, scale)
    if reader.tolerant:
        numbers = set(tiles.damaged) - (tiles.cut if preview else set())
        boxes = [tiles.grid.box(tile) for tile in sorted(numbers)]
        info["damaged"] = [(box.x0, box.y0, box.width, box.height) for box in boxes]
        info["share"], info["lost"] = reader.share, lost
    return canvas, info


def _box(header: Header, region: Region | None, scale: int) -> Box:
    if scale not in (1, 2, 4, 8):
        raise VaecodecError(f"scale must be 1, 2, 4 or 8, not {scale}")
    if region is None:
        return Box(0, 0, header.width, header.height)
    x, y, width, height = region
    if (
        width < 1
        or height < 1
        or x < 0
        or y < 0
        or x + width > header.width
        or y + height > header.height
    ):
        raise VaecodecError(
            f"the region {x},{y},{width},{height} does not lie in the {header.width} x {header.height} picture"
        )
    # A reduced picture's samples are means of squares, which begin at multiples of the scale.
    return Box(x // scale * scale, y // scale * scale, x + width, y + height)


def _crew(header: Header, model: str | None, threads: int) -> Crew:
    crew = Crew(model or header.model, threads, header.tiles > 1, installed_only=model is None)
    if crew.nets.id != header.model:
        raise ModelError(f"the file was made with model {header.model}, not with {crew.nets.id}")
    return crew


def decode_latents(
    data: bytes | BinaryIO, *, model: str | None = None, threads: int = 0
) -> tuple[Header, list[Latents], Networks]:
    """The exact part of decoding, the same on every machine: the latents of each tile. Raises FormatError, ModelError."""
    reader = Reader(data)
    crew = _crew(reader.header, model, threads)
    tiles = Tiles(reader, crew.nets)
    jobs = ((tile, tiles.payloads(tile)) for tile in range(reader.header.tiles))
    latents = list(crew.map(lambda job: tiles.latents(*job), jobs))
    tiles.check()
    return reader.header, [one for one in latents if one is not None], crew.nets
