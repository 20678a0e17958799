"""Tests that encoding options are declared once: a new field appears in the command and is
checked.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import click
import pytest
from click.testing import CliRunner
from common import dfm

from dfmcodec import options
from dfmcodec.cli.encode import _SECTIONS, settings_options
from dfmcodec.cli.encode import command as encode_command
from dfmcodec.errors import ConfigError
from dfmcodec.options import EncodeSettings, Kind, _field, options_of
from dfmcodec.search.config import EncoderConfig


@dataclass(frozen=True)
class Wider(EncodeSettings):
    """The settings with one more option."""

    grain: int = _field(3, Kind.INTEGER, "Grain of the result.", low=1, high=9, flags=("-g",))


def test_a_new_field_is_an_option_of_the_command_and_its_help() -> None:
    @click.command()
    def run(**arguments: object) -> None:
        click.echo(repr(sorted(arguments.items())))

    command = settings_options(run, Wider)
    assert "Grain of the result." in CliRunner().invoke(command, ["--help"]).output
    found = CliRunner().invoke(command, ["-g", "5", "--effort", "3"]).output
    assert "('grain', 5)" in found
    assert "('effort', 3)" in found
    assert "('grain', 3)" in CliRunner().invoke(command, []).output


def test_a_new_field_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    of_others = options.models_of_option
    monkeypatch.setattr(
        options, "models_of_option", lambda name: ("auto", "wavelet") if name == "grain" else of_others(name)
    )
    assert Wider(grain=9).grain == 9
    for value, message in ((10, r"grain is 10; it must be in 1\.\.9"), (1.5, "grain is 1.5, which is of the wrong")):
        with pytest.raises(ConfigError, match=message):
            Wider(grain=value)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="grain is for the wavelet codec, not for overfitted"):
        Wider(grain=4, model="overfitted")
    assert Wider(model="overfitted").grain == 3


@pytest.mark.parametrize(
    ("option", "values", "allowed"),
    [
        ("rate", ("0", "-1", "0%", "7", "180%"), "above 0 and at most 1, such as 0.18 or 18%"),
        ("bpp", ("0", "-1"), "above 0 and at most 1e+12"),
        ("size", ("0", "0k"), "above 0 and at most 1e+12"),
        ("psnr", ("0", "-1"), "above 0 and at most 1e+12"),
        ("time-limit", ("0", "-1"), "above 0 and at most 1e+12"),
        ("ssimulacra2", ("0", "100"), "above 0 and below 100"),
        ("quality", ("-1", "101"), "in 0..100"),
        ("effort", ("0", "2", "10"), "one of 1, 3, 5, 7, 9"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(option: str, values: tuple[str, ...], allowed: str) -> None:
    for value in values:
        found = dfm("encode", f"--{option}={value}", "missing.png", code=2)
        assert found.stderr.rstrip().endswith(f"; it must be {allowed}")
        assert found.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "values", "allowed"),
    [
        ("lmbda", (0, -1), r"above 0 and at most 1e\+12"),
        ("seed", (-1, 1 << 32), r"in 0\.\.4294967295"),
        ("sample_max", (0, 1 << 16), r"in 1\.\.65535"),
    ],
)
def test_an_option_of_python_alone_is_checked(name: str, values: tuple[int, ...], allowed: str) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=f"; it must be {allowed}"):
            EncodeSettings(**{name: value})  # type: ignore[arg-type]
    assert name not in {parameter.name for parameter in encode_command.params}


def test_an_extreme_number_is_not_spelled_out() -> None:
    """Python refuses to write an integer of so many digits."""
    with pytest.raises(ConfigError, match="size is too small; it must be above 0"):
        EncodeSettings(size=-(10**5000))


def test_the_command_has_the_options_of_the_settings_in_a_section_of_its_help() -> None:
    assert [name for name, *_ in options_of()] == [field.name for field in fields(EncoderConfig)]
    names = [name for name, option, _ in options_of() if option.in_command]
    assert set(names) <= {parameter.name for parameter in encode_command.params}
    assert set(names) <= {name for section in _SECTIONS.values() for name in section}


def test_declarations_are_complete() -> None:
    for name, option, default in options_of():
        assert option.help.endswith((".", ")")), name
        assert (option.kind is Kind.CHOICE) == bool(option.choices), name
        assert (option.low is None) == (option.high is None), name
        if default is not None:
            option.check(name, default)
