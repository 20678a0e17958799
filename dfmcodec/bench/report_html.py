"""A comparison as one self-contained HTML file: plots, tables, and a viewer of crops of the decoded
images.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from html import escape
from importlib.resources import files
from math import isinf
from typing import Any

from dfmcodec.bench import plots
from dfmcodec.bench.measurement import DFM, Measurement
from dfmcodec.bench.runner import Comparison
from dfmcodec.bench.summary import LARGE_GAP, BdSummary, TargetSummary, bd_rates, by_target, gap_mark, has_curves

LOOK = 12
_TEMPLATE = "report.html"


def as_html(comparison: Comparison, title: str = "dfm bench", look: int = LOOK) -> str:
    """The whole page. It needs Matplotlib.

    Args:
        comparison: The comparison.
        title: The title of the page.
        look: The number of images in the viewer, evenly spread over all. They take up most of the
            page's bytes.
    """
    summaries = [summary for summary in by_target(comparison) if summary.rows]
    labels = {DFM: DFM} | {name: codec["label"] for name, codec in comparison.codecs.items()}
    rates = bd_rates(comparison)
    viewed = _viewer_data(comparison, summaries, labels)
    if len(viewed) > look:
        viewed = [viewed[at * len(viewed) // look] for at in range(look)]
    values = {
        "TITLE": escape(title),
        "SUBTITLE": escape(_subtitle(comparison)),
        "CARDS": _cards(summaries, rates, labels),
        "PLOTS": _plots(comparison, summaries, labels),
        "TABLES": "\n".join(_target_section(summary, labels) for summary in summaries),
        "BD_RATES": _bd_section(rates, labels),
        "CODECS": _codec_section(comparison),
        "FAILURES": _failure_section(comparison),
        "DATA": _embedded({"images": viewed, "of": len(comparison.images)}),
    }
    page = files("dfmcodec.bench").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    for name, value in values.items():
        page = page.replace(f"{{{{{name}}}}}", value)
    return page


def _subtitle(comparison: Comparison) -> str:
    count = len(comparison.images)
    several = f", {comparison.processes} files at a time, so seconds are longer" if comparison.processes > 1 else ""
    return (
        f"{count} image{'s' * (count != 1)}; every anchor gets the largest file that is not larger than dfm's. "
        f"{comparison.host}{several}; dfmcodec {comparison.versions.get('dfmcodec', '')}."
    )


def _cards(summaries: list[TargetSummary], rates: list[BdSummary], labels: dict[str, str]) -> str:
    """How much better or worse dfm is than each anchor, a card for each."""
    cards = []
    for name, label in labels.items():
        cells = [codec for summary in summaries for codec in summary.codecs if codec.codec == name]
        gains = [c.dfm_psnr_db - p for c in cells if (p := c.mean["psnr_db"]) is not None and not isinf(c.dfm_psnr_db)]
        if name == DFM or not gains:
            continue
        wins, losses = sum(c.wins for c in cells), sum(c.losses for c in cells)
        span = f"{gains[0]:+.2f} dB" if len(gains) == 1 else f"{min(gains):+.2f} to {max(gains):+.2f} dB"
        against = [f"BD-rate {rate.mean:+.1f} %" for rate in rates if rate.anchor == name]
        lines = [f"better on {wins}, worse on {losses} files", *against]
        text = "".join(f"<p>{escape(line)}</p>" for line in lines)
        cards.append(f'<div class="card"><h3>dfm against {escape(label)}</h3><strong>{span}</strong>{text}</div>')
    return "".join(cards)


def _plots(comparison: Comparison, summaries: list[TargetSummary], labels: dict[str, str]) -> str:
    if not has_curves(comparison):
        return "".join(_plot(plots.dots(summary, labels), summary.target.label) for summary in summaries)
    series: dict[str, list[TargetSummary]] = defaultdict(list)
    for summary in summaries:
        series[summary.target.series].append(summary)
    parts = []
    for name, members in series.items():
        for metric, metric_label in plots.METRICS.items():
            svg = plots.mean_curves(members, labels, metric)
            if svg:
                parts.append(_plot(svg, f"{metric_label} over bits per pixel, {name}"))
        single = []
        for image in comparison.images:
            svg = plots.image_curves(members, labels, image.name)
            if svg:
                single.append(_plot(svg, f"{image.name}, {name}"))
        if single:
            parts.append(f'<details><summary>each image</summary><div class="plots">{"".join(single)}</div></details>')
    return "".join(parts)


def _plot(svg: str, description: str) -> str:
    data = base64.b64encode(svg.encode()).decode()
    return f'<img class="plot" alt="{escape(description)}" src="data:image/svg+xml;base64,{data}">'


def _target_section(summary: TargetSummary, labels: dict[str, str]) -> str:
    return (
        f"<h3>{escape(summary.target.label)}</h3>{_codec_table(summary, labels)}"
        f"<details open><summary>each image</summary>{_image_table(summary, labels)}</details>"
    )


def _codec_table(summary: TargetSummary, labels: dict[str, str]) -> str:
    """Means over images, a row for each codec."""
    head = ["codec", "files", "size", "PSNR", "SSIM", "MS-SSIM", "encode s", "decode s", "dfm gain", "better / worse"]
    rows = []
    for codec in summary.codecs:
        psnr = codec.mean["psnr_db"]
        gain = "" if codec.codec == DFM or psnr is None else f"{codec.dfm_psnr_db - psnr:+.2f} dB"
        cells = [
            str(codec.image_count),
            f"{100 * codec.size:.1f} %",
            _number(psnr, 2),
            _number(codec.mean["ssim"], 4),
            _number(codec.mean["ms_ssim"], 4),
            _number(codec.mean["encode_s"], 2),
            _number(codec.mean["decode_s"], 3),
            gain,
            "" if codec.codec == DFM else f"{codec.wins} / {codec.losses}",
        ]
        rows.append(f"<tr><th>{escape(labels[codec.codec])}</th>{''.join(f'<td>{text}</td>' for text in cells)}</tr>")
    return _table(head, rows)


def _image_table(summary: TargetSummary, labels: dict[str, str]) -> str:
    """PSNRs, a row for each image and a column for each codec."""
    names = [name for name in labels if any(name in row.cells for row in summary.rows)]
    head = ["image", "bytes", "bpp", *(labels[name] for name in names)]
    rows = []
    for row in summary.rows:
        ours = row.cells[DFM].figures
        best = max((c.figures.psnr_db for c in row.cells.values() if c.figures), default=0.0)
        cells = [_psnr_cell(row.cells.get(name), best) for name in names]
        size = [] if ours is None else [f"<td>{ours.bytes:,}</td>", f"<td>{ours.bpp:.3f}</td>"]
        rows.append(f"<tr><th>{escape(row.image_name)}</th>{''.join(size + cells)}</tr>")
    note = (
        f'<p class="note">PSNR in dB. * The file is more than {100 * LARGE_GAP:.0f} % smaller than dfm\'s, and the '
        "codec's next setting gives a larger one. + It is as much smaller, at the codec's best setting. - The codec "
        "has no file as small as dfm's.</p>"
    )
    return _table(head, rows) + note


def _psnr_cell(cell: Measurement | None, best: float) -> str:
    if cell is None:
        return "<td>failed</td>"
    if cell.figures is None:
        return f'<td title="smallest file: {cell.smallest_bytes:,} bytes">-</td>'
    value = cell.figures.psnr_db
    text = "exact" if isinf(value) else f"{value:.2f}"
    mark = gap_mark(cell)
    setting = "" if cell.setting is None else f", setting {cell.setting:g} {cell.form}"
    css = ' class="best"' if value == best else ""
    return f'<td{css} title="{cell.figures.bytes:,} bytes{setting}">{text}{mark}</td>'


def _bd_section(rates: list[BdSummary], labels: dict[str, str]) -> str:
    if not rates:
        return ""
    head = ["dfm", "against", "mean", "median", "best", "worst", "images", "low overlap"]
    lines = []
    for rate in rates:
        figures = [f"{value:+.1f} %" for value in (rate.mean, rate.median, rate.best, rate.worst)]
        shown = [labels[rate.anchor], *figures, str(len(rate.by_image)), str(rate.low_overlap)]
        cells = "".join(f"<td>{escape(text)}</td>" for text in shown)
        lines.append(f"<tr><th>{escape(rate.series)}</th>{cells}</tr>")
    note = (
        '<p class="note">The mean difference in rate at equal PSNR (Bjontegaard, with PCHIP over the logarithm of the '
        "rate), computed for each image. Below 0, dfm's files are smaller. Low overlap: the number of images whose "
        "curves share less than half of their PSNR span, for which the figure says little.</p>"
    )
    return f"<h2>BD-rates</h2>{_table(head, lines)}{note}"


def _codec_section(comparison: Comparison) -> str:
    lines = []
    for codec in comparison.codecs.values():
        options = ", ".join(f"{name} {value}" for name, value in codec["options"].items())
        forms = " or ".join(form for form in codec["forms"] if form)
        text = "; ".join(part for part in (options, f"the better of {forms}" if forms else "") if part)
        lines.append(
            f"<tr><th>{escape(codec['label'])}</th><td>{escape(codec['version'])}</td><td>{escape(text)}</td></tr>"
        )
    versions = ", ".join(f"{name} {version}" for name, version in comparison.versions.items())
    return f'{_table(["codec", "library", "settings"], lines)}<p class="note">{escape(versions)}</p>'


def _failure_section(comparison: Comparison) -> str:
    if not comparison.failures:
        return ""
    lines = [f"<li><b>{escape(f.what)}</b>: {escape(f.message)}</li>" for f in comparison.failures]
    return f"<h2>Not measured</h2><ul>{''.join(lines)}</ul>"


def _table(head: list[str], rows: list[str]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _viewer_data(
    comparison: Comparison, summaries: list[TargetSummary], labels: dict[str, str]
) -> list[dict[str, Any]]:
    """The images of the viewer, each with its targets, each with its codecs: label, caption and
    crop.
    """
    images = []
    for image in comparison.images:
        targets = []
        for summary in summaries:
            cells = next((row.cells for row in summary.rows if row.image_name == image.name), {})
            views = [
                {"label": labels[name], "caption": _caption(cells[name]), "crop": figures.crop}
                for name in labels
                if name in cells and (figures := cells[name].figures) is not None
            ]
            if views:
                targets.append({"label": summary.target.label, "views": views})
        if targets:
            crop = comparison.original_crops[image.name]
            images.append({"label": image.name, "original": crop, "targets": targets})
    return images


def _caption(cell: Measurement) -> str:
    """The figures of a cell, in words."""
    figures = cell.figures
    assert figures is not None
    psnr = "exact" if isinf(figures.psnr_db) else f"{figures.psnr_db:.2f} dB"
    structure = "" if figures.ssim is None else f", SSIM {figures.ssim:.4f}"
    return f"{figures.bytes:,} bytes, {figures.bpp:.3f} bpp, {psnr}{structure}"


def _embedded(data: object) -> str:
    """JSON in which no browser finds the end of its script."""
    return json.dumps(data).replace("<", "\\u003c")


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
