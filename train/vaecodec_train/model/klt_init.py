"""The KLT start: the untrained network is the best linear transform codec of its size."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaecodec_train.model.autoencoder import Codec
from vaecodec_train.training.dataset import Pixels


def principal_components(x: Tensor) -> Tensor:
    """(B, c, h, w) -> orthonormal rows (c, c), largest variance first."""
    v = x.permute(1, 0, 2, 3).flatten(1)
    _, vectors = torch.linalg.eigh((v @ v.T / v.shape[1]).double())
    rows: Tensor = vectors.flip(1).T.float()
    return rows


@torch.no_grad()
def klt_start(model: Codec, crops: list[Pixels]) -> None:
    """PCA of 8x8, then of 16x16 patches, transposed synthesis, log-scales as measured; residual branches are near zero.

    crops: (H, W, 3) uint8, all of one size, sides multiples of 16.
    """
    c = model.config
    x = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255 - 0.5
    x = F.pixel_unshuffle(x, 8)
    w1 = principal_components(x)[: c.n, :, None, None]
    cells = F.pixel_unshuffle(F.conv2d(x, w1), 2)
    w2 = principal_components(cells)[: max(c.k, c.m), :, None, None]

    def put(conv: nn.Conv2d, weight: Tensor) -> None:
        conv.weight.copy_(weight.reshape(conv.weight.shape))
        assert conv.bias is not None
        conv.bias.zero_()

    put(model.g_a.stem, w1)
    put(model.g_s.head, w1.transpose(0, 1))
    put(model.g_a.down.conv, w2[: c.k])
    put(model.g_s.up.conv, w2[: c.k].transpose(0, 1))
    put(model.g_a.head, torch.eye(c.m, c.k)[:, :, None, None])
    put(model.g_s.stem, torch.eye(c.k, c.m)[:, :, None, None])
    for side in (model.g_a, model.g_s):
        if side.bypass is not None:  # the components that do not fit into the k channels
            rest = w2[: c.m].clone()
            rest[: c.k] = 0
            put(side.bypass.conv, rest if side is model.g_a else rest.transpose(0, 1))
    deviation = F.conv2d(cells, w2[: c.m]).permute(1, 0, 2, 3).flatten(1).std(1).clamp_min(1e-3)
    model.bias_scale.copy_(model.log_gain_y + deviation.log() - 0.4)
    for head in [model.prior_head] + [steps[-1] for steps in model.context]:  # type: ignore[index]
        head.weight.mul_(0.1)
        head.bias.zero_()  # type: ignore[union-attr]
