"""Options and runs of the commands on corpora."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfmcodec.cli._common import counted, echo, echo_json, notify
from dfmcodec.cli._failure import SOME_FAILED
from dfmcodec.cli._inputs import Skipped, listed_names
from dfmcodec.cli._interrupt import EXIT_AFTER_INTERRUPT, interruptible
from dfmcodec.cli._options import FileList, in_order, is_url, refuse_empty_name, value_type
from dfmcodec.cli._progress import FilesBar
from dfmcodec.errors import ConfigError

if TYPE_CHECKING:
    from dfmcodec.corpus.job import Job
    from dfmcodec.corpus.jobs import Progress
    from dfmcodec.corpus.shards import ShardResult
    from dfmcodec.search.config import EncoderConfig

Place = Path | str  # a local path or a URL, in which a path would lose a slash

PACK_SHARD_SIZE = 1000
_SHOWN_NAMES = 3  # of outputs
_SHARD_S = 600  # of one core, for a shard of default size
# Seconds of one core for an image of 768x512, by effort, without kernels, because shards are
# planned for the slowest worker. From effort 6 on, the overfitted codec may be tried.
_CORE_S = {1: 5, 2: 12, 3: 15, 4: 21, 5: 25}
_OVERFITTED_CORE_S = 600
# Options of `dfm encode`, by argument.
_NOT_FOR_A_CORPUS = {
    "output": "-o",
    "force": "-f",
    "overwrites_source": "--overwrite-source",
    "preview": "--preview",
    "report_path": "--report",
    "dry_run": "--dry-run",
    "adopt": "--adopt",
    "verbose": "-v",
}


def _place(value: Any) -> Place:
    """Parses a local path or a URL."""
    refuse_empty_name(value)
    return value if isinstance(value, str) and is_url(value) else Path(value)


def _part(value: str) -> tuple[int, int]:
    """Parses the part of a corpus: 3/16."""
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", value)
    if match is None:
        msg = f"{value!r} is not a part; write 3/16 for the third of sixteen"
        raise click.BadParameter(msg)
    return int(match[1]), int(match[2])


def _resource(value: str) -> tuple[str, float]:
    """Parses the amount of a resource: GPU=1."""
    match = re.fullmatch(r"([^=]+)=(\d{1,9}(?:\.\d{1,9})?)", value)
    if match is None:
        msg = f"{value!r} is not a resource; write GPU=1"
        raise click.BadParameter(msg)
    return match[1], float(match[2])


_PLACE = value_type("path", _place)
sources_argument = click.argument("sources", metavar="FILE...", nargs=-1, type=_PLACE)
store_argument = click.argument("store", metavar="STORE", type=_PLACE)
store_option = click.option(
    "-O",
    "--output-folder",
    "folder",
    metavar="STORE",
    type=_PLACE,
    help="Write the outputs to this folder, in the same subfolders as the inputs, or to this store: s3://bucket/prefix.",
)


def _default_shard_size(effort: int) -> int:
    """Returns the number of images in a shard that takes about ten minutes of one core."""
    return max(1, _SHARD_S // _CORE_S.get(effort, _OVERFITTED_CORE_S))


corpus_options = in_order(
    click.option(
        "--format",
        type=click.Choice(["files", "tar", "parquet"]),
        help="Format of the outputs of a corpus: files; tar, as WebDataset reads it; parquet. Default: that of the "
        "sources.",
    ),
    click.option("--column", metavar="NAME", help="Column of Parquet sources with the images or their names."),
    click.option(
        "--follow",
        "places",
        metavar="PLACE",
        multiple=True,
        help="Read images that the rows of --column only name, if they are below this folder or URL: photos/, "
        "https://example.org/, or https:// for any host. Without it, none is read.",
    ),
    click.option(
        "--shard-size",
        type=click.IntRange(1, 10**9),
        help="Number of images in a shard, the unit of work. Default: "
        f"{_default_shard_size(1)} at effort 1, {_default_shard_size(5)} at effort 5; {PACK_SHARD_SIZE} for dfm pack.",
    ),
    click.option(
        "--engine",
        metavar="NAME",
        help="What runs the shards of a corpus: local (processes of this host, -j), dask, or module:factory, a "
        "function that returns a concurrent.futures executor with -j workers.",
    ),
    click.option("--address", metavar="URL", help="Address of Dask's scheduler. Default: one on this host."),
    click.option(
        "--resources",
        metavar="NAME=NUMBER",
        type=value_type("name=number", _resource),
        multiple=True,
        help="Dask worker resources that a shard needs, such as GPU=1.",
    ),
    click.option(
        "--part",
        metavar="I/N",
        type=value_type("i/n", _part),
        help="Do this part of a corpus: 3/16 is the third of sixteen.",
    ),
    click.option("--retry-failed", is_flag=True, help="Redo the shards in which images failed."),
)


@dataclass(frozen=True)
class CorpusRun:
    """Run of a command on a corpus."""

    sources: Sequence[Place]
    files_from: FileList | None
    recursive: bool
    folder: Place | None  # the output store
    skips_links: bool
    processes: int  # the number of shards to process at a time
    as_json: bool
    quiet: bool
    format: str | None  # of the outputs; None for that of the sources
    column: str | None  # the image column of Parquet sources
    places: tuple[str, ...]  # folders and URLs from which names in that column may be read
    shard_size: int | None  # the number of images in a shard; None for a default
    engine: str | None  # None for this host
    address: str | None  # of Dask's scheduler
    resources: tuple[tuple[str, float], ...]  # Dask worker resources that a shard needs
    part: tuple[int, int] | None  # (i, n) for the i-th of n parts
    retry_failed: bool  # whether to redo shards in which images failed

    def is_corpus(self) -> bool:
        """Indicates whether the command is about a corpus rather than local files."""
        if isinstance(self.folder, str) or any(option is not None for option in (self.format, self.engine, self.part)):
            return True
        url = next((source for source in self.sources if isinstance(source, str)), None)
        if url is not None:
            advice = "or name a store with -O, or --format with a folder"
            msg = f"{url} is a URL; download it first: curl -L {url} | dfm encode - -o a.dfm; {advice}"
            raise ConfigError(msg)
        if self.column or self.places or self.shard_size or self.address or self.resources or self.retry_failed:
            msg = (
                "--column, --follow, --shard-size, --address, --resources and --retry-failed are for a corpus: name a "
                "store, --format, --engine or --part"
            )
            raise ConfigError(msg)
        return False

    def perform(self, task: str, settings: dict[str, Any], shard_size: int) -> None:
        """Plans, does what is not done yet, and ends the command: with exit code 1 if shards are
        left, 5 if images failed, 130 after Ctrl-C. Shards whose outputs are missing or have another
        size than was recorded are done again.

        `shard_size` is the number of images in a shard if the option is not given.
        """
        from dfmcodec.corpus import jobs
        from dfmcodec.corpus.engines import LOCAL, Engine
        from dfmcodec.corpus.forms.entry import require_pyarrow
        from dfmcodec.corpus.plan import make_plan
        from dfmcodec.corpus.shards import Shard
        from dfmcodec.corpus.store import open_store
        from dfmcodec.corpus.tasks import task_of

        require_pyarrow()
        if self.folder is None:
            msg = "name where the outputs go with -O: a folder, or a store such as s3://bucket/prefix"
            raise ConfigError(msg)
        engine = Engine(self.engine or LOCAL, self.processes, self.address, self.resources)
        part = jobs.Part() if self.part is None else jobs.Part(*self.part)
        store = open_store(str(self.folder))
        engine.check_store(store.url)
        work = task_of(task, settings)
        job = self._job(task, settings, shard_size)
        skipped = Skipped("with other extensions")

        def is_wanted(name: str) -> bool:
            if not work.is_wanted(name):
                skipped.add(Path(name))
                return False
            return True

        plan = make_plan(store, job, is_wanted, work.target_name, self.part is not None)
        lost = jobs.lost_outputs(store, plan, part)
        again = f"{lost_text(lost)}; doing {counted(len(lost), 'shard')} again" if lost else ""
        for notice in filter(None, (skipped.notice(), again)):
            notify(notice, self.quiet)
        jobs.do_again(store, lost)
        if self.retry_failed:
            jobs.retry_failed(store, plan, part)
        jobs.check_sources(store, plan, part)
        left = jobs.open_shards(store, part.shards(plan))
        bar, errors = FilesBar(lambda: len(left), not self.quiet), []

        def show(result: ShardResult) -> None:
            for notice in () if self.quiet else result.notices:
                bar.notify(notice)
            for line in result.failures:
                bar.notify(f"failed: {line}")
            if result.error is not None:
                errors.append(result.error)
                bar.notify(f"shard {result.shard.number:05d} is not done: {result.error}")
            bar.done()

        with interruptible("ending after the current shards") as is_interrupted:
            try:
                engine.run([Shard(store.url, number) for number in left], show, is_interrupted)
            finally:
                bar.close()
            was_interrupted = is_interrupted()
        self._end(jobs.progress(store, plan, part), store.url, was_interrupted, bool(errors))

    def _job(self, task: str, settings: dict[str, Any], shard_size: int) -> Job:
        from dfmcodec.corpus.job import Job
        from dfmcodec.corpus.places import places_of
        from dfmcodec.corpus.sources import PARQUET, absolute_sources

        named = [str(source) for source in self.sources]
        if self.files_from is not None:
            named += listed_names(self.files_from)
        sources, source_format = absolute_sources(named)
        if self.column is not None and source_format != PARQUET:
            msg = "--column is for Parquet sources, whose names end in .parquet"
            raise ConfigError(msg)
        if self.places and self.column is None:
            msg = "--follow is for names in the column that --column names; give both"
            raise ConfigError(msg)
        return Job(
            task,
            settings,
            sources,
            self.recursive,
            source_format,
            self.format or source_format,
            self.column,
            places_of(self.places),
            self.shard_size or shard_size,
            self.skips_links,
        )

    def _end(self, state: Progress, url: str, was_interrupted: bool, is_incomplete: bool) -> None:
        if self.as_json:
            echo_json({"store": url, **state.as_dict()})
        elif not self.quiet:
            echo(f"{url}: {progress_text(state, url)}")
        if was_interrupted:
            sys.exit(EXIT_AFTER_INTERRUPT)
        if is_incomplete:
            sys.exit(1)
        if state.total.images_failed:
            sys.exit(SOME_FAILED)


def lost_text(lost: Mapping[int, Sequence[str]]) -> str:
    """Returns one line about the outputs that done shards lack, which are given by shard."""
    number, names = sum(map(len, lost.values())), chain.from_iterable(lost.values())
    shown = ", ".join(islice(names, _SHOWN_NAMES)) + ", ..." * (number > _SHOWN_NAMES)
    return f"{counted(number, 'output')} missing or of another size than recorded: {shown}"


def progress_text(state: Progress, url: str) -> str:
    """Returns one line with the progress of a corpus."""
    total = state.total
    out_of = "" if state.images is None else f" of {state.images:,}"
    parts = [f"{total.images_done:,}{out_of} images done"]
    if total.images_larger:
        parts.append(f"{total.images_larger:,} left out as larger than their sources")
    if total.images_failed:
        parts.append(f"{total.images_failed:,} failed (dfm jobs {url} --failed lists them)")
    if not state.is_complete:
        parts.append(f"{state.shards - state.shards_done} of {state.shards} shards left; run again")
    ratio = f" ({100 * total.output_bytes / total.source_bytes:.0f} %)" if total.source_bytes else ""
    return f"{', '.join(parts)}; {total.source_bytes:,} -> {total.output_bytes:,} bytes{ratio}"


def encode_corpus(run: CorpusRun, config: EncoderConfig, arguments: Mapping[str, Any]) -> None:
    """Runs `dfm encode`, with all its arguments, on a corpus, and ends the command like
    `CorpusRun.perform`.
    """
    from dfmcodec.corpus.tasks import ENCODE, encode_settings

    for name, option in _NOT_FOR_A_CORPUS.items():
        if arguments[name]:
            msg = f"{option} is not for a corpus, whose outputs and rows are in the store that -O names; leave it out"
            raise ConfigError(msg)
    same = {name: arguments[name] for name in ("generator", "strip", "page", "max_pixels", "keeps_extension")}
    settings = encode_settings(config, **same, skips_larger=arguments["skip_larger"])
    run.perform(ENCODE, settings, _default_shard_size(config.effort))
