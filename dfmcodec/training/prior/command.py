"""What the commands of the trainers share: errors in one line, and options that are numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isnan
from typing import Any

import click

from dfmcodec.errors import DfmError


class TrainerCommand(click.Command):
    """A command that tells wrong usage in one line, as `dfm` does."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            with errors_in_one_line():
                return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            command = self.name if error.ctx is None else error.ctx.command_path
            message = error.format_message().removesuffix(".")
            click.echo(f"Error: {message} (see {command} --help)", err=True)
            raise click.exceptions.Exit(error.exit_code) from error


class Number(click.FloatRange):
    """A number within a range. NaN is in none, though click's own type takes it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


# The option --scale of all trainers; beyond its end no training would ever be done.
SCALE = Number(min=0, max=1000, min_open=True)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Ends a command by an error: one line on stderr, and the exit code that `dfm` has for it."""
    try:
        yield
    except (DfmError, OSError) as error:
        click.echo(f"Error: {error}", err=True)
        raise click.exceptions.Exit(getattr(error, "exit_code", DfmError.exit_code)) from error
