"""An open .vae file: its header, its metadata, and all or parts of its picture."""

import mmap
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from PIL import Image

from vaecodec._arrays import Samples
from vaecodec.coding import decoder
from vaecodec.coding.latents import Latents
from vaecodec.coding.tile_pool import TilePool
from vaecodec.coding.tile_reader import TileReader
from vaecodec.errors import ImageError, ModelError, ParameterError
from vaecodec.format.container import MAX_PIXELS, Header
from vaecodec.format.reader import Reader, seekable
from vaecodec.image.box import Box
from vaecodec.image.canvas import ArrayCanvas, ImageCanvas
from vaecodec.model.networks import Networks
from vaecodec.spec import check_threads

Region = tuple[int, int, int, int]  # x, y, width, height in pixels of the whole picture
Source = str | os.PathLike[str] | bytes | bytearray | memoryview | mmap.mmap | BinaryIO
BYTES_LIKE = (bytes, bytearray, memoryview, mmap.mmap)
SCALES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Damage:
    """What is damaged or missing in a file that was read with `tolerant=True`.

    Attributes:
        tiles: The damaged or missing tiles, as (x, y, width, height) in pixels.
        truncated: Those of them that the end of the file cuts off.
        lost: A sentence for each other part that is lost, such as metadata.
        share: The part of the file that is present, 0 to 1.
    """

    tiles: tuple[Region, ...]
    truncated: tuple[Region, ...]
    lost: tuple[str, ...]
    share: float


class VaeFile:
    """An open .vae file. Make one with `vaecodec.open`.

    Attributes:
        header: Size, colour, quality and model of the picture.
    """

    header: Header

    def __init__(
        self,
        source: Source,
        *,
        model: str | None = None,
        threads: int = 0,
        tolerant: bool = False,
        max_pixels: int = MAX_PIXELS,
    ):
        check_threads(threads)
        self._model = model
        self._threads = threads
        self._lost: list[str] = []
        self._owned_file: BinaryIO | None = None
        if isinstance(source, (str, os.PathLike)):
            source = self._owned_file = Path(source).open("rb")  # noqa: SIM115
        try:
            if not isinstance(source, BYTES_LIKE):
                source = seekable(source)
            self._reader = Reader(source, tolerant, max_pixels)
        except BaseException:
            self.close()
            raise
        self.header = self._reader.header

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file if it was opened by path. A file object that was passed in stays open."""
        if self._owned_file is not None:
            self._owned_file.close()

    @cached_property
    def metadata(self) -> dict[str, bytes]:
        r"""The file's `icc_profile`, `exif` and `xmp`, as far as it has them.

        `exif` begins with `Exif\0\0`, as Pillow expects it.

        Raises:
            FormatError: They are damaged, and the file is not read tolerantly.
        """
        return self._reader.metadata(self._lost if self._reader.tolerant else None)

    @cached_property
    def _pool(self) -> TilePool:
        pool = TilePool(
            self._model or self.header.model,
            self._threads,
            self.header.tiles > 1,
            installed_only=self._model is None,
        )
        if pool.nets.id != self.header.model:
            raise ModelError(
                f"the file was made with model {self.header.model}, not with {pool.nets.id}"
            )
        return pool

    @property
    def networks(self) -> Networks:
        """The networks of the model that the file names. Raises ModelError if it is missing."""
        return self._pool.nets

    @cached_property
    def _tiles(self) -> TileReader:
        return TileReader(self._reader, self.networks)

    def _checked_tiles(self) -> TileReader:
        """Return the tiles, after what can be checked before memory is spent on a canvas."""
        _ = self.metadata  # raises if it is damaged
        return self._tiles  # refuses files that are too short for their size

    def read(self, region: Region | None = None, scale: int = 1) -> Image.Image:
        """Decode the picture, or a region of it. Only the tiles that are needed are read.

        Args:
            region: x, y, width and height in pixels of the whole picture.
            scale: 1, or 2, 4 or 8 for a quick preview at 1/2, 1/4 or 1/8 of the resolution.

        Returns:
            A PIL image of mode L, RGB, LA, RGBA or I;16. Its `info` has `quality` and `model`,
            and `icc_profile`, `exif` and `xmp` where the file has them. If the file is read
            tolerantly, it also has `damaged`, `truncated`, `lost` and `share`: the fields of
            `Damage`.

        Raises:
            FormatError: The file is damaged.
            ImageError: Pillow has no mode for the picture. Use `read_array`.
            ModelError: The model that the file names is missing.
            ParameterError: The region or the scale is out of range.
        """
        color = self.header.color
        if color.pillow_mode is None:
            raise ImageError("Pillow has no mode for 16-bit colours; use decode_array")
        area = self._area(region, scale)
        tiles = self._checked_tiles()
        canvas = ImageCanvas(*_reduced_size(area, scale), color)
        decoder.decode_area(tiles, self._pool, area, canvas, scale)
        canvas.content.info.update(self.info())
        return canvas.content

    def info(self) -> dict[str, object]:
        """Return what `read` puts into the `info` of an image."""
        info: dict[str, object] = {
            "quality": self.header.quality,
            "model": self.header.model,
            **self.metadata,
        }
        if self._reader.tolerant:
            damage = self.damage
            info |= {
                "damaged": list(damage.tiles),
                "truncated": list(damage.truncated),
                "lost": list(damage.lost),
                "share": damage.share,
            }
        return info

    def read_array(self, region: Region | None = None, scale: int = 1) -> Samples:
        """Decode the picture, or a region of it, into an array.

        Args:
            region: As for `read`.
            scale: As for `read`.

        Returns:
            An array of shape (H, W) for grey, else (H, W, 2 to 4), uint8 or uint16.

        Raises:
            FormatError: The file is damaged.
            ModelError: The model that the file names is missing.
            ParameterError: The region or the scale is out of range.
        """
        area = self._area(region, scale)
        tiles = self._checked_tiles()
        canvas = ArrayCanvas(*_reduced_size(area, scale), self.header.color)
        decoder.decode_area(tiles, self._pool, area, canvas, scale)
        samples = canvas.content
        return samples[:, :, 0] if samples.shape[2] == 1 else samples

    def latents(self) -> list[Latents]:
        """Decode the latents of all tiles, in raster order. They are the same on every machine.

        Raises:
            FormatError: The file is damaged.
            ModelError: The model that the file names is missing.
        """
        return decoder.decode_latents(self._tiles, self._pool)

    @property
    def damage(self) -> Damage:
        """What was found damaged so far, by `read`, `read_array` and `metadata`."""
        _ = self.metadata  # finds out whether it is damaged
        log = self._tiles.damage
        return Damage(
            self._regions(set(log.problems)),
            self._regions(log.truncated),
            tuple(self._lost),
            self._reader.share,
        )

    def _regions(self, tiles: set[int]) -> tuple[Region, ...]:
        boxes = [self._tiles.grid.box(tile) for tile in sorted(tiles)]
        return tuple((box.x0, box.y0, box.width, box.height) for box in boxes)

    def _area(self, region: Region | None, scale: int) -> Box:
        """Return the pixels to decode. Raise ParameterError if they are not in the picture."""
        if scale not in SCALES:
            raise ParameterError(f"scale must be 1, 2, 4 or 8, not {scale}")
        header = self.header
        if region is None:
            return Box(0, 0, header.width, header.height)
        x, y, width, height = region
        is_inside = (
            width >= 1
            and height >= 1
            and x >= 0
            and y >= 0
            and x + width <= header.width
            and y + height <= header.height
        )
        if not is_inside:
            raise ParameterError(
                f"the region {x},{y},{width},{height} does not lie in the "
                f"{header.width} x {header.height} picture"
            )
        # Samples of a preview are means of squares that begin at multiples of the scale.
        return Box(x // scale * scale, y // scale * scale, x + width, y + height)


def _reduced_size(area: Box, scale: int) -> tuple[int, int]:
    return -(-area.width // scale), -(-area.height // scale)
