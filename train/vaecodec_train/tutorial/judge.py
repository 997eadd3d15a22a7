"""Measure how much generated digits look like real ones, by the Fréchet distance.

Heusel et al. 2017 compute it from the features of an ImageNet network, which has never seen digits.
Here the features are those of a small classifier trained on digits. Measuring the classifier's
confidence and the balance of the classes would be cheaper, but would not notice a generator that
repeats itself.
"""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaecodec_train.tutorial.digits import Digits
from vaecodec_train.tutorial.fit import BATCH


class Classifier(nn.Module):
    """Images (B, 1, 28, 28) in [0, 1] -> logits (B, 10).

    `features` are the 64 values before the last layer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 49, 64),
            nn.ReLU(),
        )
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits


def train_classifier(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epochs: int,
    rate: float = 0.001,
    seed: int = 0,
) -> None:
    """Minimise the cross-entropy of (B, 10) logits with Adam. The learning rate falls to zero."""
    iterations = epochs * -(-len(images) // BATCH)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1 - done / iterations)
    order = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(images), generator=order), BATCH):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(model(images[batch]), labels[batch]))
            optimizer.step()
            schedule.step()
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of the images that are classified correctly."""
    predicted = torch.cat([model(x).argmax(1) for x in torch.split(images, 1000)])
    return float((predicted == labels).float().mean())


class Judge:
    """A classifier of digits, and the statistics of its features on the test digits."""

    def __init__(self, digits: Digits, seed: int = 0):
        torch.manual_seed(seed)
        self.classifier = Classifier()
        train_classifier(self.classifier, digits.train, digits.train_labels, epochs=3)
        self.accuracy = accuracy(self.classifier, digits.test, digits.test_labels)
        self.real = self.moments(digits.test)

    @torch.no_grad()
    def moments(self, images: Tensor) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return mean (64,) and covariance (64, 64) of the features."""
        batches = [self.classifier.features(batch) for batch in torch.split(images, 1000)]
        features = torch.cat(batches).double().numpy()
        return features.mean(0), np.cov(features, rowvar=False)

    def distance(self, images: Tensor) -> float:
        """Return the Fréchet distance between the test digits and `images`.

        0 is the best value. There should be thousands of images.
        """
        a, cov_a = self.real
        b, cov_b = self.moments(images)
        # Trace of the square root of the product, whose eigenvalues are real and not negative.
        root = np.sqrt(np.clip(np.linalg.eigvals(cov_a @ cov_b).real, 0, None)).sum()
        return float(np.square(a - b).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * root)
