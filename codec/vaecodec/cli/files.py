"""What `encode` and `decode` share: which input goes to which output, reading, writing, and reporting what fails."""

import io
import math
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import typer

from vaecodec.errors import OutputError, VaecodecError

Pairs = list[tuple[str, str]]
Save = Callable[[BinaryIO], object]  # writes a whole file


@dataclass(frozen=True)
class Converted:
    """save: writes the output; notes: what the user should know; partial: whether some of the picture was lost."""

    save: Save
    summary: str
    notes: tuple[str, ...] = ()
    partial: bool = False


def pair_up(paths: list[str], folder: Path | None, suffix: str, only: str | None = None) -> Pairs:
    """(input, output) names, '-' for standard input and output.

    suffix: of outputs in `folder`; only: the extension to take from input folders, None for any that Pillow reads.
    """
    if folder is None:
        if len(paths) != 2:
            raise typer.BadParameter(
                "give one INPUT and one OUTPUT, or any number of inputs with -o DIR"
            )
        for name in paths:
            if name != "-" and Path(name).is_dir():
                raise typer.BadParameter(
                    f"{name} is a folder; name the folder of the outputs with -o DIR"
                )
        return [(paths[0], paths[1])]
    from vaecodec.image.files import images_in, make_folder

    inputs: list[str] = []
    for name in paths:
        if name == "-":
            raise typer.BadParameter(
                "standard input has no name to write under in a folder; use: - OUTPUT"
            )
        inputs += images_in(Path(name), only) if Path(name).is_dir() else [name]
    make_folder(folder)
    return [(name, str(folder / (Path(name).stem + suffix))) for name in inputs]


def byte_count(text: str) -> int:
    """ "40000", "40k" or "1.5M" in bytes, with k = 1000."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)([kKmM]?)[bB]?", text.strip())
    count = (
        math.floor(float(match[1]) * {"": 1, "k": 1e3, "m": 1e6}[match[2].lower()]) if match else 0
    )
    if count < 1:
        raise typer.BadParameter(
            f"--size takes a number of bytes such as 40000, 40k or 1.5M, not '{text[:40]}'"
        )
    return count


def open_input(name: str) -> BinaryIO:
    """A file opened for reading, or all of standard input. Raises VaecodecError."""
    try:
        if name != "-":
            return Path(name).open("rb")
        if sys.stdin is None:
            raise VaecodecError("is closed")
        return io.BytesIO(sys.stdin.buffer.read())
    except OSError as error:
        raise VaecodecError(f"cannot be read ({error.strerror})") from None
    except ValueError:  # a name with a zero byte
        raise VaecodecError("is not a file name") from None


def seekable(file: BinaryIO) -> BinaryIO:
    """The file itself, or, of a pipe, its contents."""
    return file if file.seekable() else io.BytesIO(file.read())


def write(name: str, save: Save) -> None:
    """All that `save` writes or nothing; to standard output at once. Raises OutputError."""
    from vaecodec.image.files import write_file

    try:
        if name != "-":
            write_file(Path(name), save)
        elif sys.stdout is None:
            raise OutputError("is closed")
        else:
            whole = io.BytesIO()  # some formats seek
            save(whole)
            sys.stdout.buffer.write(whole.getbuffer())
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # nobody reads on: end quietly, as cat does
        raise typer.Exit(1) from None
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror or error})") from None


def complain(name: str, error: Exception | str) -> bool:
    """One sentence on standard error; True, for "something failed"."""
    if sys.stderr is not None:
        print(f"vaecodec: {'standard input' if name == '-' else name}: {error}", file=sys.stderr)
    return True


def run(
    pairs: Pairs, convert: Callable[[BinaryIO, str], Converted], force: bool, quiet: bool
) -> None:
    """Convert each input to its output and go on after failures; exit with 1 at the end if there were any, or with 3 if some
    pictures could only be saved in part.

    convert: (open input, name of the output) -> what to write.
    """
    from rich.console import Console
    from rich.progress import track

    console, failed, partial = Console(stderr=True, highlight=False), False, False
    silent = quiet or len(pairs) == 1
    sources: dict[str, str] = {}
    for name, output in track(pairs, "", console=console, disable=silent, transient=True):
        try:
            if (source := sources.setdefault(output, name)) != name:
                raise VaecodecError(f"would be written to {output}, where {source} goes")
            if (
                output != "-"
                and Path(output).is_file()
                and name != "-"
                and Path(name).exists()
                and Path(output).samefile(name)
            ):
                raise OutputError("is the input itself")
            if output != "-" and not force and Path(output).is_file():
                raise OutputError("exists already; use --force to overwrite it")
            with open_input(name) as file:
                converted = convert(file, output)
                write(output, converted.save)
            for note in converted.notes:
                if not quiet:
                    complain(name, f"warning: {note}")
            partial |= converted.partial
            if not quiet:
                console.print(
                    f"{name} -> {output}: {converted.summary}", markup=False, soft_wrap=True
                )
        except OutputError as error:
            failed = complain("standard output" if output == "-" else output, error)
        except VaecodecError as error:
            failed = complain(name, error)
        except MemoryError:
            failed = complain(name, "not enough memory")
        except OSError as error:
            failed = complain(name, f"cannot be read ({error.strerror or error})")
    if failed or partial:
        raise typer.Exit(1 if failed else 3)
