"""Tables of a comparison, as text with at most 80 columns, as an HTML page, and as JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from math import log
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
from dfmcodec.files.names import printable
from dfmcodec.perception import Point
from dfmcodec.perception.butteraugli import ABSENT

_WIDTH, _NAME_WIDTH = 80, 16
_NO_VALUE = "-"
_LABELS = {measure.name: measure.label.removesuffix(" dB") for measure in MEASURES}
_MEAN_COLUMNS = (*MEASURES, Measure("encode_s", "encode s", 3), Measure("decode_s", "decode s", 3))

# The palette of Okabe and Ito, which most colour-blind people can distinguish.
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8a8a2a", "#999999")
_TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_PLOT_WIDTH, _PLOT_HEIGHT, _LEGEND_WIDTH = 460, 300, 180

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
  body {{ margin: 0 auto; padding: 1rem; max-width: 70rem; font: 16px/1.5 system-ui, sans-serif; }}
  h1, h2 {{ font-size: 1.2rem; overflow-wrap: anywhere; }}
  div {{ overflow-x: auto; }}
  table {{ border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }}
  th, td {{ padding: .25rem .5rem; border-bottom: 1px solid #d9dee3; text-align: right; }}
  th:first-child {{ text-align: left; }}
  svg {{ width: 100%; max-width: 40rem; display: block; margin-top: 1rem; font-size: 12px; }}
</style>
</head>
<body>
<h1>{title}</h1>
{parts}
</body>
</html>
"""


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


def as_html(comparison: Comparison, title: str) -> str:
    """Returns a self-contained page without scripts: the tables of means, plots, and the tables of
    single images, settings and failures.
    """
    parts = [_table_html(table) for table in _mean_tables(comparison)]
    parts += [f"<p>{_escaped(note)}</p>" for note in _notes(comparison)]
    parts += _plots(comparison)
    parts += [_table_html(table) for table in (*_image_tables(comparison), _settings(comparison))]
    if comparison.failures:
        rows = tuple((failure.name, failure.error) for failure in comparison.failures)
        parts.append(_table_html(Table("Not measured", ("name", "error"), rows)))
    return _PAGE.format(title=_escaped(title), parts="\n".join(parts))


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


def _image_tables(comparison: Comparison) -> list[Table]:
    """Returns tables with a row for each image: bits at equal quality, and scores at equal size."""
    tables = []
    by_measure: dict[tuple[str, str], list[BdSummary]] = defaultdict(list)
    for rate in bd_rates(comparison):
        by_measure[rate.series, rate.measure].append(rate)
    for (series, measure), rates in by_measure.items():
        rows = tuple(
            (image.name, *(_percent(rate.by_image.get(image.name)) for rate in rates)) for image in comparison.images
        )
        head = ("image", *(rate.anchor for rate in rates))
        tables.append(Table(f"{series}: dfm's bits at equal {_LABELS[measure]} against ..", head, rows))
    labels = _labels(comparison)
    for target in comparison.targets:
        files = {(m.image, m.codec): m for m in comparison.measurements if m.target == target}
        rows = tuple(
            (image.name, f"{ours.file_bytes:,}", *(_score(files.get((image.name, name))) for name in labels))
            for image in comparison.images
            if (ours := files.get((image.name, DFM))) is not None
        )
        title = f"{target.label}: {target.measure.label} at equal size"
        tables.append(Table(title, ("image", "bytes", *labels.values()), rows))
    return tables


def _percent(value: float | None) -> str:
    return _NO_VALUE if value is None else f"{value:+.1f} %"


def _score(file: Measurement | None) -> str:
    if file is None:
        return _NO_VALUE
    return "lossless" if file.is_lossless else _mean([file], file.target.measure)


def _settings(comparison: Comparison) -> Table:
    rows = [
        (codec["label"], codec["version"], ", ".join(f"{name} {value}" for name, value in codec["options"].items()))
        for codec in comparison.codecs.values()
    ]
    rows += [(curve.label, curve.file, "a curve that was given") for curve in comparison.curves]
    versions = ", ".join(f"{name} {version}" for name, version in comparison.versions.items())
    return Table("Codecs", ("codec", "library or file", "settings"), tuple(rows), (versions,))


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


def _escaped(text: str) -> str:
    """Escapes a text for HTML, including control characters in file names."""
    return escape(printable(text))


def _table_html(table: Table) -> str:
    def cells(tag: str, texts: Sequence[str]) -> str:
        return "".join(f"<{tag}>{_escaped(text)}</{tag}>" for text in texts)

    rows = "\n".join(f"<tr>{cells('th', row[:1])}{cells('td', row[1:])}</tr>" for row in table.rows)
    notes = "\n".join(f"<p>{_escaped(note)}</p>" for note in table.notes)
    head = f"<tr>{cells('th', table.head)}</tr>" if table.rows else ""
    return f"<h2>{_escaped(table.title)}</h2>\n<div><table>\n{head}\n{rows}\n</table></div>\n{notes}"


def _plots(comparison: Comparison) -> list[str]:
    """Returns plots of mean quality over mean rate, with a point for each rate at which all codecs
    have a file of every image.
    """
    labels = _labels(comparison)
    plots = []
    for series, targets in by_series(comparison).items():
        for measure in MEASURES:
            lines: dict[str, list[Point]] = defaultdict(list)
            for target in targets:
                for name, files in common_files(comparison, [target]).items():
                    values = [value for file in files if (value := file.value(measure)) is not None]
                    if len(values) == len(comparison.images):
                        lines[labels[name]].append((fmean(file.bpp for file in files), fmean(values)))
            if any(len(points) > 1 for points in lines.values()):
                plots.append(_plot(f"{series}: mean {measure.label} over bits per pixel", measure.digits, lines))
    return plots


def _plot(title: str, digits: int, lines: dict[str, list[Point]]) -> str:
    """Draws curves as SVG, over a logarithmic axis of bits per pixel."""
    rates = [rate for points in lines.values() for rate, _ in points]
    values = [value for points in lines.values() for _, value in points]
    left, right, low, high = min(rates), max(rates), min(values), max(values)

    def x(rate: float) -> float:
        return 50 + (_PLOT_WIDTH - 60) * log(rate / left) / (log(right / left) or 1)

    def y(value: float) -> float:
        return _PLOT_HEIGHT - 30 - (_PLOT_HEIGHT - 50) * (value - low) / ((high - low) or 1)

    marks = []
    for tick in _TICKS:
        if left <= tick <= right:
            marks.append(f'<path d="M{x(tick):.1f} 20V{_PLOT_HEIGHT - 30}" stroke="#d9dee3"/>')
            marks.append(f'<text x="{x(tick):.1f}" y="{_PLOT_HEIGHT - 12}" text-anchor="middle">{tick:g}</text>')
    for value in {low, (low + high) / 2, high}:
        marks.append(f'<path d="M50 {y(value):.1f}H{_PLOT_WIDTH - 10}" stroke="#d9dee3"/>')
        marks.append(f'<text x="45" y="{y(value) + 4:.1f}" text-anchor="end">{value:.{digits}f}</text>')
    for at, (label, points) in enumerate(lines.items()):
        color, places = _COLORS[at % len(_COLORS)], [(x(rate), y(value)) for rate, value in sorted(points)]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        marks.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        marks += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{color}"/>' for a, b in places]
        marks.append(f'<text x="{_PLOT_WIDTH}" y="{30 + 16 * at}" fill="{color}">{_escaped(_short(label))}</text>')
    size = f"0 0 {_PLOT_WIDTH + _LEGEND_WIDTH} {max(_PLOT_HEIGHT, 40 + 16 * len(lines))}"
    drawing = "\n".join(marks)
    return f'<h2>{_escaped(title)}</h2>\n<svg viewBox="{size}" role="img">\n{drawing}\n</svg>'
