"""What else the networks do: sample, interpolate, score, embed, restore; as functions, and as users meet them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cli import refused, run

import vaecodec
from conftest import kodak_crop, psnr
from vaecodec.errors import ImageError, ModelError, VaecodecError
from vaecodec.image.picture import Picture
from vaecodec.model import registry
from vaecodec.tasks.embed import embed, embed_file, thirds
from vaecodec.tasks.interpolate import interpolate
from vaecodec.tasks.restore import INPUT_CHANNELS, fill_masked, restore
from vaecodec.tasks.sample import sample
from vaecodec.tasks.score import heat_map, score


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image, photo_file: bytes) -> Path:
    photo.save(tmp_path / "photo.png")
    (tmp_path / "photo.vae").write_bytes(photo_file)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    return tmp_path


def test_samples_come_from_the_prior() -> None:
    first, again, other = sample(200, 120, 7), sample(200, 120, 7, threads=1), sample(200, 120, 8)
    assert first.size == (200, 120) and psnr(first, again) > 48 and psnr(first, other) < 30
    # What the prior draws costs what the prior says, on average: the score finds no bits that were not expected.
    found = [score(Picture(sample(256, 256, seed))) for seed in range(4)]
    assert abs(np.mean([s.excess / s.bits_per_pixel for s in found])) < 0.15
    assert np.asarray(sample(64, 64, temperature=1e-9)).std() < 100  # the likeliest, not the rarest
    calm = score(Picture(sample(256, 256, 0, temperature=0.3)))
    assert calm.bits_per_pixel < 0.7 * np.mean([s.bits_per_pixel for s in found])


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"seed": -1},
        {"quality": 0},
        {"width": 0},
        {"width": 10**9},
    ],
)
def test_samples_that_cannot_be(change: dict[str, float]) -> None:
    with pytest.raises(VaecodecError):
        sample(**{"width": 64, "height": 64, **change})  # type: ignore[arg-type]


def test_interpolation_begins_and_ends_at_the_pictures(photo: Image.Image) -> None:
    other = kodak_crop(3, *photo.size)
    frames = interpolate(Picture(photo), Picture(other), 5, 80)
    assert len(frames) == 5 and {frame.size for frame in frames} == {photo.size}
    assert psnr(frames[0], photo) > 30 and psnr(frames[-1], other) > 30
    near = [psnr(frame, photo) for frame in frames]
    assert near == sorted(near, reverse=True)
    with pytest.raises(ImageError, match="sizes differ"):
        interpolate(Picture(photo), Picture(photo.crop((0, 0, 64, 64))))


def test_score_is_the_size_of_the_file(photo: Image.Image) -> None:
    for image, quality in ((photo, 50), (photo.convert("L"), 90), (kodak_crop(8, 700, 500), 20)):
        found, size = score(Picture(image), quality), len(vaecodec.encode(image, quality))
        assert found.bits_per_pixel * image.width * image.height / 8 == pytest.approx(
            size, rel=0.02, abs=60
        )
        decoded = vaecodec.decode(vaecodec.encode(image, quality))
        assert found.psnr == pytest.approx(
            psnr(image, decoded), abs=0.1 if image.mode == "RGB" else 0.5
        )  # grey: in colours
        cells = -(-image.height // 16), -(-image.width // 16)
        assert found.bits.shape == found.error.shape == found.excess_bits.shape == cells


def test_score_of_tiles_is_that_of_the_file() -> None:
    image = Image.fromarray(np.tile(np.asarray(kodak_crop(5, 500, 400)), (3, 3, 1)))
    found = score(Picture(image))
    assert found.bits_per_pixel * image.width * image.height / 8 == pytest.approx(
        len(vaecodec.encode(image)), rel=0.02
    )


def test_score_finds_noise(photo: Image.Image) -> None:
    pixels = np.asarray(photo).astype(int)
    noise = np.random.default_rng(0).normal(0, 30, (64, 64, 3))
    pixels[32:96, 64:128] += noise.astype(int)
    found = score(Picture(np.clip(pixels, 0, 255).astype(np.uint8)))
    inside = np.zeros(found.excess_bits.shape, bool)
    inside[2:6, 4:8] = True
    assert found.excess_bits[inside].mean() > 2 * np.abs(found.excess_bits[~inside]).mean()
    assert found.error[inside].min() > found.error[~inside].mean()


def test_heat_map() -> None:
    shown = heat_map(np.array([[0, 1], [2, 4]], np.float32), 30, 20)
    assert shown.shape == (20, 30, 3) and (shown[0, 0] == 0).all() and (shown[-1, -1] == 255).all()
    assert (heat_map(np.zeros((1, 1), np.float32), 16, 16) == 0).all()
    with pytest.raises(ImageError, match="do not cover"):
        heat_map(np.zeros((1, 1), np.float32), 17, 16)


@pytest.mark.parametrize("progressive", [False, True])
def test_features_of_a_file_are_those_of_its_picture(progressive: bool) -> None:
    image = Image.fromarray(np.tile(np.asarray(kodak_crop(5, 500, 400)), (3, 3, 1)))
    data = vaecodec.encode(image, 70, progressive=progressive)
    one, other = embed(Picture(image), 70), embed_file(data)
    assert (
        np.array_equal(one.y, other.y)
        and np.array_equal(one.z, other.z)
        and np.array_equal(one.whole, other.whole)
    )
    nets = registry.load_model()
    assert one.y.shape == (nets.m, 75, 94) and one.z.shape == (nets.channels_z, 19, 24)
    assert one.whole.shape == (15 * nets.m + nets.channels_z,) and np.isfinite(one.whole).all()


def test_thirds() -> None:
    for length in (1, 2, 3, 4, 30):
        assert np.allclose(thirds(length).sum(1), 1) and np.allclose(
            thirds(length).mean(0), 1 / length
        )
    assert np.allclose(thirds(3), np.eye(3)) and np.allclose(thirds(4)[0], [0.75, 0.25, 0, 0])


def test_features_tell_pictures_apart() -> None:
    pictures = [kodak_crop(n, 384, 256) for n in (1, 5, 8, 13, 20, 23)]
    known = np.stack([embed(Picture(p)).whole for p in pictures])
    smaller = np.stack(
        [embed(Picture(p.resize((288, 192), Image.Resampling.BICUBIC))).whole for p in pictures]
    )
    far = np.linalg.norm(smaller[:, None] - known[None], axis=2)
    assert (far.argmin(1) == np.arange(len(pictures))).all()


@pytest.mark.parametrize("task", INPUT_CHANNELS)
def test_restored_pictures_are_nearer(task: str) -> None:
    original = kodak_crop(23, 600, 401) if task != "superres" else kodak_crop(23, 600, 400)
    pixels, rng, mask = np.asarray(original), np.random.default_rng(0), None
    if task == "denoise":
        simple = Image.fromarray(
            np.clip(pixels + rng.normal(0, 25, pixels.shape), 0, 255).astype(np.uint8)
        )
        damaged, gain = simple, 8.0
    elif task == "superres":
        damaged = original.resize((300, 200), Image.Resampling.BICUBIC)
        simple, gain = damaged.resize(original.size, Image.Resampling.BICUBIC), 0.5
    else:
        mask = np.repeat(np.repeat(rng.random((26, 38)) < 0.2, 16, 0), 16, 1)[:401, :600]
        damaged, simple, gain = (
            Image.fromarray(pixels * ~mask[:, :, None]),
            Image.fromarray(fill_masked(pixels, mask)),
            0.3,
        )
    restored = restore(task, Picture(damaged), mask)
    assert restored.mode == "RGB" and restored.size == original.size
    assert psnr(restored, original) > psnr(simple, original) + gain
    if mask is not None:
        assert np.array_equal(np.asarray(restored)[~mask], pixels[~mask])


def test_restored_parts_join_without_seams() -> None:
    """A picture of several parts is what each would be on its own, to a grey level."""
    image = Image.fromarray(np.tile(np.asarray(kodak_crop(7, 400, 300)), (3, 2, 1)))
    whole = np.asarray(restore("denoise", Picture(image))).astype(int)
    corner = np.asarray(restore("denoise", Picture(image.crop((0, 352, 800, 900))))).astype(int)
    assert np.abs(whole[352 + 176 :] - corner[176:]).max() <= 1


def test_restoration_that_cannot_be(
    photo: Image.Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    picture = Picture(photo)
    for task, mask in (
        ("denoise", np.zeros((155, 237), bool)),
        ("inpaint", None),
        ("inpaint", np.zeros((3, 3), bool)),
    ):
        with pytest.raises(VaecodecError, match="mask"):
            restore(task, picture, mask)
    bare = tmp_path / "models" / registry.default_model()
    bare.mkdir(parents=True)
    for file in (registry.MODELS / registry.default_model()).iterdir():
        if file.stem not in INPUT_CHANNELS:
            (bare / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ModelError, match="no weights for denoise"):
        restore("denoise", picture, model=str(bare))
    (bare / "superres.onnx").write_bytes((bare / "g_s.onnx").read_bytes())
    with pytest.raises(ModelError, match="made for model None"):
        restore("superres", picture, model=str(bare))


def test_filling() -> None:
    image = np.full((37, 53, 3), 90, np.uint8)
    mask = np.random.default_rng(0).random((37, 53)) < 0.5
    damaged = np.where(mask[:, :, None], 0, image).astype(np.uint8)
    assert (fill_masked(damaged, mask) == 90).all()
    assert (fill_masked(image, np.ones((37, 53), bool)) == 0).all()  # nothing is known
    assert np.array_equal(fill_masked(image, np.zeros((37, 53), bool)), image)


def test_commands(folder: Path, photo: Image.Image) -> None:
    def png(name: str) -> Image.Image:
        return Image.open(io.BytesIO((folder / name).read_bytes()))

    assert (
        run("sample", "--size", "100x70", "-o", "s.png", "--seed", "7", cwd=folder).returncode == 0
    )
    assert png("s.png").size == (100, 70)
    assert (
        run(
            "interpolate", "photo.png", "photo.vae", "-o", "walk.png", "--steps", "3", cwd=folder
        ).returncode
        == 0
    )
    assert png("walk.png").size == (3 * photo.width, photo.height)
    assert (
        run(
            "interpolate", "photo.png", "photo.vae", "-o", "walk.gif", "--steps", "3", cwd=folder
        ).returncode
        == 0
    )
    assert png("walk.gif").n_frames == 3  # type: ignore[attr-defined]
    result = run("score", "photo.png", "photo.vae", "--json", "-o", "maps", cwd=folder)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["file"] for line in lines] == ["photo.png", "photo.vae"]
    assert lines[0]["bits_per_pixel"] > lines[1]["bits_per_pixel"]
    assert {path.name for path in (folder / "maps").iterdir()} == {
        f"photo{end}-{kind}.png" for end in (".png", ".vae") for kind in ("bits", "excess", "error")
    }
    assert png("maps/photo.png-bits.png").size == photo.size
    assert (
        run("embed", "photo.png", "photo.vae", "-o", "f.npz", "--cells", cwd=folder).returncode == 0
    )
    with np.load(folder / "f.npz") as stored:
        assert (
            list(stored["names"]) == ["photo.png", "photo.vae"]
            and stored["y_0"].dtype == np.float16
        )
        assert np.array_equal(stored["features"][0], stored["features"][1])
    assert (
        run("restore", "photo.png", "--task", "denoise", "-o", "clean.png", cwd=folder).returncode
        == 0
    )
    assert png("clean.png").size == photo.size
    Image.new("1", photo.size, 1).save(folder / "mask.png")
    result = run(
        "restore",
        "photo.png",
        "--task",
        "inpaint",
        "--mask",
        "mask.png",
        "-o",
        "filled.webp",
        cwd=folder,
    )
    assert result.returncode == 0


def test_what_is_left_out_is_said(folder: Path, photo: Image.Image) -> None:
    clear = photo.copy()
    clear.putalpha(99)
    clear.save(folder / "clear.png")
    result = run("restore", "clear.png", "--task", "denoise", "-o", "clean.png", cwd=folder)
    assert (
        result.returncode == 0
        and b"clear.png: warning" in result.stderr
        and b"alpha" in result.stderr
    )
    photo.save(folder / "moving.gif", save_all=True, append_images=[photo.rotate(5)])
    assert b"only the first of its 2 frames" in run("score", "moving.gif", cwd=folder).stderr


def test_commands_that_fail(folder: Path, photo: Image.Image) -> None:
    def fails(*args: object, code: int = 1) -> None:
        words, options = (
            [w for w in args if str(w).startswith("?")],
            [w for w in args if not str(w).startswith("?")],
        )
        result = run(*options, cwd=folder)
        result.stdout = b"" if options[0] == "score" else result.stdout
        refused(result, *(str(w)[1:] for w in words), code=code)

    fails("sample", "--size", "big", "-o", "s.png", "?256x256", code=2)
    fails("sample", "--size", "64x64", "-o", "s.xyz", "?s.xyz")
    fails("sample", "--size", "64x64", "-o", "photo.png", "?photo.png", "?--force")
    fails("sample", "--size", "64x64", "-o", "s.png", "--model", "ffffffff", "?ffffffff")
    fails("interpolate", "photo.png", "broken.png", "-o", "w.png", "?broken.png")
    fails("score", "broken.png", "photo.png", "?broken.png")
    fails("score", "missing.png", "?missing.png")
    fails("embed", "broken.png", "-o", "f.npz", "?broken.png")
    fails("embed", "photo.png", "-o", "none/f.npz", "?none", "?folder")
    fails("restore", "photo.png", "--task", "denoise", "-o", "r.xyz", "?r.xyz")
    fails("restore", "photo.png", "--task", "sharpen", "-o", "r.png", "?sharpen", code=2)
    fails("restore", "photo.png", "--task", "inpaint", "-o", "r.png", "?--mask", code=2)
    fails("restore", "broken.png", "--task", "denoise", "-o", "r.png", "?broken.png")
    Image.new("L", (3, 3)).save(folder / "small.png")
    fails(
        "restore",
        "photo.png",
        "--task",
        "inpaint",
        "--mask",
        "small.png",
        "-o",
        "r.png",
        "?mask",
        "?sizes",
    )
    foreign = bytearray((folder / "photo.vae").read_bytes())
    assert bytes.fromhex(registry.default_model()) in foreign
    (folder / "foreign.vae").write_bytes(
        foreign.replace(bytes.fromhex(registry.default_model()), bytes(4))
    )
    fails("embed", "foreign.vae", "-o", "f.npz", "?foreign.vae")
    assert not any(
        (folder / name).exists() for name in ("s.png", "s.xyz", "w.png", "f.npz", "r.png")
    )
