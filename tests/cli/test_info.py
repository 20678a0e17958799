"""Tests of `dfm info`: metadata, folders, and damaged files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import PIL.ImageCms
import pytest
from click.testing import CliRunner
from common import GOLDEN

import dfmcodec
from dfmcodec.cli import main
from dfmcodec.image.metadata import icc_description

EXIF = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


@pytest.fixture(scope="module")
def profile():
    return PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def tagged(chelsea, profile):
    """A file with a profile, Exif and XMP."""
    metadata = dfmcodec.Metadata(profile, EXIF, XMP)
    return dfmcodec.encode(dfmcodec.Image(chelsea.pixels[:24, :32].copy(), metadata), effort=1).data


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, tagged):
    monkeypatch.chdir(tmp_path)
    Path("a.dfm").write_bytes(tagged)
    return tmp_path


def info(*arguments, code=0):
    result = CliRunner().invoke(main, ["info", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def test_metadata_are_listed_with_their_sizes(profile, chelsea):
    sizes = f"(sRGB built-in) {len(profile):,} bytes, Exif {len(EXIF)} bytes, XMP {len(XMP)} bytes"
    assert f"  metadata  ICC profile {sizes}" in info("a.dfm").stdout.splitlines()
    report = json.loads(info("a.dfm", "--json").stdout)
    assert report["metadata_bytes"] == {"icc": len(profile), "exif": len(EXIF), "xmp": len(XMP)}
    assert report["icc_description"] == "sRGB built-in"
    Path("b.dfm").write_bytes(dfmcodec.encode(chelsea.pixels[:8, :8].copy(), effort=1).data)
    assert "  metadata  none" in info("b.dfm").stdout.splitlines()
    report = json.loads(info("b.dfm", "--json").stdout)
    assert (report["metadata_bytes"], report["icc_description"]) == ({}, None)


def test_the_step_has_one_name_and_unit(tagged):
    report = json.loads(info("a.dfm", "--json").stdout)
    assert report["header"] == dict(dfmcodec.read_info(tagged).fields)
    assert f"  q_step    {report['header']['q_step'] / 64:.2f} code values" in info("-v", "a.dfm").stdout.splitlines()


def labels(*arguments):
    return [line.split()[0] for line in info(*arguments).stdout.splitlines()[1:]]


def test_internals_are_shown_with_v(chelsea):
    assert labels("a.dfm") == ["size", "model", "metadata"]
    assert labels("a.dfm", "-v") == ["size", "model", "metadata", "q_step", "bytes", "format"]
    assert "  model     wavelet" in info("a.dfm").stdout.splitlines()
    assert info("a.dfm", "--json").stdout == info("a.dfm", "--json", "-v").stdout
    fitted = shutil.copy(GOLDEN / "checked-overfitted.dfm", "overfitted.dfm")
    assert labels(fitted) == ["size", "model", "metadata"]
    assert "  networks  79 bytes fitted to this image, 21.3 % of the file" in info(fitted, "-v").stdout.splitlines()
    tiled = shutil.copy(GOLDEN / "checked-tiles.dfm", "tiled.dfm")
    assert "  tiles     2x1" in info(tiled).stdout.splitlines()


def test_truncated_metadata_are_reported(tagged):
    Path("cut.dfm").write_bytes(tagged[:-300])
    said = info("cut.dfm", code=3)
    assert "  metadata  cannot be read" in said.stdout.splitlines()
    assert "cut.dfm: the metadata section" in said.stderr
    report = json.loads(info("cut.dfm", "--json", code=3).stdout)
    assert (report["metadata_bytes"], report["icc_description"]) == (None, None)


def test_folders_are_searched_as_verify_does(tagged):
    Path("deep/er").mkdir(parents=True)
    for name in ("deep/b.dfm", "deep/er/c.DFM"):
        shutil.copy("a.dfm", name)
    Path("deep/note.txt").touch()
    for options, names in (((), ["deep/b.dfm"]), (("-r",), ["deep/b.dfm", "deep/er/c.DFM"])):
        lines = info("deep", "--json", *options).stdout.splitlines()
        assert [json.loads(line)["source"] for line in lines] == [str(Path(name)) for name in names]
    Path("deep/b.dfm").write_bytes(tagged[:-1])
    assert info("deep", code=3).stdout.startswith(f"{Path('deep/b.dfm')}: 32x24 RGB")
    assert " missing" in info("deep", "-r", code=5).stderr
    Path("empty").mkdir()
    assert "there are no .dfm files in empty (-r looks into subfolders)" in info("empty", code=1).stderr


def test_descriptions_of_both_versions_of_profiles(profile):
    def with_tag(tag):
        return (
            bytes(128) + (1).to_bytes(4, "big") + b"desc" + (144).to_bytes(4, "big") + len(tag).to_bytes(4, "big") + tag
        )

    assert icc_description(profile) == "sRGB built-in"
    second = b"desc\0\0\0\0" + (5).to_bytes(4, "big") + b"Mine\0"
    assert icc_description(with_tag(second)) == "Mine"
    for wrong in (b"", profile[:140], with_tag(b"mluc"), with_tag(b"desc"), with_tag(b"text" + bytes(20)), bytes(200)):
        assert icc_description(wrong) == ""


def test_a_texture_is_shown_with_its_strength():
    path = GOLDEN / "wavelet-texture.dfm"
    assert "  texture   strength 0.5, cells of 64 pixels" in info(path).stdout.splitlines()
    assert json.loads(info(path, "--json").stdout)["texture"] == {"strength": 0.5, "cell_pixels": 64}
    assert json.loads(info("a.dfm", "--json").stdout)["texture"] is None
