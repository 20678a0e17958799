"""Command `dfm pack`."""

from __future__ import annotations

from typing import Any

import click

from dfmcodec.cli import _corpus, _options


@click.command("pack")
@_corpus.sources_argument
@_corpus.store_option
@_options.recursive
@_options.files_from
@_options.processes
@_corpus.corpus_options
@_options.skip_links
@_options.json
@_options.quiet
def command(**arguments: Any) -> None:
    """Pack .dfm files and images into tars or Parquet files, or unpack them, without encoding.

    \b
    dfm pack archive/ -r -O packed/ --format tar
    dfm pack 's3://in/{00000..00999}.tar' -O s3://out/ --format parquet

    Each tar or Parquet file of the store holds up to 1000 images, or the number given by
    --shard-size. Each output is a copy of its source, with the same name and in the same subfolder.
    A damaged .dfm file, or a file that is not an image, is not copied. It counts as failed, and the
    exit code is 5. To continue an interrupted run, run the same command again.
    """
    arguments["files_from"] = _options.file_list(arguments)
    _corpus.CorpusRun(**arguments).perform("pack", {}, _corpus.PACK_SHARD_SIZE)
