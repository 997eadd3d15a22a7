"""The `vaecodec` command.

numpy, Pillow and the networks are imported inside the commands, so that `info` and `--help` start
fast.
"""

import typer

from vaecodec import __version__
from vaecodec.cli import options, tasks
from vaecodec.cli.coding import decode, encode
from vaecodec.cli.errors import EXIT_CODES, EXIT_CODES_OF_DECODE, run_command
from vaecodec.cli.extensions import ExtensibleGroup
from vaecodec.cli.info import info

app = typer.Typer(
    cls=ExtensibleGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(version: options.Version = False) -> None:
    """Compress images with a learned codec, and decode its .vae files."""
    if version:
        print(f"vaecodec {__version__}")
        raise typer.Exit


app.command(epilog=EXIT_CODES)(encode)
app.command(epilog=EXIT_CODES_OF_DECODE)(decode)
app.command(epilog=EXIT_CODES)(info)
app.command(epilog=EXIT_CODES)(tasks.sample)
app.command(epilog=EXIT_CODES)(tasks.interpolate)
app.command(epilog=EXIT_CODES)(tasks.score)
app.command(epilog=EXIT_CODES)(tasks.embed)
app.command(epilog=EXIT_CODES)(tasks.restore)


def main() -> None:
    """Run the command line."""
    run_command(app, "vaecodec")
