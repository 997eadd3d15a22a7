"""The table of codecs that are compared. Adding one is adding one entry to PEERS."""

import importlib.util
import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version as installed
from typing import Any

import numpy as np
import PIL
from PIL import AvifImagePlugin, Image, features

import vaecodec
from vaecodec.coding.tile_pool import available_cores
from vaecodec.model import registry

OURS, SLOW = "vaecodec", "vaecodec effort 3"
EFFORTS = {
    OURS: (0, (1, 15, 29, 43, 57, 72, 86, 100)),
    SLOW: (3, (1, 21, 41, 60, 80, 100)),
}  # effort, qualities


@dataclass(frozen=True)
class Codec:
    """One way of making files of pictures.

    version: of its library, with the settings that matter; raises ImportError with a reason where it is missing.
    qualities: on the codec's own scale, from the smallest files to the largest; none where only speed is compared.
    usual: the quality at which speed is measured.
    encode: an RGB image, a quality and a number of threads (0: one a core, where the library lets one choose) -> all bytes
    of the file. decode: those bytes and the number of threads -> an RGB image of the same size.
    """

    name: str
    version: Callable[[], str]
    qualities: tuple[float, ...]
    usual: float
    encode: Callable[[Image.Image, float, int], bytes]
    decode: Callable[[bytes, int], Image.Image]


def available(model: str | None) -> tuple[dict[str, Codec], dict[str, str], dict[str, str]]:
    """vaecodec, and then each installed codec that it is compared with: codecs, versions, reasons of the missing, by name.

    model: of vaecodec, an id or a folder; None is the default one. Raises ModelError.
    """
    codecs: dict[str, Codec] = {}
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    for peer in (
        *(vaecodec_codec(name, model or registry.default_model()) for name in EFFORTS),
        *PEERS,
    ):
        try:
            versions[peer.name] = peer.version()
            codecs[peer.name] = peer
        except ImportError as error:
            missing[peer.name] = str(error)
    return codecs, versions, missing


def named(name: str, model: str | None) -> Codec:
    """One installed codec, without a look at the others. Raises ModelError."""
    ours = name in EFFORTS
    codec = (
        vaecodec_codec(name, model or registry.default_model())
        if ours
        else next(p for p in PEERS if p.name == name)
    )
    codec.version()  # libraries register themselves there
    return codec


def vaecodec_codec(name: str, model: str) -> Codec:
    """One of EFFORTS, with a model: an id or a folder."""
    effort, qualities = EFFORTS[name]

    def version() -> str:
        nets = registry.load_model(model, 0)
        if effort and not nets.has_weights_for("refine"):
            raise ImportError(f"model {nets.id} has no refine.onnx")
        return f"{vaecodec.__version__}, model {nets.id}" + (f", effort {effort}" if effort else "")

    def encode(image: Image.Image, quality: float, threads: int) -> bytes:
        return vaecodec.encode(image, quality, effort=effort, model=model, threads=threads)

    def decode(data: bytes, threads: int) -> Image.Image:
        return vaecodec.decode(data, model=model, threads=threads)

    return Codec(name, version, qualities, 50, encode, decode)


def _need(package: str, hint: str) -> None:
    """Raises ImportError with a sentence where a package is missing. Nothing is imported: torch takes seconds."""
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"{package} is not installed: pip install {hint}")


def _pillow_version(name: str, library: str, settings: str) -> Callable[[], str]:
    """Version function of a codec in Pillow. name: what Pillow's features call it. library: what people call it."""

    def version() -> str:
        if not features.check(name):
            raise ImportError(f"this Pillow is built without {library}")
        return f"{library} {features.version(name)}, Pillow {PIL.__version__}, {settings}"

    return version


def _jpeg_version(settings: str) -> Callable[[], str]:
    turbo = features.version_feature("libjpeg_turbo")
    return lambda: (
        f"{f'libjpeg-turbo {turbo}' if turbo else 'libjpeg'}, Pillow {PIL.__version__}, {settings}"
    )


def _jpeg_xl_version() -> str:
    _need("pillow_jxl", "pillow-jxl-plugin")
    import pillow_jxl  # noqa: F401, registers itself

    return f"libjxl in pillow-jxl-plugin {installed('pillow-jxl-plugin')}, effort 7"


def _heic_version() -> str:
    _need("pillow_heif", "pillow-heif")
    import pillow_heif

    pillow_heif.register_heif_opener()
    info = pillow_heif.libheif_info()
    encoder = info["encoders"].get("x265")
    if encoder is None:
        raise ImportError("this pillow-heif is built without an HEVC encoder")
    return f"libheif {info['libheif']}, {encoder}, pillow-heif {pillow_heif.__version__}, 4:2:0"


def _compressai_version() -> str:
    _need("compressai", "'vaecodec[train]'")
    return f"compressai {installed('compressai')}, quality 4, untrained weights: speed only"


def _save(
    kind: str, options: Callable[[float, int], dict[str, Any]]
) -> Callable[[Image.Image, float, int], bytes]:
    """An encoder that is Pillow's save. options: of a quality and a number of threads."""

    def encode(image: Image.Image, quality: float, threads: int) -> bytes:
        out = io.BytesIO()
        image.save(out, kind, **options(quality, threads))
        return out.getvalue()

    return encode


def _open(data: bytes, threads: int) -> Image.Image:
    AvifImagePlugin.DEFAULT_MAX_THREADS = threads or available_cores()
    return Image.open(io.BytesIO(data)).convert("RGB")


@lru_cache(maxsize=3)
def _compressai_model(name: str) -> Any:
    import torch
    from compressai import zoo

    torch.manual_seed(0)
    model = getattr(zoo, name)(quality=4, pretrained=False).eval()
    model.update()
    return model


@contextmanager
def _torch_threads(threads: int) -> Iterator[Any]:
    import torch

    torch.set_num_threads(threads or available_cores())
    with torch.inference_mode():
        yield torch


def _compressai(name: str, title: str) -> Codec:
    """A network of compressai's. Its "file" is a pickle of the strings, as compressai has no file format."""

    def encode(image: Image.Image, quality: float, threads: int) -> bytes:
        with _torch_threads(threads) as torch:
            x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
            x = torch.nn.functional.pad(
                x, (0, -image.width % 64, 0, -image.height % 64), mode="replicate"
            )
            return pickle.dumps((image.size, _compressai_model(name).compress(x)))

    def decode(data: bytes, threads: int) -> Image.Image:
        (width, height), coded = pickle.loads(data)
        with _torch_threads(threads):
            x = _compressai_model(name).decompress(coded["strings"], coded["shape"])["x_hat"]
            pixels = (
                x[0, :, :height, :width]
                .clamp(0, 1)
                .mul(255)
                .round()
                .byte()
                .permute(1, 2, 0)
                .numpy()
            )
        return Image.fromarray(pixels)

    return Codec(title, _compressai_version, (), 4, encode, decode)


PEERS: tuple[Codec, ...] = (
    Codec(
        "JPEG",
        _jpeg_version("4:2:0, optimized Huffman tables"),
        (7, 12, 20, 34, 52, 70, 83, 92),
        75,
        _save("JPEG", lambda q, _: {"quality": round(q), "subsampling": "4:2:0", "optimize": True}),
        _open,
    ),
    Codec(
        "JPEG 4:4:4",
        _jpeg_version("4:4:4, optimized Huffman tables"),
        (7, 12, 20, 34, 52, 70, 83, 92),
        75,
        _save("JPEG", lambda q, _: {"quality": round(q), "subsampling": "4:4:4", "optimize": True}),
        _open,
    ),
    Codec(
        "WebP",
        _pillow_version("webp", "libwebp", "method 4"),
        (0, 4, 12, 32, 55, 75, 88),
        75,
        _save("WEBP", lambda q, _: {"quality": round(q)}),
        _open,
    ),
    # Its quality is the rate aimed at, in bits per pixel of a picture of 24.
    Codec(
        "JPEG 2000",
        _pillow_version("jpg_2000", "OpenJPEG", "9/7 wavelet, single quality layer"),
        (0.1, 0.18, 0.3, 0.5, 0.8, 1.3, 2.1),
        0.7,
        _save(
            "JPEG2000",
            lambda q, _: {
                "quality_mode": "rates",
                "quality_layers": [24 / q],
                "irreversible": True,
                "mct": 1,
                "no_jp2": True,
            },
        ),
        _open,
    ),
    Codec(
        "AVIF",
        _pillow_version("avif", "libavif", "speed 6, 4:2:0"),
        (8, 20, 32, 44, 55, 68, 81),
        60,
        _save(
            "AVIF",
            lambda q, threads: {
                "quality": round(q),
                "speed": 6,
                "subsampling": "4:2:0",
                "max_threads": threads or available_cores(),
            },
        ),
        _open,
    ),
    Codec(
        "AVIF slow 4:4:4",
        _pillow_version("avif", "libavif", "speed 4, 4:4:4"),
        (10, 24, 38, 52, 66, 80),
        60,
        _save(
            "AVIF",
            lambda q, threads: {
                "quality": round(q),
                "speed": 4,
                "subsampling": "4:4:4",
                "max_threads": threads or available_cores(),
            },
        ),
        _open,
    ),
    Codec(
        "JPEG XL",
        _jpeg_xl_version,
        (4, 12, 24, 45, 65, 80, 91),
        75,
        _save(
            "JXL",
            lambda q, threads: {"quality": round(q), "effort": 7, "num_threads": threads or -1},
        ),
        _open,
    ),
    Codec(
        "HEIC",
        _heic_version,
        (8, 16, 24, 32, 40, 48, 57),
        50,
        _save("HEIF", lambda q, _: {"quality": round(q)}),
        _open,
    ),
    _compressai("bmshj2018_hyperprior", "bmshj2018-hyperprior"),
    _compressai("mbt2018_mean", "mbt2018-mean"),
    _compressai("cheng2020_anchor", "cheng2020-anchor"),
)
