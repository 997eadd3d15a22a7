"""Growing a model: more channels and blocks, the same pictures."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from helpers import kodak_crop
from small_training import MODEL
from vaecodec.errors import VaecodecError
from vaecodec_train.config import from_dict
from vaecodec_train.model.autoencoder import Autoencoder, ModelConfig
from vaecodec_train.model.grow import grow

SMALL = from_dict({"model": {**MODEL, "bypass": False}}).model
WIDE = dataclasses.replace(
    SMALL, m=48, bypass=True, lambda_min=SMALL.lambda_min / 2, lambda_max=SMALL.lambda_max * 4
)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def small() -> Autoencoder:
    torch.manual_seed(0)
    model = Autoencoder(SMALL).eval()
    with torch.no_grad():
        for table in (model.log_gain_a, model.log_gain_s, model.bias_h, model.bias_scale):
            table.copy_(torch.linspace(-0.2, 0.2, len(table))[:, None].expand_as(table))
    return model


@pytest.fixture(scope="module")
def wide(small: Autoencoder) -> Autoencoder:
    return grow(small, WIDE).eval()


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    pixels = torch.from_numpy(np.array(kodak_crop(3, 128, 128)))
    return pixels.permute(2, 0, 1)[None].float() / 255


def quality_of(lmbda: float, config: ModelConfig) -> torch.Tensor:
    """Return the quality, 0 to 1, at which a model has this lambda."""
    span = np.log(config.lambda_max / config.lambda_min)
    return torch.tensor([np.log(lmbda / config.lambda_min) / span], dtype=torch.float32)


@pytest.mark.parametrize("lmbda", [SMALL.lambda_min, 0.01, SMALL.lambda_max])
def test_more_channels_code_as_before(
    small: Autoencoder, wide: Autoencoder, picture: torch.Tensor, lmbda: float
) -> None:
    """The same rate and distortion at the same lambda, but for noise of the new channels."""
    before = small(picture, quality_of(lmbda, SMALL))
    after = wide(picture, quality_of(lmbda, WIDE))
    assert (before.x_hat - after.x_hat).square().mean().sqrt() < 0.05
    assert after.bpp.item() == pytest.approx(before.bpp.item(), abs=0.1)


def test_more_blocks_code_as_before(wide: Autoencoder, picture: torch.Tensor) -> None:
    deep = grow(wide, dataclasses.replace(WIDE, context_blocks=3)).eval()
    before = wide(picture, torch.tensor([0.5]))
    after = deep(picture, torch.tensor([0.5]))
    assert torch.allclose(before.x_hat, after.x_hat, atol=0.01)
    assert after.bpp.item() == pytest.approx(before.bpp.item(), rel=0.02)


def test_growth_that_is_refused(wide: Autoencoder) -> None:
    with pytest.raises(VaecodecError, match="can grow"):
        grow(wide, dataclasses.replace(WIDE, m=64))
