"""Rate-distortion plots of a comparison, as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from dfmcodec.bench.measurement import DFM, Measurement
from dfmcodec.bench.summary import TargetSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS = {"psnr_db": "PSNR, dB", "ssim": "SSIM", "ms_ssim": "MS-SSIM", "ssimulacra2": "SSIMULACRA2"}
# After the palette of Okabe and Ito, whose colours most people can tell apart.
_COLORS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#d55e00",
    "#56b4e9",
    "#8a8a2a",
    "#999999",
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")


def mean_curves(summaries: Sequence[TargetSummary], labels: dict[str, str], metric: str) -> str | None:
    """Plots the mean over images of a metric: a line for each codec, a point for each rate.

    A codec has no point at a rate that it does not reach for every image.

    Returns:
        SVG; None if no codec has the metric at two rates.
    """
    curves = {}
    for name, label in labels.items():
        points = []
        for summary in summaries:
            codec = next((c for c in summary.codecs if c.codec == name and c.image_count == len(summary.rows)), None)
            if codec is not None:
                points.append((codec.mean["bpp"], codec.mean[metric]))
        curves[label] = [(bpp, value) for bpp, value in points if bpp is not None and value is not None]
    return _curves(curves, METRICS[metric], "mean over images")


def image_curves(summaries: Sequence[TargetSummary], labels: dict[str, str], image_name: str) -> str | None:
    """Plots the PSNR of one image, a line for each codec. None if no codec has two points."""
    curves: dict[str, list[tuple[float, float]]] = {label: [] for label in labels.values()}
    for summary in summaries:
        for row in summary.rows:
            if row.image_name == image_name:
                for name, label in labels.items():
                    point = _point(row.cells.get(name))
                    curves[label] += [point] if point else []
    return _curves(curves, METRICS["psnr_db"], image_name)


def dots(summary: TargetSummary, labels: dict[str, str]) -> str:
    """Plots the PSNR at one rate: a row for each image, a dot for each codec."""
    with _Figure(height=1.4 + 0.28 * len(summary.rows)) as figure:
        axes = figure.axes
        names = [row.image_name for row in summary.rows]
        for at, (name, label) in enumerate(labels.items()):
            points = [(at_row, _point(row.cells.get(name))) for at_row, row in enumerate(summary.rows)]
            present = [(point[1], at_row) for at_row, point in points if point]
            axes.plot(
                [value for value, _ in present],
                [at_row for _, at_row in present],
                _MARKERS[at % len(_MARKERS)],
                color=_COLORS[at % len(_COLORS)],
                label=label,
            )
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel(METRICS["psnr_db"])
        axes.grid(axis="x", alpha=0.3)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False)
        return figure.svg()


def _curves(curves: dict[str, list[tuple[float, float]]], metric: str, title: str) -> str | None:
    """Plots points (bpp, value) by label. None if no curve has two points."""
    if not any(len(points) > 1 for points in curves.values()):
        return None
    with _Figure(height=4.4) as figure:
        axes = figure.axes
        for at, (label, points) in enumerate(curves.items()):
            if points:
                bpp, values = zip(*sorted(points), strict=True)
                axes.plot(
                    bpp,
                    values,
                    color=_COLORS[at % len(_COLORS)],
                    marker=_MARKERS[at % len(_MARKERS)],
                    markersize=5,
                    linewidth=2.2 if label == DFM else 1.4,
                    label=label,
                )
        axes.set(xscale="log", xlabel="bits per pixel", ylabel=metric, title=title)
        ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if _is_near(curves, tick)]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        return figure.svg()


def _is_near(curves: dict[str, list[tuple[float, float]]], tick: float) -> bool:
    """Whether a tick is within or just outside the span of rates."""
    rates = [bpp for points in curves.values() for bpp, _ in points]
    return min(rates) / 1.3 <= tick <= max(rates) * 1.3


def _point(cell: Measurement | None) -> tuple[float, float] | None:
    """Rate and PSNR of a cell; None if it has no finite PSNR."""
    if cell is None or cell.figures is None or not isfinite(cell.figures.psnr_db):
        return None
    return cell.figures.bpp, cell.figures.psnr_db


class _Figure:
    """A Matplotlib figure with one plot, for use in a `with` statement."""

    def __init__(self, height: float) -> None:
        from matplotlib.figure import Figure

        self._figure: Any = Figure(figsize=(6.8, height), layout="constrained")
        self.axes: Axes = self._figure.subplots()

    def __enter__(self) -> _Figure:
        return self

    def __exit__(self, *exception: object) -> None:
        self._figure.clear()

    def svg(self) -> str:
        """The figure as SVG, with the same bytes for the same plot."""
        import matplotlib as mpl

        buffer = io.StringIO()
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dfm", "font.family": "sans-serif"}):
            self._figure.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()
