"""The tiles of an open file: their bytes, their latents and their alpha, and what is damaged."""

from dataclasses import dataclass, field

import numpy as np

from vaecodec._arrays import I32, U8, Integers, Samples
from vaecodec.coding.conceal import smooth_guesses
from vaecodec.coding.latents import Latents, decode_tile, min_bits, spread_steps
from vaecodec.coding.tiling import grid_of
from vaecodec.entropy.coder import Decoder, SymbolSource
from vaecodec.entropy.partial import PartialDecoder
from vaecodec.entropy.tables import Tables
from vaecodec.errors import FormatError, ImageError
from vaecodec.format.container import CHUNK_OVERHEAD, LATENTS_CRC
from vaecodec.format.reader import Reader
from vaecodec.image.alpha import unpack_alpha
from vaecodec.image.box import Box
from vaecodec.model.networks import Networks
from vaecodec.spec import SEGMENTS

MIN_SHARE = 10  # a file with less than 1/10 of the bits of z alone shows nothing


@dataclass(frozen=True)
class TileData:
    """The bytes of one tile.

    Attributes:
        tile: Number of the tile.
        payloads: Payloads of its chunks, in order, up to the first damaged one.
        problem: Why the data is not complete, or an empty string.
        truncated: Whether the end of the file cuts the tile off.
        last_is_partial: Whether the last payload is only the beginning of one.
    """

    tile: int
    payloads: tuple[bytes, ...]
    problem: str = ""
    truncated: bool = False
    last_is_partial: bool = False


@dataclass
class DamageLog:
    """What turned out to be damaged, by the number of the tile.

    Attributes:
        problems: Why a tile cannot be shown as it was meant.
        truncated: Tiles that the end of the file cuts off.
        without_color: Tiles of which no colours are left.
        without_alpha: Tiles of which no alpha is left.
    """

    problems: dict[int, str] = field(default_factory=dict)
    truncated: set[int] = field(default_factory=set)
    without_color: set[int] = field(default_factory=set)
    without_alpha: set[int] = field(default_factory=set)


class TileReader:
    """Reads the tiles of an open file.

    With a tolerant reader, damaged tiles are reconstructed as far as possible. `damage` records
    them.

    Args:
        reader: The open file.
        nets: The networks of its model.

    Raises:
        FormatError: The file is too short for the picture it declares, or has the wrong number of
            chunks.
    """

    def __init__(self, reader: Reader, nets: Networks):
        self.reader = reader
        self.nets = nets
        self.header = reader.header
        self.damage = DamageLog()
        self.grid = grid_of(self.header.width, self.header.height, self.header.tile_log2)
        self._chunks = reader.latent_chunks()
        self._alpha_chunks = reader.alpha_chunks()
        self._check_length()

    def _check_length(self) -> None:
        """Raise FormatError before memory is spent on a picture that is not there."""
        header = self.header
        size = (header.height, header.width)
        needed = min_bits(self.nets, header.quality, size) / 8
        if self.reader.tolerant:
            present = 0
            for chunk in self._chunks:
                end = min(chunk.end, self.reader.size)
                present += max(0, end - chunk.at - CHUNK_OVERHEAD)
            if present < needed / MIN_SHARE:
                raise FormatError(
                    f"damaged or cut short: {present} bytes of the picture are left, "
                    "too few to show any of it"
                )
            return
        self.reader.check_counts()
        present = sum(chunk.length for chunk in self._chunks)
        if present < needed:
            raise FormatError(
                f"damaged: {present} bytes cannot hold {header.width} x {header.height} pixels"
            )

    def forget_damage(self) -> None:
        """Start a new log, unless the reader is tolerant: other parts may be undamaged."""
        if not self.reader.tolerant:
            self.damage = DamageLog()

    def read(self, tile: int) -> TileData:
        """Read the chunks of a tile, up to the first one that is damaged or missing."""
        if self.header.by_step:
            chunks = self._chunks[tile :: self.header.tiles][:SEGMENTS]
            expected = SEGMENTS
        else:
            chunks = self._chunks[tile : tile + 1]
            expected = 1
        payloads: list[bytes] = []
        for chunk in chunks:
            try:
                payloads.append(self.reader.payload(chunk))
            except FormatError as error:
                truncated = chunk.end > self.reader.size
                # The beginning of a truncated chunk is of use. Damage in the middle is not.
                payloads.append(self.reader.truncated_payload(chunk) if truncated else b"")
                return TileData(tile, tuple(payloads), str(error), truncated, True)
        if len(payloads) < expected:
            return TileData(tile, tuple(payloads), "cut short", True)
        return TileData(tile, tuple(payloads))

    def decode(self, data: TileData) -> Latents | None:
        """Return the latents of a tile, and record damage.

        A damaged tile has latents only with a tolerant reader, as far as its data goes.
        """
        if not data.problem:
            return self._decode_complete(data)
        self.damage.problems[data.tile] = data.problem
        if data.truncated:
            self.damage.truncated.add(data.tile)
        return self._decode_partial(data) if self.reader.tolerant else None

    def _decode_complete(self, data: TileData) -> Latents | None:
        *others, last = data.payloads
        try:
            if len(last) < LATENTS_CRC.size:
                raise FormatError("damaged: its tile has no checksum")
            (stored,) = LATENTS_CRC.unpack_from(last)
            sources = [Decoder(words) for words in (*others, last[LATENTS_CRC.size :])]
            latents = decode_tile(
                self.nets,
                self.header.quality,
                self._size(data.tile),
                sources * (SEGMENTS // len(sources)),
            )
            if latents.checksum() != stored:
                raise FormatError("damaged: its latents do not match their checksum")
            return latents
        except FormatError as error:
            self.damage.problems[data.tile] = str(error)
            self.damage.without_color.add(data.tile)
            return None

    def _decode_partial(self, data: TileData) -> Latents | None:
        """Return what the beginning of a tile's bits tells, and likely values for the rest."""
        try:
            sources = self._partial_sources(data)
            if sources:
                size = self._size(data.tile)
                recorder = _GuessRecorder(sources)
                latents = decode_tile(self.nets, self.header.quality, size, [recorder] * SEGMENTS)
                smooth_guesses(latents.y, spread_steps(recorder.guessed[1:], self.nets.m, size))
                return latents
        except FormatError as error:
            self.damage.problems[data.tile] = str(error)
        self.damage.without_color.add(data.tile)
        return None

    def _partial_sources(self, data: TileData) -> list[Decoder | PartialDecoder]:
        """Return a source for each segment, or an empty list if there is no data at all."""
        payloads = list(data.payloads)
        crc_at = SEGMENTS - 1 if self.header.by_step else 0
        if len(payloads) > crc_at:
            payloads[crc_at] = payloads[crc_at][LATENTS_CRC.size :]
        if not any(payloads):
            return []
        if not self.header.by_step:
            return [PartialDecoder(payloads[0])] * SEGMENTS
        complete = len(payloads) - data.last_is_partial
        sources: list[Decoder | PartialDecoder] = [Decoder(words) for words in payloads[:complete]]
        sources += [PartialDecoder(words) for words in payloads[complete:]]
        sources += [PartialDecoder(b"") for _ in range(SEGMENTS - len(sources))]
        return sources

    def _size(self, tile: int) -> tuple[int, int]:
        box = self.grid.box(tile)
        return box.height, box.width

    def alpha(self, box: Box) -> Samples:
        """Return alpha (h, w) of a box, and record damage. Missing alpha is opaque."""
        color = self.header.color
        plane = np.full((box.height, box.width), color.peak, color.dtype)
        for tile in self.grid.meeting(box):
            tile_box = self.grid.box(tile)
            shared = tile_box.within(box)
            try:
                tile_plane = self._tile_alpha(tile, tile_box)
            except (FormatError, ImageError) as error:
                self._record_alpha_damage(tile, str(error))
                continue
            plane[shared.slices_in(box)] = tile_plane[shared.slices_in(tile_box)]
        return plane

    def _tile_alpha(self, tile: int, box: Box) -> Samples:
        if tile >= len(self._alpha_chunks):
            raise FormatError("its alpha is missing")
        payload = self.reader.payload(self._alpha_chunks[tile])
        return unpack_alpha(payload, box.width, box.height, self.header.color)

    def _record_alpha_damage(self, tile: int, problem: str) -> None:
        missing = tile >= len(self._alpha_chunks)
        if missing or self._alpha_chunks[tile].end > self.reader.size:
            self.damage.truncated.add(tile)
        self.damage.problems.setdefault(tile, problem)
        self.damage.without_alpha.add(tile)

    def check_undamaged(self) -> None:
        """Raise FormatError that lists the damaged tiles, unless the reader is tolerant."""
        problems = self.damage.problems
        if not problems or self.reader.tolerant:
            return
        if self.header.tiles == 1:
            raise FormatError(next(iter(problems.values())))
        names = ", ".join(str(tile) for tile in sorted(problems)[:20])
        more = ", ..." if len(problems) > 20 else ""
        raise FormatError(
            f"damaged: {len(problems)} of its {self.header.tiles} tiles ({names}{more}); "
            "--best-effort decodes the others"
        )


class _GuessRecorder:
    """A symbol source that asks one source per segment, and records which symbols are guesses."""

    def __init__(self, sources: list[Decoder | PartialDecoder]):
        self.sources = sources
        self.guessed: list[U8] = []  # one array (n,) per segment

    def decode(self, tables: Tables, index: Integers) -> I32:
        source: SymbolSource = self.sources[len(self.guessed)]
        symbols = source.decode(tables, index)
        if isinstance(source, PartialDecoder):
            self.guessed.append(source.guessed)
        else:
            self.guessed.append(np.zeros(index.size, np.uint8))
        return symbols
