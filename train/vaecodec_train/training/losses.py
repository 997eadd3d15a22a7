"""The loss: the logarithm of rate plus lambda times distortion."""

from dataclasses import dataclass

from torch import Tensor, nn

from vaecodec_train.model.autoencoder import Autoencoder


@dataclass
class Losses:
    """Loss of a batch and the figures of its images."""

    loss: Tensor  # scalar
    bpp: Tensor  # (B,) estimated bits per pixel
    mse: Tensor  # (B,) mean squared error of pixels in [0, 1]


def rate_distortion(
    forward: nn.Module,
    autoencoder: Autoencoder,
    x: Tensor,
    q: Tensor,
    noise: tuple[Tensor, Tensor],
    metric: str,
) -> Losses:
    """Return the mean of log(R + lambda D) over the batch.

    The logarithm gives every rate the same weight.

    Args:
        forward: `autoencoder`, possibly compiled or distributed.
        autoencoder: gives lambda.
        x: images (B, 3, H, W) in [0, 1].
        q: qualities (B,) in [0, 1].
        noise: see `Autoencoder.forward`.
        metric: "mse" for D = 255^2 MSE, or "ms-ssim" for D = 1 - MS-SSIM.
    """
    out = forward(x, q, noise)
    mse = (out.x_hat - x).square().mean((1, 2, 3))
    distortion = 255**2 * mse if metric == "mse" else ms_ssim_distortion(out.x_hat, x)
    loss = (out.bpp + autoencoder.lambda_at(q) * distortion).log().mean()
    return Losses(loss, out.bpp, mse)


def ms_ssim_distortion(x_hat: Tensor, x: Tensor) -> Tensor:
    """Return 1 - MS-SSIM of each image (B,)."""
    from pytorch_msssim import ms_ssim

    similarity: Tensor = ms_ssim(x_hat.clamp(0, 1), x, data_range=1.0, size_average=False)
    return 1 - similarity
