"""Errors and exit codes of the commands."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vaecodec.errors import VaecodecError

# What can go wrong with one file without stopping the others. Anything else is a bug.
FILE_ERRORS = (VaecodecError, MemoryError, OSError)

EXIT_CODES = "Exit codes: 0 success, 1 failure, 2 wrong usage."
EXIT_CODES_OF_DECODE = (
    "Exit codes: 0 success, 1 failure, 2 wrong usage, 3 some parts of a picture were lost "
    "and --best-effort decoded the rest."
)


def run_command(app: Callable[[], object], program: str) -> None:
    """Run the application of a console script.

    Wrong usage exits with 2, any other failure with 1, and no failure shows a traceback.
    """
    terminated = False

    def terminate(*_: object) -> None:
        """Exit through Python, so that temporary files are removed."""
        nonlocal terminated
        terminated = True
        sys.exit(143)

    signal.signal(signal.SIGTERM, terminate)
    try:
        app()
    except VaecodecError as error:
        sys.exit(f"{program}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except ImportError:
        if terminated:  # an extension module that is being initialised turns the exit into this
            sys.exit(143)
        raise
    except OSError as error:  # a file cannot be used, or standard output is full or closed
        reason = error.strerror or error
        sys.exit(f"{program}: {f'{error.filename}: ' if error.filename else ''}{reason}")


def describe(error: Exception) -> str:
    """Return a sentence fragment that reads well after `name: `."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or error})"
    return str(error)


def print_error(name: str, error: Exception | str) -> None:
    """Print one line about the file `name` on standard error; "-" is standard input."""
    if sys.stderr is None:
        return
    label = "standard input" if name == "-" else name
    message = describe(error) if isinstance(error, Exception) else error
    print(f"vaecodec: {label}: {message}", file=sys.stderr)


@contextmanager
def errors_naming(name: str) -> Iterator[None]:
    """Turn the errors of a block into a VaecodecError whose message starts with `name`."""
    try:
        yield
    except FILE_ERRORS as error:
        raise VaecodecError(f"{name}: {describe(error)}") from None
