"""The network: analysis g_a, synthesis g_s, hyperprior h_a and h_s, four-step context model.

Variable rate uses gain units (Cui et al. 2021, "Asymmetric gained deep image compression"). The
hyperprior follows Ballé et al. 2018 and Minnen et al. 2018. The interleaved context steps follow He
et al. 2022 (ELIC) and Li et al. 2023 (DCVC-DC).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from compressai.entropy_models import EntropyBottleneck
from torch import Tensor

from vaecodec.spec import POSITIONS, STEPS, group_at
from vaecodec_train.model.blocks import BLOCKS, Conv1x1, Down, PlainBlock, Up, ste_round

LOG_SCALE_MIN = math.log(0.11)
LOG_SCALE_MAX = math.log(128.0)


@dataclass(frozen=True)
class ModelConfig:
    """Widths, depths and the range of lambda.

    Lambda has CompressAI's unit: loss = R + lambda * 255^2 * MSE, with R in bits per pixel. The
    field names are stored in checkpoints and configuration files.
    """

    n: int = 128  # channels at 1/8 resolution
    k: int = 256  # channels at 1/16 resolution
    m: int = 256  # channels of the latent y, a multiple of 4
    z: int = 96  # channels of the hyper-latent z
    p: int = 160  # width of the entropy networks
    g_a_blocks: tuple[int, int] = (3, 3)  # number of blocks at 1/8 and at 1/16 resolution
    g_s_blocks: tuple[int, int] = (3, 3)  # the same, for g_s
    block: str = "gated"  # kind of block in g_a and g_s: "gated", or "plain" as in entropy networks
    context_blocks: int = 1  # blocks in each step of the context model
    bypass: bool = False  # linear path from 1/8 resolution to y around the k channels, for m > k
    anchors: int = 16  # number of knots (rows) of every quality table
    lambda_min: float = 0.0009  # lambda at the lowest quality
    lambda_max: float = 0.12  # lambda at the highest quality


class Analysis(nn.Module):
    """g_a: pixels in [0, 1], (B, 3, H, W) -> latent before its gain, (B, m, H/16, W/16).

    x (3, H, W)
    |  - 1/2, pixel_unshuffle by 8
    (192, H/8, W/8)
    |  stem, fine: g_a_blocks[0] blocks
    (n, H/8, W/8)
    |  * gain_a(q)
    +-------------------------------------+
    |  down                               |
    (k, H/16, W/16)                       |  bypass (if configured)
    |  coarse: g_a_blocks[1] blocks       |
    |  head                               |
    + <-----------------------------------+
    |
    (m, H/16, W/16)
    """

    def __init__(self, c: ModelConfig):
        super().__init__()
        block = BLOCKS[c.block]
        self.stem = Conv1x1(192, c.n)
        self.fine = nn.Sequential(*[block(c.n) for _ in range(c.g_a_blocks[0])])
        self.down = Down(c.n, c.k)
        self.coarse = nn.Sequential(*[block(c.k) for _ in range(c.g_a_blocks[1])])
        self.head = Conv1x1(c.k, c.m)
        self.bypass = Down(c.n, c.m) if c.bypass else None

    def forward(self, x: Tensor, gain: Tensor) -> Tensor:
        fine = self.fine(self.stem(F.pixel_unshuffle(x - 0.5, 8))) * gain
        y: Tensor = self.head(self.coarse(self.down(fine)))
        return y if self.bypass is None else y + self.bypass(fine)


class Synthesis(nn.Module):
    """g_s: latent divided by its gain, (B, m, H/16, W/16) -> pixels, about [0, 1], (B, 3, H, W).

    (m, H/16, W/16)
    +-------------------------------------+
    |  stem                               |
    (k, H/16, W/16)                       |  bypass (if configured)
    |  coarse: g_s_blocks[1] blocks       |
    |  up                                 |
    + <-----------------------------------+
    |
    (n, H/8, W/8)
    |  * gain_s(q)
    |  fine: g_s_blocks[0] blocks, head
    (192, H/8, W/8)
    |  pixel_shuffle by 8, + 1/2
    x_hat (3, H, W)
    """

    def __init__(self, c: ModelConfig):
        super().__init__()
        block = BLOCKS[c.block]
        self.stem = Conv1x1(c.m, c.k)
        self.coarse = nn.Sequential(*[block(c.k) for _ in range(c.g_s_blocks[1])])
        self.up = Up(c.k, c.n)
        self.fine = nn.Sequential(*[block(c.n) for _ in range(c.g_s_blocks[0])])
        self.head = Conv1x1(c.n, 192)
        self.bypass = Up(c.m, c.n) if c.bypass else None

    def unfold(self, y: Tensor) -> Tensor:
        """Return the input of the fine blocks before its gain: (B, n, H/8, W/8)."""
        fine: Tensor = self.up(self.coarse(self.stem(y)))
        return fine if self.bypass is None else fine + self.bypass(y)

    def forward(self, y: Tensor, gain: Tensor) -> Tensor:
        return F.pixel_shuffle(self.head(self.fine(self.unfold(y) * gain)), 8) + 0.5


@dataclass
class Output:
    """Result of one forward pass. Bits are the model's own estimate, not a file size."""

    x_hat: Tensor  # (B, 3, H, W), about [0, 1]
    bpp: Tensor  # (B,) estimated bits per pixel of y and z
    bpp_z: Tensor  # (B,) the part of z


class Autoencoder(nn.Module):
    """The complete autoencoder with its entropy model, in float, for training and export.

        x (3, H, W)                                           x_hat (3, H, W)
        |                                                     ^
        g_a                                                   g_s
        |                                                     ^
        | * gain_y(q)                                         | / gain_y(q)
        v                                                     |
        y (m, H/16, W/16) -----> four context steps --------> y_hat (m, H/16, W/16)
        |                         ^             |
        | / 4                     |             +---> bits of y
        v                         |
        h_a                       p (p, H/16, W/16)
        |                         ^
        v                         | + bias_h(q)
        z (z, H/64, W/64)         |
        |                         h_s
        | round                   ^
        v                         | / 4
        z_hat (z, H/64, W/64) ----+-------------> bits of z (factorized prior)

        h_a:  1x1 (m -> z), block, down, block, down
        h_s:  up, block, up (z -> p), block

    Each context step codes a quarter of y: at each position of a 2x2 square one of the four groups
    of m/4 channels, so that after four steps every position has every group
    (`vaecodec.spec.group_at`). Step 0 reads p alone. The others also read what the earlier steps
    decoded:

        step 0        p --> prior_head ------------------------------------> mean, log_scale (2m)

        steps 1..3    y_hat so far (m) --> / 4 --> context_in (p) --+
                                                                    v
                      p ----------------------------------------> concat (2p) --> context
                                                                                     |
                                                              mean, log_scale (2m) <-+

        k      = round(y - mean)             bits of k: a Gaussian with mean 0 and this scale,
        y_hat += k + mean                    integrated over [k - 1/2, k + 1/2]

    y and z enter the entropy networks divided by 4, and these return a quarter of the mean.

    A quality table has `config.anchors` knots (rows), spaced evenly in the logarithm of lambda. For
    a quality q in [0, 1] the rows are interpolated linearly. There are five tables: log_gain_a (n
    channels), log_gain_s (n), log_gain_y (m), bias_h (p) and bias_scale (m, added to the
    log-scales).
    """

    def __init__(self, config: ModelConfig | None = None):
        super().__init__()
        c = config or ModelConfig()
        self.config = c
        self.g_a = Analysis(c)
        self.g_s = Synthesis(c)
        self.h_a = nn.Sequential(
            Conv1x1(c.m, c.z), PlainBlock(c.z), Down(c.z, c.z), PlainBlock(c.z), Down(c.z, c.z)
        )
        self.h_s = nn.Sequential(Up(c.z, c.z), PlainBlock(c.z), Up(c.z, c.p), PlainBlock(c.p))
        self.prior_head = Conv1x1(c.p, 2 * c.m)
        self.context_in = nn.ModuleList([Conv1x1(c.m, c.p) for _ in range(STEPS - 1)])
        self.context = nn.ModuleList([context_network(c) for _ in range(STEPS - 1)])
        self.prior_z = EntropyBottleneck(c.z, init_scale=4)
        self.log_gain_a = nn.Parameter(torch.zeros(c.anchors, c.n))
        self.log_gain_s = nn.Parameter(torch.zeros(c.anchors, c.n))
        # Distortion falls with the square of the gain: the best gain grows with lambda^(1/2).
        gain = 0.406 + 0.5 * torch.linspace(
            math.log(c.lambda_min / 0.0009), math.log(c.lambda_max / 0.0009), c.anchors
        )
        self.log_gain_y = nn.Parameter(gain[:, None].repeat(1, c.m))
        self.bias_h = nn.Parameter(torch.zeros(c.anchors, c.p))
        self.bias_scale = nn.Parameter(torch.zeros(c.anchors, c.m))
        self._masks: dict[tuple[int, int], Tensor] = {}

    def lambda_at(self, q: Tensor) -> Tensor:
        """Return lambda for each quality q in [0, 1]."""
        return self.config.lambda_min * (self.config.lambda_max / self.config.lambda_min) ** q

    def at_quality(self, table: Tensor, q: Tensor) -> Tensor:
        """Interpolate a quality table (knots, C) at each q (B,) in [0, 1]. Returns (B, C, 1, 1)."""
        position = q * (self.config.anchors - 1)
        knot = position.floor().clamp(0, self.config.anchors - 2).long()
        w = (position - knot)[:, None]
        return ((1 - w) * table[knot] + w * table[knot + 1])[:, :, None, None]

    def step_masks(self, h: int, w: int) -> Tensor:
        """Return (4, 1, m, h, w): 1 where each of the four steps codes y, else 0."""
        if (h, w) not in self._masks:
            mask = torch.zeros(STEPS, STEPS, h, w)
            for step in range(STEPS):
                for position in range(POSITIONS):
                    row, column = divmod(position, 2)
                    mask[step, group_at(step, position), row::2, column::2] = 1
            mask = mask.repeat_interleave(self.config.m // STEPS, 1)[:, None]
            self._masks[h, w] = mask.to(self.bias_h.device)
        return self._masks[h, w]

    def latent(self, x: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return y = g_a(x) * gain, and the gain. x: (B, 3, H, W) in [0, 1]; q: (B,) in [0, 1]."""
        gain = self.at_quality(self.log_gain_y, q).exp()
        return self.g_a(x, self.at_quality(self.log_gain_a, q).exp()).float() * gain, gain

    def hyper_latent(self, y: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return quantized z, and the likelihood (B, channels, positions) of each of its values.

        With `noise` the likelihoods are those of z plus noise, otherwise those of quantized z.
        """
        z = self.h_a(y * 0.25).float()
        median = self.prior_z._get_medians().reshape(1, -1, 1, 1)
        z_hat = ste_round(z - median) + median
        coded = z_hat if noise is None else z + noise
        batch, channels = coded.shape[:2]
        rows = coded.transpose(0, 1).reshape(channels, 1, -1)
        likelihood = self.prior_z._likelihood(rows)[0]
        return z_hat, likelihood.reshape(channels, batch, -1).transpose(0, 1)

    def code_latent(
        self, y: Tensor, q: Tensor, noise: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the entropy model on y. Returns y_hat and the estimated bits (B,) of y and of z."""
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
            means = means + mean
            log_scales = log_scales + log_scale * mask
        log_scales = log_scales + self.at_quality(self.bias_scale, q)
        residual = y - means
        residual = residual + noise[0] if noise else torch.round(residual)
        likelihood_y = gaussian_likelihood(residual, bounded_scale(log_scales))
        bits_y = -torch.log2(likelihood_y.clamp_min(1e-7)).sum((1, 2, 3))
        bits_z = -torch.log2(likelihood_z.clamp_min(1e-7)).sum((1, 2))
        return y_hat, bits_y, bits_z

    def forward(self, x: Tensor, q: Tensor, noise: tuple[Tensor, Tensor] | None = None) -> Output:
        """Encode and decode images, and estimate their bits.

        Args:
            x: (B, 3, H, W) in [0, 1], H and W multiples of 64.
            q: (B,) qualities in [0, 1].
            noise: for training, uniform in [-1/2, 1/2], with the shapes of y and z. It replaces
                rounding in the estimate of the rate.
        """
        y, gain = self.latent(x, q)
        y_hat, bits_y, bits_z = self.code_latent(y, q, noise)
        x_hat = self.g_s(y_hat / gain, self.at_quality(self.log_gain_s, q).exp()).float()
        pixels = x.shape[2] * x.shape[3]
        return Output(x_hat, (bits_y + bits_z) / pixels, bits_z / pixels)


def context_network(c: ModelConfig) -> nn.Sequential:
    """Return the network of a context step: (B, 2p, h, w) -> mean and log-scale (B, 2m, h, w)."""
    return nn.Sequential(
        Conv1x1(2 * c.p, c.p),
        *[PlainBlock(c.p) for _ in range(c.context_blocks)],
        Conv1x1(c.p, 2 * c.m),
    )


def bounded_scale(log_scale: Tensor) -> Tensor:
    """Return exp(log_scale), smoothly bounded below by 0.11 and clipped at 128."""
    bounded = LOG_SCALE_MIN + F.softplus(log_scale - LOG_SCALE_MIN)
    return bounded.clamp(max=LOG_SCALE_MAX).exp()


def gaussian_likelihood(residual: Tensor, scale: Tensor) -> Tensor:
    """Integrate a Gaussian of mean 0 over [residual - 1/2, residual + 1/2]."""
    distance = residual.abs()
    c = 1 / math.sqrt(2)
    return 0.5 * (
        torch.erfc(-c * (0.5 - distance) / scale) - torch.erfc(-c * (-0.5 - distance) / scale)
    )
