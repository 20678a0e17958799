"""Command `dfm pack`."""

from __future__ import annotations

from typing import Any

import click

from dfmcodec.cli._common import (
    file_list,
    files_from_option,
    json_option,
    processes_option,
    quiet_option,
    recursive_option,
    skip_links_option,
)
from dfmcodec.cli._corpus import (
    PACK_SHARD_SIZE,
    CorpusOptions,
    CorpusRun,
    Place,
    corpus_options,
    sources_argument,
    store_option,
)


@click.command("pack")
@sources_argument
@store_option
@recursive_option
@files_from_option
@processes_option
@corpus_options
@skip_links_option
@json_option
@quiet_option
def command(
    sources: tuple[Place, ...],
    folder: Place | None,
    recursive: bool,
    skips_links: bool,
    processes: int,
    as_json: bool,
    quiet: bool,
    **arguments: Any,
) -> None:
    """Pack .dfm files and images into tars or Parquet files, or unpack them, without encoding.

    \b
    dfm pack archive/ -r -O packed/ --form tar
    dfm pack 's3://in/{00000..00999}.tar' -O s3://out/ --form parquet

    Each tar or Parquet file of the store holds up to 1000 images, or the number given by
    --shard-size. Each output is a copy of its source, with the same name and in the same subfolder.
    A damaged .dfm file, or a file that is not an image, is not copied. It counts as failed, and the
    exit code is 5. To continue an interrupted run, run the same command again.
    """
    files_from = file_list(arguments)
    options = CorpusOptions.from_arguments(arguments)
    run = CorpusRun(options, sources, files_from, recursive, folder, skips_links, processes, as_json, quiet)
    run.perform("pack", {}, PACK_SHARD_SIZE)
