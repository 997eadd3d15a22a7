"""Commands that other installed packages add through the entry-point group `vaecodec.commands`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from vaecodec.cli.errors import EXIT_CODES
from vaecodec.errors import VaecodecError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "vaecodec.commands"
# What to install for the commands that this project itself provides as an optional package.
REQUIREMENTS = {"bench": "vaecodec[bench]", "plot": "vaecodec[bench]"}


class ExtensibleGroup(TyperGroup):
    """A group that looks entry points up only for `--help` and for names that it does not know.

    The look-up takes long in comparison with a command such as `info`.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return own + sorted(set(entry_points()) - set(own))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, cmd_name) or extension_command(cmd_name)


class ExtensionCommand(TyperCommand):
    """A command of another package, some of whose requirements may not be installed."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            raise VaecodecError(missing_package(str(self.name), error)) from None


def entry_points() -> "dict[str, EntryPoint]":
    from importlib import metadata  # slow to import

    return {entry.name: entry for entry in metadata.entry_points(group=GROUP)}


def extension_command(name: str) -> Any:
    """Return the command that another package provides, or None if there is none.

    A command that cannot be loaded becomes one that fails with the reason.
    """
    entry = entry_points().get(name)
    if entry is None:
        if name not in REQUIREMENTS:
            return None
        hint = f"pip install '{REQUIREMENTS[name]}'"
        return failing_command(name, f"{name} is not installed; install it with: {hint}")
    try:
        return as_command(name, entry.load())
    except ModuleNotFoundError as error:
        return failing_command(name, missing_package(name, error))
    except (ImportError, AttributeError) as error:
        return failing_command(name, f"{name} cannot be loaded ({error})")


def missing_package(name: str, error: ModuleNotFoundError) -> str:
    """Return a sentence that explains which package a command lacks and how to install it."""
    package = (error.name or "").partition(".")[0]
    hint = f"pip install '{REQUIREMENTS.get(name, package)}'"
    return f"{name} needs the package {package}, which is not installed; install it with: {hint}"


def failing_command(name: str, reason: str) -> Any:
    """Return a command that accepts any arguments and fails with `reason`."""

    def fail() -> None:
        raise VaecodecError(reason)

    any_arguments = {"ignore_unknown_options": True, "allow_extra_args": True}
    # The help is rendered as markup, in which "[" opens a tag.
    help_text = f"{reason[0].upper()}{reason[1:]}.".replace("[", r"\[")
    return as_command(name, fail, help=help_text, context_settings=any_arguments)


def as_command(name: str, function: Callable[..., Any], **settings: Any) -> Any:
    """Return a click command for a function with Typer annotations."""
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command(name, cls=ExtensionCommand, epilog=EXIT_CODES, **settings)(function)
    return get_command(app)
