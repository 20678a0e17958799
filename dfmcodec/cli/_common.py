"""What the commands share: option decorators, derived output names, and messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dfmcodec.errors import ConfigError

if TYPE_CHECKING:
    from dfmcodec.model import Architecture

F = TypeVar("F", bound=Callable[..., Any])

input_argument = click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Report as one JSON object on stdout.")
force_option = click.option("-f", "--force", is_flag=True, help="Replace an existing output.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something is wrong.")


def output_option(what: str) -> Callable[[F], F]:
    return click.option("-o", "--output", type=click.Path(path_type=Path), help=what)


def derived_output(source: Path, suffix: str) -> Path:
    """The output beside the input, with another suffix.

    Raises:
        ConfigError: The input is a folder, which has no such name.
    """
    if source.is_dir():
        msg = f"{source} is a folder; name a file"
        raise ConfigError(msg)
    return source.with_suffix(suffix)


def echo_json(report: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(report))


def describe_architecture(architecture: Architecture) -> str:
    """One line for people."""
    described = architecture.as_dict()
    model = described.pop("model")
    described.pop("channels")
    return f"{model}, " + ", ".join(f"{name} {value}" for name, value in described.items())
