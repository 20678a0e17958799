"""Tests of runs on folders: pipes, several processes and options."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage.data
import skimage.io
from common import PATIENCE_S, dfm, held_command, wait_until

import dfmcodec
from dfmcodec.codecs.decode import DecodeRequest, decode_image
from dfmcodec.image.region import Region
from dfmcodec.perception import psnr

FAST = ("--quality", "50", "--effort", "1")

posix_only = pytest.mark.skipif(os.name == "nt", reason="signals of process groups are POSIX")


def opened(path):
    """An image read completely, its file closed."""
    with PIL.Image.open(path) as image:
        return image.copy()


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """16 mixed files in a tree, two of them broken, and two that are no images."""
    monkeypatch.chdir(tmp_path)
    cat, coffee = skimage.data.chelsea(), skimage.data.coffee()
    formats = ("png", "jpg", "webp", "tif", "bmp", "ppm", "gif")
    for number in range(14):
        folder = Path("photos") / ("" if number % 3 else "trip") / ("deeper" if number % 6 == 0 else "")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (cat if number % 2 else coffee)[10 * number :][:24, :31]
        image = PIL.Image.fromarray(pixels)
        if number % 5 == 0:
            image = image.convert("L")
        if number % 7 == 0:
            image = image.convert("RGBA")
            image.putalpha(PIL.Image.linear_gradient("L").resize(image.size))
        image.save(folder / f"image{number:02}.{formats[number % 7]}")
    Path("photos/broken.png").write_bytes(Path("photos/image07.png").read_bytes()[:300])
    Path("photos/trip/empty.jpg").touch()
    Path("photos/notes.txt").write_text("not an image")
    Path("photos/trip/list.csv").write_text("a,b")
    return tmp_path


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("[!.]*") if path.is_file())


def test_a_folder_of_mixed_files(photos):
    result = dfm("encode", "photos", "-r", "-O", "out", *FAST, code=5)
    assert "14 encoded, 2 failed" in result.output
    assert "broken.png" in result.stderr
    assert "empty.jpg" in result.stderr
    assert "skipped 2 files with other extensions: notes.txt, list.csv" in result.stderr
    expected = [name for name in files_below("photos") if "image" in name]
    assert files_below("out") == sorted(str(Path(name).with_suffix(".dfm")) for name in expected)
    again = dfm("encode", "photos", "-r", "-O", "out", "--skip-existing", *FAST, code=5)
    assert "0 encoded, 14 already there, 2 failed" in again.output
    lines = dfm("decode", "out", "-r", "-O", "back", "--format", "tiff", "--json", "-j", "2").stdout.splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["done"] * 14
    assert len(files_below("back")) == 14
    for name in expected:
        original, decoded = opened(Path("photos", name)), opened(Path("back", name).with_suffix(".tif"))
        assert decoded.size == original.size
        assert decoded.mode.endswith("A") == original.mode.endswith("A")


def test_only_the_folder_itself_without_r(photos):
    dfm("encode", "photos", *FAST, code=5)
    made = [name for name in files_below("photos") if name.endswith(".dfm")]
    assert made
    assert all("/" not in name for name in made)


def held_at_the_fifth(folder):
    """A run that waits at its fifth file, or at the sixth where two are written at once."""
    when = 'len(list(Path("out").rglob("*.dfm"))) >= 4'
    run = ("encode", "photos", "-r", "-O", "out", *FAST)
    return folder / "hold", "dfmcodec.files.atomic.write_atomic", when, *run


@posix_only
@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_killed_in_the_middle_and_run_again(photos, processes):
    with held_command(*held_at_the_fifth(photos), "-j", processes) as running:
        running.wait()
        os.killpg(running.process.pid, signal.SIGKILL)
    there = files_below("out")
    assert 4 <= len(there) < 14
    for name in there:
        decode_image(Path("out", name).read_bytes())
    assert all(name.endswith(".dfm") for name in there)
    stamps = {name: Path("out", name).stat().st_mtime_ns for name in there}
    result = dfm("encode", "photos", "-r", "-O", "out", "--skip-existing", *FAST, "-j", processes, code=5)
    assert f"{14 - len(there)} encoded, {len(there)} already there" in result.output
    assert len(files_below("out")) == 14
    assert all(Path("out", name).stat().st_mtime_ns == stamp for name, stamp in stamps.items())


def test_pipes_are_byte_clean(photos):
    run = [sys.executable, "-m", "dfmcodec"]
    image = Path("photos/image01.jpg").read_bytes()
    encoded = subprocess.run([*run, "encode", "-", "-o", "-", *FAST], input=image, capture_output=True)
    assert encoded.returncode == 0
    assert b"standard" not in encoded.stdout
    assert b"-> standard output" in encoded.stderr
    assert encoded.stdout == dfmcodec.encode("photos/image01.jpg", quality=50, effort=1).data
    decoded = subprocess.run(
        [*run, "decode", "-", "-o", "-", "--format", "ppm"], input=encoded.stdout, capture_output=True
    )
    assert decoded.returncode == 0
    pixels = np.asarray(opened(io.BytesIO(decoded.stdout)))
    assert np.array_equal(pixels, dfmcodec.decode(encoded.stdout))
    broken = subprocess.run([*run, "encode", "-"], input=b"nothing", capture_output=True)
    assert broken.returncode == 1
    assert broken.stdout == b""
    assert broken.stderr.decode().count("\n") == 1
    assert b"standard input is not an image" in broken.stderr


def test_compare(photos):
    image = "photos/image08.jpg"
    dfm("encode", image, "-o", "x.dfm", *FAST)
    figures = json.loads(dfm("compare", image, "x.dfm", "--map", "map.png", "--json").stdout)
    x, y = np.asarray(opened(image)), dfmcodec.decode("x.dfm").pixels
    assert figures["psnr_db"] == psnr(x, y)
    assert figures["file_bytes"] == Path("x.dfm").stat().st_size
    difference = np.clip(128 + 8 * (y.astype(int) - x), 0, 255)
    assert np.array_equal(np.asarray(opened("map.png")), difference)
    assert "no difference" in dfm("compare", image, image).output
    assert "PSNR" in dfm("compare", image, "x.dfm").output
    half = np.dstack([x, np.where(np.arange(x.shape[1]) < 15, 0, 255) * np.ones(x.shape[:2])]).astype(np.uint8)
    other = half.copy()
    other[:, :15, :3] = 0  # nobody sees it
    PIL.Image.fromarray(half).save("half.png")
    PIL.Image.fromarray(other).save("other.png")
    assert (
        "no difference, SSIMULACRA2 100.0, SSIM 1.0000, largest difference 0"
        in dfm("compare", "half.png", "other.png").output
    )


@pytest.fixture(scope="module")
def files():
    """A wavelet file of several tiles, one with opacity, and a coordinate one."""
    cat = skimage.data.chelsea()
    large = np.ascontiguousarray(np.tile(cat, (6, 1, 1))[:1540, :40])
    alpha = np.add.outer(np.arange(1540), np.arange(40)).astype(np.uint8)
    small = np.ascontiguousarray(cat[:90, :101])
    return {
        "tiles": dfmcodec.encode(large, quality=40, effort=1).data,
        "opacity": dfmcodec.encode(np.dstack([large, alpha]), quality=40, effort=1).data,
        "one": dfmcodec.encode(small, quality=60, effort=3).data,
        "coordinate": dfmcodec.encode(small, model="coordinate", rate=0.1, training_steps=16).data,
    }


@pytest.mark.parametrize("name", [pytest.param("tiles", marks=pytest.mark.slow), "opacity", "one", "coordinate"])
def test_region_equals_the_crop_of_the_image(files, name):
    data = files[name]
    complete = decode_image(data)
    rng = np.random.default_rng(0)
    regions = [(0, 0, 1, 1), (0, 0, complete.height, complete.width), (complete.height - 1, complete.width - 1, 1, 1)]
    for _ in range(4):
        top, left = rng.integers(0, complete.height - 1), rng.integers(0, complete.width - 1)
        regions.append((top, left, rng.integers(1, complete.height - top), rng.integers(1, complete.width - left)))
    for top, left, height, width in regions:
        part = decode_image(
            data, DecodeRequest(region=Region(int(top), int(left), int(top + height), int(left + width)))
        )
        crop = slice(top, top + height), slice(left, left + width)
        assert np.array_equal(part.pixels, complete.pixels[crop])
        assert complete.alpha is None or np.array_equal(part.alpha, complete.alpha[crop])


def test_only_the_tiles_of_a_region_are_decoded(files, monkeypatch):
    from dfmcodec.codecs.wavelet.sections import latents

    walked = []
    traverse = latents.traverse
    monkeypatch.setattr(latents, "traverse", lambda *args, **named: walked.append(args[0]) or traverse(*args, **named))
    decode_image(files["tiles"], DecodeRequest(region=Region(20, 10, 60, 40)))
    assert len(walked) == 1
    walked.clear()
    decode_image(files["tiles"])
    assert len(walked) == 2


def test_sizes_are_what_was_asked_for_and_near_the_image(files):
    for name in ("tiles", "one", "opacity"):
        complete = decode_image(files[name])
        for options, expected in [
            ({"scale": 0.5}, (complete.height / 2, complete.width / 2)),
            ({"scale": 0.2}, (complete.height / 5, complete.width / 5)),
            ({"scale": 1.7}, (complete.height * 1.7, complete.width * 1.7)),
            ({"size": (70, 90)}, (90, 70)),
        ]:
            found = decode_image(files[name], DecodeRequest(**options))
            assert np.allclose(found.pixels.shape[:2], expected, atol=0.51)
            assert (found.alpha is None) == (complete.alpha is None)
            size = found.width, found.height
            reference = np.asarray(PIL.Image.fromarray(complete.pixels).resize(size, PIL.Image.LANCZOS))
            assert psnr(reference, found.pixels) > 27, (name, options)
    part = decode_image(files["one"], DecodeRequest(region=Region(10, 20, 50, 60), scale=2))
    all_of_it = decode_image(files["one"], DecodeRequest(scale=2))
    assert np.array_equal(part.pixels, all_of_it.pixels[20:100, 40:120])


def test_a_constant_stays_one_at_any_size():
    flat = dfmcodec.encode(np.full((50, 70, 3), 93, np.uint8), quality=50, effort=1).data
    for scale in (0.1, 0.3, 0.5, 0.9, 1.1, 3):
        assert (np.abs(decode_image(flat, DecodeRequest(scale=scale)).pixels.astype(int) - 93) <= 1).all()


def test_the_published_network_is_evaluated_between_pixels(files):
    """Twice as large has the pixels of the image itself between four of its own, and they differ
    from all four.
    """
    from dfmcodec import container
    from dfmcodec.codecs.coordinate.decode import weights_of
    from dfmcodec.fourier.network import deep_fourier_machine, unpack

    model, _ = container.read(files["coordinate"])
    twice = decode_image(files["coordinate"], DecodeRequest(scale=2)).pixels
    rows = ((np.arange(180) + 0.5) / 2 - 0.5) / 90
    columns = ((np.arange(202) + 0.5) / 2 - 0.5) / 101
    weights = weights_of(model)
    v = np.stack([np.tile(columns, 180), np.repeat(rows, 202)], axis=1).astype(np.float32)
    layers = unpack(weights, model.architecture, np)
    samples = deep_fourier_machine(layers, v[:2000], model.architecture.order, np)
    expected = np.rint((samples + 1) * 127.5)
    assert np.abs(twice.reshape(-1, 3)[:2000] - expected).max() <= 1


def test_results_show_themselves_in_notebooks():
    pixels = np.ascontiguousarray(skimage.data.chelsea()[:40, :50])
    result = dfmcodec.encode(pixels, quality=40, effort=1)
    with PIL.Image.open(io.BytesIO(result._repr_png_())) as image:
        assert np.array_equal(np.asarray(image), dfmcodec.decode(result.data))
    assert f"{result.report.psnr_db:.2f} dB" in result.report._repr_html_()


def test_verify_distinguishes_the_damaged_from_the_intact(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    pixels = np.ascontiguousarray(skimage.data.chelsea()[:12, :14])
    data = dfmcodec.encode(pixels, quality=50, effort=1).data
    Path("tree/deeper").mkdir(parents=True)
    damaged = set(rng.choice(20, 2, replace=False).tolist())
    for number in range(20):  # a corpus of which a tenth is damaged
        content = bytearray(data)
        if number in damaged:
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        Path("tree", "deeper" if number % 2 else "", f"{number:02}.dfm").write_bytes(content)
    for processes in (1, 2):
        lines = dfm("verify", "-r", "tree", "--json", "-j", processes, code=5).stdout.splitlines()
        reports = list(map(json.loads, lines))
        assert len(reports) == 20
        assert {int(Path(report["source"]).stem) for report in reports if "error" in report} == damaged
    result = dfm("verify", "-r", "tree", code=5)
    assert "18 intact, 2 damaged" in result.stdout
    assert result.stdout.count(": damaged: ") == 2
    assert result.stderr == ""
    assert dfm("verify", "-r", "tree", "--quiet", code=5).stdout.count("\n") == 2  # only the damaged ones
    limited = dfm("verify", "-r", "tree", "--max-pixels", 100, code=5).output
    assert re.search(r"0 intact, [0-2] damaged, (18|19|20) not checked", limited)
    Path("cut.dfm").write_bytes(data[:-5])
    assert "cut.dfm: damaged: the file is truncated" in dfm("verify", "cut.dfm", code=3).stdout
    Path("good.dfm").write_bytes(data)
    assert "good.dfm: intact, 14x12" in dfm("verify", "good.dfm").output
    assert "more than the limit of 100 pixels" in dfm("verify", "good.dfm", "--max-pixels", 100, code=3).stderr
    assert "limit of 100" in dfm("decode", "good.dfm", "--max-pixels", 100, code=3).stderr
    assert sorted(os.listdir()) == ["cut.dfm", "good.dfm", "tree"]


def test_verify_takes_a_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = dfmcodec.encode(np.zeros((12, 14, 1), np.uint8), quality=50, effort=1).data
    Path("folder").mkdir()
    for name in ("a.dfm", "b\nc.dfm", "not listed.dfm", "folder/d.dfm"):
        Path(name).write_bytes(data)
    Path("cut.dfm").write_bytes(data[:-5])
    Path("list").write_text("a.dfm\n\nfolder\n")
    assert "2 intact, 0 damaged" in dfm("verify", "--files-from", "list").output
    assert "3 intact, 0 damaged" in dfm("verify", "b\nc.dfm", "--files-from", "list", "-j", 2).output
    assert "2 intact, 1 damaged" in dfm("verify", "--files-from", "-", "cut.dfm", "a.dfm", data="a.dfm", code=5).output
    assert "cut.dfm: damaged: " in dfm("verify", "--files-from", "-", data="cut.dfm\n", code=3).stdout
    for listed in ("\ufeffa.dfm\r\ncut.dfm\r\n", "\ufeff\r\na.dfm\ncut.dfm"):
        assert "1 intact, 1 damaged" in dfm("verify", "--files-from", "-", data=listed.encode(), code=5).output


@pytest.mark.parametrize(
    ("arguments", "listed", "code", "message"),
    [
        (["--files-from", "-"], "", 1, "the list of files is empty: standard input"),
        (["--files-from", "list"], "", 1, "the list of files is empty: list"),
        (["--files-from", "missing"], "", 1, "cannot read missing"),
        (["--files-from", "-"], "a\0b", 2, "write one name per line"),
        (["--files-from", "-"], "a.dfm\n-\n", 2, "write the absolute path of a file of that name"),
        (["--files-from", "-", "-"], "a.dfm", 2, "standard input (-) is the list of files"),
        (["--files-from", "list", "-"], "", 1, "the list of files is empty: list"),
        ([], "", 2, "name a file or a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_verify_refuses_what_lists_nothing(arguments, listed, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("list").write_text("\n \n")
    found = dfm("verify", *arguments, data=listed, code=code)
    assert message in found.stderr
    assert len(found.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "inputs"),
    [
        (["verify"], ".dfm files"),
        (["encode", "-O", "out"], "images to encode"),
        (["encode", "-O", "out", "--json"], "images to encode"),
        (["decode", "-O", "out"], ".dfm files to decode"),
    ],
    ids=str,
)
def test_folders_without_inputs_are_named(arguments, inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        Path(f"f{number}").mkdir()
    one = dfm(*arguments, "f0", code=1)
    assert one.output == f"dfm: error: there are no {inputs} in f0 (-r looks into subfolders)\n"
    Path("list").write_text("f1\nf2\nf3\nf4\nf5\n")
    many = dfm(*arguments, "f0", "--files-from", "list", code=1)
    assert many.output == f"dfm: error: there are no {inputs} in f0, f1, f2, f3, f4, ... (-r looks into subfolders)\n"


def living_processes(group):
    """The processes of a group that have not ended; one that has may wait for its parent."""
    living = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # ended meanwhile
            continue
        if int(its_group) == group and state != "Z":
            living.append(path)
    return living


@posix_only
@pytest.mark.parametrize("presses", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("to_all", [True, False], ids=["to all processes", "to the parent alone"])
def test_ctrl_c_with_several_processes(photos, presses, to_all):
    """Files in progress are discarded. No traceback, no part of a file, no process is left."""
    with held_command(*held_at_the_fifth(photos), "-j", "2") as running:
        running.wait()
        send = os.killpg if to_all else os.kill
        for _ in range(presses):
            send(running.process.pid, signal.SIGINT)
        running.release()
        output, errors = running.process.communicate(timeout=PATIENCE_S)[0], running.errors()
    others = [line for line in errors.splitlines() if not line.startswith("dfm: failed: photos/broken.png ")]
    assert others == ["dfm: interrupted; unfinished outputs were not written"]
    there = files_below("out")
    assert 4 <= len(there) < 14
    for name in there:
        decode_image(Path("out", name).read_bytes())
    assert running.process.returncode == 130
    counted = int(re.search(r"^(\d+) encoded(, 1 failed)?, interrupted \(--skip-existing continues\)", output, re.M)[1])
    assert len(there) - 2 <= counted <= len(there)  # a process may finish one that it can no longer report
    assert not list(Path("out").rglob("*.tmp"))
    if Path("/proc/self/stat").exists():
        wait_until(lambda: not living_processes(running.process.pid))


@posix_only
@pytest.mark.parametrize("processes", ["1", "2"])
def test_ctrl_c_removes_temporary_files(photos, processes):
    """It comes just before a new file replaces an old one."""
    Path("out").mkdir()
    Path("out/image01.dfm").write_bytes(b"old")
    when = "str(arguments[0]).endswith('.tmp')"
    run = ("encode", "photos/image01.jpg", "-O", "out", "-f", *FAST, "-j", processes)
    with held_command(photos / "hold", "os.replace", when, *run) as running:
        running.wait()
        assert len(os.listdir("out")) == 2
        os.killpg(running.process.pid, signal.SIGINT)
        running.process.wait(PATIENCE_S)
    assert running.process.returncode == 130
    assert os.listdir("out") == ["image01.dfm"]
    assert Path("out/image01.dfm").read_bytes() == b"old"
