"""Rate-distortion plots of a comparison as SVG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil, isfinite
from typing import TYPE_CHECKING, cast

from dfmcodec.bench.curves import Curve
from dfmcodec.bench.measures import PSNR, Measure
from dfmcodec.bench.summary import TargetSummary, image_curve, mean_curve
from dfmcodec.metrics import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRICS = {
    "psnr_db": "PSNR, dB",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "ssimulacra2": "SSIMULACRA2",
    "butteraugli": "Butteraugli (lower is better)",
}
# Based on the palette of Okabe and Ito, which most colour-blind people can distinguish.
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8a8a2a", "#999999")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")  # one more than the colours, so that combinations repeat late
_TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_LARGE_LEGEND, _LEGEND_COLUMNS = 8, 3
_MAX_NAME_LENGTH = 56  # in characters
_PLAIN_TEXT = {"text.parse_math": False, "text.usetex": False}
_SAME_BYTES = {"svg.fonttype": "none", "svg.hashsalt": "dfm", "font.family": "sans-serif"}


@dataclass(frozen=True)
class _Line:
    """Curve of a plot. Curves from tables, which were not measured here, are dashed."""

    label: str
    points: list[Point]
    is_given: bool = False


def mean_curves(
    summaries: Sequence[TargetSummary], labels: dict[str, str], metric: str, given: Sequence[Curve] = ()
) -> str | None:
    """Plots the mean of a metric of `METRICS` over images as SVG, with a line for each codec and a
    point for each target that it reaches for every image. Returns None if no codec has two points.
    Targets differ only in the rate, `labels` of codecs have dfm first, and `given` curves from
    tables are shown for PSNR only.
    """
    lines = [_Line(label, mean_curve(summaries, name, metric)) for name, label in labels.items()]
    if metric == PSNR.name:
        names = list(dict.fromkeys(row.image for summary in summaries for row in summary.rows))
        lines += [_Line(curve.label, curve.mean_points(names), is_given=True) for curve in given]
    return _curves(lines, METRICS[metric], "mean over images")


def image_curves(
    summaries: Sequence[TargetSummary],
    labels: dict[str, str],
    image_name: str,
    measure: Measure,
    given: Sequence[Curve] = (),
) -> str | None:
    """Plots the quality of one image like `mean_curves`."""
    lines = [_Line(label, image_curve(summaries, name, image_name, measure)) for name, label in labels.items()]
    if measure == PSNR:
        lines += [_Line(curve.label, list(curve.by_image.get(image_name, ())), is_given=True) for curve in given]
    return _curves(lines, METRICS[measure.name], image_name)


def dots(summary: TargetSummary, labels: dict[str, str]) -> str:
    """Plots the quality at one rate, with a row for each image and a dot for each codec."""
    measure = summary.target.measure
    with _figure(height=1.4 + 0.28 * len(summary.rows)) as axes:
        for at, name in enumerate(labels):
            cells = [(at_row, row.cells.get(name)) for at_row, row in enumerate(summary.rows)]
            lossy = [(at_row, c.figures) for at_row, c in cells if c and c.figures and not c.figures.lossless]
            present = [(v, at_row) for at_row, figures in lossy if (v := figures.value(measure)) is not None]
            values, at_rows = zip(*present, strict=True) if present else ((), ())
            axes.plot(values, at_rows, _MARKERS[at % len(_MARKERS)], color=_COLORS[at % len(_COLORS)])
        axes.set_yticks(range(len(summary.rows)), [_shortened(row.image) for row in summary.rows])
        axes.invert_yaxis()
        axes.set_xlabel(METRICS[measure.name])
        axes.grid(axis="x", alpha=0.3)
        where = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": 4}
        axes.legend(axes.get_lines(), list(map(_shortened, labels.values())), frameon=False, **where)
        return _svg(axes)


def _curves(lines: Sequence[_Line], metric: str, title: str) -> str | None:
    """Plots points (bpp, value). Returns None if no line has two points."""
    drawn = [replace(line, points=[point for point in sorted(line.points) if isfinite(point[1])]) for line in lines]
    if not any(len(line.points) > 1 for line in drawn):
        return None
    labels = [_shortened(line.label) for line in drawn if line.points]
    with _figure(height=4.4 + _legend_inches(labels)) as axes:
        for at, line in enumerate(drawn):
            if line.points:
                bpp, values = zip(*line.points, strict=True)
                axes.plot(
                    bpp,
                    values,
                    color=_COLORS[at % len(_COLORS)],
                    marker=_MARKERS[at % len(_MARKERS)],
                    markersize=3 if line.is_given else 5,
                    linestyle="--" if line.is_given else "-",
                    linewidth=2.2 if at == 0 else 1.4,
                )
        axes.set(xscale="log", xlabel="bits per pixel", ylabel=metric, title=_shortened(title))
        if metric == METRICS["ssimulacra2"] and axes.get_ylim()[1] > 0:
            axes.set_ylim(bottom=max(0, axes.get_ylim()[0]))  # lower values do not describe visible differences
        ticks = [tick for tick in _TICKS if _is_near(drawn, tick)]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        if _legend_inches(labels):
            where = {"loc": "outside lower center", "ncols": _LEGEND_COLUMNS, "fontsize": "small"}
            axes.figure.legend(axes.get_lines(), labels, frameon=False, **where)
        else:
            axes.legend(axes.get_lines(), labels, frameon=False)
        return _svg(axes)


def _shortened(name: str) -> str:
    """Shortens a long name in the middle, to leave space for the plot."""
    half = _MAX_NAME_LENGTH // 2
    return name if len(name) <= _MAX_NAME_LENGTH else f"{name[: half - 2]} .. {name[-half + 2 :]}"


def _legend_inches(labels: Sequence[str]) -> float:
    """Returns the height of a legend below the plot; 0 if the legend fits into the plot."""
    return 0 if len(labels) <= _LARGE_LEGEND else 0.2 + 0.19 * ceil(len(labels) / _LEGEND_COLUMNS)


def _is_near(lines: Sequence[_Line], tick: float) -> bool:
    """Indicates whether a tick is within or just outside the range of rates."""
    rates = [bpp for line in lines for bpp, _ in line.points]
    return min(rates) / 1.3 <= tick <= max(rates) * 1.3


@contextmanager
def _figure(height: float) -> Iterator[Axes]:
    """Provides the axes of a figure with one plot, in which dollar signs start no formula."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**_PLAIN_TEXT, **_SAME_BYTES}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # the browser has other fonts
        warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)  # caused by wide names
        figure = Figure(figsize=(6.8, height), layout="constrained")
        yield figure.subplots()
        figure.clear()


def _svg(axes: Axes) -> str:
    """Returns the figure of a plot as SVG. Equal plots give equal bytes."""
    buffer, figure = io.StringIO(), cast("Figure", axes.figure)
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
