"""What `encode` and `decode` share: which input goes to which output, reading, writing, and reporting what fails."""
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from vaecodec.errors import VaecodecError

Pairs = list[tuple[str, str]]


class OutputError(VaecodecError):
    """The output, not the input, is at fault."""


def pair_up(paths: list[str], folder: Path | None, suffix: str, only: str | None = None) -> Pairs:
    """(input, output) names, '-' for standard input and output.

    suffix: of outputs in `folder`; only: the extension to take from input folders, None for any that Pillow reads.
    """
    if folder is None:
        if len(paths) != 2:
            raise typer.BadParameter("give one INPUT and one OUTPUT, or any number of inputs with -o DIR")
        for name in paths:
            if name != "-" and Path(name).is_dir():
                raise typer.BadParameter(f"{name} is a folder; name the folder of the outputs with -o DIR")
        return [(paths[0], paths[1])]
    inputs: list[str] = []
    for name in paths:
        if name == "-":
            raise typer.BadParameter("standard input has no name to write under in a folder; use: - OUTPUT")
        inputs += images_in(Path(name), only) if Path(name).is_dir() else [name]
    pairs: Pairs = [(name, str(folder / (Path(name).stem + suffix))) for name in inputs]
    sources: dict[str, str] = {}
    for name, output in pairs:
        if output in sources:
            raise VaecodecError(f"{sources[output]} and {name} would both be written to {output}")
        sources[output] = name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VaecodecError(f"{folder}: cannot be created ({error.strerror})") from None
    return pairs


def images_in(folder: Path, only: str | None) -> list[str]:
    """Files directly in `folder` whose extension is `only`, or any that Pillow reads. Raises VaecodecError for none."""
    if only is None:
        from PIL import Image

        suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    else:
        suffixes = {only}
    try:
        found = [str(p) for p in sorted(folder.iterdir()) if p.suffix.lower() in suffixes and p.is_file()]
    except OSError as error:
        raise VaecodecError(f"{folder}: cannot be read ({error.strerror})") from None
    if not found:
        raise VaecodecError(f"{folder}: holds no {only or 'image'} files")
    return found


def byte_count(text: str) -> int:
    """"40000", "40k" or "1.5M" in bytes, with k = 1000."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmM]?)[bB]?", text.strip())
    count = math.floor(float(match[1]) * {"": 1, "k": 1e3, "m": 1e6}[match[2].lower()]) if match else 0
    if count < 1:
        raise typer.BadParameter(f"--size takes a number of bytes such as 40000, 40k or 1.5M, not '{text}'")
    return count


def read(name: str) -> bytes:
    """All of a file, or of standard input. Raises VaecodecError."""
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise VaecodecError(f"cannot be read ({error.strerror})") from None


def write(name: str, data: bytes) -> None:
    """All of `data` or nothing, or to standard output. Raises OutputError."""
    from vaecodec.pixels import write_file

    try:
        if name == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            write_file(Path(name), data)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})") from None


def complain(name: str, error: Exception) -> bool:
    """One sentence on standard error; True, for "something failed"."""
    print(f"vaecodec: {'standard input' if name == '-' else name}: {error}", file=sys.stderr)
    return True


def run(pairs: Pairs, convert: Callable[[bytes, str], tuple[bytes, str]], force: bool, quiet: bool) -> None:
    """Convert each input to its output and go on after failures; exit with 1 at the end if there were any.

    convert: (bytes of the input, name of the output) -> (bytes of the output, summary).
    """
    from rich.console import Console
    from rich.progress import track

    console, failed = Console(stderr=True, highlight=False), False
    silent = quiet or len(pairs) == 1
    for name, output in track(pairs, "", console=console, disable=silent, transient=True):
        try:
            if output != "-" and Path(output).is_file() and name != "-" and Path(name).exists() and Path(output).samefile(name):
                raise OutputError("is the input itself")
            if output != "-" and not force and Path(output).is_file():
                raise OutputError("exists already; use --force to overwrite it")
            data, summary = convert(read(name), output)
            write(output, data)
            if not quiet:
                console.print(f"{name} -> {output}: {summary}", markup=False, soft_wrap=True)
        except OutputError as error:
            failed = complain("standard output" if output == "-" else output, error)
        except VaecodecError as error:
            failed = complain(name, error)
        except MemoryError:
            failed = complain(name, VaecodecError("not enough memory"))
    if failed:
        raise typer.Exit(1)
