"""Spend more time on a smaller file: move y along the gradient of rate and distortion.

Rounding is annealed as in Yang et al. 2020, "Improving inference for neural image compression".
Only the encoder does this. What it writes is decoded like any other file.
"""

import math

import numpy as np

from vaecodec._arrays import F32, I32, Samples
from vaecodec.model.networks import Networks
from vaecodec.spec import STEPS, step_parts

ITERATIONS_PER_EFFORT = 10
LEARNING_RATE = 0.0015  # for 30 iterations at the lowest quality
BETA_1 = 0.5  # decay of Adam's first moment
BETA_2 = 0.99  # decay of Adam's second moment
TAU = 0.5  # temperature of the relaxed rounding at the start
COOLING = 1.5  # how far the logarithm of the temperature falls
NOISE = 0.3  # share of the noise of a full Gumbel-softmax


def refine(nets: Networks, y: F32, z: I32, samples: Samples, quality: float, effort: int) -> F32:
    """Return y after ITERATIONS_PER_EFFORT * effort gradient iterations.

    There is one second moment for all of y. One per element, as in Adam, would also move the
    elements that hardly matter. The same arguments give the same result on one machine.

    Args:
        nets: The networks, with refine.onnx.
        y: Shape (m, h, w), h and w multiples of 4, in units of the quantization step.
        z: The symbols of z, shape (channels, h/4, w/4).
        samples: The picture, shape (16h, 16w, 3), 0 to 255.
        quality: 1 to 100.
        effort: 1 to 9.

    Raises:
        ModelError: refine.onnx cannot be run.
    """
    constants = {"cells": _unshuffled(samples), "masks": _step_masks(y.shape)}
    rng = np.random.default_rng(0)
    first_moment = np.zeros_like(y)
    second_moment = 0.0
    iterations = ITERATIONS_PER_EFFORT * effort
    rate = LEARNING_RATE * math.exp(quality / 60) * math.sqrt(30 / iterations)
    for iteration in range(iterations):
        left = 1 - iteration / iterations
        noise = NOISE * rng.logistic(size=y.shape).astype(np.float32)
        tau = TAU * math.exp(-COOLING * (1 - left))
        gradient = nets.gradient(y, z, noise, tau, quality, constants)
        first_moment += (gradient - first_moment) * np.float32(1 - BETA_1)
        second_moment += (float(np.mean(gradient**2)) - second_moment) * (1 - BETA_2)
        unbias_1 = 1 - BETA_1 ** (iteration + 1)
        unbias_2 = 1 - BETA_2 ** (iteration + 1)
        size = rate * left * math.sqrt(unbias_2) / unbias_1
        y = y - np.float32(size / (math.sqrt(second_moment) + 1e-8)) * first_moment
    return y


def _unshuffled(samples: Samples) -> F32:
    """Return samples (8h, 8w, 3) of 0 to 255 as (1, 192, h, w), -0.5 to 0.5: cells of 8 x 8."""
    h = samples.shape[0] // 8
    w = samples.shape[1] // 8
    cells = np.asarray(samples, np.float32).reshape(h, 8, w, 8, 3).transpose(4, 1, 3, 0, 2)
    return cells.reshape(1, 192, h, w) / np.float32(255) - np.float32(0.5)


def _step_masks(shape: tuple[int, ...]) -> F32:
    """Return (4, m, h, w): 1 where each of the four steps codes, else 0."""
    masks = np.zeros((STEPS, *shape), np.float32)
    for step in range(STEPS):
        for rows, columns, channels in step_parts(step, shape[0]):
            masks[step][channels, rows, columns] = 1
    return masks
