"""Features of pictures, from the encoder's latents."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaecodec._arrays import F32, I32, Integers
from vaecodec.coding.analysis import analyse
from vaecodec.coding.latents import Latents, encode_tile
from vaecodec.coding.session import start_picture_session
from vaecodec.coding.tiling import CELL_Y, CELL_Z, Grid, cell_count, grid_of
from vaecodec.coding.vae_file import Source, VaeFile
from vaecodec.entropy.tables import Tables
from vaecodec.image.box import Box
from vaecodec.image.picture import ImageSource, Picture
from vaecodec.model.networks import Networks
from vaecodec.spec import DEFAULT_QUALITY, SEGMENTS

F16 = npt.NDArray[np.float16]
MAX_EMBED_PIXELS = 2**27  # the features of the cells take 2.5 bytes per pixel
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
# Weights of the parts of `Embedding.whole`, chosen so that changed copies of training images
# are found best.
LAYOUT_WEIGHT = 1 / 3
SPREAD_WEIGHT = 0.42
LEVEL_WEIGHT = 2
Z_WEIGHT = 1 / 32


class Discard:
    """A symbol sink that does nothing, to quantize latents without writing a file."""

    def encode(self, tables: Tables, index: Integers, symbols: I32) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Embedding:
    """Features of one picture.

    Attributes:
        whole: Features of the picture, shape (15 m + channels of z,), float32. Compare them by
            Euclidean distance. For each channel of y: its means in the nine parts of a 3 x 3
            grid, which survive scaling and heavy compression; five quantiles and the logarithm
            of its root mean square, which survive crops. For each channel of z: its mean.
        y: Features of each cell of 16 x 16 pixels, shape (m, ceil(H/16), ceil(W/16)), float16.
            y is divided by its gain, so that pictures of different quality compare.
        z: Features of each cell of 64 x 64 pixels, shape (channels, ceil(H/64), ceil(W/64)),
            float16.
        model: Id of the model. Features of different models do not compare.
        quality: 1 to 100.
    """

    whole: F32
    y: F16
    z: F16
    model: str
    quality: float


def embed_file(source: Source, *, model: str | None = None, threads: int = 0) -> Embedding:
    """Return the features of a .vae file without decoding its pixels.

    Args:
        source: Path, bytes-like object or binary file.
        model: Folder of the model that the file names, if it is not installed.
        threads: Number of threads. 0 is one per core.

    Raises:
        FormatError: The file is damaged, or it has more than 128 megapixels.
        ModelError: The model that the file names is missing.

    Example:
        >>> vaecodec.embed_file("photo.vae").whole.dtype
        dtype('float32')
    """
    with VaeFile(source, model=model, threads=threads, max_pixels=MAX_EMBED_PIXELS) as file:
        header = file.header
        grid = grid_of(header.width, header.height, header.tile_log2)
        return _assemble(grid, file.latents(), file.networks, header.quality)


def embed(
    source: Picture | ImageSource,
    quality: float = DEFAULT_QUALITY,
    *,
    model: str | None = None,
    threads: int = 0,
) -> Embedding:
    """Return the features of a picture: those of the .vae file that `encode` would make of it.

    Args:
        source: A picture of at most 128 megapixels, as for `encode`.
        quality: 1 to 100.
        model: Id or folder of a model. None is the default model.
        threads: Number of threads. 0 is one per core.

    Raises:
        ImageError: The picture cannot be read, or it is too large.
        ModelError: The model is missing or damaged.
        ParameterError: An argument is out of range.

    Example:
        >>> vaecodec.embed("photo.png").whole.ndim
        1
    """
    picture, session = start_picture_session(
        source, quality, max_pixels=MAX_EMBED_PIXELS, model=model, threads=threads
    )

    def quantize(_: int, box: Box) -> Latents:
        nets = session.nets
        y, _covered = analyse(picture, box, nets, session.quality)
        size = (box.height, box.width)
        sinks = [Discard()] * SEGMENTS
        return encode_tile(nets, session.quality, size, sinks, y, nets.hyper_analyse(y))

    latents = list(session.map_tiles(quantize))
    return _assemble(session.grid, latents, session.nets, session.quality)


def _assemble(grid: Grid, latents: list[Latents], nets: Networks, quality: float) -> Embedding:
    """Join the latents of the tiles of a picture, and summarise them."""
    gain = nets.gain_s(quality)[0]
    y_cells = (cell_count(grid.height, CELL_Y), cell_count(grid.width, CELL_Y))
    z_cells = (cell_count(grid.height, CELL_Z), cell_count(grid.width, CELL_Z))
    y = np.empty((nets.m, *y_cells), np.float16)
    z = np.empty((nets.channels_z, *z_cells), np.float16)
    for tile, tile_latents in enumerate(latents):
        box = grid.box(tile)
        _put(y, tile_latents.y * gain, box, CELL_Y)
        _put(z, tile_latents.z, box, CELL_Z)
    return Embedding(_summarise(y, z), y, z, nets.id, quality)


def _put(target: F16, values: npt.NDArray[np.generic], box: Box, cell: int) -> None:
    """Copy the values of a box into the array of the whole picture."""
    top = box.y0 // cell
    left = box.x0 // cell
    target[:, top : top + values.shape[1], left : left + values.shape[2]] = values


def _summarise(y: F16, z: F16) -> F32:
    """Return `Embedding.whole`."""
    rows = thirds(y.shape[1])
    columns = thirds(y.shape[2])
    layout = []
    spread = []
    level = []
    for channel in y:  # one by one, since large pictures have many cells
        values = channel.astype(np.float32)
        layout.append(rows @ values @ columns.T)
        spread.append(np.quantile(values, QUANTILES))
        level.append(np.log(np.sqrt(np.square(values).mean()) + 1))
    parts = [
        LAYOUT_WEIGHT * np.stack(layout).reshape(-1),
        SPREAD_WEIGHT * np.stack(spread).reshape(-1),
        LEVEL_WEIGHT * np.array(level),
        Z_WEIGHT * z.astype(np.float32).mean((1, 2)),
    ]
    whole: F32 = np.concatenate(parts).astype(np.float32)
    return whole


def thirds(length: int) -> F32:
    """Return the matrix (3, length) of the means over the first, second and last third.

    A cell on a border counts in parts.
    """
    edges = np.linspace(0, length, 4)[:, None]
    cell = np.arange(length)
    ends = np.minimum(edges[1:], cell + 1)
    starts = np.maximum(edges[:-1], cell)
    inside = np.clip(ends - starts, 0, None)
    shares: F32 = (inside / inside.sum(1, keepdims=True)).astype(np.float32)
    return shares
