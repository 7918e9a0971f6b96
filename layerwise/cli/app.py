"""The Typer app of all commands, and `main`, which runs it and turns mistakes of the caller into one line."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from layerwise.cli.networks import layers, metrics, rank, similarity
from layerwise.cli.output import echo, escaped_lines
from layerwise.cli.profile import profile
from layerwise.cli.stores import compact, compare, export, import_, ls, plot
from layerwise.cli.studies import demo, study
from layerwise.errors import InvalidArgument, LayerwiseError

__all__ = ["app", "main"]

app = typer.Typer(
    name="layerwise",
    help="Where in the network does the representation collapse? Neural collapse, layer by layer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# By the order in which the help lists them; their names are those of the functions, but for that of `import_`.
_COMMANDS: tuple[Callable[..., None], ...] = (
    *(layers, profile, plot, compare, similarity, rank, ls),
    *(compact, export, import_, metrics, demo, study),
)
for _command in _COMMANDS:
    app.command(_command.__name__.rstrip("_"))(_command)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"layerwise {version('layerwise')}")
        raise typer.Exit()


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; print a mistake of the caller as one line and exit with code 2."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_EscapingFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("layerwise").setLevel(logging.INFO)
    warnings.showwarning = lambda message, *_: echo(f"warning: {message}", err=True)
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        echo("stopped", err=True)
        sys.exit(1)
    except Exception as error:
        mistake = error if isinstance(error, LayerwiseError) else _usage_error(error)
        if mistake is None:
            raise
        if str(mistake):
            echo(f"error: {mistake}", err=True)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


class _EscapingFormatter(logging.Formatter):
    """Spells out the characters of data that would control the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return escaped_lines(super().format(record))


def _usage_error(error: Exception) -> LayerwiseError | None:
    """Return an error of the command-line parser as one of ours, or None for any other error."""
    # Typer brings its own parser, whose errors have no public name. With no words at all it has already shown the help.
    message = getattr(error, "format_message", None)
    return None if message is None else InvalidArgument(str(message()))
