"""Chunks of a file -> pictures: each tile's bits to latents, then g_s block by block."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vaecodec.coding.conceal import fill
from vaecodec.coding.latents import Latents, least_bits, walk
from vaecodec.coding.tile_pool import Crew
from vaecodec.coding.tiling import CELL_Y, CELL_Z, HALO, Grid, cells, grid_of, padded
from vaecodec.entropy.coder import CutDecoder, Decoder
from vaecodec.errors import FormatError, ImageError
from vaecodec.format.container import CHUNK_OVERHEAD, LATENTS_CRC, Chunk
from vaecodec.format.reader import Reader
from vaecodec.image.alpha import unpack_alpha
from vaecodec.image.box import Box
from vaecodec.image.canvas import Canvas, reduce_plane, to_samples
from vaecodec.image.picture import Samples
from vaecodec.model.networks import Networks
from vaecodec.spec import SEGMENTS

WIDE = 26  # tables from this index on have a scale above 2

Integers = npt.NDArray[np.integer[Any]]
Payloads = list[
    tuple[bytes, bool]
]  # of one tile: the bytes of its chunks, and whether they are whole


@dataclass
class Tiles:
    """The tiles of an open file; where its reader is lenient, the best of what is damaged or missing.

    damaged: why a tile cannot be shown as it was meant, by its number; cut: those of them that the end of the file cuts;
    empty: those without colours; bare: those without alpha.
    """

    reader: Reader
    nets: Networks
    damaged: dict[int, str] = field(default_factory=dict)
    cut: set[int] = field(default_factory=set)
    empty: set[int] = field(default_factory=set)
    bare: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        header = self.reader.header
        self.grid = grid_of(header.width, header.height, header.tile_log2)
        self.chunks, self.alpha_chunks = self.reader.latent_chunks(), self.reader.alpha_chunks()
        least = least_bits(self.nets, header.quality, (header.height, header.width)) / 8
        if self.reader.tolerant:
            there = sum(
                max(0, min(chunk.end, self.reader.size) - chunk.at - CHUNK_OVERHEAD)
                for chunk in self.chunks
            )
            if there < least / 10:
                raise FormatError(
                    f"damaged or cut short: {there} bytes of the picture are there, too few to show any of it"
                )
            return
        self.reader.check_counts()
        there = sum(chunk.length for chunk in self.chunks)
        # Before memory is spent on a picture that is not there.
        if there < least:
            raise FormatError(
                f"damaged: {there} bytes cannot hold {header.width} x {header.height} pixels"
            )

    def payloads(self, tile: int) -> Payloads:
        """What there is of a tile's chunks. Notes damage."""
        step = self.reader.header.tiles
        chunks: list[Chunk] = (
            self.chunks[tile::step][:SEGMENTS]
            if self.reader.header.by_step
            else self.chunks[tile : tile + 1]
        )
        found: Payloads = []
        for chunk in chunks:
            try:
                found.append((self.reader.payload(chunk), True))
            except FormatError as error:
                self.damaged[tile] = str(error)
                beyond = chunk.end > self.reader.size
                if beyond:
                    self.cut.add(tile)
                # The end of a file that was cut is still of use; damage in the middle is not.
                found.append((self.reader.truncated_payload(chunk) if beyond else b"", False))
                break
        else:
            if len(found) < (SEGMENTS if self.reader.header.by_step else 1):
                self.damaged[tile] = "cut short"
                self.cut.add(tile)
        return found

    def latents(self, tile: int, payloads: Payloads) -> Latents | None:
        """A tile's exact latents; where it is damaged, the likeliest ones if lenient, else None."""
        if tile in self.damaged:
            return self._likeliest(tile, payloads) if self.reader.tolerant else None
        try:
            parts = [payload for payload, _ in payloads]
            if len(parts[-1]) < LATENTS_CRC.size:
                raise FormatError("damaged: its tile has no checksum")
            stored, parts[-1] = LATENTS_CRC.unpack_from(parts[-1])[0], parts[-1][LATENTS_CRC.size :]
            coders = [Decoder(part) for part in parts]
            latents = walk(
                self.nets,
                self.reader.header.quality,
                self._size(tile),
                coders * (SEGMENTS // len(coders)),
            )
            if latents.checksum() != stored:
                raise FormatError("damaged: its latents do not match their checksum")
            return latents
        except FormatError as error:
            self.damaged[tile] = str(error)
            self.empty.add(tile)
            return None

    def _likeliest(self, tile: int, payloads: Payloads) -> Latents | None:
        """What the beginning of a tile's bits tells; the rest as the entropy model expects it."""
        coders: list[Decoder]
        if self.reader.header.by_step:
            parts = [
                payload[LATENTS_CRC.size if i == SEGMENTS - 1 else 0 :]
                for i, (payload, _) in enumerate(payloads)
            ]
            coders = [
                (Decoder if whole else CutDecoder)(part)
                for part, (_, whole) in zip(parts, payloads, strict=True)
            ]
            coders += [CutDecoder(b"") for _ in range(SEGMENTS - len(coders))]
        else:
            parts = [payload[LATENTS_CRC.size :] for payload, _ in payloads]
            coders = [CutDecoder(parts[0])] * SEGMENTS if parts else []
        try:
            if any(parts):
                height, width = self._size(tile)
                doubt = np.zeros(
                    (self.nets.m, 4 * cells(height, CELL_Z), 4 * cells(width, CELL_Z)), np.uint8
                )
                latents = walk(
                    self.nets, self.reader.header.quality, (height, width), coders, notes=doubt
                )
                smooth(latents.y, doubt[:, : latents.y.shape[1], : latents.y.shape[2]])
                return latents
        except FormatError as error:
            self.damaged[tile] = str(error)
        self.empty.add(tile)
        return None

    def _size(self, tile: int) -> tuple[int, int]:
        box = self.grid.box(tile)
        return box.height, box.width

    def alpha(self, box: Box) -> Samples:
        """(h, w) of a box, from the tiles that it meets."""
        header = self.reader.header
        plane = np.full(
            (box.height, box.width),
            header.color.peak,
            header.color.dtype,
        )
        for tile in self.grid.meeting(box):
            area = self.grid.box(tile)
            both = area.within(box)
            try:
                if tile >= len(self.alpha_chunks):
                    raise FormatError("its alpha is missing")
                whole = unpack_alpha(
                    self.reader.payload(self.alpha_chunks[tile]),
                    area.width,
                    area.height,
                    header.color,
                )
                plane[both.y0 - box.y0 : both.y1 - box.y0, both.x0 - box.x0 : both.x1 - box.x0] = (
                    whole[
                        both.y0 - area.y0 : both.y1 - area.y0, both.x0 - area.x0 : both.x1 - area.x0
                    ]
                )
            except (FormatError, ImageError) as error:
                if tile >= len(self.alpha_chunks) or self.alpha_chunks[tile].end > self.reader.size:
                    self.cut.add(tile)
                self.damaged.setdefault(tile, str(error))
                self.bare.add(tile)
        return plane

    def check(self) -> None:
        """Raises FormatError that lists the damaged tiles, if there are any and they matter."""
        if not self.damaged or self.reader.tolerant:
            return
        if self.reader.header.tiles == 1:
            raise FormatError(next(iter(self.damaged.values())))
        names = ", ".join(str(tile) for tile in sorted(self.damaged)[:20]) + (
            ", ..." if len(self.damaged) > 20 else ""
        )
        raise FormatError(
            f"damaged: {len(self.damaged)} of its {self.reader.header.tiles} tiles ({names}); "
            "--best-effort decodes the others"
        )


def smooth(y: npt.NDArray[np.int32], doubt: npt.NDArray[np.uint8]) -> None:
    """Latents that had to be guessed although they may lie far from their mean become the mean of those known around them."""
    for channel in np.flatnonzero((doubt >= WIDE).any((1, 2))):
        known = doubt[channel] == 0
        total, weight = np.zeros(known.shape), np.zeros(known.shape)
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                near = 1 / (1 + dy * dy + dx * dx)
                total += near * _shifted(y[channel] * known, dy, dx)
                weight += near * _shifted(known, dy, dx)
        here = (doubt[channel] >= WIDE) & (weight > 0)
        y[channel][here] = np.rint(total[here] / weight[here])


def _shifted(a: npt.NDArray[Any], dy: int, dx: int) -> npt.NDArray[Any]:
    """a moved by up to two rows and columns, zeros coming in."""
    h, w = a.shape
    return np.pad(a, 2)[2 + dy : 2 + dy + h, 2 + dx : 2 + dx + w]


def decode_tiles(tiles: Tiles, wanted: Box, canvas: Canvas, crew: Crew, scale: int = 1) -> None:
    """Decode the box `wanted`, reduced by `scale` (1, 2, 4, 8), into a canvas, one row of tiles after the other.

    Raises FormatError that lists the damaged tiles, unless the file is taken leniently; those are then filled in.
    """
    grid, nets, header = tiles.grid, tiles.nets, tiles.reader.header
    halo = HALO * CELL_Y if scale == 1 else 0
    reach = wanted.grown(halo).within(grid.picture)
    pending = sorted({tile // grid.columns for tile in grid.meeting(reach)})
    known: dict[int, Integers | None] = {}

    def fetch(row: int) -> None:
        """Latents of the wanted tiles of a row; those of three rows before are forgotten."""
        numbers = [tile for tile in grid.meeting(reach) if tile // grid.columns == row]
        jobs = ((tile, tiles.payloads(tile)) for tile in numbers)
        for tile, latents in zip(
            numbers, crew.map(lambda job: tiles.latents(*job), jobs), strict=True
        ):
            known[tile] = None if latents is None else compact(latents.y)
        for tile in [tile for tile in known if tile // grid.columns < row - 2]:
            del known[tile]

    def show(box: Box) -> Samples:
        return synthesise(box, grid, known, nets, header.quality, scale)

    for blocks in grid.blocks(wanted):
        last = grid.meeting(blocks[0].grown(halo).within(grid.picture))[-1] // grid.columns
        while pending and pending[0] <= last:
            fetch(pending.pop(0))
        if tiles.damaged and not tiles.reader.tolerant:
            continue  # the rest is only looked at to name all that is damaged
        for box, samples in zip(blocks, crew.map(show, blocks), strict=True):
            samples = to_samples(samples, header.color)
            if header.color.has_alpha:
                plane = tiles.alpha(box)
                plane = reduce_plane(plane, scale) if scale > 1 else plane
                samples = np.concatenate([samples, plane[:, :, None]], axis=2)
            canvas.put((box.x0 - wanted.x0) // scale, (box.y0 - wanted.y0) // scale, samples)
    tiles.check()

    def reduced_boxes(numbers: set[int]) -> list[Box]:
        areas = [
            grid.box(tile).within(wanted)
            for tile in sorted(numbers)
            if grid.box(tile).meets(wanted)
        ]
        return [
            Box(
                (area.x0 - wanted.x0) // scale,
                (area.y0 - wanted.y0) // scale,
                -(-(area.x1 - wanted.x0) // scale),
                -(-(area.y1 - wanted.y0) // scale),
            )
            for area in areas
        ]

    if not fill(
        canvas, reduced_boxes(tiles.empty), slice(0, -1 if header.color.has_alpha else None)
    ):
        raise FormatError("damaged: nothing of the picture is left")
    fill(
        canvas, reduced_boxes(tiles.bare), slice(-1, None)
    )  # where no alpha is left, the picture is opaque


def synthesise(
    box: Box,
    grid: Grid,
    known: dict[int, Integers | None],
    nets: Networks,
    quality: float,
    scale: int = 1,
) -> Samples:
    """Samples (h, w, 3) of 0 to 255 of a box, from the latents around it; missing ones are 0.

    scale above 1: the quick preview, so many times smaller.
    """
    seen = padded(box, CELL_Y)
    if scale == 1:
        seen = seen.grown(HALO * CELL_Y)
    seen = seen.within(padded(grid.picture, CELL_Y))
    y = np.zeros((nets.m, seen.height // CELL_Y, seen.width // CELL_Y), np.float32)
    for tile in grid.meeting(seen.within(grid.picture)):
        latent = known.get(tile)
        if latent is not None:
            area = padded(grid.box(tile), CELL_Y)
            both = area.within(seen)
            y[:, _cells(both.y0, both.y1, seen.y0), _cells(both.x0, both.x1, seen.x0)] = latent[
                :, _cells(both.y0, both.y1, area.y0), _cells(both.x0, both.x1, area.x0)
            ]
    picture = nets.synthesise(y, quality) if scale == 1 else nets.preview(y, quality, scale)
    return picture[
        (box.y0 - seen.y0) // scale : -(-(box.y1 - seen.y0) // scale),
        (box.x0 - seen.x0) // scale : -(-(box.x1 - seen.x0) // scale),
    ]


def compact(y: Integers) -> Integers:
    """The same numbers in half the memory, where they are as small as they nearly always are."""
    return y.astype(np.int16) if np.abs(y).max() < 2**15 else y


def _cells(start: int, end: int, origin: int) -> slice:
    return slice((start - origin) // CELL_Y, (end - origin) // CELL_Y)
