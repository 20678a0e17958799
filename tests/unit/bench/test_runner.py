"""Tests of benchmark runs: exact size limits, figures equal to those of other libraries, and
continued runs.
"""

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
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dfmcodec import kernels
from dfmcodec.bench import codecs
from dfmcodec.bench.codecs import ANCHORS, Avif, AvifForPsnr, AvifSpeed4, Codec, Jpeg
from dfmcodec.bench.matching import Match, OutOfReach, SizeSearch
from dfmcodec.bench.measurement import Target
from dfmcodec.bench.runner import Plan, find_images, run
from dfmcodec.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
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


@pytest.mark.parametrize(
    ("limit", "found", "following"), [(10, 10, 20), (29, 20, 30), (30, 30, 50), (79, 50, 80), (80, 80, None)]
)
def test_the_largest_file_within_a_limit(limit, found, following):
    match = SizeSearch(Known(), "", np.zeros((1, 1, 3), np.uint8)).largest_within(limit)
    assert isinstance(match, Match)
    assert (len(match.data), match.next_bytes) == (found, following)


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


def test_all_cells_are_counted(folder):
    """Of each image, target and codec, also those of anchors without a file of dfm."""
    done = []
    targets = tuple(Target("wavelet", 1, rate, None, "psnr") for rate in (0.1, 1e-9))
    comparison = run(Plan((Path("photos"),), targets, ("jpeg",)), done.append)
    assert sum(done) == 2 * 2 * 2
    assert {failure.name for failure in comparison.failures} == {
        f"{name}, dfm at {targets[1].label}" for name in ("cat", "coffee")
    }


def test_a_cell_is_what_plain_libraries_give(folder):
    rows = measurements("photos/cat.png", "--vs", "jpeg", "--rate", "0.08")
    ours = next(row for row in rows if row["codec"] == "dfm")
    original = np.asarray(PIL.Image.open("photos/cat.png"))
    assert ours["file_bytes"] <= 0.08 * original.size
    for row in (row for row in rows if row["codec"] == "jpeg"):
        files = []
        for quality in range(1, 101):
            buffer = io.BytesIO()
            PIL.Image.fromarray(original).save(buffer, "JPEG", quality=quality, optimize=True, subsampling=row["form"])
            files.append(buffer.getvalue())
        fits = max(quality for quality in range(100) if len(files[quality]) <= ours["file_bytes"])
        assert (row["file_bytes"], row["setting"]) == (len(files[fits]), fits + 1)
        assert row["next_bytes"] == len(files[fits + 1]) > row["limit_bytes"] == ours["file_bytes"]
        decoded = np.asarray(PIL.Image.open(io.BytesIO(files[fits])))
        assert row["psnr_db"] == pytest.approx(peak_signal_noise_ratio(original, decoded), abs=0.01)
        expected = structural_similarity(
            original, decoded, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert row["ssim"] == pytest.approx(expected, abs=1e-6)
    assert {row["form"] for row in rows} == {"", "4:4:4", "4:2:0"}


@pytest.mark.slow
def test_no_anchor_is_larger_and_what_cannot_go_so_low_is_empty(folder):
    rows = measurements("photos", "--vs", "jpeg,webp,jpeg2000", "--rate", "0.1,0.004")
    sizes = {(row["image"], row["rate"]): row["file_bytes"] for row in rows if row["codec"] == "dfm"}
    assert len(sizes) == 4
    for row in rows:
        if row["codec"] == "dfm":
            continue
        limit = sizes[row["image"], row["rate"]]
        if row["file_bytes"] is None:
            assert row["smallest_bytes"] > limit
        else:
            assert row["file_bytes"] <= limit
            assert row["next_bytes"] is None or row["next_bytes"] > limit
    empty = {row["codec"] for row in rows if row["file_bytes"] is None and row["rate"] == 0.004}
    assert "jpeg" in empty  # its tables alone are larger
    text = bench("photos", "--vs", "jpeg,webp,jpeg2000", "--rate", "0.1,0.004", "--tune", "psnr").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "smaller than" in text or "no file as small" in text


@pytest.mark.slow
def test_why_a_file_is_much_smaller_is_said(folder):
    text = bench("photos/cat.png", "--vs", "jpeg,webp", "--rate", "0.5,0.3,0.2", "--tune", "psnr").stdout
    assert "+ smaller than dfm's by more than 2 %: the codec's best setting" in text
    assert "* smaller than dfm's by more than 2 %: the codec's next setting is too large" in text


@pytest.mark.slow
def test_tables_fit_80_columns_with_all_anchors_and_long_names(folder):
    for name in ("cat.png", "coffee.png"):
        PIL.Image.open(f"photos/{name}").crop((0, 0, 64, 48)).save(f"photos/{name}")
    os.rename("photos/cat.png", "photos/a-image-with-a-name-of-more-than-twenty-letters.png")
    for tune in ("visual", "psnr"):
        text = bench("photos", "--vs", "all", "--rate", "0.15", "--tune", tune).stdout
        assert max(map(len, text.splitlines())) <= 80
        for codec in ANCHORS:
            assert (codec.label in text) == (codec.missing() is None)


def test_a_run_goes_on_where_it_stopped(folder, monkeypatch):
    first = measurements("photos/cat.png", "--rate", "0.1")
    import dfmcodec

    def refuse(*arguments, **options):
        msg = "encoded again"
        raise AssertionError(msg)

    monkeypatch.setattr(dfmcodec, "encode", refuse)
    monkeypatch.setattr(Jpeg, "encode", refuse)
    assert measurements("photos/cat.png", "--rate", "0.1") == first
    result = json.loads(bench("photos/cat.png", "--rate", "0.1,0.05", "--json", code=5).stdout)
    assert [row for row in result["measurements"] if row["rate"] == 0.1] == first
    assert ["encoded again" in failure["error"] for failure in result["failures"]] == [True]


@pytest.mark.slow
def test_images_that_other_codecs_cannot_keep_are_measured_as_they_can(folder):
    """Hidden pixels, which dfm changes, counted for it and not for the others; 16 bits ended the
    run.
    """
    cat = np.asarray(PIL.Image.open("photos/cat.png"))
    alpha = np.full(cat.shape[:2], 255, np.uint8)
    alpha[:, :80] = 0
    Path("other").mkdir()
    PIL.Image.fromarray(np.dstack([cat, alpha])).save("other/alpha.png")
    PIL.Image.fromarray(cat[:, :, 0].astype(np.uint16) * 257).save("other/deep.png")
    arguments = ("--vs", "jpeg", "--rate", "0.1", "--no-cache")
    result = bench("other", *arguments, "--json")
    assert "alpha is measured without its alpha, as not every codec keeps more" in result.stderr
    assert "deep is measured in 8 bits (65535 becomes 255), as not" in result.stderr
    cells = {(m["image"], m["codec"]): m["psnr_db"] for m in json.loads(result.stdout)["measurements"]}
    plain = {m["codec"]: m["psnr_db"] for m in measurements("photos/cat.png", *arguments)}
    assert cells["alpha", "dfm"] == plain["dfm"]
    assert cells["alpha", "jpeg"] == plain["jpeg"]
    assert cells["deep", "dfm"] > cells["deep", "jpeg"] > 25


def test_a_part_of_16_bits_is_not_measured_black(folder):
    gray = np.asarray(PIL.Image.open("photos/cat.png"))[:, :, 1]
    Path("other").mkdir()
    PIL.Image.fromarray(gray.astype(np.uint16)).save("other/g8in16.png")
    PIL.Image.fromarray(gray).save("other/g8.png")
    result = bench("other", "--vs", "jpeg", "--rate", "0.1", "--no-cache", "--json")
    assert "g8in16 is measured in 8 bits (255 becomes 255), as not every codec keeps more" in result.stderr
    cells = {(m["image"], m["codec"]): m["psnr_db"] for m in json.loads(result.stdout)["measurements"]}
    assert cells["g8in16", "jpeg"] == cells["g8", "jpeg"] < 60
    assert cells["g8in16", "dfm"] == cells["g8", "dfm"]


@pytest.mark.slow
def test_kernels_decide_a_measurement(folder, monkeypatch):
    arguments = ("photos/cat.png", "--rate", "0.1", "--cache", "kept")
    measurements(*arguments)
    before = set(os.listdir("kept"))
    measurements(*arguments)
    assert set(os.listdir("kept")) == before
    monkeypatch.setattr(kernels, "instruction_set", lambda: "another")
    measurements(*arguments)
    assert len(set(os.listdir("kept")) - before) == 1  # dfm's; other codecs have none


@pytest.mark.slow
def test_a_damaged_cache_entry_is_measured_again(folder):
    first = measurements("photos/cat.png", "--rate", "0.1", "--cache", "kept")
    entries = sorted(Path("kept").iterdir())
    assert len(entries) == 3
    for entry in entries:
        entry.write_text(entry.read_text()[:50])
    again = measurements("photos/cat.png", "--rate", "0.1", "--cache", "kept")
    assert [row["file_bytes"] for row in again] == [row["file_bytes"] for row in first]
    measurements("photos/cat.png", "--rate", "0.1", "--no-cache")
    assert not Path("cache").exists()


def test_one_bad_image_does_not_stop_the_rest(folder):
    Path("photos/broken.png").write_bytes(Path("photos/cat.png").read_bytes()[:2000])
    Path("photos/empty.jpg").touch()
    Path("photos/notes.txt").write_text("not an image, and not looked at")
    PIL.Image.new("RGB", (1, 1), (9, 8, 7)).save("photos/tiny.png")
    PIL.Image.fromarray(skimage.data.camera()[200:264, 200:264]).save("photos/gray.png")
    result = bench("photos", "--vs", "jpeg,webp", "--json", code=5)
    data = json.loads(result.stdout)
    measured = {row["image"] for row in data["measurements"] if row["codec"] == "dfm" and row["file_bytes"]}
    assert {"cat", "coffee", "gray"} <= measured
    named = " ".join(failure["name"] for failure in data["failures"])
    assert "broken" in named
    assert "empty" in named
    assert "notes" not in named
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_several_processes_give_the_same_files(folder):
    alone = measurements("photos", "--vs", "jpeg", "--rate", "0.1", "--no-cache")
    both = measurements("photos", "--vs", "jpeg", "--rate", "0.1", "--no-cache", "-j", "2")
    keys = ("image", "codec", "form", "file_bytes", "psnr_db", "ssim")
    assert [[row[key] for key in keys] for row in both] == [[row[key] for key in keys] for row in alone]


def test_wrong_usage_is_reported_before_any_work(folder):
    for arguments, message in [
        (["photos", "--vs", "jpg"], "unknown codec 'jpg'"),
        (["photos", "--vs", "jpeg,jpeg"], "named twice"),
        (["photos", "--rate", "0.1,x"], "--rate"),
        (["photos", "--rate", "0"], "rate"),
        (["photos", "--model", "fourier"], "model"),
        (["photos", "--csv", "nowhere/rows.csv"], "does not exist"),
        (["photos", "--html", "photos"], "is a folder"),
        (["photos", "nothing/"], "cannot read nothing: No such file or directory"),
        (["photos", "--codecs-from", "nowhere.py"], "cannot read nowhere.py"),
    ]:
        result = CliRunner().invoke(main, ["bench", *arguments])
        assert result.exit_code in (1, 2), arguments
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not Path("cache").exists()


def test_no_permission_to_write(folder, monkeypatch):
    may = os.access  # root, who runs the tests in CI, may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode, **options: not mode & os.W_OK and may(path, mode, **options))
    assert "no permission" in bench("photos", "--csv", "rows.csv", code=1).stderr
    assert not Path("cache").exists()


def test_an_empty_folder_and_an_anchor_that_is_not_installed(folder, monkeypatch):
    Path("empty").mkdir()
    assert "without images" in bench("empty", code=1).output
    monkeypatch.setattr(type(ANCHORS[3]), "missing", lambda codec: "imagecodecs; install it")
    result = bench("photos/cat.png", "--vs", "jpeg,jxl", code=5)
    assert "jxl: left out because it needs imagecodecs" in result.output
    assert "JPEG" in result.output


def test_outputs_are_kept_unless_forced(folder):
    Path("rows.csv").write_text("mine")
    assert "exists" in bench("photos/cat.png", "--csv", "rows.csv", code=1).stderr
    assert Path("rows.csv").read_text() == "mine"
    assert bench("photos/cat.png", "--csv", "rows.csv", "-f", "--quiet").output == ""
    assert Path("rows.csv").read_text().startswith("image,model,effort,rate")


@pytest.mark.parametrize("options", [[], ["--quiet"], ["--json"]], ids=str)
@pytest.mark.parametrize("source", ["photo", "broken.png", "empty"])
def test_without_a_measurement_earlier_reports_stay(folder, source, options):
    Path("broken.png").write_bytes(Path("photos/cat.png").read_bytes()[:2000])
    Path("empty").mkdir()
    reports = Path("r.html"), Path("r.csv")
    for path in reports:
        path.write_text("of an earlier run")
    result = bench(source, "--html", "r.html", "--csv", "r.csv", "-f", *options, code=1)
    errors = [line for line in result.stderr.splitlines() if line.startswith("dfm: error: ")]
    assert len(errors) == 1
    assert source.removesuffix(".png") in errors[0]
    assert "files to encode" not in result.stderr or source == "broken.png"
    assert options == ["--json"] or result.stdout == ""
    assert {path.read_text() for path in reports} == {"of an earlier run"}


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
    assert [row["codec"] for row in rows] == ["dfm", "coarse"]
    assert rows[1]["file_bytes"] <= rows[0]["file_bytes"]
    assert rows[1]["psnr_db"] < rows[0]["psnr_db"]
    Path("wrong.py").write_text("CODECS = [1]")
    result = CliRunner().invoke(main, ["bench", "photos", "--codecs-from", "wrong.py"])
    assert result.exit_code == 2
    assert "not a dfmcodec.bench.Codec" in result.stderr


@pytest.mark.slow
def test_a_run_without_a_cache_says_so_once(folder, monkeypatch):
    Path("file").touch()
    (folder / "home").mkdir()
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "file"))  # nobody can write below a file
    result = bench("photos", "--rate", "0.3", "--vs", "jpeg")
    first, line = result.stderr.splitlines()
    assert first == "dfm: 4 files to encode and measure"  # of two images and two codecs
    assert line.startswith("dfm: measurements are not kept: cannot make the folder")
    assert "not measured (" not in result.stdout
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert bench("photos/cat.png", "--rate", "0.3", "--vs", "jpeg").stderr == "dfm: 2 files to encode and measure\n"
    assert list((folder / "home/.cache/dfmcodec/bench").iterdir())
    assert not Path("relative").exists()


def test_pipes_of_a_folder_are_passed_over(folder):
    os.mkfifo("photos/pipe.png")
    notices = []
    images, failures = find_images((Path("photos"),), notices.append)
    assert [image.name for image in images] == ["cat", "coffee"]
    assert failures == []
    assert notices == ["skipped photos/pipe.png: a device, pipe or socket, not a file"]


def test_images_are_noticed_as_encode_does(folder):
    pages, cmyk = Path("photos/pages.tif"), Path("photos/cmyk.jpg")
    with PIL.Image.open("photos/cat.png") as cat:
        cat.save(pages, save_all=True, append_images=[cat])
        cat.convert("CMYK").save(cmyk, comment=b"of texts, which are never kept, a benchmark says nothing")
    notices = []
    find_images((pages, cmyk), notices.append)
    assert notices == [
        f"{pages}: only the first of several pages is read; dfm encode --page selects another",
        f"{cmyk}: CMYK converted to sRGB as Pillow does",
    ]
    result = bench(pages, cmyk, "--rate", "0.3", "--vs", "jpeg", "--no-cache")
    first, *others = result.stderr.splitlines()
    assert first == "dfm: 4 files to encode and measure"  # of two images and two codecs
    assert others == [f"dfm: {notice}" for notice in notices]


def test_any_error_of_an_image_is_its_failure(folder, monkeypatch):
    def broken(path, strip, notify):
        raise ZeroDivisionError(path.name)

    monkeypatch.setattr("dfmcodec.bench.runner.read_image", broken)
    images, failures = find_images((Path("photos"),))
    assert images == []
    assert [failure.error for failure in failures] == ["ZeroDivisionError: cat.png", "ZeroDivisionError: coffee.png"]
