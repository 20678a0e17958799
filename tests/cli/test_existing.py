"""Tests of existing outputs: one rule for all commands, and sources are never lost."""

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
from common import dfm

import dfmcodec
from dfmcodec.cli import _origins, _same_file
from dfmcodec.cli._inputs import Inputs, Unusable
from dfmcodec.cli._origins import RECORD, Claim, Origin, Records, write_recorded
from dfmcodec.cli._single import write_result
from dfmcodec.cli.encode import _naming
from dfmcodec.codecs.encode import encode_image
from dfmcodec.errors import OutputError
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


# A source is not overwritten by its own decoding


@pytest.mark.parametrize("options", [(), ("-f",)], ids=["", "force"])
@pytest.mark.parametrize(
    "given", [["photo.dfm"], ["."], ["photo.dfm", "b.dfm"], ["--files-from", "list"], [".", "-j2"]]
)
@pytest.mark.parametrize("known", ["by name", "by the record", "by the report"])
def test_an_original_beside_its_file_is_kept(known, given, options):
    save("photo.png")
    report = ("--report", "r.jsonl") if known == "by the report" else ()
    dfm("encode", "." if known == "by the record" else "photo.png", *FAST, *report)
    shutil.copy("photo.dfm", "b.dfm")
    Path("list").write_text("photo.dfm\n")
    before = Path("photo.png").read_bytes()
    many = (len(given) == 2 and given[1] == "b.dfm") or given[0] == "."
    refused = dfm("decode", *given, *options, *report, code=5 if many else 1).stderr
    said = "photo.png may be the file that" if known == "by name" else "photo.png is the file that"
    assert said in refused
    assert "photo.dfm was made from, and is not replaced; use " in refused
    assert Path("photo.png").read_bytes() == before
    if given == ["photo.dfm"]:  # and what is suggested works
        assert "use -o photo.new.png (-f --overwrite-source replaces it)" in refused
        dfm("decode", *given, "-o", "photo.new.png", *options, *report)
    else:
        dfm("decode", *given, "-O", "elsewhere", *options, *report)
    assert Path("photo.png").read_bytes() == before
    dfm("decode", "photo.dfm", "--overwrite-source", code=1)
    assert Path("photo.png").read_bytes() == before
    dfm("decode", "photo.dfm", "-f", "--overwrite-source")
    assert Path("photo.png").read_bytes() != before


@pytest.mark.parametrize("other", ["photo.jpg", "Photo.PNG", "photo.tif"])
def test_an_original_of_another_format_or_case_is_kept(other):
    save(other)
    dfm("encode", other, "-o", "photo.dfm", *FAST)
    before = Path(other).read_bytes()
    assert "may be the file" in dfm("decode", "photo.dfm", "-o", other, "-f", code=1).stderr
    assert Path(other).read_bytes() == before


@pytest.mark.parametrize("name", ["photo.jpg", "scan.tif"])
def test_an_original_whose_extension_its_file_has_is_kept(name):
    save(name)
    dfm("encode", name, "--keep-extension", *FAST)
    before = Path(name).read_bytes()
    assert "may be the file" in dfm("decode", f"{name}.dfm", "-o", name, "-f", code=1).stderr
    assert Path(name).read_bytes() == before


def test_an_original_of_several_pages_is_kept():
    pages = [PIL.Image.fromarray(skimage.data.chelsea()[:side, :9]) for side in (8, 10)]
    pages[0].save("scan.tif", save_all=True, append_images=pages[1:])
    before = Path("scan.tif").read_bytes()
    dfm("encode", "scan.tif", "--page", 2, *FAST)
    assert "may be the file" in dfm("decode", "scan.dfm", "-o", "scan.tif", "-f", code=1).stderr
    assert Path("scan.tif").read_bytes() == before


@pytest.mark.parametrize("moved", [False, True], ids=["", "moved"])
@pytest.mark.parametrize("options", [(), ("-f",)], ids=["", "force"])
def test_originals_in_another_folder_are_kept(options, moved):
    """Also where the folder with the record was moved: the source is known by its contents."""
    save("pics/sub/photo.png")
    dfm("encode", "pics", "-r", "-O", "dfm", *FAST)
    if moved:
        os.makedirs("deep/er")
        os.rename("dfm", "deep/er/dfm")
    source = "deep/er/dfm" if moved else "dfm"
    before = Path("pics/sub/photo.png").read_bytes()
    refused = dfm("decode", source, "-r", "-O", "pics", *options, code=1).stderr
    assert "pics/sub/photo.png is the file that" in refused
    refused = dfm("decode", f"{source}/sub/photo.dfm", "-o", "pics/sub/photo.png", *options, code=1).stderr
    assert "pics/sub/photo.png is the file that" in refused
    assert Path("pics/sub/photo.png").read_bytes() == before


@posix_only
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_an_original_is_kept_through_links(link):
    save("pics/photo.png")
    dfm("encode", "pics", "-O", "dfm", *FAST)
    link(Path("pics/photo.png").absolute(), "other.png")
    before = Path("pics/photo.png").read_bytes()
    refused = dfm("decode", "dfm/photo.dfm", "-o", "other.png", "-f", code=1).stderr
    assert "other.png is the file that dfm/photo.dfm was made from" in refused
    assert Path("pics/photo.png").read_bytes() == Path("other.png").read_bytes() == before


def test_what_a_decoding_wrote_is_replaced():
    """A recorded one with -f, one without a record by the same bytes."""
    save("a/photo.png")
    dfm("encode", "a/photo.png", "-o", "photo.dfm", *FAST)
    dfm("decode", "photo.dfm")
    dfm("decode", "photo.dfm", code=1)
    dfm("decode", "photo.dfm", "-f")
    assert "may be the file" in dfm("decode", "photo.dfm", "-f", "--resize", "50%", code=1).stderr
    dfm("decode", ".", "-O", "out")
    Path("out/photo.png").write_bytes(Path("out/photo.png").read_bytes())
    dfm("decode", ".", "-O", "out", "-f", "--resize", "50%")
    with PIL.Image.open("out/photo.png") as image:
        assert image.size == (4, 4)
    save("out/photo.png", 30)  # edited since
    before = Path("out/photo.png").read_bytes()
    assert "may be the file" in dfm("decode", ".", "-O", "out", "-f", code=1).stderr
    assert Path("out/photo.png").read_bytes() == before


def test_a_file_is_not_overwritten_by_the_encoding_of_its_decoding():
    save("a/photo.png")
    dfm("encode", "a/photo.png", "-o", "photo.dfm", *FAST)
    dfm("decode", ".")
    before = Path("photo.dfm").read_bytes()
    for given in ("photo.png", "."):
        for options in ((), ("-f",)):
            refused = dfm("encode", given, *FAST, *options, code=1).stderr
            assert "photo.dfm is the file that photo.png was made from" in refused
    dfm("encode", "photo.png", *FAST, "-f", "--overwrite-source")
    assert Path("photo.dfm").read_bytes() != before


def test_what_is_left_of_a_damaged_file_does_not_replace_its_complete_decoding():
    save("in/photo.png")
    dfm("encode", "in/photo.png", "-o", "photo.dfm", *FAST)
    dfm("decode", ".", "-O", "out")
    before = Path("out/photo.png").read_bytes()
    complete = Path("photo.dfm").read_bytes()
    Path("photo.dfm").write_bytes(complete[: len(complete) * 9 // 10])
    run = ("decode", ".", "-O", "out", "--best-effort", "--report", "r.jsonl")
    assert "the complete out/photo.png that exists is kept" in dfm(*run, code=1).stderr
    assert Path("out/photo.png").read_bytes() == before


def test_an_output_that_is_the_input_of_another_task():
    save("a.png")
    save("b/x.png")
    dfm("encode", "b/x.png", "-o", "a.dfm", *FAST)
    before = Path("a.dfm").read_bytes()
    Path("list").write_text("a.png\na.dfm\n")
    for given in (["--files-from", "list"], ["a.png", "a.dfm", "-O", "."]):
        dfm("encode", *given, "-f", *FAST, code=5)
        assert Path("a.dfm").read_bytes() == before


def test_outputs_that_differ_in_case_alone(monkeypatch):
    """They are one file where the folder ignores case, which is found out by its entries."""
    save("a/img.png")
    save("b/IMG.png", 10)
    sources = [Path("a/img.png"), Path("b/IMG.png")]

    def tasks():
        _same_file.ignores_case.cache_clear()
        return list(Inputs(sources, None, Path("out"), False, _naming(False)))

    assert not any(isinstance(task, Unusable) for task in tasks())
    same = os.path.samefile
    monkeypatch.setattr(os.path, "samefile", lambda one, other: one.casefold() == other.casefold() or same(one, other))
    refused = tasks()
    _same_file.ignores_case.cache_clear()
    assert all(isinstance(task, Unusable) and "has the same output as" in task.error for task in refused)


# One rule


def test_one_file_follows_the_rule_of_many():
    save("a.png")
    run = ("encode", "a.png", "-o", "out/", *FAST)
    Path("out").mkdir()
    dfm(*run)
    kept = dfm(*run)
    assert "out/a.dfm is up to date: it was made from a.png with these settings" in kept.output
    assert json.loads(dfm(*run, "--json").stdout)["status"] == "kept"
    again = dfm("encode", "a.png", "-o", "out/a.dfm", "-q", 50, "--effort", 1)
    assert "out/a.dfm is made again: it was made with other settings" in again.stderr
    save("a.png", 10)
    run = ("encode", "a.png", "-o", "out/a.dfm", "-q", 50, "--effort", 1)
    assert "was made from an older a.png" in dfm(*run, code=1).stderr
    assert "a.png has changed since" in dfm(*run, "--report", "r.jsonl").stderr
    save("b.png")
    assert "was made from" in dfm("encode", "b.png", "-o", "out/a.dfm", *FAST, code=1).stderr
    Path("out/b.dfm").write_bytes(b"somebody's")
    dfm("encode", "b.png", "-o", "out/", *FAST, code=1)
    assert Path("out/b.dfm").read_bytes() == b"somebody's"
    dfm("encode", "b.png", "-o", "out/", *FAST, "-f")


def test_one_file_with_a_report_follows_it():
    save("a.png")
    run = ("encode", "a.png", "--report", "r.jsonl", "--effort", 1)
    dfm(*run, "-q", 40)
    assert "is up to date" in dfm(*run, "-q", 40).output
    assert "made with other settings" in dfm(*run, "-q", 50).stderr
    assert Path("a.dfm").read_bytes() == dfmcodec.encode("a.png", quality=50, effort=1).data


def test_a_folder_in_place_of_an_output():
    save("in/x.png")
    Path("in/x.dfm").mkdir()
    for given in ("in", "in/x.png"):
        refused = dfm("encode", given, *FAST, code=1).stderr
        assert "in/x.dfm is a folder; name another output" in refused
        assert "-f" not in refused


def test_inputs_of_one_name_get_advice_that_helps():
    save("a/z.png")
    save("b/z.png", 10)
    refused = dfm("encode", "a", "b", "-O", "out", *FAST, code=5).stderr
    assert "give each its own folder with -O, or rename one" in refused
    assert "--keep-extension" not in refused


def test_an_empty_list_says_so():
    Path("list").write_text("\n")
    for command in ("encode", "decode"):
        assert "the list names no files" in dfm(command, "--files-from", "list", "-O", "out", code=1).stderr


@posix_only
@pytest.mark.parametrize("command", ["encode", "decode"])
def test_links_are_left_out_on_request(command):
    save("private/secret.png")
    dfm("encode", "private/secret.png", *FAST)
    suffix = ".png" if command == "encode" else ".dfm"
    Path("up").mkdir()
    os.symlink(f"../private/secret{suffix}", f"up/cat{suffix}")
    shutil.copy(f"private/secret{suffix}", f"up/dog{suffix}")
    result = dfm(command, "up", "-O", "out", "--skip-links")
    assert f"1 {command}d" in result.output
    assert f"skipped 1 symbolic link: cat{suffix}" in result.stderr
    assert [path.stem for path in Path("out").iterdir() if not path.name.startswith(".")] == ["dog"]
    Path("list").write_text(f"up/cat{suffix}\nup/dog{suffix}\n")
    assert f"1 {command}d" in dfm(command, "--files-from", "list", "-O", "two", "--skip-links").output
    link = next(path for path in Path("up").iterdir() if path.is_symlink())
    assert "is a symbolic link" in dfm(command, link, "-o", "three", "--skip-links", code=1).stderr
    assert not Path("three").exists()
    Path("list").write_text(f"up/cat{suffix}\nup/cat{suffix}\n")
    refused = dfm(command, "--files-from", "list", "-O", "four", "--skip-links", code=1).stderr
    assert "all names are symbolic links" in refused
    assert f"2 {command}d" in dfm(command, "up", "-O", "three").output


@pytest.mark.parametrize("suffix", ["bmp", "ppm"])
def test_an_output_that_was_edited_is_not_made_again_for_other_settings(suffix):
    """Even if its size is the same."""
    save("a.png")
    dfm("encode", "a.png", "-o", "in/", *FAST)
    dfm("decode", "in", "-O", "out", "--format", suffix)
    edited = Path(f"out/a.{suffix}")
    edited.write_bytes(edited.read_bytes()[:-1] + b"x")
    refused = dfm("decode", "in", "-O", "out", "--format", suffix, "--resize", "50%", code=1).stderr
    assert "is not replaced" in refused or "has changed since it was made" in refused
    assert edited.read_bytes()[-1:] == b"x"


@pytest.mark.parametrize("known", ["by the record", "by the report"])
def test_an_output_that_was_damaged_is_not_already_there(known):
    save("in/a.png")
    run = ("encode", "in", "-O", "out", *FAST, "--report", "r.jsonl")
    dfm(*run)
    if known == "by the report":
        Path("out", RECORD).unlink()
    damaged = Path("out/a.dfm")
    data = damaged.read_bytes()
    damaged.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    assert "out/a.dfm has changed since it was made from" in dfm(*run, code=1).stderr
    damaged.write_bytes(data)  # at another time
    assert "1 already there" in dfm(*run).output


def test_only_intact_files_are_adopted():
    save("in/a.png")
    Path("out").mkdir()
    for contents in (b"", b"rubbish" * 9, Path("in/a.png").read_bytes()):
        Path("out/a.dfm").write_bytes(contents)
        assert "out/a.dfm is not adopted: " in dfm("encode", "in", "-O", "out", "--adopt", *FAST, code=1).stderr
        assert Path("out/a.dfm").read_bytes() == contents


def test_what_was_adopted_is_never_replaced_without_f():
    """It may be an original: nobody has checked."""
    save("pics/a.png")
    os.makedirs("o")
    dfm("encode", "pics/a.png", "-o", "o/a.dfm", *FAST)
    before = Path("pics/a.png").read_bytes()
    assert "may be the file" in dfm("decode", "o", "-O", "pics", code=1).stderr
    assert "1 already there" in dfm("decode", "o", "-O", "pics", "--adopt").output
    assert "1 already there" in dfm("decode", "o", "-O", "pics", "--resize", "50%").output
    dfm("encode", "pics/a.png", "-o", "o/a.dfm", "-q", 20, "--effort", 1, "-f")
    dfm("decode", "o", "-O", "pics", code=1)
    dfm("decode", "o", "-O", "pics", "-f", code=1)
    assert Path("pics/a.png").read_bytes() == before
    single = dfm("encode", "pics/a.png", "-o", "o/a.dfm", "--adopt", *FAST)
    assert "is up to date: it was adopted" in single.output


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_an_original_of_the_same_dimensions_elsewhere_is_kept():
    """An image of other dimensions is none."""
    save("pics/a.png")
    dfm("encode", "pics/a.png", "-o", "a.dfm", *FAST)
    before = Path("pics/a.png").read_bytes()
    assert "may be the file" in dfm("decode", "a.dfm", "-o", "pics/a.png", "-f", code=1).stderr
    os.symlink("pics/a.png", "link.png")
    assert "may be the file" in dfm("decode", "a.dfm", "-o", "link.png", "-f", code=1).stderr
    assert Path("pics/a.png").read_bytes() == before
    dfm("decode", "a.dfm", "-o", "small.a.png", "--resize", "50%")
    Path("small").mkdir()
    os.rename("small.a.png", "small/a.png")
    dfm("decode", "a.dfm", "-o", "small/a.png", "--resize", "25%", "-f")


def test_a_report_lists_what_was_there_before_it():
    save("in/a.png")
    dfm("encode", "in", "-O", "out", *FAST)
    kept = dfm("encode", "in", "-O", "out", *FAST, "--report", "r.jsonl", "--json")
    assert json.loads(kept.stdout) == {"source": "in/a.png", "output": "out/a.dfm", "status": "kept"}
    (row,) = map(json.loads, Path("r.jsonl").read_text().splitlines())
    assert (row["status"], row["output_bytes"]) == ("done", Path("out/a.dfm").stat().st_size)
    dfm("encode", "in", "-O", "out", *FAST, "--report", "r.jsonl")
    assert len(Path("r.jsonl").read_text().splitlines()) == 1


def test_an_image_that_was_decoded_is_encoded_with_a_notice():
    save("a.png")
    dfm("encode", "a.png", "-o", "in/", *FAST)
    dfm("decode", "in", "-O", "out")
    notice = "out/a.png was decoded from "
    assert notice in dfm("encode", "out", "-O", "again", *FAST).stderr
    assert notice in dfm("encode", "out/a.png", "-o", "b.dfm", *FAST).stderr
    assert notice not in dfm("encode", "out", "-O", "more", "--quiet", *FAST).stderr
    assert "was decoded from" not in dfm("encode", "a.png", "-o", "c.dfm", *FAST).stderr


# Targets that were missed


@pytest.fixture
def missed(monkeypatch):
    """Encodings end early, below their target."""

    def encode(*arguments, **named):
        result = encode_image(*arguments, **named)
        report = replace(result.report, stop_reason="time limit", ssimulacra2=result.report.config.aimed_score - 5)
        return replace(result, report=report)

    monkeypatch.setattr("dfmcodec.codecs.encode.encode_image", encode)
    return monkeypatch.undo


@pytest.mark.parametrize("report", [(), ("--report", "r.jsonl")], ids=["no report", "report"])
def test_a_file_below_its_target_is_not_done(missed, folder, report):
    PIL.Image.fromarray(skimage.data.chelsea()[:120, :130]).save("a.png")
    run = ("encode", "a.png", "-O", "out", *FAST, "--tune", "visual", *report)
    first = dfm(*run, code=4)
    assert "the fit ended early (time limit), below its target" in first.stderr
    assert "1 encoded, 1 of them below their target" in first.output
    again = dfm(*run, code=4)
    assert "out/a.dfm is made again: it missed its target" in again.stderr
    assert json.loads(Path("out", RECORD).read_text().splitlines()[-1])["status"] == "missed"
    missed()
    os.chdir(folder)
    assert "made again: it missed its target" in dfm(*run).stderr
    assert "0 encoded, 1 already there" in dfm(*run).output


@pytest.mark.parametrize("options", [(), ("--report", "r.jsonl"), ("--quiet",)], ids=["", "report", "quiet"])
def test_a_single_file_below_its_target(missed, options):
    """It is recorded even where a single file would not be, and no run is silent about it."""
    PIL.Image.fromarray(skimage.data.chelsea()[:120, :130]).save("a.png")
    run = ("encode", "a.png", *FAST, "--tune", "visual", *options)
    assert "a.png: the fit ended early (time limit), below its target" in dfm(*run, code=4).stderr
    again = dfm(*run, code=4).stderr
    assert "made again: it missed its target" in again or "--quiet" in options
    assert "below its target" in dfm("encode", ".", *run[2:], code=4).stderr


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


# Records


HOSTILE = [
    b'{"output": "a.dfm", "output_bytes": Infinity}',
    b"[" * 200_000,
    b'{"output": "a.dfm", "output_bytes": 1e999, "source": "x", "status": "done"}',
    b'{"output": 5, "source": [], "status": {}}',
    b'{"output": "a.dfm", "source": "a\\u0000b", "status": "done"}',
]


@pytest.mark.parametrize("row", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_rows_of_a_record_are_ignored_with_a_warning(row):
    save("in/a.png")
    save("in/b.png")
    run = ("encode", "in", "-O", "out", *FAST)
    dfm("encode", "in/a.png", "-O", "out", *FAST)
    with open(Path("out", RECORD), "ab") as record:
        record.write(row + b"\n")
    result = dfm(*run)
    assert "1 encoded, 1 already there" in result.output
    assert f"dfm: ignored 1 row of {Path('out', RECORD)}" in result.stderr


@posix_only
def test_a_record_behind_a_link_is_not_read_or_written():
    save("in/a.png")
    Path("out").mkdir()
    os.symlink("../elsewhere", Path("out", RECORD))
    dfm("encode", "in", "-O", "out", *FAST, code=1)
    assert not Path("elsewhere").exists()


def test_a_kill_between_record_and_replacement_leaves_the_old_output_known_as_it_is(monkeypatch):
    """Even if both have the same size."""
    save("a.png")
    target, source = Path("a.dfm"), Path("a.png")
    write_recorded(target, b"old", False, Origin.of(source, "old settings"))

    def killed(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_origins, "write_atomic", killed)
        with pytest.raises(KeyboardInterrupt):
            write_recorded(target, b"new", True, Origin.of(source, "new settings"))
    assert Records().standing(source, target, "old settings").claim is Claim.DONE
    assert Records().standing(source, target, "new settings").claim is Claim.OUTDATED


def test_only_new_rows_of_a_record_are_read(monkeypatch):
    save("a.png")
    Path("in").mkdir()
    for number in range(3):
        write_recorded(Path(f"{number}.dfm"), b"x", False, Origin.of(Path("a.png"), "s"))
    rows = []
    read_row = _origins._read_row
    monkeypatch.setattr(_origins, "_read_row", lambda *given: rows.append(given) or read_row(*given))
    records = Records()
    for number in range(3, 6):
        target = Path(f"{number}.dfm")
        target.write_bytes(b"y")
        assert records.standing(Path("a.png"), target, "s").claim is Claim.UNKNOWN
        write_recorded(Path(f"new{number}.dfm"), b"x", False, Origin.of(Path("a.png"), "s"))
    assert len(rows) == 3 + 2


# Outputs with other names


@posix_only
def test_standard_output_by_its_other_name():
    save("a.png")
    plain = dfm("encode", "a.png", "-o", "-", *FAST).stdout_bytes
    for name in ("/dev/stdout", "/dev/fd/1"):
        assert dfm("encode", "a.png", "-o", name, *FAST).stdout_bytes == plain


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


# Two runs at once


@pytest.mark.parametrize("report", [(), ("--report", "r.jsonl")], ids=["no report", "report"])
def test_an_output_that_another_run_has_just_made_is_kept(report, monkeypatch):
    def write_twice(*arguments):
        write_result(*arguments)
        write_result(*arguments)

    save("in/a.png")
    monkeypatch.setattr("dfmcodec.cli.encode.write_result", write_twice)
    found = dfm("encode", "in", "-O", "out", *FAST, *report, "--json")
    assert found.stderr == "0 encoded, 1 already there (-f overwrites them)\n"
    assert json.loads(found.stdout) == {"source": "in/a.png", "output": "out/a.dfm", "status": "kept"}
    assert len(Path("out", RECORD).read_text().splitlines()) == 1
    if report:
        (row,) = map(json.loads, Path("r.jsonl").read_text().splitlines())
        assert (row["output"], row["status"]) == ("out/a.dfm", "done")
    alone = dfm("encode", "in/a.png", "-o", "one/", *FAST, code=1).stderr
    assert alone == f"dfm: error: another run has made one/a.dfm from {Path('in/a.png').resolve()}; it is kept\n"


def test_an_output_that_another_run_has_just_made_of_other_contents_is_an_error():
    save("a.png")
    save("b.png", 10)
    write_recorded(Path("x.dfm"), b"1", False, Origin.of(Path("a.png"), "settings"))
    for other in (Origin.of(Path("b.png"), "settings"), Origin.of(Path("a.png"), "others")):
        with pytest.raises(OutputError, match="exists; give another name"):
            write_recorded(Path("x.dfm"), b"2", False, other)
    assert Path("x.dfm").read_bytes() == b"1"
