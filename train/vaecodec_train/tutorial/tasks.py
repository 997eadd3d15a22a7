"""What the latents of digits are good for: telling the odd one out, telling digits apart, and learning from few labels."""

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn

from vaecodec_bench.tasks.anomalies import auroc
from vaecodec_train.tutorial.digits import Digits
from vaecodec_train.tutorial.fit import fit
from vaecodec_train.tutorial.judge import accuracy, train_classifier
from vaecodec_train.tutorial.models import Autoencoder, ConvolutionalAutoencoder


class Pca:
    """The pixel-space baseline: the components of the largest variance."""

    def __init__(self, images: Tensor, components: int):
        flat = images.flatten(1)
        self.mean = flat.mean(0)
        centred = flat - self.mean
        self.basis = torch.linalg.eigh(centred.T @ centred)[1][:, -components:]

    def code(self, images: Tensor) -> Tensor:
        coded: Tensor = (images.flatten(1) - self.mean) @ self.basis
        return coded

    def reconstruct(self, images: Tensor) -> Tensor:
        flat: Tensor = self.code(images) @ self.basis.T + self.mean
        return flat.reshape(images.shape)


def relative(images: Tensor, shown: Tensor) -> Tensor:
    """Squared error of each image (n,), as a part of its own energy: a thin digit has little ink to get wrong."""
    return (shown - images).square().sum((1, 2, 3)) / (images.square().sum((1, 2, 3)) + 1)


def one_class(
    digits: Digits, digit: int, epochs: int, components: int = 32, latent: int = 32
) -> tuple[float, float]:
    """AUROC of finding the other nine digits in the test set with a model that has only seen this one; and PCA's.

    Both judge by the relative error of the reconstruction.
    """
    torch.manual_seed(digit)
    seen = digits.train[digits.train_labels == digit]
    model = ConvolutionalAutoencoder(latent)
    fit(model, model.losses, seen, epochs)
    pca = Pca(seen, components)
    with torch.no_grad():
        pairs = [
            [relative(images, shown(images)) for images in torch.split(digits.test, 1000)]
            for shown in (model.reconstruct, pca.reconstruct)
        ]
    normal = (digits.test_labels == digit).numpy()
    ours, theirs = (torch.cat(scores).double().numpy() for scores in pairs)
    return auroc(ours[normal], ours[~normal]), auroc(theirs[normal], theirs[~normal])


@torch.no_grad()
def features(model: Autoencoder, images: Tensor) -> Tensor:
    """Mean and log-variance of each image's latents (n, 2 latent); of a plain autoencoder's the latents alone (n, latent)."""
    parts = 2 if model.variational else 1
    return torch.cat([torch.cat(model.encode(x)[:parts], 1) for x in torch.split(images, 1000)])


def probe(
    train: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor, steps: int = 300
) -> float:
    """Accuracy of a linear classifier (logistic regression by L-BFGS) on features (n, d) of zero mean and unit variance."""
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    x, model = (train - mean) / deviation, nn.Linear(train.shape[1], 10)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=steps, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels) + 1e-5 * model.weight.square().sum()
        torch.autograd.backward(loss)
        return loss.item()

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return accuracy(model, (test - mean) / deviation, test_labels)


def purity(values: Tensor, labels: Tensor, clusters: int = 10) -> float:
    """The part of the points that have the commonest label of their k-means cluster."""
    _, cluster = kmeans2(values.double().numpy(), clusters, minit="++", seed=0, iter=50)
    counts = np.zeros((clusters, 10), int)
    np.add.at(counts, (cluster, labels.numpy()), 1)
    return float(counts.max(1).sum() / len(labels))


class Finetuned(nn.Module):
    """An autoencoder's encoder with a linear classifier on the mean of its latent: images -> logits (B, 10)."""

    def __init__(self, model: Autoencoder):
        super().__init__()
        self.model, self.head = model, nn.Linear(model.latent, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.model.encode(x)[0])
        return logits


def few_labels(
    pretrained: Autoencoder,
    digits: Digits,
    each: int = 100,
    seed: int = 0,
    epochs: int = 60,
) -> tuple[float, float]:
    """Test accuracy with so many labelled digits of each class: of the pretrained encoder, and of the same one from scratch."""
    order = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(seed))
    labels = digits.train_labels[order]
    chosen = torch.cat([order[(labels == digit).nonzero()[:each, 0]] for digit in range(10)])
    results = []
    for weights in (pretrained.state_dict(), None):
        torch.manual_seed(seed)
        model = type(pretrained)(pretrained.latent)
        if weights is not None:
            model.load_state_dict(weights)
        classifier = Finetuned(model)
        train_classifier(
            classifier, digits.train[chosen], digits.train_labels[chosen], epochs, seed=seed
        )
        results.append(accuracy(classifier, digits.test, digits.test_labels))
    return results[0], results[1]
