"""Tests of `--strip`, `--sample-max`, and the notices of `dfm compare`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from common import dfm
from PIL.PngImagePlugin import PngInfo

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
    info = opened("photo.png").info
    assert "icc_profile" not in info
    assert 0x8825 not in opened("photo.png").getexif()
    for command, name in (("encode", "photo.jpg"), ("decode", "photo.dfm")):
        output = dfm(command, name, "-o", "x.out", "--strip", "everything", code=2).output
        assert "give one or more of gps, exif, xmp, icc, gainmap, all" in output


def test_a_part_of_16_bits_is_noticed(folder):
    save_deep("x.png", 3900)
    notice = "x.png: its 16-bit samples reach 3510, so {} are relative to 4095 (12 bits)"
    run = dfm("encode", "x.png", "--effort", 1, "--json")
    assert notice.format("quality and PSNR") in run.stderr
    figures = json.loads(run.stdout)
    assert figures["config"]["sample_max"] == 4095
    compared = dfm("compare", "x.png", "x.dfm", "--json")
    assert notice.format("PSNR and SSIM") in compared.stderr
    assert json.loads(compared.stdout)["psnr_db"] == pytest.approx(figures["psnr_db"])
    complete = json.loads(dfm("compare", "x.png", "x.dfm", "--sample-max", 65535, "--json").stdout)
    assert complete["psnr_db"] == pytest.approx(figures["psnr_db"] + 20 * np.log10(65535 / 4095))
    assert dfm("compare", "x.png", "x.dfm", "--quiet").stderr == ""
    assert "samples" not in dfm("encode", "x.png", "-f", "--effort", 1, "--sample-max", 4095).stderr


def test_8_bits_in_16(folder):
    save_deep("x.png", 250)
    refused = dfm("encode", "x.png", code=1).output
    assert refused.startswith("dfm: error: x.png: the image's samples reach only 225 of 65535: 8 bits stored in 16; ")
    run = dfm("encode", "x.png", "--sample-max", 255, "--effort", 1)
    assert "dfm: x.png: its 16-bit samples become 8-bit ones of the same values (--sample-max 255)" in run.stderr
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


def test_what_is_out_of_reach_comes_with_the_name_of_the_file(folder):
    save_deep("x.png", 65535)
    save_deep("narrow.png", 250)
    one = dfm("encode", "x.png", "--psnr", 150, "--effort", 1, code=4).stderr
    assert one.startswith("dfm: error: x.png: 150.00 dB is out of reach: ")
    several = dfm("encode", "x.png", "narrow.png", "--psnr", 150, "--effort", 1, "-O", "out", code=5).stderr
    assert f"dfm: failed: {one.removeprefix('dfm: error: ')}" in several
    assert "dfm: failed: narrow.png: the image's samples reach only 225 of 65535" in several


def test_lossless_is_a_target(folder):
    pixels = np.dstack([WAVES[:16, :24] * 255] * 3).astype(np.uint8)
    PIL.Image.fromarray(pixels).save("x.bmp")
    report = json.loads(dfm("encode", "x.bmp", "--lossless", "--effort", 1, "--json").stdout)
    assert (report["lossless"], report["psnr_db"], report["config"]["lossless"]) == (True, None, True)
    dfm("decode", "x.dfm", "-o", "x.png")
    assert np.array_equal(np.asarray(opened("x.png")), pixels)
    dfm("encode", "x.bmp", "-o", "y.dfm", "--psnr", 200, "--effort", 1)
    assert Path("x.dfm").read_bytes() == Path("y.dfm").read_bytes()
    assert "psnr and lossless are targets" in dfm("encode", "x.bmp", "--lossless", "--psnr", 38, code=2).output
    assert "8 bits; 16 bits only by chance" in " ".join(dfm("encode", "--help").output.split())
    save_deep("deep.png", 65535)
    refused = dfm("encode", "deep.png", "--lossless", "--effort", 1, code=4).stderr
    assert refused.startswith(
        "dfm: error: deep.png: the image cannot be encoded without loss (200.00 dB is out of reach"
    )


def test_lossless_that_does_not_pay_names_no_target_that_there_is_not(folder):
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)).save("x.png")
    source = Path("x.png").stat().st_size
    run = dfm("encode", "x.png", "--lossless", "--effort", 1)
    assert Path("x.dfm").stat().st_size >= source
    assert "--quality in place of --lossless helps" in run.stderr


def test_sample_max_is_checked_before_anything_is_read(folder):
    for command in (("encode", "none.png"), ("compare", "none.png", "none.png")):
        assert "--sample-max is 70000" in dfm(*command, "--sample-max", 70000, code=2).output


def test_compare_gives_the_notices_of_encode(folder):
    first, second = (PIL.Image.fromarray((WAVES * peak).astype(np.uint8)) for peak in (255, 200))
    first.save("pages.tif", save_all=True, append_images=[second])
    first.convert("CMYK").save("cmyk.tif")
    run = dfm("compare", "pages.tif", "cmyk.tif")
    assert "dfm: pages.tif: only the first of several pages is read; dfm encode --page selects another" in run.stderr
    assert "dfm: cmyk.tif: CMYK converted to sRGB" in run.stderr
    assert dfm("compare", "pages.tif", "cmyk.tif", "--quiet").stderr == ""
