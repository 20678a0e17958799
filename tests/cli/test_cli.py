"""Tests of the command: outputs, exit codes, and errors of one line."""

from __future__ import annotations

import io
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from common import dfm

import dfmcodec
from dfmcodec.photographs import photograph


@pytest.fixture
def folder(tmp_path, monkeypatch, chelsea):
    monkeypatch.chdir(tmp_path)
    PIL.Image.fromarray(chelsea.pixels).save("cat.png")
    return tmp_path


def opened(path):
    """An image read completely, its file closed."""
    with PIL.Image.open(path) as image:
        image.load()
        image.getexif()
        return image


def test_encode_info_decode(folder, chelsea):
    line = dfm("encode", "cat.png").output
    size = Path("cat.dfm").stat().st_size
    before = Path("cat.png").stat().st_size
    assert re.fullmatch(
        rf"cat\.png {before:,} -> cat\.dfm {size:,} bytes \({100 * size / before:.0f} %\), .* bpp, .* dB, .* s\n", line
    )
    assert dfmcodec.encode("cat.png", quality=75).data == Path("cat.dfm").read_bytes()
    info = json.loads(dfm("info", "cat.dfm", "--json").stdout)
    assert (info["width"], info["height"], info["channels"], info["file_bytes"]) == (96, 80, 3, size)
    assert f"{size:,} bytes" in dfm("info", "cat.dfm").stdout
    dfm("decode", "cat.dfm", "-o", "out.png")
    assert opened("out.png").size == (96, 80)
    assert sorted(os.listdir()) == ["cat.dfm", "cat.png", "out.png"]


def test_json_and_quiet(folder):
    report = json.loads(dfm("encode", "cat.png", "--effort", 1, "--size", "2k", "--json").stdout)
    assert report["file_bytes"] == Path("cat.dfm").stat().st_size <= 2000
    assert dfm("encode", "cat.png", "--effort", 1, "--size", "1Ki", "-f", "--quiet").output == ""
    assert Path("cat.dfm").stat().st_size <= 1024
    assert json.loads(dfm("decode", "cat.dfm", "-o", "x.png", "--json").stdout)["width"] == 96


def test_existing_outputs_are_refused_and_untouched(folder):
    Path("cat.dfm").write_bytes(b"precious")
    result = dfm("encode", "cat.png", code=1)
    assert "cat.dfm exists; -f replaces it, --skip-existing keeps it" in result.output
    assert Path("cat.dfm").read_bytes() == b"precious"
    dfm("encode", "cat.png", "-f", "--size", 10, "--effort", 1, code=4)
    assert Path("cat.dfm").read_bytes() == b"precious"
    assert sorted(os.listdir()) == ["cat.dfm", "cat.png"]


@pytest.fixture(scope="module")
def bad_files(chelsea):
    """The files of `test_bad_input_is_one_line_and_a_code`, by name."""

    def png(image):
        file = io.BytesIO()
        image.save(file, "TIFF" if image.mode == "F" else "PNG")
        return file.getvalue()

    both = np.dstack([chelsea.pixels, chelsea.pixels[:, :, :1]])
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return {
        "text.png": b"hello",
        "empty.png": b"",
        "cut.png": png(PIL.Image.fromarray(chelsea.pixels))[:5000],
        "alpha.dfm": dfmcodec.encode(both[:20, :20], quality=20, effort=1).data,
        "good.dfm": dfmcodec.encode(chelsea.pixels, quality=20, effort=1).data,
        "float.tiff": png(PIL.Image.fromarray(np.zeros((4, 4), np.float32))),
        "tiny.png": png(PIL.Image.fromarray(chelsea.pixels[:9, :9])),
        "huge.png": png(PIL.Image.new("1", (20_000, 20_000))),
        "short.dfm": b"\x89DFM\x01\x00\x03\x08",
        "text.csv": b"hello\n",
        "noise.png": png(PIL.Image.fromarray(noise)),
    }


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["encode", "missing.png"], 1, "cannot read missing.png"),
        (["encode", "text.png"], 1, "not an image"),
        (["encode", "empty.png"], 1, "empty"),
        (["encode", "cut.png"], 1, "damaged or cut off"),
        (["encode", "float.tiff"], 1, "floating-point"),
        (["encode", "huge.png"], 1, "limit"),
        (["encode", "cat.png", "--page", "2"], 2, "there is no page 2"),
        (["encode", "cat.png", "float.tiff", "-o", "x.dfm"], 2, "use -O"),
        (["encode", "cat.png", "-o", "nowhere/x.dfm"], 1, "does not exist"),
        (["encode", "cat.png", "-o", "text.png/x.dfm"], 1, "text.png is a file, not a folder"),
        (["encode", "cat.png", "-o", "text.png/a/x.dfm"], 1, "text.png is a file, not a folder"),
        (["encode", "-", "-o", "."], 2, "is a folder"),
        (["encode", "cat.png", "--rate", "0.1", "--bpp", "1"], 2, "give only one"),
        (["encode", "cat.png", "--rate", "much"], 2, "--rate"),
        (["encode", "cat.png", "--rate", "18"], 2, "at most 1, such as 0.18 or 18%"),
        (["encode", "cat.png", "-o", "x.jpg", "-f"], 2, "name it x.dfm"),
        (["encode", "cat.png", "-o", "cat.png", "-f"], 2, "name it cat.dfm"),
        (["encode", "cat.png", "x.dfm"], 2, "-o x.dfm"),
        (["encode", "https://example.org/cat.png"], 2, "https://example.org/cat.png is a URL"),
        (["encode", "cat.png", "-O", "s3://out/"], 2, "s3://out/ is a URL, not a folder"),
        (["encode", "folder"], 1, "there are no images"),
        (["encode"], 2, "name a file"),
        (["encode", "cat.png", "-o", "folder/", "-O", "folder"], 2, "give one of them"),
        (["encode", "cat.png", "--report", "x.txt"], 2, ".jsonl or .csv"),
        (["encode", "cat.png", "--report", "text.csv"], 2, "text.csv has other columns than a report"),
        (["encode", "--files-from", "missing.txt"], 1, "cannot read missing.txt"),
        (["encode", "noise.png", "--psnr", "200", "--effort", "1"], 4, "more than the 12,288 of the raw samples"),
        (["encode", "cat.png", "--rate", "-0.1"], 2, "above 0"),
        (["encode", "cat.png", "--size", "20 parsecs"], 2, "not a size"),
        (["encode", "cat.png", "--model", "other"], 2, "--model"),
        (["encode", "cat.png", "--model", "coordinate", "--depth", "99", "--layer-width", "4"], 2, "depth 99"),
        (["encode", "cat.png", "--depth", "3", "--layer-width", "4"], 2, "for the coordinate codec"),
        (["encode", "cat.png", "--effort", "8"], 2, "error: effort is 8; it must be one of 1, 3, 5, 7, 9"),
        (["encode", "cat.png", "--quality", "101"], 2, "0..100"),
        (["encode", "cat.png", "--size", "20", "--effort", "1"], 4, "below the"),
        (["decode", "good.dfm", "x.png"], 2, "-o x.png"),
        (["decode", "folder", "-r"], 1, "there are no .dfm files"),
        (["verify", "folder"], 1, "there are no .dfm files"),
        (["decode", "cat.png", "-o", "x.png"], 3, "not a .dfm file"),
        (["decode", "short.dfm"], 3, "truncated"),
        (["decode", "missing.dfm"], 1, "cannot read"),
        (["decode", "short.dfm", "-o", "x.xyz"], 2, "extension"),
        (["decode", "good.dfm", "--region", "90,0,10,10"], 2, "not within the image"),
        (["decode", "good.dfm", "--region", "1,2,3"], 2, "write X,Y,W,H"),
        (["decode", "good.dfm", "--resize", "0%"], 2, "positive"),
        (["decode", "good.dfm", "--resize", "30 pixels"], 2, "write WxH"),
        (["decode", "good.dfm", "--resize", "70000"], 2, "--resize is '70000'; sides of 1 to 65535 are possible"),
        (["decode", "good.dfm", "--resize", "9x0"], 2, "--resize is '9x0'; sides of 1 to 65535 are possible"),
        (["decode", "good.dfm", "--resize", "16384x9", "-o", "x.webp"], 1, "sides have up to 16383 pixels"),
        (
            ["decode", "good.dfm", "--resize", "100000%"],
            2,
            "scale 1000 gives 96000x80000",
        ),
        (["encode", "cat.png", "--time-limit", "-1"], 2, "error: --time-limit is -1; it must be above 0"),
        (["encode", "cat.png", "--training-steps", "3"], 2, "error: --training-steps is for the "),
        (["encode", "cat.png", "--model", "coordinate", "--depth", "3"], 2, "depth and --layer-width go together"),
        (["encode", "cat.png", "-O", "text.png/out"], 1, "cannot make the folder text.png/out: Not a directory"),
        (["decode", "alpha.dfm", "-o", "x.jpg"], 1, "jpeg cannot hold alpha"),
        (["decode", "-", "good.dfm"], 2, "standard input"),
        (["compare", "cat.png", "float.tiff"], 1, "floating-point"),
        (["compare", "cat.png", "tiny.png"], 1, "differ in size"),
        (["info", "empty.png"], 3, "empty"),
        (["info", "short.dfm"], 3, "truncated"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_bad_input_is_one_line_and_a_code(folder, bad_files, arguments, code, words):
    for name, data in bad_files.items():
        Path(name).write_bytes(data)
    Path("folder").mkdir()
    before = sorted(os.listdir())
    result = dfm(*arguments, code=code)
    message = result.stderr.strip().splitlines()[-1]
    assert words in message
    assert "Traceback" not in result.output
    if code in (1, 3, 4):
        assert len(result.stderr.strip().splitlines()) == 1
    assert sorted(os.listdir()) == before


def test_an_unknown_extension_names_the_options_of_the_command(folder):
    Path("good.dfm").write_bytes(dfmcodec.encode("cat.png", quality=20, effort=1).data)
    for arguments, is_option in (
        (["decode", "good.dfm", "-o", "x.xyz"], True),
        (["compare", "cat.png", "cat.png", "--map", "x.xyz"], False),
    ):
        message = dfm(*arguments, code=2).stderr
        assert "use one of .bmp .jpeg" in message
        assert ("--format" in message) == is_option


def test_read_only_folder(folder):
    Path("locked").mkdir(mode=0o500)
    if os.access("locked", os.W_OK):
        pytest.skip("this user may write anywhere (root)")
    assert "no permission" in dfm("encode", "cat.png", "-o", "locked/x.dfm", code=1).output


def test_profile_exif_and_orientation(folder, chelsea):
    exif = PIL.Image.Exif()
    exif[0x010E] = "a cat"
    exif[0x0112] = 6  # lies on its side
    PIL.Image.fromarray(chelsea.pixels).save("side.png", exif=exif, icc_profile=b"not really a profile")
    dfm("encode", "side.png", "--effort", 1, "--size", 2000)
    assert Path("side.dfm").stat().st_size <= 2000
    dfm("decode", "side.dfm", "-o", "upright.png")
    upright = opened("upright.png")
    assert upright.size == (80, 96)
    assert upright.getexif().get(0x010E) == "a cat"
    assert upright.getexif().get(0x0112, 1) == 1
    assert upright.info["icc_profile"] == b"not really a profile"
    dfm("encode", "side.png", "--effort", 1, "-f", "--strip", "exif,icc", "--size", 2000)
    dfm("decode", "side.dfm", "-o", "plain.png")
    assert "icc_profile" not in opened("plain.png").info
    assert opened("plain.png").size == (80, 96)


def test_help_has_examples():
    assert "dfm encode photo.png" in dfm("--help").output
    for command in ("encode", "decode", "info", "verify", "compare", "bench", "demo"):
        assert f"dfm {command} " in dfm(command, "--help").output


def modules_after(code):
    program = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()}


def test_decoding_info_and_help_never_import_jax(folder):
    dfm("encode", "cat.png", "--effort", 1)
    program = """
from dfmcodec.cli import main
for arguments in {}:
    try:
        main(arguments)
    except SystemExit as stop:
        assert not stop.code
"""
    heavy = {"jax", "jaxlib", "optax", "skimage", "scipy"}
    light = heavy | {"numpy", "PIL", "msgpack"}
    helps = [[*command, "--help"] for command in ([], ["encode"], ["decode"], ["compare"], ["bench"])]
    assert not light & modules_after(program.format(helps))
    decode, info = ["decode", "cat.dfm", "-o", "out.png", "--quiet"], ["info", "cat.dfm"]
    encode = ["encode", "cat.png", "-f", "--quiet", "--effort", "1"]
    assert not heavy & modules_after(program.format([decode, info, encode]))
    assert not heavy & modules_after("import dfmcodec; dfmcodec.decode('cat.dfm'); dfmcodec.read_info('cat.dfm')")


def shown(terminal: int, words: str = "") -> str:
    """What a command writes to a terminal until some words are there, or to its end."""
    text = ""
    while select.select([terminal], [], [], 120)[0]:
        try:
            part = os.read(terminal, 4096).decode(errors="replace")
        except OSError:  # as Linux tells that nobody writes any more
            part = ""
        text += part
        if not part or (words and words in text):
            break
    return text


@pytest.mark.skipif(os.name == "nt", reason="such terminals and signals are POSIX")
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c(folder, presses):
    import fcntl
    import termios

    Path("cat.dfm").write_bytes(b"old")
    options = ["-f", "--model", "coordinate", "--depth", "1", "--layer-width", "8", "--training-steps", "1000000"]
    run = [sys.executable, "-m", "dfmcodec", "encode", "cat.png", *options]
    terminal, of_command = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with subprocess.Popen(run, stderr=of_command, stdout=subprocess.DEVNULL) as process:
        os.close(of_command)
        assert "s left" in shown(terminal, "s left")  # in the fit
        process.send_signal(signal.SIGINT)
        errors = ""
        if presses == 2:  # while it ends
            errors = shown(terminal, "interrupted")
            process.send_signal(signal.SIGINT)
        errors += shown(terminal)
        process.wait(timeout=120)
    os.close(terminal)
    assert "interrupted; unfinished outputs were not written" in errors
    assert "Traceback" not in errors
    assert "Exception" not in errors
    assert process.returncode == 130
    assert sorted(os.listdir()) == ["cat.dfm", "cat.png"]
    assert Path("cat.dfm").read_bytes() == b"old"


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C does not end such a wait there")
def test_ctrl_c_is_not_lost_in_a_finaliser():
    script = """
import signal, threading
from dfmcodec.cli._interrupt import lost_interrupts_repeated

class Finalised:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, also where a parent ignores it
try:
    with lost_interrupts_repeated():
        Finalised()
        threading.Event().wait()
except KeyboardInterrupt:
    print("repeated")
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (run.stdout, run.stderr) == ("repeated\n", "")


def test_the_photograph_that_comes_with_the_package_is_that_of_scikit_image():
    import skimage.data

    assert not photograph().metadata
    assert np.array_equal(photograph().pixels, skimage.data.chelsea())


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_while_the_command_is_loaded_says_nothing(tmp_path):
    """It comes when a package is imported that the command needs."""
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    run = [sys.executable, "-c", "from dfmcodec.cli import main; main()"]
    ended = subprocess.run(run, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")
