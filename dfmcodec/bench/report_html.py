"""Comparison as one self-contained HTML file: plots, tables, and a viewer of decoded crops.

The template `report.html` contains all markup. This module passes plain text and numbers, which
Jinja escapes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from typing import Any

from dfmcodec.bench import plots
from dfmcodec.bench.measurement import DFM, Figures, Measurement
from dfmcodec.bench.measures import MEASURES, PSNR, Measure, number_text
from dfmcodec.bench.overview import Overview, overviews
from dfmcodec.bench.runner import Comparison
from dfmcodec.bench.summary import (
    LARGE_GAP,
    MEAN_CURVE,
    BdSummary,
    TargetSummary,
    bd_rates,
    by_series,
    by_series_and_measure,
    by_target,
    curves_without_bd_rate,
    gap_mark,
    has_curves,
    image_names,
)
from dfmcodec.bench.summary import labels as codec_labels
from dfmcodec.files.names import printable

LOOK = 12
_TEMPLATE = "report.html"
_HIGHER, _LOWER = "higher is better", "lower is better"


@dataclass(frozen=True)
class _Cell:
    """Cell of a table."""

    text: str
    hint: str = ""  # tooltip; in a heading, which direction is better
    is_best: bool = False  # of its row


@dataclass(frozen=True)
class _Table:
    """Table; the first cell of each row is its heading."""

    head: Sequence[_Cell]
    rows: Sequence[Sequence[_Cell]]


def as_html(comparison: Comparison, title: str = "dfm bench", look: int = LOOK) -> str:
    """Returns the HTML page. Needs Matplotlib and Jinja2.

    The viewer has `look` images, evenly distributed over all. They take up most of the page.
    """
    from jinja2 import Environment, StrictUndefined

    summaries = [summary for summary in by_target(comparison) if summary.rows]
    labels = codec_labels(comparison)
    rates = [rate for rate in bd_rates(comparison) if rate.codec == DFM]
    viewed = _viewer_data(comparison, summaries, labels)
    if len(viewed) > look:
        viewed = [viewed[at * len(viewed) // look] for at in range(look)]
    source = files("dfmcodec.bench").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    return environment.from_string(source).render(
        title=printable(title),
        subtitle=_subtitle(comparison),
        script_hash=_script_hash(source),
        cards=_cards(summaries, rates, labels),
        overviews=[_overview_table(overview) for overview in overviews(comparison)],
        plots=_plots(comparison, summaries, labels),
        targets=[
            (
                summary.target.label,
                summary.target.measure.heading,
                _codec_table(summary, labels),
                _codec_note(summary),
                _image_table(summary, labels),
            )
            for summary in summaries
        ],
        large_gap=f"{100 * LARGE_GAP:.0f}",
        bd_table=_bd_table(rates) if rates else None,
        bd_image_tables=_bd_image_tables(rates),
        curves_without_bd_rate=curves_without_bd_rate(comparison, rates),
        codec_table=_codec_settings(comparison),
        curve_table=_curve_table(comparison) if comparison.curves else None,
        versions=", ".join(f"{name} {version}" for name, version in comparison.versions.items()),
        failures=comparison.failures,
        data={"images": viewed, "of": len(comparison.images)},
    )


def _script_hash(source: str) -> str:
    """Returns the hash with which the page allows its only script."""
    script = source.partition("<script>")[2].partition("</script>")[0]
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _subtitle(comparison: Comparison) -> str:
    count = len(comparison.images)
    several = f", {comparison.processes} files at a time, so times are longer" if comparison.processes > 1 else ""
    return (
        f"{count} image{'s' * (count != 1)}; every other codec gets the largest file that is not larger than dfm's. "
        f"{comparison.host}{several}; dfmcodec {comparison.versions.get('dfmcodec', '')}."
    )


def _cards(summaries: list[TargetSummary], rates: list[BdSummary], labels: dict[str, str]) -> list[dict[str, Any]]:
    """Returns a card for each anchor and tune: dfm's bits at equal quality, and its gain or loss at
    equal size.
    """
    cards = []
    measures = dict.fromkeys(summary.target.measure for summary in summaries)
    for (name, label), measure in product(labels.items(), measures):
        of_codec = [codec for summary in summaries for codec in summary.codecs if codec.codec == name]
        cells = [codec for codec in of_codec if codec.measure == measure.name]
        gains = [codec.gain for codec in cells if codec.gain is not None]
        if name == DFM or not gains:
            continue
        better, worse = sum(c.better_count for c in cells), sum(c.worse_count for c in cells)
        ends = " to ".join(dict.fromkeys(map(measure.difference, (min(gains), max(gains)))))
        facts = [
            (f"{rate.mean:+.1f} %", f"bits at equal {MEASURES[rate.measure].label}")
            for rate in rates
            if (rate.kind, rate.anchor) == ("codec", name) and (rate.measure == PSNR.name) == (measure == PSNR)
        ]
        means = "mean" if len(gains) == 1 else "range of the means per rate"
        facts.append((ends, f"{measure.label} at equal size, {means}; better on {better} files, worse on {worse}"))
        cards.append({"label": label, "facts": facts})
    return cards


def _overview_table(overview: Overview) -> dict[str, Any]:
    head = [_Cell(f"{first} {second}".strip()) for first, second in overview.head]
    return {
        "title": overview.title,
        "table": _Table(head, [[*map(_Cell, row)] for row in overview.rows]),
        "notes": overview.notes,
    }


def _plots(comparison: Comparison, summaries: list[TargetSummary], labels: dict[str, str]) -> list[Any]:
    """Returns the plots that are always shown, and lists of plots that can be expanded."""
    if not has_curves(comparison) and not comparison.curves:
        return [_plot(plots.dots(summary, labels), summary.target.label) for summary in summaries]
    parts: list[Any] = []
    for name, members in by_series(summaries).items():
        measure = members[0].target.measure
        for metric, metric_label in sorted(plots.METRICS.items(), key=lambda of: of[0] != measure.name):
            svg = plots.mean_curves(members, labels, metric, comparison.curves)
            if svg:
                parts.append(_plot(svg, f"{metric_label} over bits per pixel, {name}"))
        single = []
        for image in comparison.images:
            svg = plots.image_curves(members, labels, image.name, measure, comparison.curves)
            if svg:
                single.append(_plot(svg, f"{image.name}, {name}"))
        if single:
            parts.append(single)
    return parts


def _plot(svg: str, description: str) -> dict[str, str]:
    """Returns a plot as an image at a data URL, in which scripts cannot run."""
    return {"url": f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}", "description": description}


def _codec_table(summary: TargetSummary, labels: dict[str, str]) -> _Table:
    """Returns means over images, with a row for each codec. Figures that dfm lacks, or only dfm
    has, are left out.
    """
    higher = {"psnr_db": ("PSNR, dB", 2), "ssim": ("SSIM", 4), "ms_ssim": ("MS-SSIM", 4)}
    higher["ssimulacra2"] = ("SSIMULACRA2", 1)
    lower = {"butteraugli": ("Butteraugli", 2), "encode_s": ("encode s", 2), "decode_s": ("decode s", 3)}
    for name in ("ssim", "ms_ssim", "ssimulacra2", "butteraugli"):
        present = [codec.codec for codec in summary.codecs if codec.mean[name] is not None]
        if DFM not in present or len(present) < min(2, len(summary.codecs)):
            higher.pop(name, None)
            lower.pop(name, None)
    head = [
        *map(_Cell, ("codec", "files")),
        _Cell("size", "of dfm's"),
        *(_Cell(label, _HIGHER) for label, _ in higher.values()),
        *(_Cell(label, _LOWER) for label, _ in lower.values()),
        _Cell("dfm gain", summary.target.measure.heading),
        _Cell("better / worse"),
    ]
    rows = []
    for codec in summary.codecs:
        figures = [number_text(codec.mean[name], digits) for name, (_, digits) in (higher | lower).items()]
        if codec.lossless_count:
            figures[0] = f"{codec.lossless_count} lossless"
        measure = MEASURES[codec.measure]
        gain = "" if codec.codec == DFM or codec.gain is None else measure.difference(codec.gain)
        wins = "" if codec.codec == DFM else f"{codec.better_count} / {codec.worse_count}"
        size = f"{100 * codec.size_ratio:.1f} %"
        rows.append([*map(_Cell, (labels[codec.codec], str(codec.image_count), size, *figures, gain, wins))])
    return _Table(head, rows)


def _codec_note(summary: TargetSummary) -> str:
    """Returns over which files the means of the codecs are."""
    measure, counts = summary.target.measure, {codec.image_count for codec in summary.codecs}
    note = f"dfm gain: the mean {measure.heading} of dfm less that of the codec, over the files that both have."
    if len(counts) > 1:
        note += " Means of codecs with different numbers of files are over different images, and cannot be compared."
    return note


def _image_table(summary: TargetSummary, labels: dict[str, str]) -> _Table:
    """Returns the quality of each file, with a row for each image and a column for each codec."""
    measure = summary.target.measure
    names = [name for name in labels if any(name in row.cells for row in summary.rows)]
    head = [*map(_Cell, ("image", "bytes", "bpp")), *(_Cell(labels[name], _HIGHER) for name in names)]
    rows = []
    for row in summary.rows:
        ours = row.cells[DFM].figures
        values = [c.figures.value(measure) for c in row.cells.values() if c.figures]
        best = max((value for value in values if value is not None), default=None)
        cells = [_quality_cell(row.cells.get(name), measure, best) for name in names]
        size = ["", ""] if ours is None else [f"{ours.file_bytes:,}", f"{ours.bpp:.3f}"]
        rows.append([*map(_Cell, (row.image, *size)), *cells])
    return _Table(head, rows)


def _quality_cell(cell: Measurement | None, measure: Measure, best: float | None) -> _Cell:
    if cell is None:
        return _Cell("failed")
    if cell.figures is None:
        return _Cell("-", f"smallest file: {cell.smallest_bytes:,} bytes")
    value = cell.figures.value(measure)
    text = "lossless" if cell.figures.lossless else measure.text(value)
    setting = "" if cell.setting is None else f", setting {cell.setting:g} {cell.form}"
    is_best = value is not None and value == best
    return _Cell(f"{text}{gap_mark(cell)}", f"{cell.figures.file_bytes:,} bytes{setting}", is_best)


def _bd_table(rates: list[BdSummary]) -> _Table:
    head = [_Cell("dfm"), _Cell("against"), _Cell("at equal"), _Cell("mean", _LOWER)]
    head += map(_Cell, ("median", "best", "worst", "images", "low overlap"))
    rows = []
    for rate in rates:
        what = rate.series, rate.label, MEASURES[rate.measure].label
        rows.append([*map(_Cell, (*what, *rate.columns, str(rate.low_overlap_count)))])
    return _Table(head, rows)


def _bd_image_tables(rates: list[BdSummary]) -> list[tuple[str, _Table]]:
    """Returns BD-rates by image, a table for each series and measure with several images."""
    tables = []
    for (series, measure), of_both in by_series_and_measure(rates).items():
        members = [rate for rate in of_both if rate.kind != MEAN_CURVE]
        names = image_names(members)
        if len(names) < 2:
            continue
        head = [_Cell("image"), *(_Cell(rate.label, _LOWER) for rate in members)]
        rows = [[*map(_Cell, (name, *(rate.text_of(name) for rate in members)))] for name in names]
        tables.append((f"{series}, at equal {MEASURES[measure].label}", _Table(head, rows)))
    return tables


def _codec_settings(comparison: Comparison) -> _Table:
    rows = []
    for codec in comparison.codecs.values():
        options = ", ".join(f"{name} {value}" for name, value in codec["options"].items())
        forms = " or ".join(form for form in codec["forms"] if form)
        tuned_for = f"tuned for {codec['tuned_for']}" if codec["tuned_for"] else ""
        text = "; ".join(part for part in (options, f"the better of {forms}" if forms else "", tuned_for) if part)
        rows.append([*map(_Cell, (codec["label"], codec["version"], text))])
    return _Table([*map(_Cell, ("codec", "library", "settings"))], rows)


def _curve_table(comparison: Comparison) -> _Table:
    """Returns the sources of curves from tables."""
    rows = []
    for curve in comparison.curves:
        points = sum(map(len, curve.by_image.values()))
        parts = [f"{points} points of {len(curve.by_image)} images"] if points else []
        parts += [f"{len(curve.mean)} means over images"] if curve.mean else []
        rows.append([*map(_Cell, (curve.label, curve.file, ", ".join(parts)))])
    return _Table([*map(_Cell, ("curve", "file", "points"))], rows)


def _viewer_data(
    comparison: Comparison, summaries: list[TargetSummary], labels: dict[str, str]
) -> list[dict[str, Any]]:
    """Returns the images of the viewer with their targets and codecs: label, caption and crop."""
    images = []
    for image in comparison.images:
        targets = []
        for summary in summaries:
            cells = next((row.cells for row in summary.rows if row.image == image.name), {})
            views = [
                {"label": labels[name], "caption": _caption(figures), "crop": figures.crop}
                for name in labels
                if name in cells and (figures := cells[name].figures) is not None
            ]
            if views:
                targets.append({"label": summary.target.label, "views": views})
        if targets:
            crop = comparison.original_crops[image.name]
            images.append({"label": image.name, "original": crop, "targets": targets})
    return images


def _caption(figures: Figures) -> str:
    psnr = "lossless" if figures.lossless else f"{figures.psnr_db:.2f} dB"
    structure = "" if figures.ssim is None else f", SSIM {figures.ssim:.4f}"
    perceived = "" if figures.ssimulacra2 is None else f", SSIMULACRA2 {figures.ssimulacra2:.1f}"
    return f"{figures.file_bytes:,} bytes, {figures.bpp:.3f} bpp, {psnr}{structure}{perceived}"
