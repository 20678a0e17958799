"""What `--strip` leaves out, what `--sample-max` means, and the notices of `dfm compare`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from dfmcodec.cli import main

ROWS, COLUMNS = np.mgrid[:40, :56]
WAVES = 0.5 + 0.4 * np.sin(COLUMNS / 9) * np.cos(ROWS / 7)


def dfm(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


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
    dfm("decode", "photo.dfm", "--to", "16x", "-o", "with.jpg")
    dfm("decode", "photo.dfm", "--to", "16x", "--strip", "all", "-o", "without.jpg")
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
        assert "give one or more of gps, exif, xmp, icc, all" in output


def test_a_part_of_16_bits_is_noticed(folder):
    save_deep("x.png", 3900)
    notice = "x.png: its 16-bit samples reach 3510, so quality and PSNR are relative to 4095 (12 bits)"
    run = dfm("encode", "x.png", "--effort", 1, "--json")
    assert notice in run.stderr
    figures = json.loads(run.stdout)
    assert figures["config"]["sample_max"] == 4095
    compared = dfm("compare", "x.png", "x.dfm", "--json")
    assert notice in compared.stderr
    assert json.loads(compared.stdout)["psnr_db"] == pytest.approx(figures["psnr_db"])
    whole = json.loads(dfm("compare", "x.png", "x.dfm", "--sample-max", 65535, "--json").stdout)
    assert whole["psnr_db"] == pytest.approx(figures["psnr_db"] + 20 * np.log10(65535 / 4095))
    assert dfm("compare", "x.png", "x.dfm", "--quiet").stderr == ""
    assert "samples" not in dfm("encode", "x.png", "-f", "--effort", 1, "--sample-max", 4095).stderr


def test_8_bits_in_16(folder):
    save_deep("x.png", 250)
    assert "--sample-max 255 encodes the same values as 8 bits" in dfm("encode", "x.png", code=1).output
    dfm("encode", "x.png", "--sample-max", 255, "--effort", 1)
    dfm("decode", "x.dfm", "-o", "y.png")
    assert opened("y.png").mode == "L"
    assert "PSNR" in dfm("compare", "x.png", "x.dfm").output  # although their bit depths differ


def test_sample_max_is_checked_before_anything_is_read(folder):
    for command in (("encode", "none.png"), ("compare", "none.png", "none.png")):
        assert "sample_max is 70000" in dfm(*command, "--sample-max", 70000, code=2).output


def test_compare_gives_the_notices_of_encode(folder):
    first, second = (PIL.Image.fromarray((WAVES * peak).astype(np.uint8)) for peak in (255, 200))
    first.save("pages.tif", save_all=True, append_images=[second])
    first.convert("CMYK").save("cmyk.tif")
    run = dfm("compare", "pages.tif", "cmyk.tif")
    assert "dfm: pages.tif: the first of several pages" in run.stderr
    assert "dfm: cmyk.tif: CMYK converted to sRGB" in run.stderr
    assert dfm("compare", "pages.tif", "cmyk.tif", "--quiet").stderr == ""
