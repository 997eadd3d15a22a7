"""What else the networks do: sample, interpolate, score, embed, restore."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vaecodec
from helpers import kodak_crop, psnr
from vaecodec.errors import ImageError, ModelError
from vaecodec.model import registry
from vaecodec.tasks.embed import embed, embed_file, thirds
from vaecodec.tasks.interpolate import interpolate
from vaecodec.tasks.restore import INPUT_CHANNELS, fill_masked, restore
from vaecodec.tasks.sample import sample
from vaecodec.tasks.score import Score, heat_map, score


def test_samples_depend_on_the_seed() -> None:
    first = sample(200, 120, 7)
    assert first.size == (200, 120)
    assert psnr(first, sample(200, 120, 7, threads=1)) > 48
    assert psnr(first, sample(200, 120, 8)) < 30


@pytest.fixture(scope="module")
def sample_scores() -> list[Score]:
    return [score(sample(256, 256, seed)) for seed in range(4)]


def test_samples_cost_what_the_prior_expects(sample_scores: list[Score]) -> None:
    assert abs(np.mean([s.excess / s.bits_per_pixel for s in sample_scores])) < 0.15


def test_samples_at_low_temperatures_are_likelier(sample_scores: list[Score]) -> None:
    calm = score(sample(256, 256, 0, temperature=0.3))
    assert calm.bits_per_pixel < 0.7 * np.mean([s.bits_per_pixel for s in sample_scores])
    assert np.asarray(sample(64, 64, temperature=1e-9)).std() < 100


def test_interpolation_begins_and_ends_at_the_pictures(photo: Image.Image) -> None:
    other = kodak_crop(3, *photo.size)
    frames = interpolate(photo, other, 5, 80)
    assert len(frames) == 5
    assert {frame.size for frame in frames} == {photo.size}
    assert psnr(frames[0], photo) > 30
    assert psnr(frames[-1], other) > 30
    likeness = [psnr(frame, photo) for frame in frames]
    assert likeness == sorted(likeness, reverse=True)


def test_interpolation_needs_pictures_of_one_size(photo: Image.Image) -> None:
    with pytest.raises(ImageError, match="sizes differ"):
        interpolate(photo, photo.crop((0, 0, 64, 64)))


@pytest.mark.parametrize(("mode", "quality"), [("RGB", 50), ("L", 90)])
def test_score_is_that_of_the_file(photo: Image.Image, mode: str, quality: float) -> None:
    image = photo.convert(mode)
    result = score(image, quality)
    data = vaecodec.encode(image, quality)
    size = result.bits_per_pixel * image.width * image.height / 8
    assert size == pytest.approx(len(data), rel=0.02, abs=60)
    tolerance = 0.1 if mode == "RGB" else 0.5  # of grey, the score compares colours
    assert result.psnr == pytest.approx(psnr(image, vaecodec.decode(data)), abs=tolerance)
    cells = (-(-image.height // 16), -(-image.width // 16))
    assert result.bits.shape == result.error.shape == result.excess_bits.shape == cells


@pytest.fixture(scope="module")
def mosaic() -> Image.Image:
    """A picture of several tiles, 1500 x 1200."""
    return Image.fromarray(np.tile(np.asarray(kodak_crop(5, 500, 400)), (3, 3, 1)))


def test_score_of_tiles_is_that_of_the_file(mosaic: Image.Image) -> None:
    size = score(mosaic).bits_per_pixel * mosaic.width * mosaic.height / 8
    assert size == pytest.approx(len(vaecodec.encode(mosaic)), rel=0.02)


def test_score_finds_noise(photo: Image.Image) -> None:
    pixels = np.asarray(photo).astype(int)
    noise = np.random.default_rng(0).normal(0, 30, (64, 64, 3))
    pixels[32:96, 64:128] += noise.astype(int)
    result = score(np.clip(pixels, 0, 255).astype(np.uint8))
    noisy = np.zeros(result.excess_bits.shape, bool)
    noisy[2:6, 4:8] = True
    assert result.excess_bits[noisy].mean() > 2 * np.abs(result.excess_bits[~noisy]).mean()
    assert result.error[noisy].min() > result.error[~noisy].mean()


def test_heat_map() -> None:
    picture = heat_map(np.array([[0, 1], [2, 4]], np.float32), 30, 20)
    assert picture.shape == (20, 30, 3)
    assert (picture[0, 0] == 0).all()
    assert (picture[-1, -1] == 255).all()
    assert (heat_map(np.zeros((1, 1), np.float32), 16, 16) == 0).all()
    with pytest.raises(ImageError, match="do not cover"):
        heat_map(np.zeros((1, 1), np.float32), 17, 16)


@pytest.mark.parametrize("progressive", [False, True])
def test_features_of_a_file_are_those_of_its_picture(
    mosaic: Image.Image, progressive: bool
) -> None:
    of_picture = embed(mosaic, 70)
    of_file = embed_file(vaecodec.encode(mosaic, 70, progressive=progressive))
    assert np.array_equal(of_picture.y, of_file.y)
    assert np.array_equal(of_picture.z, of_file.z)
    assert np.array_equal(of_picture.whole, of_file.whole)


def test_shapes_of_features(mosaic: Image.Image) -> None:
    nets = registry.load_model()
    features = embed(mosaic)
    assert features.y.shape == (nets.m, 75, 94)
    assert features.z.shape == (nets.channels_z, 19, 24)
    assert features.whole.shape == (15 * nets.m + nets.channels_z,)
    assert np.isfinite(features.whole).all()


def test_thirds() -> None:
    for length in (1, 2, 3, 4, 30):
        assert np.allclose(thirds(length).sum(1), 1)
        assert np.allclose(thirds(length).mean(0), 1 / length)
    assert np.allclose(thirds(3), np.eye(3))
    assert np.allclose(thirds(4)[0], [0.75, 0.25, 0, 0])


def test_features_tell_pictures_apart() -> None:
    pictures = [kodak_crop(n, 384, 256) for n in (1, 5, 8, 13, 20, 23)]
    smaller = [picture.resize((288, 192), Image.Resampling.BICUBIC) for picture in pictures]
    known = np.stack([embed(picture).whole for picture in pictures])
    queries = np.stack([embed(picture).whole for picture in smaller])
    distance = np.linalg.norm(queries[:, None] - known[None], axis=2)
    assert distance.argmin(1).tolist() == list(range(len(pictures)))


def test_denoising_brings_a_picture_nearer() -> None:
    original = kodak_crop(23, 600, 401)
    pixels = np.asarray(original)
    noise = np.random.default_rng(0).normal(0, 25, pixels.shape)
    noisy = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    restored = restore("denoise", noisy)
    assert restored.mode == "RGB"
    assert restored.size == original.size
    assert psnr(restored, original) > psnr(noisy, original) + 8


def test_superresolution_is_nearer_than_bicubic() -> None:
    original = kodak_crop(23, 600, 400)
    small = original.resize((300, 200), Image.Resampling.BICUBIC)
    restored = restore("superres", small)
    assert restored.size == original.size
    bicubic = small.resize(original.size, Image.Resampling.BICUBIC)
    assert psnr(restored, original) > psnr(bicubic, original) + 0.5


def test_inpainting_is_nearer_than_smooth_filling() -> None:
    original = kodak_crop(23, 600, 401)
    pixels = np.asarray(original)
    cells = np.random.default_rng(0).random((26, 38)) < 0.2
    mask = np.kron(cells, np.ones((16, 16), bool))[:401, :600]
    restored = restore("inpaint", pixels * ~mask[:, :, None], mask)
    assert psnr(restored, original) > psnr(fill_masked(pixels, mask), original) + 0.3
    assert np.array_equal(np.asarray(restored)[~mask], pixels[~mask])


def test_restored_parts_join_without_seams() -> None:
    """Parts of a picture are restored as they would be alone, to a grey level."""
    image = Image.fromarray(np.tile(np.asarray(kodak_crop(7, 400, 300)), (3, 2, 1)))
    whole = np.asarray(restore("denoise", image)).astype(int)
    corner = np.asarray(restore("denoise", image.crop((0, 352, 800, 900)))).astype(int)
    assert np.abs(whole[352 + 176 :] - corner[176:]).max() <= 1


@pytest.fixture
def bare_model(tmp_path: Path) -> Path:
    """The default model without its weights for restoration."""
    ignored = shutil.ignore_patterns(*(f"{task}.onnx" for task in INPUT_CHANNELS))
    source = registry.MODELS / registry.default_model()
    return Path(shutil.copytree(source, tmp_path / registry.default_model(), ignore=ignored))


def test_restoration_needs_weights(photo: Image.Image, bare_model: Path) -> None:
    with pytest.raises(ModelError, match="no weights for denoise"):
        restore("denoise", photo, model=str(bare_model))


def test_restoration_needs_weights_for_the_model(photo: Image.Image, bare_model: Path) -> None:
    shutil.copy(bare_model / "g_s.onnx", bare_model / "superres.onnx")
    with pytest.raises(ModelError, match="made for model None"):
        restore("superres", photo, model=str(bare_model))


def test_filling() -> None:
    image = np.full((37, 53, 3), 90, np.uint8)
    mask = np.random.default_rng(0).random((37, 53)) < 0.5
    damaged = np.where(mask[:, :, None], 0, image).astype(np.uint8)
    assert (fill_masked(damaged, mask) == 90).all()
    assert (fill_masked(image, np.ones((37, 53), bool)) == 0).all()  # nothing is known
    assert np.array_equal(fill_masked(image, np.zeros((37, 53), bool)), image)
