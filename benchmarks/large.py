"""Large photographs: seconds, memory and bytes of complete commands, beside AVIF. See
docs/results/speed.md.

    python benchmarks/large.py PHOTOGRAPH... --efforts 1,3,5 --out ROWS

For each photograph AVIF (the benchmark's, in a running process) is encoded and decoded first; then
come an encoding at each effort, with the default target and tune, and decodings of the first file:
all of it, two regions and smaller sizes. Each command is a process of its own. Rows that --out has
are not measured again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import click
import PIL.Image
from recording import Pixels, Row, images_argument, load, numbers, out_option, read_rows, record

import dfmcodec
from dfmcodec.bench.codecs import AvifSpeed4
from dfmcodec.codecs.wavelet.geometry import Tiling
from dfmcodec.perception.ssimulacra2 import ssimulacra2

T = TypeVar("T")
AVIF_QUALITY = 60


@click.command(help=__doc__)
@images_argument
@click.option("--efforts", default="1,3,5", show_default=True)
@out_option
def main(images: tuple[str, ...], efforts: str, out: Path | None) -> None:
    done = {(row["picture"], row["command"]) for row in read_rows(out)}
    record((row for image in images for row in rows_of_image(image, numbers(efforts), done)), out)


def rows_of_image(path: str, efforts: list[int], done: set[tuple[str, str]]) -> Iterator[Row]:
    """Yields the rows of one photograph that are not there yet."""
    name, image = load(path)
    pixels = image.pixels

    def row(command: str, **figures: object) -> Row:
        return {"picture": name, "megapixels": round(image.pixel_count / 1e6, 3), "command": command, **figures}

    def is_missing(command: str) -> bool:
        return (name, command) not in done

    if is_missing("AVIF encode"):
        data, encode_s = timed(lambda: AvifSpeed4().encode(pixels, "", AVIF_QUALITY))
        decoded, decode_s = timed(lambda: AvifSpeed4().decode(data))
        yield row("AVIF encode", s=encode_s, bytes=len(data), ssimulacra2=score_of(pixels, decoded))
        yield row("AVIF decode", s=decode_s)
    with tempfile.TemporaryDirectory() as folder:
        source, file, target = (str(Path(folder) / part) for part in ("photograph.png", "photograph.dfm", "out.ppm"))
        PIL.Image.fromarray(pixels).save(source, compress_level=1)
        for effort in reversed(efforts):  # so that the first one's file is left
            command = f"encode --effort {effort}"
            if not is_missing(command) and effort != efforts[0]:
                continue
            figures = measured("encode", source, "-o", file, "-f", "--effort", str(effort))
            if is_missing(command):
                score = score_of(pixels, dfmcodec.decode(file).pixels)
                yield row(command, **figures, bytes=Path(file).stat().st_size, ssimulacra2=score)
        inside, across = regions(*pixels.shape[:2])
        for command, options in {
            "decode": [],
            "decode --region, 256x256 in one tile": ["--region", inside],
            "decode --region, 256x256 on four": ["--region", across],
            "decode --resize 25%": ["--resize", "25%"],
            "decode --resize 6.25%": ["--resize", "6.25%"],
        }.items():
            if is_missing(command):
                yield row(command, **measured("decode", file, "-o", target, "-f", *options))


def score_of(original: Pixels, decoded: Pixels) -> float | None:
    """Returns SSIMULACRA2; None for images that are too small."""
    score = ssimulacra2(original, decoded)
    return None if score is None else round(score, 2)


def is_part(row: Row) -> bool:
    """Returns whether a row is of a region or a smaller size."""
    return "--region" in row["command"] or "--resize" in row["command"]


def timed(function: Callable[[], T]) -> tuple[T, float]:
    """Calls a function; returns its result and its seconds."""
    started = time.perf_counter()
    result = function()
    return result, round(time.perf_counter() - started, 4)


# A process has the largest memory of the one that started it as its own, so a small one starts it.
SMALL = """import json, os, sys, time
started = time.perf_counter()
_, status, used = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
seconds = time.perf_counter() - started
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, used.ru_utime + used.ru_stime, used.ru_maxrss]))"""


def measured(*arguments: str) -> Row:
    """Returns seconds, seconds of processors, and the most memory of a command."""
    command = sys.executable, "-m", "dfmcodec", *arguments, "--quiet"
    done = subprocess.run([sys.executable, "-S", "-c", SMALL, *command], stdout=subprocess.PIPE, check=True)
    code, seconds, processor_s, kilobytes = json.loads(done.stdout)
    if code:
        sys.exit(f"dfm {' '.join(arguments)} failed")
    return {"s": round(seconds, 2), "processor_s": round(processor_s, 2), "MB": round(kilobytes * 1024 / 1e6)}


def regions(height: int, width: int) -> tuple[str, str]:
    """Returns two regions of 256x256 pixels: one within a tile, and one across four tiles, where
    the image has four.

    Returns:
        The values of `--region`: left, top, width and height in pixels.
    """
    side = min(256, height, width)
    tiling = Tiling.default(height, width, 3)
    middle = tiling.tiles[tiling.tile_rows // 2 * tiling.tile_columns + tiling.tile_columns // 2]

    def region(left: int, top: int) -> str:
        return f"{max(0, min(left, width - side))},{max(0, min(top, height - side))},{side},{side}"

    return region(middle.left + side, middle.top + side), region(middle.left - side // 2, middle.top - side // 2)


if __name__ == "__main__":
    main()
