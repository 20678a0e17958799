"""Shared parts of the training commands: errors in one line, and numeric options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from typing import Any, TypeVar

import click

from dfmcodec.errors import DfmError
from dfmcodec.files.arrays import read_arrays
from dfmcodec.models import Model
from dfmcodec.weights.registry import Arrays, shipped_ids

Trained = TypeVar("Trained")


class TrainerCommand(click.Command):
    """Command that reports wrong usage in one line, like `dfm`."""

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
    """Number within a range. NaN is refused, unlike by click's own type."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


def named_weights(
    name: str,
    model: Model,
    weights_of: Callable[[int], Trained],
    from_arrays: Callable[[Arrays], Trained],
) -> Trained:
    """Reads the weights from which a training starts.

    Args:
        name: The weights id of shipped weights, in hexadecimal digits, or a file.
        model: The codec.
        weights_of: Returns shipped weights.
        from_arrays: Creates weights from arrays.

    Raises:
        BadParameter: The weights do not exist.
        InstallationError: The weights are damaged or missing in this installation.
    """
    shipped = {f"{weights_id:08x}": weights_id for weights_id in shipped_ids(model)}
    if name in shipped:
        return weights_of(shipped[name])
    if not Path(name).is_file():
        msg = f"{name!r} is neither a file nor an id of shipped weights ({', '.join(shipped)})"
        raise click.BadParameter(msg)
    try:
        return from_arrays(read_arrays(Path(name)))
    except KeyError as error:
        msg = f"{name} has no array {error}, so it has no weights of the {model.value} codec"
        raise click.BadParameter(msg) from error
    except DfmError as error:
        raise click.BadParameter(str(error)) from error


# Option --scale of all trainers. A training beyond its maximum would never end.
SCALE = Number(min=0, max=1000, min_open=True)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Ends a command after an error with one line on stderr and the exit code of `dfm` for it."""
    try:
        yield
    except (DfmError, OSError) as error:
        click.echo(f"Error: {error}", err=True)
        raise click.exceptions.Exit(getattr(error, "exit_code", DfmError.exit_code)) from error
