"""Command `dfm bench`."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dfmcodec.cli import _options
from dfmcodec.cli._common import echo, notify
from dfmcodec.cli._failure import SOME_FAILED
from dfmcodec.cli._options import NamedPath
from dfmcodec.cli._progress import FilesBar
from dfmcodec.cli._same_file import check_outputs_apart
from dfmcodec.errors import ConfigError, DfmError, require
from dfmcodec.files.atomic import check_writable, write_atomic

if TYPE_CHECKING:
    from dfmcodec.bench.measurement import Target
    from dfmcodec.bench.runner import Comparison, Plan

N = TypeVar("N", int, float)
_RATES = {"visual": "10%,5%,2.5%,1.25%,0.625%", "psnr": "18%"}  # by tune; bits at equal quality need three or more


@dataclass(frozen=True)
class _Options:
    """The arguments of the command."""

    paths: tuple[Path, ...]  # images and folders of images
    anchors: str  # names of codecs to compare with, separated by commas, or "all"
    rate: str | None  # of dfm, separated by commas, like effort, model and tune; None for those of the tune
    effort: str
    model: str
    tune: str | None  # None for the default of the codecs
    time_limit_s: float | None  # of each fit of dfm
    codecs_file: Path | None  # a Python file that defines more codecs
    curves_files: tuple[Path, ...]  # tables with curves of other codecs
    processes: int
    as_json: bool
    csv_path: Path | None
    html_path: Path | None
    html_images: int  # the number of images in the report's viewer
    cache_folder: Path | None  # of measurements; None for the default
    no_cache: bool
    force: bool
    quiet: bool


@click.command("bench")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=NamedPath())
@click.option(
    "--vs",
    "anchors",
    metavar="CODECS",
    default="jpeg",
    show_default=True,
    help="Codecs to compare with, separated by commas, or `all` for every installed one. Bits are relative to those of "
    "the first codec.",
)
@click.option(
    "--rate",
    help="Sizes of dfm's files as fractions of the raw bytes, such as 0.18 or 18%, separated by commas. Default: "
    f"{_RATES['visual']}; {_RATES['psnr']} with the tune psnr.",
)
@click.option(
    "--effort",
    default="5",
    show_default=True,
    help="Efforts of dfm's wavelet and overfitted codecs, separated by commas.",
)
@click.option(
    "--model",
    default="wavelet",
    show_default=True,
    help="Models of dfm, separated by commas: wavelet, overfitted, coordinate.",
)
@click.option(
    "--tune",
    help="What dfm's files are optimised for, separated by commas, and what codecs are compared by: visual "
    "(SSIMULACRA2 and Butteraugli; wavelet codec) or psnr (PSNR). Default: visual, but psnr with another model.",
)
@click.option(
    "--time-limit",
    "time_limit_s",
    type=_options.number(),
    metavar="SECONDS",
    help="End each fit of dfm after this many seconds.",
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
    help="Lay the rate-distortion curves of this table beside dfm's, in plots and BD-rates (docs/curves.md). "
    "May be given several times.",
)
@_options.processes
@click.option("--json", "as_json", is_flag=True, help="Print all figures as one JSON object instead of tables.")
@click.option("--csv", "csv_path", type=NamedPath(), help="Write all measurements to this file.")
@click.option("--html", "html_path", type=NamedPath(), help="Write a report with plots to this file.")
@click.option(
    "--html-images",
    type=click.IntRange(0, 10_000),
    default=12,
    show_default=True,
    help="Number of images shown in the HTML report; they take up most of its bytes.",
)
@click.option("--cache", "cache_folder", type=NamedPath(), help="Keep measurements in this folder.")
@click.option("--no-cache", is_flag=True, help="Measure everything again and keep nothing.")
@_options.force
@_options.quiet
def command(**arguments: Any) -> None:
    """Compare dfm with other codecs on your images, at equal quality and at equal file size.

    \b
    dfm bench --vs jpeg photos/
    dfm bench --vs avif,jxl,jpeg --html report.html photos/
    dfm bench --effort 1,5,9 --vs avif photo.png
    dfm bench --tune psnr --rate 8%,4%,2% --curves vtm.csv --html report.html photos/

    dfm encodes every image at every rate. Each other codec then encodes it with the best quality
    whose file is not larger. The table shows the bits of each codec at equal SSIMULACRA2, and at
    equal Butteraugli if libjxl's command butteraugli_main is on the PATH. Bits at equal quality
    need three rates. With the tune psnr, there are tables for each rate and image. A PATH is an
    image or a folder of images. To continue an interrupted run, run the same command again.

    Codecs: jpeg, webp, avif, jpeg2000 (Pillow), jxl, heic (pip install 'dfmcodec[bench]'), jpegli
    (its commands).

    The exit code is 5 if some measurements failed. If all failed, it is 1, and no file is written.
    """
    from dfmcodec.bench.runner import image_names, run

    options = _Options(**arguments)
    outputs = {"--csv": options.csv_path, "--html": options.html_path}
    read = [*image_names(options.paths), *options.curves_files, options.codecs_file]
    check_outputs_apart(outputs, read)
    for output in outputs.values():
        if output is not None:
            check_writable(output, options.force)
    _check_present(options.paths)
    _check_installed(options)
    plan = _plan(options)
    if plan.cache_folder is None and not options.no_cache:
        notify("measurements are not kept: this user has no home folder; name a folder with --cache", options.quiet)
    codecs = 1 + sum(codec.missing() is None for codec in plan.codecs())
    count = len(image_names(plan.paths)) * len(plan.targets) * codecs
    notify(f"{count} files to encode and measure", options.quiet or not count)
    bar = FilesBar(lambda: count, not options.quiet)
    with closing(bar):
        comparison = run(plan, bar.done, lambda notice: None if options.quiet else bar.notify(notice))
    if comparison.measurements:
        _write_files(comparison, options)
    _print_comparison(comparison, options)
    if comparison.failures:
        sys.exit(SOME_FAILED if comparison.measurements else DfmError.exit_code)


def _plan(options: _Options) -> Plan:
    """Creates the plan of the comparison."""
    from dfmcodec.bench.codecs import ANCHORS
    from dfmcodec.bench.curves import read_curves
    from dfmcodec.bench.measurement import DFM
    from dfmcodec.bench.runner import Plan, image_names
    from dfmcodec.files.cache_folder import cache_folder

    installed = tuple(codec.name for codec in ANCHORS if codec.missing() is None)
    plan = Plan(
        paths=options.paths,
        targets=_targets(options.model, options.effort, options.rate, options.tune, options.time_limit_s),
        anchors=installed if options.anchors == "all" else _split(options.anchors),
        codecs_file=options.codecs_file,
        cache_folder=None if options.no_cache else options.cache_folder or cache_folder("bench"),
        processes=options.processes,
    )
    taken = [DFM, *(codec.label for codec in plan.codecs())]
    return replace(plan, curves=read_curves(options.curves_files, image_names(options.paths), taken))


def _write_files(comparison: Comparison, options: _Options) -> None:
    """Writes the requested files."""
    from dfmcodec.bench.report_text import as_csv

    if options.csv_path is not None:
        write_atomic(options.csv_path, as_csv(comparison).encode())
    if options.html_path is not None:
        from dfmcodec.bench.report_html import as_html

        title = f"dfm bench: {', '.join(str(path) for path in options.paths)}"
        write_atomic(options.html_path, as_html(comparison, title, options.html_images).encode())


def _print_comparison(comparison: Comparison, options: _Options) -> None:
    """Prints tables or JSON, and the failures to stderr if no table lists them."""
    from dfmcodec.bench.report_text import as_dict, as_text

    has_tables = bool(comparison.measurements) and not options.as_json and not options.quiet
    if options.as_json:
        click.echo(json.dumps(as_dict(comparison), allow_nan=False))
    elif has_tables:
        for line in as_text(comparison).split("\n"):
            echo(line)
    if not has_tables:
        for failure in comparison.failures:
            kind = "" if comparison.measurements else "error: "
            notify(f"{kind}{failure.name}: {failure.error}")


def _split(text: str) -> tuple[str, ...]:
    return tuple(item for part in text.split(",") if (item := part.strip()))


def _targets(
    models: str, efforts: str, rates: str | None, tunes: str | None, time_limit_s: float | None
) -> tuple[Target, ...]:
    """Returns all combinations of the values, checked like the settings of an encoding. Without
    tunes, all codecs use the one that all of them support. Without rates, each tune has its own.
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
                for rate in _numbers(_RATES.get(tune, "") if rates is None else rates, "--rate", _options.fraction):
                    EncoderConfig(model=model, effort=effort, rate=rate, time_limit_s=time_limit_s, tune=tune)
                    targets.append(Target(model, effort, rate, time_limit_s, tune))
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


def _check_present(paths: Iterable[Path]) -> None:
    """Raises an error, before any work, for a path that does not exist or cannot be reached."""
    for path in paths:
        try:
            path.stat()
        except OSError as error:
            msg = f"cannot read {path}: {error.strerror or error}"
            raise DfmError(msg) from error


def _check_installed(options: _Options) -> None:
    """Raises an error, before any work, if libraries for the outputs are not installed."""
    from dfmcodec.bench.codecs import BENCH_EXTRA

    require("dfm bench", "scipy")
    missing = [module for module in ("jinja2", "matplotlib") if importlib.util.find_spec(module) is None]
    if options.html_path is not None and missing:
        msg = f"--html needs {' and '.join(missing)}: {BENCH_EXTRA}"
        raise ConfigError(msg)
