"""How every command of the project ends when something goes wrong.

A user's mistake (`NutError`) is one line on stderr, `error: what, where, what to do`, and exit code 2. Ctrl-C
is the line `stopped` and exit code 130, as shells have it. Anything else is a bug and shows its traceback.

    @click.group(cls=NutGroup)
    def nut() -> None: ...

    @click.command(cls=NutCommand)
    def main() -> None: ...
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from nut_runtime.errors import NutError, OutputError

__all__ = ["NutCommand", "NutGroup", "one_line_errors", "say"]

EXIT_USAGE = 2
EXIT_STOPPED = 130


class _OneLine(click.ClickException):
    """A `NutError` on its way out of click."""

    exit_code = EXIT_USAGE

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message on stderr, on one line."""
        click.echo(f"error: {' '.join(self.message.splitlines())}", file=file, err=file is None)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn `NutError` and Ctrl-C inside the block into what click prints and exits with.

    Raises:
        click.ClickException: For a `NutError`; exit code 2.
        click.exceptions.Exit: For Ctrl-C, after the line `stopped`; exit code 130.
    """
    try:
        yield
    except NutError as error:
        raise _OneLine(str(error)) from error
    except KeyboardInterrupt as error:
        click.echo("stopped", err=True)
        raise click.exceptions.Exit(EXIT_STOPPED) from error


def say(text: str) -> None:
    """Print a line on standard output: in colour on a terminal, never with NO_COLOR.

    Raises:
        OutputError: If the disk is full or the reader of the pipe has gone.
    """
    try:
        click.echo(text, color=False if os.environ.get("NO_COLOR") else None)
    except OSError as error:
        raise OutputError(f"cannot write to standard output: {error.strerror or error}") from error


class NutCommand(click.Command):
    """A single command whose mistakes are one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with one_line_errors():
            return super().invoke(ctx)


class NutGroup(click.Group):
    """A group of commands whose mistakes are one line; its commands need not be `NutCommand`."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command."""
        with one_line_errors():
            return super().invoke(ctx)
