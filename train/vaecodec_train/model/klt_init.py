"""The KLT start: initialise the network as the best linear transform codec of its size."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaecodec._arrays import U8
from vaecodec_train.model.autoencoder import Autoencoder


def principal_components(x: Tensor) -> Tensor:
    """Return the principal components of x (B, c, h, w).

    They are orthonormal rows (c, c), largest variance first.
    """
    v = x.permute(1, 0, 2, 3).flatten(1)
    _, vectors = torch.linalg.eigh((v @ v.T / v.shape[1]).double())
    rows: Tensor = vectors.flip(1).T.float()
    return rows


@torch.no_grad()
def klt_start(autoencoder: Autoencoder, crops: list[U8]) -> None:
    """Initialise g_a and g_s by PCA, and the log-scales of y by measurement.

    g_a becomes a PCA of 8x8 patches followed by one of 16x16 patches, g_s its transpose. Residual
    branches stay near zero.

    Args:
        autoencoder: changed in place.
        crops: (H, W, 3) uint8, all of one size, with sides that are multiples of 16.
    """
    c = autoencoder.config
    x = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255 - 0.5
    x = F.pixel_unshuffle(x, 8)
    w1 = principal_components(x)[: c.n, :, None, None]
    cells = F.pixel_unshuffle(F.conv2d(x, w1), 2)
    w2 = principal_components(cells)[: max(c.k, c.m), :, None, None]

    set_weight(autoencoder.g_a.stem, w1)
    set_weight(autoencoder.g_s.head, w1.transpose(0, 1))
    set_weight(autoencoder.g_a.down.conv, w2[: c.k])
    set_weight(autoencoder.g_s.up.conv, w2[: c.k].transpose(0, 1))
    set_weight(autoencoder.g_a.head, torch.eye(c.m, c.k)[:, :, None, None])
    set_weight(autoencoder.g_s.stem, torch.eye(c.k, c.m)[:, :, None, None])
    # The bypasses take the components that do not fit into the k channels.
    rest = w2[: c.m].clone()
    rest[: c.k] = 0
    if autoencoder.g_a.bypass is not None:
        set_weight(autoencoder.g_a.bypass.conv, rest)
    if autoencoder.g_s.bypass is not None:
        set_weight(autoencoder.g_s.bypass.conv, rest.transpose(0, 1))
    deviation = F.conv2d(cells, w2[: c.m]).permute(1, 0, 2, 3).flatten(1).std(1).clamp_min(1e-3)
    autoencoder.bias_scale.copy_(autoencoder.log_gain_y + deviation.log() - 0.4)
    heads = [autoencoder.prior_head] + [layers[-1] for layers in autoencoder.context]  # type: ignore[index]
    for head in heads:
        head.weight.mul_(0.1)
        head.bias.zero_()  # type: ignore[union-attr]


def set_weight(conv: nn.Conv2d, weight: Tensor) -> None:
    """Copy `weight` into `conv` and set its bias to zero."""
    conv.weight.copy_(weight.reshape(conv.weight.shape))
    assert conv.bias is not None
    conv.bias.zero_()
