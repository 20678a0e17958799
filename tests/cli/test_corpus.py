"""Tests of the command on corpora."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import PIL.Image
import pytest
from common import ROOT, dfm, held_command
from corpora import objects, only_output, read_tar, write_images, write_tar

FAST = ("--effort", "1", "--quality", "50")


@pytest.fixture
def source(tmp_path):
    return write_images(tmp_path / "in", 4)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_a_run_and_the_same_again(source, out):
    command = ("corpus", source, "-r", "-O", out, "--format", "tar", "--shard-size", 3, *FAST)
    first = dfm(*command)
    assert first.stdout.startswith(f"{out}: 4 images encoded; ")
    assert first.stderr == ""
    before = objects(out)
    assert [list(read_tar(data)) for data in before.values()] == [
        ["000.dfm", "002.dfm", "more/001.dfm"],
        ["more/003.dfm"],
    ]
    assert dfm(*command).stdout == f"{out}: 0 images encoded, 2 shards already there; 0 -> 0 bytes\n"
    assert "4 images encoded; " in dfm(*command, "-f").stdout
    assert objects(out) == before
    counts = json.loads(dfm(*command, "--json").stdout)
    assert counts == {
        **{"store": str(out), "shards": 2, "shards_failed": 0, "shards_existing": 2, "images_done": 0},
        **{"images_existing": 0, "source_bytes": 0, "output_bytes": 0, "images_failed": 0},
    }


def test_the_files_are_those_of_encode(source, out, tmp_path):
    dfm("encode", source, "-r", "-O", tmp_path / "plain", *FAST)
    dfm("corpus", source, "-r", "-O", out, "-j", 2, "--shard-size", 2, *FAST)
    encoded = {name: data for name, data in objects(tmp_path / "plain").items() if name.endswith(".dfm")}
    assert len(encoded) == 4
    assert objects(out) == encoded


@pytest.mark.parametrize("form", ["files", "tar"])
def test_failed_images_are_reported_each_time(source, out, form):
    complete = (source / "000.png").read_bytes()
    (source / "000.png").write_bytes(b"")
    command = ("corpus", source, "-O", out, "--format", form, *FAST)
    for number in (1, 0):
        result = dfm(*command, code=5)
        assert result.stderr.startswith(f"dfm: failed: {source / '000.png'} is empty")
        assert f"{out}: {number} images encoded, 1 failed" in result.stdout
    assert dfm(*command, "--quiet", code=5).stdout == ""
    (source / "000.png").write_bytes(complete)
    dfm(*command, code=0 if form == "files" else 5)
    assert dfm(*command, "-f").stderr == ""
    dfm(*command)


def test_a_tar_with_bad_members(source, out, tmp_path):
    images = [path.read_bytes() for path in sorted(source.rglob("*.png"))]
    tar = write_tar(tmp_path / "x.tar", {"a.png": images[0], "../b.png": images[1], "c.png": b"x"})
    result = dfm("corpus", tar, "-O", out, *FAST, code=5)
    assert len(result.stderr.splitlines()) == 2
    assert list(read_tar((out / "x.tar").read_bytes())) == ["a.dfm"]


def test_the_other_shards_are_done(source, out, tmp_path):
    tar = write_tar(tmp_path / "a.tar", {"a.png": (source / "000.png").read_bytes()})
    (tmp_path / "b.tar").write_bytes(tar.read_bytes()[:1000])
    result = dfm("corpus", tmp_path / "*.tar", "-O", out, *FAST, code=1)
    assert result.stderr.startswith(f"dfm: the shard of {tmp_path / 'b.tar'} is not done: ")
    assert f"{out}: 1 images encoded, 1 shards not done (run again); " in result.stdout
    assert list(objects(out)) == ["a.tar"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
@pytest.mark.parametrize("form", ["files", "tar"])
def test_names_that_are_not_unicode(source, out, form):
    os.rename(source / "000.png", os.path.join(os.fsencode(source), b"\xff.png"))
    os.rename(source / "more", os.path.join(os.fsencode(source), b"more\xfe"))
    command = ("corpus", source, "-r", "-O", out, "--format", form, "--shard-size", 2, *FAST)
    assert "4 images encoded; " in dfm(*command).stdout
    assert "0 images encoded, " in dfm(*command).stdout


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_pipes_of_a_folder_are_not_read(source, out):
    os.mkfifo(source / "pipe.png")
    assert "4 images encoded" in dfm("corpus", source, "-r", "-O", out, *FAST).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-O", "nowhere://x"), 2, "nowhere:// does not support atomic writes"),
        (("-O", "OUT", "--engine", "spark"), 2, "'spark' is not one of 'local', 'dask'"),
        (("-O", "OUT", "--address", "tcp://a:1"), 2, "--address is for --engine dask"),
        ((), 2, "Missing option '-O'"),
        (("-O", "OUT", "--quality", "101"), 2, "quality"),
        (("-O", "OUT", "--size", "9", "--bpp", "1"), 2, "bpp and size are targets"),
        (
            (
                "-O",
                "OUT/000.png",
            ),
            1,
            "is a file; outputs go to a folder",
        ),
    ],
)
def test_invalid_arguments_are_one_line_before_work(source, tmp_path, arguments, code, said):
    given = [argument.replace("OUT/", f"{source}/").replace("OUT", f"{tmp_path}/out") for argument in arguments]
    result = dfm("corpus", source, *given, code=code)
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_other_files_are_counted(source, out, tmp_path):
    for name in ("000.xmp", "000.txt", "more/a.nef"):
        (source / name).write_bytes(b"x")
    command = ("corpus", source, "-r", "-O", out, *FAST)
    assert dfm(*command).stderr == "dfm: skipped 3 files with other extensions, such as 000.txt\n"
    assert dfm(*command, "--quiet").stderr == ""
    tar = write_tar(tmp_path / "in.tar", {"a.png": (source / "000.png").read_bytes(), "a.json": b"{}", "b.cls": b"1"})
    said = dfm("corpus", tar, "-O", tmp_path / "files", "--format", "files", *FAST).stderr
    assert said == f"dfm: {tar}: skipped 2 members with other extensions\n"


def test_conversions_are_reported_as_by_encode(out, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.tif", "b\u202e.tif"):
        PIL.Image.new("CMYK", (8, 8), (10, 20, 30, 40)).save(tmp_path / "in" / name)
    encoded = dfm("encode", tmp_path / "in", "-O", tmp_path / "plain", *FAST).stderr.splitlines()
    reported = [line for line in encoded if "CMYK converted to sRGB" in line]
    assert len(reported) == 2
    assert sorted(dfm("corpus", tmp_path / "in", "-O", out, *FAST).stderr.splitlines()) == sorted(reported)
    assert dfm("corpus", tmp_path / "in", "-O", out, "-f", "--quiet", *FAST).stderr == ""


def test_shards_of_other_files_are_refused(source, out):
    command = ("corpus", source, "-r", "-O", out, "--format", "tar", *FAST)
    dfm(*command)
    before = only_output(out)
    (source / "new.png").write_bytes((source / "000.png").read_bytes())
    (line,) = dfm(*command, code=2).stderr.splitlines()
    assert "was made from other files or in other shards; name another store, or remove it" in line
    assert only_output(out) == before


def test_encode_imports_none_of_this(source, tmp_path):
    code = (
        "import sys; from dfmcodec.cli import main\n"
        f"main(['encode', {str(source / '000.png')!r}, '-o', {str(tmp_path / 'x.dfm')!r}, '--effort', '1'], "
        "standalone_mode=False)\n"
        "heavy = ('pyarrow', 'fsspec', 'dask', 'distributed')\n"
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

    assert installed_for("corpus", "--help") == [""]
    assert installed_for("encode", "a.png", "-O", "x") == installed_for("corpus", "in.tar", "-O", "x") == []
    assert installed_for("corpus", "in", "--format", "parquet", "-O", "out") == ["[corpus]"]
    assert installed_for("corpus", "*.parquet", "-O", "out") == installed_for("info", "a.dfm") == []
    assert installed_for("bench", "a.png") == ["[bench]"]
    assert installed_for("corpus", "in", "--engine", "dask", "--address", "tcp://a:1", "-O", "out") == ["[dask]"]
    assert installed_for("corpus", "in", "-O", "s3://out") == ["[cloud]"]
    (root / "pyproject.toml").write_text("changed")
    assert installed_for("corpus", "s3://in", "-O", "out") == ["[cloud]"]


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupted_run_is_continued(tmp_path, out, processes):
    source = write_images(tmp_path / "in", 12)
    command = ("corpus", source, "-r", "-O", out, *FAST, "--format", "tar", "--shard-size", "2", "-j", processes)
    at_the_second = ("dfmcodec.corpus.engines._try_shard", "call == 2")  # of each process
    with held_command(tmp_path / "hold", *at_the_second, *command) as running:
        running.wait()
        os.killpg(running.process.pid, 2)
        running.process.wait()
    assert running.process.returncode == 130
    done = len(objects(out))
    assert 1 <= done < 6
    assert f"{done} shards already there" in dfm(*command).stdout
    assert len(objects(out)) == 6
