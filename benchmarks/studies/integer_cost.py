"""Measure how many bits rounding the entropy networks to integers costs.

The float networks and the integer ones code the same latents y, given the same z. Their bits are
the code lengths under a Gaussian with the mean and scale that they predict. A last column rounds
the scale to that of one of the 64 probability tables. The pictures are crops from a folder, other
than those for calibration, or all images of a second folder.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaecodec._arrays import F64
from vaecodec.engine import Engine
from vaecodec.engine.network import round_shift, saturate
from vaecodec.engine.quality import table_row
from vaecodec.image.files import images_in, read_image
from vaecodec.spec import POSITIONS, STEPS, Y_FRACTION, Z_FRACTION, step_parts
from vaecodec_train.export.entropy import (
    LOG_SCALE_SPACING,
    LOG_SCALE_UNIT,
    EntropyModel,
    entropy_model,
)
from vaecodec_train.export.model_folder import CALIBRATION_CROPS, Pixels, batches, load_crops
from vaecodec_train.model.autoencoder import (
    LOG_SCALE_MIN,
    Autoencoder,
    bounded_scale,
    gaussian_likelihood,
)
from vaecodec_train.model.checkpoint import load_autoencoder

QUALITIES = (1, *range(10, 101, 10))
CELL_SIDE = 64  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="weights, a .safetensors file")
    parser.add_argument("folder", type=Path, help="folder of images to cut the crops from")
    parser.add_argument("--crops", type=int, default=64, help="number of crops to measure on")
    parser.add_argument("--images", type=Path, help="folder of images to measure on instead")
    parser.add_argument("--every", type=int, default=1, help="take every n-th of these images")
    arguments = parser.parse_args()
    autoencoder, _ = load_autoencoder(arguments.checkpoint)
    crops = load_crops([arguments.folder], CALIBRATION_CROPS + arguments.crops)
    entropy = entropy_model(autoencoder, batches(crops[:CALIBRATION_CROPS]))
    if arguments.images is None:
        pictures = crops[CALIBRATION_CROPS:]
    else:
        names = images_in(arguments.images)[:: arguments.every]
        pictures = [whole_cells(np.asarray(read_image(Path(n)).convert("RGB"))) for n in names]
    engines = {name: Engine(network) for name, network in entropy.networks.items()}
    print("| quality | float, bits of y per pixel | integer | integer, 64 tables |")
    print("|---|---|---|---|")
    pixels = sum(picture.shape[0] * picture.shape[1] for picture in pictures)
    for quality in QUALITIES:
        bits = sum(measure(autoencoder, entropy, engines, x, quality) for x in pictures)
        change = 100 * (bits / bits[0] - 1)
        print(
            f"| {quality} | {bits[0] / pixels:.4f} | {change[1]:+.3f} % | {change[2]:+.3f} % |",
            flush=True,
        )


def whole_cells(picture: Pixels) -> Pixels:
    height, width = (side // CELL_SIDE * CELL_SIDE for side in picture.shape[:2])
    return picture[:height, :width]


@torch.no_grad()
def measure(
    autoencoder: Autoencoder,
    entropy: EntropyModel,
    engines: dict[str, Engine],
    picture: Pixels,
    quality: int,
) -> F64:
    """Return the bits of y: of the float networks, the integer networks, and with 64 tables."""
    x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    q = torch.tensor([(quality - 1) / 99])
    y, _ = autoencoder.latent(x, q)
    _, float_bits, _ = autoencoder.code_latent(y, q)
    median = autoencoder.prior_z._get_medians().reshape(1, -1, 1, 1)
    z = torch.round(autoencoder.h_a(y * 0.25) - median)
    symbols, log_scale = predict(entropy, engines, by_cell(y), by_cell(z), quality)
    scale = bounded_scale(torch.from_numpy(log_scale * LOG_SCALE_UNIT + LOG_SCALE_MIN))
    index = entropy.scale_index[log_scale + 2048]
    table_scale = torch.from_numpy(LOG_SCALE_MIN + index * LOG_SCALE_SPACING).exp()
    k = torch.from_numpy(symbols)
    return np.array([float_bits.item(), bits(k, scale), bits(k, table_scale)])


def by_cell(x: Tensor) -> F64:
    """Return (1, channels, h, w) as (h, w, channels)."""
    return x[0].permute(1, 2, 0).double().numpy()


def predict(
    entropy: EntropyModel, engines: dict[str, Engine], y: F64, z: F64, quality: int
) -> tuple[F64, F64]:
    """Run the integer networks. Returns the symbols of y and their log-scales, both (h, w, m).

    y and the symbols z are (h, w, channels) as well.
    """
    m = y.shape[2]
    p = engines["h_s"].run(saturate(z * Z_FRACTION + entropy.z_median), quality)
    y_hat = np.zeros(y.shape, int)  # in 1 / Y_FRACTION
    symbols = np.zeros(y.shape)
    log_scales = np.zeros(y.shape, int)
    bias = table_row(entropy.bias_scale, quality)
    for step in range(STEPS):
        known = saturate(round_shift(y_hat, entropy.y_shift))
        inputs = np.concatenate([p, known], 2) if step else p
        out = engines[f"context_{step}"].run(inputs, quality).astype(int)
        out = out.reshape(*out.shape[:2], POSITIONS, 2, m // STEPS)
        for position, part in enumerate(step_parts(step, m)):
            channels = part[2]
            mean = out[:, :, position, 0] << entropy.y_shift[channels]
            log_scale = out[:, :, position, 1] + bias[channels]
            symbols[part] = np.rint(y[part] - mean / Y_FRACTION)
            y_hat[part] = mean + symbols[part].astype(int) * Y_FRACTION
            log_scales[part] = log_scale.clip(-2048, 2047)
    return symbols, log_scales


def bits(symbols: Tensor, scale: Tensor) -> float:
    """Return a Gaussian code length with the same bound as in training."""
    return -torch.log2(gaussian_likelihood(symbols, scale).clamp_min(1e-7)).sum().item()


if __name__ == "__main__":
    main()
