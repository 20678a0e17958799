"""docs/compatibility.md lists the options of the commands and the public names of Python."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import click
import numpy as np
import pytest
from common import ROOT

import dfmcodec
from dfmcodec.cli import main

PAGE = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")


def code_of(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def rows(heading: str) -> dict[str, list[str]]:
    """Returns the names in the second column of the table below a heading, by the first column."""
    part = PAGE.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    cells = re.findall(r"^\| `([^`]+)` \| (.*) \|$", part, re.M)
    return {name: code_of(names) for name, names in cells}


def commands(group: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(group, click.Group):
        yield name, group
        return
    for each in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), each)
        assert command is not None
        yield from commands(command, f"{name} {each}".strip())


def options(command: click.Command) -> list[click.Option]:
    return [option for option in command.params if isinstance(option, click.Option)]


def long_names(command: click.Command) -> list[str]:
    names = (name for option in options(command) for name in (*option.opts, *option.secondary_opts))
    return [name for name in names if name.startswith("--")]


def test_commands_and_options_are_listed():
    assert {name: sorted(listed) for name, listed in rows("Commands").items()} == {
        name: sorted(long_names(command)) for name, command in commands(main)
    }


def test_short_options_are_listed():
    found = {tuple(sorted(option.opts, key=len)) for _, c in commands(main) for option in options(c)}
    short = {pair for pair in found if len(pair) == 2} | {("-h", "--help")}
    listed = code_of(PAGE.partition("Short options:")[2].partition("\n\n")[0])
    assert set(zip(listed[::2], listed[1::2], strict=True)) == short


def test_public_names_are_listed():
    listed = set(rows("Python")) | set(code_of(PAGE.partition("Errors, all")[2]))
    assert listed == set(dfmcodec.__all__)


@pytest.mark.parametrize(("name", "listed"), rows("Python").items())
def test_parameters_and_attributes_are_listed(name, listed):
    thing = getattr(dfmcodec, name)
    if inspect.isfunction(thing):
        assert listed == list(inspect.signature(thing).parameters)
    elif name == "EncodeOptions":
        assert [*(field.name for field in fields(dfmcodec.EncoderConfig)), *listed[1:]] == list(thing.__annotations__)
    elif is_dataclass(thing):
        names = [field.name for field in fields(thing)]
        assert listed[: len(names)] == names
        assert all(hasattr(thing, other) for other in listed[len(names) :])
    elif name == "DecodeResult":
        result = thing(dfmcodec.Image(np.zeros((1, 1, 1), np.uint8)))
        assert all(hasattr(result, attribute) for attribute in listed)
    else:
        assert listed == []
