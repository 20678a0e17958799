"""Tests of messages: they name the file, and only options that the command has."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest
from click.testing import CliRunner
from common import ROOT

import dfmcodec
from dfmcodec.cli import main


@pytest.fixture(scope="module")
def cat(chelsea):
    """A file of 96x80."""
    return dfmcodec.encode(chelsea.pixels, effort=1).data


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, cat, chelsea):
    monkeypatch.chdir(tmp_path)
    PIL.Image.fromarray(chelsea.pixels).save("cat.png")
    Path("cat.dfm").write_bytes(cat)
    Path("cut.dfm").write_bytes(cat[: len(cat) // 2])
    return tmp_path


def refusal(*arguments, code):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="dfm")
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    return result.stderr.removesuffix("\n").removeprefix("dfm: error: ")


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["compare", "cat.png", "cat.dfm", "--map", "there/map.png"], "give another name, or use -f to replace it"),
        (["decode", "cat.dfm", "-o", "there/map.png"], "-f replaces it, --skip-existing keeps it"),
    ],
    ids=["compare", "decode"],
)
def test_refusals_of_existing_outputs_name_existing_options(arguments, advice):
    Path("there").mkdir()
    Path("there", "map.png").touch()
    assert refusal(*arguments, code=1) == f"{Path('there/map.png')} exists; {advice}"


def test_errors_of_a_file_name_the_file():
    assert refusal("info", "cat.png", code=3).startswith("cat.png: not a .dfm file")
    assert refusal("compare", "cat.dfm", "cut.dfm", code=3).startswith("cut.dfm: the file is truncated")
    assert refusal("bench", "cat.png", "--codecs-from", "none.py", code=1).startswith("cannot read none.py: ")
    assert refusal("info", "none.dfm", code=1) == "cannot read none.dfm: No such file or directory"


@pytest.mark.parametrize(
    "arguments", [["decode", "-o", "out.png"], ["compare", "cat.dfm"], ["view", "-o", "page.html"]], ids=str
)
def test_a_limit_is_no_damage_and_is_named_as_an_option(arguments):
    said = refusal(*arguments, "cat.dfm", "--max-pixels", 7679, code=3)
    assert said == "cat.dfm: the image is 96x80, more than the limit of 7679 pixels (--max-pixels)"


def test_benchmark_without_a_measurement_fails():
    result = CliRunner().invoke(main, ["bench", "none.png"])
    assert result.exit_code == 1
    assert "cannot read none.png" in result.output


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["encode", "--size"], "dfm encode"),
        (["encode", "--siz"], "dfm encode"),
        (["nonsense"], "dfm"),
        (["--nonsense"], "dfm"),
    ],
    ids=str,
)
def test_wrong_usage_names_the_help_of_the_command(arguments, command):
    assert refusal(*arguments, code=2).endswith(f"(see {command} --help)")


def test_decode_has_the_limit_that_its_refusal_names():
    network = ROOT / "tests" / "golden" / "v1" / "coordinate.dfm"
    said = refusal("decode", network, "-o", "out.png", "--max-multiply-adds", 1, code=3)
    assert said.startswith(f"{network}: the network takes ")
    assert "(--max-multiply-adds)" in said
