"""The network: analysis g_a, synthesis g_s, hyper-analysis h_a, hyper-synthesis h_s and a four-step context model.

Variable rate follows gain units (Cui et al. 2021, "Asymmetric gained deep image compression"), the hyperprior
Ballé et al. 2018 and Minnen et al. 2018, the interleaved context steps He et al. 2022 (ELIC) and Li et al. 2023 (DCVC-DC).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from compressai.entropy_models import EntropyBottleneck
from torch import Tensor

LOG_SCALE_MIN, LOG_SCALE_MAX = math.log(0.11), math.log(128.0)
STEPS = 4
GATED_LIMIT = 1.0  # of a gated product: in photographs it stays below, and without it pixel-wide patterns grow block by block
CELL = ((0, 0), (1, 1), (0, 1), (1, 0))  # (row, column) of the four positions of a 2x2 cell


@dataclass(frozen=True)
class ModelConfig:
    """Widths, depths and the range of lambda (CompressAI's unit: loss = R + lambda * 255^2 * MSE)."""

    n: int = 128  # channels at 1/8 resolution
    k: int = 256  # channels at 1/16 resolution
    m: int = 256  # latent channels y
    z: int = 96  # hyper-latent channels
    p: int = 160  # width of the entropy networks
    g_a_blocks: tuple[int, int] = (3, 3)  # at 1/8, at 1/16
    g_s_blocks: tuple[int, int] = (3, 3)
    block: str = "gated"  # of g_a and g_s; "plain" is the kind that the entropy networks have
    context_blocks: int = 1
    bypass: bool = False  # a linear path between 1/8 resolution and y around the k channels, so that m may exceed k
    anchors: int = 16  # rows of every quality table
    lambda_min: float = 0.0009
    lambda_max: float = 0.12


class Conv1x1(nn.Conv2d):
    """A 1x1 convolution, computed as one matrix product: on CPUs its backward pass is the faster one."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(
            0, 3, 1, 2
        )


def conv1x1(c_in: int, c_out: int) -> Conv1x1:
    return Conv1x1(c_in, c_out)


def depthwise(c: int) -> nn.Conv2d:
    return nn.Conv2d(c, c, 3, padding=1, groups=c)


@torch.no_grad()
def near_zero(conv: nn.Conv2d) -> nn.Conv2d:
    """Residual branches start small, so that the KLT start survives the first steps."""
    conv.weight.mul_(0.03)
    if conv.bias is not None:
        conv.bias.zero_()
    return conv


class GatedBlock(nn.Module):
    """Depthwise spatial mixing, then a gated feed-forward layer: 8c^2 multiplications a cell. (B, c, h, w) -> same."""

    def __init__(self, c: int):
        super().__init__()
        self.mix_in, self.spatial, self.mix_out = (
            conv1x1(c, c),
            depthwise(c),
            near_zero(conv1x1(c, c)),
        )
        self.expand, self.project = conv1x1(c, 4 * c), near_zero(conv1x1(2 * c, c))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix_out(self.spatial(F.silu(self.mix_in(x))))
        gate, value = self.expand(x).chunk(2, 1)
        out: Tensor = x + self.project((F.silu(gate) * value).clamp(-GATED_LIMIT, GATED_LIMIT))
        return out


class PlainBlock(nn.Module):
    """Only 1x1, depthwise, ReLU and addition, so that it can run exactly in small integers: 6c^2. (B, c, h, w) -> same."""

    def __init__(self, c: int):
        super().__init__()
        self.mix_in, self.spatial, self.mix_out = (
            conv1x1(c, c),
            depthwise(c),
            near_zero(conv1x1(c, c)),
        )
        self.expand, self.project = conv1x1(c, 2 * c), near_zero(conv1x1(2 * c, c))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix_out(self.spatial(F.relu(self.mix_in(x))))
        out: Tensor = x + self.project(F.relu(self.expand(x)))
        return out


BLOCKS: dict[str, type[nn.Module]] = {"gated": GatedBlock, "plain": PlainBlock}


class Down(nn.Module):
    """(B, c_in, h, w) -> (B, c_out, h/2, w/2)."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.conv = conv1x1(4 * c_in, c_out)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pixel_unshuffle(x, 2))
        return out


class Up(nn.Module):
    """(B, c_in, h, w) -> (B, c_out, 2h, 2w)."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.conv = conv1x1(c_in, 4 * c_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


class Analysis(nn.Module):
    """g_a: pixels in [0, 1], (B, 3, H, W) -> latent before its gain, (B, m, H/16, W/16)."""

    def __init__(self, c: ModelConfig):
        super().__init__()
        block = BLOCKS[c.block]
        self.stem, self.fine = (
            conv1x1(192, c.n),
            nn.Sequential(*[block(c.n) for _ in range(c.g_a_blocks[0])]),
        )
        self.down, self.coarse = (
            Down(c.n, c.k),
            nn.Sequential(*[block(c.k) for _ in range(c.g_a_blocks[1])]),
        )
        self.head = conv1x1(c.k, c.m)
        self.bypass = Down(c.n, c.m) if c.bypass else None

    def forward(self, x: Tensor, gain: Tensor) -> Tensor:
        fine = self.fine(self.stem(F.pixel_unshuffle(x - 0.5, 8))) * gain
        y: Tensor = self.head(self.coarse(self.down(fine)))
        return y if self.bypass is None else y + self.bypass(fine)


class Synthesis(nn.Module):
    """g_s: latent divided by its gain, (B, m, H/16, W/16) -> pixels, about [0, 1], (B, 3, H, W)."""

    def __init__(self, c: ModelConfig):
        super().__init__()
        block = BLOCKS[c.block]
        self.stem, self.coarse = (
            conv1x1(c.m, c.k),
            nn.Sequential(*[block(c.k) for _ in range(c.g_s_blocks[1])]),
        )
        self.up, self.fine = (
            Up(c.k, c.n),
            nn.Sequential(*[block(c.n) for _ in range(c.g_s_blocks[0])]),
        )
        self.head = conv1x1(c.n, 192)
        self.bypass = Up(c.m, c.n) if c.bypass else None

    def unfold(self, y: Tensor) -> Tensor:
        """What the fine blocks start from, without its gain: (B, n, H/8, W/8)."""
        fine: Tensor = self.up(self.coarse(self.stem(y)))
        return fine if self.bypass is None else fine + self.bypass(y)

    def forward(self, y: Tensor, gain: Tensor) -> Tensor:
        return F.pixel_shuffle(self.head(self.fine(self.unfold(y) * gain)), 8) + 0.5


class RoundSTE(torch.autograd.Function):
    """Round half to even, with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def ste_round(x: Tensor) -> Tensor:
    rounded: Tensor = RoundSTE.apply(x)
    return rounded


@dataclass
class Output:
    """What one pass of the codec gives; bits are the model's own estimate, never a file size."""

    x_hat: Tensor  # (B, 3, H, W), about [0, 1]
    bpp: Tensor  # (B,) estimated bits per pixel, y and z
    bpp_z: Tensor  # (B,) the part of z


class Codec(nn.Module):
    """The whole autoencoder with its entropy model, in float, for training and for export."""

    def __init__(self, config: ModelConfig | None = None):
        super().__init__()
        self.config = c = config or ModelConfig()
        self.g_a, self.g_s = Analysis(c), Synthesis(c)
        self.h_a = nn.Sequential(
            conv1x1(c.m, c.z), PlainBlock(c.z), Down(c.z, c.z), PlainBlock(c.z), Down(c.z, c.z)
        )
        self.h_s = nn.Sequential(Up(c.z, c.z), PlainBlock(c.z), Up(c.z, c.p), PlainBlock(c.p))
        self.prior_head = conv1x1(c.p, 2 * c.m)
        self.context_in = nn.ModuleList([conv1x1(c.m, c.p) for _ in range(STEPS - 1)])
        self.context = nn.ModuleList(
            [
                nn.Sequential(
                    conv1x1(2 * c.p, c.p),
                    *[PlainBlock(c.p) for _ in range(c.context_blocks)],
                    conv1x1(c.p, 2 * c.m),
                )
                for _ in range(STEPS - 1)
            ]
        )
        self.prior_z = EntropyBottleneck(c.z, init_scale=4)
        # The quality tables: log-gains of two activations and of y, biases of h_s and of the log-scales.
        self.log_gain_a = nn.Parameter(torch.zeros(c.anchors, c.n))
        self.log_gain_s = nn.Parameter(torch.zeros(c.anchors, c.n))
        # Distortion falls with the square of the gain, so the best gain rises with the root of lambda.
        gain = 0.406 + 0.5 * torch.linspace(
            math.log(c.lambda_min / 0.0009), math.log(c.lambda_max / 0.0009), c.anchors
        )
        self.log_gain_y = nn.Parameter(gain[:, None].repeat(1, c.m))
        self.bias_h = nn.Parameter(torch.zeros(c.anchors, c.p))
        self.bias_scale = nn.Parameter(torch.zeros(c.anchors, c.m))
        self._masks: dict[tuple[int, int], Tensor] = {}

    def lmbda(self, q: Tensor) -> Tensor:
        """Lambda of quality q in [0, 1]."""
        return self.config.lambda_min * (self.config.lambda_max / self.config.lambda_min) ** q

    def at_quality(self, table: Tensor, q: Tensor) -> Tensor:
        """Row of a quality table (anchors, C) for each q (B,) in [0, 1], linearly interpolated: (B, C, 1, 1)."""
        f = q * (self.config.anchors - 1)
        i = f.floor().clamp(0, self.config.anchors - 2).long()
        w = (f - i)[:, None]
        return ((1 - w) * table[i] + w * table[i + 1])[:, :, None, None]

    def step_masks(self, h: int, w: int) -> Tensor:
        """(4, 1, m, h, w): which quarter of the latents each of the four steps codes."""
        if (h, w) not in self._masks:
            mask = torch.zeros(STEPS, STEPS, h, w)
            for step in range(STEPS):
                for group in range(STEPS):
                    row, column = CELL[step ^ group]
                    mask[step, group, row::2, column::2] = 1
            self._masks[h, w] = mask.repeat_interleave(self.config.m // STEPS, 1)[:, None].to(
                self.bias_h.device
            )
        return self._masks[h, w]

    def hyper_latent(self, y: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Quantized z and the likelihoods (channels, 1, cells) of z with noise, or of the quantized z."""
        z = self.h_a(y * 0.25).float()
        median = self.prior_z._get_medians().reshape(1, -1, 1, 1)
        z_hat = ste_round(z - median) + median
        coded = z_hat if noise is None else z + noise
        likelihood = self.prior_z._likelihood(coded.transpose(0, 1).reshape(coded.shape[1], 1, -1))[
            0
        ]
        return z_hat, likelihood.reshape(coded.shape[1], coded.shape[0], -1).transpose(0, 1)

    def latent(self, x: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """y = g_a(x) after its gain, and the gain. x: (B, 3, H, W) in [0, 1]; q: (B,) in [0, 1]."""
        gain = self.at_quality(self.log_gain_y, q).exp()
        return self.g_a(x, self.at_quality(self.log_gain_a, q).exp()).float() * gain, gain

    def code(
        self, y: Tensor, q: Tensor, noise: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the entropy model makes of y: y_hat of its shape, and the estimated bits (B,) of y and of z."""
        z_hat, likelihood_z = self.hyper_latent(y, noise[1] if noise else None)
        p = self.h_s(z_hat * 0.25) + self.at_quality(self.bias_h, q)
        mean, log_scale = self.prior_head(p).float().chunk(2, 1)
        y_hat = means = log_scales = torch.zeros_like(y)
        for step, mask in enumerate(self.step_masks(*y.shape[2:])):
            if step:
                seen = torch.cat([p, self.context_in[step - 1](y_hat * 0.25)], 1)
                mean, log_scale = self.context[step - 1](seen).float().chunk(2, 1)
            mean = mean * 4 * mask
            y_hat = y_hat + (ste_round(y - mean) + mean) * mask
            means, log_scales = means + mean, log_scales + log_scale * mask
        log_scales = log_scales + self.at_quality(self.bias_scale, q)
        scale = (
            (LOG_SCALE_MIN + F.softplus(log_scales - LOG_SCALE_MIN)).clamp(max=LOG_SCALE_MAX).exp()
        )
        r = y - means
        r = (r + noise[0] if noise else torch.round(r)).abs()
        c = 1 / math.sqrt(2)
        likelihood_y = 0.5 * (
            torch.erfc(-c * (0.5 - r) / scale) - torch.erfc(-c * (-0.5 - r) / scale)
        )
        bits_y = -torch.log2(likelihood_y.clamp_min(1e-7)).sum((1, 2, 3))
        bits_z = -torch.log2(likelihood_z.clamp_min(1e-7)).sum((1, 2))
        return y_hat, bits_y, bits_z

    def forward(self, x: Tensor, q: Tensor, noise: tuple[Tensor, Tensor] | None = None) -> Output:
        """x: (B, 3, H, W) in [0, 1], H and W multiples of 64; q: (B,) in [0, 1].

        noise: uniform in [-1/2, 1/2], of the shapes of y and z, stands in for rounding in the rate while training.
        """
        y, gain = self.latent(x, q)
        y_hat, bits_y, bits_z = self.code(y, q, noise)
        x_hat = self.g_s(y_hat / gain, self.at_quality(self.log_gain_s, q).exp()).float()
        pixels = x.shape[2] * x.shape[3]
        return Output(x_hat, (bits_y + bits_z) / pixels, bits_z / pixels)
