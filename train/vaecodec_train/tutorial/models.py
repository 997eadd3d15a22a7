"""Three small autoencoders of digits: fully connected, fully connected and variational, convolutional and variational."""

from itertools import pairwise

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

PIXELS = 784


def layers(*widths: int) -> list[nn.Module]:
    """Linear layers of these widths with ReLU between them."""
    parts: list[nn.Module] = []
    for a, b in pairwise(widths):
        parts += [nn.Linear(a, b), nn.ReLU()]
    return parts[:-1]


class Autoencoder(nn.Module):
    """784-256-64-256-784: the mean squared error is all it minimizes.

    Images are (B, 1, 28, 28) in [0, 1]; latents (B, latent); `decode` gives logits, whose sigmoid is the image.
    """

    variational = False

    def __init__(self, latent: int = 64):
        super().__init__()
        self.latent = latent
        self.encoder, self.decoder = self.build(latent)

    def build(self, latent: int) -> tuple[nn.Module, nn.Module]:
        return (
            nn.Sequential(nn.Flatten(), *layers(PIXELS, 256, latent)),
            nn.Sequential(*layers(latent, 256, PIXELS), nn.Unflatten(1, (1, 28, 28))),
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, latent) of the latent; without the second half, an autoencoder's log-variance is -inf."""
        h: Tensor = self.encoder(x)
        if not self.variational:
            return h, torch.full_like(h, -torch.inf)
        mean, log_variance = h.chunk(2, 1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        logits: Tensor = self.decoder(z)
        return logits

    def reconstruct(self, x: Tensor) -> Tensor:
        """Images from the means of their latents."""
        return torch.sigmoid(self.decode(self.encode(x)[0]))

    def losses(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Reconstruction and KL of each image (B,).

        Variational (Kingma and Welling 2014): binary cross-entropy and the divergence from N(0, I), in nats; their sum is the
        negative evidence lower bound, and the latent is drawn as mean + deviation * noise so that gradients pass. Otherwise the
        squared error of an image and 0.
        """
        mean, log_variance = self.encode(x)
        if not self.variational:
            return (torch.sigmoid(self.decode(mean)) - x).square().sum((1, 2, 3)), torch.zeros(
                len(x)
            )
        noise = torch.randn(mean.shape, generator=generator)
        logits = self.decode(mean + (0.5 * log_variance).exp() * noise)
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(
            (1, 2, 3)
        )
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return reconstruction, kl


class VariationalAutoencoder(Autoencoder):
    """784-400-200-(100 means, 100 log-variances)-200-400-784."""

    variational = True

    def __init__(self, latent: int = 100):
        super().__init__(latent)

    def build(self, latent: int) -> tuple[nn.Module, nn.Module]:
        return (
            nn.Sequential(nn.Flatten(), *layers(PIXELS, 400, 200, 2 * latent)),
            nn.Sequential(*layers(latent, 200, 400, PIXELS), nn.Unflatten(1, (1, 28, 28))),
        )


class ConvolutionalAutoencoder(Autoencoder):
    """Two convolutions of stride 2 and their mirror image around a variational latent."""

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
            *layers(64 * 7 * 7, 256, 2 * latent),
        )
        decoder = nn.Sequential(
            *layers(latent, 256, 64 * 7 * 7),
            nn.ReLU(),
            nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 32, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, 2, 1),
        )
        return encoder, decoder


KINDS: dict[str, type[Autoencoder]] = {
    "ae": Autoencoder,
    "vae": VariationalAutoencoder,
    "convae": ConvolutionalAutoencoder,
}
