"""Command `dfm decode`."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfmcodec.cli import _batch
from dfmcodec.cli._common import (
    STANDARD,
    FileList,
    Fraction,
    Output,
    adopt_option,
    display_name,
    dry_run_option,
    echo,
    echo_json,
    errors_named,
    file_list,
    files_from_option,
    folder_option,
    force_option,
    generator_option,
    json_option,
    json_text,
    max_multiply_adds_option,
    max_pixels_option,
    optional_sources_argument,
    output_name,
    output_or_folder_option,
    overwrite_source_option,
    processes_option,
    quiet_option,
    read_generator,
    read_source,
    recursive_option,
    report_option,
    skip_links_option,
    strip_option,
)
from dfmcodec.cli._existing import Decision, ExistingOutputs
from dfmcodec.cli._inputs import Inputs, Naming, Task, is_single
from dfmcodec.cli._origins import DONE, FAILED, Origin, write_recorded
from dfmcodec.cli._report_file import report_file
from dfmcodec.cli._same_file import check_outputs_apart
from dfmcodec.cli._single import decided, write_one
from dfmcodec.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from dfmcodec.cli._report_file import ReportFile
    from dfmcodec.image import Image
    from dfmcodec.image.region import Region
    from dfmcodec.image.write_image import OutputFormat

_EXTENSION = ".dfm"  # same as files.atomic.EXTENSION
# Same names as in write_image.OUTPUT_FORMATS, because that module imports NumPy.
_FORMATS = ("png", "tiff", "jpeg", "webp", "ppm", "bmp", "npy")
_ALIASES = {"tif": "tiff", "jpg": "jpeg"}
_REGIONS = (
    r"(?P<x>\d{1,9}),(?P<y>\d{1,9}),(?P<w>\d{1,9}),(?P<h>\d{1,9})",
    r"(?P<w>\d{1,9})x(?P<h>\d{1,9})\+(?P<x>\d{1,9})\+(?P<y>\d{1,9})",  # ImageMagick's geometry
)


@dataclass(frozen=True)
class _Options:
    """The arguments of the command.

    Args:
        sources: Files and folders.
        files_from: A list of further sources.
        output: The output of one file, or the folder for it.
        folder: The folder for the outputs of several files.
        recursive: Whether to process subfolders too.
        skips_links: Whether to skip inputs that are links.
        processes: The number of files to process at a time.
        format_name: The output format; None to take it from the extension.
        quality: The quality of JPEG and WebP outputs, 1..100; None for the default of the format.
        scale: The scale factor of width and height.
        size: Width and height of the output; one of them may be None to keep the aspect ratio. None
            for the original size.
        region: Left column, top row, width and height of the rectangle to decode; None for the
            entire image.
        strip: Kinds of metadata to remove.
        best_effort: Whether to decode the intact parts of truncated and damaged files.
        generator: The file of a generative model.
        max_pixels: The maximum number of pixels of an image.
        max_multiply_adds: The maximum number of multiply-adds of a network.
        backend: The argument `backend` of `codecs.decode.decode_image`.
        sandbox: Whether to decode each file in a separate process with limits.
        report_path: The report file, with a row for each file.
        force: Whether to overwrite outputs.
        overwrites_source: Whether the source of an input may be replaced.
        adopt: Whether to assume that outputs of unknown origin were made from the inputs.
        dry_run: Whether to show what would be done without doing it.
        as_json: Whether to print the report as JSON.
        quiet: Whether to print errors only.
    """

    sources: tuple[Path, ...]
    files_from: FileList | None
    output: Output | None
    folder: Path | None
    recursive: bool
    skips_links: bool
    processes: int
    format_name: str | None
    quality: int | None
    scale: float | None
    size: tuple[int | None, int | None] | None
    region: tuple[int, int, int, int] | None
    strip: frozenset[str]
    best_effort: bool
    generator: Path | None
    max_pixels: int
    max_multiply_adds: int
    backend: str
    sandbox: bool
    report_path: Path | None
    force: bool
    overwrites_source: bool
    adopt: bool
    dry_run: bool
    as_json: bool
    quiet: bool


def _parse_region(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    for pattern in _REGIONS:
        if match := re.fullmatch(pattern, text.replace(" ", "").lower()):
            return int(match["x"]), int(match["y"]), int(match["w"]), int(match["h"])
    msg = f"--region is {text!r}; write X,Y,W,H: left column, top row, width and height; or WxH+X+Y"
    raise ConfigError(msg)


def _parse_size(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> tuple[int | None, int | None] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{0,9})(?:x(\d{0,9}))?", text.lower())
    if match is None or not any(match.groups()):
        msg = f"--to is {text!r}; write WxH, or W or xH to keep the aspect ratio"
        raise ConfigError(msg)
    width, height = (int(number) if number else None for number in match.groups())
    return width, height


def _parse_format(_context: click.Context, _parameter: click.Parameter, name: str | None) -> str | None:
    return None if name is None else _ALIASES.get(name, name)


@click.command("decode")
@optional_sources_argument
@output_or_folder_option(
    "Output image, whose extension gives the format, or a folder if it ends with a slash; - is standard "
    "output. Default: FILE with .png for its extension; a.png.dfm becomes a.png."
)
@folder_option
@recursive_option
@files_from_option
@skip_links_option
@processes_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice([*_FORMATS, *_ALIASES], case_sensitive=False),
    callback=_parse_format,
    help="Output format, regardless of the extension.",
)
@click.option(
    "-q",
    "--quality",
    type=click.IntRange(1, 100),
    help="Quality of JPEG and WebP outputs, 1 to 100. Default: 95 for JPEG, always with full chroma; WebP is lossless.",
)
@click.option("--scale", type=Fraction(), help="Scale width and height by this factor, such as 2, 0.25 or 25%.")
@click.option(
    "--to",
    "size",
    metavar="WxH",
    callback=_parse_size,
    help="Scale to this size in pixels; W or xH keeps the aspect ratio.",
)
@click.option(
    "--region",
    metavar="X,Y,W,H",
    callback=_parse_region,
    help="Decode only this rectangle: left column, top row, width and height. Also WxH+X+Y.",
)
@strip_option
@click.option(
    "--best-effort",
    is_flag=True,
    help="Decode what a truncated or damaged file still holds, list the losses, and exit with code 3.",
)
@generator_option
@max_pixels_option
@max_multiply_adds_option
@click.option(
    "--backend",
    type=click.Choice(["numpy", "jax"]),
    default="numpy",
    show_default=True,
    help="Library that evaluates the networks. JAX uses a GPU if there is one.",
)
@click.option(
    "--sandbox",
    is_flag=True,
    help="Decode each file in a process of its own, with limits on memory and time that follow from --max-pixels "
    "and --max-multiply-adds. Linux only.",
)
@report_option
@force_option
@overwrite_source_option
@adopt_option
@dry_run_option
@json_option
@quiet_option
def command(**arguments: Any) -> None:
    """Decode .dfm files to images.

    \b
    dfm decode photo.dfm                            writes photo.png
    dfm decode photo.dfm -o out.tif                 TIFF; also JPEG, WebP, PPM, BMP, NPY
    dfm decode photo.dfm --to 320 -o small.png      a thumbnail, faster than the complete image
    dfm decode photo.dfm --to 320 --strip all -o small.jpg
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

    arguments["files_from"] = file_list(arguments)
    options = _Options(**arguments)
    _check_names(options)
    if options.sandbox:
        _check_sandbox(options)
    else:
        read_generator(options.generator)  # report an invalid model once, not for each file
    if is_single(options.sources, options.files_from, options.output, options.folder):
        from dfmcodec.kernels import share_memory

        share_memory()
        _decode_single(options)
        return
    chosen = OUTPUT_FORMATS[options.format_name or "png"]
    check_quality(chosen, options.quality)
    folder = options.output.path if options.output is not None else options.folder
    kept = options.generator, options.report_path
    naming = _naming(chosen)
    inputs = Inputs(options.sources, options.files_from, folder, options.recursive, naming, kept, options.skips_links)
    listed = None if options.files_from is None else options.files_from.path
    check_outputs_apart({"--report": options.report_path}, [*options.sources, listed, options.generator])
    perform, noun = partial(_decode_task, options, chosen), ".dfm files to decode"
    with report_file(options.report_path, _settings_text(options), options.dry_run) as report:
        existing = _existing(options, naming, report)
        work = _batch.Work(perform, existing, options.processes, "decoded", noun, options.dry_run)
        _batch.warn_about_slow_coder(options.quiet)
        _batch.run(inputs, work, _batch.Display(options.as_json, options.quiet), report)


def _existing(options: _Options, naming: Naming, report: ReportFile | None) -> ExistingOutputs:
    """Returns the rule for outputs that exist already. Without a record, an image that has the name
    and the dimensions of the decoded image may be the original.
    """

    def may_be_source(task: Task) -> bool:
        name, existing = naming.target_name(task.source.name), Path(os.path.realpath(task.target))
        return existing.stem.casefold() == Path(name).stem.casefold() and _has_dimensions(existing, task.source)

    return ExistingOutputs(
        _settings_text(options),
        options.force,
        options.adopt,
        options.overwrites_source,
        options.dry_run,
        may_be_source,
        notify=lambda notice: echo(f"dfm: {notice}", err=True),
        report=report,
    )


def _has_dimensions(image: Path, source: Path) -> bool:
    """Indicates whether an image file has the width and height of a `.dfm` file, upright or turned;
    also where they cannot be read.
    """
    import PIL.Image

    from dfmcodec.container.header import read_header

    try:
        header = read_header(source.read_bytes())
        with PIL.Image.open(image) as opened:
            return {opened.width, opened.height} == {header.width, header.height}
    except Exception:  # whatever it is, the decoding reports it
        return True


def _check_names(options: _Options) -> None:
    """Raises an error if the arguments are in the order of other tools.

    Raises:
        ConfigError: An input has the name of an output.
    """
    from dfmcodec.image.write_image import OUTPUT_FORMATS

    suffixes = [suffix for output in OUTPUT_FORMATS.values() for suffix in output.extensions]
    for source in options.sources[1:]:
        if source.suffix.lower() in suffixes and not os.path.isdir(source):
            msg = f"{source} is the name of an output, not of a .dfm file; name outputs with -o {source}"
            raise ConfigError(msg)


def _check_sandbox(options: _Options) -> None:
    """Raises an error if --sandbox is not possible.

    Raises:
        ConfigError: The system or another option does not support it.
    """
    from dfmcodec.cli._sandbox import check_available

    check_available()
    if options.backend != "numpy":
        msg = f"--sandbox allows no threads, which --backend {options.backend} needs; leave one of them out"
        raise ConfigError(msg)


def _settings_text(options: _Options) -> str:
    """Returns the settings that determine the outputs besides the files, as text for the report."""
    names = ("format_name", "quality", "scale", "size", "region", "best_effort", "backend")
    stripped = {"strip": sorted(options.strip)} if options.strip else {}
    return json_text({name: getattr(options, name) for name in names} | stripped)


def _naming(output: OutputFormat) -> Naming:
    """Returns the rules for names: a.dfm and a.png.dfm both become a.png."""

    def target_name(name: str) -> str:
        stem = name[: -len(_EXTENSION)] if name.lower().endswith(_EXTENSION) else name
        return stem if stem.lower().endswith(output.extensions) else stem + output.extensions[0]

    def is_output(path: Path) -> bool:
        return path.suffix.lower() in output.extensions

    return Naming(_is_dfm, is_output, target_name, lambda *_: "decode them one by one, with -o, or rename one")


def _decode_single(options: _Options) -> None:
    from dfmcodec.image.write_image import OUTPUT_FORMATS, check_quality, output_format

    started = time.perf_counter()
    (source,) = options.sources
    naming = _naming(OUTPUT_FORMATS[options.format_name or "png"])
    task = naming.single_task(source, options.output)
    output = task.target
    if options.output is None and output == source != STANDARD:
        msg = f"{source} is the name of a decoded image; name a .dfm file, or the output with -o"
        raise ConfigError(msg)
    check_outputs_apart({"-o": output, "--report": options.report_path}, [source, options.generator])
    to_stdout = output == STANDARD
    by_name = "or name the format with --format"
    chosen_format = output_format(None if to_stdout else output, options.format_name, by_name)
    check_quality(chosen_format, options.quality)
    settings = _settings_text(options)
    with report_file(options.report_path, settings, options.dry_run) as report:
        existing = _existing(options, naming, report)
        decision = decided(task, existing, options.dry_run, options.as_json, options.quiet)
        if decision is None:
            return
        origin = Origin.of(source, settings)
        state = {} if report is None else report.state(source)
        data = read_source(source)
        figures, written = _decode_output(data, display_name(source), options, chosen_format)
        losses = figures["lost"]
        status, error = (FAILED, "; ".join(losses)) if losses else (DONE, None)
        write_one(task, written, decision.checked(output, written), origin, status)
        seconds = time.perf_counter() - started
        if report is not None:
            row = {"output": str(output), "status": status, **_row(data, written, seconds), "error": error}
            report.add({**state, **row})
    for loss in losses:
        echo(f"dfm: {display_name(source)}: {loss}", err=True)
    if not options.quiet:
        for notice in _notices(figures, chosen_format, str(output)):
            echo(f"dfm: {notice}", err=True)
    if options.as_json:
        names = {"input": str(source), "output": str(output)}
        echo_json({**names, **_report(figures, seconds), "status": status}, err=to_stdout)
    elif not options.quiet:
        echo(_line(output, figures, seconds), err=to_stdout)
    if losses:
        sys.exit(FormatError.exit_code)


def _is_dfm(path: Path) -> bool:
    return path.suffix.lower() == _EXTENSION


def _decode(data: bytes, name: str, options: _Options, output: OutputFormat) -> tuple[Image, list[str]]:
    """Decodes an image and returns it with the losses of a truncated or damaged file."""
    from dfmcodec.codecs.decode import DecodeRequest, decode_best_effort, decode_image
    from dfmcodec.container.header import read_header
    from dfmcodec.image.region import Region
    from dfmcodec.image.write_image import check_holds, check_size

    generator = read_generator(options.generator)
    with errors_named(name):
        header = read_header(data, options.max_pixels)
        check_holds(output, header.bit_depth, header.has_alpha)
        shown = Region(0, 0, header.height, header.width)
        if options.region is not None:
            left, top, width, height = options.region
            shown = Region(top, left, top + height, left + width)
        region = None if options.region is None else shown
        size = None if options.size is None else _complete_size(options.size, shown)
        if options.scale is None:  # with a scale, the size is known only after decoding the header
            width, height = size or (shown.width, shown.height)
            check_size(output, height, width)
        where = region, options.scale, size
        request = DecodeRequest(options.backend, options.max_pixels, *where, generator, options.max_multiply_adds)
        return decode_best_effort(data, request) if options.best_effort else (decode_image(data, request), [])


def _complete_size(size: tuple[int | None, int | None], region: Region) -> tuple[int, int]:
    """Returns width and height. A missing value follows from the region's aspect ratio."""
    width, height = size
    if width is None:
        width = max(1, round((height or 1) * region.width / max(1, region.height)))
    if height is None:
        height = max(1, round(width * region.height / max(1, region.width)))
    return width, height


def _decode_output(data: bytes, name: str, options: _Options, output: OutputFormat) -> tuple[dict[str, Any], bytes]:
    """Decodes a file and returns its figures as plain values and the bytes of the output, in a
    sandbox if requested.
    """
    make = partial(_decode_here, data, name, options, output)
    if not options.sandbox:
        return make()
    from dfmcodec.cli._sandbox import Limits, call

    return call(make, Limits.of_image(options.max_pixels, options.max_multiply_adds))


def _decode_here(data: bytes, name: str, options: _Options, output: OutputFormat) -> tuple[dict[str, Any], bytes]:
    """Does the work of `_decode_output` in this process."""
    from dfmcodec.image.strip import stripped
    from dfmcodec.image.write_image import image_to_bytes, left_out

    notices: list[str] = []
    image, losses = _decode(data, name, options, output)
    image = replace(image, metadata=stripped(image.metadata, options.strip, notices.append))
    figures = {
        "width": image.width,
        "height": image.height,
        "channels": image.channels,
        "bit_depth": image.bit_depth,
        "alpha": image.alpha is not None,
        "lost": losses,
        "left_out": left_out(image, output),
        "notices": notices,
    }
    return figures, image_to_bytes(image, output, options.quality)


def _notices(figures: dict[str, Any], output: OutputFormat, name: str) -> list[str]:
    lost = ", ".join(figures["left_out"])
    not_held = [f"left out {lost}, which such a {output.name} file cannot hold"] if lost else []
    return [f"{name}: {notice}" for notice in figures["notices"] + not_held]


def _report(figures: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Returns the report as plain values for JSON."""
    shown = {name: value for name, value in figures.items() if name not in ("left_out", "notices")}
    return {**shown, "seconds": round(seconds, 3)}


def _row(data: bytes, written: bytes, seconds: float) -> dict[str, Any]:
    """The figures of the report file."""
    digest = hashlib.sha256(written).hexdigest()
    sizes = {"bytes_before": len(data), "bytes_after": len(written)}
    return {**sizes, "output_sha256": digest, "seconds": round(seconds, 3)}


def _line(output: Path, figures: dict[str, Any], seconds: float) -> str:
    """Returns the report as text."""
    return f"{output_name(output)}: {figures['width']}x{figures['height']}, {seconds:.2f} s"


def _decode_task(options: _Options, output: OutputFormat, task: Task, decision: Decision) -> _batch.TaskResult:
    from dfmcodec.files.atomic import read_file

    started = time.perf_counter()
    origin = Origin.of(task.source, _settings_text(options))
    data = read_file(task.source)
    figures, written = _decode_output(data, str(task.source), options, output)
    losses = figures["lost"]
    status = FAILED if losses else DONE
    write_recorded(task.target, written, decision.checked(task.target, written), origin, status)
    seconds = time.perf_counter() - started
    row = _row(data, written, seconds)
    if losses:
        error = f"{task.source}: {'; '.join(losses)}; written as {task.target}"
        return _batch.TaskResult(None, "", error=error, row=row)
    report = {"input": str(task.source), "output": str(task.target), **_report(figures, seconds)}
    notices = tuple(_notices(figures, output, str(task.target)))
    return _batch.TaskResult(report, _line(task.target, figures, seconds), notices, row=row)
