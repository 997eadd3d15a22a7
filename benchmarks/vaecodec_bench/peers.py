"""The table of codecs to compare. To add a codec, add one entry to PEERS."""

import importlib.util
import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version as installed_version
from typing import Any

import numpy as np
import PIL
from PIL import AvifImagePlugin, Image, features

import vaecodec
from vaecodec.engine.workers import available_cores
from vaecodec.model import registry

OURS = "vaecodec"
OURS_EFFORT_3 = "vaecodec effort 3"
EFFORTS = {  # vaecodec's own rows: effort, and the qualities measured
    OURS: (0, (1, 15, 29, 43, 57, 72, 86, 100)),
    OURS_EFFORT_3: (3, (1, 21, 41, 60, 80, 100)),
}
SPEED_QUALITY = 50  # of vaecodec


@dataclass(frozen=True)
class Peer:
    """One codec with its settings.

    Attributes:
        name: The name shown in tables and diagrams.
        version: Returns the version of the codec's library and the settings that matter. Raises
            ImportError with a readable message if the library is missing.
        qualities: On the codec's own scale, from the smallest files to the largest. Empty if only
            speed is compared.
        speed_quality: The quality at which speed is measured.
        encode: Takes an RGB image, a quality and a number of threads (0 means one per core, if the
            library offers a choice). Returns the bytes of the file.
        decode: Takes these bytes and a number of threads. Returns an RGB image of the same size.
    """

    name: str
    version: Callable[[], str]
    qualities: tuple[float, ...]
    speed_quality: float
    encode: Callable[[Image.Image, float, int], bytes]
    decode: Callable[[bytes, int], Image.Image]


def installed_peers(
    model: str | None,
) -> tuple[dict[str, Peer], dict[str, str], dict[str, str]]:
    """Return vaecodec and the codecs to compare it with.

    Args:
        model: Id or folder of vaecodec's model, None for the default one.

    Returns:
        Three dictionaries by name: the installed codecs, their versions, and the reason for each
        codec that is missing. vaecodec comes first.

    Raises:
        ModelError: The model is missing or damaged.
    """
    peers: dict[str, Peer] = {}
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    model = model or registry.default_model()
    for peer in (*(vaecodec_peer(name, model) for name in EFFORTS), *PEERS):
        try:
            versions[peer.name] = peer.version()
            peers[peer.name] = peer
        except ImportError as error:
            missing[peer.name] = str(error)
    return peers, versions, missing


def load_peer(name: str, model: str | None) -> Peer:
    """Return one installed codec without checking the others. Raises ModelError."""
    if name in EFFORTS:
        peer = vaecodec_peer(name, model or registry.default_model())
    else:
        peer = next(peer for peer in PEERS if peer.name == name)
    peer.version()  # libraries register with Pillow there
    return peer


def vaecodec_peer(name: str, model: str) -> Peer:
    """Return the peer for a row of EFFORTS, with a model given by its id or folder."""
    effort, qualities = EFFORTS[name]

    def version() -> str:
        nets = registry.load_model(model, 0)
        if effort and not nets.has_weights_for("refine"):
            raise ImportError(f"model {nets.id} has no refine.onnx")
        suffix = f", effort {effort}" if effort else ""
        return f"{vaecodec.__version__}, model {nets.id}{suffix}"

    def encode(image: Image.Image, quality: float, threads: int) -> bytes:
        return vaecodec.encode(image, quality, effort=effort, model=model, threads=threads)

    def decode(data: bytes, threads: int) -> Image.Image:
        return vaecodec.decode(data, model=model, threads=threads)

    return Peer(name, version, qualities, SPEED_QUALITY, encode, decode)


def _require(package: str, requirement: str) -> None:
    """Raise ImportError with a readable message if a package is missing.

    The package is not imported, because importing torch takes seconds.
    """
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"{package} is not installed: pip install {requirement}")


def _pillow_version(feature: str, library: str, settings: str) -> Callable[[], str]:
    """Return the `version` function of a codec in Pillow.

    feature: its name in PIL.features. library: its name for people.
    """

    def version() -> str:
        if not features.check(feature):
            raise ImportError(f"this Pillow is built without {library}")
        return f"{library} {features.version(feature)}, Pillow {PIL.__version__}, {settings}"

    return version


def _jpeg_version(settings: str) -> Callable[[], str]:
    turbo = features.version_feature("libjpeg_turbo")
    library = f"libjpeg-turbo {turbo}" if turbo else "libjpeg"
    return lambda: f"{library}, Pillow {PIL.__version__}, {settings}"


def _jpeg_xl_version() -> str:
    _require("pillow_jxl", "pillow-jxl-plugin")
    import pillow_jxl  # noqa: F401, registers itself with Pillow

    return f"libjxl in pillow-jxl-plugin {installed_version('pillow-jxl-plugin')}, effort 7"


def _heic_version() -> str:
    _require("pillow_heif", "pillow-heif")
    import pillow_heif

    pillow_heif.register_heif_opener()
    info = pillow_heif.libheif_info()
    encoder = info["encoders"].get("x265")
    if encoder is None:
        raise ImportError("this pillow-heif is built without an HEVC encoder")
    return f"libheif {info['libheif']}, {encoder}, pillow-heif {pillow_heif.__version__}, 4:2:0"


def _compressai_version() -> str:
    _require("compressai", "'vaecodec[train]'")
    version = installed_version("compressai")
    return f"compressai {version}, quality 4, untrained weights: speed only"


Options = Callable[[float, int], dict[str, Any]]


def _save(kind: str, options: Options) -> Callable[[Image.Image, float, int], bytes]:
    """Return an encoder that calls Pillow's save.

    options: takes a quality and a number of threads and returns the keyword arguments of save.
    """

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


def _compressai(name: str, title: str) -> Peer:
    """Return a network of CompressAI.

    Its "file" is a pickle of the coded strings, because CompressAI has no file format.
    """

    def encode(image: Image.Image, quality: float, threads: int) -> bytes:
        padding = (0, -image.width % 64, 0, -image.height % 64)
        with _torch_threads(threads) as torch:
            x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
            x = torch.nn.functional.pad(x, padding, mode="replicate")
            return pickle.dumps((image.size, _compressai_model(name).compress(x)))

    def decode(data: bytes, threads: int) -> Image.Image:
        (width, height), coded = pickle.loads(data)
        with _torch_threads(threads):
            x = _compressai_model(name).decompress(coded["strings"], coded["shape"])["x_hat"]
            x = x[0, :, :height, :width].clamp(0, 1).mul(255).round().byte()
            return Image.fromarray(x.permute(1, 2, 0).numpy())

    return Peer(title, _compressai_version, (), 4, encode, decode)


def _jpeg_options(subsampling: str) -> Options:
    return lambda quality, _: {
        "quality": round(quality),
        "subsampling": subsampling,
        "optimize": True,
    }


def _jpeg_2000_options(bpp: float, threads: int) -> dict[str, Any]:
    return {
        "quality_mode": "rates",
        "quality_layers": [24 / bpp],
        "irreversible": True,
        "mct": 1,
        "no_jp2": True,
    }


def _avif_options(speed: int, subsampling: str) -> Options:
    return lambda quality, threads: {
        "quality": round(quality),
        "speed": speed,
        "subsampling": subsampling,
        "max_threads": threads or available_cores(),
    }


def _jpeg_xl_options(quality: float, threads: int) -> dict[str, Any]:
    return {"quality": round(quality), "effort": 7, "num_threads": threads or -1}


def _only_quality(quality: float, threads: int) -> dict[str, Any]:
    return {"quality": round(quality)}


PEERS: tuple[Peer, ...] = (
    Peer(
        "JPEG",
        _jpeg_version("4:2:0, optimized Huffman tables"),
        (7, 12, 20, 34, 52, 70, 83, 92),
        75,
        _save("JPEG", _jpeg_options("4:2:0")),
        _open,
    ),
    Peer(
        "JPEG 4:4:4",
        _jpeg_version("4:4:4, optimized Huffman tables"),
        (7, 12, 20, 34, 52, 70, 83, 92),
        75,
        _save("JPEG", _jpeg_options("4:4:4")),
        _open,
    ),
    Peer(
        "WebP",
        _pillow_version("webp", "libwebp", "method 4"),
        (0, 4, 12, 32, 55, 75, 88),
        75,
        _save("WEBP", _only_quality),
        _open,
    ),
    # Its quality is the target rate, in bits per pixel of a 24-bit picture.
    Peer(
        "JPEG 2000",
        _pillow_version("jpg_2000", "OpenJPEG", "9/7 wavelet, single quality layer"),
        (0.1, 0.18, 0.3, 0.5, 0.8, 1.3, 2.1),
        0.7,
        _save("JPEG2000", _jpeg_2000_options),
        _open,
    ),
    Peer(
        "AVIF",
        _pillow_version("avif", "libavif", "speed 6, 4:2:0"),
        (8, 20, 32, 44, 55, 68, 81),
        60,
        _save("AVIF", _avif_options(6, "4:2:0")),
        _open,
    ),
    Peer(
        "AVIF slow 4:4:4",
        _pillow_version("avif", "libavif", "speed 4, 4:4:4"),
        (10, 24, 38, 52, 66, 80),
        60,
        _save("AVIF", _avif_options(4, "4:4:4")),
        _open,
    ),
    Peer(
        "JPEG XL",
        _jpeg_xl_version,
        (4, 12, 24, 45, 65, 80, 91),
        75,
        _save("JXL", _jpeg_xl_options),
        _open,
    ),
    Peer(
        "HEIC",
        _heic_version,
        (8, 16, 24, 32, 40, 48, 57),
        50,
        _save("HEIF", _only_quality),
        _open,
    ),
    _compressai("bmshj2018_hyperprior", "bmshj2018-hyperprior"),
    _compressai("mbt2018_mean", "mbt2018-mean"),
    _compressai("cheng2020_anchor", "cheng2020-anchor"),
)
