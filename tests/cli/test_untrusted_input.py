"""Tests of untrusted input: names with control characters, extreme numbers, special files, files
that trigger bugs, and outputs that would replace an input.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import click
import numpy as np
import PIL.Image
import pytest
from common import GOLDEN, PATIENCE_S, ROOT, dfm, names_in, with_crc

import dfmcodec
import dfmcodec.codecs.decode
import dfmcodec.codecs.encode
from dfmcodec.cli import _failure, main
from dfmcodec.cli._report_file import COLUMNS, report_file
from dfmcodec.errors import InstallationError

SMALL = GOLDEN / "wavelet-narrow.dfm"
ACTING = "esc\x1b[2J\x07\nforged: intact, 1x1"
SHOWN = r"esc\x1b[2J\x07\nforged: intact, 1x1"
NOT_UTF8 = os.fsdecode(b"caf\xe9\xff")

posix_only = pytest.mark.skipif(os.name == "nt", reason="such files and names are POSIX")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def lines(text):
    return text.strip().splitlines()


def save(name):
    PIL.Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(name)


# Names


@posix_only
def test_control_characters_in_names_are_escaped():
    for name in (ACTING, NOT_UTF8):
        shutil.copy(SMALL, f"{name}.dfm")
    result = dfm("verify", ".")
    assert len(lines(result.stdout)) == 3
    assert {line.partition(".dfm")[0] for line in lines(result.stdout)[:2]} == {SHOWN, r"caf\xe9\xff"}
    Path("bad.dfm").mkdir()
    Path(f"{ACTING}.txt").touch()
    Path("damaged\n.dfm").write_bytes(SMALL.read_bytes()[:-1])
    result = dfm("decode", ".", "-O", "out", code=5)
    assert names_in("out") == sorted(f"{name}.png" for name in (ACTING, NOT_UTF8))
    assert "\x1b" not in result.output
    assert "\a" not in result.output
    assert not [line for line in lines(result.output) if line.startswith("forged")]
    info = dfm("info", f"{ACTING}.dfm")
    assert lines(info.stdout)[0].startswith(SHOWN)
    assert json.loads(dfm("info", f"{ACTING}.dfm", "--json").stdout)["source"] == f"{ACTING}.dfm"
    assert SHOWN in dfm("info", f"{ACTING}.dfm.missing", code=1).stderr
    assert len(lines(dfm("encode", f"http://{ACTING}", code=2).stderr)) == 1


@posix_only
@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.skipif(not str(ROOT).isascii(), reason="libraries are not found below such a folder in a strict locale")
def test_a_strict_locale_loses_no_result():
    """Under a locale that has no letters but those of ASCII, names are bytes all the same."""
    names = NOT_UTF8, "é"
    for name in names:
        shutil.copy(SMALL, f"{name}.dfm")
    Path("list").write_bytes(b"".join(os.fsencode(f"{name}.dfm\n") for name in names))
    program = (
        "import sys\n"
        "from dfmcodec.cli import main\n"
        "for arguments in (['info', b'caf\\xe9\\xff.dfm'], ['verify', '.'], ['verify', '.', '--json'],\n"
        "    ['decode', '--files-from', 'list', '-O', 'a'],\n"
        "    ['encode', '--files-from', 'list', '-O', 'c', '--report', 'r.csv', '--effort', '1'],\n"
        "    ['decode', '--files-from', '-', '-O', 'b', '--json']):\n"
        "    import os\n"
        "    try: main([os.fsdecode(argument) for argument in arguments])\n"
        "    except SystemExit as stop: assert not stop.code, arguments\n"
    )
    strict = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict", "PYTHONCOERCECLOCALE": "0"}
    with open("list", "rb") as listed:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **strict},
            stdin=listed,
            capture_output=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert rb"caf\xe9\xff.dfm: intact" in done.stdout
    made = sorted(os.fsencode(f"{name}.png") for name in names)
    assert [os.fsencode(name) for name in names_in("a")] == [os.fsencode(name) for name in names_in("b")] == made
    with open("r.csv", encoding="utf-8", errors="surrogateescape", newline="") as rows:
        assert [row["source"] for row in csv.DictReader(rows)] == [f"{name}.dfm" for name in names]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_names_in_a_report_are_values_whatever_they_hold(suffix):
    names = ["a,b", '"quoted"', "line\nend", "return\rends", "both\r\n", "\n", NOT_UTF8, "=1+1"]
    for some in (names, ["last"]):
        with report_file(Path(f"report.{suffix}")) as report:
            for name in some:
                report.add({"source": name, "output": f"out {name}", "status": "done"})
    text = Path(f"report.{suffix}").read_bytes().decode("utf-8", "surrogateescape")
    if suffix == "csv":
        rows = list(csv.reader(text.splitlines(keepends=True), strict=True))
        assert tuple(rows.pop(0)) == COLUMNS
        assert [row[0] for row in rows] == [*names, "last"]
    else:
        assert [json.loads(line)["source"] for line in text.split("\n")[:-1]] == [*names, "last"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["decode", ""],
        ["decode", "x.dfm", "-o", ""],
        ["decode", "x.dfm", "-O", ""],
        ["decode", "--files-from", "", "-O", "out"],
        ["encode", "a.png", "--report", ""],
        ["encode", ""],
        ["encode", "a.png", "-o", ""],
        ["encode", "a.png", "-O", ""],
        ["info", ""],
        ["verify", "x.dfm", ""],
        ["view", ""],
        ["bench", ""],
        ["demo", ""],
        ["compare", "a.png", ""],
        ["compare", "", "a.png"],
        ["compare", "a.png", "x.dfm", "--map", ""],
    ],
    ids=lambda arguments: " ".join(map(str, arguments)),
)
def test_empty_names_are_refused(arguments):
    save("a.png")
    shutil.copy(SMALL, "x.dfm")
    assert "the name is empty" in dfm(*arguments, code=2).stderr
    assert sorted(os.listdir()) == ["a.png", "x.dfm"]


# Numbers


def test_info_reads_headers_of_any_size():
    data = SMALL.read_bytes()
    Path("large.dfm").write_bytes(with_crc(data[:8] + b"\xff" * 4 + data[12:-4]))
    assert "large.dfm: 65535x65535 " in dfm("info", "large.dfm").stdout
    assert dfmcodec.read_info("large.dfm").width == 65_535


def test_compare_takes_a_limit():
    save("a.png")
    dfmcodec.encode("a.png", effort=1).save("a.dfm")
    assert "PSNR" in dfm("compare", "a.png", "a.dfm", "--max-pixels", 4).stdout
    assert "limit of 3 pixels (--max-pixels)" in dfm("compare", "a.png", "a.png", "--max-pixels", 3, code=1).stderr
    assert "limit of 3 pixels (--max-pixels)" in dfm("compare", "a.dfm", "a.dfm", "--max-pixels", 3, code=3).stderr


def numeric_options():
    def commands(command, path):
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                if name != "demo":
                    yield from commands(command.get_command(click.Context(command), name), [*path, name])
        else:
            yield path, command

    for path, command in commands(main, []):
        for parameter in command.params:
            if isinstance(parameter, click.Option) and (
                parameter.type.name in {"integer", "float", "integer range", "float range", "size", "rate"}
                or parameter.name in {"region", "size", "rates", "efforts"}
            ):
                if not parameter.is_flag:
                    yield path, command, parameter


@pytest.mark.parametrize(
    ("path", "command", "option"),
    [pytest.param(*case, id=" ".join([*case[0], case[2].opts[-1]])) for case in numeric_options()],
)
def test_extreme_numbers_are_wrong_usage(path, command, option):
    save("a.png")
    shutil.copy(SMALL, "b.dfm")
    stand_ins = {"name": "camera", "data": "a.png"}
    source = "b.dfm" if path[0] in {"decode", "verify"} else "a.png"
    names = [stand_ins.get(one.name, source) for one in command.params if isinstance(one, click.Argument)]
    extra = {"train": ["--preset", "mnist"]}.get(path[-1], [])
    pattern = {"region": "0,0,{},1", "size": "{}x"}.get(option.name, "{}") if path == ["decode"] else "{}"
    before = sorted(os.listdir())
    for number in ("9" * 500, "9" * 5000, "1e308", "-1", "nan", "inf", "-inf"):
        value = pattern.format(number)
        result = dfm(*path, *names, *extra, f"{option.opts[-1]}={value}", code=2)
        assert len(lines(result.stderr)) == 1, number
    assert sorted(os.listdir()) == before


def test_wrong_usage_is_one_line_that_names_the_help():
    for arguments, command in ((["encode", "--nonsense"], "main encode"), (["--nonsense"], "main")):
        (line,) = lines(dfm(*arguments, code=2).stderr)
        assert line.startswith("dfm: error: ")
        assert "--nonsense" in line
        assert line.endswith(f"(see {command} --help)")
    assert "Commands:" in dfm(code=2).output


# Outputs


@posix_only
@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_an_input_is_never_replaced(link):
    save("a.png")
    shutil.copy(SMALL, "x.dfm")
    link("a.png", "a.dfm")
    link("x.dfm", "x.decoded.png")
    files = ["a.png", "x.dfm"]
    before = [Path(name).read_bytes() for name in files]
    for arguments in (
        ["compare", "a.png", "x.dfm", "--map", "a.png", "-f"],
        ["compare", "a.png", "x.dfm", "--map", "x.decoded.png", "-f"],
    ):
        assert "never replaces" in dfm(*arguments, code=2).stderr, arguments
    for arguments in (
        ["encode", "a.png"],
        ["encode", "a.png", "-O", "."],
        ["decode", "x.dfm"],
        ["decode", "x.dfm", "-O", "."],
    ):
        assert "which is an input" in dfm(*arguments, "-f", code=1).stderr, arguments
    assert [Path(name).read_bytes() for name in files] == before


@posix_only
@pytest.mark.parametrize("sources", [["in"], ["in/a.png", "in"], ["--files-from", "list"]])
def test_a_run_of_files_writes_through_no_link_to_another_image(sources):
    """Those of folders and lists are not all known when the link is met."""
    Path("in").mkdir()
    for name in ("in/a.png", "in/b.png"):
        save(name)
    os.symlink("b.png", "in/a.dfm")
    Path("list").write_text("in/a.png\nin/b.png\n")
    before = Path("in/b.png").read_bytes()
    result = dfm("encode", *sources, "-f", code=5)
    assert "dfm: failed: the output of in/a.png would replace in/a.dfm, which is an input" in result.stderr
    assert Path("in/b.png").read_bytes() == before
    assert Path("in/b.dfm").exists()


@posix_only
@pytest.mark.parametrize("options", [(), ("-f",)], ids=["", "force"])
def test_derived_outputs_are_not_written_through_dangling_links(options):
    save("a.png")
    os.symlink(Path("elsewhere").absolute(), "a.dfm")
    for given in ("a.png", "."):
        assert f"a.dfm is a link to {os.path.realpath('elsewhere')}" in dfm("encode", given, *options, code=1).stderr
    assert not Path("elsewhere").exists()


@posix_only
def test_outputs_go_to_no_folder_behind_a_link_below_the_one_that_was_named():
    Path("in/sub").mkdir(parents=True)
    save("in/sub/a.png")
    for name in ("out", "elsewhere"):
        Path(name).mkdir()
    os.symlink(Path("elsewhere").absolute(), "out/sub")
    Path("list").write_text("in/sub/a.png\n")
    assert "out/sub is a link to" in dfm("encode", "in", "-r", "-O", "out", code=1).stderr
    os.symlink(Path("elsewhere").absolute(), "out/in")
    assert "out/in is a link to" in dfm("encode", "--files-from", "list", "-O", "out", code=1).stderr
    assert not any(Path("elsewhere").iterdir())
    os.symlink(Path("elsewhere").absolute(), "named")
    dfm("encode", "in/sub/a.png", "-O", "named", "--effort", 1)
    assert Path("elsewhere/a.dfm").exists()  # the user named this link


LONG = "n" * 300


@posix_only
@pytest.mark.parametrize(
    ("command", "names"), [("encode", ("a.png", f"{LONG}.png", "b.png")), ("decode", ("a.dfm", f"{LONG}.dfm", "b.dfm"))]
)
def test_a_name_that_no_file_can_have_is_the_failure_of_one_file(command, names):
    save("a.png")
    save("b.png")
    for name in ("a.dfm", "b.dfm"):
        shutil.copy(SMALL, name)
    Path("list").write_text("\n".join(names))
    for number, given in enumerate((["--files-from", "list"], names)):
        result = dfm(command, *given, "-O", f"out{number}", code=5)
        assert f"2 {command}d, 1 failed" in result.stdout
        (line,) = lines(result.stderr)
        assert line.startswith(f"dfm: failed: {names[1]}: ") or f"cannot read {names[1]}: " in line
        assert len(names_in(f"out{number}")) == 2


@posix_only
@pytest.mark.parametrize(
    ("command", "long", "options"),
    [("encode", f"{LONG[:251]}.png", ["--keep-extension"]), ("decode", f"{LONG[:251]}.dfm", ["--format", "webp"])],
)
def test_an_output_whose_name_is_too_long_is_the_failure_of_one_file(command, long, options):
    Path("in").mkdir()
    for name in ("a", long, "z"):
        name = Path("in", name).with_suffix(".png" if command == "encode" else ".dfm")
        save(name) if command == "encode" else shutil.copy(SMALL, name)
    result = dfm(command, "in", "-O", "out", *options, code=5)
    assert f"2 {command}d, 1 failed" in result.stdout
    assert len(names_in("out")) == 2


@pytest.mark.parametrize(
    ("command", "arguments", "output", "code"),
    [
        ("encode", ["a.png", "-o", "b.dfm"], "b.dfm", 1),
        ("encode", ["a.png", "-O", "out"], "out/a.dfm", 1),
        ("decode", ["x.dfm", "-o", "b.png"], "b.png", 1),
        ("decode", ["x.dfm", "-O", "out"], "out/x.png", 1),
    ],
)
def test_an_output_that_appears_meanwhile_stays(monkeypatch, command, arguments, output, code):
    def meanwhile(*arguments, **options):
        Path(output).write_bytes(b"mine")
        return work(*arguments, **options)

    save("a.png")
    shutil.copy(SMALL, "x.dfm")
    Path("out").mkdir()
    module = {"encode": dfmcodec.codecs.encode, "decode": dfmcodec.codecs.decode}[command]
    work = getattr(module, f"{command}_image")
    monkeypatch.setattr(module, f"{command}_image", meanwhile)
    assert "exists" in dfm(command, *arguments, code=code).stderr
    assert Path(output).read_bytes() == b"mine"


def test_an_image_in_place_of_a_dfm_file_is_named_as_such():
    save("a.png")
    before = Path("a.png").read_bytes()
    assert "a.png: not a .dfm file" in dfm("decode", "a.png", "-f", code=3).stderr
    assert Path("a.png").read_bytes() == before


def test_two_outputs_are_two_files():
    save("a.png")
    for arguments in (["encode", "a.png", "-o", "x.csv", "--report", f"..{os.sep}{Path.cwd().name}{os.sep}x.csv"],):
        assert "both name" in dfm(*arguments, code=2).stderr, arguments
    assert os.listdir() == ["a.png"]


# Special files


@posix_only
def test_special_files_of_folders_are_passed_over(tmp_path):
    shutil.copy(SMALL, "good.dfm")
    for name in ("pipe.dfm", "pipe.png"):
        os.mkfifo(name)
    os.symlink("/dev/zero", "zero.dfm")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.dfm")
        names = "pipe.dfm, pipe.png, socket.dfm, zero.dfm"
        notice = f"skipped 4 files of kinds that are not read (device, pipe, socket): {names}"
        assert notice in dfm("verify", ".").stderr
        assert notice in dfm("decode", ".", "-O", "out").stderr
    assert names_in("out") == ["good.png"]
    assert "there are no images" in dfm("encode", ".", code=1).stderr


@posix_only
def test_pipes_work_by_name_and_waiting_is_reported(monkeypatch):
    """Who is at the other end of each pipe comes only after it was said that it is waited for."""
    monkeypatch.setattr("dfmcodec.cli._common._WAIT_S", 0)
    said = {"in.dfm": Event(), "out.png": Event()}
    monkeypatch.setattr("dfmcodec.cli._common.echo", lambda line, err: said[line.rpartition(" ")[2]].set())

    def write() -> bool:
        is_said = said["in.dfm"].wait(PATIENCE_S)
        Path("in.dfm").write_bytes(SMALL.read_bytes())
        return is_said

    def read() -> tuple[bool, bytes]:
        return said["out.png"].wait(PATIENCE_S), Path("out.png").read_bytes()

    for name in said:
        os.mkfifo(name)
    with ThreadPoolExecutor(2) as others:
        ends = [others.submit(write), others.submit(read)]
        dfm("decode", "in.dfm", "-o", "out.png")
        assert ends[0].result()
        was_said, data = ends[1].result()
    assert was_said
    assert data.startswith(b"\x89PNG")


@posix_only
def test_a_pipe_that_is_read_twice_is_refused():
    save("a.png")
    os.mkfifo("pipe.csv")
    os.mkfifo("pipe.png")
    assert "name a file" in dfm("encode", "a.png", "--report", "pipe.csv", code=2).stderr
    assert "name a file" in dfm("bench", "pipe.png", code=1).output


# Bugs


def break_decoder(monkeypatch, error):
    def broken(data, *arguments, **options):
        if data == SMALL.read_bytes():
            raise error
        return decode_image(data, *arguments, **options)

    decode_image = dfmcodec.codecs.decode.decode_image
    monkeypatch.setattr(dfmcodec.codecs.decode, "decode_image", broken)


@pytest.mark.parametrize("error", [IndexError("list\nindex"), RecursionError(), EOFError("early")])
def test_a_bug_is_the_failure_of_one_file(monkeypatch, error):
    break_decoder(monkeypatch, error)
    shutil.copy(SMALL, "bad.dfm")
    shutil.copy(GOLDEN / "wavelet-gray.dfm", "good.dfm")
    kind = type(error).__name__
    result = dfm("decode", ".", "-O", "out", code=5)
    assert "1 decoded, 1 failed" in result.stdout
    (line,) = lines(result.stderr)
    assert line.startswith(f"dfm: failed: bad.dfm: unexpected {kind} at line ")
    result = dfm("verify", ".", "--json", code=5)
    reports = [json.loads(line) for line in lines(result.stdout)]
    assert [report.get("error_type") for report in reports] == [kind, None]
    (line,) = lines(dfm("decode", "bad.dfm", code=1).stderr)
    assert line.startswith(f"dfm: error: unexpected {kind} at line ")
    assert "please report it" in line
    (line,) = lines(dfm("compare", "bad.dfm", "good.dfm", code=1).stderr)
    assert kind in line


def test_a_bug_in_info_is_the_failure_of_one_file(monkeypatch):
    def broken(data, max_pixels):
        raise ZeroDivisionError

    monkeypatch.setattr("dfmcodec.container.header.read_header", broken)
    result = dfm("info", SMALL, SMALL, code=5)
    assert len(lines(result.stderr)) == 2
    assert "ZeroDivisionError" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), 7, "out of memory"),
        (OSError(12, "Cannot allocate memory"), 7, "out of memory"),
        (ImportError("x.so: failed to map segment from shared object"), 7, "out of memory"),
        (RuntimeError("can't start new thread"), 7, "out of memory"),
        (RuntimeError("other"), 1, "unexpected RuntimeError: other"),
        (ModuleNotFoundError("No module", name="scipy.sub"), 1, "dfm x needs SciPy"),
        (ModuleNotFoundError("No module", name="other"), InstallationError.exit_code, "install dfmcodec again"),
        (PermissionError(13, "Permission denied", b"a\xff"), 1, "a\udcff: Permission denied"),
        (OSError(5, "Input/output error"), 1, "the operating system reports: Input/output error"),
        (ValueError("embedded null byte"), 1, "unexpected ValueError: embedded null byte"),
    ],
)
def test_every_exception_has_a_line_and_a_code(error, code, words):
    failure = _failure.failure_of(error, "dfm x")
    assert failure.exit_code == code
    assert words in failure.message


# Modules of the current folder

_MODULES = (
    *("signal", "multiprocessing", "concurrent", "subprocess", "tempfile", "pickle", "socket", "json", "numpy", "PIL"),
    *("runpy", "threading", "struct", "msgpack", "click", "ctypes", "resource", "random", "site", "encodings"),
)


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", "a.png", "b.png", "-O", "out", "--effort", "1", "-j", "2"],
        ["decode", "a.dfm", "b.dfm", "-O", "out", "-j", "2"],
        ["verify", "a.dfm", "b.dfm", "-j", "2"],
    ],
    ids=lambda arguments: " ".join(arguments[:1] + arguments[-2:]),
)
def test_no_child_process_takes_modules_from_the_current_folder(tmp_path, arguments):
    for name in "ab":
        save(f"{name}.png")
        shutil.copy(SMALL, f"{name}.dfm")
    for module in _MODULES:
        Path(f"{module}.py").write_text("open('executed', 'a').write(__name__)")
    script = tmp_path / "bin" / "dfm"  # as the installed command is: the first place of its path is its own folder
    script.parent.mkdir()
    script.write_text("from dfmcodec.cli import main\n\nif __name__ == '__main__':\n    main()\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    run = subprocess.run([sys.executable, str(script), *arguments], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert not Path("executed").exists()


def test_children_are_refused_where_they_would_take_modules_from_the_current_folder():
    run = [sys.executable, "-E", "-m", "dfmcodec", "verify", str(SMALL), str(SMALL), "-j", "2"]
    refused = subprocess.run(run, capture_output=True, text=True, cwd=ROOT)
    assert "add the option -P" in refused.stderr
    assert subprocess.run([run[0], "-P", *run[1:]], capture_output=True, cwd=ROOT).returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="a script of bash")
def test_the_environment_of_a_clone_is_made_in_its_folder(tmp_path, monkeypatch):
    """Python takes modules from the current folder first with -c and -m."""
    clone, programs = tmp_path / "clone", tmp_path / "programs"
    for name in ("pyproject.toml", "setup.py", "dfmcodec/kernels/a.c"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).touch()
    for python in (programs / "python3", clone / ".venv" / "bin" / "python"):
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\necho "$PWD" >> {tmp_path}/folders\n')
        python.chmod(0o755)
    script = f". {ROOT}/bin/_environment.sh; ensure_environment {clone}; pwd"
    monkeypatch.delenv("DFM_PYTHON", raising=False)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    run = subprocess.run(["bash", "-eu", "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == os.getcwd()
    assert set((tmp_path / "folders").read_text().split()) == {str(clone)}
