"""Seconds of complete commands with their default settings, beside AVIF in a running process, and
beside the commands of JPEG XL (Debian's libjxl-tools).

    python benchmarks/commands.py $KODAK/kodim{05,08,23}.png --machine "2 cores of .." \\
        --out benchmarks/results/commands.jsonl

The commands run one after the other, in turn with AVIF's, so that a host whose speed drifts slows
all of them. Rows have the median, the smallest and the largest of the runs.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from statistics import median

import click
import PIL.Image
from recording import Row, images_argument, out_option, record, run_program

_DFM = (sys.executable, "-m", "dfmcodec")
_AVIF_QUALITY = 55  # about 0.5 bits per pixel
_AVIF = "in a running process, Pillow, 4:4:4, quality 55, median of {runs}"


def _avif(image: PIL.Image.Image, speed: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "AVIF", quality=_AVIF_QUALITY, speed=speed, subsampling="4:4:4")
    return file.getvalue()


def _measured(path: Path, folder: Path, quality: int | None) -> dict[str, Callable[[], object]]:
    """Returns the calls that are timed, by their names in the rows."""
    with PIL.Image.open(path) as opened:
        image = opened.convert("RGB")
    half_a_bit = f"--size={image.width * image.height // 16}"  # for each pixel
    target = half_a_bit if quality is None else f"--quality={quality}"
    file, decoded = folder / "a.dfm", folder / "a.png"
    avif, jpeg_xl = _avif(image, 6), folder / "a.jxl"
    return {
        "dfm encode": lambda: run_program(*_DFM, "encode", path, "-o", file, "-f", target),
        "dfm decode": lambda: run_program(*_DFM, "decode", file, "-o", decoded, "-f", "--overwrite-source"),
        "dfm encode --effort 1": lambda: run_program(*_DFM, "encode", path, "-o", file, "-f", target, "--effort", 1),
        "dfm encode --effort 2": lambda: run_program(*_DFM, "encode", path, "-o", file, "-f", target, "--effort", 2),
        "AVIF, speed 6": lambda: _avif(image, 6),
        "AVIF, speed 4": lambda: _avif(image, 4),
        "AVIF decode": lambda: PIL.Image.open(io.BytesIO(avif)).load(),
        "JPEG XL": lambda: run_program("cjxl", "-e", 7, "-d", 2, path, jpeg_xl),
        "JPEG XL decode": lambda: run_program("djxl", jpeg_xl, folder / "b.ppm"),
    }


def measure(paths: list[Path], runs: int, machine: str, quality: int | None) -> Iterator[Row]:
    """Yields a row for each command and image."""
    for path in paths:
        seconds: dict[str, list[float]] = defaultdict(list)
        with tempfile.TemporaryDirectory() as folder:
            calls = _measured(path, Path(folder), quality)
            for run in range(runs + 1):
                for name, call in calls.items():
                    started = time.perf_counter()
                    call()
                    if run:  # the first one warms up
                        seconds[name].append(time.perf_counter() - started)
        with PIL.Image.open(path) as opened:
            megapixels = round(opened.width * opened.height / 1e6, 2)
        for name, taken in seconds.items():
            how = f"complete commands, median of {runs}; dfm at {'0.5 bpp' if quality is None else f'-q {quality}'}"
            yield {
                "command": name,
                "picture": path.stem,
                "megapixels": megapixels,
                "s": round(median(taken), 3),
                "least_s": round(min(taken), 3),
                "largest_s": round(max(taken), 3),
                "date": date.today().isoformat(),
                "machine": machine,
                "runs": _AVIF.format(runs=runs) if name.startswith("AVIF") else how,
            }


@click.command(help=__doc__)
@images_argument
@click.option("--runs", default=5, show_default=True)
@click.option("--machine", required=True, help="Processor and load, for the rows.")
@click.option("--quality", type=int, help="The quality of dfm; without it, dfm's files have 0.5 bits per pixel.")
@out_option
def main(images: tuple[str, ...], runs: int, machine: str, quality: int | None, out: Path | None) -> None:
    record(measure([Path(name) for name in images], runs, machine, quality), out)


if __name__ == "__main__":
    main()
