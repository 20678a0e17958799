"""A comparison as text of at most 80 columns, as JSON, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite, isinf
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
    gap_mark,
    has_curves,
)

_ANCHORS_A_TABLE = 5
_NAME_WIDTH = 20


def as_text(comparison: Comparison) -> str:
    """Tables of each target, and BD-rates if there are several rates."""
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
    several = f", {comparison.processes} files at a time, so seconds are longer" if comparison.processes > 1 else ""
    parts.append(f"total time {comparison.seconds:.0f} s{several}")
    return "\n\n".join(parts)


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Plain values for JSON. Infinite PSNRs (no difference) become None."""
    return {
        "versions": comparison.versions,
        "machine": comparison.host,
        "processes": comparison.processes,
        "seconds": round(comparison.seconds, 1),
        "codecs": comparison.codecs,
        "pictures": [{**asdict(image), "path": str(image.path)} for image in comparison.images],
        "measurements": [_finite(m.row()) for m in comparison.measurements],
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
    extra = ["SSIMUL2"] if with_ssimulacra2 else []
    rows = [["codec", "size", "SSIM", "MS-SSIM", *extra, "enc s", "dec s", "dfm gain", "better/worse"]]
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
    rows = [["BD-rate of dfm, PSNR", "against", "mean", "median", "best", "worst", "images"]]
    notes = []
    for rate in rates:
        label = comparison.codecs[rate.anchor]["label"]
        figures = (rate.mean, rate.median, rate.best, rate.worst)
        rows.append([rate.series, label, *(f"{figure:+.1f} %" for figure in figures), str(len(rate.by_image))])
        if rate.low_overlap:
            notes.append(
                f"{label}: the curves share less than {100 * LOW_OVERLAP:.0f} % of their PSNR span"
                f" on {rate.low_overlap} of {len(rate.by_image)}"
            )
        if rate.without:
            notes.append(f"{label}: too few common points on {len(rate.without)} images")
    return "\n".join([aligned(rows, left=2), *notes])


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


def _db(value: float | None) -> str:
    return "" if value is None else "exact" if isinf(value) else f"{value:.2f}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
