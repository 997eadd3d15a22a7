"""`vaecodec-train basics ...`: the small autoencoders of digits, and what they are compared with."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaecodec.errors import VaecodecError

if TYPE_CHECKING:
    from vaecodec_train.tutorial.models import Autoencoder

app = typer.Typer(
    no_args_is_help=True, help="Small autoencoders of MNIST digits, from first principles."
)

Data = Annotated[
    Path,
    typer.Option(help="Folder of MNIST's four idx.gz files, or torchvision's.", show_default=False),
]
Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output-dir",
        help="Folder for weights, log, figures and pictures.",
        show_default=False,
    ),
]
Epochs = Annotated[int, typer.Option(min=1, help="How often all training digits are seen.")]
Seed = Annotated[int, typer.Option(help="Of the weights and of the order of the digits.")]
Trained = Annotated[
    Path,
    typer.Argument(help="Folder of a run of `basics ae`, `vae` or `convae`.", show_default=False),
]


@app.command()
def ae(data: Data, output: Output, epochs: Epochs = 20, seed: Seed = 0) -> None:
    """The fully connected autoencoder 784-256-64-256-784.

    Example: vaecodec-train basics ae --data mnist/ -o runs/ae
    """
    train("ae", data, output, epochs, seed)


@app.command()
def vae(data: Data, output: Output, epochs: Epochs = 20, seed: Seed = 0) -> None:
    """The fully connected variational autoencoder 784-400-200-(100, 100)-200-400-784.

    Example: vaecodec-train basics vae --data mnist/ -o runs/vae
    """
    train("vae", data, output, epochs, seed)


@app.command()
def convae(data: Data, output: Output, epochs: Epochs = 20, seed: Seed = 0) -> None:
    """A convolutional variational autoencoder.

    Example: vaecodec-train basics convae --data mnist/ -o runs/convae
    """
    train("convae", data, output, epochs, seed)


def train(kind: str, data: Path, output: Path, epochs: int, seed: int) -> None:
    """Train a model of this kind, measure it, draw pictures."""
    import torch

    from vaecodec_train.tutorial import digits as mnist
    from vaecodec_train.tutorial.fit import fit, measure, psnr
    from vaecodec_train.tutorial.judge import Judge
    from vaecodec_train.tutorial.models import KINDS
    from vaecodec_train.tutorial.pictures import draw
    from vaecodec_train.tutorial.tasks import Pca

    digits = mnist.load(data)
    prepare(output)
    torch.manual_seed(seed)
    model = KINDS[kind]()
    fit(model, model.losses, digits.train, epochs, output / "log.jsonl", seed)
    torch.save({"kind": kind, "weights": model.state_dict()}, output / "model.pt")
    draw(model, digits.test, digits.test_labels, output)
    pca = Pca(digits.train, model.latent)
    figures: dict[str, object] = {
        "test": measure(model, digits.test),
        f"psnr of PCA with {model.latent} components": psnr(
            digits.test, pca.reconstruct(digits.test).clamp(0, 1)
        ),
    }
    judge = Judge(digits)
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        drawn = torch.cat(
            [
                torch.sigmoid(model.decode(torch.randn(1000, model.latent, generator=noise)))
                for _ in range(10)
            ]
        )
    spread = pca.code(digits.train).std(0)
    flat = torch.randn(10_000, model.latent, generator=noise) * spread @ pca.basis.T + pca.mean
    figures["frechet distance"] = {
        "samples": judge.distance(drawn),
        "other real digits": judge.distance(digits.train[:10_000]),
        "samples of PCA": judge.distance(flat.clamp(0, 1).reshape(-1, 1, 28, 28)),
        "accuracy of its classifier": judge.accuracy,
    }
    report(figures, output)


@app.command()
def quantized(
    data: Data,
    output: Output,
    epochs: Epochs = 20,
    seed: Seed = 0,
    weight: Annotated[
        float, typer.Option(min=1e-3, help="Of the squared error against the bits.")
    ] = 150.0,
) -> None:
    """The same VAE with rounded latents and a learned prior: a codec of digits, against PNG, zlib, JPEG and WebP.

    Example: vaecodec-train basics quantized --data mnist/ -o runs/quantized
    """
    import torch

    from vaecodec_train.tutorial import digits as mnist
    from vaecodec_train.tutorial.fit import fit
    from vaecodec_train.tutorial.pictures import grid
    from vaecodec_train.tutorial.quantized import DigitCodec, peers, round_trip

    digits = mnist.load(data)
    prepare(output)
    torch.manual_seed(seed)
    model = DigitCodec(weight=weight)
    fit(
        model,
        model.losses,
        digits.train,
        epochs,
        output / "log.jsonl",
        seed,
        ("weighted error", "nats"),
    )
    torch.save({"weights": model.state_dict()}, output / "model.pt")
    bits, reached = round_trip(model, digits.test, output / "test.digits")
    with torch.no_grad():
        grid(
            torch.cat([digits.test[:16], model.decompress(model.compress(digits.test[:16]))]),
            16,
            output / "decoded.png",
        )
    rows = {"ours, all in one": (bits, reached), **peers(digits.test, reached)}
    report(
        {
            name: {
                "bits per digit": size,
                "psnr": "lossless" if quality == float("inf") else quality,
            }
            for name, (size, quality) in rows.items()
        },
        output,
    )


@app.command()
def oneclass(
    data: Data,
    output: Output,
    epochs: Epochs = 10,
) -> None:
    """Learn one digit, find the other nine: the area under the ROC curve for each of the ten, and that of PCA.

    Example: vaecodec-train basics oneclass --data mnist/ -o runs/oneclass
    """
    from rich.progress import track

    from vaecodec_train.tutorial import digits as mnist
    from vaecodec_train.tutorial.tasks import one_class

    digits = mnist.load(data)
    prepare(output)
    pairs = [
        one_class(digits, digit, epochs) for digit in track(range(10), "digits", transient=True)
    ]
    both = list(zip(*pairs, strict=True))
    report(
        {
            "auroc": dict(zip("0123456789", both[0], strict=True)),
            "auroc of PCA": dict(zip("0123456789", both[1], strict=True)),
            "mean": sum(both[0]) / 10,
            "mean of PCA": sum(both[1]) / 10,
        },
        output,
    )


@app.command()
def probe(trained: Trained, data: Data, output: Output) -> None:
    """What the latents tell about digits: a linear classifier, k-means, and learning from few labels.

    Example: vaecodec-train basics probe runs/vae --data mnist/ -o runs/probe
    """
    from vaecodec_train.tutorial import digits as mnist
    from vaecodec_train.tutorial import tasks

    digits, model = mnist.load(data), load(trained)
    prepare(output)
    latents, latents_test = (
        tasks.features(model, images) for images in (digits.train, digits.test)
    )
    pixels, pixels_test = digits.train.flatten(1), digits.test.flatten(1)
    pairs = [tasks.few_labels(model, digits, each=100, seed=seed) for seed in range(3)]
    ours, scratch = zip(*pairs, strict=True)
    means = latents_test[:, : model.latent]
    linear = {
        "latents, mean and log-variance": tasks.probe(
            latents, digits.train_labels, latents_test, digits.test_labels
        ),
        "pixels": tasks.probe(pixels, digits.train_labels, pixels_test, digits.test_labels),
    }
    clusters = {
        "latents, mean": tasks.purity(means, digits.test_labels),
        "pixels": tasks.purity(pixels_test, digits.test_labels),
    }
    report(
        {
            "linear probe": linear,
            "k-means purity, 10 clusters": clusters,
            "100 labels a class, mean of 3 draws": {
                "fine-tuned": sum(ours) / 3,
                "from scratch": sum(scratch) / 3,
            },
        },
        output,
    )


def load(folder: Path) -> "Autoencoder":
    """The model of a finished run. Raises VaecodecError."""
    import pickle

    import torch

    from vaecodec_train.tutorial.models import KINDS

    path = folder / "model.pt"
    try:
        stored = torch.load(path, weights_only=True)
        model = KINDS[stored["kind"]]()
        model.load_state_dict(stored["weights"])
        return model.eval()
    except OSError as error:
        raise VaecodecError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError):
        raise VaecodecError(f"{path}: not a model of `basics ae`, `vae` or `convae`") from None


def prepare(folder: Path) -> None:
    """Make the folder, without an earlier run's log."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log.jsonl").unlink(missing_ok=True)
    except OSError as error:
        raise VaecodecError(f"{folder}: cannot be written to ({error.strerror})") from None


def report(figures: dict[str, object], folder: Path) -> None:
    """Print the figures, and write them to figures.json."""
    (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    for name, value in figures.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        print(
            f"{name}: "
            + ", ".join(
                f"{part} {number:.4g}".strip() if isinstance(number, float) else f"{part} {number}"
                for part, number in parts
            )
        )
