"""Tests of runs on many files: output names, reports, lists, and repeated runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage.data
from common import dfm, names_in

import dfmcodec
from dfmcodec.cli._report_file import report_file

FAST = ("--quality", "50", "--effort", "1")


def save(name: str, top: int = 0, **options) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(skimage.data.chelsea()[top : top + 24, :31]).save(name, **options)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_names_do_not_depend_on_neighbours():
    save("in/a.png")
    save("in/b.png")
    dfm("encode", "in", "-O", "out", *FAST)
    save("in/a.jpg")
    result = dfm("encode", "in", "-O", "out", "--skip-existing", *FAST, code=5)
    assert "0 encoded, 1 already there, 2 failed" in result.output
    assert "--keep-extension" in result.stderr
    assert names_in("out") == ["a.dfm", "b.dfm"]
    dfm("encode", "in/a.png", "in/a.jpg", "-O", "two", *FAST, code=5)
    assert not Path("two").exists() or not names_in("two")
    dfm("encode", "in", "-O", "kept", "--keep-extension", *FAST)
    assert names_in("kept") == ["a.jpg.dfm", "a.png.dfm", "b.png.dfm"]
    dfm("decode", "kept", "-O", "back")
    assert names_in("back") == ["a.jpg.png", "a.png", "b.png"]
    dfm("decode", "kept/a.jpg.dfm", "--format", "jpeg")
    assert Path("kept/a.decoded.jpg").exists()
    save("other/a.png")
    result = dfm("encode", "in/a.png", "other", "-O", "shared", *FAST, code=5)
    assert "in/a.png has the same output as other/a.png, shared/a.dfm; " in result.stderr
    assert "other/a.png has the same output as in/a.png, shared/a.dfm; " in result.stderr
    assert not Path("shared").exists()


def test_the_summary_states_the_bytes_saved():
    for name in ("in/a.bmp", "in/b.bmp"):
        save(name)
    before = sum(path.stat().st_size for path in Path("in").iterdir())
    summary = dfm("encode", "in", "-O", "out", *FAST).output.splitlines()[-1]
    after = sum(path.stat().st_size for path in Path("out").glob("*.dfm"))
    share = f"{100 * after / before:.0f} %"
    assert summary == f"2 encoded; {before:,} -> {after:,} bytes ({share}, {before - after:,} saved)"
    Path("out/b.dfm").unlink()
    run = ("encode", "in", "-O", "out", "--skip-existing", *FAST)
    again = dfm(*run).output.splitlines()[-1]  # of the outputs of that run
    assert again.startswith(f"1 encoded, 1 already there; {before // 2:,} -> ")
    assert "bytes" not in dfm("decode", "out", "-O", "back").output.splitlines()[-1]


def test_a_slash_names_a_folder():
    save("a.png")
    dfm("encode", "a.png", "-o", "new/deeper/", *FAST)
    assert names_in("new/deeper") == ["a.dfm"]
    kept = dfm("encode", "a.png", "-o", "new/deeper", "--skip-existing", *FAST)
    assert "new/deeper/a.dfm exists and is intact" in kept.output
    dfm("decode", "new/deeper/a.dfm", "-o", "new/")
    assert Path("new/a.png").exists()


def test_a_list_of_files():
    save("in/x/a.png")
    save("in/x/b.png")
    Path("list.txt").write_text("in/x/a.png\n\nin/x/b.png\nin/x/a.png\nmissing.png\n")
    result = dfm("encode", "--files-from", "list.txt", "-O", "out", *FAST, code=5)
    assert "2 encoded, 1 failed" in result.output  # a file that is named twice is encoded once
    assert Path("out/in/x/a.dfm").exists()
    result = dfm("decode", "--files-from", "-", "-O", "back", data="out/in/x/a.dfm\n")
    assert "1 decoded" in result.output
    assert Path("back/out/in/x/a.png").exists()


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_report_lists_results(suffix):
    def rows():
        text = Path(f"report.{suffix}").read_text()
        return list(csv.DictReader(text.splitlines())) if suffix == "csv" else list(map(json.loads, text.splitlines()))

    def run(*options, code=5):
        return dfm("encode", "in", "-O", "out", "--report", f"report.{suffix}", *FAST, *options, code=code).output

    for name in ("a", "b", "c"):
        save(f"in/{name}.png")
    Path("in/bad.png").write_text("no image")
    assert "3 encoded, 1 failed" in run()
    assert [row["status"] for row in rows()] == ["done", "done", "failed", "done"]
    first = rows()[0]
    assert first["source"] == "in/a.png"
    assert first["output"] == "out/a.dfm"
    assert int(first["source_bytes"]) == Path("in/a.png").stat().st_size
    assert int(first["output_bytes"]) == Path("out/a.dfm").stat().st_size
    figure = dfmcodec.encode("in/a.png", quality=50, effort=1).report.psnr_db
    assert float(first["psnr_db"]) == pytest.approx(figure, abs=1e-3)
    assert "bad.png" in rows()[2]["error"]
    before = Path(f"report.{suffix}").read_bytes()
    assert "0 encoded, 4 failed" in run()
    assert Path(f"report.{suffix}").read_bytes().startswith(before)
    assert [row["status"] for row in rows()[4:]] == ["failed"] * 4
    Path("out/b.dfm").unlink()
    assert "1 encoded, 2 already there, 1 failed" in run("--skip-existing")
    assert [row["status"] for row in rows()[8:]] == ["kept", "done", "failed", "kept"]
    dfm("encode", "in/bad.png", "--report", f"report.{suffix}", code=1)
    assert rows()[-1]["status"] == "failed"


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_row_that_a_full_disk_cut_stays_a_row_of_its_own(suffix):
    save("a.png")
    run = ("encode", "a.png", "-f", "--report", f"r.{suffix}", *FAST)
    dfm(*run)
    with open(f"r.{suffix}", "a") as report:
        report.write("a.png,a.d" if suffix == "csv" else '{"source": "a.p')
    cut = Path(f"r.{suffix}").read_bytes()
    dfm(*run)
    again = Path(f"r.{suffix}").read_bytes()
    assert again.startswith(cut + b"\n")
    assert again.count(b"\n") == cut.count(b"\n") + 2


def test_a_csv_file_that_is_no_report_stays_as_it_is():
    save("a.png")
    for text in ("hello", "a,b,c\n", "source\n"):
        Path("x.csv").write_text(text)
        assert "x.csv has other columns than a report" in dfm("encode", "a.png", "--report", "x.csv", code=2).stderr
        assert Path("x.csv").read_text() == text


def test_two_runs_append_to_one_report():
    with report_file(Path("r.csv")) as first, report_file(Path("r.csv")) as second:
        first.add({"source": "a"})
        second.add({"source": "b"})
        first.add({"source": "c"})
    rows = list(csv.DictReader(Path("r.csv").read_text().splitlines()))
    assert [row["source"] for row in rows] == ["a", "b", "c"]


def test_one_output_in_two_spellings(folder):
    """Relative and absolute, around a folder, and through a link to one."""
    save("in/a.png")
    save("in/a.bmp")
    Path("link").symlink_to("in")
    others = (folder / "in/a.bmp", "in/../in/a.bmp", "link/a.bmp")
    for other in others:
        result = dfm("encode", "in/a.png", other, *FAST, code=5)
        assert "has the same output as" in result.stderr
        assert not Path("in/a.dfm").exists()
    Path("list").write_text("".join(f"{path}\n" for path in ("in/a.png", *others)))
    result = dfm("encode", "--files-from", "list", *FAST, code=5)
    assert "0 encoded, 2 failed" in result.output
    Path("list").write_text("in/a.png\nin/../in/a.png\nlink/a.png\n")
    assert "1 encoded" in dfm("encode", "--files-from", "list", *FAST).output


def test_files_larger_than_their_sources():
    PIL.Image.fromarray(skimage.data.astronaut()[:96, :96]).save("a.jpg", quality=10)
    result = dfm("encode", "a.jpg", "-q", 98, "--effort", 1)
    assert "no smaller than its source" in result.stderr
    Path("a.dfm").unlink()
    assert "not written" in dfm("encode", "a.jpg", "-q", 98, "--effort", 1, "--skip-larger").stderr
    assert not Path("a.dfm").exists()
    result = dfm("encode", ".", "-q", 98, "--effort", 1, "--skip-larger", "--report", "r.jsonl")
    assert "0 encoded, 1 left out as larger" in result.output
    result = dfm("encode", ".", "-q", 98, "--effort", 1, "--skip-larger", "--report", "r.jsonl")
    assert "0 encoded, 1 left out as larger than their sources" in result.output
    assert not Path("a.dfm").exists()
    result = dfm("encode", ".", "-q", 98, "--effort", 1, "--report", "r.jsonl")
    assert "1 encoded" in result.output
    assert Path("a.dfm").exists()
    for source in (".", "a.jpg"):
        result = dfm("encode", source, "-q", 98, "--effort", 1, "--skip-larger", "-f")
        assert "no smaller than its source; the file that was there stays" in result.stderr


def test_exact_images_are_valid_json():
    save("a.png")
    large = json.loads(dfm("encode", "a.png", "--rate", "100%", "--effort", 1, "--json").stdout)
    assert large["psnr_db"] is None
    assert large["lossless"] is True
    more = json.loads(dfm("encode", "a.png", "-f", "--psnr", 200, "--effort", 1, "--json").stdout)
    assert more["lossless"] is True
    assert np.array_equal(np.asarray(PIL.Image.open("a.png")), dfmcodec.decode("a.dfm").pixels)
    finer = dfmcodec.encode("a.png", lmbda=1e-9, effort=1)
    assert finer.report.psnr_db == np.inf
    assert more["file_bytes"] < 0.8 * finer.report.file_bytes
    assert "exact" in dfm("encode", "a.png", "-f", "--rate", 1, "--effort", 1).output


@pytest.mark.parametrize("side", [1, 7, 8])  # images with a side below 8 have no SSIMULACRA2
def test_the_smallest_images_work_by_default(side):
    PIL.Image.fromarray(skimage.data.chelsea()[:side, :side]).save("a.png")
    dfm("encode", "a.png")
    assert dfmcodec.decode("a.dfm").pixels.shape == (side, side, 3)


def test_info_and_verify_read_pipes_and_many_files():
    save("a.png")
    dfm("encode", "a.png", *FAST)
    data = Path("a.dfm").read_bytes()
    Path("b.dfm").write_bytes(data[:-4])
    assert "standard input: 31x24" in dfm("info", "-", data=data).output
    for options in ((), ("-j", 2)):
        assert "standard input: intact" in dfm("verify", "-", *options, data=data).output
    for command in ("info", "verify"):
        assert json.loads(dfm(command, "-", "--json", data=data).stdout)["source"] == "-"
    result = dfm("info", "a.dfm", "b.dfm", "a.png", "--json", code=5)
    objects = list(map(json.loads, result.stdout.splitlines()))
    assert [entry["source"] for entry in objects] == ["a.dfm", "b.dfm", "a.png"]
    assert objects[1]["losses"]
    assert "error" in objects[2]
