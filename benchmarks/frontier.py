"""Quality against seconds of encoding at equal size: dfm's efforts, AVIF's speeds, WebP's methods,
Cool-chic.

    python benchmarks/frontier.py IMAGE... --bpp 1 --out frontier.jsonl --plot frontier.png
    python benchmarks/frontier.py CROP.png --cool-chic CHECKOUT --cool-chic-python VENV/bin/python
    --iterations 2000 ...

dfm hits a size in one encoding. AVIF and WebP have no such target: their seconds are those of the
largest file within the size, without the search for it. Cool-chic has no such target either. If a
checkout of its repository is given, with an interpreter that has its requirements, its file decides
the size for all. Rows that --out holds already are not measured again; without images, only the
plot is drawn.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import numpy as np
import PIL.Image
from matplotlib.figure import Figure
from recording import (
    Row,
    largest_within,
    load,
    numbers,
    optional_images_argument,
    out_option,
    plot_option,
    read_rows,
    record,
)

import dfmcodec
from dfmcodec.bench.codecs import Avif, Codec, Webp
from dfmcodec.image import Image
from dfmcodec.metrics import psnr


class _Varied:
    """An anchor at another of its own speeds."""

    def __init__(self, codec: type[Avif] | type[Webp], option: str, value: int) -> None:
        self.label = f"{codec.label} {option} {value}"
        options = {"save_options": {**codec.save_options, option: value}}
        self.codec: Codec = type(codec.__name__, (codec,), options)()


@click.command(help=__doc__)
@optional_images_argument
@click.option("--bpp", type=float, default=1.0, show_default=True, help="The size of all files without Cool-chic.")
@click.option("--efforts", default="1,2,3,4,5,6,7,8,9", show_default=True, help="The efforts of dfm.")
@click.option("--speeds", default="10,8,6,4,2,0", show_default=True, help="The speeds of AVIF.")
@click.option("--methods", default="0,2,4,6", show_default=True, help="The methods of WebP.")
@click.option(
    "--cool-chic", "checkout", type=click.Path(path_type=Path, exists=True), help="The repository of Cool-chic."
)
@click.option(
    "--cool-chic-python",
    "interpreter",
    type=click.Path(path_type=Path, exists=True),
    help="An interpreter that has the requirements of Cool-chic.",
)
@click.option("--iterations", type=int, default=2000, show_default=True, help="The iterations of Cool-chic.")
@click.option("--lmbda", type=float, default=0.001, show_default=True, help="The lmbda of Cool-chic.")
@out_option
@plot_option
def main(
    images: tuple[str, ...],
    bpp: float,
    efforts: str,
    speeds: str,
    methods: str,
    checkout: Path | None,
    interpreter: Path | None,
    iterations: int,
    lmbda: float,
    out: Path | None,
    plot: Path | None,
) -> None:
    if checkout is not None and interpreter is None:
        msg = "--cool-chic needs --cool-chic-python, an interpreter that has its requirements"
        raise click.UsageError(msg)
    done = {(row["picture"], row["codec"]): row for row in read_rows(out)}

    def rows() -> Iterator[Row]:
        for path in images:
            name, image = load(path)
            limit = int(bpp * image.pixel_count / 8)
            if checkout is not None and interpreter is not None:
                label = f"Cool-chic {iterations}"
                row = done.get((name, label))
                if row is None:
                    row = _row(name, label, *_cool_chic(image, checkout, interpreter, iterations, lmbda), image)
                    yield row
                limit = row["bytes"]
            for effort in numbers(efforts):
                label = f"dfm effort {effort}"
                if (name, label) not in done:
                    report = dfmcodec.encode(image, size=limit, effort=effort, tune="psnr").report
                    yield _row(name, label, report.file_bytes, report.psnr_db, report.total_s, image)
            varied = [_Varied(Avif, "speed", speed) for speed in numbers(speeds)]
            varied += [_Varied(Webp, "method", method) for method in numbers(methods)]
            for anchor in varied:
                if (name, anchor.label) not in done:
                    best = largest_within(anchor.codec, image.pixels, limit)
                    if best is not None:
                        match, quality = best
                        yield _row(name, anchor.label, len(match.data), quality, match.encode_s, image)

    record(rows(), out)
    kept = read_rows(out)
    if plot is not None and kept:
        _draw(kept, plot)


def _row(name: str, codec: str, size: int, quality: float, seconds: float, image: Image) -> Row:
    return {
        "picture": name,
        "codec": codec,
        "bytes": size,
        "bpp": 8 * size / image.pixel_count,
        "psnr_db": quality,
        "encode_s": round(seconds, 3),
    }


def _cool_chic(
    image: Image, checkout: Path, interpreter: Path, iterations: int, lmbda: float
) -> tuple[int, float, float]:
    """Runs Cool-chic's encoder and decoder, with the decoder `hop`, on the CPU.

    Returns:
        The bytes and the PSNR of its file, and the seconds of its encoder.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, file, decoded = (Path(folder) / name for name in ("in.png", "out.cool", "decoded.png"))
        PIL.Image.fromarray(image.pixels).save(source)
        common: dict[str, Any] = {"check": True, "capture_output": True, "cwd": checkout}
        options = ["--n_itr", str(iterations), "--lmbda", str(lmbda), "--dec_cfg_residue", "cfg/dec/intra/hop.cfg"]
        started = time.perf_counter()
        subprocess.run([interpreter, "cc_encode.py", "-i", source, "-o", file, "--workdir", folder, *options], **common)
        seconds = time.perf_counter() - started
        subprocess.run([interpreter, "cc_decode.py", "-i", file, "-o", decoded], **common)
        with PIL.Image.open(decoded) as pil_image:
            return file.stat().st_size, psnr(image.pixels, np.asarray(pil_image.convert("RGB"))), seconds


def _draw(rows: list[Row], path: Path) -> None:
    """Draws mean PSNR over mean seconds: a line for each codec, its settings next to the points."""
    images = {row["picture"] for row in rows}
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_label[row["codec"]].append(row)
    lines: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for label, measured in by_label.items():
        if len(measured) == len(images):
            codec, _, setting = label.rpartition(" ")
            seconds, quality = (fmean(row[key] for row in measured) for key in ("encode_s", "psnr_db"))
            lines[codec].append((seconds, quality, setting))
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    for codec, line in lines.items():
        axes.plot([x for x, _, _ in line], [y for _, y, _ in line], "o-", label=codec)
        for x, y, setting in line:
            axes.annotate(setting, (x, y), textcoords="offset points", xytext=(4, -11), fontsize=8)
    mean_bpp = fmean(row["bpp"] for row in rows)
    axes.set(
        xscale="log",
        xlabel="seconds of encoding one file",
        ylabel="PSNR, dB",
        title=f"{mean_bpp:.2f} bpp, mean of {', '.join(sorted(images))}",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
