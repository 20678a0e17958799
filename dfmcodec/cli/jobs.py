"""Command `dfm jobs`."""

from __future__ import annotations

import click

from dfmcodec.cli._common import echo, echo_json, json_option
from dfmcodec.cli._corpus import Place, progress_text, store_argument


@click.command("jobs")
@store_argument
@click.option("--failed", is_flag=True, help="List the images that failed, and why.")
@json_option
def command(store: Place, failed: bool, as_json: bool) -> None:
    """Show the progress of a corpus, by its store.

    \b
    dfm jobs s3://out/
    dfm jobs s3://out/ --failed

    The numbers are those in the store at this moment. Any machines may be working on the corpus.
    """
    from dfmcodec.corpus.jobs import Part, failures, plan_of, progress
    from dfmcodec.corpus.records import failure_line
    from dfmcodec.corpus.store import open_store

    opened = open_store(str(store))
    plan = plan_of(opened)
    if failed:
        for source, error in failures(opened, plan):
            if as_json:
                echo_json({"source": source, "error": error})
            else:
                echo(failure_line(source, error))
        return
    state = progress(opened, plan, Part())
    if as_json:
        echo_json({"store": opened.url, **state.as_dict()})
    else:
        shards = f"{state.shards_done} of {state.shards} shards, {state.shards_begun} begun"
        echo(f"{progress_text(state, opened.url)}; {shards}")
