"""`dfm decode`."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfmcodec.cli import _batch
from dfmcodec.cli._common import (
    STANDARD,
    check_output,
    derived_output,
    echo_json,
    folder_option,
    force_option,
    generator_of,
    json_option,
    max_pixels_option,
    name_of,
    output_option,
    prior_option,
    processes_option,
    quiet_option,
    read_source,
    recursive_option,
    sources_argument,
    write_output,
)
from dfmcodec.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from dfmcodec.image import Image
    from dfmcodec.latents import Window
    from dfmcodec.writing import OutputFormat

_FORMATS = ("png", "tiff", "jpeg", "webp", "ppm", "bmp", "npy")  # of `writing.OUTPUT_FORMATS`, which is not light


@click.command("decode")
@sources_argument
@output_option("Picture to write, its format by the extension, - for standard output. Default: FILE with .png.")
@folder_option
@recursive_option
@processes_option
@click.option("--format", "format_name", type=click.Choice(_FORMATS), help="Instead of by the extension.")
@click.option("--scale", type=float, help="Evaluate the network at other positions: 2 for twice the size, 0.25.")
@click.option("--to", "size", metavar="WxH", help="The same, to a size in pixels; Wx or xH keeps the proportions.")
@click.option("--region", metavar="X,Y,W,H", help="Decode only a part: column and row of its corner, its size.")
@click.option(
    "--best-effort",
    is_flag=True,
    help="Take what is there of a truncated or damaged file: a picture, what it lacks on stderr, and exit code 3.",
)
@prior_option
@max_pixels_option
@click.option(
    "--backend",
    type=click.Choice(["numpy", "jax"]),
    default="numpy",
    show_default=True,
    help="What evaluates the network; jax uses a GPU where there is one.",
)
@force_option
@json_option
@quiet_option
def command(
    sources: tuple[Path, ...],
    output: Path | None,
    folder: Path | None,
    recursive: bool,
    processes: int,
    format_name: str | None,
    scale: float | None,
    size: str | None,
    region: str | None,
    best_effort: bool,
    prior: Path | None,
    max_pixels: int,
    backend: str,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Decode .dfm files to pictures.

    \b
    dfm decode photo.dfm                            writes photo.png
    dfm decode photo.dfm -o out.tif                 TIFF; also JPEG, WebP, PPM, BMP, NPY
    dfm decode photo.dfm --to 320x -o small.png     a thumbnail, in less time than the whole
    dfm decode photo.dfm --region 100,50,640,480    only that part, as it is in the whole picture
    dfm decode out/ -r -O pictures/ --format png    a whole tree
    cat a.dfm | dfm decode - -o - --format ppm      through pipes
    head -c 8000 a.dfm | dfm decode - --best-effort -o preview.png

    Depth, opacity, profile, Exif and XMP come back as they were; a format that cannot hold the depth or the opacity
    is refused.
    """
    from dfmcodec.writing import OUTPUT_FORMATS, output_format

    options = _Options(_region_of(region), scale, _size_of(size), best_effort, max_pixels, backend, prior)
    generator_of(prior)  # or the error of all files
    if not _batch.check_single(sources, output, folder):
        chosen = OUTPUT_FORMATS[format_name or "png"]
        batch = _batch.collect(sources, folder, recursive, force, _is_dfm, chosen.extensions[0])
        _batch.run(batch, partial(_decode_task, options, chosen, force), processes, "decoded", as_json, quiet)
        return
    started = time.perf_counter()
    (source,) = sources
    if output is None:
        suffix = OUTPUT_FORMATS[format_name or "png"].extensions[0]
        output = STANDARD if source == STANDARD else derived_output(source, suffix)
    chosen = output_format(None if output == STANDARD else output, format_name)
    data = read_source(source)
    check_output(output, force)
    image, losses = _decoded(data, name_of(source), options, chosen)
    write_output(output, _file_of(image, chosen), force)
    for loss in losses:
        click.echo(f"dfm: {name_of(source)}: {loss}", err=True)
    if not quiet:
        for notice in _notices(image, chosen, str(output)):
            click.echo(f"dfm: {notice}", err=True)
    seconds = time.perf_counter() - started
    if as_json:
        echo_json({"output": str(output), **_report(image, losses, seconds)}, err=output == STANDARD)
    elif not quiet:
        click.echo(_line(output, image, seconds), err=output == STANDARD)
    if losses:
        sys.exit(FormatError.exit_code)


@dataclass(frozen=True)
class _Options:
    """What holds for every file of a run.

    Args:
        region: (column, row, width, height); None for the whole picture.
        scale: Of the output.
        size: (width, height) of the output, one of them perhaps None.
        best_effort: Whether files that are not whole are decoded as far as they go.
        max_pixels: Larger pictures are refused.
        backend: As of `decoder.decode_image`.
        prior: A generative model's file, if given.
    """

    region: tuple[int, int, int, int] | None
    scale: float | None
    size: tuple[int | None, int | None] | None
    best_effort: bool
    max_pixels: int
    backend: str
    prior: Path | None


def _region_of(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", text.replace(" ", ""))
    if match is None:
        msg = f"--region is {text!r}; write X,Y,W,H: the column and row of its corner, its width and height"
        raise ConfigError(msg)
    left, top, width, height = (int(number) for number in match.groups())
    return left, top, width, height


def _size_of(text: str | None) -> tuple[int | None, int | None] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d*)x(\d*)", text.lower())
    if match is None or not any(match.groups()):
        msg = f"--to is {text!r}; write WxH, or Wx or xH to keep the proportions"
        raise ConfigError(msg)
    width, height = (int(number) if number else None for number in match.groups())
    return width, height


def _is_dfm(path: Path) -> bool:
    return path.suffix.lower() == ".dfm"


def _decoded(data: bytes, name: str, options: _Options, output: OutputFormat) -> tuple[Image, list[str]]:
    """The picture, and what it lacks."""
    from dfmcodec.bitstream import read_header
    from dfmcodec.decoder import decode_best_effort, decode_image
    from dfmcodec.latents import Window
    from dfmcodec.writing import check_holds

    generator = generator_of(options.prior)
    try:
        header = read_header(data, options.max_pixels)
        check_holds(output, header.bit_depth, header.has_alpha)
        window = Window(0, 0, header.height, header.width)
        if options.region is not None:
            left, top, width, height = options.region
            window = Window(top, left, top + height, left + width)
        size = None if options.size is None else _whole_size(options.size, window)
        region = None if options.region is None else window
        how = options.backend, options.max_pixels, region, options.scale, size, generator
        return decode_best_effort(data, *how) if options.best_effort else (decode_image(data, *how), [])
    except FormatError as error:
        raise type(error)(f"{name}: {error}") from error  # noqa: EM102


def _whole_size(size: tuple[int | None, int | None], window: Window) -> tuple[int, int]:
    """Both sides, in the window's proportions where one is not given."""
    width, height = size
    if width is None:
        width = max(1, round((height or 1) * window.width / max(1, window.height)))
    if height is None:
        height = max(1, round(width * window.height / max(1, window.width)))
    return width, height


def _file_of(image: Image, output: OutputFormat) -> bytes:
    from dfmcodec.writing import image_to_bytes

    return image_to_bytes(image, output)


def _notices(image: Image, output: OutputFormat, name: str) -> list[str]:
    from dfmcodec.writing import left_out

    lost = ", ".join(left_out(image, output))
    return [f"{name}: a {output.name} file of this kind does not hold {lost}"] if lost else []


def _report(image: Image, losses: list[str], seconds: float) -> dict[str, Any]:
    return {
        "width": image.width,
        "height": image.height,
        "channels": image.channels,
        "bit_depth": image.bit_depth,
        "alpha": image.alpha is not None,
        "lost": losses,
        "seconds": round(seconds, 3),
    }


def _line(output: Path, image: Image, seconds: float) -> str:
    return f"{output}: {image.width}x{image.height}, {seconds:.2f} s"


def _decode_task(options: _Options, output: OutputFormat, force: bool, task: _batch.Task) -> _batch.Done:
    from dfmcodec.io import read_file, write_atomic

    started = time.perf_counter()
    image, losses = _decoded(read_file(task.source), str(task.source), options, output)
    write_atomic(task.target, _file_of(image, output), force)
    if losses:
        return _batch.Done(None, "", error=f"{task.source}: {'; '.join(losses)}; written as {task.target}")
    seconds = time.perf_counter() - started
    report = {"input": str(task.source), "output": str(task.target), **_report(image, losses, seconds)}
    notices = tuple(_notices(image, output, str(task.target)))
    return _batch.Done(report, _line(task.target, image, seconds), notices)
