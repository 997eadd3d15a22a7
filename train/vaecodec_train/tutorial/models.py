"""Three small autoencoders of digits: fully connected, variational, and convolutional."""

from itertools import pairwise

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

PIXELS = 784  # 28 x 28


def dense_layers(*widths: int) -> list[nn.Module]:
    """Return linear layers between these widths, with ReLU between the layers."""
    layers: list[nn.Module] = []
    for c_in, c_out in pairwise(widths):
        layers += [nn.Linear(c_in, c_out), nn.ReLU()]
    return layers[:-1]


class DigitAutoencoder(nn.Module):
    """A fully connected autoencoder, 784-256-64-256-784, that minimises the squared error.

    Images are (B, 1, 28, 28) in [0, 1], latents (B, latent). `decode` returns logits, whose sigmoid
    is the image. The variational models derive from this class.
    """

    variational = False

    def __init__(self, latent: int = 64):
        super().__init__()
        self.latent = latent
        self.encoder, self.decoder = self.build(latent)

    def build(self, latent: int) -> tuple[nn.Module, nn.Module]:
        """Return the encoder and the decoder."""
        return (
            nn.Sequential(nn.Flatten(), *dense_layers(PIXELS, 256, latent)),
            nn.Sequential(*dense_layers(latent, 256, PIXELS), nn.Unflatten(1, (1, 28, 28))),
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance (B, latent) of the latent.

        If the model is not variational, the mean is the latent and the log-variance is -inf.
        """
        h: Tensor = self.encoder(x)
        if not self.variational:
            return h, torch.full_like(h, -torch.inf)
        mean, log_variance = h.chunk(2, 1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        logits: Tensor = self.decoder(z)
        return logits

    def reconstruct(self, x: Tensor) -> Tensor:
        """Decode the means of the latents of the images."""
        return torch.sigmoid(self.decode(self.encode(x)[0]))

    def losses(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return reconstruction loss and KL divergence of each image (B,).

        Variational models (Kingma and Welling 2014) use the binary cross-entropy and the divergence
        from N(0, I), both in nats. Their sum is the negative evidence lower bound. The latent is
        drawn as mean + deviation * noise, so that gradients pass through it. The other model uses
        the squared error of an image, and 0.
        """
        mean, log_variance = self.encode(x)
        if not self.variational:
            error = (torch.sigmoid(self.decode(mean)) - x).square().sum((1, 2, 3))
            return error, torch.zeros(len(x))
        noise = torch.randn(mean.shape, generator=generator)
        logits = self.decode(mean + (0.5 * log_variance).exp() * noise)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return cross_entropy.sum((1, 2, 3)), kl


class DigitVae(DigitAutoencoder):
    """A fully connected VAE: 784-400-200-(100 means, 100 log-variances)-200-400-784."""

    variational = True

    def __init__(self, latent: int = 100):
        super().__init__(latent)

    def build(self, latent: int) -> tuple[nn.Module, nn.Module]:
        return (
            nn.Sequential(nn.Flatten(), *dense_layers(PIXELS, 400, 200, 2 * latent)),
            nn.Sequential(*dense_layers(latent, 200, 400, PIXELS), nn.Unflatten(1, (1, 28, 28))),
        )


class DigitConvVae(DigitAutoencoder):
    """A convolutional VAE: two convolutions of stride 2, a latent, and the mirror image."""

    variational = True

    def __init__(self, latent: int = 32):
        super().__init__(latent)

    def build(self, latent: int) -> tuple[nn.Module, nn.Module]:
        encoder = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            *dense_layers(64 * 7 * 7, 256, 2 * latent),
        )
        decoder = nn.Sequential(
            *dense_layers(latent, 256, 64 * 7 * 7),
            nn.ReLU(),
            nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 32, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, 2, 1),
        )
        return encoder, decoder


KINDS: dict[str, type[DigitAutoencoder]] = {
    "ae": DigitAutoencoder,
    "vae": DigitVae,
    "convae": DigitConvVae,
}
