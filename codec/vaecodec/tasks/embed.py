"""Features of pictures: what the encoder's latents say, from image files or straight from .vae files."""

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from vaecodec.api import decode_latents
from vaecodec.coding.encoder import analyse
from vaecodec.coding.latents import Latents, walk
from vaecodec.coding.tile_pool import Crew
from vaecodec.coding.tiling import CELL_Y, CELL_Z, Grid, cells, grid_of
from vaecodec.entropy.coder import Coder, Ints, Tables
from vaecodec.errors import FormatError
from vaecodec.image.picture import Picture, Samples, as_picture, check_size
from vaecodec.model.networks import Floats, Networks
from vaecodec.spec import STEPS, Y_FRACTION, check_quality

QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
LARGEST = 2**27  # pixels; the features of each cell take two bytes and a half a pixel


class Passing(Coder):
    """Passes symbols on, so that latents are quantized as in a file without one being written."""

    def code(
        self, tables: Tables, index: npt.NDArray[np.integer[Any]], symbols: Ints | None = None
    ) -> Ints:
        assert symbols is not None
        return symbols


@dataclass(frozen=True)
class Embedding:
    """Features of one picture.

    whole: (15 m + channels of z,) float32, to be compared by Euclidean distance: of each channel of y its means in the nine
    parts of a 3 x 3 grid, which survive other sizes and heavy compression; five quantiles, and the logarithm of its root
    mean square, which survive crops; of each channel of z its mean.
    y: (m, ceil(H/16), ceil(W/16)) and z: (channels, ceil(H/64), ceil(W/64)), float16: those of each cell, y divided by its
    gain, so that pictures of different quality compare.
    """

    whole: Floats
    y: npt.NDArray[np.float16]
    z: npt.NDArray[np.float16]
    model: str
    quality: float


def embed_file(data: bytes | BinaryIO, *, model: str | None = None, threads: int = 0) -> Embedding:
    """Features of a .vae file, without decoding its pixels. Raises FormatError, ModelError."""
    header, latents, nets = decode_latents(data, model=model, threads=threads)
    if header.width * header.height > LARGEST:
        raise FormatError(
            f"{header.width} x {header.height} pixels are more than the {LARGEST} allowed"
        )
    return _assemble(
        grid_of(header.width, header.height, header.tile_log2), latents, nets, header.quality
    )


def embed(
    image: Picture | Image.Image | Samples,
    quality: float = 50,
    *,
    model: str | None = None,
    threads: int = 0,
) -> Embedding:
    """Features of a picture: those of the .vae file that `encode` would make of it. Raises ImageError, VaecodecError."""
    picture = as_picture(image)
    check_size(picture.width, picture.height, LARGEST)
    quality = check_quality(quality)
    grid = grid_of(picture.width, picture.height)
    crew = Crew(model, threads, len(grid.tiles) > 1)

    def one(number: int) -> Latents:
        box = grid.box(number)
        y, _ = analyse(picture, box, crew.nets, quality)
        return walk(
            crew.nets,
            quality,
            (box.height, box.width),
            [Passing()] * (STEPS + 1),
            (y, crew.nets.hyper_analyse(y)),
        )

    return _assemble(grid, list(crew.map(one, grid.tiles)), crew.nets, quality)


def _assemble(grid: Grid, latents: list[Latents], nets: Networks, quality: float) -> Embedding:
    """The tiles' latents as those of one picture, and what they say of the whole."""
    gain = np.exp(-nets.row("log_gain_y", quality)[0]) / np.float32(Y_FRACTION)
    y = np.empty((nets.m, cells(grid.height, CELL_Y), cells(grid.width, CELL_Y)), np.float16)
    z = np.empty(
        (nets.channels_z, cells(grid.height, CELL_Z), cells(grid.width, CELL_Z)), np.float16
    )
    for number, latent in enumerate(latents):
        box = grid.box(number)
        for target, values, cell in ((y, latent.y * gain, CELL_Y), (z, latent.z, CELL_Z)):
            top, left = box.y0 // cell, box.x0 // cell
            target[:, top : top + values.shape[1], left : left + values.shape[2]] = values
    return Embedding(_whole(y, z), y, z, nets.id, quality)


def _whole(y: npt.NDArray[np.float16], z: npt.NDArray[np.float16]) -> Floats:
    """The parts of `Embedding.whole`, weighted so that changed copies of training images were found best."""
    layout, spread, level = [], [], []
    down, across = (thirds(length) for length in y.shape[1:])
    for channel in y:  # one by one, since large pictures have many cells
        values = channel.astype(np.float32)
        layout.append(down @ values @ across.T)
        spread.append(np.quantile(values, QUANTILES))
        level.append(np.log(np.sqrt(np.square(values).mean()) + 1))
    parts = [
        np.stack(layout).reshape(-1) / 3,
        0.42 * np.stack(spread).reshape(-1),
        2 * np.array(level),
        z.astype(np.float32).mean((1, 2)) / 32,
    ]
    whole: Floats = np.concatenate(parts).astype(np.float32)
    return whole


def thirds(length: int) -> Floats:
    """(3, length): matrix of the means over the first, second and last third, cells on a border in parts."""
    edges = np.linspace(0, length, 4)[:, None]
    cell = np.arange(length)
    inside = np.clip(np.minimum(edges[1:], cell + 1) - np.maximum(edges[:-1], cell), 0, None)
    shares: Floats = (inside / inside.sum(1, keepdims=True)).astype(np.float32)
    return shares
