"""Options of an encoding are declared once: a new field is in the command, and is checked."""

from __future__ import annotations

from dataclasses import dataclass, fields

import click
import pytest
from click.testing import CliRunner

from dfmcodec.cli.encode import _SECTIONS, settings_options
from dfmcodec.cli.encode import command as encode_command
from dfmcodec.encoder.config import EncoderConfig
from dfmcodec.errors import ConfigError
from dfmcodec.options import AUTO, LATENT, EncodeSettings, Kind, Option, _field, options_of


@dataclass(frozen=True)
class Wider(EncodeSettings):
    """The settings with one more option."""

    grain: int = _field(3, Kind.INTEGER, "Grain of the result.", low=1, high=9, models=(AUTO, LATENT), flags=("-g",))


def test_a_new_field_is_an_option_of_the_command_and_its_help() -> None:
    @click.command()
    def run(**arguments: object) -> None:
        click.echo(repr(sorted(arguments.items())))

    command = settings_options(run, Wider)
    assert "Grain of the result." in CliRunner().invoke(command, ["--help"]).output
    found = CliRunner().invoke(command, ["-g", "5", "--effort", "2"]).output
    assert "('grain', 5)" in found
    assert "('effort', 2)" in found
    assert "('grain', 3)" in CliRunner().invoke(command, []).output


def test_a_new_field_is_checked() -> None:
    assert Wider(grain=9).grain == 9
    for value, message in ((10, r"grain is 10; it must be in 1\.\.9"), (1.5, "grain is 1.5, which is of the wrong")):
        with pytest.raises(ConfigError, match=message):
            Wider(grain=value)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="grain is for the latent model, not for fitted"):
        Wider(grain=4, model="fitted")
    assert Wider(model="fitted").grain == 3


def test_the_command_has_the_options_of_the_settings_in_a_section_of_its_help() -> None:
    names = [name for name, *_ in options_of()]
    assert names == [field.name for field in fields(EncoderConfig)]
    assert set(names) <= {parameter.name for parameter in encode_command.params}
    assert set(names) <= {name for section in _SECTIONS.values() for name in section}


@pytest.mark.parametrize(("name", "option", "default"), list(options_of()), ids=lambda value: str(value)[:20])
def test_declarations_are_whole(name: str, option: Option, default: object) -> None:
    assert option.help.endswith((".", ")"))
    assert (option.kind is Kind.CHOICE) == bool(option.choices)
    assert (option.low is None) == (option.high is None)
    if default is not None:
        option.check(name, default)
