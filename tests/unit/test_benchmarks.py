"""Smoke tests of every script in benchmarks/: the smallest useful run on tiny data."""

from __future__ import annotations

import ast
import importlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL.Image
import pytest
import skimage.data
from click.testing import CliRunner
from common import GOLDEN

import dfmcodec
from dfmcodec.perception import psnr

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
SIDE = 64


@pytest.fixture(autouse=True)
def _benchmarks_on_path() -> Iterator[None]:
    """The scripts import each other by name."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def crop(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    return np.ascontiguousarray(skimage.data.chelsea()[60 : 60 + height, 130 : 130 + width])


def png(folder: Path, height: int = SIDE, width: int = SIDE) -> Path:
    path = folder / "cat.png"
    PIL.Image.fromarray(crop(height, width)).save(path)
    return path


def dfm(folder: Path) -> Path:
    path = folder / "cat.dfm"
    path.write_bytes(dfmcodec.encode(crop(), bpp=2, effort=1).data)
    return path


def run(script: str, *arguments: object) -> list[str]:
    """Runs a script in this process; gives the lines that it prints on stdout."""
    main = importlib.import_module(script).main
    texts = [str(argument) for argument in arguments]
    if isinstance(main, click.Command):
        result = CliRunner().invoke(main, texts, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()
    with redirect_stdout(io.StringIO()) as stdout:
        main(texts)
    return stdout.getvalue().splitlines()


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def recorded(out: Path, script: str, *arguments: object) -> list[dict[str, Any]]:
    """Runs a script's command that appends rows to a file; gives the rows."""
    run(script, *arguments, "--out", out)
    return rows_of(out)


def one_colour_db(image: np.ndarray) -> float:
    """The PSNR of an image's mean colour, to which any file adds something."""
    return psnr(image, np.broadcast_to(np.rint(image.mean(axis=(0, 1))), image.shape).astype(np.uint8))


def is_drawn(path: Path) -> bool:
    with PIL.Image.open(path) as figure:
        return min(figure.size) > 30 and len(np.unique(np.asarray(figure.convert("L")))) > 2


def recording(folder: Path) -> None:
    module = importlib.import_module("recording")
    stem, image = module.load(str(png(folder)))
    assert (stem, image.pixels.shape) == ("cat", (SIDE, SIDE, 3))
    assert module.load("camera")[1].pixels.shape == (512, 512, 1)
    out = folder / "rows.jsonl"
    for _ in range(2):
        module.record([{"picture": "cat", "psnr_db": 31.234, "small": 0.0123456, "none": None}], out)
    assert [row["psnr_db"] for row in module.read_rows(out)] == [31.234, 31.234]
    assert module.table(rows_of(out)[:1]).splitlines()[-1] == "| cat | 31.23 | 0.01235 |  |"
    size, quality = module.jpeg_within(image.pixels, 1500)
    assert 1000 < size <= 1500
    assert quality > 20
    gray = image.pixels[:, :, :1]
    assert module.decoded_like(module.Jpeg(), module.Jpeg().encode(image.pixels, "", 90), gray).shape == gray.shape


def seen_files(folder: Path) -> None:
    """With programs in place of other codecs that keep the image, and of Butteraugli."""
    module = importlib.import_module("seen")
    calls = []

    def program(*words: object) -> str:
        calls.append(words[0])
        Path(str(words[-1])).write_bytes(Path(str(words[-2])).read_bytes())
        return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run_program", program)
        patch.setattr(module, "butteraugli", lambda original, decoded: 1.5)
        rows = recorded(folder / "rows.jsonl", "seen", "files", png(folder), "--efforts", "1", "--bpps", "2")
    assert [row["codec"] for row in rows] == [
        "dfm effort 1 visual",
        *(codec for codec, settings in module.SETTINGS.items() for _ in settings),
    ]
    assert {row["butteraugli"] for row in rows} == {1.5}
    assert rows[0]["bpp"] <= 2
    assert {row["ssimulacra2"] for row in rows[1:]} == {100}
    assert set(calls) == {"avifenc", "avifdec", "cjxl", "djxl"}


def seen_rates(_: Path) -> None:
    assert "| dfm effort 5 visual |" in "\n".join(run("seen", "rates"))


def seen_plot(folder: Path, command: str = "plot") -> None:
    run("seen", command, folder / "rates.png")
    with PIL.Image.open(folder / "rates.png") as drawn:
        assert drawn.width > 300


def seen_photographs(folder: Path) -> None:
    module = importlib.import_module("seen")
    unpacked = folder / "unpacked"
    (unpacked / module.FOLDER).mkdir(parents=True)
    for name in module.PHOTOGRAPHS.split():
        PIL.Image.fromarray(crop(40, 30)).save(unpacked / module.FOLDER / f"{name}.jpg")
    run("seen", "photographs", unpacked, folder / "photographs")
    assert len(list((folder / "photographs").glob("*.png"))) == 8


def commands(folder: Path) -> None:
    rows = recorded(folder / "rows.jsonl", "commands", png(folder), "--runs", 1, "--machine", "any")
    names = {row["command"] for row in rows}
    assert {"dfm encode", "dfm encode --effort 1", "dfm decode", "AVIF, speed 4"} < names
    assert all(0 < row["least_s"] <= row["s"] <= row["largest_s"] for row in rows)


def decoding(folder: Path) -> None:
    (row,) = recorded(folder / "rows.jsonl", "decoding", dfm(folder), "--repeats", 2)
    parts = ("contexts", "networks", "range_coder", "wavelet", "filter", "correction", "colour_conversion")
    seconds = {part: row[f"{part}_s"] for part in parts}
    assert all(seconds[part] > 0 for part in parts if part != "filter"), seconds
    assert sum(seconds.values()) <= row["profiled_s"], seconds
    assert min(row["decode_s"], row["process_s"]) > 0
    assert row["filter_macs_per_pixel"] == 540
    (row,) = recorded(folder / "overfitted.jsonl", "decoding", GOLDEN / "overfitted-small.dfm", "--repeats", 2)
    parts = ("weight_deltas", "contexts", "networks", "range_coder", "synthesis")
    seconds = {part: row[f"{part}_s"] for part in parts}
    assert min(seconds.values()) > 0, seconds
    assert sum(seconds.values()) <= row["profiled_s"], seconds
    assert 2000 < row["context_macs_per_pixel"] + row["synthesis_macs_per_pixel"] < 4000


def hues(_: Path) -> None:
    """A red square turns gray: red, orange and magenta lose, and the others hardly."""
    original = np.full((20, 20, 3), 128, np.uint8)
    original[:2, :4] = 200, 40, 40
    lost_colour = importlib.import_module("hues").lost_colour
    losses = lost_colour(original, np.full_like(original, 128))
    assert losses["lost_red"] > losses["lost_orange"] > 50
    assert losses["lost_blue"] == losses["lost_green"] == 0  # the pixels with most of these are gray
    assert set(lost_colour(original, original).values()) == {0}


def realism(_: Path) -> None:
    """The distortion, from the samples alone: the network is not installed here."""
    distortion = importlib.import_module("realism").wasserstein_distortion
    samples = crop().astype(np.float32).transpose(2, 0, 1) / 128
    moved, smooth = np.roll(samples, 1, axis=2), np.broadcast_to(samples.mean((1, 2), keepdims=True), samples.shape)
    assert distortion([samples], [samples], 3) == 0
    by_s = [[distortion([samples], [other], s) for other in (moved, smooth)] for s in (1, 3)]
    assert by_s[1][0] < by_s[0][0] < by_s[0][1]  # detail that moves costs less the wider the windows are
    assert by_s[1][0] < 0.1 * by_s[1][1]


def anchors(folder: Path) -> None:
    table, rows_path = folder / "anchors.tsv", folder / "rows.jsonl"
    points = [(0.001, 32.0, 0.9), (0.002, 30.0, 0.6), (0.004, 28.0, 0.4), (0.02, 24.0, 0.2)]
    lines = ["lmbda\tseq_name\tpsnr_db\trate_bpp", *(f"{a}\tcat\t{b}\t{c}" for a, b, c in points)]
    table.write_text("\n".join(lines) + "\n")
    options = ("--anchors", table, "--settings", "wavelet:1,wavelet:3", "--lmbdas", "0.001,0.002,0.004")
    rows = recorded(rows_path, "anchors", png(folder), *options)
    assert [(row["lmbda"], row["setting"]) for row in rows[:3]] == [
        (0.001, "wavelet:1"),
        (0.001, "wavelet:3"),
        (0.002, "wavelet:1"),
    ]
    assert len(rows) == 6
    assert all(0.9 * row["anchor_bpp"] < row["bpp"] <= row["anchor_bpp"] for row in rows)


def rate_distortion(folder: Path) -> None:
    out = folder / "rows.jsonl"
    settings = [text for step in (5.3, 23, 105) for text in ("--setting", step)]
    for _ in range(2):  # rows that are there are not measured again
        run("rate_distortion", png(folder), "--codec", "dfm-1", *settings, "--out", out)
        run("rate_distortion", png(folder), "--codec", "jpeg", "--setting", 50, "--out", out)
    rows = rows_of(out)
    assert [(row["codec"], row["setting"]) for row in rows] == [
        ("dfm-1", 5.3),
        ("dfm-1", 23),
        ("dfm-1", 105),
        ("jpeg", 50),
    ]
    assert rows[0]["bytes"] > rows[1]["bytes"] > rows[2]["bytes"]
    assert rows[0]["psnr_db"] > rows[1]["psnr_db"] > rows[2]["psnr_db"]


def qualities(folder: Path) -> None:
    rows = recorded(folder / "rows.jsonl", "qualities", png(folder))
    assert [row["setting"] for row in rows] == ["quality 50", "quality 75", "quality 90", "quality 95"]
    assert [row["bytes"] for row in rows] == sorted({row["bytes"] for row in rows})


def browser(folder: Path) -> None:
    pytest.importorskip("playwright.sync_api")
    if not any(map(shutil.which, importlib.import_module("browser").BROWSERS)):
        pytest.skip("no browser: install chromium")
    files = [GOLDEN / f"{name}.dfm" for name in ("wavelet-gray", "wavelet-tiles")]
    # in a process of its own, as a process can have one browser, and others of these tests have one
    out, script = folder / "rows.jsonl", importlib.import_module("browser").__file__
    subprocess.run([sys.executable, script, *files, "--repeat", "2", "--out", out], check=True, capture_output=True)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(row["picture"], row["helpers"]) for row in rows] == [
        ("wavelet-gray", 0),
        ("wavelet-gray", 1),
        ("wavelet-tiles", 0),
        ("wavelet-tiles", 1),
    ]
    assert all(row["whole_s"] >= row["first_s"] and row["browser"].startswith("Chrom") for row in rows)


def large(folder: Path) -> None:
    options = (png(folder), "--efforts", "1,3")
    rows = recorded(folder / "rows.jsonl", "large", *options)
    assert [row["command"].split(",")[0] for row in rows] == [
        "AVIF encode",
        "AVIF decode",
        "encode --effort 3",
        "encode --effort 1",
        "decode",
        "decode --region",
        "decode --region",
        "decode --resize 25%",
        "decode --resize 6.25%",
    ]
    assert all(row["s"] > 0 and row["MB"] > 20 for row in rows[2:])
    assert len(recorded(folder / "rows.jsonl", "large", *options)) == len(rows)
    assert importlib.import_module("large").regions(4000, 6000) == ("3328,2304,256,256", "2944,1920,256,256")


def damage(folder: Path) -> None:
    module = importlib.import_module("damage")
    copies = list(module.damaged(bytes(50), 20, 1))
    assert all(sum(map(bool, copy)) == 1 for copy in copies)
    assert copies == list(module.damaged(bytes(50), 20, 1))
    rows = recorded(folder / "rows.jsonl", "damage", png(folder), "--bpp", 3, "--effort", 1, "--trials", 3)
    assert [row["codec"] for row in rows] == ["dfm effort 1", *(codec.label for codec in module.ANCHORS)]
    assert all(row["bytes"] <= rows[0]["bytes"] and row["trials"] == 3 for row in rows)
    assert rows[0]["noticed"] == 3
    assert all(row["lost"] <= row["below_20_db"] for row in rows)


def prefixes(folder: Path) -> None:
    lines = run("prefixes", png(folder), "--bpp", 2, "--effort", 3, "--folder", folder)
    name, size, checks, *figures = lines[-1].strip("| ").split(" | ")
    assert name == "cat"
    assert int(size) <= 2 * SIDE * SIDE / 8
    assert 0 <= float(checks.removesuffix("%")) < 5
    qualities = [float(figure) for figure in figures]
    assert qualities[-1] == max(qualities) > qualities[0]
    assert len(list(folder.glob("cat-*.png"))) == len(qualities) == 8


def first_page_curves(folder: Path) -> None:
    out, plot, table = folder / "rows.jsonl", folder / "curves.png", folder / "hm.tsv"
    rates = (0.04, 0.25, 1, 5)
    rows = [
        {"picture": name, "codec": codec, "bpp": bpp, "psnr_db": 30 + 6 * np.log2(bpp)}
        for name in ("cat", "dog")
        for codec in ("jpeg", "dfm-5")
        for bpp in rates
    ]
    out.write_text("\n".join(json.dumps(row) for row in rows))
    lines = ["seq_name\trate_bpp\tpsnr_db", *(f"cat\t{bpp}\t{31 + 6 * np.log2(bpp)}" for bpp in rates)]
    table.write_text("\n".join(lines))
    (line,) = run("first_page", "curves", plot, out, "--anchors", f"HM={table}")
    assert json.loads(line) == {"images": 1, "codecs": ["JPEG", "dfm, default effort", "HM"]}
    assert is_drawn(plot)
    module = importlib.import_module("first_page")
    points = {name: [(bpp, 30 + 6 * np.log2(bpp)) for bpp in rates] for name in ("cat", "dog")}
    points["dog"].pop()
    found, means = module.mean_curve(points, ["cat", "dog"])
    assert max(found) <= 1
    assert means == pytest.approx([30 + 6 * np.log2(bpp) for bpp in found])


def first_page_same_size(folder: Path) -> None:
    figure = folder / "same.png"
    arguments = (png(folder), figure, "--bpp", 2, "--effort", 1, "--crop", "8,4,40,30")
    (line,) = run("first_page", "same-size", *arguments)
    files = {label: values for label, values in json.loads(line).items() if label not in ("picture", "original")}
    assert set(files) == {"dfm", "AVIF", "JPEG"}
    assert max(files.values())[0] == files["dfm"][0] <= 2 * SIDE * SIDE / 8
    assert is_drawn(figure)


def tables(folder: Path) -> None:
    """A table that was changed by hand is named, and made anew."""
    module = importlib.import_module("tables")
    page = folder / "page.md"
    page.write_text("A\n\n<!-- table: wavelet_decode -->\n\n| x |\n|---|\n\nB\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROOT", folder)
        patch.setattr(module, "TABLES", {"wavelet_decode": module.wavelet_decode})
        patch.setattr(module, "pages", lambda: [page])
        for arguments, code, says in ((["--check"], 1, "differ: page.md"), ([], 0, "written: page.md"), ([], 0, "")):
            result = CliRunner().invoke(module.main, arguments)
            assert (result.exit_code, result.output.strip()) == (code, says)
    assert page.read_text() == f"A\n\n<!-- table: wavelet_decode -->\n\n{module.wavelet_decode()}\n\nB\n"


def archive(folder: Path) -> None:
    table, dearer = run("archive"), run("archive", "--eur-per-kwh", 3)
    months, more = ([float(line.split(" | ")[3].replace(",", "")) for line in of[2:]] for of in (table, dearer))
    assert more == pytest.approx([10 * number for number in months], rel=0.2)
    cheap, dear = run("archive", "--eur-per-core-hour", 0.02), run("archive", "--eur-per-core-hour", 0.2)
    eur, more = ([float(line.split(" | ")[3].replace(",", "")) for line in of[2:]] for of in (cheap, dear))
    assert more == pytest.approx([10 * number for number in eur], rel=0.05)


def gallery(folder: Path) -> None:
    figure, out, cat = folder / "gallery.webp", folder / "rows.jsonl", png(folder)
    options = ("--image", f"{cat}@8,4", "--image", f"{cat}@20,10", "--crop", 40, 30, "--bpp", 2, "--effort", 1)
    (row, again) = recorded(out, "gallery", figure, *options)
    assert row == again
    assert max(row["JPEG, bytes"], row["AVIF, bytes"]) <= row["dfm, bytes"] <= 2 * SIDE * SIDE / 8
    assert row["dfm, dB"] > one_colour_db(crop()[4:34, 8:48])
    with PIL.Image.open(figure) as opened:
        pixels = np.asarray(opened)
    assert pixels.shape == (2 * 8 + 2 * (60 + 40), 2 * 8 + 4 * (80 + 8) - 8, 3)
    original = np.repeat(np.repeat(crop()[4:34, 8:48], 2, axis=0), 2, axis=1)
    assert np.array_equal(pixels[8:68, 8:88], original)
    with pytest.raises(AssertionError, match="not within"):
        run("gallery", figure, "--image", f"{cat}@30,40", *options[4:])


SMOKE_TESTS: dict[str, Callable[[Path], None]] = {
    "commands": commands,
    "decoding": decoding,
    "anchors": anchors,
    "archive": archive,
    "first_page curves": first_page_curves,
    "first_page same-size": first_page_same_size,
    "tables": tables,
    "gallery": gallery,
    "qualities": qualities,
    "browser": browser,
    "hues": hues,
    "large": large,
    "damage": damage,
    "prefixes": prefixes,
    "rate_distortion": rate_distortion,
    "realism": realism,
    "recording": recording,
    "seen photographs": seen_photographs,
    "seen files": seen_files,
    "seen rates": seen_rates,
    "seen plot": seen_plot,
    "seen plot-textures": partial(seen_plot, command="plot-textures"),
}


LONG = {  # 1 to 75 s each
    "commands",
    "damage",
    "gallery",
    "prefixes",
    "decoding",
    "large",
    "qualities",
    "anchors",
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in SMOKE_TESTS]
)
def test_benchmark_runs(name: str, tmp_path: Path) -> None:
    SMOKE_TESTS[name](tmp_path)


def test_every_script_and_command_has_a_smoke_test() -> None:
    mains = {script: getattr(importlib.import_module(script), "main", None) for script in SCRIPTS}
    commands = [
        f"{script} {command}".strip()
        for script, main in mains.items()
        for command in (main.commands if isinstance(main, click.Group) else [""])
    ]
    assert sorted(commands) == sorted(SMOKE_TESTS)


def private_names(source: str) -> Iterator[str]:
    """The private names that code takes from modules or objects other than its own."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            names = [node.attr]
        else:
            continue
        yield from (name for name in names if name.startswith("_") and not name.endswith("__"))


def test_scripts_use_public_names_only() -> None:
    sources = {script: (BENCHMARKS / f"{script}.py").read_text(encoding="utf-8") for script in SCRIPTS}
    assert {script: names for script, text in sources.items() if (names := list(private_names(text)))} == {}


def test_private_names_are_found() -> None:
    source = "from dfmcodec._types import Model\nimport a._b\nencoder._tiles\nself._own\ntext.__len__()\nx._y = 1"
    assert list(private_names(source)) == ["_types", "_b", "_tiles", "_y"]
