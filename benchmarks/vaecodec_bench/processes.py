"""Time and peak memory of command-line tools: one process that reads a file and writes a file."""

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

Command = tuple[str, ...]
Runs = dict[str, list[tuple[float, float]]]  # direction -> (seconds, peak bytes) of each round


@dataclass(frozen=True)
class Tool:
    """One way of running a codec.

    Attributes:
        name: As in tables.
        suffix: Of the codec's files.
        encode: A command in which IN and OUT stand for the input and output file.
        decode: Likewise.
    """

    name: str
    suffix: str
    encode: Command
    decode: Command


def tools(model: str | None) -> list[Tool]:
    """Return the tools to compare, vaecodec first.

    A codec whose own tool is not installed is run by Pillow in a Python process, and the name of
    the tool says so.
    """
    vaecodec = (sys.executable, "-m", "vaecodec")
    model_option = ("--model", model) if model else ()
    ours = Tool(
        OURS,
        ".vae",
        (*vaecodec, "encode", "IN", "OUT", "-fq", *model_option),
        (*vaecodec, "decode", "IN", "OUT", "-fq", *model_option),
    )
    webp = _installed_tool(
        "cwebp",
        ".webp",
        ("cwebp", "-quiet", "-q", "75", "IN", "-o", "OUT"),
        ("dwebp", "-quiet", "IN", "-o", "OUT"),
    )
    avif = _installed_tool(
        "avifenc",
        ".avif",
        ("avifenc", "-s", "6", "-q", "60", "-y", "420", "IN", "OUT"),
        ("avifdec", "IN", "OUT"),
    )
    jpeg_xl = _installed_tool(
        "cjxl",
        ".jxl",
        ("cjxl", "--quiet", "-q", "75", "IN", "OUT"),
        ("djxl", "--quiet", "IN", "OUT"),
    )
    return [
        ours,
        _pillow_jpeg(),
        webp or _pillow_tool("WebP", ".webp", "'WEBP', quality=75"),
        avif or _pillow_avif(),
        jpeg_xl or _pillow_tool("JPEG XL", ".jxl", "'JXL', quality=75", "import pillow_jxl;"),
    ]


def _installed_tool(name: str, suffix: str, encode: Command, decode: Command) -> Tool | None:
    """Return the tool if both of its programs are installed."""
    if shutil.which(encode[0]) and shutil.which(decode[0]):
        return Tool(name, suffix, encode, decode)
    return None


def _pillow_tool(name: str, suffix: str, save: str, imports: str = "") -> Tool:
    code = (
        f"import sys; from PIL import Image; {imports} "
        "Image.open(sys.argv[1]).convert('RGB').save(sys.argv[2]"
    )
    return Tool(
        f"{name} (python -c, Pillow)",
        suffix,
        (sys.executable, "-c", f"{code}, {save})", "IN", "OUT"),
        (sys.executable, "-c", f"{code})", "IN", "OUT"),
    )


def _pillow_jpeg() -> Tool:
    return _pillow_tool("JPEG", ".jpg", "'JPEG', quality=75, optimize=True")


def _pillow_avif() -> Tool:
    return _pillow_tool("AVIF", ".avif", "'AVIF', quality=60, speed=6")


def run_process(command: Command, source: Path, target: Path) -> tuple[float, float]:
    """Run one process that reads `source` and writes `target`.

    Returns its seconds and its peak memory in bytes. Raises VaecodecError.
    """
    words = [{"IN": str(source), "OUT": str(target)}.get(word, word) for word in command]
    target.unlink(missing_ok=True)
    launcher = [sys.executable, "-I", "-S", launch.__file__, *words]
    done = subprocess.run(launcher, capture_output=True, text=True)
    if done.returncode:
        raise VaecodecError(f"{words[0]} could not be started")
    result = json.loads(done.stdout)
    if result["code"] or not target.is_file():
        last_line = (result["error"].strip() or "no output").splitlines()[-1]
        raise VaecodecError(f"{Path(words[0]).name} failed ({last_line})")
    return float(result["seconds"]), float(result["peak"])


@dataclass(frozen=True)
class ProcessBench:
    """Measures tools in a scratch folder.

    Attributes:
        model: Id or folder of vaecodec's model, None for the default one.
        scratch: An empty folder.
        fail: Called with the name of a tool that fails and the error. The tool is left out.
        advance: Called with a description of each step.
    """

    model: str | None
    scratch: Path
    fail: Callable[[str, Exception], Any]
    advance: Callable[[str], Any]

    def cold_start(self, image: Image.Image, rounds: int) -> dict[str, Any]:
        """Measure each tool from PNG to its own file and back to PNG.

        Returns the result of `measure_tools`.
        """
        source = self.scratch / "picture.png"
        image.save(source)
        chosen = tools(self.model)
        working = self.measure_tools(chosen, source, 1)  # also fills the disk cache
        chosen = [tool for tool in chosen if tool.name in working]
        return self.measure_tools(chosen, source, rounds)

    def growth(self, image: Image.Image, rounds: int) -> list[dict[str, Any]]:
        """Measure vaecodec, JPEG and AVIF on ever larger pictures, from PPM and back to PPM.

        Each row has its `megapixels` and its `tools`, the result of `measure_tools`. The pictures
        are mosaics of `image` and its mirror images.
        """
        chosen = [tools(self.model)[0], _pillow_jpeg(), _pillow_avif()]
        source = self.scratch / "picture.ppm"
        rows = []
        for megapixels in MEGAPIXELS:
            width = round((megapixels * 1e6 * 1.5) ** 0.5)
            large = mirrored_mosaic(image, width, round(megapixels * 1e6 / width))
            large.save(source)
            measured = self.measure_tools(chosen, source, rounds)
            rows.append({"megapixels": large.width * large.height / 1e6, "tools": measured})
        return rows

    def measure_tools(self, chosen: list[Tool], source: Path, rounds: int) -> dict[str, Any]:
        """Measure the tools in turn.

        Returns:
            {"encode": {...}, "decode": {...}} of each tool that works, both with `seconds` of each
            round, `peak_mb`, and `ratio`, the quartiles of the ratio to vaecodec's time.
        """
        runs: dict[str, Runs] = {tool.name: {"encode": [], "decode": []} for tool in chosen}
        for _ in range(rounds):
            for tool in chosen:
                if tool.name in runs:
                    self.advance(f"processes, {tool.name}")
                    try:
                        self._round_trip(tool, source, runs[tool.name])
                    except VaecodecError as error:
                        self.fail(tool.name, error)
                        del runs[tool.name]
        ours = runs.get(OURS)
        rows: dict[str, Any] = {}
        for name, theirs in runs.items():
            rows[name] = {}
            for direction in ("encode", "decode"):
                base = ours[direction] if ours else None
                rows[name][direction] = _summary(theirs[direction], base)
        return rows

    def _round_trip(self, tool: Tool, source: Path, runs: Runs) -> None:
        file = self.scratch / f"file{tool.suffix}"
        runs["encode"].append(run_process(tool.encode, source, file))
        runs["decode"].append(
            run_process(tool.decode, file, self.scratch / f"decoded{source.suffix}")
        )


def _summary(
    runs: list[tuple[float, float]], base: list[tuple[float, float]] | None
) -> dict[str, Any]:
    """Summarize the rounds of one tool. base: the rounds of vaecodec, None if it failed."""
    ratio = None
    if base is not None:
        ratios = [run[0] / ours[0] for run, ours in zip(runs, base, strict=True)]
        ratio = quartiles(ratios)
    return {
        "seconds": [seconds for seconds, _ in runs],
        "peak_mb": max(peak for _, peak in runs) / 1e6,
        "ratio": ratio,
    }


def mirrored_mosaic(image: Image.Image, width: int, height: int) -> Image.Image:
    """Fill a picture of the given size with `image` and its mirror images."""
    mosaic = Image.new("RGB", (width, height))
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for row in range(-(-height // image.height)):
        for column in range(-(-width // image.width)):
            tile = mirrored if column % 2 else image
            if row % 2:
                tile = tile.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
            mosaic.paste(tile, (column * image.width, row * image.height))
    return mosaic


def quartiles(values: list[float]) -> list[float]:
    """Return the three quartiles. The middle one is the median."""
    if len(values) == 1:
        return values * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def can_measure() -> bool:
    """Return whether this system reports the peak memory of a process that has ended."""
    return hasattr(os, "wait4")
