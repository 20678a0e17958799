"""Tests of `--strip`, of samples that use a part of 16 bits, and the notices of `dfm compare`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from common import dfm
from PIL.PngImagePlugin import PngInfo

import dfmcodec

ROWS, COLUMNS = np.mgrid[:40, :56]
WAVES = 0.5 + 0.4 * np.sin(COLUMNS / 9) * np.cos(ROWS / 7)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save_photo(name):
    exif = PIL.Image.Exif()
    exif[0x010E] = "a cat" * 500
    exif.get_ifd(0x8825)[1] = "N"
    pixels = np.dstack([WAVES * 255] * 3).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(name, exif=exif, icc_profile=b"a profile", xmp=b"<x/>" + b" " * 2000)


def save_deep(name, sample_max):
    PIL.Image.fromarray(np.rint(WAVES * sample_max).astype(np.uint16)).save(name)


def opened(name):
    with PIL.Image.open(name) as image:
        image.load()
        return image


def test_thumbnails_without_metadata_keep_the_profile(folder):
    save_photo("photo.jpg")
    dfm("encode", "photo.jpg", "--effort", 1)
    dfm("decode", "photo.dfm", "--resize", "16x", "-o", "with.jpg")
    dfm("decode", "photo.dfm", "--resize", "16x", "--strip", "all", "-o", "without.jpg")
    assert Path("without.jpg").stat().st_size + 4000 < Path("with.jpg").stat().st_size
    assert opened("without.jpg").info["icc_profile"] == b"a profile"
    assert "exif" not in opened("without.jpg").info
    dfm("decode", "photo.dfm", "--strip", "gps", "-o", "gps.png")
    assert 0x8825 not in opened("gps.png").getexif()
    assert opened("gps.png").getexif()[0x010E].startswith("a cat")


def test_kinds_to_strip(folder):
    save_photo("photo.jpg")
    dfm("encode", "photo.jpg", "--effort", 1, "--strip", "gps,xmp", "--strip", "icc")
    dfm("decode", "photo.dfm")
    info = opened("photo.decoded.png").info
    assert "icc_profile" not in info
    assert 0x8825 not in opened("photo.decoded.png").getexif()
    for command, name in (("encode", "photo.jpg"), ("decode", "photo.dfm")):
        output = dfm(command, name, "-o", "x.out", "--strip", "everything", code=2).output
        assert "give one or more of gps, exif, xmp, icc, gainmap, all" in output


def test_samples_of_10_bits_in_16_get_a_notice(folder):
    save_deep("x.png", 3900)
    notice = "x.png: its 16-bit samples reach 3510, so {} are relative to 4095 (12 bits)"
    run = dfm("encode", "x.png", "--effort", 1, "--json")
    assert notice.format("quality and PSNR") in run.stderr
    figures = json.loads(run.stdout)
    assert figures["config"]["sample_max"] == 4095
    compared = dfm("compare", "x.png", "x.dfm", "--json")
    assert notice.format("PSNR and SSIM") in compared.stderr
    assert json.loads(compared.stdout)["psnr_db"] == pytest.approx(figures["psnr_db"])
    assert dfm("compare", "x.png", "x.dfm", "--quiet").stderr == ""


def test_8_bits_in_16(folder):
    save_deep("x.png", 250)
    refused = dfm("encode", "x.png", code=1).output
    assert refused.startswith("dfm: error: x.png: the image's samples reach only 225 of 65535: 8 bits stored in 16; ")
    with pytest.warns(UserWarning, match=r"its 16-bit samples become 8-bit ones of the same values \(sample_max=255\)"):
        dfmcodec.encode("x.png", sample_max=255, effort=1).save("x.dfm")
    dfm("decode", "x.dfm", "-o", "y.png")
    assert opened("y.png").mode == "L"
    assert "PSNR" in dfm("compare", "x.png", "x.dfm").output  # although their bit depths differ


def test_captions_comments_and_texts_that_are_not_kept_are_noticed(folder):
    image = PIL.Image.fromarray((WAVES * 255).astype(np.uint8))
    text = PngInfo()
    text.add_text("Author", "A. Body")
    image.save("x.png", pnginfo=text)
    image.save("x.jpg", comment="a cat")
    kept = "left out; only ICC, Exif and XMP are kept"
    run = dfm("encode", "x.png", "--effort", 1)
    assert run.stderr.startswith(f"dfm: x.png: its PNG text (Author) is {kept}\n")
    assert f"dfm: x.jpg: its comment is {kept}\n" in dfm("encode", "x.jpg", "-f", "--effort", 1).stderr
    for options in (["--strip", "all"], ["--quiet"]):
        assert kept not in dfm("encode", "x.jpg", "-f", "--effort", 1, *options).stderr


def test_unreachable_targets_name_the_file(folder):
    save_deep("x.png", 65535)
    save_deep("narrow.png", 250)
    one = dfm("encode", "x.png", "--psnr", 150, "--effort", 1, code=4).stderr
    assert one.startswith("dfm: error: x.png: 150.00 dB is out of reach: ")
    several = dfm("encode", "x.png", "narrow.png", "--psnr", 150, "--effort", 1, "-O", "out", code=5).stderr
    assert f"dfm: failed: {one.removeprefix('dfm: error: ')}" in several
    assert "dfm: failed: narrow.png: the image's samples reach only 225 of 65535" in several


def test_compare_gives_the_notices_of_encode(folder):
    first, second = (PIL.Image.fromarray((WAVES * peak).astype(np.uint8)) for peak in (255, 200))
    first.save("pages.tif", save_all=True, append_images=[second])
    first.convert("CMYK").save("cmyk.tif")
    run = dfm("compare", "pages.tif", "cmyk.tif")
    assert "dfm: pages.tif: only the first of several pages is read; dfm encode --page selects another" in run.stderr
    assert "dfm: cmyk.tif: CMYK converted to sRGB" in run.stderr
    assert dfm("compare", "pages.tif", "cmyk.tif", "--quiet").stderr == ""
