"""`dfm encode`."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

import click

from dfmcodec.cli._common import (
    derived_output,
    describe_architecture,
    echo_json,
    force_option,
    input_argument,
    json_option,
    output_option,
    quiet_option,
)

if TYPE_CHECKING:
    from dfmcodec.encoder import EncodeReport, Progress

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
@input_argument
@output_option("File to write. Default: FILE with .dfm.")
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
@click.option("--effort", type=int, default=5, show_default=True, help="1 (fastest) to 9 (smallest); latent model.")
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
@force_option
@json_option
@quiet_option
@click.option("-v", "--verbose", is_flag=True, help="Say more about the network and the fit.")
def command(
    source: Path,
    output: Path | None,
    force: bool,
    strip: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Encode a picture to a .dfm file.

    \b
    dfm encode photo.png                          photo.dfm, at most 18 % of the raw bytes
    dfm encode photo.png -o small.dfm --size 20k  at most 20,000 bytes
    dfm encode photo.png --psnr 38                at least 38 dB
    dfm encode photo.png --quality 80 --effort 1  fast

    A size target is a hard limit for the whole file. Ctrl-C once ends the fit and writes the best so far;
    twice writes nothing.
    """
    from dfmcodec.encoder import EncoderConfig, encode_image
    from dfmcodec.io import EXTENSION, check_writable, read_image, write_atomic

    config = EncoderConfig(**options)
    output = output or derived_output(source, EXTENSION)
    check_writable(output, force)
    image = read_image(source, strip=strip)
    show = sys.stderr.isatty() and not quiet
    with _interruptible() as stopped:
        result = encode_image(image, config, _show_progress if show else lambda progress: None, stopped)
    if show:
        click.echo("\r\x1b[K", nl=False, err=True)
    write_atomic(output, result.data)
    if as_json:
        echo_json({"output": str(output), **result.report.as_dict()})
    elif not quiet:
        _echo_report(output, result.report, verbose)


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


def _echo_report(output: Path, report: EncodeReport, verbose: bool) -> None:
    click.echo(
        f"{output}: {report.file_bytes} bytes, rate {report.rate:.4f}, {report.bpp:.3f} bpp, "
        f"PSNR {report.psnr_db:.2f} dB, {report.total_s:.1f} s"
    )
    if report.stop_reason not in ("done", "steps", "time limit"):
        click.echo(f"dfm: the fit ended early: {report.stop_reason}", err=True)
    if verbose:
        click.echo(f"  network   {describe_architecture(report.architecture)}")
        click.echo(f"  fit       {report.steps} steps in {report.fit_s:.1f} s ({report.stop_reason})")
        if report.float_psnr_db is not None:
            click.echo(f"  weights   {report.bits_per_weight:.2f} bits each; {report.float_psnr_db:.2f} dB as floats")
        click.echo(f"  rate      estimated {report.estimated_bytes:.0f} bytes")
        click.echo("  bytes     " + ", ".join(f"{name} {size}" for name, size in report.section_bytes.items()))
