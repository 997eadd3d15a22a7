"""File handling for the commands: input and output pairs, streams, writing, batches."""

import io
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import typer

from vaecodec.cli.errors import FILE_ERRORS, errors_naming, print_error
from vaecodec.errors import OutputError, VaecodecError
from vaecodec.format.reader import seekable

Pairs = list[tuple[str, str]]
Save = Callable[[BinaryIO], object]  # writes a complete file


@dataclass(frozen=True)
class Converted:
    """The result of converting one file.

    Attributes:
        save: Writes the output.
        summary: What the output is, for the line that reports it.
        notes: Warnings for the user.
        partial: Whether some of the picture was lost.
    """

    save: Save
    summary: str
    notes: tuple[str, ...] = ()
    partial: bool = False


def pair_up(
    paths: list[str], folder: Path | None, suffix: str, input_suffix: str | None = None
) -> Pairs:
    """Return (input, output) names, in which "-" means standard input or standard output.

    Args:
        paths: One input and one output, or any number of inputs if `folder` is given.
        folder: Folder for the outputs. It is created if needed.
        suffix: File name extension of the outputs in `folder`.
        input_suffix: Extension of the files to take from input folders. By default every type
            that Pillow reads.
    """
    if folder is None:
        return [single_pair(paths)]
    from vaecodec.image.files import images_in, make_folder

    inputs: list[str] = []
    for name in paths:
        if name == "-":
            raise typer.BadParameter(
                "standard input has no name to write under in a folder; use: - OUTPUT"
            )
        inputs += images_in(Path(name), input_suffix) if Path(name).is_dir() else [name]
    make_folder(folder)
    return [(name, str(folder / (Path(name).stem + suffix))) for name in inputs]


def single_pair(paths: list[str]) -> tuple[str, str]:
    if len(paths) != 2:
        raise typer.BadParameter(
            "give one INPUT and one OUTPUT, or any number of inputs with -o DIR"
        )
    for name in paths:
        if name != "-" and Path(name).is_dir():
            raise typer.BadParameter(
                f"{name} is a folder; name the folder of the outputs with -o DIR"
            )
    return paths[0], paths[1]


def expand_inputs(names: Iterable[str]) -> list[str]:
    """Return the names with each folder replaced by the images and .vae files in it."""
    from vaecodec.image.files import images_in

    expanded: list[str] = []
    for name in names:
        folder = Path(name)
        if not folder.is_dir():
            expanded.append(name)
            continue
        vae_files = [str(path) for path in sorted(folder.glob("*.vae"))]
        try:
            expanded += sorted({*images_in(folder), *vae_files})
        except VaecodecError:
            if not vae_files:
                raise
            expanded += vae_files
    return expanded


def open_input(name: str) -> BinaryIO:
    """Open a file, or all of standard input for "-", as a seekable stream. Raises VaecodecError."""
    try:
        if name == "-":
            if sys.stdin is None:
                raise VaecodecError("is closed")
            return io.BytesIO(sys.stdin.buffer.read())
        file = Path(name).open("rb")  # noqa: SIM115  # the caller closes it
        stream = seekable(file)
        if stream is not file:
            file.close()
        return stream
    except OSError as error:
        raise VaecodecError(f"cannot be read ({error.strerror})") from None
    except ValueError:  # a name with a zero byte
        raise VaecodecError("is not a file name") from None


def write_output(name: str, save: Save) -> None:
    """Write a complete file or nothing; "-" is standard output. Raises OutputError."""
    from vaecodec.image.files import write_file

    try:
        if name != "-":
            write_file(Path(name), save)
        elif sys.stdout is None:
            raise OutputError("is closed")
        else:
            buffer = io.BytesIO()  # some image formats seek
            save(buffer)
            sys.stdout.buffer.write(buffer.getbuffer())
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The reader is gone. Exit quietly, as cat does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror or error})") from None


def print_json(fields: dict[str, Any]) -> None:
    """Print one line of JSON."""
    import json  # slow to import

    print(json.dumps(fields))


def check_writable(path: Path, force: bool, image: bool = True) -> None:
    """Check before any work that the output can be written.

    image: whether it is an image, whose type Pillow must be able to write. Raises VaecodecError.
    """
    if path.is_file() and not force:
        raise OutputError(f"{path}: exists already; use --force to overwrite it")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: its folder does not exist")
    if image:
        from vaecodec.image.files import image_kind

        with errors_naming(str(path)):
            image_kind(path.suffix)


def convert_files(
    pairs: Pairs, convert: Callable[[BinaryIO, str], Converted], force: bool, quiet: bool
) -> None:
    """Convert each input to its output, continuing after failures.

    Exits with 1 if an input failed, or with 3 if some pictures could only be saved in part.

    Args:
        pairs: Names of inputs and outputs.
        convert: Takes the open input and the name of the output.
        force: Overwrite existing outputs.
        quiet: Print errors only.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True, highlight=False)
    hide_progress = quiet or len(pairs) == 1
    sources: dict[str, str] = {}
    failed = False
    partial = False
    for name, output in track(pairs, "", console=console, disable=hide_progress, transient=True):
        try:
            check_pair(name, output, sources, force)
            with open_input(name) as file:
                converted = convert(file, output)
                write_output(output, converted.save)
        except FILE_ERRORS as error:
            failed = True
            culprit = name
            if isinstance(error, OutputError):
                culprit = "standard output" if output == "-" else output
            print_error(culprit, error)
            continue
        partial |= converted.partial
        if not quiet:
            for note in converted.notes:
                print_error(name, f"warning: {note}")
            console.print(f"{name} -> {output}: {converted.summary}", markup=False, soft_wrap=True)
    if failed or partial:
        raise typer.Exit(1 if failed else 3)


def check_pair(name: str, output: str, sources: dict[str, str], force: bool) -> None:
    """Check that an output may be written. `sources` maps earlier outputs to their inputs."""
    source = sources.setdefault(output, name)
    if source != name:
        raise VaecodecError(f"would be written to {output}, the output of {source}")
    if output == "-" or not Path(output).is_file():
        return
    if name != "-" and Path(name).exists() and Path(output).samefile(name):
        raise OutputError("is the input itself")
    if not force:
        raise OutputError("exists already; use --force to overwrite it")


def for_each_file(names: list[str], work: Callable[[str], None], title: str) -> bool:
    """Call work(name) for each file, with a progress bar, continuing after failures.

    Returns whether all succeeded.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    hide_progress = not console.is_terminal
    succeeded = True
    for name in track(names, title, console=console, disable=hide_progress, transient=True):
        try:
            work(name)
        except FILE_ERRORS as error:
            print_error(name, error)
            succeeded = False
    return succeeded
