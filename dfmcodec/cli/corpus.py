"""Command `dfm corpus`."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from dfmcodec.cli import _options
from dfmcodec.cli._common import echo, echo_json, notify
from dfmcodec.cli._failure import SOME_FAILED
from dfmcodec.cli._progress import FilesBar
from dfmcodec.cli.encode import settings_options
from dfmcodec.errors import ConfigError

if TYPE_CHECKING:
    from dfmcodec.corpus.shards import ShardResult
    from dfmcodec.corpus.sources import Shard

_SETTINGS = ("quality", "size", "rate", "bpp", "ssimulacra2", "psnr", "effort", "tune")  # of the encoder
_COUNTS = ("shards_existing", "images_done", "images_existing", "source_bytes", "output_bytes")


@click.command("corpus")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "-O",
    "--output-folder",
    "store",
    metavar="STORE",
    required=True,
    help="Write the outputs to this folder, or to this prefix of an object store: s3://bucket/prefix.",
)
@_options.recursive
@click.option(
    "--format",
    "form",
    type=click.Choice(["files", "tar", "parquet"]),
    help="Format of the outputs: files; tar, as WebDataset reads it; parquet. Default: that of the sources.",
)
@click.option("--column", metavar="NAME", help="Column of Parquet sources with the images.")
@click.option(
    "--shard-size",
    type=click.IntRange(1, 10**9),
    default=100,  # same as in shards_of, whose module imports NumPy
    show_default=True,
    help="Number of image files in a shard. A tar or Parquet file is one shard.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "dask"]),
    default="local",
    show_default=True,
    help="What encodes the shards: processes of this host (-j), or Dask.",
)
@click.option("--address", metavar="URL", help="Address of Dask's scheduler. Default: start Dask on this host.")
@_options.processes
@partial(settings_options, names=_SETTINGS)
@_options.strip
@_options.force
@_options.json
@_options.quiet
def command(
    sources: tuple[str, ...],
    store: str,
    recursive: bool,
    form: str | None,
    shard_size: int,
    engine: str,
    address: str | None,
    processes: int,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Encode many images, in shards, to a folder or an object store.

    \b
    dfm corpus photos/ -r -O out/ --format tar -j 8
    dfm corpus 's3://in/{00000..00999}.tar' -O s3://out/ -q 75 -j 8
    dfm corpus 's3://in/*.parquet' -O s3://out/ --engine dask --address tcp://10.0.0.1:8786

    Sources are images, folders, tars or Parquet files, on this host or in object stores. A tar or
    Parquet file becomes one with the same name, in which the images are .dfm files.

    A shard whose output exists is done, so the same command continues an interrupted run; -f
    encodes it again. An image that fails is left out and reported (exit code 5). If a shard cannot
    be done, the others are (exit code 1).
    """
    from dfmcodec.corpus.engines import run_shards
    from dfmcodec.corpus.sources import shards_of
    from dfmcodec.search.config import EncoderConfig

    EncoderConfig(**{name: options[name] for name in _SETTINGS})  # checks them
    if address is not None and engine != "dask":
        msg = "--address is for --engine dask"
        raise ConfigError(msg)
    shards = shards_of(
        sources, store, form, recursive=recursive, shard_size=shard_size, notify=partial(notify, quiet=quiet)
    )
    total = dict.fromkeys(("shards", "shards_failed", *_COUNTS, "images_failed"), 0) | {"shards": len(shards)}
    bar = FilesBar(len(shards), not quiet)

    def finish(shard: Shard, result: ShardResult) -> None:
        for notice in () if quiet else result.notices:
            bar.notify(notice)
        for failure in result.failures:
            bar.notify(f"failed: {failure['error']}")
        if result.error is not None:
            first = shard.source if isinstance(shard.source, str) else f"{shard.source[0].source}, ..."
            bar.notify(f"the shard of {first} is not done: {result.error}")
        total["shards_failed"] += result.error is not None
        total["images_failed"] += len(result.failures)
        for name in _COUNTS:
            total[name] += getattr(result, name)
        bar.done()

    try:
        run_shards(shards, finish, engine, processes, address, **options)
    finally:
        bar.close()
    if as_json:
        echo_json({"store": store, **total})
    elif not quiet:
        echo(f"{store}: {_summary(total)}")
    if total["shards_failed"]:
        sys.exit(1)
    if total["images_failed"]:
        sys.exit(SOME_FAILED)


def _summary(total: dict[str, int]) -> str:
    """Returns one line with the results of a run."""
    counts = {
        "images encoded": total["images_done"],
        "failed": total["images_failed"],
        "images already there": total["images_existing"],
        "shards already there": total["shards_existing"],
        "shards not done (run again)": total["shards_failed"],
    }
    parts = [f"{number:,} {name}" for name, number in counts.items() if number or name == "images encoded"]
    ratio = f" ({100 * total['output_bytes'] / total['source_bytes']:.0f} %)" if total["source_bytes"] else ""
    return f"{', '.join(parts)}; {total['source_bytes']:,} -> {total['output_bytes']:,} bytes{ratio}"
