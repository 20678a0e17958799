"""Runs a comparison: dfm encodes every image, then every anchor at the sizes of dfm's files."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

from dfmcodec import kernels
from dfmcodec._types import Pixels
from dfmcodec.bench import butteraugli
from dfmcodec.bench.cache import Cache, code_fingerprint
from dfmcodec.bench.codecs import Codec, library_versions, read_codecs, select
from dfmcodec.bench.curves import Curve
from dfmcodec.bench.matching import OutOfReach, SizeSearch
from dfmcodec.bench.measurement import DFM, Figures, Measurement, Target, encode_crop, measure_figures
from dfmcodec.bench.measures import BUTTERAUGLI, EQUAL_QUALITY
from dfmcodec.errors import NO_MEMORY, DfmError, is_lack_of_memory
from dfmcodec.files.atomic import NOT_A_FILE, is_stream
from dfmcodec.files.names import printable
from dfmcodec.image import Image
from dfmcodec.image.read_image import IMAGE_SUFFIXES, read_image
from dfmcodec.models import has_option
from dfmcodec.processes import run_jobs

_MEASURES = 2  # increased when a measure changes, to invalidate cached figures


@dataclass(frozen=True)
class SourceImage:
    """Image of a run."""

    name: str  # printable and unique
    path: Path
    sha256: str  # of the pixels
    width: int
    height: int
    channels: int  # 1 or 3

    def read(self) -> Image:
        """Reads the image as it is measured: in 8 bits, without alpha and metadata."""
        return read_image(self.path, strip="all").plain()

    def pixels(self) -> Pixels:
        """Reads the pixels, uint8 [H, W, C]."""
        return self.read().pixels


@dataclass(frozen=True)
class Failure:
    """Measurement that failed, with a printable reason of one line."""

    name: str  # of the image, codec or path
    error: str

    @classmethod
    def of(cls, name: str, error: str) -> Failure:
        """Creates a failure from texts that may contain control characters, such as file names."""
        return cls(printable(name), printable(" ".join(error.split())))


@dataclass(frozen=True)
class Plan:
    """Plan of a comparison."""

    paths: tuple[Path, ...]  # images and folders of images
    targets: tuple[Target, ...]
    anchors: tuple[str, ...]  # names of the codecs to compare with
    codecs_file: Path | None = None  # Python file that defines more codecs
    cache_folder: Path | None = None  # None for no cache
    processes: int = 1
    curves: tuple[Curve, ...] = ()

    def codecs(self) -> list[Codec]:
        """Returns the anchors. Raises ConfigError if a codec is unknown, or the file of additional
        codecs is invalid.
        """
        return select(self.anchors, () if self.codecs_file is None else read_codecs(self.codecs_file))


@dataclass(frozen=True)
class Comparison:
    """Results of a run, with everything needed to repeat it."""

    images: tuple[SourceImage, ...]
    targets: tuple[Target, ...]
    codecs: dict[str, dict[str, Any]]  # label, version, options and forms of each anchor, by name
    measurements: tuple[Measurement, ...]  # in the order of targets, images and codecs
    failures: tuple[Failure, ...]
    original_crops: dict[str, str]  # by image name
    host: str
    versions: dict[str, str]
    processes: int
    total_s: float
    curves: tuple[Curve, ...] = ()


@dataclass(frozen=True)
class _Job:
    """Cells of one image and codec: one target for dfm, but all targets for an anchor."""

    source: SourceImage
    codec: str  # "dfm" or an anchor's name
    targets: tuple[Target, ...]
    limits_bytes: tuple[int, ...] = ()  # for an anchor, the size of dfm's file at each target

    @property
    def name(self) -> str:
        """Returns a description of the job."""
        at = f" at {self.targets[0].label}" if self.codec == DFM else ""
        return f"{self.source.name}, {self.codec}{at}"


@dataclass(frozen=True)
class _JobResult:
    """Result of a job."""

    measurements: Sequence[Measurement]
    failures: Sequence[Failure]
    cache_problem: str | None = None  # why a measurement was not cached


def run(
    plan: Plan,
    on_done: Callable[[int], None] = lambda cells: None,
    on_notice: Callable[[str], None] = lambda notice: None,
) -> Comparison:
    """Runs a comparison. Failures do not stop the remaining measurements. Calls `on_done` after
    each job with its number of cells, of image, target and codec, and `on_notice` with notices of
    skipped files, and once if measurements are not cached. Raises ConfigError for unknown codecs.
    """
    started = time.perf_counter()
    needs = [(codec, codec.missing()) for codec in plan.codecs()]
    images, failures = find_images(plan.paths, on_notice)
    failures += [Failure.of(codec.name, f"left out because it needs {need}") for codec, need in needs if need]
    anchors = [codec for codec, need in needs if not need]
    collector = _Collector(plan, anchors, on_done, on_notice)
    first = [_Job(image, DFM, (target,)) for image in images for target in plan.targets]
    run_jobs(partial(_perform, plan), first, plan.processes, collector.take)
    names, order = [image.name for image in images], [DFM, *plan.anchors]
    return Comparison(
        images=tuple(images),
        targets=plan.targets,
        codecs={codec.name: _description(codec) for codec in anchors},
        measurements=tuple(
            sorted(
                collector.measurements,
                key=lambda m: (plan.targets.index(m.target), names.index(m.image), order.index(m.codec)),
            )
        ),
        failures=(*failures, *collector.failures),
        original_crops={image.name: encode_crop(pixels := image.pixels(), pixels) for image in images},
        host=host(),
        versions=library_versions(),
        processes=plan.processes,
        total_s=time.perf_counter() - started,
        curves=plan.curves,
    )


class _Collector:
    """Collector of results. It creates the jobs of anchors when all file sizes of dfm are known for
    an image.
    """

    def __init__(
        self,
        plan: Plan,
        anchors: list[Codec],
        on_done: Callable[[int], None],
        on_notice: Callable[[str], None],
    ) -> None:
        self.measurements: list[Measurement] = []
        self.failures: list[Failure] = []
        self._plan, self._anchors = plan, anchors
        self._on_done, self._on_notice = on_done, on_notice
        self._is_kept = True  # all measurements were cached so far
        self._dfm_bytes: dict[str, dict[Target, int | None]] = defaultdict(dict)  # image name -> sizes of dfm's files

    def take(self, job: _Job, result: _JobResult | None) -> list[_Job]:
        """Stores the result of a job, None if its process died, and returns further jobs."""
        result = result or _JobResult((), (Failure.of(job.name, "the process died"),))
        self.measurements += result.measurements
        self.failures += result.failures
        self._on_done(len(job.targets))
        if self._is_kept and result.cache_problem is not None:
            self._is_kept = False
            self._on_notice(f"measurements are not kept: {result.cache_problem}")
        if job.codec != DFM:
            return []
        sizes = self._dfm_bytes[job.source.name]
        figures = result.measurements[0].figures if result.measurements else None
        sizes[job.targets[0]] = None if figures is None else figures.file_bytes
        if len(sizes) < len(self._plan.targets):
            return []
        limits = {target: size for target, size in sizes.items() if size is not None}
        self._on_done(len(self._anchors) * (len(sizes) - len(limits)))
        anchors = self._anchors if limits else ()
        return [_Job(job.source, codec.name, tuple(limits), tuple(limits.values())) for codec in anchors]


def find_images(
    paths: tuple[Path, ...], on_notice: Callable[[str], None] = lambda notice: None
) -> tuple[list[SourceImage], list[Failure]]:
    """Reads and hashes every image of files and folders. Images that dfm cannot encode become
    failures. Notices are of skipped devices and pipes, and of conversions and losses.
    """
    files, failures = _image_files(paths, on_notice)
    images = []
    for path, name in _named(files).items():
        try:
            image = read_image(path, strip="all", notify=on_notice)
        except Exception as error:  # one invalid image does not stop the rest
            failures.append(Failure.of(name, _message(error)))
            continue
        if notice := image.plain_notice():
            on_notice(f"{name} is measured {notice}, as not every codec keeps more")
        pixels = image.plain().pixels
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        height, width, channels = pixels.shape
        images.append(SourceImage(name, path, digest, width, height, channels))
    return images, failures


def image_names(paths: tuple[Path, ...]) -> dict[Path, str]:
    """Returns the names that a run gives to images of files and folders, without reading them."""
    return _named(_image_files(paths, lambda notice: None)[0])


def _named(files: list[Path]) -> dict[Path, str]:
    """Returns a unique printable name for each file: its stem, or its path if stems are equal."""
    stems = Counter(printable(path.stem) for path in files)
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in files:
        stem = printable(path.stem)
        first = stem if stems[stem] == 1 else printable(str(path))
        further = (f"{first} ({number})" for number in count(2))  # names may differ in unprintable characters only
        names[path] = next(name for name in chain([first], further) if name not in taken)
        taken.add(names[path])
    return names


def _image_files(paths: tuple[Path, ...], on_notice: Callable[[str], None]) -> tuple[list[Path], list[Failure]]:
    """Returns the given files and the image files of folders, without duplicates; and failures.
    Devices and pipes in folders are skipped, because a run reads each file twice.
    """
    failures = []
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            try:
                below = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
            except OSError as error:
                failures.append(Failure.of(str(path), f"cannot be read: {error.strerror or error}"))
                continue
            if not below:
                failures.append(Failure.of(str(path), "a folder without images"))
            for file in below:
                if is_stream(file):
                    on_notice(f"skipped {file}: {NOT_A_FILE}")
                else:
                    files[file] = None
        elif is_stream(path):
            failures.append(Failure.of(str(path), f"{NOT_A_FILE}; name a file"))
        else:
            files[path] = None
    return list(files), failures


def host() -> str:
    """Returns a description of the computer."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            processor = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{processor}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def _description(codec: Codec) -> dict[str, Any]:
    return {
        "label": codec.label,
        "version": codec.version(),
        "options": codec.options(),
        "forms": list(codec.forms),
        "tuned_for": codec.tuned_for,
    }


# Jobs, performed in this or in worker processes.
# All that determines the measurement of a cell, the cell's target, and a function that measures it.
_Cell = tuple[dict[str, Any], Target, Callable[[], Measurement]]


def _perform(plan: Plan, job: _Job) -> _JobResult:
    """Measures the cells of a job. An exception becomes a failure."""
    cache = Cache(plan.cache_folder)
    measurements = []
    failures = []
    try:
        for decisive, target, measure in _dfm_cell(job) if job.codec == DFM else _anchor_cells(plan, job):
            measurement = cache.get(decisive)
            if measurement is None:
                measurement = measure()
                cache.put(decisive, measurement)
            measurements.append(replace(measurement, image=job.source.name, target=target))
    except Exception as error:  # one invalid image does not stop the rest
        failures.append(Failure.of(job.name, _message(error)))
    return _JobResult(measurements, failures, cache.problem)


def _is_by_butteraugli(target: Target) -> bool:
    return BUTTERAUGLI in EQUAL_QUALITY[target.tune] and butteraugli.is_installed()


def _measures(target: Target) -> dict[str, Any]:
    """Returns what determines the measures of a target's files."""
    return {"measures": _MEASURES, **({BUTTERAUGLI.name: True} if _is_by_butteraugli(target) else {})}


def _figures(
    target: Target, original: Pixels, data: bytes, encode_s: float, decode: Callable[[bytes], Pixels]
) -> Figures:
    further = {"butteraugli": butteraugli.butteraugli} if _is_by_butteraugli(target) else {}
    return measure_figures(original, data, encode_s, decode, **further)


def _message(error: Exception) -> str:
    """Returns the message of an exception, with its type if it is unexpected."""
    if is_lack_of_memory(error):
        return NO_MEMORY
    return str(error) if isinstance(error, DfmError) else f"{type(error).__name__}: {error}"


def _dfm_cell(job: _Job) -> Iterator[_Cell]:
    (target,) = job.targets
    decisive = {
        "image": job.source.sha256,
        "codec": DFM,
        "target": [target.model, target.effort, target.rate, target.time_limit_s, target.tune],
        "code": code_fingerprint(),
        "kernels": kernels.instruction_set(),
        "versions": library_versions(),
        **_measures(target),
    }
    yield decisive, target, partial(_measure_dfm, job.source, target)


def _measure_dfm(source: SourceImage, target: Target) -> Measurement:
    import dfmcodec
    from dfmcodec.codecs.decode import decode_image

    image = source.read()
    options: dict[str, Any] = {"tune": target.tune, "time_limit_s": target.time_limit_s}
    if has_option(target.model, "effort"):
        options["effort"] = target.effort
    started = time.perf_counter()
    result = dfmcodec.encode(image, model=target.model, rate=target.rate, **options)
    encode_s = time.perf_counter() - started
    figures = _figures(target, image.pixels, result.data, encode_s, lambda data: decode_image(data).pixels)
    return Measurement(source.name, target, DFM, "", limit_bytes=result.report.limit_bytes or 0, figures=figures)


def _anchor_cells(plan: Plan, job: _Job) -> Iterator[_Cell]:
    codec = next(codec for codec in plan.codecs() if codec.name == job.codec)
    pixels = job.source.pixels()
    for form in codec.forms:
        search = SizeSearch(codec, form, pixels)
        for target, limit in zip(job.targets, job.limits_bytes, strict=True):
            decisive = {
                "image": job.source.sha256,
                "codec": job.codec,
                "form": form,
                "options": codec.options(),
                "version": codec.version(),
                "limit": limit,
                **_measures(target),
            }
            yield decisive, target, partial(_measure_anchor, job.source.name, search, target, limit)


def _measure_anchor(image_name: str, search: SizeSearch, target: Target, limit: int) -> Measurement:
    codec, match = search.codec, search.largest_within(limit)
    empty = Measurement(image_name, target, codec.name, search.form, limit)
    if isinstance(match, OutOfReach):
        return replace(empty, smallest_bytes=match.smallest_bytes)
    return replace(
        empty,
        setting=match.setting,
        next_setting=match.next_setting,
        next_bytes=match.next_bytes,
        figures=_figures(target, search.pixels, match.data, match.encode_s, codec.decode),
    )
