"""The `info` command.

With files alone, it loads neither NumPy nor any other large package, so that it starts fast.
"""

from typing import Any

import typer

from vaecodec.cli.errors import FILE_ERRORS, print_error
from vaecodec.cli.files import open_input, print_json
from vaecodec.cli.options import EngineInfo, Json, VaeFiles
from vaecodec.format.reader import Reader


def info(files: VaeFiles = None, engine: EngineInfo = False, as_json: Json = False) -> None:
    """Print the headers of .vae files and verify their checksums.

    No model is loaded.

    Examples:
        vaecodec info photo.vae
        vaecodec info --json photo.vae
        vaecodec info --engine
    """
    if not (files or engine):
        raise typer.BadParameter("expected one or more files, or --engine")
    if engine:
        print_engine(as_json)
    failed = False
    for name in files or ():
        try:
            fields = file_fields(name)
            if as_json:
                print_json(fields)
            else:
                print(summary(fields))
        except FILE_ERRORS as error:
            print_error(name, error)
            failed = True
    if failed:
        raise typer.Exit(1)


def print_engine(as_json: bool) -> None:
    """Print which engine runs the integer networks.

    Raises:
        ParameterError: This machine does not have the engine that $VAECODEC_ENGINE names.
    """
    from vaecodec.engine import available, chosen

    name, names = chosen(), available()
    if as_json:
        print_json({"engine": name, "available": names})
    else:
        others = ", ".join(other for other in names if other != name)
        print(f"engine {name}" + (f" (also available: {others})" if others else ""))


def file_fields(name: str) -> dict[str, Any]:
    """Return what `info --json` prints about a file. Raises FormatError if it is damaged."""
    with open_input(name) as file:
        reader = Reader(file)
        reader.check_counts()
        reader.check_all()
        metadata = reader.metadata()
    header = reader.header
    return {
        "file": name,
        "format": header.version,
        "width": header.width,
        "height": header.height,
        "color": str(header.color),
        "quality": header.quality,
        "model": header.model,
        "bytes": reader.size,
        "bits_per_pixel": round(reader.size * 8 / header.width / header.height, 4),
        "tiles": header.tiles,
        "progressive": header.by_step or header.tiles == 1,
        "metadata": {kind: len(data) for kind, data in metadata.items()},
    }


def summary(fields: dict[str, Any]) -> str:
    """Return the fields of a file as one line."""
    tiles = f"{fields['tiles']} tile{'s' * (fields['tiles'] > 1)}"
    if fields["tiles"] > 1 and fields["progressive"]:
        tiles += ", progressive"
    parts = [
        f"{fields['width']} x {fields['height']} {fields['color']}",
        f"quality {fields['quality']:g}",
        f"{fields['bytes']} bytes",
        f"{fields['bits_per_pixel']} bits per pixel",
        tiles,
        f"model {fields['model']}",
        f"format version {fields['format']}",
    ]
    parts += [f"{kind} {size} bytes" for kind, size in fields["metadata"].items()]
    return f"{fields['file']}: {', '.join(parts)}"
