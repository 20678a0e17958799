"""Runs a comparison: every picture through dfm at every target, then every anchor at the size of dfm's own file."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dfmcodec.bench.cache import Cache, code_fingerprint
from dfmcodec.bench.codecs import Codec, codecs_from, library_versions, select
from dfmcodec.bench.matching import Match, OutOfReach, SizeSearch
from dfmcodec.bench.measurement import DFM, Figures, Measurement, Target, crop_of, figures_of
from dfmcodec.errors import DfmError
from dfmcodec.image import Pixels
from dfmcodec.processes import run_jobs
from dfmcodec.reading import PICTURE_SUFFIXES, read_image


@dataclass(frozen=True)
class Picture:
    """A picture of the run: its name in tables, where it is, the hash of its pixels, its size."""

    name: str
    path: Path
    sha256: str
    width: int
    height: int
    channels: int


@dataclass(frozen=True)
class Failure:
    """What could not be measured, and why, in one line."""

    what: str
    message: str


@dataclass(frozen=True)
class Plan:
    """What to compare.

    Args:
        paths: Pictures, and folders of pictures.
        targets: What dfm is asked for.
        anchors: Names of the codecs to compare with.
        codecs_file: A Python file with further codecs.
        cache_folder: Where measurements are kept and looked for; None for nowhere.
        processes: How many work at a time. Seconds measured beside other work are longer.
        with_ssimulacra2: Measure that too.
    """

    paths: tuple[Path, ...]
    targets: tuple[Target, ...]
    anchors: tuple[str, ...]
    codecs_file: Path | None = None
    cache_folder: Path | None = None
    processes: int = 1
    with_ssimulacra2: bool = False

    def codecs(self) -> list[Codec]:
        """The anchors.

        Raises:
            ConfigError: One is unknown, or the file of further ones cannot be used.
        """
        return select(list(self.anchors), () if self.codecs_file is None else codecs_from(self.codecs_file))


@dataclass(frozen=True)
class BenchProgress:
    """How far a run is, in cells of picture, target and codec.

    Args:
        done: Cells measured, found in the cache or failed.
        cells: All of them.
        seconds: So far.
        seconds_left: By the mean time of each codec's cells; None until something is known.
        what: What was finished last.
    """

    done: int
    cells: int
    seconds: float
    seconds_left: float | None
    what: str


@dataclass(frozen=True)
class Comparison:
    """All that a run found, with what is needed to repeat it."""

    pictures: tuple[Picture, ...]
    targets: tuple[Target, ...]
    codecs: dict[str, dict[str, Any]]
    measurements: tuple[Measurement, ...]
    failures: tuple[Failure, ...]
    original_crops: dict[str, str]
    machine: str
    versions: dict[str, str]
    processes: int
    seconds: float


@dataclass(frozen=True)
class _Job:
    """The cells of one picture and codec: for dfm one target, for an anchor all, as its files serve several sizes.

    Args:
        limits_bytes: For an anchor the sizes of dfm's files, one a target.
    """

    picture: Picture
    codec: str
    targets: tuple[Target, ...]
    limits_bytes: tuple[int, ...] = ()

    @property
    def what(self) -> str:
        at = f" at {self.targets[0].label}" if self.codec == DFM else ""
        return f"{self.picture.name}, {self.codec}{at}"


@dataclass(frozen=True)
class _Done:
    measurements: tuple[Measurement, ...]
    failures: tuple[Failure, ...]
    fresh: int  # cells that were not in the cache
    seconds: float


def run(plan: Plan, on_progress: Callable[[BenchProgress], None] = lambda progress: None) -> Comparison:
    """Compares, going on after whatever fails.

    Args:
        plan: What to compare.
        on_progress: Called whenever cells are done.

    Raises:
        ConfigError: The plan names an unknown codec.
    """
    started = time.perf_counter()
    codecs = plan.codecs()
    pictures, failures = find_pictures(plan.paths)
    usable = [codec for codec in codecs if codec.missing() is None]
    failures += [Failure(c.name, f"left out, it needs {c.missing()}") for c in codecs if c not in usable]
    watch = _Watch(len(pictures) * len(plan.targets), len(usable), plan.processes, on_progress)
    measurements: list[Measurement] = []
    sizes: dict[str, dict[Target, int | None]] = defaultdict(dict)

    def following(job: _Job, result: _Done | None) -> list[_Job]:
        """The anchors' jobs once all of dfm's files of a picture are there."""
        done = result or _Done((), (Failure(job.what, "the process died"),), 1, 0.0)
        measurements.extend(done.measurements)
        failures.extend(done.failures)
        watch.finished(job, done)
        if job.codec != DFM:
            return []
        known = sizes[job.picture.name]
        file = done.measurements[0].figures if done.measurements else None
        known[job.targets[0]] = None if file is None else file.bytes
        if len(known) < len(plan.targets):
            return []
        limits = {target: size for target, size in known.items() if size is not None}
        watch.skipped(len(usable) * (len(known) - len(limits)))
        if not limits:
            return []
        return [_Job(job.picture, codec.name, tuple(limits), tuple(limits.values())) for codec in usable]

    first = [_Job(picture, DFM, (target,)) for picture in pictures for target in plan.targets]
    run_jobs(partial(_perform, plan), first, plan.processes, following)
    order = {name: at for at, name in enumerate([DFM, *plan.anchors])}
    names = [picture.name for picture in pictures]
    return Comparison(
        pictures=tuple(pictures),
        targets=plan.targets,
        codecs={codec.name: _description(codec) for codec in usable},
        measurements=tuple(
            sorted(measurements, key=lambda m: (plan.targets.index(m.target), names.index(m.picture), order[m.codec]))
        ),
        failures=tuple(failures),
        original_crops={picture.name: _original_crop(picture) for picture in pictures},
        machine=machine(),
        versions=library_versions(),
        processes=plan.processes,
        seconds=time.perf_counter() - started,
    )


def find_pictures(paths: tuple[Path, ...]) -> tuple[list[Picture], list[Failure]]:
    """Reads the pictures of files and folders once, for their hashes; those that dfm cannot take become failures."""
    failures = []
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            try:
                found = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES)
            except OSError as error:
                failures.append(Failure(str(path), f"cannot be read: {error.strerror or error}"))
                continue
            if not found:
                failures.append(Failure(str(path), "a folder without pictures"))
            files.update(dict.fromkeys(found))
        else:
            files[path] = None
    stems = [path.stem for path in files]
    pictures = []
    for path in files:
        name = path.stem if stems.count(path.stem) == 1 else str(path)
        try:
            pixels = read_image(path, strip=True).pixels
        except (DfmError, MemoryError) as error:
            failures.append(Failure(name, str(error) or "out of memory"))
            continue
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        height, width, channels = pixels.shape
        pictures.append(Picture(name, path, digest, width, height, channels))
    return pictures, failures


def machine() -> str:
    """The computer, in words."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            processor = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{processor}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def _original_crop(picture: Picture) -> str:
    pixels = read_image(picture.path, strip=True).pixels
    return crop_of(pixels, pixels)


def _description(codec: Codec) -> dict[str, Any]:
    return {"label": codec.label, "version": codec.version(), "options": codec.options(), "forms": list(codec.forms)}


# Jobs, here or in processes.


def _perform(plan: Plan, job: _Job) -> _Done:
    """Measures a job's cells, or tells why not."""
    started = time.perf_counter()
    cache = None if plan.cache_folder is None else Cache(plan.cache_folder)
    fresh = 0
    measurements = []
    try:
        cells = _dfm_cell(plan, job, cache) if job.codec == DFM else _anchor_cells(plan, job, cache)
        for measurement, is_fresh in cells:
            measurements.append(measurement)
            fresh += is_fresh
    except Exception as error:  # one bad picture does not stop the rest
        message = str(error) if isinstance(error, DfmError) else f"{type(error).__name__}: {error}"
        failure = Failure(job.what, " ".join(message.split()))
        return _Done(tuple(measurements), (failure,), fresh + 1, time.perf_counter() - started)
    return _Done(tuple(measurements), (), fresh, time.perf_counter() - started)


def _dfm_cell(plan: Plan, job: _Job, cache: Cache | None) -> Iterator[tuple[Measurement, bool]]:
    import dfmcodec
    from dfmcodec.decoder import decode_image

    (target,) = job.targets
    decisive = {
        "picture": job.picture.sha256,
        "codec": DFM,
        "target": [target.model, target.effort, target.rate, target.time_limit_s],
        "code": code_fingerprint(),
        "ssimulacra2": plan.with_ssimulacra2,
    }

    def measure() -> Measurement:
        image = read_image(job.picture.path, strip=True)
        options: dict[str, Any] = {"effort": target.effort} if target.model == "latent" else {}
        started = time.perf_counter()
        result = dfmcodec.encode(
            image, model=target.model, rate=target.rate, time_limit_s=target.time_limit_s, **options
        )
        encode_s = time.perf_counter() - started
        started = time.perf_counter()
        decoded = decode_image(result.data).pixels
        decode_s = time.perf_counter() - started
        figures = figures_of(image.pixels, result.data, decoded, encode_s, decode_s, plan.with_ssimulacra2)
        return Measurement(
            job.picture.name, target, DFM, "", limit_bytes=result.report.budget_bytes or 0, figures=figures
        )

    yield _kept(cache, decisive, job.picture.name, target, measure)


def _anchor_cells(plan: Plan, job: _Job, cache: Cache | None) -> Iterator[tuple[Measurement, bool]]:
    codec = next(codec for codec in plan.codecs() if codec.name == job.codec)
    pixels = read_image(job.picture.path, strip=True).pixels
    for form in codec.forms:
        search = SizeSearch(codec, form, pixels)
        for target, limit in zip(job.targets, job.limits_bytes, strict=True):
            decisive = {
                "picture": job.picture.sha256,
                "codec": job.codec,
                "form": form,
                "options": codec.options(),
                "version": codec.version(),
                "limit": limit,
                "ssimulacra2": plan.with_ssimulacra2,
            }

            def measure(search: SizeSearch = search, target: Target = target, limit: int = limit) -> Measurement:
                return _matched(job.picture.name, search, target, limit, plan.with_ssimulacra2)

            yield _kept(cache, decisive, job.picture.name, target, measure)


def _matched(name: str, search: SizeSearch, target: Target, limit: int, with_ssimulacra2: bool) -> Measurement:
    codec, match = search.codec, search.largest_within(limit)
    empty = Measurement(name, target, codec.name, search.form, limit)
    if isinstance(match, OutOfReach):
        return replace(empty, smallest_bytes=match.smallest_bytes)
    return replace(
        empty,
        setting=match.setting,
        next_setting=match.next_setting,
        next_bytes=match.next_bytes,
        figures=_decoded_figures(codec, search.pixels, match, with_ssimulacra2),
    )


def _decoded_figures(codec: Codec, pixels: Pixels, match: Match, with_ssimulacra2: bool) -> Figures:
    started = time.perf_counter()
    decoded = codec.decode(match.data)
    decode_s = time.perf_counter() - started
    return figures_of(pixels, match.data, decoded, match.encode_s, decode_s, with_ssimulacra2)


def _kept(
    cache: Cache | None, decisive: dict[str, Any], name: str, target: Target, measure: Callable[[], Measurement]
) -> tuple[Measurement, bool]:
    """From the cache, or measured and kept; and whether it is fresh."""
    found = None if cache is None else cache.get(decisive)
    if found is not None:
        return replace(found, picture=name, target=target), False
    measurement = measure()
    if cache is not None:
        cache.put(decisive, measurement)
    return measurement, True


class _Watch:
    """Counts cells and guesses the time left from the mean time of each codec's cells."""

    def __init__(
        self, dfm_cells: int, anchors: int, processes: int, on_progress: Callable[[BenchProgress], None]
    ) -> None:
        self._remaining = {DFM: dfm_cells, "anchors": dfm_cells * anchors}
        self._cells = sum(self._remaining.values())
        self._seconds = {DFM: 0.0, "anchors": 0.0}
        self._fresh = {DFM: 0, "anchors": 0}
        self._processes = processes
        self._on_progress = on_progress
        self._started = time.perf_counter()

    def finished(self, job: _Job, done: _Done) -> None:
        kind = DFM if job.codec == DFM else "anchors"
        self._remaining[kind] -= len(job.targets)
        self._seconds[kind] += done.seconds if done.fresh else 0
        self._fresh[kind] += len(job.targets) if done.fresh else 0
        self._tell(job.what)

    def skipped(self, anchor_cells: int) -> None:
        self._remaining["anchors"] -= anchor_cells

    def _tell(self, what: str) -> None:
        left: float | None = 0.0
        for kind, cells in self._remaining.items():
            if cells and not self._fresh[kind]:
                left = None
            elif left is not None and cells:
                left += cells * self._seconds[kind] / self._fresh[kind] / self._processes
        done = self._cells - sum(self._remaining.values())
        self._on_progress(BenchProgress(done, self._cells, time.perf_counter() - self._started, left, what))
