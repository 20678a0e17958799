"""`dfm encode`."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

import click

from dfmcodec.cli import _batch
from dfmcodec.cli._common import (
    STANDARD,
    check_output,
    derived_output,
    describe_architecture,
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

if TYPE_CHECKING:
    from dfmcodec.encoder import EncoderConfig, EncodeReport, EncodeResult, Progress
    from dfmcodec.files.write_image import OutputFormat

    IntParam = click.ParamType[int]
else:
    IntParam = click.ParamType  # not subscriptable in older versions of click

_BAR_WIDTH = 24
_STEP_UNITS = {
    "coordinate": "training steps",
    "latent": "iterations",
    "fitted": "steps",
    "generative": "codes",
}  # by model
_EARLY_ENDS = ("interrupted", "diverged")  # stop reasons to report


class _Size(IntParam):
    """A number of bytes: 20000, 20k (1000 bytes each) or 20Ki (1024)."""

    name = "size"
    _UNITS: ClassVar[dict[str, int]] = {"": 1, "k": 1000, "m": 1000**2, "ki": 1024, "mi": 1024**2}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(|k|m|ki|mi)b?", str(value).lower())
        if match is None:
            self.fail(f"{value!r} is not a size; write bytes as 20000, 20k or 20Ki", param, ctx)
        return int(float(match[1]) * self._UNITS[match[2]])


@dataclass(frozen=True)
class _Options:
    """The arguments of the command.

    Args:
        config: The settings of the encoder.
        sources: Files and folders.
        output: The output of one file.
        folder: The folder for the outputs of several files.
        recursive: Whether to process subfolders too.
        processes: The number of files to process at a time.
        strip: Whether to leave out ICC profile, Exif and XMP.
        page: The page or frame to encode, counted from 1; None for the first.
        prior: The file of a generative model.
        max_pixels: Images with more pixels are refused.
        preview: The file for the decoded image.
        force: Whether to overwrite outputs.
        as_json: Whether to print the report as JSON.
        quiet: Whether to print errors only.
        verbose: Whether to print more about the model and the fit.
    """

    config: EncoderConfig
    sources: tuple[Path, ...]
    output: Path | None
    folder: Path | None
    recursive: bool
    processes: int
    strip: bool
    page: int | None
    prior: Path | None
    max_pixels: int
    preview: Path | None
    force: bool
    as_json: bool
    quiet: bool
    verbose: bool


@click.command("encode")
@sources_argument
@output_option("Output file; - is standard output. Default: FILE with the extension .dfm.")
@folder_option
@recursive_option
@processes_option
@click.option("--rate", type=float, help="Target: maximum size as a fraction of the raw bytes. Default: 0.18.")
@click.option("--bpp", type=float, help="Target: maximum size in bits per pixel.")
@click.option("--size", type=_Size(), help="Target: maximum size in bytes, such as 20000, 20k or 20Ki.")
@click.option("--psnr", type=float, help="Target: minimum PSNR in dB.")
@click.option("--quality", type=float, help="Target: quality from 0 to 100 (not for the coordinate model).")
@click.option(
    "--lmbda",
    type=float,
    help="Target: minimise MSE + LMBDA * bpp, with the MSE of samples in [0, 1] (not for the coordinate model).",
)
@click.option(
    "--model",
    type=click.Choice(["auto", "latent", "fitted", "coordinate"]),
    default="auto",
    show_default=True,
    help="Model to fit: latent takes seconds; fitted takes minutes, for smaller files; coordinate is the published "
    "Deep Fourier Machine. auto: latent; from effort 7 on and up to 4 megapixels, the better of latent and fitted.",
)
@click.option(
    "--effort",
    type=int,
    default=5,
    show_default=True,
    help="From 1 (fastest) to 9 (smallest files); latent and fitted models, without --prior.",
)
@click.option(
    "--recipe",
    type=click.Choice(["default", "published"]),
    default="default",
    show_default=True,
    help="How to train the coordinate model. published: Adam, 4e-4, batches of 2^14, variance 2e-10.",
)
@click.option("--depth", type=int, help="Number of Fourier layers (coordinate model). Default: set by the target.")
@click.option("--width", type=int, help="Dimension between layers (coordinate model). Default: set by the target.")
@click.option(
    "--order", type=int, help="Largest |k|_1 (coordinate model). Default: unlimited, all of {0,1}^m, as published."
)
@click.option(
    "--steps",
    type=int,
    help="Steps of the fit (fitted or coordinate model). Default: by the effort; coordinate 4000 (published: 2000).",
)
@click.option(
    "--time-limit", "time_limit_s", type=float, metavar="SECONDS", help="End the fit after this many seconds."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of the initial weights and the batches of pixels."
)
@click.option("--strip", is_flag=True, help="Leave out ICC profile, Exif and XMP.")
@click.option("--page", type=int, help="Page or frame to encode, counted from 1. Default: the first.")
@prior_option
@max_pixels_option
@click.option("--preview", type=click.Path(path_type=Path), help="Also write the decoded image to this file.")
@force_option
@json_option
@quiet_option
@click.option("-v", "--verbose", is_flag=True, help="Print more about the model and the fit.")
def command(**arguments: Any) -> None:
    """Encode images to .dfm files.

    \b
    dfm encode photo.png                          photo.dfm, at most 18 % of the raw bytes
    dfm encode photo.png -o small.dfm --size 20k  at most 20,000 bytes
    dfm encode photo.png --psnr 38                at least 38 dB
    dfm encode photo.png --quality 80 --effort 1  fast
    dfm encode digit.png --prior digits.dfmg      the smallest files: codes of a generative model
    dfm encode photos/ -r -O out/ -j 2            a folder and its subfolders, two files at a time
    cat a.jpg | dfm encode - -o - > a.dfm         through pipes

    Any image that Pillow opens can be encoded: gray or RGB, 8 or 16 bits, with or without alpha.
    Alpha is lossless. The image is turned upright, and its ICC profile, Exif and XMP are kept. Give
    at most one target. A maximum size is a hard limit for the whole file.

    Only --model fitted and coordinate, --prior, and --effort 7 to 9, which try fitted, import JAX.
    The encoder of the latent model runs on NumPy alone.

    Press Ctrl-C once to end the fit and write the best result so far, or twice to write nothing.
    With several files, existing outputs are kept unless -f is given, and a file that fails does not
    stop the others (exit code 5).
    """
    from dfmcodec.encoder import EncoderConfig
    from dfmcodec.errors import ConfigError

    config = EncoderConfig(**{field.name: arguments.pop(field.name) for field in fields(EncoderConfig)})
    options = _Options(config, **arguments)
    if options.prior is not None and config.model != "auto":
        msg = f"--prior is a model of its own; drop --model {config.model}"
        raise ConfigError(msg)
    read_generator(options.prior)  # report a bad model once, not for each file
    if _batch.is_single(options.sources, options.output, options.folder):
        _encode_single(options)
    elif options.preview is not None:
        msg = "--preview is for a single file"
        raise ConfigError(msg)
    else:
        _encode_batch(options)


def _encode_single(options: _Options) -> None:
    from dfmcodec.files.atomic import EXTENSION
    from dfmcodec.files.write_image import image_to_bytes

    (source,) = options.sources
    output = options.output or (STANDARD if source == STANDARD else derived_output(source, EXTENSION))
    check_output(output, options.force)
    preview_format = _checked_preview_format(options)
    shows_progress = sys.stderr.isatty() and not options.quiet
    notify = _ignore if options.quiet else _echo_notice
    with _interruptible() as is_interrupted:
        try:
            result = _encode(source, options, notify, _show_progress if shows_progress else _ignore, is_interrupted)
        finally:
            if shows_progress:
                click.echo("\r\x1b[K", nl=False, err=True)
    write_output(output, result.data, options.force)
    if options.preview is not None and preview_format is not None:
        write_output(options.preview, image_to_bytes(result.decoded, preview_format), options.force)
    to_stdout = output == STANDARD
    if not options.quiet and (notice := _restart_notice(result.report)):
        _echo_notice(notice)
    if options.as_json:
        echo_json({"output": str(output), **result.report.as_dict()}, err=to_stdout)
    elif not options.quiet:
        _echo_report(output, result.report, options.verbose, err=to_stdout)


def _encode_batch(options: _Options) -> None:
    from dfmcodec.files.atomic import EXTENSION
    from dfmcodec.files.read_image import IMAGE_SUFFIXES

    def is_image(path: Path) -> bool:
        return path.suffix.lower() in IMAGE_SUFFIXES

    batch = _batch.collect(options.sources, options.folder, options.recursive, options.force, is_image, EXTENSION)
    with _interruptible() as is_interrupted:
        work = _batch.Work(partial(_encode_task, options), options.processes, "encoded", is_interrupted)
        _batch.run(batch, work, options.as_json, options.quiet)


def _encode_task(options: _Options, task: _batch.Task) -> _batch.TaskResult:
    from dfmcodec.files.atomic import write_atomic

    notices: list[str] = []
    result = _encode(task.source, options, notices.append)
    write_atomic(task.target, result.data, options.force)
    if notice := _restart_notice(result.report):
        notices.append(f"{task.source}: {notice}")
    report = {"input": str(task.source), "output": str(task.target), **result.report.as_dict()}
    return _batch.TaskResult(report, _line(task.target, result.report), tuple(notices))


def _ignore(_: object) -> None:
    """Takes notices or progress that nobody wants to see."""


def _encode(
    source: Path,
    options: _Options,
    notify: Callable[[str], None],
    on_progress: Callable[[Progress], None] = _ignore,
    should_stop: Callable[[], bool] = lambda: False,
) -> EncodeResult:
    from dfmcodec.encoder import encode_image
    from dfmcodec.files.read_image import image_from_bytes

    data, name = read_source(source), display_name(source)
    image = image_from_bytes(data, name, options.max_pixels, options.strip, options.page, notify)
    return encode_image(image, options.config, on_progress, should_stop, read_generator(options.prior))


def _checked_preview_format(options: _Options) -> OutputFormat | None:
    """The format of the preview, after checking that it can be written."""
    if options.preview is None:
        return None
    from dfmcodec.files.write_image import output_format

    check_output(options.preview, options.force)
    return output_format(options.preview, None)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Yields a function that tells whether Ctrl-C was pressed; a second press raises
    KeyboardInterrupt.
    """
    is_pressed = False

    def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
        nonlocal is_pressed
        if is_pressed:
            raise KeyboardInterrupt
        is_pressed = True
        click.echo("\ndfm: ending the fit to write the best result so far; press Ctrl-C again to abort", err=True)

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: is_pressed
    finally:
        signal.signal(signal.SIGINT, previous)


def _echo_notice(notice: str) -> None:
    click.echo(f"dfm: {notice}", err=True)


def _show_progress(progress: Progress) -> None:
    bar = ("#" * round(_BAR_WIDTH * progress.part)).ljust(_BAR_WIDTH, ".")
    line = (
        f"{bar} {100 * progress.part:3.0f} %  step {progress.steps}  {progress.what}  "
        f"{progress.seconds_left:.0f} s left"
    )
    click.echo(f"\r{line}\x1b[K", nl=False, err=True)


def _line(output: Path, report: EncodeReport) -> str:
    """The report for people."""
    metadata_bytes = report.section_bytes.get("metadata", 0)
    metadata = f", {metadata_bytes} of them metadata" if metadata_bytes else ""
    return (
        f"{output}: {report.file_bytes} bytes{metadata}, rate {report.rate:.4f}, {report.bpp:.3f} bpp, "
        f"PSNR {report.psnr_db:.2f} dB, {report.total_s:.1f} s"
    )


def _restart_notice(report: EncodeReport) -> str:
    """A message about restarts; empty if there were none."""
    if not report.restarts:
        return ""
    times = "once" if report.restarts == 1 else f"{report.restarts} times"
    return f"the fit met NaN or infinite values and restarted from its best result so far, {times}"


def _echo_report(output: Path, report: EncodeReport, verbose: bool, err: bool) -> None:
    click.echo(_line(output, report), err=err)
    if report.stop_reason in _EARLY_ENDS:
        click.echo(f"dfm: the fit ended early: {report.stop_reason}", err=True)
    if verbose:
        unit = _STEP_UNITS[report.architecture.model.value]
        lines = [
            f"  model     {describe_architecture(report.architecture)}",
            f"  fit       {report.steps} {unit} in {report.fit_s:.1f} s ({report.stop_reason})",
            f"  rate      estimated {report.estimated_bytes:.0f} bytes",
            "  bytes     " + ", ".join(f"{name} {size}" for name, size in report.section_bytes.items()),
        ]
        if report.float_psnr_db is not None:
            weights = f"{report.bits_per_weight:.2f} bits each; {report.float_psnr_db:.2f} dB as floats"
            lines.insert(2, f"  weights   {weights}")
        click.echo("\n".join(lines), err=err)
