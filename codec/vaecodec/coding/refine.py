"""Spending more time on a smaller file: gradient steps that move y of one picture to a better rate and distortion.

Rounding is annealed as in Yang et al. 2020, "Improving inference for neural image compression". Only the encoder does this;
what it writes is decoded like any other file.
"""

import math

import numpy as np
import numpy.typing as npt

from vaecodec.model.networks import Floats, Networks
from vaecodec.spec import STEPS, group_at

STEPS_PER_EFFORT = 10
RATE, BETA_1, BETA_2 = (
    0.0015,
    0.5,
    0.99,
)  # of Adam; the rate is that of 30 steps at the lowest quality
TAU, COOLING, NOISE = (
    0.5,
    1.5,
    0.3,
)  # the first temperature, how far its logarithm falls, the part of a Gumbel-softmax's noise


def refine(
    nets: Networks,
    y: Floats,
    z: npt.NDArray[np.int32],
    samples: npt.NDArray[np.generic],
    quality: float,
    effort: int,
) -> Floats:
    """y (m, h, w), h and w multiples of 4, moved by 10 steps for each unit of effort; samples: (16h, 16w, 3) of 0 to 255,
    z: the symbols (channels, h/4, w/4). The same arguments give the same result on one machine. Raises ModelError.

    One second moment for all of y: one for each of its elements, as Adam has it, would also move those that hardly matter.
    """
    h, w = y.shape[1:]
    cells = np.asarray(samples, np.float32).reshape(2 * h, 8, 2 * w, 8, 3).transpose(4, 1, 3, 0, 2)
    fixed = {
        "cells": cells.reshape(1, 192, 2 * h, 2 * w) / np.float32(255) - np.float32(0.5),
        "masks": masks(y.shape),
    }
    rng, first, second = np.random.default_rng(0), np.zeros_like(y), 0.0
    steps = STEPS_PER_EFFORT * effort
    rate = RATE * math.exp(quality / 60) * math.sqrt(30 / steps)
    for step in range(steps):
        left = 1 - step / steps
        noise = NOISE * rng.logistic(size=y.shape).astype(np.float32)
        gradient = nets.gradient(y, z, noise, TAU * math.exp(-COOLING * (1 - left)), quality, fixed)
        first += (gradient - first) * np.float32(1 - BETA_1)
        second += (float(np.mean(gradient**2)) - second) * (1 - BETA_2)
        size = rate * left * math.sqrt(1 - BETA_2 ** (step + 1)) / (1 - BETA_1 ** (step + 1))
        y = y - np.float32(size / (math.sqrt(second) + 1e-8)) * first
    return y


def masks(shape: tuple[int, ...]) -> Floats:
    """(4, m, h, w): 1 where each of the four steps codes, else 0."""
    m, h, w = shape
    mask = np.zeros((STEPS, m, h, w), np.float32)
    for step in range(STEPS):
        for position in range(STEPS):
            first = group_at(step, position) * (m // STEPS)
            mask[step, first : first + m // STEPS, position // 2 :: 2, position % 2 :: 2] = 1
    return mask
