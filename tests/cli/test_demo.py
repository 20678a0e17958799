"""Tests of `dfm demo`: its files, and the contents of its page."""

from __future__ import annotations

import base64
import io
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage.data
from click.testing import CliRunner

import dfmcodec
from dfmcodec.bench.same_size import Version, page
from dfmcodec.cli import main
from dfmcodec.cli.demo import started_as
from dfmcodec.perception import psnr

BIN = Path(__file__).parents[2] / "bin"


@pytest.fixture(autouse=True)
def started_as_dfm(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["dfm"])
    monkeypatch.delenv("DFM_STARTED_AS", raising=False)


def test_the_demo_lays_three_codecs_beside_the_original(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cat = np.ascontiguousarray(skimage.data.chelsea()[60:124, 130:210])
    PIL.Image.fromarray(cat).save("my cat.png")
    result = CliRunner().invoke(main, ["demo", "my cat.png", "--bpp", "2"])
    assert result.exit_code == 0, result.output
    data = Path("dfm_demo/my cat.dfm").read_bytes()
    assert len(data) <= 2 * cat.size / 3 / 8
    decoded = dfmcodec.decode(data).pixels
    html = Path("dfm_demo/index.html").read_text()
    shown = [
        np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(text))))
        for text in re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    ]
    captions = re.findall(r"<figcaption>([^<]+)<", html)
    assert [caption.split(":")[0] for caption in captions] == ["original", "dfm", "JPEG", "AVIF"]
    assert np.array_equal(shown[0], cat)
    assert np.array_equal(shown[1], decoded)
    for pixels, caption in zip(shown[1:], captions[1:], strict=True):
        size, quality = re.fullmatch(r"\w+: ([\d,]+) bytes, SSIMULACRA2 [\d.-]+, ([\d.]+) dB", caption).groups()
        assert int(size.replace(",", "")) <= len(data)
        assert abs(psnr(cat, pixels, None) - float(quality)) < 0.006
    sizes = [re.search(r": ([\d,]+ bytes)", caption)[1] for caption in captions[1:]]
    assert f"files not larger than {sizes[0]} .." in result.output
    lead = re.search(r"<p>([^<]+)<", html)[1]
    assert lead.startswith(f"80x64 pixels in {sizes[0]}, ")
    assert lead.endswith(f" codecs not larger than that: JPEG {sizes[1]}, AVIF {sizes[2]}.")
    encode = next(line for line in result.output.splitlines() if "dfm encode" in line)
    assert "'dfm_demo/my cat.png' -o 'dfm_demo/my cat.dfm' --bpp 2" in encode
    again = CliRunner().invoke(main, ["demo", "my cat.png"])
    assert again.exit_code == 1
    assert "my cat.png exists; name another folder with -O, or use -f to replace it" in again.stderr


CAT = np.ascontiguousarray(skimage.data.chelsea()[60:124, 130:210])
KINDS = {
    "gray": PIL.Image.fromarray(CAT).convert("L"),
    "gray of 16 bits": PIL.Image.fromarray(CAT[:, :, 1].astype(np.uint16) * 257),
    "gray and alpha": PIL.Image.fromarray(np.stack([CAT[:, :, 1], CAT[:, :, 0]], axis=2)),
    "palette": PIL.Image.fromarray(CAT).quantize(32),
}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind == "gray and alpha" else pytest.mark.slow) for kind in KINDS]
)
def test_the_demo_takes_images_of_every_kind(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    KINDS[kind].save("cat.png")
    result = CliRunner().invoke(main, ["demo", "cat.png", "--bpp", "2"])
    assert result.exit_code == 0, result.output
    captions = re.findall(r"<figcaption>([^<]+)<", Path("dfm_demo/index.html").read_text())
    assert [caption.split(":")[0] for caption in captions] == ["original", "dfm", "JPEG", "AVIF"]
    assert all(caption.endswith(" dB") for caption in captions[1:])


def test_codecs_without_a_file_of_that_size_are_left_out_and_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PIL.Image.fromarray(CAT).convert("1").save("bits.png")
    result = CliRunner().invoke(main, ["demo", "bits.png", "--bpp", "1"])
    assert result.exit_code == 0, result.output
    html = Path("dfm_demo/index.html").read_text()
    for codec in ("JPEG", "AVIF"):
        reason = re.search(rf"{codec} is left out: its smallest file has ([\d,]+) bytes", result.output)
        assert int(reason[1].replace(",", "")) > CAT.shape[0] * CAT.shape[1] / 8
        assert f"{reason[0]}." in html


def test_commands_of_the_demo_page_write_the_same_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cat = np.ascontiguousarray(skimage.data.chelsea()[60:84, 130:162])
    monkeypatch.setattr(skimage.data, "chelsea", lambda: cat)
    folder = Path("my demo")
    result = CliRunner().invoke(main, ["demo", "-O", folder.name, "--bpp", "2"])
    assert result.exit_code == 0, result.output
    lines = result.output.partition("by hand:\n")[2].splitlines()
    html = (folder / "index.html").read_text()
    outputs = [folder / name for name in ("chelsea.dfm", "chelsea_decoded.png")]
    for line, output in zip(lines, outputs, strict=True):
        program, *words = shlex.split(line)
        before = output.read_bytes()
        output.write_bytes(b"older")
        again = CliRunner().invoke(main, words)
        assert (program, again.exit_code) == ("dfm", 0), again.output
        assert output.read_bytes() == before
        assert line.strip().replace("'", "&#x27;") in html


@pytest.mark.parametrize(
    ("script", "typed", "program"),
    [
        ("{folder}/dfm", [], "dfm"),  # found by the shell
        ("env/bin/dfm", [], "env/bin/dfm"),
        ("elsewhere/dfmcodec/__main__.py", ["env/bin/python3", "-m", "dfmcodec"], "env/bin/python3 -m dfmcodec"),
    ],
    ids=["in PATH", "by its path", "as a module"],
)
def test_commands_of_the_demo_page_name_the_program_that_was_started(script, typed, program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "in path", tmp_path / "env" / "bin"):
        folder.mkdir(parents=True)
        for name in ("dfm", "dfm.exe"):  # as pip names it on Windows
            (folder / name).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "in path"))
    monkeypatch.setattr(sys, "argv", [script.format(folder=tmp_path / "in path"), "demo", "a.png"])
    monkeypatch.setattr(sys, "orig_argv", [*typed, "demo", "a.png"])
    assert shlex.join(started_as()) == program


@pytest.mark.parametrize(
    ("arguments", "code"), [(["cat.png", "--bpp", "0.001"], 4), (["nope.png"], 1), (["file/cat.png"], 1)], ids=str
)
def test_a_demo_that_fails_leaves_nothing(arguments, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PIL.Image.fromarray(CAT).save("cat.png")
    for folder in ("dd/out", "cat.png/out"):
        result = CliRunner().invoke(main, ["demo", *arguments, "-O", folder])
        assert result.exit_code == (1 if folder.startswith("cat") else code), result.output
        assert [path.name for path in tmp_path.iterdir()] == ["cat.png"]
    assert result.stderr.startswith("dfm: error: cannot make the folder cat.png")


def test_names_in_the_page_are_text():
    pixels = np.zeros((2, 2, 3), np.uint8)
    html = page("<script>a</script>", "b & <i>", [Version("<b>x</b>", pixels, 3, np.inf)], ["dfm encode '<u>'"])
    assert not re.search(r"<(script|i|b|u)>", html)
    assert "&lt;b&gt;x&lt;/b&gt;: 3 bytes, exact" in html


def test_the_demo_never_replaces_its_photograph(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PIL.Image.new("RGB", (8, 8)).save("cat.png")
    before = Path("cat.png").read_bytes()
    result = CliRunner().invoke(main, ["demo", "cat.png", "-O", ".", "--force"])
    assert result.exit_code == 2
    assert "cat.png, which the command reads and never replaces" in result.output
    assert Path("cat.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["cat.png"]


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "sample_max"), [(8, 255), pytest.param(12, 4095, marks=pytest.mark.slow)])
def test_samples_of_10_bits_in_16_are_shown_at_full_brightness(bits, sample_max, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gray = CAT[:, :, 1].astype(np.uint16) << bits - 8
    PIL.Image.fromarray(gray).save("cat.png")
    result = CliRunner().invoke(main, ["demo", "cat.png", "--bpp", "2"])
    assert f"dfm: cat.png: shown in 8 bits ({sample_max} becomes 255)\n" in result.stderr
    shown = np.asarray(PIL.Image.open("dfm_demo/cat.png"))
    assert np.array_equal(shown, np.rint(gray * (255 / sample_max)))
    assert psnr(shown, np.asarray(PIL.Image.open("dfm_demo/cat_decoded.png"))) > 25
    again = CliRunner().invoke(main, ["demo", "cat.png", "--bpp", "2", "--force", "--quiet"])
    assert (again.exit_code, again.output) == (0, "")
