"""Command-line tools as their users meet them: one process from file to file, its time and its peak memory."""

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from vaecodec.errors import VaecodecError
from vaecodec_bench import launch
from vaecodec_bench.peers import OURS

MEGAPIXELS = (0.1, 0.4, 1.6, 6.0, 24.0)


@dataclass(frozen=True)
class Tool:
    """One way of running a codec. encode, decode: commands, where IN and OUT stand for files. suffix: of its files."""

    name: str
    suffix: str
    encode: tuple[str, ...]
    decode: tuple[str, ...]


def tools(model: str | None) -> list[Tool]:
    """vaecodec, then the peers: the tools that are installed, and else Pillow in a Python process, which the name says."""
    chosen = ("--model", model) if model else ()
    ours = (sys.executable, "-m", "vaecodec")
    found = [
        Tool(
            OURS,
            ".vae",
            (*ours, "encode", "IN", "OUT", "-fq", *chosen),
            (*ours, "decode", "IN", "OUT", "-fq", *chosen),
        )
    ]
    found.append(_pillow("JPEG", ".jpg", "'JPEG', quality=75, optimize=True"))
    found.append(
        _installed(
            "cwebp",
            ".webp",
            ("cwebp", "-quiet", "-q", "75", "IN", "-o", "OUT"),
            ("dwebp", "-quiet", "IN", "-o", "OUT"),
        )
        or _pillow("WebP", ".webp", "'WEBP', quality=75")
    )
    found.append(
        _installed(
            "avifenc",
            ".avif",
            ("avifenc", "-s", "6", "-q", "60", "-y", "420", "IN", "OUT"),
            ("avifdec", "IN", "OUT"),
        )
        or _pillow("AVIF", ".avif", "'AVIF', quality=60, speed=6")
    )
    jpeg_xl = _installed(
        "cjxl",
        ".jxl",
        ("cjxl", "--quiet", "-q", "75", "IN", "OUT"),
        ("djxl", "--quiet", "IN", "OUT"),
    )
    return [
        *found,
        jpeg_xl or _pillow("JPEG XL", ".jxl", "'JXL', quality=75", "import pillow_jxl;"),
    ]


def _installed(
    name: str, suffix: str, encode: tuple[str, ...], decode: tuple[str, ...]
) -> Tool | None:
    """The tool, where both of its programs are found."""
    return (
        Tool(name, suffix, encode, decode)
        if shutil.which(encode[0]) and shutil.which(decode[0])
        else None
    )


def _pillow(name: str, suffix: str, save: str, imports: str = "") -> Tool:
    code = f"import sys; from PIL import Image; {imports} Image.open(sys.argv[1]).convert('RGB').save(sys.argv[2]"
    return Tool(
        f"{name} (python -c, Pillow)",
        suffix,
        (sys.executable, "-c", f"{code}, {save})", "IN", "OUT"),
        (sys.executable, "-c", f"{code})", "IN", "OUT"),
    )


def launched(command: tuple[str, ...], source: Path, target: Path) -> tuple[float, float]:
    """Seconds and peak bytes of one process that reads `source` and writes `target`. Raises VaecodecError."""
    words = [{"IN": str(source), "OUT": str(target)}.get(word, word) for word in command]
    target.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-I", "-S", launch.__file__, *words], capture_output=True, text=True
    )
    if done.returncode:
        raise VaecodecError(f"{words[0]} could not be started")
    result = json.loads(done.stdout)
    if result["code"] or not target.is_file():
        raise VaecodecError(
            f"{Path(words[0]).name} failed ({(result['error'].strip() or 'no output').splitlines()[-1]})"
        )
    return float(result["seconds"]), float(result["peak"])


Measured = dict[str, Any]


def cold_start(
    image: Image.Image,
    model: str | None,
    scratch: Path,
    rounds: int,
    complain: Callable[[str, Exception], Any],
    advance: Callable[[str], Any],
) -> Measured:
    """Each tool in turn, from PNG to its file and back to PNG: quartiles of its time over vaecodec's, and peak megabytes."""
    image.save(scratch / "picture.png")
    _measure(
        tools(model), scratch / "picture.png", ".png", scratch, 1, complain, advance
    )  # fills the disk cache
    return _measure(
        tools(model), scratch / "picture.png", ".png", scratch, rounds, lambda *_: None, advance
    )


def growth(
    image: Image.Image,
    model: str | None,
    scratch: Path,
    rounds: int,
    complain: Callable[[str, Exception], Any],
    advance: Callable[[str], Any],
) -> list[Measured]:
    """vaecodec, JPEG and AVIF, each in a process of its own, from PPM and to PPM, as the picture grows.

    Each element has megapixels and tools. The picture is `image`, mirrored at its borders until it is large enough.
    """
    chosen = [
        tools(model)[0],
        _pillow("JPEG", ".jpg", "'JPEG', quality=75, optimize=True"),
        _pillow("AVIF", ".avif", "'AVIF', quality=60, speed=6"),
    ]
    rows = []
    for megapixels in MEGAPIXELS:
        width = round((megapixels * 1e6 * 1.5) ** 0.5)
        large = tiled(image, width, round(megapixels * 1e6 / width))
        large.save(scratch / "picture.ppm")
        rows.append(
            {
                "megapixels": large.width * large.height / 1e6,
                "tools": _measure(
                    chosen, scratch / "picture.ppm", ".ppm", scratch, rounds, complain, advance
                ),
            }
        )
    return rows


def tiled(image: Image.Image, width: int, height: int) -> Image.Image:
    """A picture of the size wanted, made of `image` and its mirror images."""
    out = Image.new("RGB", (width, height))
    across = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for row in range(-(-height // image.height)):
        for column in range(-(-width // image.width)):
            tile = across if column % 2 else image
            out.paste(
                tile.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if row % 2 else tile,
                (column * image.width, row * image.height),
            )
    return out


def _measure(
    chosen: list[Tool],
    source: Path,
    kind: str,
    scratch: Path,
    rounds: int,
    complain: Callable[[str, Exception], Any],
    advance: Callable[[str], Any],
) -> Measured:
    """Per tool that works: {"encode": {...}, "decode": {...}}, each with seconds (one a round), ratio and peak_mb."""
    runs: dict[str, dict[str, list[tuple[float, float]]]] = {
        tool.name: {"encode": [], "decode": []} for tool in chosen
    }
    for _ in range(rounds):
        for tool in chosen:
            if tool.name not in runs:
                continue
            advance(f"processes, {tool.name}")
            file = scratch / f"file{tool.suffix}"
            try:
                both = (
                    launched(tool.encode, source, file),
                    launched(tool.decode, file, scratch / f"back{kind}"),
                )
            except VaecodecError as error:
                complain(tool.name, error)
                del runs[tool.name]
                continue
            for direction, measured in zip(("encode", "decode"), both, strict=True):
                runs[tool.name][direction].append(measured)
    return {
        name: {
            direction: {
                "seconds": [s for s, _ in mine],
                "peak_mb": max(peak for _, peak in mine) / 1e6,
                "ratio": quartiles(
                    [
                        s / base
                        for (s, _), (base, _) in zip(mine, runs[OURS][direction], strict=True)
                    ]
                )
                if OURS in runs
                else None,
            }
            for direction, mine in pair.items()
        }
        for name, pair in runs.items()
    }


def quartiles(values: list[float]) -> list[float]:
    """The three quartiles: the middle one is the median."""
    return (
        statistics.quantiles(values, n=4, method="inclusive")
        if len(values) > 1
        else [values[0]] * 3
    )


def can_measure() -> bool:
    """Whether this system tells the peak memory of a process that has ended."""
    return hasattr(os, "wait4")
