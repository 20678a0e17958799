"""Plan of a corpus: its settings, and the fixed list of images of each shard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

from dfmcodec import __version__
from dfmcodec.corpus.forms.parquet import row_count
from dfmcodec.corpus.job import Job
from dfmcodec.corpus.outputs import PlannedShard, planned_shards
from dfmcodec.corpus.sources import FILES, FORMS, LIST, RECORDS, TAR, Item, record_name, shards_of
from dfmcodec.corpus.store import Store
from dfmcodec.errors import ConfigError, DfmError, OutputError

PLAN = f"{RECORDS}/plan.json"
LAYOUT = 1  # version of the objects in the folder of the plan


@dataclass(frozen=True)
class Plan:
    """Job with its shards."""

    job: Job
    version: str
    layout: int
    shards: int
    images: int | None  # None for tars, which are not read for the plan
    lists_sha256: str  # of all lists, in hexadecimal

    def list_of(self, store: Store, number: int) -> list[Item]:
        """Reads the items of a shard. Raises DfmError if the list was not written for this job, or
        is damaged.
        """
        name = record_name(number, LIST)
        data = store.read(name) or b""
        first, _, rest = data.partition(b"\n")
        msg = f"{store.url}/{name} is missing, damaged or of another plan; plan again in an empty store"
        if first != _first_line(self.job, rest):
            raise DfmError(msg)
        try:
            return [Item(**json.loads(line)) for line in rest.splitlines()]
        except (ValueError, TypeError) as error:
            raise DfmError(msg) from error


def read_plan(store: Store) -> Plan | None:
    """Reads the plan of a store; returns None if there is none. Raises ConfigError if the plan is
    invalid, or the list of its last shard is missing.
    """
    data = store.read(PLAN)
    if data is None:
        return None
    try:
        values = json.loads(data)
        job = values.pop("job")
        named = {name: tuple(job[name]) for name in ("sources", "places") if isinstance(job[name], list)}
        plan = Plan(Job(**{**job, **named}), **values)
        if not _is_sound(plan):
            raise ValueError(data)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        msg = f"{store.url}/{PLAN} is not a plan of this version of dfmcodec ({__version__}); name another store"
        raise ConfigError(msg) from error
    last = record_name(plan.shards - 1, LIST)
    if not store.holds(last):
        msg = f"{store.url}/{PLAN} is of {plan.shards} shards, but {last} is not there; plan again in an empty store"
        raise ConfigError(msg)
    return plan


def _is_sound(plan: Plan) -> bool:
    """Indicates whether all values are valid for a plan."""
    job = plan.job
    texts = [*job.sources, *job.places, job.task, plan.version, plan.lists_sha256, job.column or ""]
    numbers = [job.shard_size, plan.layout, plan.shards, 1 if plan.images is None else plan.images]
    return (
        all(isinstance(text, str) for text in texts)
        and all(type(number) is int and number > 0 for number in numbers)
        and {job.source_format, job.format} <= set(FORMS)
        and all(isinstance(named, tuple) for named in (job.sources, job.places))
        and isinstance(job.settings, dict)
        and isinstance(job.recursive, bool)
        and isinstance(job.skips_links, bool)
    )


def make_plan(
    store: Store, job: Job, is_wanted: Callable[[str], bool], target_name: Callable[[str], str], keeps_lists: bool
) -> Plan:
    """Writes the plan of a job, or returns the existing plan if it is for the same job; with
    `keeps_lists` without comparing its lists with the sources. `is_wanted` indicates whether a file
    of a folder is an image, and `target_name` returns the name of an output, both for the name of a
    file.

    Before a plan is written, none of its outputs may exist. Outputs are written after the plan. If
    an output exists, the plan is therefore read again, because another worker may have written both
    in the meantime.

    Raises ConfigError if the existing plan is for another job; OutputError if there is no plan, but
    an output of it; DfmError if there are no images, or a source or the store cannot be used.
    """
    plan = _plan_of(store, job)
    if plan is not None and keeps_lists:
        return plan
    key = store.key if job.format == FILES else str
    shards = shards_of(job, is_wanted, lambda name: key(target_name(name)), partial(row_count, job))
    find = _finder(store, job)
    digest, numbers, images = hashlib.sha256(), 0, 0
    for shard in planned_shards(job, shards, key, target_name):
        items = shard.items
        output = find(shard) if plan is None else None
        if output is not None:
            plan = _plan_of(store, job)
            if plan is None:
                msg = f"{store.url}/{output} exists and is not replaced, as this store has no plan; name another store"
                raise OutputError(msg)
        rest = b"".join(json.dumps(item.as_dict(), sort_keys=True).encode() + b"\n" for item in items)
        data = _first_line(job, rest) + b"\n" + rest
        digest.update(data)
        if plan is None:
            store.write(record_name(numbers, LIST), data)
        numbers += 1
        images += sum(max(1, item.stop - item.start) for item in items)
    if not numbers:
        what = "files" if job.task == "pack" else "images"
        hint = "-r looks into subfolders; name tars and Parquet files themselves, as in folder/*.tar"
        msg = f"there are no {what} in {', '.join(job.sources)} ({hint})"
        raise DfmError(msg)
    known = None if job.source_format == TAR else images
    new_plan = Plan(job, __version__, LAYOUT, numbers, known, digest.hexdigest())
    if plan is None:
        _write_plan(store, new_plan)
    elif plan.lists_sha256 != new_plan.lists_sha256:
        found = f"{plan.images} images then, {known} now" if plan.images != known else "as many, but different"
        msg = f"the sources differ from those {store.url} was planned with ({found}); name another store for these"
        raise ConfigError(msg)
    return new_plan


def _plan_of(store: Store, job: Job) -> Plan | None:
    """Returns the plan of a job; None if the store has no plan. Raises ConfigError if the plan is
    invalid, or is for another job; the message says how they differ.
    """
    plan = read_plan(store)
    if plan is None:
        return None
    if plan.version != __version__:
        versions = f"was begun by dfmcodec {plan.version}, this is {__version__}"
        msg = f"{store.url} {versions}; use {plan.version} or name another store"
        raise ConfigError(msg)
    theirs, ours = ({**vars(one), **one.settings, "settings": None} for one in (plan.job, job))
    differing = [name for name in (theirs | ours) if theirs.get(name) != ours.get(name)]
    if differing:
        pairs = ", ".join(f"{name} {_text(theirs.get(name))}, not {_text(ours.get(name))}" for name in differing)
        msg = f"{store.url} holds another plan: {pairs}; name another store or give the same options"
        raise ConfigError(msg)
    return plan


def _finder(store: Store, job: Job) -> Callable[[PlannedShard], str | None]:
    """Returns a function that returns an existing output of a shard, or the folder of its numbered
    outputs. For many files in one folder it uses a single listing.
    """
    names = cache(lambda folder: frozenset(store.names(folder)))

    def is_there(output: str) -> bool:
        folder, _, name = output.rpartition("/")
        return name in names(folder) if job.format == FILES else store.holds(output)

    def find(shard: PlannedShard) -> str | None:
        if shard.folder is not None and store.holds(shard.folder):
            return shard.folder
        return next(filter(is_there, shard.outputs), None)

    return find


def _write_plan(store: Store, plan: Plan) -> None:
    """Writes the plan, after deleting the lists of a longer plan that was not completed."""
    for name in store.names(RECORDS):
        if name.endswith(".list") and int(name.removesuffix(".list")) >= plan.shards:
            store.delete(f"{RECORDS}/{name}")
    store.write(PLAN, json.dumps(asdict(plan), indent=1, sort_keys=True).encode())


def _first_line(job: Job, rest: bytes) -> bytes:
    """Returns the first line of a list, which identifies the job and the contents of the list."""
    job_digest = hashlib.sha256(json.dumps(asdict(job), sort_keys=True).encode()).hexdigest()
    return f"# {job_digest[:16]} {hashlib.sha256(rest).hexdigest()}".encode()


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(value) or "none"
    return "unset" if value is None else str(value)
