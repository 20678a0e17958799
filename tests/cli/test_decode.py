"""Tests of `dfm decode` options: sizes, regions, formats and qualities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from common import dfm

import dfmcodec


@pytest.fixture(scope="module")
def cat(chelsea):
    """A file of 96x80."""
    return dfmcodec.encode(chelsea.pixels, effort=1).data


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, cat):
    monkeypatch.chdir(tmp_path)
    Path("cat.dfm").write_bytes(cat)
    return tmp_path


def pixels(path):
    with PIL.Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (["--resize", "48"], (48, 40)),
        (["--resize", "48x"], (48, 40)),
        (["--resize", "x40"], (48, 40)),
        (["--resize", "10x20"], (10, 20)),
        (["--resize", "50%"], (48, 40)),
    ],
    ids=str,
)
def test_decoded_sizes_follow_resize(options, size):
    dfm("decode", "cat.dfm", "-o", "small.png", *options)
    assert pixels("small.png").shape[:2] == size[::-1]


@pytest.mark.parametrize("region", ["10,20,64,48", "64x48+10+20", "64X48+10+20"])
def test_a_rectangle_may_be_a_geometry_of_imagemagick(region, cat):
    dfm("decode", "cat.dfm", "-o", "part.png", "--region", region)
    assert np.array_equal(pixels("part.png"), dfmcodec.decode(cat).pixels[20:68, 10:74])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--resize", "wide"], "--resize is 'wide'; write WxH, or W, xH or a percentage"),
        (["--region", "64x48"], "--region is '64x48'; write X,Y,W,H"),
        (["--region", "64x48-1-1"], "or WxH+X+Y"),
        (["--quality", "0"], "'--quality': 0 is not in the range"),
        (["--quality", "50"], "png is lossless and has no quality, which jpeg and webp have"),
        (["--quality", "50", "-O", "out"], "png is lossless and has no quality"),
    ],
    ids=str,
)
def test_contradictory_options_are_refused_before_any_work(options, words):
    assert words in dfm("decode", "cat.dfm", *options, code=2).stderr
    assert [path.name for path in Path().iterdir()] == ["cat.dfm"]


@pytest.mark.parametrize(("name", "made"), [("jpg", "cat.jpg"), ("JPEG", "cat.jpg"), ("tif", "cat.tif")])
def test_formats_are_called_as_their_extensions_too(name, made):
    dfm("decode", "cat.dfm", "--format", name)
    dfm("decode", "cat.dfm", "-O", "out", "--format", name)
    beside = made.replace("cat", "cat.decoded")
    assert pixels(beside).shape == pixels(Path("out", made)).shape == (80, 96, 3)


def test_jpeg_has_quality_95_unless_another_is_given():
    for name, options in (("default", []), ("95", ["--quality", 95]), ("20", ["-q", 20])):
        dfm("decode", "cat.dfm", "-o", f"{name}.jpg", *options)
    dfm("decode", "cat.dfm", "-O", "out", "--format", "jpg", "--quality", 20)
    assert Path("default.jpg").read_bytes() == Path("95.jpg").read_bytes()
    assert Path("20.jpg").stat().st_size < Path("95.jpg").stat().st_size / 2
    assert Path("out/cat.jpg").read_bytes() == Path("20.jpg").read_bytes()


def test_webp_is_lossless_unless_a_quality_is_given(cat):
    dfm("decode", "cat.dfm", "-o", "exact.webp")
    dfm("decode", "cat.dfm", "-o", "lossy.webp", "--quality", 50)
    assert np.array_equal(pixels("exact.webp"), dfmcodec.decode(cat).pixels)
    assert Path("lossy.webp").stat().st_size < Path("exact.webp").stat().st_size / 2
