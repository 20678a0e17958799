"""Command `dfm decode`."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from dfmcodec.cli import _options
from dfmcodec.cli._common import (
    STANDARD,
    display_name,
    errors_named,
    output_name,
    read_source,
)
from dfmcodec.cli._inputs import Naming, RunOptions, Task
from dfmcodec.cli._run import DONE, FAILED, TaskResult, Work, run
from dfmcodec.errors import ConfigError, FormatError
from dfmcodec.files.atomic import EXTENSION

if TYPE_CHECKING:
    from dfmcodec.image import Image
    from dfmcodec.image.region import Region
    from dfmcodec.image.write_image import OutputFormat

# Same names as in write_image.OUTPUT_FORMATS, because that module imports NumPy.
_FORMATS = ("png", "tiff", "jpeg", "webp", "ppm", "bmp", "npy")
_MAX_SIDE = 65_535  # same as image.MAX_SIDE, for the same reason
_ALIASES = {"tif": "tiff", "jpg": "jpeg"}
_REGIONS = (
    r"(?P<x>\d{1,9}),(?P<y>\d{1,9}),(?P<w>\d{1,9}),(?P<h>\d{1,9})",
    r"(?P<w>\d{1,9})x(?P<h>\d{1,9})\+(?P<x>\d{1,9})\+(?P<y>\d{1,9})",  # ImageMagick's geometry
)


@dataclass(frozen=True)
class _Options(RunOptions):
    """The arguments of the command."""

    format_name: str | None  # None to take it from the extension
    quality: int | None  # of JPEG and WebP outputs, 1..100; None for the default of the format
    resize: tuple[int | None, int | None] | float | None  # width and height, one of which may be None; or a factor
    region: tuple[int, int, int, int] | None  # left column, top row, width and height
    best_effort: bool  # whether to decode the intact parts of truncated and damaged files
    texture: bool  # whether noise replaces lost texture
    max_multiply_adds: int


def _region(text: str) -> tuple[int, int, int, int]:
    for pattern in _REGIONS:
        if match := re.fullmatch(pattern, text.replace(" ", "").lower()):
            return int(match["x"]), int(match["y"]), int(match["w"]), int(match["h"])
    msg = f"--region is {text!r}; write X,Y,W,H: left column, top row, width and height; or WxH+X+Y"
    raise ConfigError(msg)


def _size(text: str) -> tuple[int | None, int | None] | float:
    """Parses WxH, W, xH, or a percentage, which gives a factor of width and height."""
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?%", text):
        return _options.fraction(text)
    match = re.fullmatch(r"(\d{0,9})(?:x(\d{0,9}))?", text.lower())
    if match is None or not any(match.groups()):
        msg = f"--resize is {text!r}; write WxH, or W, xH or a percentage to keep the aspect ratio"
        raise ConfigError(msg)
    width, height = (int(number) if number else None for number in match.groups())
    if any(side is not None and not 1 <= side <= _MAX_SIDE for side in (width, height)):
        msg = f"--resize is {text!r}; sides of 1 to {_MAX_SIDE} are possible"
        raise ConfigError(msg)
    return width, height


@click.command("decode")
@_options.optional_sources
@_options.output_or_folder(
    "Output image, whose extension gives the format, or a folder if it ends with a slash; - is standard "
    "output. Default: a.decoded.png for a.dfm."
)
@_options.folder
@_options.recursive
@_options.files_from
@_options.processes
@click.option(
    "--format",
    "format_name",
    type=click.Choice([*_FORMATS, *_ALIASES], case_sensitive=False),
    callback=lambda _context, _parameter, name: _ALIASES.get(name, name),
    help="Output format, regardless of the extension.",
)
@click.option(
    "-q",
    "--quality",
    type=click.IntRange(1, 100),
    help="Quality of JPEG and WebP outputs, 1 to 100. Default: 95 for JPEG, always with full chroma; WebP is lossless.",
)
@click.option(
    "--resize",
    metavar="WxH",
    type=_options.value_type("size", _size),
    help="Scale to this size in pixels; W, xH or a percentage, such as 25%, keeps the aspect ratio.",
)
@click.option(
    "--region",
    metavar="X,Y,W,H",
    type=_options.value_type("region", _region),
    help="Decode only this rectangle: left column, top row, width and height. Also WxH+X+Y.",
)
@_options.strip
@click.option(
    "--best-effort",
    is_flag=True,
    help="Decode what a truncated or damaged file still holds, list the losses, and exit with code 3.",
)
@click.option(
    "--no-texture",
    "texture",
    flag_value=False,
    default=True,
    help="Leave out the noise that replaces lost texture.",
)
@_options.max_pixels
@click.option(
    "--max-multiply-adds",
    type=click.IntRange(1, 1 << 62),
    default=1 << 37,  # same as fourier.network.MAX_MULTIPLY_ADDS, because that module imports NumPy
    show_default=True,
    help="Refuse files of the coordinate codec that need more multiply-adds to decode.",
)
@_options.existing_outputs
@_options.json
@_options.quiet
def command(**arguments: Any) -> None:
    """Decode .dfm files to images.

    \b
    dfm decode photo.dfm                            writes photo.decoded.png
    dfm decode photo.dfm -o out.tif                 TIFF; also JPEG, WebP, PPM, BMP, NPY
    dfm decode photo.dfm --resize 320 -o small.png      a thumbnail, faster than the complete image
    dfm decode photo.dfm --resize 320 --strip all -o small.jpg
    dfm decode photo.dfm --region 100,50,640,480    a rectangle, exactly as in the complete image
    dfm decode out/ -r -O images/ --format png      a folder and its subfolders
    cat a.dfm | dfm decode - -o - --format ppm      through pipes
    head -c 8000 a.dfm | dfm decode - --best-effort -o preview.png

    Bit depth, alpha, ICC profile, Exif and XMP are restored. A format that does not support the bit
    depth or alpha of the image is refused.

    An existing output is refused. -f replaces it; --skip-existing keeps it if it is intact, which
    continues an interrupted run. Ctrl-C discards the file in progress (exit code 130). In the
    folder of its source, an output is called photo.decoded.png, in other folders photo.png.
    """
    from dfmcodec.image.intact import is_intact
    from dfmcodec.image.write_image import check_quality, output_format

    options = _Options(**arguments)
    _check_names(options)
    named = options.output
    is_named = named is not None and not named.is_folder and named.path != STANDARD
    by_name = "or name the format with --format"
    chosen = output_format(named.path if named is not None and is_named else None, options.format_name, by_name)
    check_quality(chosen, options.quality)
    perform = partial(_perform, options, chosen)
    may_read = partial(is_intact, max_pixels=options.max_pixels)
    run(Work(perform, may_read, options, "decoded", ".dfm files to decode"), _naming(chosen))


def _check_names(options: _Options) -> None:
    """Raises an error if the arguments are in the order of other tools."""
    from dfmcodec.image.write_image import OUTPUT_FORMATS

    suffixes = [suffix for output in OUTPUT_FORMATS.values() for suffix in output.extensions]
    for source in options.sources[1:]:
        if source.suffix.lower() in suffixes and not os.path.isdir(source):
            msg = f"{source} is the name of an output, not of a .dfm file; name outputs with -o {source}"
            raise ConfigError(msg)


def _without_extension(name: str) -> str:
    return name[: -len(EXTENSION)] if name.lower().endswith(EXTENSION) else name


def _naming(output: OutputFormat) -> Naming:
    """Returns the rules for names: a.dfm and a.png.dfm both become a.png, beside their source
    a.decoded.png, which is not the name of an original.
    """

    def target_name(name: str, is_beside: bool) -> str:
        stem, suffix = _without_extension(name), output.extensions[0]
        if stem.lower().endswith(output.extensions):
            stem, suffix = os.path.splitext(stem)
        return f"{stem}.decoded{suffix}" if is_beside else f"{stem}{suffix}"

    return Naming(
        lambda path: path.suffix.lower() == EXTENSION,
        lambda path: path.suffix.lower() in output.extensions,
        target_name,
        lambda *_: "decode them one by one, with -o, or rename one",
    )


def _image_of(data: bytes, name: str, options: _Options, output: OutputFormat) -> tuple[Image, list[str]]:
    """Decodes an image and returns it with the losses of a truncated or damaged file."""
    from dfmcodec.codecs.decode import DecodeRequest, decode_best_effort, decode_image
    from dfmcodec.container.header import read_header
    from dfmcodec.image.region import Region
    from dfmcodec.image.write_image import check_holds, check_size

    with errors_named(name):
        header = read_header(data, options.max_pixels)
        check_holds(output, header.bit_depth, header.has_alpha)
        shown = Region(0, 0, header.height, header.width)
        if options.region is not None:
            left, top, width, height = options.region
            shown = Region(top, left, top + height, left + width)
        region = None if options.region is None else shown
        scale, size = None, None
        if isinstance(options.resize, float):
            scale = options.resize
        else:
            size = None if options.resize is None else _complete_size(options.resize, shown)
            width, height = size or (shown.width, shown.height)
            check_size(output, height, width)
        request = DecodeRequest(
            max_pixels=options.max_pixels,
            region=region,
            scale=scale,
            size=size,
            max_multiply_adds=options.max_multiply_adds,
            texture=options.texture,
        )
        return decode_best_effort(data, request) if options.best_effort else (decode_image(data, request), [])


def _complete_size(size: tuple[int | None, int | None], region: Region) -> tuple[int, int]:
    """Returns width and height. A missing value follows from the region's aspect ratio."""
    width, height = size
    if width is None:
        width = max(1, round((height or 1) * region.width / max(1, region.height)))
    if height is None:
        height = max(1, round(width * region.height / max(1, region.width)))
    return width, height


def _output_of(data: bytes, name: str, options: _Options, output: OutputFormat) -> tuple[dict[str, Any], bytes]:
    """Decodes a file and returns its figures as plain values and the bytes of the output."""
    from dfmcodec.image.strip import stripped
    from dfmcodec.image.write_image import image_to_bytes, left_out

    notices: list[str] = []
    image, losses = _image_of(data, name, options, output)
    image = replace(image, metadata=stripped(image.metadata, options.strip, notices.append))
    if image.metadata.gainmap and options.region is not None:
        image = replace(image, metadata=replace(image.metadata, gainmap=None))
        notices.append("its gain map is left out, as it is that of the complete image")
    figures = {
        "width": image.width,
        "height": image.height,
        "channels": image.channels,
        "bit_depth": image.bit_depth,
        "has_alpha": image.alpha is not None,
        "losses": losses,
        "left_out": left_out(image, output),
        "notices": notices,
    }
    return figures, image_to_bytes(image, output, options.quality)


def _perform(options: _Options, output: OutputFormat, task: Task) -> TaskResult:
    started = time.perf_counter()
    data = read_source(task.source)
    figures, written = _output_of(data, display_name(task.source), options, output)
    left_out, notices, losses = figures.pop("left_out"), figures.pop("notices"), figures["losses"]
    seconds = time.perf_counter() - started
    if left_out:
        notices.append(f"left out {', '.join(left_out)}, which such a {output.name} file cannot hold")
    lost = f"{display_name(task.source)}: {'; '.join(losses)}; the rest is in {output_name(task.target)}"
    return TaskResult(
        {**task.names, **figures, "total_s": round(seconds, 3)},
        f"{output_name(task.target)}: {figures['width']}x{figures['height']}, {seconds:.2f} s",
        written,
        FAILED if losses else DONE,
        tuple(f"{task.target}: {notice}" for notice in notices),
        lost if losses else None,
        {"source_bytes": len(data), "output_bytes": len(written)},
        FormatError.exit_code if losses else 0,
    )
