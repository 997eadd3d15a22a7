"""The `vaecodec-train tutorial` commands: small autoencoders of digits and comparisons."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaecodec.errors import VaecodecError

if TYPE_CHECKING:
    from vaecodec_train.tutorial.digits import Digits
    from vaecodec_train.tutorial.models import DigitAutoencoder
    from vaecodec_train.tutorial.tasks import Pca

app = typer.Typer(
    no_args_is_help=True,
    help="Train small autoencoders of MNIST digits (docs/FROM_VAE_TO_CODEC.md).",
)

DataOption = Annotated[
    Path,
    typer.Option(
        help="Folder with MNIST's four idx.gz files, or a folder made by torchvision.",
        show_default=False,
    ),
]
OutputOption = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output-dir",
        help="Folder for weights, log, figures and pictures.",
        show_default=False,
    ),
]
EpochsOption = Annotated[int, typer.Option(min=1, help="Number of passes over the training set.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the weights and of the order of digits.")]
TrainedArgument = Annotated[
    Path,
    typer.Argument(
        help="Output folder of `tutorial ae`, `tutorial vae` or `tutorial convae`.",
        show_default=False,
    ),
]
SAMPLES_PER_BATCH = 1000
BATCHES_OF_SAMPLES = 10


@app.command()
def ae(
    data: DataOption, output: OutputOption, epochs: EpochsOption = 20, seed: SeedOption = 0
) -> None:
    """Train the fully connected autoencoder 784-256-64-256-784.

    Example: vaecodec-train tutorial ae --data mnist/ -o runs/ae
    """
    train_and_report("ae", data, output, epochs, seed)


@app.command()
def vae(
    data: DataOption, output: OutputOption, epochs: EpochsOption = 20, seed: SeedOption = 0
) -> None:
    """Train the fully connected variational autoencoder 784-400-200-(100, 100)-200-400-784.

    Example: vaecodec-train tutorial vae --data mnist/ -o runs/vae
    """
    train_and_report("vae", data, output, epochs, seed)


@app.command()
def convae(
    data: DataOption, output: OutputOption, epochs: EpochsOption = 20, seed: SeedOption = 0
) -> None:
    """Train a convolutional variational autoencoder.

    Example: vaecodec-train tutorial convae --data mnist/ -o runs/convae
    """
    train_and_report("convae", data, output, epochs, seed)


def train_and_report(kind: str, data: Path, output: Path, epochs: int, seed: int) -> None:
    """Train a model of this kind, measure it, and draw pictures."""
    import torch

    from vaecodec_train.tutorial.digits import load_digits
    from vaecodec_train.tutorial.fit import fit, measure, psnr
    from vaecodec_train.tutorial.models import KINDS
    from vaecodec_train.tutorial.pictures import draw_model
    from vaecodec_train.tutorial.tasks import Pca

    digits = load_digits(data)
    prepare_folder(output)
    torch.manual_seed(seed)
    model = KINDS[kind]()
    fit(model, model.losses, digits.train, epochs, output / "log.jsonl", seed)
    torch.save({"kind": kind, "weights": model.state_dict()}, output / "model.pt")
    draw_model(model, digits.test, digits.test_labels, output)
    pca = Pca(digits.train, model.latent)
    pca_psnr = psnr(digits.test, pca.reconstruct(digits.test).clamp(0, 1))
    figures: dict[str, object] = {
        "test": measure(model, digits.test),
        f"psnr of PCA with {model.latent} components": pca_psnr,
        "frechet distance": frechet_distances(model, pca, digits, seed),
    }
    report(figures, output)


def frechet_distances(
    model: "DigitAutoencoder", pca: "Pca", digits: "Digits", seed: int
) -> dict[str, float]:
    """Compare samples of the model, real digits, and samples of PCA with the test digits."""
    import torch

    from vaecodec_train.tutorial.judge import Judge

    judge = Judge(digits)
    count = BATCHES_OF_SAMPLES * SAMPLES_PER_BATCH
    generator = torch.Generator().manual_seed(seed)
    batches = []
    with torch.no_grad():
        for _ in range(BATCHES_OF_SAMPLES):
            noise = torch.randn(SAMPLES_PER_BATCH, model.latent, generator=generator)
            batches.append(torch.sigmoid(model.decode(noise)))
    deviation = pca.encode(digits.train).std(0)
    coefficients = torch.randn(count, model.latent, generator=generator) * deviation
    pca_samples = (coefficients @ pca.basis.T + pca.mean).clamp(0, 1).reshape(-1, 1, 28, 28)
    return {
        "samples": judge.distance(torch.cat(batches)),
        "other real digits": judge.distance(digits.train[:count]),
        "samples of PCA": judge.distance(pca_samples),
        "accuracy of its classifier": judge.accuracy,
    }


@app.command()
def quantized(
    data: DataOption,
    output: OutputOption,
    epochs: EpochsOption = 20,
    seed: SeedOption = 0,
    weight: Annotated[
        float, typer.Option(min=1e-3, help="Weight of the squared error against the bits.")
    ] = 150.0,
) -> None:
    """Turn the VAE into a codec of digits, and compare it with PNG, zlib, JPEG and WebP.

    Its latents are rounded and have a learned prior.

    Example: vaecodec-train tutorial quantized --data mnist/ -o runs/quantized
    """
    import torch

    from vaecodec_train.tutorial.digits import load_digits
    from vaecodec_train.tutorial.fit import fit
    from vaecodec_train.tutorial.pictures import COLUMNS, save_grid
    from vaecodec_train.tutorial.quantized import DigitCodec, compare_formats, round_trip

    digits = load_digits(data)
    prepare_folder(output)
    torch.manual_seed(seed)
    model = DigitCodec(weight=weight)
    names = ("weighted error", "nats")
    fit(model, model.losses, digits.train, epochs, output / "log.jsonl", seed, names)
    torch.save({"weights": model.state_dict()}, output / "model.pt")
    bits, psnr = round_trip(model, digits.test, output / "test.digits")
    originals = digits.test[:COLUMNS]
    decoded = model.decompress(model.compress(originals))
    save_grid(torch.cat([originals, decoded]), COLUMNS, output / "decoded.png")
    rows = {"ours, all in one": (bits, psnr), **compare_formats(digits.test, psnr)}
    figures: dict[str, object] = {}
    for name, (row_bits, row_psnr) in rows.items():
        lossless = row_psnr == float("inf")
        figures[name] = {"bits per digit": row_bits, "psnr": "lossless" if lossless else row_psnr}
    report(figures, output)


@app.command()
def oneclass(
    data: DataOption,
    output: OutputOption,
    epochs: EpochsOption = 10,
) -> None:
    """Learn one digit and find the other nine; print the area under the ROC curve, and that of PCA.

    Example: vaecodec-train tutorial oneclass --data mnist/ -o runs/oneclass
    """
    from rich.progress import track

    from vaecodec_train.tutorial.digits import load_digits
    from vaecodec_train.tutorial.tasks import one_class

    digits = load_digits(data)
    prepare_folder(output)
    areas: dict[str, float] = {}
    pca_areas: dict[str, float] = {}
    for digit in track(range(10), "digits", transient=True):
        areas[str(digit)], pca_areas[str(digit)] = one_class(digits, digit, epochs)
    figures: dict[str, object] = {
        "auroc": areas,
        "auroc of PCA": pca_areas,
        "mean": sum(areas.values()) / 10,
        "mean of PCA": sum(pca_areas.values()) / 10,
    }
    report(figures, output)


@app.command()
def probe(trained: TrainedArgument, data: DataOption, output: OutputOption) -> None:
    """Measure what the latents know about digits: a linear classifier, k-means, and few labels.

    Example: vaecodec-train tutorial probe runs/vae --data mnist/ -o runs/probe
    """
    from vaecodec_train.tutorial import tasks
    from vaecodec_train.tutorial.digits import load_digits

    digits = load_digits(data)
    model = load_model(trained)
    prepare_folder(output)
    labels = digits.train_labels
    test_labels = digits.test_labels
    latents = tasks.features(model, digits.train)
    test_latents = tasks.features(model, digits.test)
    pixels = digits.train.flatten(1)
    test_pixels = digits.test.flatten(1)
    pairs = [tasks.few_labels(model, digits, per_class=100, seed=seed) for seed in range(3)]
    finetuned, from_scratch = zip(*pairs, strict=True)
    test_means = test_latents[:, : model.latent]
    linear = {
        "latents, mean and log-variance": tasks.linear_probe(
            latents, labels, test_latents, test_labels
        ),
        "pixels": tasks.linear_probe(pixels, labels, test_pixels, test_labels),
    }
    clusters = {
        "latents, mean": tasks.cluster_purity(test_means, test_labels),
        "pixels": tasks.cluster_purity(test_pixels, test_labels),
    }
    figures: dict[str, object] = {
        "linear probe": linear,
        "k-means purity, 10 clusters": clusters,
        "100 labels a class, mean of 3 draws": {
            "fine-tuned": sum(finetuned) / 3,
            "from scratch": sum(from_scratch) / 3,
        },
    }
    report(figures, output)


def load_model(folder: Path) -> "DigitAutoencoder":
    """Load the model of a finished run. Raises VaecodecError if there is none or it is damaged."""
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
        raise VaecodecError(
            f"{path}: not a model of `tutorial ae`, `tutorial vae` or `tutorial convae`"
        ) from None


def prepare_folder(folder: Path) -> None:
    """Create the folder and delete the log of an earlier run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log.jsonl").unlink(missing_ok=True)
    except OSError as error:
        raise VaecodecError(f"{folder}: cannot be written to ({error.strerror})") from None


def report(figures: dict[str, object], folder: Path) -> None:
    """Print the figures and write them to figures.json."""
    (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    for name, value in figures.items():
        if isinstance(value, dict):
            text = ", ".join(f"{part} {format_figure(figure)}" for part, figure in value.items())
        else:
            text = format_figure(value)
        print(f"{name}: {text}")


def format_figure(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
