"""A comparison as text of at most 80 columns, as JSON, and as CSV."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from math import isinf
from typing import Any

from dfmcodec.bench.measurement import DFM, Measurement, recorded
from dfmcodec.bench.runner import Comparison
from dfmcodec.bench.summary import (
    LARGE_GAP,
    LOW_OVERLAP,
    BdSummary,
    TargetSummary,
    bd_rates,
    by_target,
    curves_without_bd_rate,
    gap_mark,
    has_curves,
)
from dfmcodec.bench.summary import labels as codec_labels

_ANCHORS_A_TABLE = 5
_NAME_WIDTH = 20
_WIDTH = 80


def as_text(comparison: Comparison) -> str:
    """Tables of each target, and BD-rates if there are several rates."""
    parts = [_target_text(summary, comparison) for summary in by_target(comparison) if summary.rows]
    rates = bd_rates(comparison)
    parts += _bd_texts(rates)
    lacking = curves_without_bd_rate(comparison, rates)
    if rates and lacking:
        lines = [f"no BD-rate against {_short_label(label)}: too few points in common" for label in lacking]
        parts.append("\n".join(lines))
    if not rates and (comparison.curves or (has_curves(comparison) and comparison.codecs)):
        parts.append("no BD-rates: they need three rates that both codecs reach")
    tuned = [f"  {codec['label']}: {codec['tuned_for']}" for codec in comparison.codecs.values() if codec["tuned_for"]]
    if tuned:
        parts.append("\n".join(["what files are tuned for:", *tuned]))
    if comparison.failures:
        lines = [f"not measured ({len(comparison.failures)}):"]
        lines += [f"  {failure.what}: {failure.message}" for failure in comparison.failures]
        parts.append("\n".join(lines))
    several = f", {comparison.processes} files at a time, so times are longer" if comparison.processes > 1 else ""
    parts.append(f"total time {comparison.seconds:.0f} s{several}")
    return "\n\n".join(parts)


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Plain values for JSON (docs/curves.md). No number is infinite: the PSNR of a lossless file is
    None.
    """
    return {
        "versions": comparison.versions,
        "machine": comparison.host,
        "processes": comparison.processes,
        "seconds": round(comparison.seconds, 1),
        "codecs": comparison.codecs,
        "curves": [
            {"label": curve.label, "file": curve.file, "by_picture": dict(curve.by_image), "mean": curve.mean}
            for curve in comparison.curves
        ],
        "pictures": [{**asdict(image), "path": str(image.path)} for image in comparison.images],
        "measurements": [measurement.row() for measurement in comparison.measurements],
        "summaries": [
            {"target": asdict(summary.target), "codecs": [recorded(asdict(codec)) for codec in summary.codecs]}
            for summary in by_target(comparison)
        ],
        "bd_rates": [
            {**recorded(asdict(rate)), "mean": rate.mean, "median": rate.median, "low_overlap": rate.low_overlap}
            for rate in bd_rates(comparison)
        ],
        "failures": [asdict(failure) for failure in comparison.failures],
    }


def as_csv(comparison: Comparison) -> str:
    """A header, and one line for each measurement."""
    rows = [measurement.row() for measurement in comparison.measurements]
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _csv_value(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def _csv_value(value: object) -> object:
    """True and false as JSON has them."""
    return str(value).lower() if isinstance(value, bool) else value


def _target_text(summary: TargetSummary, comparison: Comparison) -> str:
    anchors = list(comparison.codecs)
    labels = codec_labels(comparison)
    parts = [f"{summary.target.label}: PSNR in dB, at the size of dfm's own file"]
    for start in range(0, max(1, len(anchors)), _ANCHORS_A_TABLE):
        parts.append(_image_table(summary, anchors[start : start + _ANCHORS_A_TABLE], labels))
    parts.append(_codec_table(summary, labels))
    return "\n\n".join(parts)


def _image_table(summary: TargetSummary, anchors: list[str], labels: dict[str, str]) -> str:
    rows = [["image", "bytes", DFM, *(labels[anchor] for anchor in anchors)]]
    notes = set()
    for row in summary.rows:
        ours = row.cells[DFM].figures
        cells = []
        for anchor in anchors:
            text, note = _cell(row.cells.get(anchor))
            cells.append(text)
            notes.add(note)
        size, psnr = (str(ours.bytes), _db(ours.psnr_db)) if ours else ("", "")
        rows.append([_short(row.image_name), size, psnr, *cells])
    if len(summary.rows) > 1:
        complete = [codec for codec in summary.codecs if codec.image_count == len(summary.rows)]
        means = {codec.codec: codec.mean["psnr_db"] for codec in complete}
        rows.append(["mean", "", *(_db(means.get(name)) for name in (DFM, *anchors))])
    return "\n".join([aligned(rows), *sorted(note for note in notes if note)])


def _cell(cell: Measurement | None) -> tuple[str, str]:
    """An anchor's PSNR, and the note below the table that it needs."""
    if cell is None:
        return "failed", ""
    if cell.figures is None:
        return "-", "- this codec has no file as small as dfm's"
    mark = gap_mark(cell)
    why = {"*": "the codec's next setting is too large", "+": "the codec's best setting"}
    note = f"{mark} smaller than dfm's by more than {100 * LARGE_GAP:.0f} %: {why[mark]}" if mark else ""
    return _db(cell.figures.psnr_db) + mark, note


def _codec_table(summary: TargetSummary, labels: dict[str, str]) -> str:
    with_ssimulacra2 = any(codec.mean["ssimulacra2"] is not None for codec in summary.codecs)
    extra = ["SSIMU2"] if with_ssimulacra2 else []
    rows = [
        ["codec", "size", "SSIM", "MS-SSIM", *extra, "enc s", "dec s", "gain dB", "win/loss"],
        ["better is", "", "higher", "higher", *(["higher"] if extra else []), "lower", "lower", "", ""],
    ]
    for codec in summary.codecs:
        gain = "" if codec.codec == DFM or codec.gain_db is None else f"{codec.gain_db:+.2f}"
        rows.append(
            [
                labels[codec.codec],
                f"{100 * codec.size:.1f}%",
                _number(codec.mean["ssim"], 4),
                _number(codec.mean["ms_ssim"], 4),
                *([_number(codec.mean["ssimulacra2"], 1)] if extra else []),
                _seconds(codec.mean["encode_s"]),
                _seconds(codec.mean["decode_s"]),
                gain,
                "" if codec.codec == DFM else f"{codec.wins}/{codec.losses}",
            ]
        )
    return aligned(rows)


def _bd_texts(rates: list[BdSummary]) -> list[str]:
    """For each series a table of BD-rates, and below it those of each image."""
    series: dict[str, list[BdSummary]] = defaultdict(list)
    for rate in rates:
        series[rate.series].append(rate)
    texts = []
    for name, members in series.items():
        texts.append(_bd_table(name, members))
        texts += _bd_image_tables(name, [rate for rate in members if rate.kind != "mean curve"])
    return texts


def _bd_table(series: str, rates: list[BdSummary]) -> str:
    rows = [["against", "mean", "median", "best", "worst", "images"]]
    notes = []
    for rate in rates:
        label = _short_label(rate.label)
        if rate.kind == "mean curve":
            rows.append([label, f"{rate.mean:+.1f} %", "", "", "", rate.kind])
        else:
            figures = (rate.mean, rate.median, rate.best, rate.worst)
            rows.append([label, *(f"{figure:+.1f} %" for figure in figures), str(len(rate.by_image))])
        if rate.low_overlap:
            where = "" if rate.kind == "mean curve" else f" on {rate.low_overlap} of {len(rate.by_image)}"
            notes.append(f"{label}: curves share under {100 * LOW_OVERLAP:.0f} % of their PSNR span{where}")
        if rate.without:
            notes.append(f"{label}: too few common points on {len(rate.without)} images")
    return "\n".join([f"BD-rate of dfm ({series}) by PSNR; below 0, dfm's files are smaller", aligned(rows), *notes])


def _bd_image_tables(series: str, rates: list[BdSummary]) -> list[str]:
    """BD-rates by image, in as many tables as their width needs. None if all are of one image."""
    names = list(dict.fromkeys(name for rate in rates for name in (*rate.by_image, *rate.without)))
    if len(names) < 2:
        return []
    columns = [
        [
            _short_label(rate.label),
            *(f"{rate.by_image[name]:+.1f} %" if name in rate.by_image else "" for name in names),
        ]
        for rate in rates
    ]
    first = ["image", *map(_short, names)]
    tables: list[list[list[str]]] = []
    left = 0
    for column in columns:
        width = 2 + max(map(len, column))
        if width > left:
            tables.append([first])
            left = _WIDTH - max(map(len, first))
        tables[-1].append(column)
        left -= width
    heading = f"BD-rate of dfm ({series}) on each image"
    return ["\n".join([heading, aligned(list(zip(*table, strict=True)))]) for table in tables]


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Aligns the columns of a table: the first `left` to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _short(name: str) -> str:
    """A name cut to the width of its column. The end is kept, as it differs between images more
    than the beginning.
    """
    return name if len(name) <= _NAME_WIDTH else "~" + name[1 - _NAME_WIDTH :]


def _short_label(label: str) -> str:
    """A codec's label cut to the width of its column, in the middle."""
    half = _NAME_WIDTH // 2
    return label if len(label) <= _NAME_WIDTH else f"{label[: half - 1]}~{label[-half:]}"


def _db(value: float | None) -> str:
    return "" if value is None else "exact" if isinf(value) else f"{value:.2f}"


def _seconds(value: float | None) -> str:
    return _number(value, 2 if value is not None and value < 100 else 0)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
