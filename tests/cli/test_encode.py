"""Tests of `dfm encode`: messages about fits that end early and files that become larger, `.dfm`
files as sources, and help.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import PIL.Image
import pytest
from common import dfm

import dfmcodec
from dfmcodec.cli.encode import command
from dfmcodec.codecs import encode
from dfmcodec.image.open_image import plugin_package
from dfmcodec.models import Model
from dfmcodec.search.config import EncoderConfig

FAST = ("--effort", 1, "--quality", 50)
LOSSY = "made of a lossy .dfm file: the losses of both encodings add up"
NO_TIME = ("--time-limit", 1e-6)


@pytest.fixture
def folder(tmp_path, monkeypatch, chelsea):
    """An image, and a `.dfm` file with metadata and alpha."""
    monkeypatch.chdir(tmp_path)
    PIL.Image.fromarray(chelsea.pixels).save("cat.png")
    image = dfmcodec.Image(
        chelsea.pixels,
        metadata=dfmcodec.Metadata(xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"),
        alpha=np.full(chelsea.pixels.shape[:2], 200, np.uint8),
    )
    dfmcodec.encode(image, quality=90, effort=1).save("real.dfm")
    return tmp_path


@pytest.mark.slow
def test_a_fit_that_a_time_limit_ends_gives_a_notice(folder):
    """Only JSON and -v said so."""
    assert "cat.png: the fit ended early (time limit)\n" in dfm("encode", "cat.png", *NO_TIME, *FAST).stderr
    assert "ended early" not in dfm("encode", "cat.png", "-f", *FAST).stderr
    output = dfm("encode", "cat.png", "real.dfm", "-O", "out", *NO_TIME, *FAST).stderr
    assert output.count("the fit ended early (time limit)") == 2


@pytest.mark.parametrize(
    "target", [[], *(pytest.param(target, marks=pytest.mark.slow) for target in (["--size", 900], ["--psnr", 30]))]
)
def test_an_overfitted_file_is_not_worse_than_a_first_iteration_of_the_wavelet_codec(folder, monkeypatch, target):
    """A red image came out at 8.90 dB, without a word. (A wavelet file stands for the overfitted
    one, which would take seconds to compile.)
    """
    real = encode._encoded

    def encoded(request, model, previous=None):
        if model is not Model.OVERFITTED:
            return real(request, model, previous)
        changed = {"quality": 0.0} if request.config.psnr is None else {"psnr": 40.0}
        candidate = real(replace(request, config=EncoderConfig(effort=1, **changed)), Model.WAVELET)
        result, limit_bytes = candidate.result, request.target.limit_bytes
        report = replace(result.report, config=request.config, limit_bytes=limit_bytes, stop_reason="time limit")
        return replace(candidate, result=replace(result, report=report))

    monkeypatch.setattr(encode, "_encoded", encoded)
    result = dfm("encode", "cat.png", "--model", "overfitted", *target, "--json")
    report = json.loads(result.stdout)
    assert 28 < report["psnr_db"] < 39
    assert report["config"]["model"] == "overfitted"
    assert report["stop_reason"] == "time limit"
    assert (
        "cat.png: the fit ended early (time limit) and did worse than the wavelet codec, whose file is written"
    ) in result.stderr


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (["--quality", 97], "a lower --quality helps"),
        (["--psnr", 47], "a lower --psnr helps"),
        (["--size", "9k"], "a lower --size helps"),
        pytest.param(["--rate", "40%"], "a lower --rate helps", marks=pytest.mark.slow),
        pytest.param(["--bpp", 9], "a lower --bpp helps", marks=pytest.mark.slow),
    ],
)
def test_a_file_that_is_no_smaller_says_what_helps(folder, chelsea, options, advice):
    """It was always a lower --quality."""
    PIL.Image.fromarray(chelsea.pixels).save("small.jpg", quality=3)
    result = dfm("encode", "small.jpg", "--effort", 1, *options)
    assert f"small.dfm is no smaller than its source: {advice}; --skip-larger leaves it out" in result.stderr


def test_metadata_that_are_most_of_a_file_are_named(folder, chelsea):
    """A lower --quality was advised where 300 of 304 kB were a profile."""
    profile = np.random.default_rng(1).bytes(30_000)
    PIL.Image.fromarray(chelsea.pixels).save("profile.jpg", quality=3, icc_profile=profile)
    result = dfm("encode", "profile.jpg", "--effort", 1, "-q", 95)
    assert "profile.dfm is no smaller than its source: most of it is metadata (see --strip); " in result.stderr
    assert ", including 30," in result.stdout
    message = dfm("encode", "profile.jpg", "-f", "--effort", 1, "--size", 3000, code=4).stderr
    assert "the target of 3,000 bytes is below the 30," in message
    assert "including 30," in message
    assert "of metadata (see --strip)" in message
    assert "metadata" not in dfm("encode", "cat.png", "--effort", 1, "--size", 20, code=4).stderr


@pytest.mark.parametrize(
    ("head", "package", "module"),
    [
        (b"\xff\x0a", "pillow-jxl-plugin", "pillow_jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "pillow-jxl-plugin", "pillow_jxl"),
        (b"\0\0\0\x1cftypheic", "pillow-heif", "pillow_heif"),
    ],
)
def test_the_package_that_reads_an_image_is_named(folder, head, package, module):
    assert plugin_package(head) == package
    if find_spec(module) is None:
        Path("a.jxl").write_bytes(head + bytes(100))
        assert f"pip install {package}" in dfm("encode", "a.jxl", code=1).stderr
    assert plugin_package(b"\x89PNG\r\n\x1a\n" + bytes(10)) is None


def test_a_dfm_file_is_encoded_again(folder):
    """ "name outputs with -o real.dfm" was said."""
    before = Path("real.dfm").read_bytes()
    result = dfm("encode", "real.dfm", "-o", "r2.dfm", "--effort", 1, "--size", "1k")
    assert f"dfm: real.dfm: {LOSSY}\n" in result.stderr
    assert Path("real.dfm").read_bytes() == before
    old, new = dfmcodec.decode("real.dfm"), dfmcodec.decode("r2.dfm")
    assert Path("r2.dfm").stat().st_size <= 1000 < len(before)
    assert new.metadata == old.metadata
    assert new.metadata.xmp
    assert np.array_equal(new.pixels[:, :, 3], old.pixels[:, :, 3])
    assert result.stdout.startswith(f"real.dfm {len(before):,} -> r2.dfm ")


@pytest.mark.slow
def test_a_dfm_file_is_encoded_again_in_a_batch_and_through_a_pipe(folder):
    dfm("encode", "real.dfm", "cat.png", "-O", "out", *FAST)
    Path("list").write_text("real.dfm\n")
    dfm("encode", "--files-from", "list", "-O", "listed", *FAST)
    dfm("encode", "real.dfm", "-o", "single/", *FAST)
    piped = dfm("encode", "-", "-o", "piped.dfm", *FAST, data=Path("real.dfm").read_bytes())
    assert f"standard input: {LOSSY}" in piped.stderr
    files = [Path(name).read_bytes() for name in ("out/real.dfm", "listed/real.dfm", "single/real.dfm", "piped.dfm")]
    assert len(set(files)) == 1


def test_a_folder_has_no_dfm_files_as_inputs(folder):
    result = dfm("encode", ".", "-O", "out", *FAST)
    assert "1 encoded" in result.stdout
    assert LOSSY not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["real.dfm"], 2, "real.dfm is a .dfm file and would replace itself; name another output with -o"),
        (["real.dfm", "cat.png"], 2, "would replace itself; name another output with -o"),
        (["real.dfm", "-o", "real.dfm", "-f"], 1, "the output of real.dfm would replace real.dfm, which is an input"),
        (["real.dfm", "-O", ".", "-f"], 1, "the output of real.dfm would replace real.dfm, which is an input"),
        (["cat.png", "new.dfm"], 2, "new.dfm is the name of an output, not of an image; name outputs with -o new.dfm"),
        (["cat.png", "real.dfm"], 2, "real.dfm is the name of an output, not of an image; name outputs with -o real"),
        (["missing.dfm", "-o", "x.dfm"], 1, "cannot read missing.dfm"),
        (["cut.dfm", "-o", "x.dfm"], 3, "cut.dfm: the file is truncated"),
        (["real.dfm", "-o", "x.dfm", "--page", 2], 2, "real.dfm has 1 page; there is no page 2"),
        (["real.dfm", "-o", "x.dfm", "--max-pixels", 100], 3, "real.dfm: "),
        (["real.dfm", "-o", "x.png"], 2, "name it x.dfm"),
    ],
)
def test_dfm_sources_that_cannot_be_encoded_are_refused_in_one_line(folder, arguments, code, says):
    before = Path("real.dfm").read_bytes()
    Path("cut.dfm").write_bytes(before[:-100])
    lines = dfm("encode", *arguments, code=code).stderr.splitlines()
    assert says in lines[0]
    assert len(lines) == 1
    assert Path("real.dfm").read_bytes() == before
    assert not Path("x.dfm").exists()


def test_python_encodes_a_dfm_file_again(folder):
    with pytest.warns(UserWarning, match=f"real.dfm: {LOSSY}"):
        of_path = dfmcodec.encode("real.dfm", effort=1)
    with pytest.warns(UserWarning, match=LOSSY):
        of_bytes = dfmcodec.encode(Path("real.dfm").read_bytes(), effort=1)
    with pytest.warns(UserWarning, match=LOSSY), open("real.dfm", "rb") as file:
        of_file = dfmcodec.encode(file, effort=1, strip="xmp")
    assert of_path.data == of_bytes.data
    assert of_path.decoded.metadata.xmp
    assert not of_file.decoded.metadata.xmp
    with pytest.raises(dfmcodec.TruncatedError, match="the image file: the file is truncated"):
        dfmcodec.encode(Path("real.dfm").read_bytes()[:-50])


def test_a_result_is_not_saved_under_the_name_of_an_image(folder):
    """x.png was a .dfm file."""
    result = dfmcodec.encode("cat.png", effort=1)
    for name in ("x.png", "x.JPG"):
        with pytest.raises(dfmcodec.ConfigError, match=r"has the extension of an image, .*; name it x"):
            result.save(name)
        assert not Path(name).exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result.save("x.dfm")
        result.save("x.bin")
    assert Path("x.dfm").read_bytes() == Path("x.bin").read_bytes() == result.data


def test_options_of_the_help_are_in_sections(folder):
    """Each in one, with what most people need first."""
    output = dfm("encode", "--help").output
    titles = ["Targets, at most one:", "Effort and model:", "Many files:", "The coordinate codec:"]
    places = [output.index(f"\n{title}\n") for title in titles]
    assert places == sorted(places)
    listed = [name for names in command.sections.values() for name in names]
    options = [param.name for param in command.params if isinstance(param, click.Option)]
    assert sorted(listed) == sorted(options)
    assert output.index("--quality FLOAT") < output.index("--psnr FLOAT") < output.index("--effort INTEGER")
    assert output.index("--quiet") < output.index("--help")
