"""Tests of the records of sources: outputs of other sources are neither replaced nor kept as
finished.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import PIL.Image
import pytest
import skimage.data
from common import GOLDEN, dfm, names_in

import dfmcodec
from dfmcodec.cli._origins import RECORD, Origin, write_recorded
from dfmcodec.errors import OutputError

FAST = ("--quality", "40", "--effort", "1")


def save(name: str, top: int = 0) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(skimage.data.chelsea()[top : top + 8, :9]).save(name)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


REPORTS = [(), ("--report", "r.jsonl"), ("--report", "r.csv")]
JOBS = [(), pytest.param(("-j", "2"), marks=pytest.mark.slow)]  # processes take long to start


def sources_of(command: str) -> tuple[str, str, str]:
    """Two folders that each hold a file of one name, with different contents; and the output's
    name.
    """
    for number, parent in enumerate(("a", "b")):
        save(f"{parent}/img.png", 10 * number)
    if command == "encode":
        return "a/img.png", "b/img.png", "img.dfm"
    for parent in ("a", "b"):
        dfm("encode", f"{parent}/img.png", *FAST)
        os.remove(f"{parent}/img.png")
    return "a/img.dfm", "b/img.dfm", "img.png"


@pytest.mark.parametrize("jobs", JOBS, ids=["alone", "j2"])
@pytest.mark.parametrize(
    "report", [*REPORTS[:2], pytest.param(REPORTS[2], marks=pytest.mark.slow)], ids=["no report", "jsonl", "csv"]
)
@pytest.mark.parametrize("given", ["folder", "file", "list", "zero list"])
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_another_source_of_one_name(command, given, report, jobs):
    """One run after the other, in every way to name a source: the second is neither replaced by nor
    taken for the first, in either order, again and again.
    """
    first, second, output = sources_of(command)
    options = FAST if command == "encode" else ()

    def run(source: str, *more: str, code: int = 0) -> str:
        named = {
            "folder": [os.path.dirname(source)],
            "file": [os.path.abspath(source)],
            "list": ["--files-from", "list"],
            "zero list": ["--files0-from", "list"],
        }[given]
        Path("list").write_text(os.path.abspath(source) + ("\n" if given == "list" else "\0"))
        result = dfm(command, *named, "-O", "Y", *report, *jobs, *options, *more, code=code)
        return result.output + result.stderr

    assert f"1 {command}d" in run(first)
    made = Path("Y", output).read_bytes()
    for _ in range(2):
        said = run(second, code=1)
        assert f"Y/{output} was made from {os.path.realpath(first)}, not from " in said
        assert second in said
        assert f"0 {command}d, 1 failed" in said
        assert f"0 {command}d, 1 already there" in run(first)
        assert Path("Y", output).read_bytes() == made
    assert f"1 {command}d" in run(second, "-f")
    assert Path("Y", output).read_bytes() != made
    assert "already there" in run(second)
    assert "1 failed" in run(first, code=1)


@pytest.mark.parametrize("jobs", JOBS, ids=["alone", "j2"])
@pytest.mark.parametrize("report", REPORTS[:2], ids=["no report", "report"])
@pytest.mark.parametrize("given", ["folders", "files", "list", "folder and file"])
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_two_sources_of_one_name_in_one_run(command, given, report, jobs):
    """Neither is begun, each is named with the other, and the rest is done."""
    first, second, output = sources_of(command)
    other = "c/other.png" if command == "encode" else "c/other.dfm"
    Path("c").mkdir()
    shutil.copy(first, other)
    Path("list").write_text("".join(os.path.abspath(path) + "\n" for path in (first, other, second)))
    named = {
        "folders": ["a", "c", "b"],
        "files": [first, other, second],
        "list": ["--files-from", "list"],
        "folder and file": ["a", other, second],
    }[given]
    options = FAST if command == "encode" else ()
    for code_of_rest in ("1", "0"):
        result = dfm(command, *named, "-O", "Y", *report, *jobs, *options, code=5)
        assert f"{code_of_rest} {command}d" in result.output
        assert "2 failed" in result.output
        lines = [line for line in result.stderr.splitlines() if "has the same output as" in line]
        assert len(lines) == 2
        assert all(first in line and second in line and output in line for line in lines)
        assert names_in("Y") == [output.replace("img", "other")]


@pytest.mark.parametrize("jobs", JOBS, ids=["alone", "j2"])
@pytest.mark.parametrize("given", [["."], ["photo.png", "photo.jpg"]], ids=["folder", "files"])
def test_names_that_differ_in_their_extensions(given, jobs):
    save("photo.png")
    save("photo.jpg", 10)
    result = dfm("encode", *given, *jobs, *FAST, code=5)
    assert "0 encoded, 2 failed" in result.output
    assert names_in(".") == ["photo.jpg", "photo.png"]
    dfm("encode", "photo.png", *FAST)  # leaves no record: no folder is named, and none is there
    made = Path("photo.dfm").read_bytes()
    assert "exists" in dfm("encode", "photo.jpg", *FAST, code=1).stderr
    os.remove("photo.png")
    assert "no record says that it was made from" in dfm("encode", ".", *FAST, code=1).stderr
    assert Path("photo.dfm").read_bytes() == made


@pytest.mark.parametrize("report", REPORTS, ids=["no report", "jsonl", "csv"])
@pytest.mark.parametrize("harm", ["truncated", "longer", "empty"])
def test_an_output_that_is_not_as_it_was_written_is_not_there(harm, report):
    save("a/img.png")
    run = ("encode", "a", "-O", "Y", *report, *FAST)
    dfm(*run)
    complete = Path("Y/img.dfm").read_bytes()
    harmed = {"truncated": complete[:-1], "longer": complete + b"x", "empty": b""}[harm]
    Path("Y/img.dfm").write_bytes(harmed)
    said = dfm(*run, code=1).stderr
    assert f"Y/img.dfm has changed since it was made from {os.path.realpath('a/img.png')}" in said
    assert f"{len(harmed)} now" in said
    assert Path("Y/img.dfm").read_bytes() == harmed
    dfm(*run, "-f")
    assert Path("Y/img.dfm").read_bytes() == complete


def test_a_file_that_nothing_is_known_of_is_not_there():
    save("a/img.png")
    Path("Y").mkdir()
    shutil.copy(GOLDEN / "wavelet-gray.dfm", "Y/img.dfm")
    assert "no record says that it was made from a/img.png" in dfm("encode", "a", "-O", "Y", *FAST, code=1).stderr
    assert Path("Y/img.dfm").read_bytes() == (GOLDEN / "wavelet-gray.dfm").read_bytes()


def test_outputs_of_elsewhere_are_adopted():
    """Of a run of one file, of a shell loop, or copied without hidden files."""
    save("a/img.png")
    save("a/two.png", 10)
    dfm("encode", "a", "-O", "Y", *FAST)
    os.remove(Path("Y", RECORD))
    made = Path("Y/img.dfm").read_bytes()
    assert "--adopt if it was" in dfm("encode", "a", "-O", "Y", *FAST, code=5).stderr
    dfm("encode", "a", "-O", "Y", "--adopt", "--dry-run", *FAST)
    assert not Path("Y", RECORD).exists()
    assert "2 already there" in dfm("encode", "a", "-O", "Y", "--adopt", *FAST).output
    assert "2 already there" in dfm("encode", "a", "-O", "Y", *FAST).output
    assert Path("Y/img.dfm").read_bytes() == made
    save("b/img.png", 10)
    assert "was made from" in dfm("encode", "b", "-O", "Y", "--adopt", *FAST, code=1).stderr


def test_runs_of_one_file_into_a_folder_are_recorded():
    save("a/img.png")
    dfm("encode", "a/img.png", "-o", "Y/", *FAST)
    assert "1 already there" in dfm("encode", "a", "-O", "Y", *FAST).output
    save("b/img.png", 10)
    dfm("encode", "b/img.png", "-o", "Y/img.dfm", "-f", *FAST)  # in a folder with a record
    assert "was made from" in dfm("encode", "a", "-O", "Y", *FAST, code=1).stderr
    dfm("decode", "Y/img.dfm", "-o", "back/")
    assert "1 already there" in dfm("decode", "Y", "-O", "back").output
    save("c/img.png")
    dfm("encode", "c/img.png", *FAST)
    assert not Path("c", RECORD).exists()


@pytest.mark.parametrize("report", [(), ("--report", "r.jsonl")], ids=["no report", "a new report"])
def test_an_output_of_other_settings_is_made_again(report):
    save("a/img.png")
    dfm("encode", "a", "-O", "Y", *FAST)
    run = ("encode", "a", "-O", "Y", "-q", 90, "--effort", 1)
    assert "Y/img.dfm (again: it was made with other settings)" in dfm(*run, "--dry-run").output
    again = dfm(*run, *report)
    assert "1 encoded" in again.output
    assert "Y/img.dfm is made again: it was made with other settings" in again.stderr
    assert Path("Y/img.dfm").read_bytes() == dfmcodec.encode("a/img.png", quality=90, effort=1).data
    assert "0 encoded, 1 already there (-f overwrites them)" in dfm(*run, *report).output
    dfm("decode", "Y", "-O", "Z")
    assert "made again" in dfm("decode", "Y", "-O", "Z", "--resize", 4, *report).stderr
    with PIL.Image.open("Z/img.png") as image:
        assert image.size == (4, 4)


def test_a_source_that_was_moved_or_touched_is_the_same():
    save("a/img.png")
    dfm("encode", "a", "-O", "Y", *FAST)
    os.utime("a/img.png", ns=(10**18, 10**18))
    assert "1 already there" in dfm("encode", "a", "-O", "Y", *FAST).output
    os.rename("a", "b")
    assert "1 already there" in dfm("encode", "b", "-O", "Y", *FAST).output
    Path("deep").mkdir()
    os.rename("b", "deep/b")
    os.rename("Y", "deep/Y")
    assert "1 already there" in dfm("encode", "deep/b", "-O", "deep/Y", *FAST).output


def test_a_source_that_changed_is_not_done():
    save("a/img.png")
    dfm("encode", "a", "-O", "Y", *FAST)
    before = Path("Y/img.dfm").read_bytes()
    save("a/img.png", 10)
    refused = dfm("encode", "a", "-O", "Y", *FAST, code=1).stderr
    assert "Y/img.dfm was made from an older a/img.png, and may be all that is left of that; -f makes it" in refused
    assert Path("Y/img.dfm").read_bytes() == before
    again = dfm("encode", "a", "-O", "Y", *FAST, "--report", "r.jsonl")
    assert "1 encoded" in again.output
    assert "Y/img.dfm is made again: a/img.png has changed since" in again.stderr
    assert Path("Y/img.dfm").read_bytes() == dfmcodec.encode("a/img.png", quality=40, effort=1).data
    assert "1 already there" in dfm("encode", "a", "-O", "Y", *FAST).output


def test_a_report_knows_outputs_without_the_record():
    save("a/img.png")
    save("b/img.png", 10)
    run = ("-O", "Y", "--report", "r.jsonl", *FAST)
    dfm("encode", "a", *run)
    os.remove(Path("Y", RECORD))
    assert "1 already there" in dfm("encode", "a", *run).output
    assert "was made from" in dfm("encode", "b", *run, code=1).stderr


@pytest.mark.parametrize("rows", [b"[]\nnull\n{}\n\xff\n", b'{"output": "img.dfm"}\n', b'{"output_bytes": "x"}\n'])
def test_damaged_rows_of_a_record_say_nothing(rows):
    save("a/img.png")
    run = ("encode", "a", "-O", "Y", *FAST)
    dfm(*run)
    record = Path("Y", RECORD)
    record.write_bytes(rows + record.read_bytes() + rows + b'{"output": "img.dfm", "outp')  # cut by a kill
    assert "1 already there" in dfm(*run).output
    save("a/two.png", 10)
    assert "1 encoded, 1 already there" in dfm(*run).output
    assert "2 already there" in dfm(*run).output


@pytest.mark.skipif(os.name == "nt", reason="pipes and links are those of POSIX")
@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_a_record_that_is_no_file_is_refused(kind):
    save("a/img.png")
    Path("Y").mkdir()
    record = Path("Y", RECORD)
    {"pipe": os.mkfifo, "link": lambda path: path.symlink_to("../elsewhere"), "folder": os.mkdir}[kind](record)
    assert f"cannot write {record}" in dfm("encode", "a", "-O", "Y", *FAST, code=1).stderr
    assert names_in("Y") == []
    assert not Path("elsewhere").exists()


def test_the_record_names_sources_relative_to_itself():
    save("photos/a/img.png")
    dfm("encode", "photos", "-r", "-O", "out", *FAST)
    (row,) = map(json.loads, Path("out/a", RECORD).read_text().splitlines())
    assert row["source"] == os.path.join("..", "..", "photos", "a", "img.png")
    assert row["output_bytes"] == Path("out/a/img.dfm").stat().st_size


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_dry_run_shows_and_writes_nothing(command):
    first, second, output = sources_of(command)
    options = FAST if command == "encode" else ()
    before = sorted(path for path in Path().rglob("*"))
    result = dfm(command, "a", "-O", "Y", "--dry-run", "--report", "r.jsonl", *options)
    assert f"{first} -> Y/{output}" in result.output
    assert f"1 would be {command}d" in result.output
    assert "2 failed" in dfm(command, "a", "b", "-O", "Y", "--dry-run", *options, code=5).output
    single = (command, first, "-o", "x.dfm" if command == "encode" else "x.png", "--dry-run")
    assert f"{first} -> x" in dfm(*single).output
    assert json.loads(dfm(*single, "--json").stdout) == {"source": first, "output": single[3], "status": "planned"}
    assert sorted(path for path in Path().rglob("*")) == before
    dfm(command, "a", "-O", "Y", "--report", "r.jsonl", *options)
    report = Path("r.jsonl").read_bytes()
    again = dfm(command, "a", "b", "-O", "Y2", "--dry-run", "--report", "r.jsonl", "--json", *options, code=5)
    assert [json.loads(line)["status"] for line in again.stdout.splitlines()] == ["failed", "failed"]
    assert "already there" in dfm(command, "a", "-O", "Y", "--dry-run", "--report", "r.jsonl", *options).output
    assert "1 failed" in dfm(command, "b", "-O", "Y", "--dry-run", *options, code=1).output
    assert Path("r.jsonl").read_bytes() == report
    assert "no such file" in dfm(command, "missing", second, "-O", "Z", "--dry-run", *options, code=5).stderr


def test_lists_of_zero_bytes():
    save("in/a\nb.png")
    save("in/c.png")
    listed = b"in/a\nb.png\0in/c.png\0"
    result = dfm("encode", "--files0-from", "-", "-O", "out", *FAST, data=listed)
    assert "2 encoded" in result.output
    assert names_in("out/in") == ["a\nb.dfm", "c.dfm"]
    assert "--files0-from" in dfm("encode", "--files-from", "-", "-O", "two", *FAST, data=listed, code=2).stderr
    for name in ("-\n", "./-\n"):
        refused = dfm("encode", "--files-from", "-", "-O", "two", *FAST, data=name, code=2).stderr
        assert refused.startswith("dfm: error: the list of files has the name -")
    both = dfm("encode", "--files-from", "x", "--files0-from", "y", "-O", "two", *FAST, code=2)
    assert "give one of them" in both.stderr


def test_outputs_beside_their_sources_are_no_files_of_other_kinds():
    save("a/img.png")
    dfm("encode", "a", *FAST)
    assert "skipped" not in dfm("encode", "a", *FAST).stderr
    assert "skipped" not in dfm("decode", "a", "--format", "png", code=1).stderr
    Path("a/notes.txt").touch()
    assert "skipped 1 file with other extensions: notes.txt" in dfm("encode", "a", *FAST).stderr


def test_one_of_one_that_failed_is_an_ordinary_error():
    Path("a").mkdir()
    Path("a/img.png").write_text("no image")
    dfm("encode", "a", *FAST, code=1)
    save("a/two.png")
    dfm("encode", "a", *FAST, code=5)


def test_what_was_left_of_a_damaged_file_is_made_again():
    save("a.png")
    dfm("encode", "a.png", *FAST)
    Path("cut").mkdir()
    complete = Path("a.dfm").read_bytes()
    Path("cut/a.dfm").write_bytes(complete[: len(complete) * 9 // 10])
    for _ in range(2):
        assert "0 decoded, 1 failed" in dfm("decode", "cut", "-O", "out", "--best-effort", code=1).output
    assert dfmcodec.decode("a.dfm").pixels.shape == (8, 9, 3)


@pytest.mark.skipif(os.name == "nt", reason="limits of file sizes are POSIX")
def test_a_record_that_cannot_be_written_is_named():
    import resource

    save("a.png")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    target = Path("out/a.dfm")
    target.parent.mkdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OutputError, match=f"^cannot write out/{RECORD}: File too large"):
            write_recorded(target, b"1234", False, Origin.of(Path("a.png"), None))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names_in("out") == []
