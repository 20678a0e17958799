"""What the commands of the trainers share: errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from dfmcodec.errors import DfmError


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Ends a command by an error: one line on stderr, and the exit code that `dfm` has for it."""
    try:
        yield
    except (DfmError, OSError) as error:
        click.echo(f"Error: {error}", err=True)
        raise click.exceptions.Exit(getattr(error, "exit_code", DfmError.exit_code)) from error
