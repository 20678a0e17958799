"""`dfm encode`."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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

if TYPE_CHECKING:
    from dfmcodec.encoder import EncoderConfig, EncodeReport, EncodeResult, Progress
    from dfmcodec.writing import OutputFormat

    IntParam = click.ParamType[int]
else:
    IntParam = click.ParamType  # not subscriptable in older versions of click


class _Size(IntParam):
    """Bytes: 20000, 20k (1000 bytes) or 20Ki (1024)."""

    name = "size"
    _UNITS: ClassVar[dict[str, int]] = {"": 1, "k": 1000, "m": 1000**2, "ki": 1024, "mi": 1024**2}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(|k|m|ki|mi)b?", str(value).lower())
        if match is None:
            self.fail(f"{value!r} is not a size; write bytes as 20000, 20k or 20Ki", param, ctx)
        return int(float(match[1]) * self._UNITS[match[2]])


@click.command("encode")
@sources_argument
@output_option("File to write, - for standard output. Default: FILE with .dfm.")
@folder_option
@recursive_option
@processes_option
@click.option("--rate", type=float, help="Target: largest size as a fraction of the raw bytes. Default: 0.18.")
@click.option("--bpp", type=float, help="Target: largest size in bits per pixel.")
@click.option("--size", type=_Size(), help="Target: largest size in bytes; 20k and 20Ki are understood.")
@click.option("--psnr", type=float, help="Target: least PSNR in dB.")
@click.option("--quality", type=float, help="Target: 0 to 100; latent model only.")
@click.option("--lmbda", type=float, help="Target: least MSE + LMBDA * bpp, MSE in [0, 1]; latent model only.")
@click.option(
    "--model",
    type=click.Choice(["latent", "coordinate"]),
    default="latent",
    show_default=True,
    help="latent: small files; coordinate: the published Deep Fourier Machine.",
)
@click.option(
    "--effort", type=int, default=5, show_default=True, help="1 (fastest) to 9 (smallest); latent model, not --prior."
)
@click.option(
    "--recipe",
    type=click.Choice(["default", "published"]),
    default="default",
    show_default=True,
    help="How to train (coordinate); published: Adam, 4e-4, batches of 2^14, variance 2e-10.",
)
@click.option("--depth", type=int, help="Number of Fourier layers (coordinate). Default: by the target.")
@click.option("--width", type=int, help="Dimension between layers (coordinate). Default: by the target.")
@click.option("--order", type=int, help="Largest |k|_1 (coordinate). Default: all of {0,1}^m, as published.")
@click.option("--steps", type=int, help="Gradient steps (coordinate). Default: 4000 (published: 2000).")
@click.option("--time-limit", "time_limit_s", type=float, metavar="SECONDS", help="Ends the fit after so long.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the initial weights and batches.")
@click.option("--strip", is_flag=True, help="Leave ICC profile, Exif and XMP out.")
@click.option("--page", type=int, help="Of a file of several pages or frames, from 1. Default: the first.")
@prior_option
@max_pixels_option
@click.option("--preview", type=click.Path(path_type=Path), help="Write the decoded picture there too.")
@force_option
@json_option
@quiet_option
@click.option("-v", "--verbose", is_flag=True, help="Say more about the network and the fit.")
def command(
    sources: tuple[Path, ...],
    output: Path | None,
    folder: Path | None,
    recursive: bool,
    processes: int,
    force: bool,
    strip: bool,
    page: int | None,
    prior: Path | None,
    max_pixels: int,
    preview: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Encode pictures to .dfm files.

    \b
    dfm encode photo.png                          photo.dfm, at most 18 % of the raw bytes
    dfm encode photo.png -o small.dfm --size 20k  at most 20,000 bytes
    dfm encode photo.png --psnr 38                at least 38 dB
    dfm encode photo.png --quality 80 --effort 1  fast
    dfm encode digit.png --prior digits.dfmg      a code of a generative model, the smallest file there can be
    dfm encode photos/ -r -O out/ -j 2            a whole tree, two files at a time
    cat a.jpg | dfm encode - -o - > a.dfm         through pipes

    Any picture that Pillow opens: gray or colour of 8 or 16 bits, with opacity (kept without loss), upright, its ICC
    profile, Exif and XMP kept. A size target is a hard limit for the whole file. Ctrl-C once ends the fit and writes
    the best so far; twice writes nothing. Of several files, those that are there already are left alone unless -f,
    and one that fails does not stop the rest (exit code 5).
    """
    from dfmcodec.encoder import EncoderConfig
    from dfmcodec.errors import ConfigError
    from dfmcodec.io import EXTENSION

    chosen = _Options(EncoderConfig(**options), strip, page, max_pixels, prior)
    if prior is not None and chosen.config.model != "latent":
        msg = f"--prior is a model of its own; drop --model {chosen.config.model}"
        raise ConfigError(msg)
    generator_of(prior)  # or the error of all files
    if not _batch.check_single(sources, output, folder):
        if preview is not None:
            msg = "--preview is for one file"
            raise ConfigError(msg)
        _encode_several(sources, folder, recursive, processes, force, chosen, as_json, quiet)
        return
    (source,) = sources
    output = output or (STANDARD if source == STANDARD else derived_output(source, EXTENSION))
    check_output(output, force)
    preview_format = _checked_preview(preview, force)
    show = sys.stderr.isatty() and not quiet
    with _interruptible() as stopped:
        try:
            result = _encoded(
                source,
                chosen,
                (lambda notice: None) if quiet else _tell,
                _show_progress if show else lambda progress: None,
                stopped,
            )
        finally:
            if show:
                click.echo("\r\x1b[K", nl=False, err=True)
    write_output(output, result.data, force)
    if preview is not None and preview_format is not None:
        from dfmcodec.writing import image_to_bytes

        write_output(preview, image_to_bytes(result.decoded, preview_format), force)
    to_stderr = output == STANDARD
    if not quiet and (restarted := _restarted(result.report)):
        _tell(restarted)
    if as_json:
        echo_json({"output": str(output), **result.report.as_dict()}, to_stderr)
    elif not quiet:
        _echo_report(output, result.report, verbose, to_stderr)


@dataclass(frozen=True)
class _Options:
    """What holds for every file of a run."""

    config: EncoderConfig
    strip: bool
    page: int | None
    max_pixels: int
    prior: Path | None


def _tell(notice: str) -> None:
    click.echo(f"dfm: {notice}", err=True)


def _checked_preview(preview: Path | None, force: bool) -> OutputFormat | None:
    if preview is None:
        return None
    from dfmcodec.writing import output_format

    check_output(preview, force)
    return output_format(preview, None)


def _encoded(
    source: Path,
    options: _Options,
    notify: Callable[[str], None],
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> EncodeResult:
    from dfmcodec.encoder import encode_image
    from dfmcodec.reading import image_of

    image = image_of(read_source(source), name_of(source), options.max_pixels, options.strip, options.page, notify)
    return encode_image(image, options.config, on_progress, should_stop, generator_of(options.prior))


def _encode_several(
    sources: tuple[Path, ...],
    folder: Path | None,
    recursive: bool,
    processes: int,
    force: bool,
    options: _Options,
    as_json: bool,
    quiet: bool,
) -> None:
    from dfmcodec.io import EXTENSION
    from dfmcodec.reading import PICTURE_SUFFIXES

    def is_picture(path: Path) -> bool:
        return path.suffix.lower() in PICTURE_SUFFIXES

    batch = _batch.collect(sources, folder, recursive, force, is_picture, EXTENSION)
    with _interruptible() as stopped:
        _batch.run(batch, partial(_encode_task, options, force), processes, "encoded", as_json, quiet, stopped)


def _encode_task(options: _Options, force: bool, task: _batch.Task) -> _batch.Done:
    from dfmcodec.io import write_atomic

    notices: list[str] = []
    result = _encoded(task.source, options, notices.append)
    write_atomic(task.target, result.data, force)
    if restarted := _restarted(result.report):
        notices.append(f"{task.source}: {restarted}")
    report = {"input": str(task.source), "output": str(task.target), **result.report.as_dict()}
    return _batch.Done(report, _line(task.target, result.report), tuple(notices))


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C makes the yielded function true; the second raises KeyboardInterrupt."""
    pressed = False

    def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        click.echo("\ndfm: ending the fit, the best so far will be written; Ctrl-C again to abort", err=True)

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, previous)


def _show_progress(progress: Progress) -> None:
    width = 24
    bar = ("#" * round(width * progress.part)).ljust(width, ".")
    line = (
        f"{bar} {100 * progress.part:3.0f} %  step {progress.steps}  {progress.what}  "
        f"{progress.seconds_left:.0f} s left"
    )
    click.echo(f"\r{line}\x1b[K", nl=False, err=True)


def _line(output: Path, report: EncodeReport) -> str:
    metadata = report.section_bytes.get("metadata", 0)
    beside = f", {metadata} of them metadata" if metadata else ""
    return (
        f"{output}: {report.file_bytes} bytes{beside}, rate {report.rate:.4f}, {report.bpp:.3f} bpp, "
        f"PSNR {report.psnr_db:.2f} dB, {report.total_s:.1f} s"
    )


def _restarted(report: EncodeReport) -> str:
    """What to say of restarts; empty where there were none."""
    if not report.restarts:
        return ""
    times = "once" if report.restarts == 1 else f"{report.restarts} times"
    return f"the fit came to values that are not numbers and went on from the best so far, {times}"


def _echo_report(output: Path, report: EncodeReport, verbose: bool, err: bool) -> None:
    click.echo(_line(output, report), err=err)
    if report.stop_reason not in ("done", "steps", "time limit"):
        click.echo(f"dfm: the fit ended early: {report.stop_reason}", err=True)
    if verbose:
        lines = [
            f"  network   {describe_architecture(report.architecture)}",
            f"  fit       {report.steps} steps in {report.fit_s:.1f} s ({report.stop_reason})",
            f"  rate      estimated {report.estimated_bytes:.0f} bytes",
            "  bytes     " + ", ".join(f"{name} {size}" for name, size in report.section_bytes.items()),
        ]
        if report.float_psnr_db is not None:
            weights = f"{report.bits_per_weight:.2f} bits each; {report.float_psnr_db:.2f} dB as floats"
            lines.insert(2, f"  weights   {weights}")
        click.echo("\n".join(lines), err=err)
