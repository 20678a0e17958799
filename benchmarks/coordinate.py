"""The coordinate network by figures: recipes, quantisation, start-up. See docs/results.md, and `published.py`.

    python benchmarks/coordinate.py recipes   PICTURE...   --seconds 60
    python benchmarks/coordinate.py quantised PICTURE...   --seconds 60
    python benchmarks/coordinate.py start     PICTURE.dfm

A PICTURE is a file or the name of one of scikit-image's. Each command writes one JSON object a line to --out as it
goes and prints a Markdown table at the end.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import click
from recording import Row, jpeg_within, load, out_option, pictures_argument, record

import dfmcodec
from dfmcodec.decoder import render_weights
from dfmcodec.encoder import RECIPES, EncoderConfig
from dfmcodec.fourier import axis_positions
from dfmcodec.image import Image
from dfmcodec.metrics import psnr


@click.group(help=__doc__)
def main() -> None:
    pass


seconds_option = click.option("--seconds", type=float, default=60.0, show_default=True, help="Of each fit.")


@main.command()
@pictures_argument
@seconds_option
@click.option("--rate", type=float, default=0.18, show_default=True)
@click.option("--depth", type=int, default=3, show_default=True)
@click.option("--width", type=int, default=11, show_default=True)
@out_option
def recipes(pictures: tuple[str, ...], seconds: float, rate: float, depth: int, width: int, out: Path | None) -> None:
    """Default against published recipe: same network, same seconds, same size limit."""

    def rows() -> Iterable[Row]:
        for name in pictures:
            stem, image = load(name)
            reports = {
                recipe: dfmcodec.encode(
                    image, model="coordinate", rate=rate, recipe=recipe, depth=depth, width=width, time_limit_s=seconds
                ).report
                for recipe in ("default", "published")
            }
            ours, theirs = reports["default"], reports["published"]
            jpeg_bytes, jpeg_db = jpeg_within(image.pixels, ours.file_bytes)
            yield {
                "picture": stem,
                "depth x width": f"{depth} x {width}",
                "default dB": ours.psnr_db,
                "bytes": ours.file_bytes,
                "steps": ours.steps,
                "published dB": theirs.psnr_db,
                "bytes (published)": theirs.file_bytes,
                "steps (published)": theirs.steps,
                "gain dB": ours.psnr_db - theirs.psnr_db,
                "JPEG dB": jpeg_db,
                "JPEG bytes": jpeg_bytes,
            }

    record(rows(), out)


@main.command()
@pictures_argument
@click.option("--rate", type=float, default=0.18, show_default=True)
@out_option
def quantised(pictures: tuple[str, ...], rate: float, out: Path | None) -> None:
    """What quantisation costs: the file against the same network fitted and kept in float32.

    Also a network whose float32 weights alone fill the same size (the publication's way of counting).
    """
    from dfmcodec.encoder.fit import Budget, Trainer
    from dfmcodec.encoder.sizing import architecture_of

    def float_psnr(image: Image, depth: int, width: int) -> tuple[float, int]:
        arch = architecture_of(
            EncoderConfig(model="coordinate", depth=depth, width=width), image.channels, depth, width
        )
        recipe = RECIPES["default"]
        trainer = Trainer(image, arch, recipe, seed=0)
        fit = trainer.run(Budget(recipe.steps, float("inf")), 0.0, 1.0, lambda *figures: None)
        decoded = render_weights(fit.weights, arch, axis_positions(image.height), axis_positions(image.width))
        return psnr(image.pixels, decoded), arch.float_bytes

    def widest_float(image: Image, limit_bytes: int) -> tuple[int, int]:
        shapes = [(depth, width) for depth in range(2, 7) for width in range(2, 13)]

        def sizes(shape: tuple[int, int]) -> int:
            return architecture_of(EncoderConfig(model="coordinate"), image.channels, *shape).float_bytes

        return max((shape for shape in shapes if sizes(shape) <= limit_bytes), key=sizes)

    def rows() -> Iterable[Row]:
        for name in pictures:
            stem, image = load(name)
            report = dfmcodec.encode(image, model="coordinate", rate=rate).report
            arch = report.architecture
            same, _ = float_psnr(image, arch.depth, arch.width)
            depth, width = widest_float(image, report.file_bytes)
            small, small_bytes = float_psnr(image, depth, width)
            yield {
                "picture": stem,
                "network": f"{arch.depth} x {arch.width}",
                "weights": arch.weight_count,
                "bits a weight": report.bits_per_weight,
                "bytes": report.file_bytes,
                "file dB": report.psnr_db,
                "float32 dB": same,
                "lost dB": same - report.psnr_db,
                "float32 of that size": f"{depth} x {width}, {small_bytes} bytes",
                "its dB": small,
            }

    record(rows(), out)


@main.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--repeats", type=int, default=5, show_default=True)
def start(file: Path, repeats: int) -> None:
    """Seconds of whole processes: help, info, decode; the interpreter alone as the baseline."""
    calls = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "dfm --help": [sys.executable, "-m", "dfmcodec", "--help"],
        "dfm info": [sys.executable, "-m", "dfmcodec", "info", str(file)],
        "dfm decode": [sys.executable, "-m", "dfmcodec", "decode", str(file), "-f", "-o", "/tmp/dfm-start.png"],
    }

    def rows() -> Iterable[Row]:
        baseline = 1.0
        for name, call in calls.items():
            times = []
            for _ in range(repeats):
                started = time.perf_counter()
                subprocess.run(call, check=True, capture_output=True)
                times.append(time.perf_counter() - started)
            best = min(times)
            baseline = best if name.startswith("python") else baseline
            yield {"call": name, "best s": round(best, 3), "x interpreter": round(best / baseline, 1)}

    record(rows(), None)


if __name__ == "__main__":
    main()
