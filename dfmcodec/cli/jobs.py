"""Command `dfm jobs`."""

from __future__ import annotations

import sys

import click

from dfmcodec.cli import _options
from dfmcodec.cli._common import echo, echo_json, notify
from dfmcodec.cli._corpus import Place, lost_text, progress_text, store_argument
from dfmcodec.cli._failure import SOME_FAILED


@click.command("jobs")
@store_argument
@click.option("--failed", is_flag=True, help="List the images that failed, and why.")
@_options.json
def command(store: Place, failed: bool, as_json: bool) -> None:
    """Show the progress of a corpus, by its store.

    \b
    dfm jobs s3://out/
    dfm jobs s3://out/ --failed

    It counts what is in the store now, whoever works on the corpus, and compares the sizes of the
    outputs with the records. The exit code is 1 if shards are not done, 5 if images failed or
    outputs are missing.
    """
    from dfmcodec.corpus.jobs import Part, failures, lost_outputs, plan_of, progress
    from dfmcodec.corpus.records import failure_line
    from dfmcodec.corpus.store import open_store

    opened = open_store(str(store))
    plan = plan_of(opened)
    if failed:
        found = False
        for source, error in failures(opened, plan):
            found = True
            if as_json:
                echo_json({"source": source, "error": error})
            else:
                echo(failure_line(source, error))
        sys.exit(SOME_FAILED if found else 0)
    lost = lost_outputs(opened, plan, Part())
    state = progress(opened, plan, Part(), lost)
    if as_json:
        echo_json({"store": opened.url, **state.as_dict()})
    else:
        shards = f"{state.shards_done} of {state.shards} shards, {state.shards_begun} begun"
        echo(f"{progress_text(state, opened.url)}; {shards}")
    if lost:
        notify(f"{lost_text(lost)}; run again to make them")
    if state.shards_done + state.shards_lost < state.shards:
        sys.exit(1)
    if state.total.images_failed or lost:
        sys.exit(SOME_FAILED)
