"""Building blocks: 1x1 convolutions, residual blocks, changes of resolution, rounding."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Limit of the gated product. Photographs stay below it; without it, pixel-wide patterns grow from
# block to block.
GATED_LIMIT = 1.0


class Conv1x1(nn.Conv2d):
    """A 1x1 convolution computed as one matrix product, whose backward pass is faster on CPUs."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows = F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
        return rows.permute(0, 3, 1, 2)


def depthwise(c: int) -> nn.Conv2d:
    """Return a 3x3 convolution that filters each channel separately."""
    return nn.Conv2d(c, c, 3, padding=1, groups=c)


@torch.no_grad()
def near_zero(conv: nn.Conv2d) -> nn.Conv2d:
    """Scale down the weights of `conv`, so that a residual branch starts near the identity.

    The KLT start would not survive the first iterations otherwise.
    """
    conv.weight.mul_(0.03)
    if conv.bias is not None:
        conv.bias.zero_()
    return conv


class GatedBlock(nn.Module):
    """Depthwise spatial mixing, then a gated feed-forward layer. (B, c, h, w) -> same shape.

    Costs 8 c^2 multiplications per position.

        x --+--> 1x1 --> SiLU --> 3x3 depthwise --> 1x1 --> + --+--> 1x1 (4c) --> gate, value
            |                                               |   |                     |
            +-----------------------------------------------+   |    clamp(SiLU(gate) * value)
                                                                |                     |
                                                                +---------> + <-- 1x1 (2c -> c)
    """

    def __init__(self, c: int):
        super().__init__()
        self.mix_in = Conv1x1(c, c)
        self.spatial = depthwise(c)
        self.mix_out = near_zero(Conv1x1(c, c))
        self.expand = Conv1x1(c, 4 * c)
        self.project = near_zero(Conv1x1(2 * c, c))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix_out(self.spatial(F.silu(self.mix_in(x))))
        gate, value = self.expand(x).chunk(2, 1)
        out: Tensor = x + self.project((F.silu(gate) * value).clamp(-GATED_LIMIT, GATED_LIMIT))
        return out


class PlainBlock(nn.Module):
    """A block of 1x1 and depthwise convolutions, ReLU and additions. (B, c, h, w) -> same shape.

    It uses only operations that the integer engine has. Costs 6 c^2 multiplications per position.
    """

    def __init__(self, c: int):
        super().__init__()
        self.mix_in = Conv1x1(c, c)
        self.spatial = depthwise(c)
        self.mix_out = near_zero(Conv1x1(c, c))
        self.expand = Conv1x1(c, 2 * c)
        self.project = near_zero(Conv1x1(2 * c, c))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix_out(self.spatial(F.relu(self.mix_in(x))))
        out: Tensor = x + self.project(F.relu(self.expand(x)))
        return out


BLOCKS: dict[str, type[nn.Module]] = {"gated": GatedBlock, "plain": PlainBlock}


class Down(nn.Module):
    """Halve the resolution. (B, c_in, h, w) -> (B, c_out, h/2, w/2)."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.conv = Conv1x1(4 * c_in, c_out)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pixel_unshuffle(x, 2))
        return out


class Up(nn.Module):
    """Double the resolution. (B, c_in, h, w) -> (B, c_out, 2h, 2w)."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.conv = Conv1x1(c_in, 4 * c_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


class RoundSTE(torch.autograd.Function):
    """Rounding half to even whose gradient is that of the identity (straight-through estimator)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def ste_round(x: Tensor) -> Tensor:
    """Round half to even; gradients pass through unchanged."""
    rounded: Tensor = RoundSTE.apply(x)
    return rounded
