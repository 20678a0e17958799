"""Command `dfm decode`."""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfmcodec.cli import _options
from dfmcodec.cli._batch import TaskResult, Work, run
from dfmcodec.cli._common import (
    STANDARD,
    display_name,
    errors_named,
    json_text,
    output_name,
    read_source,
)
from dfmcodec.cli._existing import Decision
from dfmcodec.cli._inputs import Naming, RunOptions, Task
from dfmcodec.cli._origins import DONE, FAILED, Origin
from dfmcodec.cli._same_file import check_outputs_apart
from dfmcodec.cli._single import run_single, write_result
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
    "output. Default: FILE with .png for its extension; a.png.dfm becomes a.png."
)
@_options.folder
@_options.recursive
@_options.files_from
@_options.skip_links
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
@_options.max_pixels
@click.option(
    "--max-multiply-adds",
    type=click.IntRange(1, 1 << 62),
    default=1 << 37,  # same as fourier.network.MAX_MULTIPLY_ADDS, because that module imports NumPy
    show_default=True,
    help="Refuse files of the coordinate codec that need more multiply-adds to decode.",
)
@_options.report
@_options.existing_outputs
@_options.json
@_options.quiet
def command(**arguments: Any) -> None:
    """Decode .dfm files to images.

    \b
    dfm decode photo.dfm                            writes photo.png
    dfm decode photo.dfm -o out.tif                 TIFF; also JPEG, WebP, PPM, BMP, NPY
    dfm decode photo.dfm --resize 320 -o small.png      a thumbnail, faster than the complete image
    dfm decode photo.dfm --resize 320 --strip all -o small.jpg
    dfm decode photo.dfm --region 100,50,640,480    a rectangle, exactly as in the complete image
    dfm decode out/ -r -O images/ --format png      a folder and its subfolders
    cat a.dfm | dfm decode - -o - --format ppm      through pipes
    head -c 8000 a.dfm | dfm decode - --best-effort -o preview.png

    Bit depth, alpha, ICC profile, Exif and XMP are restored. A format that does not support the bit
    depth or alpha of the image is refused.

    An output that was made from the same file with the same settings is kept. One that was made
    from it with other settings is made again, and with --report one that was made before the file
    changed. Any other existing file is replaced only with -f. The image that a .dfm file was made
    from, or may have been, is replaced only with -f --overwrite-source.
    """
    from dfmcodec.image.write_image import OUTPUT_FORMATS, check_quality

    arguments["files_from"] = _options.file_list(arguments)
    options = _Options(**arguments)
    _check_names(options)
    if options.is_single():
        from dfmcodec.processes import prepare_process

        prepare_process()
        _run_one(options)
    else:
        chosen = OUTPUT_FORMATS[options.format_name or "png"]
        check_quality(chosen, options.quality)
        run(_work(options, chosen, _naming(chosen)), options)


def _work(options: _Options, output: OutputFormat, naming: Naming) -> Work:
    """Returns the work of a run. Without a record, an image that has the name and the dimensions of
    the decoded image may be the original; photo.jpg.dfm has the names photo.jpg and photo.jpg.png.
    """

    def may_be_source(task: Task) -> bool:
        name, existing = task.source.name, Path(os.path.realpath(task.target))
        stems = {Path(naming.target_name(name)).stem.casefold(), _without_extension(name).casefold()}
        has_name = stems & {existing.stem.casefold(), existing.name.casefold()}
        return bool(has_name) and _has_dimensions(existing, task.source)

    perform = partial(_perform, options, output)
    return Work(perform, naming, _settings_text(options), "decoded", ".dfm files to decode", may_be_source)


def _has_dimensions(image: Path, source: Path) -> bool:
    """Indicates whether an image file has the width and height of a `.dfm` file, upright or turned.
    So may a file that cannot be read, or that holds several images.
    """
    import PIL.Image

    from dfmcodec.container.header import read_header

    try:
        header = read_header(source.read_bytes())
        with PIL.Image.open(image) as opened:
            has_several = getattr(opened, "n_frames", 1) > 1
            return has_several or {opened.width, opened.height} == {header.width, header.height}
    except Exception:  # whatever it is, the decoding reports it
        return True


def _check_names(options: _Options) -> None:
    """Raises an error if the arguments are in the order of other tools."""
    from dfmcodec.image.write_image import OUTPUT_FORMATS

    suffixes = [suffix for output in OUTPUT_FORMATS.values() for suffix in output.extensions]
    for source in options.sources[1:]:
        if source.suffix.lower() in suffixes and not os.path.isdir(source):
            msg = f"{source} is the name of an output, not of a .dfm file; name outputs with -o {source}"
            raise ConfigError(msg)


def _settings_text(options: _Options) -> str:
    """Returns the settings that determine the outputs besides the files."""
    names = ("format_name", "quality", "resize", "region", "best_effort")
    stripped = {"strip": sorted(options.strip)} if options.strip else {}
    return json_text({name: getattr(options, name) for name in names} | stripped)


def _without_extension(name: str) -> str:
    return name[: -len(EXTENSION)] if name.lower().endswith(EXTENSION) else name


def _naming(output: OutputFormat) -> Naming:
    """Returns the rules for names: a.dfm and a.png.dfm both become a.png."""

    def target_name(name: str) -> str:
        stem = _without_extension(name)
        return stem if stem.lower().endswith(output.extensions) else stem + output.extensions[0]

    return Naming(
        lambda path: path.suffix.lower() == EXTENSION,
        lambda path: path.suffix.lower() in output.extensions,
        target_name,
        lambda *_: "decode them one by one, with -o, or rename one",
    )


def _run_one(options: _Options) -> None:
    from dfmcodec.image.write_image import OUTPUT_FORMATS, check_quality, output_format

    (source,) = options.sources
    naming = _naming(OUTPUT_FORMATS[options.format_name or "png"])
    task = naming.single_task(source, options.output)
    output = task.target
    if options.output is None and output == source != STANDARD:
        msg = f"{source} is the name of a decoded image; name a .dfm file, or the output with -o"
        raise ConfigError(msg)
    check_outputs_apart({"-o": output, "--report": options.report_path}, [source])
    by_name = "or name the format with --format"
    chosen = output_format(None if output == STANDARD else output, options.format_name, by_name)
    check_quality(chosen, options.quality)
    work = _work(options, chosen, naming)
    run_single(task, lambda task, decision, _: work.perform(task, decision), work, options)


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


def _perform(options: _Options, output: OutputFormat, task: Task, decision: Decision) -> TaskResult:
    started = time.perf_counter()
    origin = Origin.of(task.source, _settings_text(options))
    data = read_source(task.source)
    figures, written = _output_of(data, display_name(task.source), options, output)
    left_out, notices, losses = figures.pop("left_out"), figures.pop("notices"), figures["losses"]
    status = FAILED if losses else DONE
    if losses and not options.force and decision.keeps(task.target):
        kept = f"{display_name(task.source)}: {'; '.join(losses)}; the complete {task.target} that exists is kept"
        return TaskResult(error=kept, exit_code=FormatError.exit_code)
    write_result(task, written, decision.checked(task.target, written), origin, status)
    seconds = time.perf_counter() - started
    if left_out:
        notices.append(f"left out {', '.join(left_out)}, which such a {output.name} file cannot hold")
    row = {
        "source_bytes": len(data),
        "output_bytes": len(written),
        "output_sha256": hashlib.sha256(written).hexdigest(),
        "total_s": round(seconds, 3),
    }
    return TaskResult(
        {**task.names, **figures, "total_s": round(seconds, 3)},
        f"{output_name(task.target)}: {figures['width']}x{figures['height']}, {seconds:.2f} s",
        tuple(f"{task.target}: {notice}" for notice in notices),
        losses=tuple(losses),
        row=row,
        status=status,
        exit_code=FormatError.exit_code if losses else 0,
    )
