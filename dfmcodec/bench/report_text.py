"""The comparison as text of at most 80 columns, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite, isinf
from typing import Any

from dfmcodec.bench.measurement import DFM, Measurement
from dfmcodec.bench.runner import Comparison
from dfmcodec.bench.summary import (
    LARGE_GAP,
    LOW_OVERLAP,
    BdSummary,
    TargetSummary,
    bd_rates,
    by_target,
    gap_mark,
    has_curves,
)

_ANCHORS_A_TABLE = 5
_NAME_WIDTH = 20


def as_text(comparison: Comparison) -> str:
    """Tables of each target, and the BD-rates where there are several rates."""
    parts = [_target_text(summary, comparison) for summary in by_target(comparison) if summary.rows]
    rates = bd_rates(comparison)
    if rates:
        parts.append(_bd_text(rates, comparison))
    elif has_curves(comparison) and comparison.codecs:
        parts.append("no BD-rates: they need three rates that both codecs reach")
    if comparison.failures:
        lines = [f"not measured ({len(comparison.failures)}):"]
        lines += [f"  {failure.what}: {failure.message}" for failure in comparison.failures]
        parts.append("\n".join(lines))
    beside = "" if comparison.processes == 1 else f", {comparison.processes} at a time, which makes seconds longer"
    parts.append(f"{comparison.seconds:.0f} s in all{beside}")
    return "\n\n".join(parts)


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Plain values, for JSON; infinite PSNRs (no difference) become None."""
    return {
        "versions": comparison.versions,
        "machine": comparison.machine,
        "processes": comparison.processes,
        "seconds": round(comparison.seconds, 1),
        "codecs": comparison.codecs,
        "pictures": [{**asdict(picture), "path": str(picture.path)} for picture in comparison.pictures],
        "measurements": [_finite(m.row()) for m in comparison.measurements],
        "summaries": [
            {"target": asdict(summary.target), "codecs": [asdict(codec) for codec in summary.codecs]}
            for summary in by_target(comparison)
        ],
        "bd_rates": [
            {**asdict(rate), "mean": rate.mean, "median": rate.median, "low_overlap": rate.low_overlap}
            for rate in bd_rates(comparison)
        ],
        "failures": [asdict(failure) for failure in comparison.failures],
    }


def as_csv(comparison: Comparison) -> str:
    """One line a measurement, with a header."""
    rows = [_finite(m.row()) for m in comparison.measurements]
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return buffer.getvalue()


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in row.items()}


def _target_text(summary: TargetSummary, comparison: Comparison) -> str:
    anchors = list(comparison.codecs)
    labels = {name: codec["label"] for name, codec in comparison.codecs.items()} | {DFM: DFM}
    parts = [f"{summary.target.label}: PSNR in dB, at the size of dfm's own file"]
    for start in range(0, max(1, len(anchors)), _ANCHORS_A_TABLE):
        parts.append(_picture_table(summary, anchors[start : start + _ANCHORS_A_TABLE], labels))
    parts.append(_codec_table(summary, labels))
    return "\n\n".join(parts)


def _picture_table(summary: TargetSummary, anchors: list[str], labels: dict[str, str]) -> str:
    rows = [["picture", "bytes", DFM, *(labels[anchor] for anchor in anchors)]]
    notes = set()
    for row in summary.rows:
        ours = row.cells[DFM].figures
        cells = []
        for anchor in anchors:
            text, note = _cell(row.cells.get(anchor))
            cells.append(text)
            notes.add(note)
        rows.append([_short(row.picture), str(ours.bytes if ours else ""), _db(ours.psnr_db if ours else None), *cells])
    if len(summary.rows) > 1:
        means = {codec.codec: codec.mean["psnr_db"] for codec in summary.codecs if codec.pictures == len(summary.rows)}
        rows.append(["mean", "", *(_db(means.get(name)) for name in (DFM, *anchors))])
    return "\n".join([aligned(rows), *sorted(note for note in notes if note)])


def _cell(cell: Measurement | None) -> tuple[str, str]:
    """An anchor's PSNR, and the note that it needs."""
    if cell is None:
        return "failed", ""
    if cell.figures is None:
        return "-", "- this codec cannot go as low"
    mark = gap_mark(cell)
    why = {"*": "the codec's next setting is too large", "+": "the codec's best setting"}
    note = f"{mark} smaller than dfm's by more than {100 * LARGE_GAP:.0f} %: {why[mark]}" if mark else ""
    return _db(cell.figures.psnr_db) + mark, note


def _codec_table(summary: TargetSummary, labels: dict[str, str]) -> str:
    with_ssimulacra2 = any(codec.mean["ssimulacra2"] is not None for codec in summary.codecs)
    extra = ["SSIMUL2"] if with_ssimulacra2 else []
    rows = [["codec", "size", "SSIM", "MS-SSIM", *extra, "enc s", "dec s", "dfm by", "better/worse"]]
    for codec in summary.codecs:
        psnr = codec.mean["psnr_db"]
        gain = "" if codec.codec == DFM or psnr is None else f"{codec.dfm_psnr_db - psnr:+.2f} dB"
        rows.append(
            [
                labels[codec.codec],
                f"{100 * codec.size:.1f} %",
                _number(codec.mean["ssim"], 4),
                _number(codec.mean["ms_ssim"], 4),
                *([_number(codec.mean["ssimulacra2"], 1)] if extra else []),
                _number(codec.mean["encode_s"], 2),
                _number(codec.mean["decode_s"], 2),
                gain,
                "" if codec.codec == DFM else f"{codec.wins}/{codec.losses}",
            ]
        )
    return aligned(rows)


def _bd_text(rates: list[BdSummary], comparison: Comparison) -> str:
    rows = [["BD-rate of dfm, PSNR", "against", "mean", "median", "best", "worst", "pictures"]]
    notes = []
    for rate in rates:
        label = comparison.codecs[rate.anchor]["label"]
        figures = (rate.mean, rate.median, rate.best, rate.worst)
        rows.append([rate.series, label, *(f"{figure:+.1f} %" for figure in figures), str(len(rate.by_picture))])
        if rate.low_overlap:
            notes.append(
                f"{label}: the curves share less than {100 * LOW_OVERLAP:.0f} % of their span of PSNR"
                f" on {rate.low_overlap} of {len(rate.by_picture)}"
            )
        if rate.without:
            notes.append(f"{label}: too few common points on {len(rate.without)} pictures")
    return "\n".join([aligned(rows, left=2), *notes])


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns of equal width; the first ones flush left, the others flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _short(name: str) -> str:
    """At most the width of the column; the end tells pictures apart more often than the beginning."""
    return name if len(name) <= _NAME_WIDTH else "~" + name[1 - _NAME_WIDTH :]


def _db(value: float | None) -> str:
    return "" if value is None else "exact" if isinf(value) else f"{value:.2f}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
