"""Command `dfm encode`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfmcodec.cli import _options
from dfmcodec.cli._common import STANDARD, image_source, output_name
from dfmcodec.cli._inputs import Naming, RunOptions, Task
from dfmcodec.cli._progress import fit_bar
from dfmcodec.cli._run import DONE, LARGER, MISSED, TaskResult, Work, run
from dfmcodec.cli._sections import SectionedCommand
from dfmcodec.errors import (
    ConfigError,
    CorruptError,
    DivergedError,
    ImageError,
    TargetUnreachableError,
    TruncatedError,
)
from dfmcodec.files.atomic import EXTENSION, read_file
from dfmcodec.options import EncodeSettings, Kind, options_of

if TYPE_CHECKING:
    from dfmcodec.report import EncodeReport, EncodeResult
    from dfmcodec.search.config import EncoderConfig
    from dfmcodec.search.job import Progress


_SECTIONS = {  # sections of the help
    "Targets, at most one": ("quality", "size", "rate", "bpp", "ssimulacra2", "psnr"),
    "Effort and model": ("tune", "texture", "effort", "model", "training_steps", "time_limit_s"),
    "What is read and kept": ("page", "strip", "max_pixels"),
    "Outputs": ("output", "folder", "keeps_extension", "skip_larger", "force", "skip_existing"),
    "Many files": ("recursive", "files_from", "processes", "report_path"),
    "The coordinate codec": ("recipe", "depth", "layer_width"),
    "Messages": ("as_json", "quiet"),
}
_SIZE_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1024, "mi": 1024**2, "gi": 1024**3}


def _size(value: Any) -> int:
    """Parses a file size in bytes: 20000, 20k (1000 bytes each) or 20Ki (1024)."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*(|[kmg]i?)b?", str(value).lower())
    if match is None:
        msg = f"{value!r} is not a size; write bytes as 20000, 20k or 20Ki"
        raise click.BadParameter(msg)
    return int(float(match[1]) * _SIZE_UNITS[match[2]])


def _strength(value: Any) -> float | None:
    """Parses the strength of a texture: auto, off or a number."""
    named = {"auto": None, "off": 0.0}
    text = str(value).strip().lower()
    if text in named:
        return named[text]
    try:
        return float(text)
    except ValueError:
        msg = f"{value!r} is not a strength; write auto, off or a number from 0 to 1"
        raise click.BadParameter(msg) from None


_TYPES: dict[Kind, click.ParamType[Any]] = {
    Kind.NUMBER: _options.number(),
    Kind.FRACTION: _options.number(parse=_options.fraction),
    Kind.INTEGER: _options.INTEGER,
    Kind.SIZE: _options.value_type("size", _size),
    Kind.STRENGTH: _options.value_type("strength", _strength),
}


def settings_options(
    command: Any, settings: type[EncodeSettings] = EncodeSettings, names: Sequence[str] | None = None
) -> Any:
    """Adds options to a command for the declared fields of settings, or for some of them."""
    for name, option, default in reversed([entry for entry in options_of(settings) if entry[1].in_command]):
        if names is not None and name not in names:
            continue
        flags = option.flags or (f"--{name.replace('_', '-')}",)
        given: dict[str, Any] = {"help": option.help, "metavar": option.metavar}
        given["type"] = click.Choice(option.choices) if option.kind is Kind.CHOICE else _TYPES[option.kind]
        given |= {} if default is None else {"default": default, "show_default": True}
        command = click.option(*flags, name, **given)(command)
    return command


@dataclass(frozen=True)
class _Options(RunOptions):
    """The arguments of the command."""

    config: EncoderConfig
    keeps_extension: bool  # whether outputs keep the extension of their source in front of their own
    page: int | None  # the page or frame to encode, counted from 1; None for the first
    skip_larger: bool  # whether to write only files that are smaller than their source
    report_path: Path | None  # the report file, with a row for each file


@click.command("encode", cls=SectionedCommand, sections=_SECTIONS)
@_options.optional_sources
@_options.output_or_folder(
    "Output file, or a folder if it ends with a slash; - is standard output. Default: FILE with .dfm for its extension."
)
@_options.folder
@click.option(
    "--keep-extension",
    "keeps_extension",
    is_flag=True,
    help="Name outputs photo.png.dfm instead of photo.dfm, for folders where names differ in their extensions only.",
)
@_options.recursive
@_options.files_from
@_options.processes
@settings_options
@_options.strip
@click.option("--page", type=_options.INTEGER, help="Page or frame to encode, counted from 1. Default: the first.")
@_options.max_pixels
@click.option("--skip-larger", is_flag=True, help="Write only files that are smaller than their sources.")
@_options.report
@_options.existing_outputs
@_options.json
@_options.quiet
def command(**arguments: Any) -> None:
    """Encode images to .dfm files.

    \b
    dfm encode photo.png                          photo.dfm, at quality 75
    dfm encode photo.png -q 90 --effort 1         better and larger, in less time
    dfm encode photo.png -o small.dfm --size 20k  at most 20,000 bytes
    dfm encode photo.png --rate 18%               at most 18 % of the raw bytes
    dfm encode photo.png --psnr 38                at least 38 dB
    dfm encode photos/ -r -O out/ -j 2            a folder and its subfolders, two files at a time
    dfm encode --files-from list.txt -O out/ --report report.jsonl
    cat a.jpg | dfm encode - -o - > a.dfm         through pipes

    Supported formats are PNG, JPEG, TIFF, WebP, AVIF and others listed in docs/command.md: gray or
    RGB, 8 or 16 bits, with or without alpha. Alpha is lossless. The image is rotated upright. ICC
    profile, Exif and XMP are kept; other metadata is not. Give at most one target. A maximum size
    is a hard limit for the entire file.

    Files that share an output, such as photo.png and photo.jpg with photo.dfm, are not encoded; the
    others are. --keep-extension gives them different outputs.

    --model coordinate needs the package JAX.

    An existing output is refused. -f replaces it; --skip-existing keeps it if it is intact, which
    continues an interrupted run. Ctrl-C discards the file in progress (exit code 130); --time-limit
    gives a result after a given time. If a file fails, the others are still encoded (exit code 5).
    """
    from dfmcodec.search.config import EncoderConfig

    config = EncoderConfig(**{name: arguments.pop(name) for name, option, _ in options_of() if option.in_command})
    options = _options.taken(_Options, arguments, config=config)
    _check_names(options)
    work = Work(partial(_encode_task, options), _is_intact, options, "encoded", "images to encode")
    run(work, _naming(options.keeps_extension), options.report_path)


def _check_names(options: _Options) -> None:
    """Raises an error if an output would replace an image, or if the arguments are in the order of
    other tools.
    """
    from dfmcodec.report import check_name

    output, sources = options.output, options.sources
    for source in sources:
        if source.suffix.lower() != EXTENSION or os.path.isdir(source) or output or options.folder:
            continue
        if len(sources) > 1 and source == sources[-1]:  # other tools take the last argument as the output
            msg = f"{source} is the name of an output, not of an image; name outputs with -o {source}"
        else:
            msg = f"{source} is a .dfm file and would replace itself; name another output with -o, or a folder with -O"
        raise ConfigError(msg)
    if output is not None and not output.is_folder:
        check_name(output.path)


def _naming(keeps_extension: bool) -> Naming:
    from dfmcodec.image.read_image import IMAGE_SUFFIXES

    def is_image(path: Path) -> bool:
        return path.suffix.lower() in IMAGE_SUFFIXES

    def target_name(name: str, _is_beside: bool) -> str:
        is_kept = keeps_extension or not (is_image(Path(name)) or is_output(Path(name)))
        return name + EXTENSION if is_kept else Path(name).with_suffix(EXTENSION).name

    def is_output(path: Path) -> bool:
        return path.suffix.lower() == EXTENSION

    def advice(name: str, other: str) -> str:
        if name == other:
            return "give each its own folder with -O, or rename one"
        return "rename one" if keeps_extension else "--keep-extension distinguishes them, or rename one"

    return Naming(is_image, is_output, target_name, advice)


def _is_intact(path: Path) -> bool:
    """Indicates whether a `.dfm` file is intact. Raises FormatError if it is not such a file, or
    one of a newer version.
    """
    from dfmcodec.container.header import read_header
    from dfmcodec.container.integrity import examine
    from dfmcodec.image import LARGEST_PIXELS

    data = read_file(path)
    try:
        examine(data, read_header(data, LARGEST_PIXELS)).refuse_damage()
    except (CorruptError, TruncatedError):
        return False
    return True


def _encode_task(options: _Options, task: Task) -> TaskResult:
    notices: list[str] = []
    with fit_bar(options.is_single() and not options.quiet) as show:
        encoded = _encode(task.source, options, notices.append, show)
    result, status, exit_code, warning = encoded.result, encoded.status(options.skip_larger), 0, None
    if status == MISSED:
        early = f"the fit ended early ({result.report.stop_reason}), below its target"
        warning = f"{encoded.name}: {early}{_other_codec_remark(result.report)}"
        exit_code = TargetUnreachableError.exit_code
    return TaskResult(
        {**task.names, **result.report.as_dict()},
        encoded.line(task.target, status),
        None if status == LARGER else result.data,
        status,
        (*notices, *_notices(encoded, task.target, status)),
        warning,
        encoded.row(),
        exit_code,
    )


@dataclass(frozen=True)
class _Encoded:
    """Encoded image and its source."""

    result: EncodeResult
    name: str  # of the source, for messages
    source_bytes: int

    def status(self, skips_larger: bool) -> str:
        """Returns a status of the report file."""
        if skips_larger and self.is_larger:
            return LARGER
        return MISSED if self.result.report.missed_target else DONE

    @property
    def is_larger(self) -> bool:
        """Indicates whether the file is not smaller than its source."""
        return self.result.report.file_bytes >= self.source_bytes

    def row(self) -> dict[str, Any]:
        """Returns the values for the report file."""
        report = self.result.report
        return {
            "source_bytes": self.source_bytes,
            "output_bytes": report.file_bytes,
            "psnr_db": round(report.psnr_db, 3) if isfinite(report.psnr_db) else None,
            "ssimulacra2": None if report.ssimulacra2 is None else round(report.ssimulacra2, 2),
            "total_s": round(report.total_s, 3),
        }

    def line(self, output: Path, status: str) -> str:
        """Returns the report as text."""
        report = self.result.report
        quality = f"{report.psnr_db:.2f} dB" if isfinite(report.psnr_db) else "exact"
        if report.ssimulacra2 is not None:
            quality += f", SSIMULACRA2 {report.ssimulacra2:.1f}"
        part = f"{100 * report.file_bytes / max(1, self.source_bytes):.0f} %"
        metadata = report.section_bytes.get("metadata", 0)
        including = f", including {metadata:,} of metadata" if metadata else ""
        target = output_name(output)
        if status == LARGER:
            target = "not written: would be"
        return (
            f"{self.name} {self.source_bytes:,} -> {target} {report.file_bytes:,} bytes ({part}{including}), "
            f"{report.bpp:.3f} bpp, {quality}, {report.total_s:.1f} s"
        )


def _notices(encoded: _Encoded, output: Path, status: str) -> list[str]:
    """Returns messages to print besides the report."""
    report, notices = encoded.result.report, []
    if report.ended_early and status != MISSED:
        notices.append(f"{encoded.name}: the fit ended early ({report.stop_reason}){_other_codec_remark(report)}")
    if report.restarts:
        times = "once" if report.restarts == 1 else f"{report.restarts} times"
        notices.append(f"{encoded.name}: the fit diverged and restarted {times} from its best result so far")
    if status == LARGER:
        kept = "" if output == STANDARD or not output.exists() else "; the file that was there stays"
        notices.append(f"{output} is not written: it would be no smaller than its source{kept}")
    elif encoded.is_larger:
        notices.append(f"{output} is no smaller than its source: {_smaller_by(report)}; --skip-larger leaves it out")
    return notices


def _other_codec_remark(report: EncodeReport) -> str:
    """Returns a remark if the file was written by another codec than the requested one."""
    model = report.architecture.model.value
    is_other = report.config.model not in ("auto", model)
    return f" and did worse than the {model} codec, whose file is written" if is_other else ""


def _smaller_by(report: EncodeReport) -> str:
    """Returns advice on how to make a file smaller."""
    if 2 * report.section_bytes.get("metadata", 0) > report.file_bytes:
        return "most of it is metadata (see --strip)"
    return f"a lower --{report.config.target_name} helps"


def _encode(
    source: Path, options: _Options, notify: Callable[[str], None], on_progress: Callable[[Progress], None]
) -> _Encoded:
    from dfmcodec.codecs.encode import encode_image
    from dfmcodec.codecs.source import image_of_dfm
    from dfmcodec.image.read_image import image_from_source, to_image

    file = image_source(source)
    image = image_of_dfm(file, options.max_pixels, options.page, notify)
    if image is None:
        image = image_from_source(file, options.max_pixels, options.strip, options.page, notify)
    else:
        image = to_image(image, options.strip, notify)
    try:
        result = encode_image(
            image, options.config, on_progress, notify=lambda notice: notify(f"{file.name}: {notice}")
        )
    except (ImageError, TargetUnreachableError, DivergedError) as error:
        raise type(error)(f"{file.name}: {error}") from error  # noqa: EM102
    return _Encoded(result, file.name, file.size_bytes)
