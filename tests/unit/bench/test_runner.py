"""Tests of benchmark runs: exact size limits, and figures equal to those of other libraries."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage.data
from click.testing import CliRunner
from skimage.metrics import peak_signal_noise_ratio

from dfmcodec.bench import codecs
from dfmcodec.bench.codecs import ANCHORS, Avif, AvifForPsnr, AvifSpeed4, Codec
from dfmcodec.bench.matching import Match, OutOfReach, SizeSearch
from dfmcodec.bench.measurement import Target
from dfmcodec.bench.runner import Plan, image_names, run
from dfmcodec.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    PIL.Image.fromarray(skimage.data.chelsea()[60:188, 130:290]).save("photos/cat.png")
    PIL.Image.fromarray(skimage.data.coffee()[200:296, 300:396]).save("photos/coffee.png")
    return tmp_path


def bench(*arguments, code=0):
    result = CliRunner().invoke(main, ["bench", "--effort", "1", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def measurements(*arguments, code=0):
    return json.loads(bench(*arguments, "--json", code=code).stdout)["measurements"]


class Known(Codec):
    """Files of the sizes that its settings name."""

    name, label = "known", "Known"
    settings = (10, 20, 20, 30, 50, 80)

    def __init__(self) -> None:
        self.encodings = 0

    def encode(self, pixels, form, setting):
        self.encodings += 1
        return bytes(int(setting))

    def decode(self, data):
        return np.zeros((1, 1, 3), np.uint8)

    def options(self):
        return {}

    def version(self):
        return "known 1"


@pytest.mark.parametrize(("limit", "expected"), [(10, 10), (29, 20), (30, 30), (79, 50), (80, 80)])
def test_the_largest_file_within_a_limit(limit, expected):
    match = SizeSearch(Known(), "", np.zeros((1, 1, 3), np.uint8)).largest_within(limit)
    assert isinstance(match, Match)
    assert len(match.data) == expected


def test_a_limit_below_the_smallest_file_and_files_encoded_once():
    codec = Known()
    search = SizeSearch(codec, "", np.zeros((1, 1, 3), np.uint8))
    assert search.largest_within(9) == OutOfReach(10)
    for limit in range(10, 100):
        search.largest_within(limit)
    assert codec.encodings <= len(codec.settings)


@pytest.mark.parametrize("codec", [c for c in ANCHORS if c.missing() is None], ids=lambda codec: codec.name)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_anchor_gets_better_with_size_and_keeps_the_image(codec, channels):
    pixels = np.ascontiguousarray(skimage.data.chelsea()[60:160, 130:243, :channels])
    form = codec.forms[0]
    small, large = (
        codec.encode(pixels, form, codec.settings[round(part * (len(codec.settings) - 1))]) for part in (0.3, 0.9)
    )
    assert len(small) < len(large)
    decoded = codec.decode(large)
    assert decoded.shape[:2] == pixels.shape[:2]
    error = np.abs(decoded[:, :, :1].astype(int) - pixels[:, :, :1]).mean()
    assert error < np.abs(codec.decode(small)[:, :, :1].astype(int) - pixels[:, :, :1]).mean()
    assert error < 5
    assert codec.version()


def test_avif_is_tuned_for_the_eye_where_libaom_can(monkeypatch):
    monkeypatch.setattr(codecs, "_has_tune_iq", lambda: True)
    assert Avif().options() == {"subsampling": "4:4:4", "speed": 6, "advanced": {"tune": "iq"}}
    monkeypatch.setattr(codecs, "_has_tune_iq", lambda: False)
    assert Avif().options() == {"subsampling": "4:4:4", "speed": 6}
    assert AvifSpeed4().options() == {"subsampling": "4:4:4", "speed": 4}
    assert AvifForPsnr().options()["advanced"] == {"tune": "psnr"}


def test_all_images_are_counted_and_failures_named(folder):
    done = []
    targets = tuple(Target("wavelet", 1, rate, "psnr") for rate in (0.1, 1e-9))
    comparison = run(Plan((Path("photos"),), targets, ("jpeg",)), lambda: done.append(1))
    assert len(done) == 2
    assert {failure.name for failure in comparison.failures} == {
        f"{name}, dfm at {targets[1].label}" for name in ("cat", "coffee")
    }
    assert {(m.codec, m.target) for m in comparison.measurements} == {("dfm", targets[0]), ("jpeg", targets[0])}


def test_a_file_is_what_plain_libraries_give(folder):
    """The largest JPEG or WebP that is not larger than dfm's, and its PSNR by scikit-image."""
    original = np.asarray(PIL.Image.open("photos/cat.png"))
    rows = {row["codec"]: row for row in measurements("photos/cat.png", "--vs", "jpeg,webp", "--rate", "0.1")}
    ours = rows.pop("dfm")
    for row, save in [
        (rows["jpeg"], {"format": "JPEG", "optimize": True, "subsampling": rows["jpeg"]["form"]}),
        (rows["webp"], {"format": "WEBP", "method": 6}),
    ]:
        sizes = {}
        for quality in (row["setting"], row["setting"] + (1 if row["codec"] == "jpeg" else 0.25)):
            buffer = io.BytesIO()
            PIL.Image.fromarray(original).save(buffer, quality=quality, **save)
            sizes[quality] = buffer
        fits, larger = sizes.values()
        assert row["file_bytes"] == len(fits.getvalue()) <= ours["file_bytes"] < len(larger.getvalue())
        decoded = np.asarray(PIL.Image.open(fits))
        assert row["psnr_db"] == pytest.approx(peak_signal_noise_ratio(original, decoded), abs=0.01)


def test_the_form_is_the_better_one_by_the_measure_of_the_tune(folder):
    """A codec with a form that is better by PSNR, and one that is better by SSIMULACRA2."""
    Path("mine.py").write_text(
        """
import numpy as np
import PIL.Image
from dfmcodec.bench import Codec

class TwoForms(Codec):
    name, label = "two", "Two"
    settings, forms = (1,), ("blurred", "shifted")
    def encode(self, pixels, form, setting):
        TwoForms.original = pixels
        return form.encode()
    def decode(self, data):
        pixels = TwoForms.original
        if data == b"shifted":
            return np.clip(pixels.astype(int) + 16, 0, 255).astype(np.uint8)
        image = PIL.Image.fromarray(pixels)
        return np.asarray(image.resize((image.width // 5, image.height // 5)).resize(image.size))
    def version(self): return "1"

CODECS = [TwoForms()]
"""
    )
    forms = {}
    for tune in ("visual", "psnr"):
        arguments = ("--vs", "two", "--codecs-from", "mine.py", "--rate", "0.1", "--tune", tune)
        forms[tune] = measurements("photos/cat.png", *arguments)[-1]["form"]
    assert forms == {"visual": "shifted", "psnr": "blurred"}


def test_no_anchor_is_larger_and_one_that_cannot_go_so_low_has_no_file(folder):
    rows = measurements("photos/cat.png", "--vs", "jpeg,webp", "--rate", "0.1,0.004")
    sizes = {row["rate"]: row["file_bytes"] for row in rows if row["codec"] == "dfm"}
    assert all(row["file_bytes"] <= sizes[row["rate"]] for row in rows)
    assert (0.004, "jpeg") not in {(row["rate"], row["codec"]) for row in rows}  # its tables alone are larger


def test_samples_of_10_bits_in_16_are_measured_at_full_brightness(folder):
    gray = np.asarray(PIL.Image.open("photos/cat.png"))[:, :, 1]
    Path("other").mkdir()
    PIL.Image.fromarray(gray.astype(np.uint16)).save("other/g8in16.png")
    PIL.Image.fromarray(gray).save("other/g8.png")
    result = bench("other", "--vs", "jpeg", "--rate", "0.1", "--json")
    assert "g8in16 is measured in 8 bits (255 becomes 255), as not every codec keeps more" in result.stderr
    cells = {(m["image"], m["codec"]): m["psnr_db"] for m in json.loads(result.stdout)["measurements"]}
    assert cells["g8in16", "jpeg"] == cells["g8", "jpeg"] < 60
    assert cells["g8in16", "dfm"] == cells["g8", "dfm"]


def test_one_bad_image_does_not_stop_the_rest(folder):
    Path("photos/broken.png").write_bytes(Path("photos/cat.png").read_bytes()[:2000])
    Path("photos/empty.jpg").touch()
    Path("photos/notes.txt").write_text("not an image, and not looked at")
    PIL.Image.new("RGB", (1, 1), (9, 8, 7)).save("photos/tiny.png")
    PIL.Image.fromarray(skimage.data.camera()[200:264, 200:264]).save("photos/gray.png")
    result = bench("photos", "--vs", "jpeg,webp", "--json", code=5)
    data = json.loads(result.stdout)
    measured = {row["image"] for row in data["measurements"] if row["codec"] == "dfm"}
    assert {"cat", "coffee", "gray"} <= measured
    named = " ".join(failure["name"] for failure in data["failures"])
    assert "broken" in named
    assert "empty" in named
    assert "notes" not in named
    assert "Traceback" not in result.output


def test_wrong_usage_is_reported_before_any_work(folder):
    for arguments, message in [
        (["photos", "--vs", "jpg"], "unknown codec 'jpg'"),
        (["photos", "--vs", "jpeg,jpeg"], "named twice"),
        (["photos", "--rate", "0.1,x"], "--rate"),
        (["photos", "--rate", "0"], "rate"),
        (["photos", "--model", "fourier"], "model"),
        (["photos", "nothing/"], "cannot read nothing: No such file or directory"),
        (["photos", "--codecs-from", "nowhere.py"], "cannot read nowhere.py"),
    ]:
        result = CliRunner().invoke(main, ["bench", *arguments])
        assert result.exit_code in (1, 2), arguments
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_an_empty_folder_and_an_anchor_that_is_not_installed(folder, monkeypatch):
    Path("empty").mkdir()
    assert "without images" in bench("empty", code=1).output
    monkeypatch.setattr(type(ANCHORS[3]), "missing", lambda codec: "imagecodecs; install it")
    result = bench("photos/cat.png", "--vs", "jpeg,jxl", code=5)
    assert "jxl: left out because it needs imagecodecs" in result.output
    assert "JPEG" in result.output


def test_codecs_of_ones_own(folder):
    Path("mine.py").write_text(
        """
import zlib
import numpy as np
from dfmcodec.bench import Codec

class Coarse(Codec):
    name, label = "coarse", "Coarse"
    settings = (64, 32, 16, 8, 4, 2)
    def encode(self, pixels, form, setting):
        values = (pixels // int(setting) * int(setting)).astype(np.uint8)
        return bytes(pixels.shape[:2]) + zlib.compress(values.tobytes(), 9)
    def decode(self, data):
        return np.frombuffer(zlib.decompress(data[2:]), np.uint8).reshape(data[0], data[1], -1)
    def options(self): return {"level": 9}
    def version(self): return "zlib " + zlib.ZLIB_VERSION

CODECS = [Coarse()]
"""
    )
    rows = measurements("photos/coffee.png", "--vs", "coarse", "--rate", "0.3", "--codecs-from", "mine.py")
    assert [row["codec"] for row in rows] == ["dfm", "dfm:no-texture", "coarse"]
    assert rows[2]["file_bytes"] <= rows[0]["file_bytes"] == rows[1]["file_bytes"]
    assert rows[2]["psnr_db"] < rows[0]["psnr_db"] <= rows[1]["psnr_db"]
    Path("wrong.py").write_text("CODECS = [1]")
    result = CliRunner().invoke(main, ["bench", "photos", "--codecs-from", "wrong.py"])
    assert result.exit_code == 2
    assert "not a dfmcodec.bench.Codec" in result.stderr


def test_pipes_of_a_folder_are_passed_over(folder):
    os.mkfifo("photos/pipe.png")
    assert set(image_names((Path("photos"),)).values()) == {"cat", "coffee"}
    result = bench("photos", "--rate", "0.3")
    assert "skipped photos/pipe.png: a device, pipe or socket, not a file" in result.stderr


def test_images_are_noticed_as_encode_does(folder):
    pages, cmyk = Path("photos/pages.tif"), Path("photos/cmyk.jpg")
    with PIL.Image.open("photos/cat.png") as cat:
        cat.save(pages, save_all=True, append_images=[cat])
        cat.convert("CMYK").save(cmyk, comment=b"of texts, which are never kept, a benchmark says nothing")
    result = bench(pages, cmyk, "--rate", "0.3", "--vs", "jpeg")
    assert result.stderr.splitlines() == [
        "dfm: 2 images to encode at 1 rates and settings",
        f"dfm: {pages}: only the first of several pages is read; dfm encode --page selects another",
        f"dfm: {cmyk}: CMYK converted to sRGB as Pillow does",
    ]
