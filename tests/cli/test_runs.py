"""Tests of runs on many files: output names, reports, lists, and repeated runs."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage.data
from common import dfm, held_command, names_in, wait_until

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
    result = dfm("encode", "in", "-O", "out", *FAST, code=5)
    assert "0 encoded, 1 already there (-f overwrites them), 2 failed" in result.output
    assert "--keep-extension" in result.stderr
    assert names_in("out") == ["a.dfm", "b.dfm"]
    dfm("encode", "in/a.png", "in/a.jpg", "-O", "two", *FAST, code=5)
    assert not Path("two").exists() or not names_in("two")
    dfm("encode", "in", "-O", "kept", "--keep-extension", *FAST)
    assert names_in("kept") == ["a.jpg.dfm", "a.png.dfm", "b.png.dfm"]
    dfm("decode", "kept", "-O", "back")
    assert names_in("back") == ["a.jpg.png", "a.png", "b.png"]
    dfm("decode", "kept/a.jpg.dfm", "--format", "jpeg")
    assert Path("kept/a.jpg").exists()
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
    again = dfm("encode", "in", "-O", "out", *FAST).output.splitlines()[-1]  # of the outputs of that run
    assert again.startswith(f"1 encoded, 1 already there (-f overwrites them); {before // 2:,} -> ")
    assert "bytes" not in dfm("decode", "out", "-O", "back").output.splitlines()[-1]


def test_a_slash_names_a_folder():
    save("a.png")
    dfm("encode", "a.png", "-o", "new/deeper/", *FAST)
    assert names_in("new/deeper") == ["a.dfm"]
    kept = dfm("encode", "a.png", "-o", "new/deeper", *FAST)
    assert "new/deeper/a.dfm is up to date: it was made from a.png with these settings" in kept.output
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


@pytest.mark.parametrize("suffix", ["csv", pytest.param("jsonl", marks=pytest.mark.slow)])
def test_a_report_is_resumed(suffix):
    def rows():
        text = Path(f"report.{suffix}").read_text()
        return list(csv.DictReader(text.splitlines())) if suffix == "csv" else list(map(json.loads, text.splitlines()))

    def run(*options, code=5):
        return dfm("encode", "in", "-O", "out", "--report", f"report.{suffix}", *options, code=code).output

    for name in ("a", "b", "c"):
        save(f"in/{name}.png")
    Path("in/bad.png").write_text("no image")
    assert "3 encoded, 1 failed" in run(*FAST)
    assert [row["status"] for row in rows()] == ["done", "done", "failed", "done"]
    first = rows()[0]
    assert first["source"] == "in/a.png"
    assert first["output"] == "out/a.dfm"
    assert int(first["source_bytes"]) == Path("in/a.png").stat().st_size
    assert int(first["output_bytes"]) == Path("out/a.dfm").stat().st_size
    figure = dfmcodec.encode("in/a.png", quality=50, effort=1).report.psnr_db
    assert float(first["psnr_db"]) == pytest.approx(figure, abs=1e-3)
    assert "bad.png" in rows()[2]["error"]

    stamps = {name: Path("out", name).stat().st_mtime_ns for name in names_in("out")}
    assert "0 encoded, 3 already there" in run(*FAST)
    save("in/b.png", top=40)  # a changed source
    assert "1 encoded, 2 already there" in run(*FAST)
    assert Path("out/a.dfm").stat().st_mtime_ns == stamps["a.dfm"]
    assert Path("out/b.dfm").read_bytes() == dfmcodec.encode("in/b.png", quality=50, effort=1).data
    assert "3 encoded, 1 failed" in run("--quality", 30, "--effort", 1)  # other settings
    assert "0 encoded, 3 already there" in run("--quality", 30, "--effort", 1)
    with open(f"report.{suffix}", "a") as report:
        report.write('{"source": "in/')  # as a run that was killed leaves it
    assert "0 encoded, 3 already there" in run("--quality", 30, "--effort", 1)
    assert rows()[-1]["status"] == "failed"


def test_an_output_that_was_deleted_is_made_again():
    save("in/a.png")
    save("in/b.png")
    run = ("encode", "in", "-O", "out", "--report", "r.jsonl", *FAST)
    assert "2 encoded" in dfm(*run).output
    Path("out/a.dfm").unlink()
    assert "1 encoded, 1 already there" in dfm(*run).output
    assert names_in("out") == ["a.dfm", "b.dfm"]


def test_what_was_made_out_of_a_damaged_file_is_no_success_the_next_time():
    save("in/a.png")
    Path("cut").mkdir()
    dfm("encode", "in/a.png", "-o", "cut/a.dfm", *FAST)
    complete = Path("cut/a.dfm").read_bytes()
    Path("cut/a.dfm").write_bytes(complete[: len(complete) * 9 // 10])
    run = ("decode", "cut", "-O", "out", "--best-effort", "--report", "r.jsonl")
    for _ in range(2):
        assert "0 decoded, 1 failed" in dfm(*run, code=1).output
        assert Path("out/a.png").exists()


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize(
    "text",
    [
        *("hello", "hello\n", '{"a": 1}', "a,b,c", 'pipe 5",3\nb,4\nc,5\n', '{"source": 1}\n'),
        *('{"source": "mine", "note": "no line end"}', '{"source": "a", "output": "b", "cost": ', "[" * 200_000),
        '{"source": "a", "output": "b", "status": "done", "output_bytes": Infinity, "settings": ""}\n',
    ],
    ids=lambda text: text[:20],
)
def test_a_file_that_is_no_report_stays_as_it_is(suffix, text):
    """Nor is anything cut off that looks like the part of a row that a killed run leaves."""
    save("in/a.png")
    Path(f"x.{suffix}").write_text(text)
    assert "not a report" in dfm("encode", "in", "-O", "out", "--report", f"x.{suffix}", *FAST, code=2).stderr
    assert Path(f"x.{suffix}").read_text() == text


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("kept", [0, 12, -1, *(pytest.param(kept, marks=pytest.mark.slow) for kept in (5, 30))])
def test_a_report_whose_first_line_was_cut_off_is_begun_again(suffix, kept):
    save("in/a.png")
    run = ("encode", "in", "-O", "out", "--report", f"r.{suffix}", *FAST)
    dfm(*run)
    complete = Path(f"r.{suffix}").read_bytes()
    Path(f"r.{suffix}").write_bytes(complete.splitlines(keepends=True)[0][:kept])
    dfm(*run, "-f")
    again = Path(f"r.{suffix}").read_bytes()
    is_complete = kept == -1 and suffix == "jsonl"  # but for its line end
    assert again.count(b"\n") == complete.count(b"\n") + is_complete
    assert again.startswith(complete if is_complete else complete[:30])


@pytest.mark.skipif(os.name == "nt", reason="reports are not locked on Windows")
def test_a_report_is_that_of_one_run():
    save("in/a.png")
    with report_file(Path("r.jsonl"), "settings"):
        refused = dfm("encode", "in", "--report", "r.jsonl", *FAST, code=1)
        assert "another run is writing r.jsonl" in refused.stderr
    dfm("encode", "in", "--report", "r.jsonl", *FAST)


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
    assert "0 encoded, 4 failed" in result.output
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


def test_a_file_left_out_replaces_an_earlier_one_without_skip_larger():
    PIL.Image.fromarray(skimage.data.astronaut()[:96, :96]).save("a.jpg", quality=10)
    run = ("encode", ".", "--effort", 1, "--report", "r.jsonl")
    dfm(*run, "-q", 20)
    small = Path("a.dfm").read_bytes()
    assert "1 left out as larger" in dfm(*run, "-q", 98, "--skip-larger").output
    assert Path("a.dfm").read_bytes() == small
    assert "1 encoded" in dfm(*run, "-q", 98).output
    assert len(Path("a.dfm").read_bytes()) > 2 * len(small)


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


@pytest.mark.parametrize("side", range(1, 10))
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


@pytest.mark.skipif(os.name == "nt", reason="signals of process groups are POSIX")
@pytest.mark.parametrize("report", [(), ("--report", "r.jsonl")], ids=["no report", "report"])
def test_ctrl_c_inside_an_image_of_a_run_hands_over_the_best_so_far(folder, report):
    """A later run encodes that image again, and says why."""
    save("in/a.png")
    fit = ("--model", "wavelet", "--effort", "7", "--quality", "60")
    run = ("encode", "in", "-O", "out", *fit, *report, "-j", "2")
    in_the_fit = ("dfmcodec.processes.is_asked_to_stop", "is_worker and call == 9")
    with held_command(folder / "hold", *in_the_fit, *run) as running:
        running.wait()
        running.process.send_signal(signal.SIGINT)  # to the parent alone
        wait_until(lambda: "finishing the current images" in running.errors(), running.process)
        output = running.end()
    assert running.process.returncode == 130
    assert "1 encoded, interrupted" in output
    assert dfmcodec.decode("out/a.dfm").pixels.shape == (24, 31, 3)
    if report:
        assert json.loads(Path("r.jsonl").read_text())["status"] == "interrupted"
    again = dfm(*run)
    assert "out/a.dfm is made again: its encoding was interrupted" in again.stderr
    assert "1 encoded" in again.output
    assert "0 encoded, 1 already there" in dfm(*run).output


@pytest.mark.skipif(os.name == "nt", reason="signals of process groups are POSIX")
def test_ctrl_c_keeps_a_complete_file_that_was_to_be_made_again(folder):
    save("in/a.png")
    dfm("encode", "in", "-O", "out", "--quality", "80", "--effort", "1")
    before = Path("out/a.dfm").read_bytes()
    run = ("encode", "in", "-O", "out", "--model", "wavelet", "--effort", "7", "--quality", "20")
    with held_command(folder / "hold", "dfmcodec.processes.is_asked_to_stop", "call == 9", *run) as running:
        running.wait()
        running.process.send_signal(signal.SIGINT)
        wait_until(lambda: "finishing the current images" in running.errors(), running.process)
        running.end()
    assert running.process.returncode == 130
    assert "interrupted; the complete out/a.dfm that exists is kept" in running.errors()
    assert Path("out/a.dfm").read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="signals of process groups are POSIX")
def test_ctrl_c_keeps_a_file_without_a_record_that_was_to_be_replaced(folder):
    save("a.png")
    dfm("encode", "a.png", "--quality", "80", "--effort", "1")
    before = Path("a.dfm").read_bytes()
    run = ("encode", "a.png", "--model", "wavelet", "--effort", "7", "--quality", "20", "-f")
    with held_command(folder / "hold", "dfmcodec.processes.is_asked_to_stop", "call == 1", *run) as running:
        running.wait()
        running.interrupt("ending the fit with the best result so far")
        running.end()
    assert running.process.returncode == 130
    assert "interrupted; the complete a.dfm that exists is kept" in running.errors()
    assert Path("a.dfm").read_bytes() == before
