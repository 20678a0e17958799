"""What the commands of the trainers share: errors in one line, and results written whole."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

from dfmcodec.errors import DfmError
from dfmcodec.files.atomic import write_atomic


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Ends a command by an error: one line on stderr, and the exit code that `dfm` has for it."""
    try:
        yield
    except (DfmError, OSError) as error:
        click.echo(f"Error: {error}", err=True)
        raise click.exceptions.Exit(getattr(error, "exit_code", DfmError.exit_code)) from error


def write_compressed(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes a compressed .npz file of exactly this name, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    file = io.BytesIO()
    np.savez_compressed(file, **dict(arrays))
    write_atomic(path, file.getvalue())
