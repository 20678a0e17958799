"""Runs a comparison: dfm encodes every image, then every anchor at the sizes of dfm's files."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

from dfmcodec.bench.codecs import Codec, library_versions, read_codecs, select
from dfmcodec.bench.curves import Curve
from dfmcodec.bench.matching import Match, SizeSearch
from dfmcodec.bench.measurement import DFM, PLAIN_DFM, Measurement, Target, measure_file
from dfmcodec.errors import NO_MEMORY, DfmError, is_lack_of_memory
from dfmcodec.files.atomic import NOT_A_FILE, is_stream
from dfmcodec.files.names import printable
from dfmcodec.image import Image
from dfmcodec.image.read_image import IMAGE_SUFFIXES, read_image
from dfmcodec.models import has_option
from dfmcodec.processes import run_jobs


@dataclass(frozen=True)
class SourceImage:
    """Image of a run."""

    name: str  # printable and unique
    path: str
    width: int
    height: int
    channels: int  # 1 or 3


@dataclass(frozen=True)
class Failure:
    """Measurement that failed, with a printable reason of one line."""

    name: str  # of the image, codec or path
    error: str

    @classmethod
    def of(cls, name: str, error: str | Exception) -> Failure:
        """Creates a failure from texts that may contain control characters, such as file names."""
        text = error if isinstance(error, str) else _message(error)
        return cls(printable(name), printable(" ".join(text.split())))


@dataclass(frozen=True)
class Plan:
    """Plan of a comparison."""

    paths: tuple[Path, ...]  # images and folders of images
    targets: tuple[Target, ...]
    anchors: tuple[str, ...]  # names of the codecs to compare with
    codecs_file: Path | None = None  # Python file that defines more codecs
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
    # label, version, options and forms of each anchor, and of dfm without textures, by name
    codecs: dict[str, dict[str, Any]]
    measurements: tuple[Measurement, ...]  # in the order of images, codecs and targets
    failures: tuple[Failure, ...]
    host: str
    versions: dict[str, str]
    processes: int
    total_s: float
    curves: tuple[Curve, ...] = ()


@dataclass
class _ImageResult:
    """Results of one image."""

    image: SourceImage | None = None  # None if it could not be read
    measurements: list[Measurement] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def run(
    plan: Plan,
    on_done: Callable[[], None] = lambda: None,
    on_notice: Callable[[str], None] = lambda notice: None,
) -> Comparison:
    """Runs a comparison. Failures do not stop the remaining measurements. Calls `on_done` after
    each image, and `on_notice` with notices of skipped files, conversions and losses. Raises
    ConfigError for unknown codecs.
    """
    started = time.perf_counter()
    needs = [(codec, codec.missing()) for codec in plan.codecs()]
    names, failures = _named_images(plan.paths, on_notice)
    failures += [Failure.of(codec.name, f"left out because it needs {need}") for codec, need in needs if need]
    results: dict[str, _ImageResult] = {}

    def take(job: tuple[Path, str], result: _ImageResult | None) -> Sequence[tuple[Path, str]]:
        name = job[1]
        results[name] = result or _ImageResult(failures=[Failure.of(name, "the process died")])
        for notice in results[name].notices:
            on_notice(notice)
        on_done()
        return ()

    run_jobs(partial(_measure_image, plan), names.items(), plan.processes, take)
    in_order = [results[name] for name in names.values()]
    return Comparison(
        images=tuple(result.image for result in in_order if result.image is not None),
        targets=plan.targets,
        codecs=_plain_dfm(plan) | {codec.name: _description(codec) for codec, need in needs if not need},
        measurements=tuple(chain.from_iterable(result.measurements for result in in_order)),
        failures=(*failures, *chain.from_iterable(result.failures for result in in_order)),
        host=host(),
        versions=library_versions(),
        processes=plan.processes,
        total_s=time.perf_counter() - started,
        curves=plan.curves,
    )


def image_names(paths: tuple[Path, ...]) -> dict[Path, str]:
    """Returns the names that a run gives to images of files and folders, without reading them."""
    return _named_images(paths, lambda notice: None)[0]


def _named_images(paths: tuple[Path, ...], on_notice: Callable[[str], None]) -> tuple[dict[Path, str], list[Failure]]:
    """Returns a unique printable name for each image of files and folders: its stem, or its path if
    stems are equal; and failures. Devices and pipes are not read.
    """
    failures = []
    files: dict[Path, None] = {}
    for path in paths:
        try:
            is_folder = path.is_dir()
            images = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES) if is_folder else [path]
        except OSError as error:
            failures.append(Failure.of(str(path), f"cannot be read: {error.strerror or error}"))
            continue
        if not images:
            failures.append(Failure.of(str(path), "a folder without images"))
        for file in images:
            if not is_stream(file):
                files[file] = None
            elif is_folder:
                on_notice(f"skipped {file}: {NOT_A_FILE}")
            else:
                failures.append(Failure.of(str(file), f"{NOT_A_FILE}; name a file"))
    stems = Counter(printable(path.stem) for path in files)
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in files:
        stem = printable(path.stem)
        first = stem if stems[stem] == 1 else printable(str(path))
        further = (f"{first} ({number})" for number in count(2))  # names may differ in unprintable characters only
        names[path] = next(name for name in chain([first], further) if name not in taken)
        taken.add(names[path])
    return names, failures


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


def _plain_dfm(plan: Plan) -> dict[str, dict[str, Any]]:
    """Returns the description of dfm without textures; an empty dict if no file has one."""
    if not any(target.may_have_texture for target in plan.targets):
        return {}
    described = {"label": "no texture", "version": f"dfmcodec {library_versions()['dfmcodec']}"}
    return {PLAIN_DFM: {**described, "options": {"texture": False}, "forms": [""], "tuned_for": ""}}


def _measure_image(plan: Plan, job: tuple[Path, str]) -> _ImageResult:
    """Measures the files of an image, in this or in a worker process. Exceptions become failures.

    Images are measured in 8 bits, without alpha and metadata, as not every codec keeps more.
    """
    path, name = job
    result = _ImageResult()
    try:
        source = read_image(path, strip="all", notify=result.notices.append)
    except Exception as error:
        result.failures.append(Failure.of(name, error))
        return result
    if notice := source.plain_notice():
        result.notices.append(f"{name} is measured {notice}, as not every codec keeps more")
    image = source.plain()
    result.image = SourceImage(name, printable(str(path)), image.width, image.height, image.pixels.shape[2])
    for target in plan.targets:
        try:
            result.measurements += _measure_dfm(name, image, target)
        except Exception as error:
            result.failures.append(Failure.of(f"{name}, dfm at {target.label}", error))
    dfm_files = tuple(measurement for measurement in result.measurements if measurement.codec == DFM)
    for codec in plan.codecs():
        if codec.missing() is None:
            try:
                result.measurements += _measure_anchor(codec, image, dfm_files)
            except Exception as error:
                result.failures.append(Failure.of(f"{name}, {codec.name}", error))
    return result


def _message(error: Exception) -> str:
    """Returns the message of an exception, with its type if it is unexpected."""
    if is_lack_of_memory(error):
        return NO_MEMORY
    return str(error) if isinstance(error, DfmError) else f"{type(error).__name__}: {error}"


def _measure_dfm(name: str, image: Image, target: Target) -> list[Measurement]:
    """Returns the measurement of a file, and that of its image without texture if it may have
    one.
    """
    import dfmcodec
    from dfmcodec.codecs.decode import DecodeRequest, decode_image

    options: dict[str, Any] = {"effort": target.effort} if has_option(target.model, "effort") else {}
    started = time.perf_counter()
    result = dfmcodec.encode(image, model=target.model, rate=target.rate, tune=target.tune, **options)
    encode_s = time.perf_counter() - started

    def measured(codec: str, texture: bool) -> Measurement:
        request = DecodeRequest(texture=texture)
        decode = lambda data: decode_image(data, request).pixels  # noqa: E731
        return measure_file(image.pixels, result.data, decode, encode_s, image=name, target=target, codec=codec)

    return [measured(DFM, True), *([measured(PLAIN_DFM, False)] if target.may_have_texture else [])]


def _measure_anchor(codec: Codec, image: Image, dfm_files: Sequence[Measurement]) -> Iterator[Measurement]:
    """Yields, for each file of dfm, the codec's best file that is not larger, if there is one. The
    form counts that is better by the measure of the tune.
    """
    searches = [SizeSearch(codec, form, image.pixels) for form in codec.forms]
    for dfm_file in dfm_files:
        measure = dfm_file.target.measure
        files = [
            measure_file(
                image.pixels,
                match.data,
                codec.decode,
                match.encode_s,
                image=dfm_file.image,
                target=dfm_file.target,
                codec=codec.name,
                form=search.form,
                setting=match.setting,
            )
            for search in searches
            if isinstance(match := search.largest_within(dfm_file.file_bytes), Match)
        ]
        if files:
            yield max(files, key=lambda file: (file.quality(measure) or 0.0, file.psnr_db))
