"""Tests of `dfm desktop`: installed and removed files, and the thumbnailer in GNOME's sandbox."""

from __future__ import annotations

import configparser
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from textwrap import dedent

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from common import GENERATIVE, GOLDEN, ROOT

import dfmcodec
from dfmcodec import container
from dfmcodec.cli import main
from dfmcodec.cli._manual import manual_page
from dfmcodec.viewer import desktop
from dfmcodec.viewer.thumbnail import fitted_size, thumbnail

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="dfm desktop is for Linux")
WAVELET = GOLDEN / "wavelet-rgb.dfm"
FILES = (
    "applications/dfmcodec.desktop",
    "bash-completion/completions/dfm",
    "fish/vendor_completions.d/dfm.fish",
    "man/man1/dfm.1",
    "mime/packages/dfmcodec.xml",
    "thumbnailers/dfmcodec.thumbnailer",
    "zsh/site-functions/_dfm",
)


def dfm(*arguments, code=0, answer=None):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=answer)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """The user's folder for data, and no programs that make databases."""
    folder = tmp_path / "data home"
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    monkeypatch.setattr(desktop, "_DATABASES", ())
    return folder


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_install_asks_and_says_what_it_writes_and_remove_deletes_it(data):
    asked = dfm("desktop", "--install", answer="y\n").stdout
    assert files_below(data) == sorted(FILES)
    for name in FILES:
        assert f"  {data / name}  (" in asked
        assert f"wrote {data / name}" in asked
    again = dfm("desktop", "--install", "--yes").stdout
    assert again.count(", replaced") == len(FILES)
    removed = dfm("desktop", "--remove", answer="y\n").stdout
    assert files_below(data) == []
    assert removed.count("deleted ") == len(FILES)
    assert "nothing to remove" in dfm("desktop", "--remove").stdout


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_nothing_happens_without_a_yes(data, answer):
    assert "nothing was changed" in dfm("desktop", "--install", answer=answer, code=1).stderr
    assert not data.exists()
    dfm("desktop", "--install", "-y")
    dfm("desktop", "--remove", answer=answer, code=1)
    assert files_below(data) == sorted(FILES)


def test_files_of_others_stay(data):
    page = data / "man/man1/dfm.1"
    page.parent.mkdir(parents=True)
    page.write_text("mine")
    other = data / "thumbnailers/other.thumbnailer"
    other.parent.mkdir()
    other.write_text("theirs")
    assert str(page) in dfm("desktop", "--install", "-y", code=1).stderr
    assert files_below(data) == ["man/man1/dfm.1", "thumbnailers/other.thumbnailer"]
    page.rename(data / "aside")
    dfm("desktop", "--install", "-y")
    (data / "aside").rename(page)
    assert "stays" in dfm("desktop", "--remove", "-y").stderr
    assert files_below(data) == ["man/man1/dfm.1", "thumbnailers/other.thumbnailer"]
    assert page.read_text() == "mine"


def test_the_folder_for_data(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for relative in ("", "some/where"):
        monkeypatch.setenv("XDG_DATA_HOME", relative)
        assert desktop.user_data() == tmp_path / ".local/share"


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    assert len(dfm("desktop", "--install", "-y", code=1).stderr.splitlines()) <= 2


def test_one_action_at_a_time(monkeypatch):
    for arguments in ((), ("--install", "--remove"), ("--install", "--thumbnail", WAVELET, "a.png", 64)):
        dfm("desktop", *arguments, code=2)
    monkeypatch.setattr(sys, "platform", "win32")
    assert "Linux" in dfm("desktop", "--install", "-y", code=2).stderr


def entry(path: Path, group: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(path.read_text())
    return dict(parser[group])


def test_entries_name_this_installation_by_an_absolute_path(data):
    dfm("desktop", "--install", "-y")
    shown = entry(data / "thumbnailers/dfmcodec.thumbnailer", "Thumbnailer Entry")
    opened = entry(data / "applications/dfmcodec.desktop", "Desktop Entry")
    for found in (shown, opened):
        assert found["TryExec"] == sys.executable
        assert shlex.split(found["Exec"])[:4] == [sys.executable, "-P", "-m", "dfmcodec"]
        assert found["MimeType"] == "image/x-dfm;"
    assert shlex.split(shown["Exec"])[4:] == ["desktop", "--thumbnail", "%i", "%o", "%s"]
    assert shlex.split(opened["Exec"])[4:] == ["view", "--web", "--show-damaged", "%F"]


def test_paths_that_an_entry_cannot_hold(data, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/a place/100%/python")
    dfm("desktop", "--install", "-y")
    assert '"/a place/100%%/python" -P' in (data / "applications/dfmcodec.desktop").read_text()
    for program in ("", "python", '/a"b/python', "/a\nb/python", "/a$b/python", "/a\\b/python"):
        monkeypatch.setattr(sys, "executable", program)
        assert "cannot hold" in dfm("desktop", "--install", "-y", code=1).stderr


def test_the_type_has_the_magic_bytes(data):
    dfm("desktop", "--install", "-y")
    tree = ElementTree.parse(data / "mime/packages/dfmcodec.xml")
    name = "{http://www.freedesktop.org/standards/shared-mime-info}"
    (match,) = tree.iter(f"{name}match")
    assert match.get("value").encode().decode("unicode_escape").encode("latin-1") == WAVELET.read_bytes()[:5]
    assert [glob.get("pattern") for glob in tree.iter(f"{name}glob")] == ["*.dfm"]


@pytest.mark.skipif(not shutil.which("file"), reason="no such program")
def test_the_rule_for_the_file_command_names_all_kinds_of_files(tmp_path):
    text = (ROOT / "docs" / "integration.md").read_text(encoding="utf-8")
    rule = re.search(r"((?: {4}.*\n)*? {4}0 +string.*\n(?: {4}.*\n)+)", text)
    (tmp_path / "magic").write_text(dedent(rule[1]))

    def said(path: Path, *options: str) -> str:
        command = ["file", "-b", "-m", str(tmp_path / "magic"), *options, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    for path in GOLDEN.glob("*.dfm"):
        header = container.read_header(path.read_bytes())
        assert said(path) == f"dfm image, version 1, {header.width} x {header.height}"
        assert said(path, "--mime-type") == "image/x-dfm"
    for path in GENERATIVE.glob("*.dfm"):
        assert said(path) == "dfm image, version 1, code of a generative model"
        assert said(path, "--mime-type") == "image/x-dfm"
    for path in GENERATIVE.glob("*.dfmg"):
        assert said(path) == "dfm generative model"
        assert said(path, "--mime-type") != "image/x-dfm"


@pytest.mark.skipif(not shutil.which("update-mime-database") or not shutil.which("gio"), reason="no such programs")
def test_the_system_knows_the_type(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    dfm("desktop", "--install", "-y")
    for name in ("image.dfm", "without extension"):
        (tmp_path / name).write_bytes(WAVELET.read_bytes())
        said = subprocess.run(
            ["gio", "info", "-a", "standard::content-type", str(tmp_path / name)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "image/x-dfm" in said.stdout
    dfm("desktop", "--remove", "-y")
    assert not (tmp_path / "data/mime/image/x-dfm.xml").exists()


@pytest.mark.skipif(not shutil.which("desktop-file-validate"), reason="no desktop-file-validate")
def test_the_desktop_entry_is_valid(data):
    dfm("desktop", "--install", "-y")
    path = data / "applications/dfmcodec.desktop"
    done = subprocess.run(["desktop-file-validate", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_manual_page_is_made_from_the_commands(data):
    dfm("desktop", "--install", "-y")
    _, _, page = (data / "man/man1/dfm.1").read_text().partition("\n")
    assert page == manual_page()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_code_of_the_shell(data, shell):
    dfm("desktop", "--install", "-y")
    path = next(data / name for name in FILES if name == desktop._COMPLETIONS[shell])
    assert "_DFM_COMPLETE" in path.read_text()
    if shell == "zsh":
        assert path.read_text().startswith("#compdef dfm\n")
    if shutil.which(shell):
        subprocess.run([shell, "-n", str(path)], check=True)


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_bash_completes(data):
    dfm("desktop", "--install", "-y")
    script = (
        f'dfm() {{ "{sys.executable}" -m dfmcodec "$@"; }}; source "$1" && COMP_WORDS=(dfm vi) COMP_CWORD=1 && '
        '_dfm_completion dfm && echo "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    run = ["bash", "-c", script, "bash", str(data / "bash-completion/completions/dfm")]
    assert subprocess.run(run, capture_output=True, text=True, check=True, env=environment).stdout == "view\n"


def test_databases_that_fail_are_reported(tmp_path, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    failing = programs / "update-mime-database"
    failing.write_text("#!/bin/sh\necho one >&2; echo broken >&2; exit 9\n")
    failing.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    said = dfm("desktop", "--install", "-y").stderr
    assert "update-mime-database ended with 9: broken" in said
    assert "update-desktop-database is not installed" in said


@pytest.mark.parametrize(
    ("size", "side", "fitted"),
    [
        ((4000, 3000), 256, (256, 192)),
        ((3000, 4000), 256, (192, 256)),
        ((100, 50), 128, (100, 50)),
        ((128, 128), 128, (128, 128)),
        ((65535, 1), 128, (128, 1)),
        ((1, 65535), 128, (1, 128)),
        ((1, 1), 1, (1, 1)),
    ],
)
def test_the_size_of_a_thumbnail(size, side, fitted):
    assert fitted_size(*size, side) == fitted


def opened(png: bytes) -> PIL.Image.Image:
    image = PIL.Image.open(io.BytesIO(png))
    image.load()
    return image


def test_thumbnails_look_like_the_image(tmp_path, chelsea):
    path = tmp_path / "cat.dfm"
    path.write_bytes(dfmcodec.encode(chelsea, bpp=2, effort=1).data)
    dfm("desktop", "--thumbnail", path, tmp_path / "small.png", 40)
    small = opened((tmp_path / "small.png").read_bytes())
    scale = 40 / max(chelsea.width, chelsea.height)
    assert small.size == (round(scale * chelsea.width), round(scale * chelsea.height))
    expected = PIL.Image.fromarray(chelsea.pixels).resize(small.size, PIL.Image.Resampling.BOX)
    difference = np.asarray(small, np.float64) - np.asarray(expected)
    assert np.sqrt(np.mean(difference**2)) < 8


def test_a_thumbnail_replaces_only_an_empty_file(tmp_path):
    (tmp_path / "empty.png").touch()  # as a file manager makes it
    dfm("desktop", "--thumbnail", WAVELET, tmp_path / "empty.png", 16)
    (tmp_path / "photo.png").write_text("the original")
    refused = dfm("desktop", "--thumbnail", WAVELET, tmp_path / "photo.png", 16, code=1).stderr
    assert "photo.png exists; name another file" in refused
    assert (tmp_path / "photo.png").read_text() == "the original"


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("wavelet-alpha", "RGBA"),
        ("wavelet-deep-alpha", "LA"),
        ("wavelet-deep", "RGB"),
        ("overfitted-deep-gray", "L"),
        ("coordinate", "RGB"),
    ],
)
def test_thumbnails_have_8_bits(name, mode):
    small = opened(thumbnail((GOLDEN / f"{name}.dfm").read_bytes(), 16))
    assert small.mode == mode
    assert max(small.size) == 16


def test_large_images_of_which_little_is_decoded_have_thumbnails(monkeypatch):
    """Of latents without alpha, two decomposition levels fewer are a sixteenth of the samples."""
    plain, alpha, fitted = (GOLDEN / f"{name}.dfm" for name in ("wavelet-rgb", "wavelet-alpha", "overfitted-small"))
    header = dfmcodec.read_info(plain)
    expected = thumbnail(plain.read_bytes(), header.width // 4)
    monkeypatch.setattr("dfmcodec.viewer.thumbnail.MAX_PIXELS", -(-header.width * header.height // 16))
    assert thumbnail(plain.read_bytes(), header.width // 4) == expected
    for path, side in ((plain, header.width // 4 + 1), (alpha, 8), (fitted, 8)):
        with pytest.raises(dfmcodec.LimitError, match="more than the limit"):
            thumbnail(path.read_bytes(), side)


def test_a_bad_file_has_no_thumbnail(tmp_path):
    (tmp_path / "bad.dfm").write_bytes(WAVELET.read_bytes()[:200])
    said = dfm("desktop", "--thumbnail", tmp_path / "bad.dfm", tmp_path / "small.png", 64, code=3).stderr
    assert "bad.dfm" in said
    assert not (tmp_path / "small.png").exists()
    for side in (0, 1025, "x"):
        dfm("desktop", "--thumbnail", WAVELET, tmp_path / "small.png", side, code=2)


def usable_bwrap() -> bool:
    program = shutil.which("bwrap")
    call = ["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"]
    return program is not None and subprocess.run(call, capture_output=True).returncode == 0


def sandbox(folder: Path, source: Path) -> list[str]:
    """The call of bubblewrap that gnome-desktop makes, but with this installation in it, which may
    be anywhere.
    """
    call = "bwrap --ro-bind /usr /usr --ro-bind-try /etc/ld.so.cache /etc/ld.so.cache".split()
    for name in ("bin", "lib64", "lib", "sbin"):
        place = Path("/", name)
        if place.is_symlink():
            call += ["--symlink", f"/usr/{name}", str(place)]
        elif place.exists():
            call += ["--ro-bind", str(place), str(place)]
    call += "--ro-bind-try /etc/alternatives /etc/alternatives --proc /proc --dev /dev --chdir /".split()
    call += "--setenv GIO_USE_VFS local --unshare-all --die-with-parent".split()
    for part in dict.fromkeys((sys.base_prefix, sys.prefix, str(Path(dfmcodec.__file__).parents[1]))):
        if not Path(part).is_relative_to("/usr"):
            call += ["--ro-bind", part, part]
    call += ["--bind", str(folder), "/tmp", "--ro-bind", str(source), f"/tmp/{SEEN}"]
    return call


SEEN = "gnome-desktop-file-to-thumbnail.dfm"


@pytest.mark.skipif(not usable_bwrap(), reason="bubblewrap cannot be used here")
@pytest.mark.skipif(Path(sys.prefix).is_relative_to("/tmp"), reason="the sandbox has a /tmp of its own")
def test_the_thumbnailer_works_in_the_sandbox(data, tmp_path):
    dfm("desktop", "--install", "-y")
    words = shlex.split(entry(data / "thumbnailers/dfmcodec.thumbnailer", "Thumbnailer Entry")["Exec"])
    given = {"%i": f"/tmp/{SEEN}", "%o": "/tmp/gnome-desktop-thumbnailer.png", "%s": "64"}
    folder = tmp_path / "out"
    folder.mkdir()
    run = [*sandbox(folder, WAVELET), *(given.get(word, word) for word in words)]
    done = subprocess.run(run, capture_output=True, text=True, env={**os.environ, "HOME": "/nowhere"})
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "gnome-desktop-thumbnailer.png").read_bytes() == thumbnail(WAVELET.read_bytes(), 64)
    left = {path.name for path in folder.iterdir()} - {SEEN}
    assert left == {"gnome-desktop-thumbnailer.png"}


def test_what_the_sandbox_hides(data, monkeypatch, tmp_path):
    monkeypatch.setattr(desktop, "hidden_from_thumbnailers", lambda: [Path("/home/me/venv")])
    assert "/home/me/venv" in dfm("desktop", "--install", "-y").stderr
    monkeypatch.undo()
    monkeypatch.setattr(desktop, "_SHOWN_TO_THUMBNAILERS", (Path("/"),))
    assert desktop.hidden_from_thumbnailers() == []
