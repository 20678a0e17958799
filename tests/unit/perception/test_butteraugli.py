"""Tests of Butteraugli by a program in place of `butteraugli_main`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage.data
from click.testing import CliRunner

from dfmcodec.cli import main
from dfmcodec.errors import DfmError
from dfmcodec.perception import butteraugli

INSTALLED = butteraugli.is_installed  # before a fixture replaces it
PIXELS = np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)
PRINTS = 'test -s "$1" && test -s "$2" && printf "2.5\\n3-norm: 1.5\\n"'


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a shell script on the PATH, which has nothing else but the shell."""

    def make(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / butteraugli.COMMAND).write_text(f"#!/bin/sh\n{script}\n")
        (folder / butteraugli.COMMAND).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.setattr(butteraugli, "is_installed", INSTALLED)

    return make


def test_butteraugli_is_the_3_norm(program):
    program(PRINTS)
    assert butteraugli.is_installed()
    assert butteraugli.butteraugli(PIXELS, PIXELS) == 1.5
    assert butteraugli.butteraugli(PIXELS[:, :, :1], PIXELS[:, :, :1]) == 1.5


def test_images_too_small_for_it_have_none(program):
    program("exit 1")
    assert butteraugli.butteraugli(PIXELS[:7], PIXELS[:7]) is None


@pytest.mark.parametrize("script", ["echo no >&2\nexit 3", "echo what", "exit 0"])
def test_a_program_that_fails_is_an_error_of_one_line(program, script):
    program(script)
    with pytest.raises(DfmError, match=butteraugli.COMMAND) as caught:
        butteraugli.butteraugli(PIXELS, PIXELS)
    assert len(str(caught.value).splitlines()) == 1


def test_butteraugli_is_unavailable_on_an_empty_path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not INSTALLED()


def bench(folder: Path, *arguments: str, code: int = 0) -> str:
    options = ["--effort", "1", "--rate", "0.3", *arguments]
    result = CliRunner().invoke(main, ["bench", str(folder / "cat.png"), *options])
    assert result.exit_code == code, result.output
    return result.stdout


def test_the_command_measures_it_and_says_where_it_is_missing(program, tmp_path, monkeypatch):
    monkeypatch.setattr(butteraugli, "is_installed", lambda: False)
    PIL.Image.fromarray(skimage.data.chelsea()[60:92, 130:170]).save(tmp_path / "cat.png")
    assert {row["butteraugli"] for row in json.loads(bench(tmp_path, "--json"))["measurements"]} == {None}
    assert " ".join(butteraugli.ABSENT.split()) in " ".join(bench(tmp_path).split())
    program(PRINTS)
    assert {row["butteraugli"] for row in json.loads(bench(tmp_path, "--json"))["measurements"]} == {1.5}
    assert " ".join(butteraugli.ABSENT.split()) not in " ".join(bench(tmp_path).split())
