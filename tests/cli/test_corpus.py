"""Tests of the commands on corpora."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import PIL.Image
import pytest
from common import ROOT, dfm, held_command
from corpora import dfm_file, read_tar, write_images, write_tar

pytest.importorskip("pyarrow")
FAST = ("--effort", "1", "--quality", "50")


@pytest.fixture
def source(tmp_path):
    return write_images(tmp_path / "in", 4)


def test_encode_and_encode_again_and_jobs(source, tmp_path):
    out = tmp_path / "out"
    done = "4 of 4 images done; "
    first = dfm("encode", source, "-r", "-O", out, "--format", "tar", "--shard-size", 3, *FAST)
    assert f"{out}: {done}" in first.stdout
    assert list(read_tar((out / "00001.tar").read_bytes())) == ["more/003.dfm"]
    assert done in dfm("encode", source, "-r", "-O", out, "--format", "tar", "--shard-size", 3, *FAST).stdout
    assert f"{done[:-2]}" in dfm("jobs", out).stdout
    counts = json.loads(dfm("jobs", out, "--json").stdout)
    assert (counts["images"], counts["images_done"], counts["shards"], counts["shards_done"]) == (4, 4, 2, 2)


def test_the_files_are_those_of_the_plain_command(source, tmp_path):
    dfm("encode", source, "-r", "-O", tmp_path / "plain", *FAST)
    dfm("encode", source, "-r", "-O", tmp_path / "corpus", "--engine", "local", *FAST)
    names = [path.relative_to(tmp_path / "plain") for path in (tmp_path / "plain").rglob("*.dfm")]
    assert len(names) == 4
    for name in names:
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "corpus" / name).read_bytes()
    assert not (tmp_path / "plain" / "_dfm").exists()


def test_a_bad_image_gives_5_and_is_listed_and_tried_again(source, tmp_path):
    complete = (source / "000.png").read_bytes()
    (source / "000.png").write_bytes(b"")
    command = ("encode", source, "-O", tmp_path / "out", "--engine", "local", *FAST)
    result = dfm(*command, code=5)
    assert f"dfm: failed: {source / '000.png'}" in result.stderr
    assert "1 of 2 images done, 1 failed (dfm jobs " in result.stdout
    listed = dfm("jobs", tmp_path / "out", "--failed", code=5).stdout
    assert listed.startswith(str(source / "000.png"))
    as_json = dfm("jobs", tmp_path / "out", "--failed", "--json", code=5).stdout
    assert json.loads(as_json)["source"] == str(source / "000.png")
    dfm("jobs", tmp_path / "out", code=5)
    (source / "000.png").write_bytes(complete)
    dfm(*command, code=5)
    assert "2 of 2 images done; " in dfm(*command, "--retry-failed").stdout
    assert "2 of 2 images done; " in dfm(*command).stdout


def test_what_a_tar_named_alone_is_reported_to_do_works(source, tmp_path):
    tar = write_tar(tmp_path / "in.tar", {"a.png": (source / "000.png").read_bytes()})
    said = dfm("encode", tar, code=1).stderr
    advice = "it is a tar: `dfm encode FILE.tar --format tar -O FOLDER` encodes the images in it"
    assert advice in said
    assert advice in dfm("encode", tar, "-O", tmp_path / "files", code=1).stderr
    assert "1 of 1 images done; " in dfm("encode", tar, "--format", "tar", "-O", tmp_path / "out", *FAST).stdout


def test_pack_counts_damaged_files_as_failed(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "whole.dfm").write_bytes(dfm_file(1))
    (folder / "cut.dfm").write_bytes(dfm_file(1)[:-5])
    (folder / "empty.png").write_bytes(b"")
    result = dfm("pack", folder, "-O", tmp_path / "out", "--format", "files", code=5)
    assert "1 of 3 images done, 2 failed (dfm jobs " in result.stdout
    assert [line.split(": ")[:3] for line in result.stderr.splitlines()] == [
        ["dfm", "failed", str(folder / name)] for name in ("cut.dfm", "empty.png")
    ]
    listed = dfm("jobs", tmp_path / "out", "--failed", code=5).stdout.splitlines()
    assert [line.split(": ")[0] for line in listed] == [str(folder / "cut.dfm"), str(folder / "empty.png")]
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_file()] == ["whole.dfm"]


@pytest.mark.parametrize("name", ["000.png", "more"])
def test_outputs_do_not_follow_links(source, tmp_path, name):
    """The images fail whose outputs would lead elsewhere, and the others are done."""
    (tmp_path / "private").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "private" / ("new.png" if name == "000.png" else ""))
    result = dfm("pack", source, "-r", "-O", tmp_path / "out", "--format", "files", code=5)
    assert "is a symbolic link, which no output is written to" in result.stderr
    assert not any((tmp_path / "private").iterdir())
    assert ("3 of 4" if name == "000.png" else "2 of 4") in result.stdout


def test_pack_leaves_links_out(source, tmp_path):
    (source / "link.png").symlink_to(source / "000.png")
    options = ("pack", source, "-r", "-O", tmp_path / "out", "--format", "tar")
    assert "4 of 4 images done" in dfm(*options, "--skip-links").stdout
    assert "holds another plan: skips_links True, not False" in dfm(*options, code=2).stderr


def test_parts_of_the_complete_image(source, tmp_path):
    options = ("pack", source, "-r", "-O", tmp_path / "out", "--shard-size", 1)
    assert "2 images done; " in dfm(*options, "--part", "2/2").stdout
    assert "2 of 4 images done, 2 of 4 shards left" in dfm("jobs", tmp_path / "out", code=1).stdout
    dfm(*options, "--part", "1/2")
    assert "4 of 4 images done; " in dfm("jobs", tmp_path / "out").stdout


def test_pack_takes_outputs_and_gives_them_back(source, tmp_path):
    dfm("encode", source, "-r", "-O", tmp_path / "files", *FAST)
    dfm("pack", tmp_path / "files", "-r", "-O", tmp_path / "tars", "--format", "tar", "--quiet")
    dfm("pack", f"{tmp_path}/tars/*.tar", "-O", tmp_path / "back", "--format", "files")
    packed = (tmp_path / "back" / "more" / "001.dfm").read_bytes()
    assert packed == (tmp_path / "files" / "more" / "001.dfm").read_bytes()


def test_a_list_names_further_sources(source, tmp_path):
    (tmp_path / "list.txt").write_text(f"{source}/000.png\n\n{source}/002.png\n")
    result = dfm("pack", "--files-from", tmp_path / "list.txt", "-O", tmp_path / "out", "--format", "tar", "--json")
    assert json.loads(result.stdout)["images_done"] == 2


def test_a_list_from_standard_input(source, tmp_path):
    names = b"".join(os.fsencode(source / name) + b"\n" for name in ("000.png", "002.png"))
    command = [sys.executable, "-m", "dfmcodec", "pack", "--files-from", "-", "-O", tmp_path / "out", "--json"]
    done = subprocess.run([*map(str, command), "--format", "tar"], input=names, capture_output=True, check=True)
    assert json.loads(done.stdout)["images_done"] == 2


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
@pytest.mark.parametrize("form", ["files", "tar"])
def test_names_that_are_not_unicode(source, tmp_path, form):
    """Arrow cannot hold them; their shard was never done, and stopped the others."""
    strange = os.path.join(os.fsencode(source), b"\xff.png")
    os.rename(source / "000.png", strange)
    os.rename(source / "more", os.path.join(os.fsencode(source), b"more\xfe"))
    command = ("encode", source, "-r", "-O", tmp_path / "out", "--format", form, "--shard-size", 2, *FAST)
    assert "4 of 4 images done" in dfm(*command).stdout
    assert dfm(*command).stderr == ""
    os.unlink(strange)
    assert "4 of 4 images done" in dfm("jobs", tmp_path / "out").stdout


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
def test_names_that_are_not_unicode_fail_in_tables(source, tmp_path):
    os.rename(source / "000.png", os.path.join(os.fsencode(source), b"\xff.png"))
    result = dfm("pack", source, "-r", "-O", tmp_path / "out", "--format", "parquet", code=5)
    assert r"\xff.png cannot name an output: it is not UTF-8" in result.stderr
    assert "3 of 4 images done, 1 failed" in result.stdout


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_pipes_of_a_folder_are_no_images(source, tmp_path):
    os.mkfifo(source / "pipe.png")
    assert "4 of 4 images done" in dfm("pack", source, "-r", "-O", tmp_path / "out", "--format", "tar").stdout


def test_a_store_in_memory(source):
    pytest.importorskip("fsspec")
    assert "2 of 2 images done" in dfm("encode", source, "-O", "memory://cli-test", *FAST).stdout
    assert "2 of 2 images done" in dfm("jobs", "memory://cli-test").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-O", "nowhere://x"), 2, "the scheme nowhere:// is unknown"),
        (("-O", "ftp://x/y"), 2, "ftp:// does not support atomic writes"),
        (("-O", "OUT", "--engine", "spark"), 2, "the engine spark is unknown"),
        (("-O", "OUT", "--engine", "no_such_module:x"), 2, "name a module and a function of it"),
        (("-O", "OUT", "--part", "3/2"), 2, "there is no part 3 of 2"),
        (("-O", "OUT", "--part", "3"), 2, "'3' is not a part; write 3/16"),
        (("-O", "OUT", "--engine", "dask", "--resources", "GPU"), 2, "'GPU' is not a resource; write GPU=1"),
        (("-O", "OUT", "--format", "tar", "--column", "url"), 2, "--column is for Parquet sources"),
        (("-O", "OUT", "--format", "tar", "--follow", "https://a.org/"), 2, "--follow is for names in the column that"),
        (("-O", "OUT", "--shard-size", "3"), 2, "--retry-failed are for a corpus: name a store"),
        (("--format", "tar"), 2, "name where the outputs go with -O"),
        (("-O", "OUT", "--format", "tar", "--time-limit", "3"), 2, "--time-limit makes other files on a slower host"),
        (("-O", "OUT", "--format", "tar", "--report", "r.csv"), 2, "--report is not for a corpus"),
        (("-O", "OUT", "--format", "tar", "--quality", "101"), 2, "quality"),
        (("-O", "OUT/000.png", "--format", "tar"), 1, "is a file; outputs go to a folder"),
    ],
)
def test_what_makes_no_sense_is_one_line_before_work(source, tmp_path, arguments, code, said):
    if any("://" in argument for argument in arguments):
        pytest.importorskip("fsspec")
    given = [argument.replace("OUT/", f"{source}/").replace("OUT", f"{tmp_path}/out") for argument in arguments]
    result = dfm("encode", source, *given, code=code)
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_url_without_a_store_is_refused(tmp_path):
    assert "is a URL; download it first" in dfm("encode", "s3://in/a.png", "-O", tmp_path, code=2).stderr


def test_another_plan_is_refused_and_nothing_changes(source, tmp_path):
    dfm("pack", source, "-O", tmp_path / "out", "--format", "tar")
    result = dfm("encode", source, "-O", tmp_path / "out", "--format", "tar", *FAST, code=2)
    assert "holds another plan: task pack, not encode" in result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00000.tar", "_dfm"]


def _remove(path):
    path.unlink()


def _empty(path):
    path.write_bytes(b"")


def _cut(path):
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize("damage", [_remove, _empty, _cut])
@pytest.mark.parametrize(
    ("form", "name"), [("files", "more/001.png"), ("tar", "00001.tar"), ("parquet", "00001.parquet")]
)
def test_lost_outputs_are_reported_and_made_again(source, tmp_path, form, name, damage):
    out = tmp_path / "out"
    command = ("pack", source, "-r", "-O", out, "--format", form, "--shard-size", 2)
    dfm(*command)
    intact = (out / name).read_bytes()
    damage(out / name)
    reported = dfm("jobs", out, code=5)
    assert "2 of 4 images done, 1 of 2 shards left; run again" in reported.stdout
    assert f"1 output missing or of another size than recorded: {name}; " in reported.stderr
    assert json.loads(dfm("jobs", out, "--json", code=5).stdout)["shards_lost"] == 1
    again = dfm(*command)
    assert again.stderr == f"dfm: 1 output missing or of another size than recorded: {name}; doing 1 shard again\n"
    assert "4 of 4 images done; " in again.stdout
    assert (out / name).read_bytes() == intact
    assert dfm(*command).stderr == ""
    damage(out / name)
    dfm(*command, "--retry-failed", "--quiet")
    assert (out / name).read_bytes() == intact
    dfm("jobs", out)


def test_lost_outputs_of_a_store_in_memory(source):
    fsspec = pytest.importorskip("fsspec")
    command = ("pack", source, "-r", "-O", "memory://cli-lost", "--format", "tar", "--shard-size", 2)
    dfm(*command)
    fsspec.filesystem("memory").pipe("/cli-lost/00000.tar", b"")
    fsspec.filesystem("memory").rm("/cli-lost/00001.tar")
    assert "recorded: 00000.tar, 00001.tar; " in dfm("jobs", "memory://cli-lost", code=5).stderr
    assert "doing 2 shards again" in dfm(*command).stderr
    dfm("jobs", "memory://cli-lost")


@pytest.mark.parametrize("form", ["files", "tar", "parquet"])
def test_a_copy_of_a_source_is_accepted(source, tmp_path, form):
    """As a job of a cluster makes one, with another modification time, on each host."""
    dfm("pack", source, "-r", "-O", tmp_path / "packed", "--format", form)
    named = tmp_path / "packed" if form == "files" else tmp_path / "packed" / f"00000.{form}"
    command = ("pack", named, "-r", "-O", tmp_path / "out", "--format", "tar")
    dfm(*command)
    for path in (tmp_path / "packed").rglob("*"):
        os.utime(path, (1, 1))
    assert "4 of 4 images done" in dfm(*command).stdout


@pytest.mark.parametrize(("form", "output"), [("files", "more/001.png"), ("tar", "00001.tar")])
def test_a_source_that_was_replaced_is_refused(source, tmp_path, form, output):
    command = ("pack", source, "-r", "-O", tmp_path / "out", "--format", form, "--shard-size", 2)
    dfm(*command)
    (source / "more" / "001.png").write_bytes((source / "000.png").read_bytes())
    os.utime(source / "more" / "001.png", (1, 1))
    (line,) = dfm(*command, code=2).stderr.splitlines()
    assert line.startswith(
        f"dfm: error: {source / 'more' / '001.png'} was replaced after {tmp_path / 'out' / output} was made"
    )
    (tmp_path / "out" / output).unlink()  # as the message advises
    assert "4 of 4 images done" in dfm(*command).stdout
    assert "4 of 4 images done" in dfm(*command).stdout


def test_a_tar_that_was_replaced_is_refused_unless_it_had_failed(source, tmp_path):
    images = [path.read_bytes() for path in sorted(source.rglob("*.png"))]
    tar = write_tar(tmp_path / "in.tar", {"a.png": images[0], "b.png": b""})
    command = ("pack", tar, "-O", tmp_path / "out", "--format", "tar")
    dfm(*command, code=5)
    write_tar(tar, {"a.png": images[0], "b.png": images[1]})
    dfm(*command, code=5)
    assert "2 of 2 images done" in dfm(*command, "--retry-failed").stdout
    write_tar(tar, {"a.png": images[2], "b.png": images[1]})
    os.utime(tar, (1, 1))
    assert f"{tar} was replaced after " in dfm(*command, code=2).stderr


@pytest.mark.parametrize("command", [("pack",), ("encode", *FAST)])
def test_files_with_other_extensions_are_named(source, tmp_path, command):
    for name in ("000.xmp", "000.txt", "more/a.nef"):
        (source / name).write_bytes(b"x")
    run = (*command, source, "-r", "-O", tmp_path / "out", "--format", "tar")
    assert dfm(*run).stderr == "dfm: skipped 3 files with other extensions: 000.txt, 000.xmp, a.nef\n"
    assert dfm(*run, "--quiet").stderr == ""
    members = {"a.png": (source / "000.png").read_bytes(), "a.json": b"{}", "b.cls": b"1"}
    tar = write_tar(tmp_path / "in.tar", members)
    to_files = dfm(*command, tar, "-O", tmp_path / "files", "--format", "files")
    assert to_files.stderr == f"dfm: {tar}: skipped 2 members with other extensions: a.json, b.cls\n"
    assert dfm(*command, tar, "-O", tmp_path / "tars", "--format", "tar").stderr == ""


def test_an_image_that_unpacking_would_leave_out_is_not_packed(source, tmp_path):
    (source / "000.png").rename(source / "000.xyz")
    result = dfm("pack", f"{source}/*.*", "-O", tmp_path / "out", "--format", "tar", code=5)
    assert "000.xyz cannot name an output: by its extension it is no image" in result.stderr
    assert list(read_tar((tmp_path / "out" / "00000.tar").read_bytes())) == ["002.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_a_pipe_in_place_of_the_plan(tmp_path):
    (tmp_path / "_dfm").mkdir()
    os.mkfifo(tmp_path / "_dfm" / "plan.json")
    done = subprocess.run(
        [sys.executable, "-m", "dfmcodec", "jobs", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "plan.json is a device, pipe or socket" in done.stderr


@pytest.mark.parametrize("command", [("encode", *FAST), ("pack",)])
def test_an_output_that_no_run_into_the_store_made_stays(source, tmp_path, command):
    name = "000.dfm" if command[0] == "encode" else "000.png"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"precious")
    result = dfm(*command, source, "-O", tmp_path / "out", "--format", "files", code=1)
    (line,) = result.stderr.splitlines()
    assert f"{tmp_path / 'out' / name} exists and is not replaced" in line
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    assert (tmp_path / "out" / name).read_bytes() == b"precious"


def test_what_was_converted_is_reported_as_in_a_run_of_files(tmp_path):
    names = ["a.tif", "b\u202e.tif"]
    (tmp_path / "in").mkdir()
    for name in names:
        PIL.Image.new("CMYK", (8, 8), (10, 20, 30, 40)).save(tmp_path / "in" / name)
    plain, corpus = ("encode", tmp_path / "in", "-O", tmp_path / "plain"), ("encode", tmp_path / "in", "-O")
    reported = [line for line in dfm(*plain, *FAST).stderr.splitlines() if "CMYK converted to sRGB" in line]
    assert len(reported) == 2
    result = dfm(*corpus, tmp_path / "files", "--format", "files", *FAST)
    assert sorted(result.stderr.splitlines()) == sorted(reported)
    assert dfm(*corpus, tmp_path / "tars", "--format", "tar", "--quiet", *FAST).stderr == ""


def test_jobs_of_what_is_no_corpus(tmp_path):
    assert "holds no dfmcodec plan" in dfm("jobs", tmp_path, code=2).stderr


def test_a_tar_with_bad_members_gives_the_good_ones(tmp_path, source):
    images = [path.read_bytes() for path in sorted(source.rglob("*.png"))]
    tar = write_tar(tmp_path / "x.tar", {"a.png": images[0], "../b.png": images[1], "c.png": b"x"})
    result = dfm("encode", tar, "-O", tmp_path / "out", "--format", "tar", *FAST, code=5)
    assert len(result.stderr.strip().splitlines()) == 2
    assert list(read_tar((tmp_path / "out" / "00000.tar").read_bytes())) == ["a.dfm"]


@pytest.mark.parametrize("command", [("pack",), ("encode", *FAST)])
def test_images_that_a_table_names_are_read_where_that_is_allowed(source, tmp_path, command):
    import pyarrow.parquet

    table = tmp_path / "in.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"url": ["in/000.png", "/etc/passwd"]}), table)
    named = (*command, table, "-O", tmp_path / "out", "--format", "files", "--column", "url")
    (line,) = dfm(*named, code=2).stderr.splitlines()
    assert "the column url has names of images, which are read only with --follow" in line
    assert not (tmp_path / "out").exists()
    (line,) = dfm(*named, "--follow", source, code=5).stderr.splitlines()
    assert "in.parquet#1: the row names /etc/passwd, which is not read" in line
    assert "places" in (tmp_path / "out" / "_dfm" / "plan.json").read_text()
    result = dfm(*named, "--follow", "/", code=2)
    assert f"holds another plan: places {source}, not /" in result.stderr


def test_a_plain_encode_imports_none_of_this(source, tmp_path):
    code = (
        "import sys; from dfmcodec.cli import main\n"
        f"main(['encode', {str(source / '000.png')!r}, '-o', {str(tmp_path / 'x.dfm')!r}, '--effort', '1'], "
        "standalone_mode=False)\n"
        "heavy = ('pyarrow', 'fsspec', 'dask', 'distributed', 'dfmcodec.corpus')\n"
        "found = [name for name in sys.modules if name.split('.')[0] in heavy or name.startswith('dfmcodec.corpus')]\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(os.name == "nt", reason="bin/dfm is a shell script")
def test_a_clone_installs_what_a_corpus_needs(tmp_path):
    shutil.copytree(ROOT / "bin", tmp_path / "clone" / "bin")
    (tmp_path / "clone" / "pyproject.toml").touch()
    commands, log = tmp_path / "clone" / ".venv" / "bin", tmp_path / "log"
    commands.mkdir(parents=True)
    (commands / "python").write_text(
        f'#!/usr/bin/env bash\ncase $* in *--editable*) echo "${{@: -1}}" >>{log} ;; esac\n'
    )
    (commands / "python").chmod(0o755)
    root = tmp_path / "clone"

    def installed_for(*words):
        """Runs a command, and returns the extras that it installs."""
        log.write_text("")
        subprocess.run([root / "bin" / "dfm", *words], check=True, capture_output=True)
        return [line.removeprefix(str(root)) for line in log.read_text().splitlines()]

    assert installed_for("pack", "--help") == [""]
    assert installed_for("encode", "a.png", "-O", "x") == []
    assert installed_for("pack", "in", "-O", "out") == ["[corpus]"]
    assert installed_for("jobs", "out") == installed_for("encode", "in", "--format", "tar", "-O", "out") == []
    assert installed_for("bench", "a.png") == ["[bench]"]
    assert installed_for("jobs", "out") == installed_for("bench", "a.png") == installed_for("info", "a.dfm") == []
    assert installed_for("encode", "in", "--part=1/2", "-O", "out") == []
    assert installed_for("encode", "in", "--engine", "dask", "--address", "tcp://a:1", "-O", "out") == ["[dask]"]
    assert installed_for("encode", "in", "-O", "s3://out", "--model", "coordinate") == ["[cloud]", "[jax]"]
    (root / "pyproject.toml").write_text("changed")
    assert installed_for("jobs", "s3://out") == ["[cloud]"]
    assert installed_for("encode", "in", "--format", "tar", "-O", "out") == []


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_interrupted_once_finishes_the_shard_in_work(tmp_path):
    source = write_images(tmp_path / "in", 30)
    at_the_second = ("dfmcodec.corpus.shards.try_shard", "call == 2")
    run = ("encode", source, "-r", "-O", tmp_path / "out", *FAST, "--engine", "local", "--shard-size", "2")
    with held_command(tmp_path / "hold", *at_the_second, *run) as running:
        running.wait()
        running.interrupt("ending after the current shards; press Ctrl-C again")
        assert "shards left; run again" in running.end()
    assert running.process.returncode == 130
    counts = json.loads(dfm("jobs", tmp_path / "out", "--json", code=1).stdout)
    assert (counts["shards_begun"], counts["shards_done"]) == (0, 2)
