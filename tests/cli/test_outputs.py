"""Tests of the rule for existing outputs, for one file and for many."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage.data
from common import ROOT, dfm, names_in

import dfmcodec
from dfmcodec.cli import _run, outputs
from dfmcodec.codecs.encode import encode_image
from dfmcodec.image import Image
from dfmcodec.search.config import EncoderConfig

FAST = ("--quality", "40", "--effort", "1")
posix_only = pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")


def save(name: str, top: int = 0) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(skimage.data.chelsea()[top : top + 8, :9]).save(name)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# The table of docs/command.md


OPTIONS = {"no option": (), "`-f`": ("-f",), "`--skip-existing`": ("--skip-existing",)}
NAMES = {
    "any": ("-o", "derived", "derived in a folder"),
    "`-o`": ("-o",),
    "derived": ("derived", "derived in a folder"),
}


def table():
    """Returns the cases of the table: existing output, name, option, outcome and message."""
    page = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
    lines = page.partition("| existing output |")[2].splitlines()[2:]
    cases = []
    for line in lines[: lines.index("")]:
        existing, name, *outcomes, message = (cell.strip() for cell in line.strip("|").split("|"))
        cases += [
            (existing, kind, option, outcome, message.strip("`"))
            for kind in NAMES[name]
            for option, outcome in zip(OPTIONS, outcomes, strict=True)
        ]
    return cases


def prepare(existing, output, source):
    """Brings about a kind of existing output; `other` is an intact file of its kind."""
    other = Path("other").read_bytes()
    if existing == "intact":
        output.write_bytes(other)
    elif existing == "damaged":
        output.write_bytes(other[: len(other) * 2 // 3])
    elif existing == "empty":
        output.touch()
    elif existing == "a file of another kind":
        output.write_bytes(b"somebody's notes")
    elif existing == "an input of the run":
        os.link(source, output)
    elif existing == "a folder":
        output.mkdir()
    elif existing == "a link":
        output.symlink_to(Path("other").absolute())
    elif existing == "a pipe":
        os.mkfifo(output)
    else:
        assert existing == "none"


def state(path):
    """Distinguishes any two states of an output and of what is behind it."""
    if path.is_symlink():
        behind = Path(os.readlink(path))
        return "link", behind, behind.read_bytes()
    if path.is_dir():
        return "folder", [(file.name, file.read_bytes()) for file in path.iterdir()]
    if path.is_file():
        return "file", path.stat().st_ino, path.read_bytes()
    return "other" if path.exists() else "missing"


@posix_only
@pytest.mark.parametrize("command", ["encode", "decode"])
@pytest.mark.parametrize(("existing", "name", "option", "outcome", "message"), table())
def test_table(command, existing, name, option, outcome, message):
    save("in/a.png")
    save("other.png", 20)
    for image in ("in/a.png", "other.png"):
        dfm("encode", image, *FAST)
    if command == "encode":
        source, output, settings = Path("in/a.png"), Path("in/a.dfm"), FAST
        output.unlink()
        os.rename("other.dfm", "other")
    else:
        source, output, settings = Path("in/a.dfm"), Path("in/a.decoded.png"), ()
        Path("in/a.png").unlink()
        dfm("decode", "other.dfm", "-o", "other", "--format", "png")
    prepare(existing, output, source)
    before = state(output)
    given = {"-o": [source, "-o", output], "derived": [source], "derived in a folder": ["in"]}[name]
    result = dfm(command, *given, *settings, *OPTIONS[option], code=int(outcome.startswith("refused")))
    after = state(output)
    if outcome == "refused":
        assert after == before
        standard = "a.dfm exists; -f replaces it, --skip-existing keeps it"
        said = message if option == "`--skip-existing`" or "exists" not in message else standard
        said = said.replace("a.dfm", output.name).replace("a.png", source.name)
        assert [part for part in said.split("…") if part not in result.stderr] == []
        assert len([line for line in result.stderr.splitlines() if "skipped" not in line]) == 1
    elif outcome == "kept":
        assert after == before
        assert ("1 already there" if name == "derived in a folder" else "exists and is intact") in result.output
    elif outcome == "written into it":
        assert after[0] == "folder"
        assert [file for file, _ in after[1]] == [f"a.{'dfm' if command == 'encode' else 'png'}"]
    else:
        assert outcome in ("written", "replaced", "replaced; the link stays")
        assert after[0] == ("link" if existing == "a link" else "file")
        if command == "encode":
            assert dfmcodec.decode(output).shape == (8, 9, 3)
        else:
            with PIL.Image.open(output) as image:
                assert image.size == (9, 8)
        assert after != before
        assert ("was damaged or empty" in result.stderr) == (option == "`--skip-existing`" and existing != "none")
    assert not list(Path().rglob("*.tmp"))


# Names


def test_decoded_names_differ_from_those_of_originals():
    save("photo.png")
    dfm("encode", "photo.png", *FAST)
    shutil.copy("photo.dfm", "scan.tif.dfm")
    shutil.copy("photo.dfm", "other.png.dfm")
    before = Path("photo.png").read_bytes()
    dfm("decode", ".", "-f")
    assert names_in(".") == [
        *("other.decoded.png", "other.png.dfm"),
        *("photo.decoded.png", "photo.dfm", "photo.png"),
        *("scan.tif.decoded.png", "scan.tif.dfm"),
    ]
    dfm("decode", "photo.dfm", "--format", "ppm")
    assert Path("photo.decoded.ppm").exists()
    dfm("decode", ".", "-O", "out")
    assert names_in("out") == ["other.png", "photo.png", "scan.tif.png"]
    assert Path("photo.png").read_bytes() == before


@pytest.mark.parametrize(
    "given", [["photo.dfm", "-o", "./"], ["photo.dfm", "-O", "."], [".", "-O", "../{name}"]], ids=str
)
def test_the_folder_of_the_source_however_it_is_named(folder, given):
    save("photo.png")
    dfm("encode", "photo.png", *FAST)
    before = Path("photo.png").read_bytes()
    dfm("decode", *(word.format(name=folder.name) for word in given), "-f")
    assert Path("photo.decoded.png").exists()
    assert Path("photo.png").read_bytes() == before


def test_a_folder_that_is_both_source_and_output():
    save("pics/sub/photo.png")
    dfm("encode", "pics", "-r", *FAST)
    dfm("decode", "pics", "-r", "-O", "pics")
    assert names_in("pics/sub") == ["photo.decoded.png", "photo.dfm", "photo.png"]


# Inputs


def test_an_output_that_is_an_input_of_the_run():
    save("a.png")
    os.rename("a.png", "a")
    save("b/x.png")
    dfm("encode", "b/x.png", "-o", "a.dfm", *FAST)
    before = Path("a.dfm").read_bytes()
    Path("list").write_text("a\na.dfm\n")
    for given in (["--files-from", "list"], ["a", "a.dfm", "-O", "."]):
        for option in ("-f", "--skip-existing"):
            refused = dfm("encode", *given, "--keep-extension", option, *FAST, code=5).stderr
            assert "the output of a would replace a.dfm, which is an input; name another output" in refused
            assert Path("a.dfm").read_bytes() == before


def test_lists_and_reports_are_not_replaced():
    save("list.png")
    Path("list.dfm").write_text("list.png\n")
    assert "would replace list.dfm" in dfm("encode", "--files-from", "list.dfm", "-f", *FAST, code=1).stderr
    same = dfm("encode", "list.png", "-o", "x.csv", "--report", "x.csv", *FAST, code=2).stderr
    assert "-o and --report both name x.csv" in same
    assert "--report is list.csv" in dfm("encode", "list.csv", "--report", "list.csv", *FAST, code=2).stderr


@pytest.mark.parametrize("jobs", [(), pytest.param(("-j", "2"), marks=pytest.mark.slow)], ids=["alone", "j2"])
@pytest.mark.parametrize("given", ["folders", "files", "list", "folder and file"])
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_two_sources_of_one_name_in_one_run(command, given, jobs):
    """Neither is begun, each is named with the other, and the rest is done."""
    suffix, settings = (".png", FAST) if command == "encode" else (".dfm", ())
    for number, name in enumerate(("a/img", "b/img", "c/other")):
        save(f"{name}.png", 10 * number)
        if command == "decode":
            dfm("encode", f"{name}.png", *FAST)
            os.remove(f"{name}.png")
    first, second, other = (name + suffix for name in ("a/img", "b/img", "c/other"))
    Path("list").write_text("".join(os.path.abspath(path) + "\n" for path in (first, other, second)))
    named = {
        "folders": ["a", "c", "b"],
        "files": [first, other, second],
        "list": ["--files-from", "list"],
        "folder and file": ["a", other, second],
    }[given]
    for count, option in (("1", ()), ("0", ("--skip-existing",))):
        result = dfm(command, *named, "-O", "Y", *jobs, *settings, *option, code=5)
        assert f"{count} {command}d" in result.output
        assert "2 failed" in result.output
        lines = [line for line in result.stderr.splitlines() if "has the same output as" in line]
        assert len(lines) == 2
        assert all(first in line and second in line for line in lines)
        assert [Path(name).stem for name in names_in("Y")] == ["other"]


def test_inputs_of_one_name_get_advice_that_helps():
    save("a/z.png")
    save("b/z.png", 10)
    refused = dfm("encode", "a", "b", "-O", "out", *FAST, code=5).stderr
    assert "give each its own folder with -O, or rename one" in refused
    assert "--keep-extension" not in refused
    save("a/z.bmp")
    assert "--keep-extension distinguishes them, or rename one" in dfm("encode", "a", *FAST, code=5).stderr


def test_outputs_that_differ_in_case_alone(monkeypatch):
    """They are one file where the folder ignores case, which is found out by its entries."""
    save("a/img.png")
    save("b/IMG.png", 10)
    same = os.path.samefile
    monkeypatch.setattr(os.path, "samefile", lambda one, other: one.casefold() == other.casefold() or same(one, other))
    outputs._ignores_case.cache_clear()
    refused = dfm("encode", "a", "b", "-O", "out", *FAST, code=5).stderr
    monkeypatch.undo()
    outputs._ignores_case.cache_clear()
    assert refused.count("has the same output as") == 2


def test_outputs_that_differ_in_case_on_a_file_system_that_keeps_them_apart(folder):
    save("a/img.png")
    save("b/IMG.png", 10)
    if os.path.exists("A"):
        pytest.skip("this file system ignores case")
    assert "2 encoded" in dfm("encode", folder / "a", folder / "b", "-O", folder / "out", *FAST).output


def test_an_empty_list_says_so():
    Path("list").write_text("\n")
    for command in ("encode", "decode"):
        assert "the list names no files" in dfm(command, "--files-from", "list", "-O", "out", code=1).stderr


def test_a_list_with_zero_bytes_is_refused():
    refused = dfm("encode", "--files-from", "-", "-O", "two", *FAST, data=b"a.png\0b.png\0", code=2).stderr
    assert "write one name per line" in refused


def test_outputs_beside_their_sources_are_no_files_of_other_kinds():
    save("a/img.png")
    dfm("encode", "a", *FAST)
    assert "skipped" not in dfm("encode", "a", "-f", *FAST).stderr
    assert "skipped" not in dfm("decode", "a").stderr
    Path("a/notes.txt").touch()
    assert "skipped 1 file with other extensions: notes.txt" in dfm("encode", "a", "-f", *FAST).stderr


# Runs that are continued


def test_skip_existing_and_force_contradict_each_other():
    save("a.png")
    for command in ("encode", "decode"):
        refused = dfm(command, "a.png", "-f", "--skip-existing", code=2).stderr
        assert "-f replaces existing outputs and --skip-existing keeps them; give one of them" in refused


def test_a_run_is_continued():
    for name in "abcd":
        save(f"in/{name}.png")
    dfm("encode", "in", "-O", "out", *FAST)
    complete = {name: Path("out", name).read_bytes() for name in names_in("out")}
    Path("out/b.dfm").unlink()
    Path("out/c.dfm").write_bytes(complete["c.dfm"][:-1])
    Path("out/d.dfm").write_bytes(b"")
    stamp = Path("out/a.dfm").stat().st_mtime_ns
    again = dfm("encode", "in", "-O", "out", "--skip-existing", *FAST)
    assert "3 encoded, 1 already there" in again.output
    assert {name: Path("out", name).read_bytes() for name in names_in("out")} == complete
    assert Path("out/a.dfm").stat().st_mtime_ns == stamp
    kept = dfm("encode", "in/a.png", "-O", "out", "--skip-existing", "--json", *FAST)
    assert json.loads(kept.stdout) == {"source": "in/a.png", "output": "out/a.dfm", "status": "kept"}


@pytest.mark.parametrize("suffix", ["png", "tiff", "jpeg", "webp", "ppm", "bmp", "npy"])
def test_decoded_images_that_were_cut_are_made_again(suffix):
    save("in/a.png")
    dfm("encode", "in/a.png", *FAST)
    run = ("decode", "in", "-O", "out", "--format", suffix)
    dfm(*run)
    (output,) = Path("out").iterdir()
    complete = output.read_bytes()
    assert "0 decoded, 1 already there" in dfm(*run, "--skip-existing").output
    for kept in (len(complete) - 2, len(complete) * 7 // 8):
        output.write_bytes(complete[:kept])
        assert "1 decoded" in dfm(*run, "--skip-existing").output
        assert output.read_bytes() == complete


def test_a_changed_bit_of_a_png_is_damage():
    save("in/a.png")
    dfm("encode", "in/a.png", *FAST)
    dfm("decode", "in", "-O", "out")
    complete = Path("out/a.png").read_bytes()
    for position in range(8, len(complete), 7):
        changed = bytearray(complete)
        changed[position] ^= 1
        Path("out/a.png").write_bytes(changed)
        dfm("decode", "in", "-O", "out", "--skip-existing", "--quiet")
        assert Path("out/a.png").read_bytes() == complete


def test_images_that_cannot_be_read_are_not_taken_for_damaged():
    """Such as a TIFF of complex numbers, which is somebody's original."""
    save("in/a.png")
    dfm("encode", "in/a.png", *FAST)
    run = ("decode", "in", "-O", "out", "--format", "tiff")
    dfm(*run)
    data = bytearray(Path("out/a.tif").read_bytes())
    at = data.index((262).to_bytes(2, "little")) + 8  # PhotometricInterpretation
    data[at] = 77
    Path("out/a.tif").write_bytes(data)
    refused = dfm(*run, "--skip-existing", code=1).stderr
    assert "out/a.tif exists and is not known to be an output" in refused
    assert Path("out/a.tif").read_bytes() == data


def test_an_output_that_another_run_has_just_made(monkeypatch):
    """It is kept with --skip-existing, and otherwise an error."""
    written = _run.write_output

    def write_twice(*arguments, **named):
        written(*arguments, **named)
        written(*arguments, **named)

    save("in/a.png")
    monkeypatch.setattr(_run, "write_output", write_twice)
    assert "0 encoded, 1 already there" in dfm("encode", "in", "-O", "out", "--skip-existing", *FAST).output
    assert "two/a.dfm exists" in dfm("encode", "in", "-O", "two", *FAST, code=1).stderr


def test_one_of_one_that_failed_is_an_ordinary_error():
    Path("a").mkdir()
    Path("a/img.png").write_text("no image")
    dfm("encode", "a", *FAST, code=1)
    save("a/two.png")
    dfm("encode", "a", *FAST, code=5)


def test_a_full_disk_ends_the_run(monkeypatch):
    for name in "abc":
        save(f"in/{name}.png")
    tried = []

    def full(path, *_arguments):
        tried.append(path.name)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("dfmcodec.files.atomic._write_named", full)
    monkeypatch.setattr("dfmcodec.files.atomic._write_unnamed", lambda *_arguments: False)
    result = dfm("encode", "in", "-O", "out", *FAST, code=1)
    assert "in/a.png: cannot write out/a.dfm: No space left on device; free some space" in result.stderr
    assert "0 encoded, 1 failed, the disk is full: the rest not started" in result.output
    assert tried == ["a.dfm"]


# Other names


@posix_only
def test_standard_output_by_its_other_name():
    save("a.png")
    plain = dfm("encode", "a.png", "-o", "-", *FAST).stdout_bytes
    for name in ("/dev/stdout", "/dev/fd/1"):
        assert dfm("encode", "a.png", "-o", name, *FAST).stdout_bytes == plain


@posix_only
def test_a_subfolder_that_is_a_link_is_not_written_to():
    save("in/sub/a.png")
    Path("elsewhere").mkdir()
    Path("out").mkdir()
    Path("out/sub").symlink_to(Path("elsewhere").absolute())
    for option in ((), ("-f",), ("--skip-existing",)):
        assert "out/sub is a link to" in dfm("encode", "in", "-r", "-O", "out", *FAST, *option, code=1).stderr
    assert names_in("elsewhere") == []


# Targets that were missed


@pytest.fixture
def missed(monkeypatch):
    """Encodings end early, below their target."""

    def encode(*arguments, **named):
        result = encode_image(*arguments, **named)
        report = replace(result.report, stop_reason="time limit", ssimulacra2=result.report.config.aimed_score - 5)
        return replace(result, report=report)

    monkeypatch.setattr("dfmcodec.codecs.encode.encode_image", encode)


@pytest.mark.usefixtures("missed")
@pytest.mark.parametrize("options", [(), ("--quiet",)], ids=["", "quiet"])
def test_a_file_below_its_target(options):
    """It is written, and no run is silent about it."""
    PIL.Image.fromarray(skimage.data.chelsea()[:120, :130]).save("a.png")
    run = (*FAST, "--tune", "visual", "--report", "r.jsonl", *options)
    alone = dfm("encode", "a.png", *run, code=4).stderr
    assert alone == "dfm: a.png: the fit ended early (time limit), below its target\n"
    many = dfm("encode", ".", "-O", "out", *run, code=4)
    assert "a.png: the fit ended early (time limit), below its target" in many.stderr
    assert ("1 encoded, 1 of them below their target" in many.output) == (not options)
    assert [json.loads(line)["status"] for line in Path("r.jsonl").read_text().splitlines()] == ["missed"] * 2


def test_the_report_says_whether_a_target_was_missed():
    image = Image(np.ascontiguousarray(skimage.data.chelsea()[:120, :130]))

    def missed(stop_reason="time limit", budget=None, score=None, **options):
        config = EncoderConfig(effort=1, **options)
        report = encode_image(image, config).report
        return replace(report, stop_reason=stop_reason, limit_bytes=budget, ssimulacra2=score).missed_target

    size = encode_image(image, EncoderConfig(effort=1, quality=40)).report.file_bytes
    assert missed(budget=2 * size, quality=40)
    assert not missed(budget=size, quality=40)
    assert not missed("converged", budget=2 * size, quality=40)
    assert missed(score=30.0, quality=40)
    assert not missed(score=38.5, quality=40)
    assert not missed(score=45.0, quality=40)  # above it is no less than what was asked for
    assert not missed(score=30.0, lmbda=1e-3)
