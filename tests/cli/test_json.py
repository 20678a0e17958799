"""Tests that the keys in JSON are those listed in the documentation."""

from __future__ import annotations

import json
import re

import PIL.Image
import pytest
from click.testing import CliRunner
from common import ROOT

from dfmcodec.cli import main
from dfmcodec.cli._report_file import COLUMNS


def listed(page, heading):
    """The names in the first columns of the tables below a heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    part = re.split(r"\n##+ ", text.partition(f"# {heading}\n")[2])[0]
    tables = re.findall(r"\|---\|---\|\n((?:\|.*\n)+)", part)
    return [set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\|([^|]*)\|", table, re.M)))) for table in tables]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, chelsea):
    """A folder with an image, a file of it and a file that is none."""
    folder = tmp_path_factory.mktemp("json")
    PIL.Image.fromarray(chelsea.pixels[:24, :32]).save(folder / "cat.png")
    assert CliRunner().invoke(main, ["encode", str(folder / "cat.png"), "--effort", "1"]).exit_code == 0
    (folder / "bad.dfm").write_bytes(b"no file")
    return folder


def printed(*arguments, code=0):
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("command", ["encode", "decode", "info", "verify", "compare"])
def test_names_of_a_command(command, folder, tmp_path):
    image, file = folder / "cat.png", folder / "cat.dfm"
    arguments = {
        "encode": [image, "-o", tmp_path / "a.dfm", "--effort", 1],
        "decode": [file, "-o", tmp_path / "a.png"],
        "compare": [image, file],
    }
    (report,) = printed(command, *arguments.get(command, [file]))
    (names,) = listed("command.md", command)
    assert set(report) == names
    if command in ("encode", "decode"):
        arguments[command][2] = tmp_path / "several"
        (of_several,) = printed(command, arguments[command][0], "-O", tmp_path, *arguments[command][3:], "-f")
        assert set(of_several) == names


@pytest.mark.parametrize(
    ("size", "size_bytes"), [("20k", 20_000), ("1.5MB", 1_500_000), ("1G", 10**9), ("1Gi", 1 << 30)], ids=str
)
def test_sizes_have_the_units_of_other_tools(size, size_bytes, folder, tmp_path):
    arguments = [folder / "cat.png", "-o", tmp_path / "a.dfm", "--effort", 1, "--size", size]
    (report,) = printed("encode", *arguments)
    assert report["config"]["size"] == size_bytes


def test_names_of_files_that_failed(folder, tmp_path):
    (names,) = listed("command.md", "Files that failed")
    found = set()
    for command in ("info", "verify"):
        (report,) = (one for one in printed(command, folder, code=5) if "error" in one)
        assert report["exit_code"] == 3
        found |= set(report)
    (report,) = (one for one in printed("decode", folder, "-O", tmp_path, code=5) if one["status"] == "failed")
    assert found | set(report) == names


def test_names_of_a_corpus(folder, tmp_path):
    (names,) = listed("command.md", "corpus")
    (counts,) = printed("corpus", folder / "cat.png", "-O", tmp_path / "store", "--effort", 1)
    assert set(counts) == names


def test_columns_of_a_report():
    (names,) = listed("command.md", "Reports")
    assert names == set(COLUMNS)


def test_names_of_the_benchmark(folder):
    (report,) = printed("bench", folder / "cat.png", "--effort", 1, "--rate", "50%", "--quiet")
    names, of_measurements = listed("benchmark.md", "JSON")
    assert set(report) == names
    assert all(set(measurement) == of_measurements for measurement in report["measurements"])
    assert {measurement["rate"] for measurement in report["measurements"]} == {0.5}
