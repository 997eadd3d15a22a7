"""A tiny model and files made with it, so that whole files can be decoded thousands of times."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import vaecodec
from conftest import kodak_crop
from vaecodec_train.export.model_folder import export
from vaecodec_train.model.autoencoder import Autoencoder, ModelConfig

CONFIG = ModelConfig(n=8, k=8, m=8, z=8, p=8, g_a_blocks=(1, 1), g_s_blocks=(1, 1), anchors=2)


def tiny_model(folder: Path) -> Path:
    torch.manual_seed(0)
    crops = [np.asarray(kodak_crop(n, 256, 256)) for n in range(1, 9)]
    return export(Autoencoder(CONFIG).eval(), crops, folder, {})


def files(model: str) -> list[bytes]:
    """One file of every kind: one tile, several, step by step, grey, alpha, 16 bits, metadata."""
    from unittest.mock import patch

    picture = kodak_crop(4, 200, 140)
    clear = picture.copy()
    clear.putalpha(Image.radial_gradient("L").resize(picture.size))
    fine = np.asarray(kodak_crop(6, 60, 40), np.uint16) * 200
    small = (kodak_crop(4, 70, 50), kodak_crop(5, 33, 64).convert("L"), fine)
    made = [vaecodec.encode(image, 60, model=model) for image in small]
    picture.info["icc_profile"] = b"a profile"
    with patch("vaecodec.coding.session.tile_log2", lambda *_: 7):
        for image in (picture, clear):
            made += [
                vaecodec.encode(image, 60, model=model, progressive=step) for step in (False, True)
            ]
    return made


def fresh_model() -> Path:
    """For programs: the model in a folder that outlives them only by mistake."""
    return tiny_model(Path(tempfile.mkdtemp(prefix="vaecodec-tiny-")))
