"""Command `dfm bench`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from dfmcodec.cli import _options
from dfmcodec.cli._common import echo, notify
from dfmcodec.cli._failure import SOME_FAILED
from dfmcodec.cli._options import NamedPath
from dfmcodec.cli._progress import FilesBar
from dfmcodec.errors import ConfigError, DfmError, require

if TYPE_CHECKING:
    from dfmcodec.bench.measurement import Target

N = TypeVar("N", int, float)
_RATES = "10%,5%,2.5%,1.25%,0.625%"  # bits at equal quality need three or more


@click.command("bench")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=NamedPath())
@click.option(
    "--vs",
    "anchors",
    metavar="CODECS",
    default="jpeg",
    show_default=True,
    help="Codecs to compare with, separated by commas, or `all` for every installed one.",
)
@click.option(
    "--rate",
    "rates",
    default=_RATES,
    show_default=True,
    help="Sizes of dfm's files as fractions of the raw bytes, such as 0.18 or 18%, separated by commas.",
)
@click.option(
    "--effort",
    "efforts",
    default="5",
    show_default=True,
    help="Efforts of dfm's wavelet and overfitted codecs, separated by commas.",
)
@click.option(
    "--model",
    "models",
    default="wavelet",
    show_default=True,
    help="Models of dfm, separated by commas: wavelet, overfitted, coordinate.",
)
@click.option(
    "--tune",
    "tunes",
    help="What dfm's files are optimised for, separated by commas: visual or psnr. Default: visual, but psnr with a "
    "model that supports nothing else.",
)
@click.option(
    "--codecs-from",
    "codecs_file",
    metavar="FILE",
    type=NamedPath(),
    help="Add the codecs of this Python file, whose code is run. Name only files that you trust.",
)
@click.option(
    "--curves",
    "curves_files",
    metavar="FILE.csv",
    multiple=True,
    type=NamedPath(),
    help="Compare dfm with the rate-distortion curves of this table too (docs/benchmark.md). May be given several "
    "times.",
)
@_options.processes
@click.option("--json", "as_json", is_flag=True, help="Print all figures as one JSON object instead of tables.")
@_options.quiet
def command(
    paths: tuple[Path, ...],
    anchors: str,
    rates: str,
    efforts: str,
    models: str,
    tunes: str | None,
    codecs_file: Path | None,
    curves_files: tuple[Path, ...],
    processes: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare dfm with other codecs on your images, at equal quality and at equal file size.

    \b
    dfm bench --vs jpeg photos/
    dfm bench --vs avif,jxl,jpeg photos/
    dfm bench --effort 1,5,9 --vs avif photo.png
    dfm bench --tune psnr --curves vtm.csv photos/

    dfm encodes every image at every rate. Each other codec then encodes it with the best quality
    whose file is not larger. The first table shows dfm's bits relative to each codec at equal
    SSIMULACRA2, PSNR, and Butteraugli if libjxl's command butteraugli_main is on the PATH. It needs
    three rates. The second table shows quality at equal size, and seconds. A PATH is an image or a
    folder of images.

    Codecs: jpeg, webp, avif, jpeg2000 (Pillow), jxl (pip install 'dfmcodec[bench]').

    The exit code is 5 if some measurements failed. If all failed, it is 1.
    """
    from dfmcodec.bench.codecs import ANCHORS
    from dfmcodec.bench.curves import read_curves
    from dfmcodec.bench.measurement import DFM
    from dfmcodec.bench.report import as_dict, as_text
    from dfmcodec.bench.runner import Plan, image_names, run

    names = image_names(paths)
    for path in paths:
        _check_present(path)
    require("dfm bench", "scipy")
    installed = tuple(codec.name for codec in ANCHORS if codec.missing() is None)
    vs = installed if anchors == "all" else _split(anchors)
    plan = Plan(paths, _targets(models, efforts, rates, tunes), vs, codecs_file, processes)
    labels = [DFM, *(codec.label for codec in plan.codecs())]
    plan = replace(plan, curves=read_curves(curves_files, names, labels))
    notify(f"{len(names)} images to encode at {len(plan.targets)} rates and settings", quiet or not names)
    bar = FilesBar(len(names), not quiet)
    with closing(bar):
        comparison = run(plan, bar.done, lambda notice: None if quiet else bar.notify(notice))
    has_tables = bool(comparison.measurements) and not as_json and not quiet
    if as_json:
        click.echo(json.dumps(as_dict(comparison), allow_nan=False))
    elif has_tables:
        for line in as_text(comparison).split("\n"):
            echo(line)
    if not has_tables:
        for failure in comparison.failures:
            notify(f"{'' if comparison.measurements else 'error: '}{failure.name}: {failure.error}")
    if comparison.failures:
        sys.exit(SOME_FAILED if comparison.measurements else DfmError.exit_code)


def _split(text: str) -> tuple[str, ...]:
    return tuple(item for part in text.split(",") if (item := part.strip()))


def _targets(models: str, efforts: str, rates: str, tunes: str | None) -> tuple[Target, ...]:
    """Returns all combinations of the values, checked like the settings of an encoding. Without
    tunes, all codecs use the one that all of them support.
    """
    from dfmcodec.bench.measurement import Target
    from dfmcodec.models import VISUAL_BY_DEFAULT, has_option
    from dfmcodec.search.config import EncoderConfig

    if tunes is None:
        tunes = "visual" if set(_split(models)) <= set(VISUAL_BY_DEFAULT) else "psnr"
    targets = []
    for model in _split(models):
        for effort in _numbers(efforts, "--effort", int) if has_option(model, "effort") else [EncoderConfig.effort]:
            for tune in _split(tunes):
                for rate in _numbers(rates, "--rate", _options.fraction):
                    EncoderConfig(model=model, effort=effort, rate=rate, tune=tune)
                    targets.append(Target(model, effort, rate, tune))
    if not targets or len(set(targets)) < len(targets):
        msg = "give --rate, --effort, --tune and --model at least one value each, and no value twice"
        raise ConfigError(msg)
    return tuple(targets)


def _numbers(text: str, option: str, parse: Callable[[str], N]) -> list[N]:
    try:
        return [parse(item) for item in _split(text)]
    except ValueError:
        msg = f"{option} is {text!r}; write numbers separated by commas"
        raise ConfigError(msg) from None


def _check_present(path: Path) -> None:
    """Raises an error for a path that does not exist or cannot be reached."""
    try:
        path.stat()
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise DfmError(msg) from error
