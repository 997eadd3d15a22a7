"""Use the latents of digits: find the odd one out, tell digits apart, and learn from few labels."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from scipy.cluster.vq import kmeans2
from scipy.stats import rankdata
from torch import Tensor, nn

from vaecodec_train.tutorial.digits import Digits
from vaecodec_train.tutorial.fit import fit
from vaecodec_train.tutorial.judge import accuracy, train_classifier
from vaecodec_train.tutorial.models import DigitAutoencoder, DigitConvVae


def auroc(normal: npt.NDArray[np.float64], odd: npt.NDArray[np.float64]) -> float:
    """Return the area under the ROC curve.

    It is the probability that an odd value is larger than a normal one. Ties count half.
    """
    ranks = rankdata(np.concatenate([normal, odd]))[len(normal) :]
    pairs_won = ranks.sum() - len(odd) * (len(odd) + 1) / 2
    return float(pairs_won / (len(normal) * len(odd)))


class Pca:
    """The pixel-space baseline: principal component analysis (PCA) of the images."""

    def __init__(self, images: Tensor, components: int):
        flat = images.flatten(1)
        self.mean = flat.mean(0)
        centred = flat - self.mean
        self.basis = torch.linalg.eigh(centred.T @ centred)[1][:, -components:]

    def encode(self, images: Tensor) -> Tensor:
        """Return the coefficients (n, components) of the images."""
        coefficients: Tensor = (images.flatten(1) - self.mean) @ self.basis
        return coefficients

    def reconstruct(self, images: Tensor) -> Tensor:
        flat: Tensor = self.encode(images) @ self.basis.T + self.mean
        return flat.reshape(images.shape)


def relative_error(images: Tensor, reconstructed: Tensor) -> Tensor:
    """Return the squared error of each image (n,), divided by its energy.

    Without the division, thin digits would have small errors because they have little ink.
    """
    error = (reconstructed - images).square().sum((1, 2, 3))
    return error / (images.square().sum((1, 2, 3)) + 1)


def one_class(
    digits: Digits, digit: int, epochs: int, components: int = 32, latent: int = 32
) -> tuple[float, float]:
    """Find the other nine digits in the test set with a model trained on one digit, and with PCA.

    Both score an image by the relative error of its reconstruction.

    Returns:
        The AUROC of the model, and that of PCA.
    """
    torch.manual_seed(digit)
    seen = digits.train[digits.train_labels == digit]
    model = DigitConvVae(latent)
    fit(model, model.losses, seen, epochs)
    pca = Pca(seen, components)
    normal = (digits.test_labels == digit).numpy()
    areas = []
    for reconstruct in (model.reconstruct, pca.reconstruct):
        scores = reconstruction_scores(reconstruct, digits.test)
        areas.append(auroc(scores[normal], scores[~normal]))
    return areas[0], areas[1]


@torch.no_grad()
def reconstruction_scores(
    reconstruct: Callable[[Tensor], Tensor], images: Tensor
) -> npt.NDArray[np.float64]:
    """Return the relative error of each image (n,)."""
    batches = torch.split(images, 1000)
    errors = [relative_error(batch, reconstruct(batch)) for batch in batches]
    return torch.cat(errors).double().numpy()


@torch.no_grad()
def features(model: DigitAutoencoder, images: Tensor) -> Tensor:
    """Return mean and log-variance of the latent of each image, (n, 2 latent).

    If the model is not variational, return the latents alone, (n, latent).
    """
    parts = 2 if model.variational else 1
    return torch.cat([torch.cat(model.encode(x)[:parts], 1) for x in torch.split(images, 1000)])


def linear_probe(
    train: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor, iterations: int = 300
) -> float:
    """Return the test accuracy of a linear classifier on features (n, d).

    It is a logistic regression, fitted by L-BFGS on features normalised to zero mean and unit
    variance.
    """
    mean = train.mean(0)
    deviation = train.std(0) + 1e-6
    x = (train - mean) / deviation
    model = nn.Linear(train.shape[1], 10)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=iterations, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels) + 1e-5 * model.weight.square().sum()
        torch.autograd.backward(loss)
        return loss.item()

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return accuracy(model, (test - mean) / deviation, test_labels)


def cluster_purity(values: Tensor, labels: Tensor, clusters: int = 10) -> float:
    """Return the share of points that have the most common label of their k-means cluster."""
    _, cluster = kmeans2(values.double().numpy(), clusters, minit="++", seed=0, iter=50)
    counts = np.zeros((clusters, 10), int)
    np.add.at(counts, (cluster, labels.numpy()), 1)
    return float(counts.max(1).sum() / len(labels))


class LatentClassifier(nn.Module):
    """An encoder with a linear classifier on the mean of the latent: images -> logits (B, 10)."""

    def __init__(self, model: DigitAutoencoder):
        super().__init__()
        self.model = model
        self.head = nn.Linear(model.latent, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.model.encode(x)[0])
        return logits


def few_labels(
    pretrained: DigitAutoencoder,
    digits: Digits,
    per_class: int = 100,
    seed: int = 0,
    epochs: int = 60,
) -> tuple[float, float]:
    """Train classifiers on a few labelled digits per class.

    Returns:
        The test accuracy with the pretrained encoder, and with the same encoder trained from
        scratch.
    """
    order = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(seed))
    labels = digits.train_labels[order]
    chosen = torch.cat([order[(labels == digit).nonzero()[:per_class, 0]] for digit in range(10)])
    results = []
    for weights in (pretrained.state_dict(), None):
        torch.manual_seed(seed)
        model = type(pretrained)(pretrained.latent)
        if weights is not None:
            model.load_state_dict(weights)
        classifier = LatentClassifier(model)
        train_classifier(
            classifier, digits.train[chosen], digits.train_labels[chosen], epochs, seed=seed
        )
        results.append(accuracy(classifier, digits.test, digits.test_labels))
    return results[0], results[1]
