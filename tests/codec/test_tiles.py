"""Large pictures: tiles, regions, reduced sizes, previews, and what damage to one tile does to the others."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import vaecodec
from conftest import kodak_crop, psnr
from vaecodec.coding.tiling import Grid
from vaecodec.errors import FormatError, ImageError, VaecodecError
from vaecodec.format.color import color_named
from vaecodec.format.reader import Reader
from vaecodec.image.box import Box
from vaecodec.model import registry

SIZE = (300, 217)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 128 x 128 pixels, so that small pictures have several."""
    monkeypatch.setattr("vaecodec.coding.session.tile_log2", lambda width, height: 7)


@pytest.fixture
def picture() -> Image.Image:
    return kodak_crop(20, *SIZE)


@pytest.fixture
def tiled(small_tiles: None, picture: Image.Image) -> bytes:
    return vaecodec.encode(picture, 60)


@pytest.fixture
def stepped(small_tiles: None, picture: Image.Image) -> bytes:
    return vaecodec.encode(picture, 60, progressive=True)


def difference(a: object, b: object) -> int:
    return int(np.abs(np.asarray(a, int) - np.asarray(b, int)).max())


def flipped(data: bytes, at: int) -> bytes:
    damaged = bytearray(data)
    damaged[at] ^= 0x10
    return bytes(damaged)


@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([0, 128, 256]), st.data())
def test_blocks_cover_every_pixel_once(
    width: int, height: int, side: int, data: st.DataObject
) -> None:
    grid = Grid(width, height, side)
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    wanted = Box(x, y, data.draw(st.integers(x + 1, width)), data.draw(st.integers(y + 1, height)))
    seen = np.zeros((height, width), int)
    for row in grid.blocks(wanted):
        for box in row:
            seen[box.y0 : box.y1, box.x0 : box.x1] += 1
            tiles = [grid.box(tile) for tile in grid.meeting(box)]
            assert all(tile.meets(box) for tile in tiles)
            assert (
                sum((t := tile.within(box)).width * t.height for tile in tiles)
                == box.width * box.height
            )
    assert (
        seen[wanted.y0 : wanted.y1, wanted.x0 : wanted.x1] == 1
    ).all() and seen.sum() == wanted.width * wanted.height


@pytest.mark.parametrize("quality", [5, 95])
def test_tiles_change_nothing_but_a_few_bits(
    monkeypatch: pytest.MonkeyPatch, picture: Image.Image, quality: int
) -> None:
    """g_a and g_s see beyond the tiles, so that pictures hardly differ from those of a file with one tile, edges included."""
    whole = vaecodec.encode(picture, quality)
    monkeypatch.setattr("vaecodec.coding.session.tile_log2", lambda width, height: 7)
    tiled = vaecodec.encode(picture, quality)
    assert Reader(whole).header.tiles == 1 and Reader(tiled).header.tiles == 6
    assert len(whole) < len(tiled) < 1.1 * len(whole) + 6 * 30
    assert abs(psnr(picture, vaecodec.decode(whole)) - psnr(picture, vaecodec.decode(tiled))) < 0.05


def test_g_a_and_g_s_of_tiles_are_those_of_the_whole(tiled: bytes, picture: Image.Image) -> None:
    """The same latents synthesised tile by tile and at once; y analysed tile by tile and at once."""
    from vaecodec.coding.analysis import analyse
    from vaecodec.image.picture import Picture

    with vaecodec.open(tiled) as file:
        header, latents, nets = file.header, file.latents(), file.networks
    grid = Grid(*SIZE, 128)
    y = np.zeros((nets.m, 14, 19), np.float32)
    for tile, part in enumerate(latents):
        box = grid.box(tile)
        y[:, box.y0 // 16 : -(-box.y1 // 16), box.x0 // 16 : -(-box.x1 // 16)] = part.y
    at_once = np.clip(np.rint(nets.synthesise(y, header.quality)), 0, 255)[: SIZE[1], : SIZE[0]]
    assert difference(at_once, vaecodec.decode(tiled)) <= 1
    source = Picture(picture)
    whole, _ = analyse(source, grid.picture, nets, 60)
    part, area = analyse(source, grid.box(4), nets, 60)
    cut = whole[:, area.y0 // 16 : area.y1 // 16, area.x0 // 16 : area.x1 // 16]
    assert np.abs(part - cut).max() < 1e-3 * np.abs(cut).max()


def test_a_smooth_gradient_has_no_seams(small_tiles: None) -> None:
    ramp = np.add.outer(np.arange(384), np.arange(384)) * 255 / 766
    decoded = np.asarray(vaecodec.decode(vaecodec.encode(np.rint(ramp).astype(np.uint8), 70)), int)
    assert difference(decoded, np.rint(ramp)) <= 6
    for edge in (128, 256):
        for axis in (0, 1):
            jump = np.abs(np.diff(decoded, axis=axis).take(edge - 1, axis=axis)).mean()
            elsewhere = np.abs(np.diff(decoded, axis=axis)).mean()
            assert jump < elsewhere + 0.5


def test_threads_and_order_change_no_latent(tiled: bytes, stepped: bytes) -> None:
    expected = [part.y for part in vaecodec.open(tiled, threads=1).latents()]
    for data in (tiled, stepped):
        for threads in (1, 2, 5):
            for got, want in zip(
                vaecodec.open(data, threads=threads).latents(), expected, strict=True
            ):
                assert np.array_equal(got.y, want)
    assert difference(vaecodec.decode(tiled, threads=1), vaecodec.decode(stepped, threads=3)) <= 1


def test_a_hundred_decodings_are_one(small_tiles: None) -> None:
    from vaecodec.coding.tile_reader import TileReader

    data = vaecodec.encode(kodak_crop(14, 140, 130), 50, progressive=True)
    expected = [(part.y.tobytes(), part.z.tobytes()) for part in vaecodec.open(data).latents()]
    rng = np.random.default_rng(0)
    for i in range(100):
        tiles = TileReader(Reader(data), registry.load_model(vaecodec.probe(data).model, 1 + i % 2))
        for tile in rng.permutation(4):
            part = tiles.decode(tiles.read(int(tile)))
            assert part is not None and (part.y.tobytes(), part.z.tobytes()) == expected[tile]


@pytest.mark.parametrize(
    "region",
    [
        (0, 0, 300, 217),
        (0, 0, 1, 1),
        (299, 216, 1, 1),
        (100, 90, 60, 70),
        (127, 127, 2, 2),
        (5, 130, 290, 3),
    ],
)
def test_regions(tiled: bytes, region: tuple[int, int, int, int]) -> None:
    x, y, w, h = region
    part = np.asarray(vaecodec.decode(tiled, region=region))
    assert part.shape == (h, w, 3)
    assert difference(part, np.asarray(vaecodec.decode(tiled))[y : y + h, x : x + w]) <= 1


def test_a_region_reads_only_its_tiles(small_tiles: None) -> None:
    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.taken += len(data)
            return data

    data = vaecodec.encode(kodak_crop(5, 768, 512), 90)
    few, all_of_it = Counting(data), Counting(data)
    vaecodec.decode(few, region=(20, 20, 20, 20))
    vaecodec.decode(all_of_it)
    assert few.taken < all_of_it.taken / 10


@pytest.mark.parametrize("region", [(-1, 0, 5, 5), (0, 0, 0, 5), (290, 0, 20, 5), (0, 0, 5, 218)])
def test_regions_outside(tiled: bytes, region: tuple[int, int, int, int]) -> None:
    with pytest.raises(VaecodecError, match="does not lie in"):
        vaecodec.decode(tiled, region=region)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_reduced_sizes(tiled: bytes, picture: Image.Image, scale: int) -> None:
    small = vaecodec.decode(tiled, scale=scale)
    assert small.size == (-(-SIZE[0] // scale), -(-SIZE[1] // scale))
    whole = (SIZE[0] // scale, SIZE[1] // scale)
    expected = picture.crop((0, 0, whole[0] * scale, whole[1] * scale)).resize(
        whole, Image.Resampling.BOX
    )
    assert psnr(expected, small.crop((0, 0, *whole))) > 24
    part = vaecodec.decode(tiled, scale=scale, region=(64, 32, 100, 80))
    assert (
        difference(part, small.crop((64 // scale, 32 // scale, -(-164 // scale), -(-112 // scale))))
        <= 1
    )
    with pytest.raises(VaecodecError, match="scale"):
        vaecodec.decode(tiled, scale=3)


def test_every_cut_gives_a_preview(tiled: bytes, stepped: bytes, picture: Image.Image) -> None:
    plain = vaecodec.encode(picture, 60)
    for data in (tiled, stepped, plain):
        first = Reader(data).latent_chunks()[0]
        for end in [first.at + 30, *np.linspace(first.at + 40, len(data) - 1, 7).astype(int)]:
            with pytest.raises(FormatError):
                vaecodec.decode(data[:end])
            shown = vaecodec.decode(data[:end], tolerant=True)
            assert shown.size == SIZE and shown.info["share"] == pytest.approx(
                end / len(data), abs=0.2
            )
        assert difference(vaecodec.decode(data, tolerant=True), vaecodec.decode(data)) == 0
        for end in (0, 10, 26, first.at):
            with pytest.raises(FormatError):
                vaecodec.decode(data[:end], tolerant=True)


def test_more_bytes_show_more(small_tiles: None) -> None:
    picture = kodak_crop(23, 384, 256)
    data = vaecodec.encode(picture, 60, progressive=True)
    parts = [data[: round(len(data) * part)] for part in (0.1, 0.4, 0.7, 0.9, 1)]
    quality = [psnr(picture, vaecodec.decode(part, tolerant=True)) for part in parts]
    assert quality == sorted(quality) and quality[1] > 18 and quality[-1] > 33


def test_damaged_tiles_are_named_and_filled(
    tiled: bytes, stepped: bytes, picture: Image.Image
) -> None:
    whole = np.asarray(vaecodec.decode(tiled))
    chunks = Reader(tiled).latent_chunks()
    damaged = flipped(
        flipped(tiled, chunks[1].at + 20), chunks[4].at + 1
    )  # in the payload; in the length
    with pytest.raises(FormatError, match=r"2 of its 6 tiles \(1, 4\)"):
        vaecodec.decode(damaged)
    saved = vaecodec.decode(damaged, tolerant=True)
    assert saved.info["damaged"] == [(128, 0, 128, 128), (128, 128, 128, 89)]
    assert (
        difference(np.asarray(saved)[:, :40], whole[:, :40]) == 0
    )  # beyond the reach of what was lost
    assert (
        psnr(Image.fromarray(np.asarray(saved)[:128, 128:256]), picture.crop((128, 0, 256, 128)))
        > 10
    )
    damaged = flipped(
        stepped, Reader(stepped).latent_chunks()[6 * 2 + 3].at + 7
    )  # step 1 of tile 3: what came before is still of use
    with pytest.raises(FormatError, match=r"1 of its 6 tiles \(3\)"):
        vaecodec.decode(damaged)
    saved = vaecodec.decode(damaged, tolerant=True)
    assert saved.info["damaged"] == [(0, 128, 128, 89)]
    assert psnr(saved.crop((0, 128, 128, 217)), picture.crop((0, 128, 128, 217))) > 15
    assert vaecodec.decode(tiled, tolerant=True).info["damaged"] == []


def test_lossless_alpha_survives_its_tile_and_lost_alpha_is_filled(
    small_tiles: None, picture: Image.Image
) -> None:
    plane = Image.radial_gradient("L").resize(SIZE)
    picture.putalpha(plane)
    data = vaecodec.encode(picture, 60)
    reader = Reader(data)
    saved = vaecodec.decode(flipped(data, reader.latent_chunks()[1].at + 20), tolerant=True)
    assert (
        saved.info["damaged"] == [(128, 0, 128, 128)]
        and difference(saved.getchannel("A"), plane) == 0
    )
    saved = vaecodec.decode(flipped(data, reader.alpha_chunks()[1].at + 20), tolerant=True)
    assert saved.info["damaged"] == [(128, 0, 128, 128)]
    assert difference(saved.convert("RGB"), vaecodec.decode(data).convert("RGB")) == 0
    change = np.abs(np.asarray(saved.getchannel("A"), int) - np.asarray(plane, int))
    assert change[:, :128].max() == 0 and 0 < change[:128, 128:256].max() < 120
    cut = vaecodec.decode(data[: reader.alpha_chunks()[4].at], tolerant=True)
    assert len(cut.info["damaged"]) == 2 and cut.info["truncated"] == cut.info["damaged"]
    both = flipped(data, reader.latent_chunks()[1].at + 20)[: reader.alpha_chunks()[4].at]
    info = vaecodec.decode(both, tolerant=True).info
    assert len(info["damaged"]) == 3 and len(info["truncated"]) == 2
    assert (128, 0, 128, 128) in info["damaged"] and (128, 0, 128, 128) not in info["truncated"]


def test_thin_pictures() -> None:
    """Cells of z are 64 pixels high, so a row of pixels may not be one tile of any length."""
    from vaecodec.coding.tiling import tile_log2

    assert tile_log2(30_000, 1) == 0 and tile_log2(40_000, 1) == 9 and tile_log2(1024, 1024) == 0
    row = np.asarray(kodak_crop(4, 768, 1).resize((40_000, 1)))
    decoded = vaecodec.decode(vaecodec.encode(row, 90), region=(39_000, 0, 500, 1))
    assert psnr(Image.fromarray(row[:, 39_000:39_500]), decoded) > 30
    with pytest.raises(ImageError, match="tiles, more than"):
        vaecodec.encode(np.zeros((1, 2**24 + 512), np.uint8))


def test_too_little_to_show() -> None:
    """What claims much and holds nothing is refused, by a tolerant reader too."""
    from vaecodec.format.container import Header, write

    model = registry.default_model()
    for header in (
        Header(23_000, 23_000, color_named("RGB"), 50, model, 9),
        Header(1400, 1400, color_named("RGB"), 50, model),
    ):
        with pytest.raises(FormatError, match="too few to show"):
            vaecodec.decode(write(header, [(b"T", bytes(8))]), tolerant=True)


def test_nothing_left(picture: Image.Image) -> None:
    data = vaecodec.encode(picture, 60)
    with pytest.raises(FormatError, match="nothing of the picture is left"):
        vaecodec.decode(flipped(data, len(data) - 8), tolerant=True)


def test_command_line(tiled: bytes, tmp_path: Path) -> None:
    import subprocess
    import sys

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "vaecodec", *args], capture_output=True, text=True, cwd=tmp_path
        )

    (tmp_path / "a.vae").write_bytes(tiled)
    (tmp_path / "cut.vae").write_bytes(tiled[: len(tiled) // 2])
    (tmp_path / "bad.vae").write_bytes(flipped(tiled, Reader(tiled).latent_chunks()[2].at + 9))
    assert run("decode", "a.vae", "part.png", "--region", "10,20,30,40").returncode == 0
    assert Image.open(tmp_path / "part.png").size == (30, 40)
    assert run("decode", "a.vae", "small.png", "--scale", "1/4").returncode == 0
    assert Image.open(tmp_path / "small.png").size == (75, 55)
    shown = run("decode", "cut.vae", "cut.png", "--preview")
    assert shown.returncode == 0 and "preview of 5" in shown.stderr
    failed = run("decode", "bad.vae", "bad.png")
    assert (
        failed.returncode == 1
        and "1 of its 6 tiles (2)" in failed.stderr
        and not (tmp_path / "bad.png").exists()
    )
    saved = run("decode", "bad.vae", "bad.png", "--best-effort")
    assert (
        saved.returncode == 3
        and "128 x 128 at 256,0" not in saved.stderr
        and "44 x 128 at 256,0" in saved.stderr
    )
    shown = run("decode", "bad.vae", "bad.png", "--preview", "--force")
    assert (
        shown.returncode == 0 and "100.0 %" in shown.stderr and "44 x 128 at 256,0" in shown.stderr
    )
    for wrong in (
        ["--region", "1,2,3"],
        ["--scale", "2"],
        ["--preview", "--best-effort"],
        ["--format", "a/b"],
    ):
        assert run("decode", "a.vae", "x.png", *wrong).returncode == 2
    assert "does not lie" in run("decode", "a.vae", "x.png", "--region", "0,0,301,1").stderr
    listed = run("info", "a.vae")
    assert "6 tiles" in listed.stdout
    assert run("info", "bad.vae", "cut.vae").returncode == 1


def test_the_preview_is_part_of_the_model() -> None:
    nets = registry.load_model()
    assert nets.tables["preview"].shape == (8, 8, 3, nets.m + 1)
