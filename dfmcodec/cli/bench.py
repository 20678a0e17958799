"""`dfm bench`."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from dfmcodec.cli._batch import SOME_FAILED
from dfmcodec.cli._common import force_option, quiet_option
from dfmcodec.errors import ConfigError

if TYPE_CHECKING:
    from dfmcodec.bench.measurement import Target
    from dfmcodec.bench.runner import BenchProgress

N = TypeVar("N", int, float)


@click.command("bench")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--vs", "anchors", default="jpeg", show_default=True, help="Codecs to compare with; `all` that are installed."
)
@click.option("--rates", default="0.18", show_default=True, help="dfm's size targets, parts of the raw bytes.")
@click.option("--efforts", default="5", show_default=True, help="dfm's efforts, for the latent model.")
@click.option("--model", "models", default="latent", show_default=True, help="latent, coordinate or both.")
@click.option("--time-limit", "time_limit_s", type=float, metavar="SECONDS", help="Of every fit of dfm.")
@click.option("--codecs-from", type=click.Path(path_type=Path), help="A Python file with codecs of your own.")
@click.option("--ssimulacra2", "with_ssimulacra2", is_flag=True, help="Measure SSIMULACRA2 too (slow).")
@click.option("-j", "processes", type=click.IntRange(1), default=1, show_default=True, help="Files at a time.")
@click.option("--json", "as_json", is_flag=True, help="All figures as one JSON object on stdout, not tables.")
@click.option("--csv", "csv_path", type=click.Path(path_type=Path), help="Write all measurements there.")
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write a report to look at there.")
@click.option(
    "--look",
    type=click.IntRange(0),
    default=12,
    show_default=True,
    help="Pictures in the report's viewer; they are most of its bytes.",
)
@click.option("--cache", "cache_folder", type=click.Path(path_type=Path), help="Where measurements are kept.")
@click.option("--no-cache", is_flag=True, help="Measure everything anew and keep nothing.")
@force_option
@quiet_option
def command(
    paths: tuple[Path, ...],
    anchors: str,
    rates: str,
    efforts: str,
    models: str,
    time_limit_s: float | None,
    codecs_from: Path | None,
    with_ssimulacra2: bool,
    processes: int,
    as_json: bool,
    csv_path: Path | None,
    html_path: Path | None,
    look: int,
    cache_folder: Path | None,
    no_cache: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Compare dfm with other codecs on your pictures, at equal file size.

    \b
    dfm bench --vs jpeg photos/
    dfm bench --vs jpeg,webp,avif,jxl --rates 0.18,0.04,0.01 --html report.html photos/
    dfm bench --efforts 1,5,9 --vs avif photo.png

    Every picture is encoded by dfm at every rate; each codec then gets the largest file that is not larger than
    dfm's own. PATHs are pictures and folders of pictures. A run that was stopped goes on where it stopped.
    Codecs: jpeg, webp, avif, jpeg2000 (Pillow), jxl, heic (pip install 'dfmcodec[bench]'), jpegli (its commands).
    Exit code 5 when some of it could not be measured; the rest is.
    """
    from dfmcodec.bench.cache import default_folder
    from dfmcodec.bench.codecs import ANCHORS
    from dfmcodec.bench.report_text import as_csv, as_dict, as_text
    from dfmcodec.bench.runner import Plan, run
    from dfmcodec.io import check_writable, write_atomic

    for output in (csv_path, html_path):
        if output is not None:
            check_writable(output, force)
    _check_installed(html_path, with_ssimulacra2)
    plan = Plan(
        paths=paths,
        targets=_targets(models, efforts, rates, time_limit_s),
        anchors=tuple(c.name for c in ANCHORS if c.missing() is None) if anchors == "all" else _names(anchors),
        codecs_file=codecs_from,
        cache_folder=None if no_cache else cache_folder or default_folder(),
        processes=processes,
        with_ssimulacra2=with_ssimulacra2,
    )
    show = sys.stderr.isatty() and not quiet
    comparison = run(plan, _show_progress if show else lambda progress: None)
    if show:
        click.echo("\r\x1b[K", nl=False, err=True)
    if csv_path is not None:
        write_atomic(csv_path, as_csv(comparison).encode())
    if html_path is not None:
        from dfmcodec.bench.report_html import as_html

        title = f"dfm bench: {', '.join(str(path) for path in paths)}"
        write_atomic(html_path, as_html(comparison, title, look).encode())
    if as_json:
        click.echo(json.dumps(as_dict(comparison)))
    elif not quiet:
        click.echo(as_text(comparison))
    if as_json or quiet:
        for failure in comparison.failures:
            click.echo(f"dfm: {failure.what}: {failure.message}", err=True)
    if comparison.failures:
        sys.exit(SOME_FAILED)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _targets(models: str, efforts: str, rates: str, time_limit_s: float | None) -> tuple[Target, ...]:
    """All combinations, checked as an encoding's settings are.

    Raises:
        ConfigError: One makes no sense.
    """
    from dfmcodec.bench.measurement import Target
    from dfmcodec.encoder.config import EncoderConfig

    targets = []
    for model in _names(models):
        for effort in _numbers(efforts, "--efforts", int) if model == "latent" else [EncoderConfig.effort]:
            for rate in _numbers(rates, "--rates", float):
                EncoderConfig(model=model, effort=effort, rate=rate, time_limit_s=time_limit_s)
                targets.append(Target(model, effort, rate, time_limit_s))
    if not targets or len(set(targets)) < len(targets):
        msg = "give each of --rates, --efforts and --model at least one value, and none twice"
        raise ConfigError(msg)
    return tuple(targets)


def _numbers(text: str, option: str, kind: type[N]) -> list[N]:
    try:
        return [kind(name) for name in _names(text)]
    except ValueError:
        msg = f"{option} is {text!r}; write numbers with commas between them"
        raise ConfigError(msg) from None


def _check_installed(html_path: Path | None, with_ssimulacra2: bool) -> None:
    """Before any work, whether what the outputs need is there.

    Raises:
        ConfigError: What is not, and how to get it.
    """
    from dfmcodec.bench.codecs import BENCH_EXTRA

    needed = {"matplotlib": html_path is not None and "--html", "ssimulacra2": with_ssimulacra2 and "--ssimulacra2"}
    for module, option in needed.items():
        if option and importlib.util.find_spec(module) is None:
            msg = f"{option} needs {module}: {BENCH_EXTRA}"
            raise ConfigError(msg)


def _show_progress(progress: BenchProgress) -> None:
    left = "" if progress.seconds_left is None else f", about {_duration(progress.seconds_left)} left"
    line = f"{progress.done}/{progress.cells} after {_duration(progress.seconds)}{left}: {progress.what}"
    click.echo(f"\r\x1b[K{line[:78]}", nl=False, err=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
