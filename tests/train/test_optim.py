"""Muon's orthogonalisation."""

import pytest
import torch

from vaecodec_train.training.muon import newton_schulz, newton_schulz_bf16


@pytest.mark.parametrize("shape", [(3, 96, 384), (2, 256, 128), (1, 64, 64)])
def test_singular_values_come_near_one(shape: tuple[int, int, int]) -> None:
    """Whatever they were, from 1/30 of the largest on; in bfloat16 the result is the same to a few per cent."""
    generator = torch.Generator().manual_seed(1)
    u, v = (
        torch.linalg.qr(torch.randn(shape[0], side, side, generator=generator))[0]
        for side in shape[1:]
    )
    small = min(shape[1:])
    x = u[:, :, :small] @ torch.diag(torch.logspace(0, -1.5, small)) @ v[:, :, :small].mT
    exact, rough = newton_schulz(x), newton_schulz_bf16(x)
    assert exact.shape == rough.shape == x.shape and rough.dtype == torch.float32
    for result in (exact, rough):
        values = torch.linalg.svdvals(result)
        assert values.min() > 0.6 and values.max() < 1.25
    assert (rough - exact).norm() < 0.05 * exact.norm()
    left = (
        u[:, :, :small].mT @ exact @ v[:, :, :small]
    )  # the directions stay: what is left is diagonal
    assert (left - torch.diag_embed(left.diagonal(dim1=1, dim2=2))).abs().max() < 1e-3
