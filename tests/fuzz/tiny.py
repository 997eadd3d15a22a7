"""Files of a tiny model, so that whole files can be decoded thousands of times.

The model lies in tests/fuzz/model. `python tests/fuzz/tiny.py FOLDER` makes another one, which
takes the trainer. Fuzzing needs no particular one.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import vaecodec
from helpers import encode_tiled, kodak_crop

MODEL = str(Path(__file__).parent / "model")


def files() -> list[bytes]:
    """Return files of all kinds: grey, alpha, 16 bits, metadata, tiled and step by step."""
    picture = kodak_crop(4, 200, 140)
    clear = picture.copy()
    clear.putalpha(Image.radial_gradient("L").resize(picture.size))
    fine = np.asarray(kodak_crop(6, 60, 40), np.uint16) * 200
    small = (kodak_crop(4, 70, 50), kodak_crop(5, 33, 64).convert("L"), fine)
    made = [vaecodec.encode(image, 60, model=MODEL) for image in small]
    picture.info["icc_profile"] = b"a profile"
    for image in (picture, clear):
        for progressive in (False, True):
            made.append(encode_tiled(image, 60, model=MODEL, progressive=progressive))
    return made


def make_model(folder: Path) -> Path:
    """Write a model with random weights."""
    import torch

    from vaecodec_train.export.model_folder import export
    from vaecodec_train.model.autoencoder import Autoencoder, ModelConfig

    torch.manual_seed(0)
    blocks = (1, 1)
    config = ModelConfig(n=8, k=8, m=8, z=8, p=8, g_a_blocks=blocks, g_s_blocks=blocks, anchors=2)
    crops = [np.asarray(kodak_crop(n, 256, 256)) for n in range(1, 9)]
    return export(Autoencoder(config).eval(), crops, folder, {})


if __name__ == "__main__":
    print(make_model(Path(sys.argv[1])))
