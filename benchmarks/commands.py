"""Seconds of complete commands with their default settings, beside AVIF in a running process, and
beside the commands of JPEG XL (Debian's libjxl-tools).

    python benchmarks/commands.py $KODAK/kodim{05,08,23}.png --machine "2 cores of .." \\
        --out benchmarks/results/commands.jsonl

The commands run one after the other, in turn with AVIF's, so that a host whose speed drifts slows
all of them. Rows have the median, the smallest and the largest of the runs, and the load of the
host. `dfm decode` decodes the file of the last effort.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median

import click
import PIL.Image
from recording import Row, images_argument, numbers, out_option, record, run_program

ROOT = Path(__file__).parents[1]
_DFM = (sys.executable, "-m", "dfmcodec")
_DEFAULT_EFFORT = 5
_AVIF_QUALITY = 55  # about 0.5 bits per pixel
_AVIF = "in a running process, Pillow, 4:4:4, quality 55, median of {runs}"


def _avif(image: PIL.Image.Image, speed: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "AVIF", quality=_AVIF_QUALITY, speed=speed, subsampling="4:4:4")
    return file.getvalue()


@dataclass(frozen=True)
class _Settings:
    """The settings of dfm's commands."""

    quality: int | None  # None for half a bit per pixel
    efforts: list[int]
    before: Path | None  # a clone of another commit


def _measured(path: Path, folder: Path, settings: _Settings) -> dict[str, Callable[[], object]]:
    """Returns the calls that are timed, by their names in the rows."""
    with PIL.Image.open(path) as opened:
        image = opened.convert("RGB")
    half_a_bit = f"--size={image.width * image.height // 16}"  # for each pixel
    target = half_a_bit if settings.quality is None else f"--quality={settings.quality}"
    avif, jpeg_xl = _avif(image, 6), folder / "a.jxl"
    calls: dict[str, Callable[[], object]] = {
        "AVIF, speed 6": lambda: _avif(image, 6),
        "AVIF, speed 4": lambda: _avif(image, 4),
        "AVIF decode": lambda: PIL.Image.open(io.BytesIO(avif)).load(),
        "JPEG XL": lambda: run_program("cjxl", "-e", 7, "-d", 2, path, jpeg_xl),
        "JPEG XL decode": lambda: run_program("djxl", jpeg_xl, folder / "b.ppm"),
    }
    clones = {"": ROOT} if settings.before is None else {"": ROOT, ", before": settings.before}
    for number, (name, clone) in enumerate(clones.items()):
        file, decoded = folder / f"{number}.dfm", folder / f"{number}.ppm"
        run = partial(run_program, *_DFM, env=os.environ | {"PYTHONPATH": str(clone)})
        for effort in settings.efforts:
            command = "dfm encode" if effort == _DEFAULT_EFFORT else f"dfm encode --effort {effort}"
            calls[command + name] = partial(run, "encode", path, "-o", file, "-f", target, "--effort", effort)
        calls["dfm decode" + name] = partial(run, "decode", file, "-o", decoded, "-f")
    return calls


def measure(paths: list[Path], runs: int, machine: str, settings: _Settings) -> Iterator[Row]:
    """Yields a row for each command and image."""
    for path in paths:
        seconds: dict[str, list[float]] = defaultdict(list)
        with tempfile.TemporaryDirectory() as folder:
            calls = _measured(path, Path(folder), settings)
            for _ in range(runs):
                for name, call in calls.items():
                    started = time.perf_counter()
                    call()
                    seconds[name].append(time.perf_counter() - started)
        with PIL.Image.open(path) as opened:
            megapixels = round(opened.width * opened.height / 1e6, 2)
        target = "0.5 bpp" if settings.quality is None else f"-q {settings.quality}"
        for name, taken in seconds.items():
            yield {
                "command": name,
                "picture": path.stem,
                "megapixels": megapixels,
                "s": round(median(taken), 3),
                "least_s": round(min(taken), 3),
                "largest_s": round(max(taken), 3),
                "date": date.today().isoformat(),
                "machine": machine,
                "load": round(os.getloadavg()[0], 1),
                "runs": _AVIF.format(runs=runs)
                if name.startswith("AVIF")
                else f"complete commands, median of {runs}; dfm at {target}",
            }


@click.command(help=__doc__)
@images_argument
@click.option("--runs", default=5, show_default=True)
@click.option("--machine", required=True, help="Processor and load, for the rows.")
@click.option("--quality", type=int, help="The quality of dfm; without it, dfm's files have 0.5 bits per pixel.")
@click.option("--efforts", default=f"1,{_DEFAULT_EFFORT}", show_default=True, help="Efforts of dfm.")
@click.option("--before", type=click.Path(path_type=Path, exists=True), help="A clone of another commit, timed too.")
@out_option
def main(
    images: tuple[str, ...],
    runs: int,
    machine: str,
    quality: int | None,
    efforts: str,
    before: Path | None,
    out: Path | None,
) -> None:
    settings = _Settings(quality, numbers(efforts), before)
    record(measure([Path(name) for name in images], runs, machine, settings), out)


if __name__ == "__main__":
    main()
