"""Symbols come back from the entropy coder, however far outside the tables."""

import numpy as np

from vaecodec.entropy.coder import Decoder, Encoder
from vaecodec.entropy.tables import Tables


def test_escapes_code_any_latent() -> None:
    frequency = [2**22, 2**23, 2**22, 2**22, 2**22, 2**23 - 2, 1, 1]
    tables = Tables(np.array([1, 2]), np.array(frequency))
    symbols = np.array([0, 1, -1, 2, -2, 500, -32768, 32768, 3, -3, 0, 40], np.int32)
    index = np.array([0, 1] * 6, np.uint8)
    encoder = Encoder()
    encoder.encode(tables, index, symbols)
    encoder.encode(tables, index[:3], symbols[:3])
    decoder = Decoder(encoder.finish())
    assert decoder.decode(tables, index).tolist() == symbols.tolist()
    assert decoder.decode(tables, index[:3]).tolist() == symbols[:3].tolist()
