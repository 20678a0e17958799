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
    display_name,
    echo_json,
    folder_option,
    force_option,
    json_option,
    max_pixels_option,
    output_option,
    prior_option,
    processes_option,
    quiet_option,
    read_generator,
    read_source,
    recursive_option,
    sources_argument,
    write_output,
)
from dfmcodec.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from dfmcodec.files.write_image import OutputFormat
    from dfmcodec.image import Image
    from dfmcodec.latents.geometry import Region

# The names in write_image.OUTPUT_FORMATS, repeated here because that module imports NumPy.
_FORMATS = ("png", "tiff", "jpeg", "webp", "ppm", "bmp", "npy")


@dataclass(frozen=True)
class _Options:
    """The arguments of the command.

    Args:
        sources: Files and folders.
        output: The output of one file.
        folder: The folder for the outputs of several files.
        recursive: Whether to process subfolders too.
        processes: The number of files to process at a time.
        format_name: The output format; None to take it from the extension.
        scale: The factor of width and height.
        size: Width and height of the output, of which one may be None to keep the aspect ratio;
            None for its own size.
        region: Left column, top row, width and height of the rectangle to decode; None for the
            whole image.
        best_effort: Whether to decode what truncated and damaged files still hold.
        prior: The file of a generative model.
        max_pixels: Images with more pixels are refused.
        backend: The `backend` of `decoder.decode_image`.
        force: Whether to overwrite outputs.
        as_json: Whether to print the report as JSON.
        quiet: Whether to print errors only.
    """

    sources: tuple[Path, ...]
    output: Path | None
    folder: Path | None
    recursive: bool
    processes: int
    format_name: str | None
    scale: float | None
    size: tuple[int | None, int | None] | None
    region: tuple[int, int, int, int] | None
    best_effort: bool
    prior: Path | None
    max_pixels: int
    backend: str
    force: bool
    as_json: bool
    quiet: bool


def _parse_region(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", text.replace(" ", ""))
    if match is None:
        msg = f"--region is {text!r}; write X,Y,W,H: left column, top row, width and height"
        raise ConfigError(msg)
    left, top, width, height = (int(number) for number in match.groups())
    return left, top, width, height


def _parse_size(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> tuple[int | None, int | None] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d*)x(\d*)", text.lower())
    if match is None or not any(match.groups()):
        msg = f"--to is {text!r}; write WxH, or Wx or xH to keep the aspect ratio"
        raise ConfigError(msg)
    width, height = (int(number) if number else None for number in match.groups())
    return width, height


@click.command("decode")
@sources_argument
@output_option(
    "Output image. Its extension gives the format; - is standard output. Default: FILE with the extension .png."
)
@folder_option
@recursive_option
@processes_option
@click.option(
    "--format", "format_name", type=click.Choice(_FORMATS), help="Output format, regardless of the extension."
)
@click.option("--scale", type=float, help="Scale width and height by this factor, such as 2 or 0.25.")
@click.option(
    "--to",
    "size",
    metavar="WxH",
    callback=_parse_size,
    help="Scale to this size in pixels; Wx or xH keeps the aspect ratio.",
)
@click.option(
    "--region",
    metavar="X,Y,W,H",
    callback=_parse_region,
    help="Decode only this rectangle: left column, top row, width and height.",
)
@click.option(
    "--best-effort",
    is_flag=True,
    help="Decode what a truncated or damaged file still holds, list the losses, and exit with code 3.",
)
@prior_option
@max_pixels_option
@click.option(
    "--backend",
    type=click.Choice(["numpy", "jax"]),
    default="numpy",
    show_default=True,
    help="Library that evaluates the networks. JAX uses a GPU if there is one.",
)
@force_option
@json_option
@quiet_option
def command(**arguments: Any) -> None:
    """Decode .dfm files to images.

    \b
    dfm decode photo.dfm                            writes photo.png
    dfm decode photo.dfm -o out.tif                 TIFF; also JPEG, WebP, PPM, BMP, NPY
    dfm decode photo.dfm --to 320x -o small.png     a thumbnail, faster than the whole image
    dfm decode photo.dfm --region 100,50,640,480    a rectangle, exactly as in the whole image
    dfm decode out/ -r -O images/ --format png      a folder and its subfolders
    cat a.dfm | dfm decode - -o - --format ppm      through pipes
    head -c 8000 a.dfm | dfm decode - --best-effort -o preview.png

    The bit depth, alpha, ICC profile, Exif and XMP are restored. A format that cannot hold the bit
    depth or the alpha is refused.
    """
    from dfmcodec.files.write_image import OUTPUT_FORMATS

    options = _Options(**arguments)
    read_generator(options.prior)  # report a bad model once, not for each file
    if _batch.is_single(options.sources, options.output, options.folder):
        _decode_single(options)
        return
    output_format = OUTPUT_FORMATS[options.format_name or "png"]
    suffix = output_format.extensions[0]
    batch = _batch.collect(options.sources, options.folder, options.recursive, options.force, _is_dfm, suffix)
    work = _batch.Work(partial(_decode_task, options, output_format), options.processes, "decoded")
    _batch.run(batch, work, options.as_json, options.quiet)


def _decode_single(options: _Options) -> None:
    from dfmcodec.files.write_image import OUTPUT_FORMATS, image_to_bytes, output_format

    started = time.perf_counter()
    (source,) = options.sources
    output = options.output
    if output is None:
        suffix = OUTPUT_FORMATS[options.format_name or "png"].extensions[0]
        output = STANDARD if source == STANDARD else derived_output(source, suffix)
    to_stdout = output == STANDARD
    chosen_format = output_format(None if to_stdout else output, options.format_name)
    data = read_source(source)
    check_output(output, options.force)
    image, losses = _decode(data, display_name(source), options, chosen_format)
    write_output(output, image_to_bytes(image, chosen_format), options.force)
    for loss in losses:
        click.echo(f"dfm: {display_name(source)}: {loss}", err=True)
    if not options.quiet:
        for notice in _notices(image, chosen_format, str(output)):
            click.echo(f"dfm: {notice}", err=True)
    seconds = time.perf_counter() - started
    if options.as_json:
        echo_json({"output": str(output), **_report(image, losses, seconds)}, err=to_stdout)
    elif not options.quiet:
        click.echo(_line(output, image, seconds), err=to_stdout)
    if losses:
        sys.exit(FormatError.exit_code)


def _is_dfm(path: Path) -> bool:
    return path.suffix.lower() == ".dfm"


def _decode(data: bytes, name: str, options: _Options, output: OutputFormat) -> tuple[Image, list[str]]:
    """The image, and the losses of a truncated or damaged file."""
    from dfmcodec.bitstream.header import read_header
    from dfmcodec.decoder import decode_best_effort, decode_image
    from dfmcodec.files.write_image import check_holds
    from dfmcodec.latents.geometry import Region

    generator = read_generator(options.prior)
    try:
        header = read_header(data, options.max_pixels)
        check_holds(output, header.bit_depth, header.has_alpha)
        shown = Region(0, 0, header.height, header.width)
        if options.region is not None:
            left, top, width, height = options.region
            shown = Region(top, left, top + height, left + width)
        region = None if options.region is None else shown
        size = None if options.size is None else _complete_size(options.size, shown)
        arguments = options.backend, options.max_pixels, region, options.scale, size, generator
        return decode_best_effort(data, *arguments) if options.best_effort else (decode_image(data, *arguments), [])
    except FormatError as error:
        raise type(error)(f"{name}: {error}") from error  # noqa: EM102


def _complete_size(size: tuple[int | None, int | None], region: Region) -> tuple[int, int]:
    """Width and height; one that is not given follows from the region's aspect ratio."""
    width, height = size
    if width is None:
        width = max(1, round((height or 1) * region.width / max(1, region.height)))
    if height is None:
        height = max(1, round(width * region.height / max(1, region.width)))
    return width, height


def _notices(image: Image, output: OutputFormat, name: str) -> list[str]:
    from dfmcodec.files.write_image import left_out

    lost = ", ".join(left_out(image, output))
    return [f"{name}: left out {lost}, which such a {output.name} file cannot hold"] if lost else []


def _report(image: Image, losses: list[str], seconds: float) -> dict[str, Any]:
    """The report as plain values, for JSON."""
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
    """The report for people."""
    return f"{output}: {image.width}x{image.height}, {seconds:.2f} s"


def _decode_task(options: _Options, output: OutputFormat, task: _batch.Task) -> _batch.TaskResult:
    from dfmcodec.files.atomic import read_file, write_atomic
    from dfmcodec.files.write_image import image_to_bytes

    started = time.perf_counter()
    image, losses = _decode(read_file(task.source), str(task.source), options, output)
    write_atomic(task.target, image_to_bytes(image, output), options.force)
    if losses:
        return _batch.TaskResult(None, "", error=f"{task.source}: {'; '.join(losses)}; written as {task.target}")
    seconds = time.perf_counter() - started
    report = {"input": str(task.source), "output": str(task.target), **_report(image, losses, seconds)}
    notices = tuple(_notices(image, output, str(task.target)))
    return _batch.TaskResult(report, _line(task.target, image, seconds), notices)
