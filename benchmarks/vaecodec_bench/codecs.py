"""The table of codecs that are compared."""
import io
from collections.abc import Callable
from dataclasses import dataclass

import PIL
from PIL import Image, features

import vaecodec
from vaecodec import networks


@dataclass(frozen=True)
class Codec:
    """One way of making files of pictures.

    qualities: on the codec's own scale, from the smallest files to the largest.
    encode: an RGB image and a quality -> all bytes of the file. decode: those bytes -> an RGB image of the same size.
    """

    name: str
    version: str
    qualities: tuple[float, ...]
    encode: Callable[[Image.Image, float], bytes]
    decode: Callable[[bytes], Image.Image]


def all_codecs(model: str | None, threads: int) -> tuple[Codec, ...]:
    """vaecodec, and then each codec that it is compared with.

    model: of vaecodec, an id or a folder; None is the default one. threads: of its inference engine; 0 is one a core.
    Raises ModelError.
    """
    return (
        _vaecodec(model or networks.default_model(), threads),
        Codec("JPEG", f"{_jpeg_library()}, Pillow {PIL.__version__}, 4:2:0, optimized Huffman tables",
              (5, 10, 15, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95), _encode_jpeg, _decode_with_pillow),
    )


def _vaecodec(model: str, threads: int) -> Codec:
    def encode(image: Image.Image, quality: float) -> bytes:
        return vaecodec.encode(image, quality, model=model, threads=threads)

    def decode(data: bytes) -> Image.Image:
        return vaecodec.decode(data, model=model, threads=threads)

    version = f"{vaecodec.__version__}, model {networks.load(model, threads).id}"
    return Codec("vaecodec", version, tuple(range(1, 101, 11)), encode, decode)


def _jpeg_library() -> str:
    turbo = features.version_feature("libjpeg_turbo")
    return f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version_codec('jpg')}"


def _encode_jpeg(image: Image.Image, quality: float) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=round(quality), subsampling="4:2:0", optimize=True)
    return out.getvalue()


def _decode_with_pillow(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")
