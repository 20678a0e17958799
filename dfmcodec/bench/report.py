"""Tables of a comparison, as text with at most 80 columns, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from textwrap import fill
from typing import Any

from dfmcodec.bench.measurement import DFM, MEASURES, Measure, Measurement, Target
from dfmcodec.bench.runner import Comparison
from dfmcodec.bench.summary import (
    HIGHEST_SCORE,
    LOW_OVERLAP,
    LOWEST_SCORE,
    BdSummary,
    bd_rates,
    by_series,
    common_files,
)
from dfmcodec.perception.butteraugli import ABSENT

_WIDTH, _NAME_WIDTH = 80, 16
_NO_VALUE = "-"
_LABELS = {measure.name: measure.label.removesuffix(" dB") for measure in MEASURES}
_MEAN_COLUMNS = (*MEASURES, Measure("encode_s", "encode s", 3), Measure("decode_s", "decode s", 3))


@dataclass(frozen=True)
class Table:
    """Table of texts. The first cell of a row is its heading."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def as_text(comparison: Comparison) -> str:
    """Returns the tables of means as text, followed by the failures."""
    parts = [_table_text(table) for table in _mean_tables(comparison)]
    parts.append("\n".join(fill(note, _WIDTH) for note in _notes(comparison)))
    if comparison.failures:
        failures = [f"  {failure.name}: {failure.error}" for failure in comparison.failures]
        parts.append("\n".join([f"not measured ({len(failures)}):", *failures]))
    return "\n\n".join(parts)


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Returns plain values for JSON (docs/benchmark.md). The PSNR of a lossless file is None."""
    return {
        "versions": comparison.versions,
        "host": comparison.host,
        "processes": comparison.processes,
        "total_s": round(comparison.total_s, 1),
        "codecs": comparison.codecs,
        "curves": [asdict(curve) for curve in comparison.curves],
        "images": [asdict(image) for image in comparison.images],
        "measurements": [measurement.row() for measurement in comparison.measurements],
        "bd_rates": [rate.as_dict() for rate in bd_rates(comparison)],
        "failures": [asdict(failure) for failure in comparison.failures],
    }


def _labels(comparison: Comparison) -> dict[str, str]:
    """Returns the labels of dfm and of each codec that was run, by name."""
    return {DFM: DFM} | {name: codec["label"] for name, codec in comparison.codecs.items()}


def _mean_tables(comparison: Comparison) -> list[Table]:
    """Returns, for each series of dfm, the bits at equal quality and the means at equal size."""
    rates = bd_rates(comparison)
    tables = []
    for series, targets in by_series(comparison).items():
        if any(measurement.target in targets for measurement in comparison.measurements):
            tables.append(_bits_table(series, [rate for rate in rates if rate.series == series], comparison))
            tables.append(_means_table(series, targets, comparison))
    return tables


def _bits_table(series: str, rates: Sequence[BdSummary], comparison: Comparison) -> Table:
    """Returns dfm's bits at equal quality, with a row for each codec and curve."""
    cells = {(rate.anchor, rate.measure): rate for rate in rates}
    anchors = [codec["label"] for codec in comparison.codecs.values()] + [curve.label for curve in comparison.curves]
    measures = [measure for measure in MEASURES if any(rate.measure == measure.name for rate in rates)]
    title = f"{series}: bits at equal quality, and images with fewer / more bits"
    if not measures:
        return Table(title, ("dfm against",), (), ("None: they need three rates that both codecs reach.",))
    rows = tuple((label, *(_bits(cells.get((label, m.name))) for m in measures)) for label in anchors)
    return Table(title, ("dfm against", *(_LABELS[measure.name] for measure in measures)), rows, _doubts(rates))


def _bits(rate: BdSummary | None) -> str:
    if rate is None:
        return _NO_VALUE
    percents = rate.by_image.values()
    return f"{_percent(rate.mean)} ({sum(p < 0 for p in percents)}/{sum(p > 0 for p in percents)})"


def _doubts(rates: Sequence[BdSummary]) -> tuple[str, ...]:
    """Returns notes on BD-rates that are missing or unreliable for some images."""
    notes = []
    for rate in rates:
        where = f"{rate.anchor}, {_LABELS[rate.measure]}"
        if rate.low_overlap_count:
            count = f"{rate.low_overlap_count} of {len(rate.overlaps)} images"
            notes.append(f"{where}: the curves of {count} share under {100 * LOW_OVERLAP:.0f} % of their range.")
        if rate.missing_images:
            notes.append(f"{where}: {len(rate.missing_images)} images without three rates in a common range.")
    return tuple(notes)


def _means_table(series: str, targets: Sequence[Target], comparison: Comparison) -> Table:
    """Returns means over the images and rates for which all codecs have a lossy file."""
    files = common_files(comparison, targets)
    total = sum(measurement.codec == DFM and measurement.target in targets for measurement in comparison.measurements)
    rows = tuple(
        (label, _size(files[name], files[DFM]), *(_mean(files[name], column) for column in _MEAN_COLUMNS))
        for name, label in _labels(comparison).items()
        if name in files
    )
    title = f"{series}: means of {len(files.get(DFM, ()))} of {total} files, at equal size"
    absent = [label for name, label in _labels(comparison).items() if name not in files]
    notes = (f"No file as small as dfm's: {', '.join(absent)}.",) if absent else ()
    return Table(title, ("codec", "size", *(column.label for column in _MEAN_COLUMNS)), rows, notes)


def _size(files: Sequence[Measurement], dfm_files: Sequence[Measurement]) -> str:
    """Returns the mean ratio of file sizes to dfm's."""
    pairs = zip(files, dfm_files, strict=True)
    return f"{100 * fmean(file.file_bytes / ours.file_bytes for file, ours in pairs):.1f}%" if files else _NO_VALUE


def _mean(files: Sequence[Measurement], column: Measure) -> str:
    values = [value for file in files if (value := file.value(column)) is not None]
    return f"{fmean(values):.{column.digits}f}" if values and len(values) == len(files) else _NO_VALUE


def _notes(comparison: Comparison) -> list[str]:
    scores = f"SSIMULACRA2 from {LOWEST_SCORE:g} to {HIGHEST_SCORE:g}"
    notes = [
        f"Bits are means of BD-rates over images; by SSIMULACRA2 and Butteraugli over files with {scores}.",
        "Each codec has the largest file that is not larger than dfm's. dfm's seconds include the search for the size.",
    ]
    if all(measurement.butteraugli is None for measurement in comparison.measurements):
        notes.append(ABSENT)
    tuned = [f"{codec['label']} for {codec['tuned_for']}" for codec in comparison.codecs.values() if codec["tuned_for"]]
    if tuned:
        notes.append(f"Tuned: {'; '.join(tuned)}.")
    several = f", {comparison.processes} images at a time, so times are longer" if comparison.processes > 1 else ""
    return [*notes, f"Total time {comparison.total_s:.0f} s{several}. {comparison.host}."]


def _percent(value: float | None) -> str:
    return _NO_VALUE if value is None else f"{value:+.1f} %"


def _table_text(table: Table) -> str:
    head, *rows = [[_short(row[0]), *row[1:]] for row in (table.head, *table.rows)]
    notes = [fill(note, _WIDTH) for note in table.notes]
    return "\n".join([table.title, *([aligned([head, *rows])] if rows else []), *notes])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Aligns the first column of a table to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def _short(label: str) -> str:
    """Shortens a label in the middle to the width of its column."""
    half = _NAME_WIDTH // 2
    return label if len(label) <= _NAME_WIDTH else f"{label[: half - 1]}~{label[-half:]}"
