"""refine.onnx holds the true gradient."""

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from helpers import kodak_crop
from small_training import UNEVEN_MODEL
from vaecodec.spec import STEPS, step_parts
from vaecodec_train.export.onnx_refine import gradient_graph
from vaecodec_train.model.autoencoder import Autoencoder


def step_masks(shape: tuple[int, ...]) -> np.ndarray:
    """Return (4, m, h, w): 1 where each step codes."""
    masks = np.zeros((STEPS, *shape), np.float32)
    for step in range(STEPS):
        for rows, columns, channels in step_parts(step, shape[0]):
            masks[step][channels, rows, columns] = 1
    return masks


@pytest.mark.parametrize("block", ["gated", "plain"])
def test_the_gradient_is_the_slope(block: str, tmp_path: Path) -> None:
    """Along the gradient itself, bits and error change as it says."""
    torch.manual_seed(3)
    config = dataclasses.replace(UNEVEN_MODEL, context_blocks=2, block=block)
    codec = Autoencoder(config).eval()
    with torch.no_grad():
        # Residual branches begin near zero. Here they must matter.
        for weights in codec.parameters():
            weights.add_(0.03 * torch.randn_like(weights))
    (tmp_path / "refine.onnx").write_bytes(gradient_graph(codec))
    session = onnxruntime.InferenceSession(
        tmp_path / "refine.onnx", providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(0)
    picture = (
        torch.from_numpy(np.asarray(kodak_crop(4, 128, 64)).copy()).permute(2, 0, 1)[None] / 255
        - 0.5
    )
    shape = (1, 48, 4, 8)
    fixed = {
        "cells": F.pixel_unshuffle(picture, 8).numpy(),
        "noise": rng.logistic(size=shape).astype(np.float32) * 0.2,
        "z": rng.integers(-2, 3, (1, 16, 1, 2)).astype(np.float32),
        "masks": step_masks(shape[1:]),
        "anchors": np.array([[0, 0.25, 0.75, 0]], np.float32),
        "tau": np.array([0.7], np.float32),
    }
    y = np.floor(rng.normal(0, 3, shape)) + rng.uniform(
        0.2, 0.8, shape
    )  # away from the integers, where the relaxation jumps

    def loss(at: np.ndarray, weight: float) -> tuple[np.ndarray, float]:
        feeds = fixed | {"y": at.astype(np.float32), "weight": np.array([weight], np.float32)}
        gradient, bits, error = session.run(None, feeds)
        return gradient, float(bits) + weight / 3 * float(error)

    for weight in (0.0, 3000.0):
        gradient, _ = loss(y, weight)
        step = 0.01 * gradient / np.abs(gradient).max()
        slope = loss(y + step, weight)[1] - loss(y - step, weight)[1]
        assert slope == pytest.approx(2 * float((gradient * step).sum()), rel=0.03)
