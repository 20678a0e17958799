"""Comparison as text with at most 80 columns, as JSON, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from textwrap import fill
from typing import Any

from dfmcodec.bench.measurement import DFM, Figures, Measurement
from dfmcodec.bench.measures import MEASURES, PSNR, SSIMULACRA2, Measure, number_text
from dfmcodec.bench.overview import Overview, overviews
from dfmcodec.bench.runner import Comparison
from dfmcodec.bench.summary import (
    LARGE_GAP,
    LOW_OVERLAP,
    MEAN_CURVE,
    BdSummary,
    TargetSummary,
    bd_rates,
    by_series_and_measure,
    by_target,
    curves_without_bd_rate,
    gap_mark,
    has_curves,
    image_names,
)
from dfmcodec.bench.summary import labels as codec_labels

_NAME_WIDTH = 20
_WIDTH = 80


def as_text(comparison: Comparison) -> str:
    """Returns a short table for each series of the tune `visual`. For the tune `psnr` and for
    curves, returns a table for each target, and BD-rates if there are several rates.
    """
    parts = [_overview_text(overview) for overview in overviews(comparison)]
    summaries = [summary for summary in by_target(comparison) if summary.rows and summary.target.measure == PSNR]
    parts += [_target_text(summary, comparison) for summary in summaries]
    rates = [rate for rate in bd_rates(comparison) if (rate.codec, rate.measure) == (DFM, PSNR.name)]
    parts += _bd_texts(rates)
    lacking = curves_without_bd_rate(comparison, rates)
    if rates and lacking:
        lines = [f"no BD-rate against {_short_label(label)}: too few points in common" for label in lacking]
        parts.append("\n".join(lines))
    if not rates and (comparison.curves or (summaries and has_curves(comparison) and comparison.codecs)):
        parts.append("no BD-rates: they need three rates that both codecs reach")
    tuned = [f"  {codec['label']}: {codec['tuned_for']}" for codec in comparison.codecs.values() if codec["tuned_for"]]
    if tuned:
        without = [codec["label"] for codec in comparison.codecs.values() if not codec["tuned_for"]]
        last = [fill(f"no tune is known for {', '.join(without)}", _WIDTH)] if without else []
        parts.append("\n".join(["files are tuned for:", *tuned, *last]))
    if comparison.failures:
        lines = [f"not measured ({len(comparison.failures)}):"]
        lines += [f"  {failure.name}: {failure.error}" for failure in comparison.failures]
        parts.append("\n".join(lines))
    several = f", {comparison.processes} files at a time, so times are longer" if comparison.processes > 1 else ""
    parts.append(f"total time {comparison.total_s:.0f} s{several}")
    return "\n\n".join(parts)


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Returns plain values for JSON (docs/curves.md). The PSNR of a lossless file is None."""
    return {
        "versions": comparison.versions,
        "host": comparison.host,
        "processes": comparison.processes,
        "total_s": round(comparison.total_s, 1),
        "codecs": comparison.codecs,
        "curves": [
            {"label": curve.label, "file": curve.file, "by_image": dict(curve.by_image), "mean": curve.mean}
            for curve in comparison.curves
        ],
        "images": [{**asdict(image), "path": str(image.path)} for image in comparison.images],
        "measurements": [measurement.row() for measurement in comparison.measurements],
        "summaries": [
            {"target": asdict(summary.target), "codecs": [asdict(codec) for codec in summary.codecs]}
            for summary in by_target(comparison)
        ],
        "bd_rates": [rate.as_dict() for rate in bd_rates(comparison)],
        "failures": [asdict(failure) for failure in comparison.failures],
    }


def as_csv(comparison: Comparison) -> str:
    """Returns CSV with a header and one line per measurement."""
    rows = [measurement.row() for measurement in comparison.measurements]
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, rows[0], lineterminator="\n")
        writer.writeheader()
        forms: dict[object, object] = {True: "true", False: "false"}  # as in JSON
        writer.writerows(row | {"lossless": forms.get(row["lossless"])} for row in rows)
    return buffer.getvalue()


def _overview_text(overview: Overview) -> str:
    head = zip(*overview.head, strict=True)
    rows = [[_short_label(row[0]), *row[1:]] for row in overview.rows]
    notes = [fill(note, _WIDTH) for note in overview.notes]
    return "\n".join([overview.title, aligned([*head, *rows]), *notes])


def _target_text(summary: TargetSummary, comparison: Comparison) -> str:
    labels = codec_labels(comparison)
    heading = f"{summary.target.label}\n{summary.target.measure.heading}, at the size of dfm's own file"
    return "\n\n".join([heading, *_image_tables(summary, labels), _codec_table(summary, labels)])


def _image_tables(summary: TargetSummary, labels: dict[str, str]) -> list[str]:
    """Returns the quality of each image by each codec, and the notes of its marks."""
    measure = summary.target.measure
    ours = [row.cells[DFM].figures for row in summary.rows]
    fixed = [
        ["image", *(_short(row.image) for row in summary.rows)],
        ["bytes", *(str(figures.file_bytes) if figures else "" for figures in ours)],
        [DFM, *(_quality(figures, measure) if figures else "" for figures in ours)],
    ]
    cells = {name: [_cell(row.cells.get(name), measure) for row in summary.rows] for name in labels if name != DFM}
    columns = [[_short_label(labels[name]), *(text for text, _ in of_codec)] for name, of_codec in cells.items()]
    if len(summary.rows) > 1:
        complete = [codec for codec in summary.codecs if codec.image_count == len(summary.rows)]
        means = {codec.codec: codec.mean[measure.name] for codec in complete}
        bottom = ["mean", "", *(measure.text(means.get(name)) for name in (DFM, *cells))]
        for column, text in zip([*fixed, *columns], bottom, strict=True):
            column.append(text)
    notes = {note for of_codec in cells.values() for _, note in of_codec if note}
    tables = _tables(fixed, columns)
    return [*tables[:-1], "\n".join([tables[-1], *sorted(notes)])]


def _tables(fixed: list[list[str]], columns: Sequence[list[str]]) -> list[str]:
    """Returns tables that fit the width. Each has the fixed columns and some of the others."""
    free_width = _WIDTH - sum(max(map(len, column)) for column in fixed) - 2 * (len(fixed) - 1)
    tables, remaining = [[*fixed]], free_width
    for column in columns:
        width = 2 + max(map(len, column))
        if width > remaining and len(tables[-1]) > len(fixed):
            tables.append([*fixed])
            remaining = free_width
        tables[-1].append(column)
        remaining -= width
    return [aligned(list(zip(*table, strict=True))) for table in tables]


def _cell(cell: Measurement | None, measure: Measure) -> tuple[str, str]:
    """Returns an anchor's value of a measure, and the mark of a note below the table."""
    if cell is None:
        return "failed", ""
    if cell.figures is None:
        return "-", "- this codec has no file as small as dfm's"
    mark = gap_mark(cell)
    why = {"*": "the codec's next setting is too large", "+": "the codec's best setting"}
    note = f"{mark} smaller than dfm's by more than {100 * LARGE_GAP:.0f} %: {why[mark]}" if mark else ""
    return _quality(cell.figures, measure) + mark, note


def _quality(figures: Figures, measure: Measure) -> str:
    """Formats a value of a measure; "exact" for a lossless file."""
    return "exact" if figures.lossless else measure.text(figures.value(measure))


def _codec_table(summary: TargetSummary, labels: dict[str, str]) -> str:
    """Returns means of each codec, with the measure that the table of images does not show."""
    measure = summary.target.measure
    extra = ["SSIMU2"] if any(codec.mean[SSIMULACRA2.name] is not None for codec in summary.codecs) else []
    gain_heading = f"gain {measure.unit}" if measure.unit else "gain"
    rows = [
        ["codec", "size", "SSIM", "MS-SSIM", *extra, "enc s", "dec s", gain_heading, "win/loss"],
        ["better is", "", "higher", "higher", *(["higher"] if extra else []), "lower", "lower", "", ""],
    ]
    for codec in summary.codecs:
        gain = "" if codec.codec == DFM or codec.gain is None else f"{codec.gain:+.{measure.digits}f}"
        rows.append(
            [
                labels[codec.codec],
                f"{100 * codec.size_ratio:.1f}%",
                number_text(codec.mean["ssim"], 4),
                number_text(codec.mean["ms_ssim"], 4),
                *([SSIMULACRA2.text(codec.mean[SSIMULACRA2.name])] if extra else []),
                _seconds(codec.mean["encode_s"]),
                _seconds(codec.mean["decode_s"]),
                gain,
                "" if codec.codec == DFM else f"{codec.better_count}/{codec.worse_count}",
            ]
        )
    return aligned(rows)


def _bd_texts(rates: list[BdSummary]) -> list[str]:
    """Returns a table of BD-rates for each series and measure, followed by those of each image."""
    texts = []
    for (series, name), members in by_series_and_measure(rates).items():
        title = f"BD-rate of dfm ({series}) by {MEASURES[name].label}"
        texts.append(_bd_table(title, MEASURES[name], members))
        texts += _bd_image_tables(title, [rate for rate in members if rate.kind != MEAN_CURVE])
    return texts


def _bd_table(title: str, measure: Measure, rates: list[BdSummary]) -> str:
    rows = [["against", "mean", "median", "best", "worst", "images"]]
    notes = []
    for rate in rates:
        label = _short_label(rate.label)
        rows.append([label, *rate.columns])
        if rate.low_overlap_count:
            where = "" if rate.kind == MEAN_CURVE else f" on {rate.low_overlap_count} of {len(rate.by_image)}"
            notes.append(f"{label}: under {100 * LOW_OVERLAP:.0f} % of the range of {measure.label} in common{where}")
        if rate.missing_images:
            notes.append(f"{label}: too few common points on {len(rate.missing_images)} images")
    meaning = f"bits at equal {measure.label}; below 0, dfm's files are smaller"
    return "\n".join([title, meaning, aligned(rows), *notes])


def _bd_image_tables(title: str, rates: list[BdSummary]) -> list[str]:
    """Returns BD-rates by image, in tables that fit the width; none if there is only one image."""
    names = image_names(rates)
    if len(names) < 2:
        return []
    columns = [[_short_label(rate.label), *map(rate.text_of, names)] for rate in rates]
    return [f"{title}, each image\n{table}" for table in _tables([["image", *map(_short, names)]], columns)]


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Aligns the first `left` columns of a table to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _short(name: str) -> str:
    """Shortens a name to the width of its column. Its end usually distinguishes images."""
    return name if len(name) <= _NAME_WIDTH else "~" + name[1 - _NAME_WIDTH :]


def _short_label(label: str) -> str:
    """Shortens the label of a codec in the middle to the width of its column."""
    half = _NAME_WIDTH // 2
    return label if len(label) <= _NAME_WIDTH else f"{label[: half - 1]}~{label[-half:]}"


def _seconds(value: float | None) -> str:
    return number_text(value, 2 if value is not None and value < 100 else 0)
