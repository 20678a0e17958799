"""Summaries of measurements: tables at equal size, better and worse files, BD-rates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from statistics import fmean, median
from typing import Any, Literal

from dfmcodec.bench.curves import Curve
from dfmcodec.bench.measurement import DFM, Figures, Measurement, Target
from dfmcodec.bench.measures import EQUAL_QUALITY, PSNR, Measure
from dfmcodec.bench.runner import Comparison
from dfmcodec.metrics import Point, bd_rate

LARGE_GAP = 0.02  # larger unused fractions of the limit are marked
LOW_OVERLAP = 0.5  # BD-rates with a lower overlap are marked
MEAN_CURVE = "mean curve"
# The range of SSIMULACRA2 in which bits at equal visual quality are compared.
LOWEST_SCORE, HIGHEST_SCORE = 30.0, 90.0


@dataclass(frozen=True)
class Row:
    """Measurements of one image at one target."""

    image: str  # its name
    cells: dict[str, Measurement]  # measurements by codec; for an anchor, those of its best form


@dataclass(frozen=True)
class CodecSummary:
    """Summary of a codec at one target, over the images for which both it and dfm have a file."""

    codec: str
    image_count: int
    size_ratio: float  # mean ratio of its file size to dfm's
    mean: dict[str, float | None]  # of each figure; None if an image lacks it or is lossless
    lossless_count: int  # number of images with a lossless file
    measure: str
    dfm_mean: float | None  # of this measure over the same images; None as in `mean`
    better_count: int  # number of images for which dfm has the higher value
    worse_count: int  # likewise, the lower value

    @property
    def gain(self) -> float | None:
        """Returns how much higher dfm's mean of the measure is; None if a mean is missing."""
        codec_mean = self.mean[self.measure]
        return None if codec_mean is None or self.dfm_mean is None else self.dfm_mean - codec_mean


@dataclass(frozen=True)
class TargetSummary:
    """Measurements of all images at one target."""

    target: Target
    rows: tuple[Row, ...]
    codecs: tuple[CodecSummary, ...]


@dataclass(frozen=True)
class BdSummary:
    """BD-rates of a codec against an anchor, one for each image."""

    series: str  # dfm's settings, without the rate
    codec: str
    anchor: str  # name of the codec, or label of a curve from a table
    label: str
    kind: Literal["codec", "curve", "mean curve"]  # a mean curve has a single BD-rate, of the means over images
    measure: str  # of equal quality; PSNR for curves from tables
    by_image: dict[str, float]  # in per cent, by image name or `MEAN_CURVE`
    overlaps: dict[str, float]  # fraction of the quality range that both curves cover, by image name
    missing_images: tuple[str, ...]  # images whose curves have too few points or no common quality

    @property
    def mean(self) -> float:
        """Returns the mean over images."""
        return fmean(self.by_image.values())

    @property
    def median(self) -> float:
        """Returns the median over images."""
        return median(self.by_image.values())

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON (docs/curves.md)."""
        values = asdict(self)
        percent = {"by_image": values.pop("by_image"), "mean": self.mean, "median": self.median}
        named = {f"{name}_percent": value for name, value in percent.items()}
        return {**values, **named, "low_overlap_count": self.low_overlap_count}

    @property
    def columns(self) -> list[str]:
        """Returns mean, median, best, worst and number of images as text; a mean curve has one."""
        if self.kind == MEAN_CURVE:
            return [f"{self.mean:+.1f} %", "", "", "", self.kind]
        rates = self.by_image.values()
        figures = self.mean, self.median, min(rates), max(rates)
        return [*(f"{figure:+.1f} %" for figure in figures), str(len(rates))]

    def text_of(self, image_name: str) -> str:
        """Formats the BD-rate of an image; "" if there is none."""
        return f"{self.by_image[image_name]:+.1f} %" if image_name in self.by_image else ""

    @property
    def low_overlap_count(self) -> int:
        """Returns the number of images whose BD-rate is unreliable because of a low overlap."""
        return sum(overlap < LOW_OVERLAP for overlap in self.overlaps.values())


def by_series_and_measure(rates: Iterable[BdSummary]) -> dict[tuple[str, str], list[BdSummary]]:
    """Groups BD-rates that one table shows."""
    groups: dict[tuple[str, str], list[BdSummary]] = defaultdict(list)
    for rate in rates:
        groups[rate.series, rate.measure].append(rate)
    return groups


def image_names(rates: Iterable[BdSummary]) -> list[str]:
    """Returns the names of all images of BD-rates."""
    return list(dict.fromkeys(name for rate in rates for name in (*rate.by_image, *rate.missing_images)))


FIGURES = ("bpp", "psnr_db", "ssim", "ms_ssim", "ssimulacra2", "butteraugli", "encode_s", "decode_s")


def by_target(comparison: Comparison) -> list[TargetSummary]:
    """Returns the measurements of each target."""
    summaries = []
    for target in comparison.targets:
        best = _best_forms((m for m in comparison.measurements if m.target == target), target.measure)
        rows = tuple(Row(image.name, cells) for image in comparison.images if DFM in (cells := best[image.name]))
        names = [DFM, *comparison.codecs]
        codecs = tuple(summary for name in names if (summary := _codec_summary(name, rows, target.measure)))
        summaries.append(TargetSummary(target, rows, codecs))
    return summaries


def labels(comparison: Comparison) -> dict[str, str]:
    """Returns the labels of dfm and of each codec that was run, by name."""
    return {DFM: DFM} | {name: codec["label"] for name, codec in comparison.codecs.items()}


def by_series(summaries: Iterable[TargetSummary]) -> dict[str, list[TargetSummary]]:
    """Groups targets that differ only in the rate; they are the points of one curve of dfm."""
    series: dict[str, list[TargetSummary]] = defaultdict(list)
    for summary in summaries:
        series[summary.target.series].append(summary)
    return series


def bd_rates(comparison: Comparison) -> list[BdSummary]:
    """Computes the BD-rates of each series: of dfm against each anchor and of the other anchors
    against the first one by the measures of the tune, and of dfm against each curve from a table by
    PSNR.
    """
    names = [image.name for image in comparison.images]
    anchors = list(comparison.codecs)
    pairs = [(DFM, anchor) for anchor in anchors] + [(codec, anchors[0]) for codec in anchors[1:]]
    found: list[BdSummary | None] = []
    for series, summaries in by_series(by_target(comparison)).items():
        for measure in EQUAL_QUALITY[summaries[0].target.tune]:
            points = {
                codec: {name: _bd_points(summaries, codec, name, measure) for name in names}
                for codec in (DFM, *anchors)
            }
            for codec, anchor in pairs:
                label = comparison.codecs[anchor]["label"]
                found.append(
                    _bd_summary((series, codec, anchor, label, "codec", measure.name), points[anchor], points[codec])
                )
        psnrs = {name: image_curve(summaries, DFM, name, PSNR) for name in names}
        for curve in comparison.curves:
            complete = [summary for summary in summaries if len(summary.rows) == len(names)]
            found += _against(curve, series, psnrs, mean_curve(complete, DFM, PSNR.name))
    return [summary for summary in found if summary is not None]


def image_curve(summaries: Iterable[TargetSummary], codec: str, image_name: str, measure: Measure) -> list[Point]:
    """Returns rate and measure of a codec's files of one image, for each target that it reaches."""
    figures = _image_figures(summaries, codec, image_name)
    return [(found.bpp, value) for found in figures if (value := found.value(measure)) is not None]


def _image_figures(summaries: Iterable[TargetSummary], codec: str, image_name: str) -> list[Figures]:
    cells = [row.cells.get(codec) for summary in summaries for row in summary.rows if row.image == image_name]
    return [cell.figures for cell in cells if cell is not None and cell.figures is not None]


def _bd_points(summaries: Iterable[TargetSummary], codec: str, image_name: str, measure: Measure) -> list[Point]:
    """Returns rate and quality of the files that the BD-rate of an image compares. For visual
    measures, these are the files in the range of SSIMULACRA2, and a neighbour on each side.
    """
    figures = _image_figures(summaries, codec, image_name)
    if measure != PSNR:
        scored = sorted((f for f in figures if f.ssimulacra2 is not None), key=lambda f: f.file_bytes)
        figures = scored[slice_in_range([f.ssimulacra2 or 0 for f in scored])]
    return [(f.bpp, measure.quality(value)) for f in figures if (value := f.value(measure)) is not None]


def slice_in_range(scores: Sequence[float]) -> slice:
    """Returns the slice of SSIMULACRA2 values, in order of size, that are in the range of the
    comparison, with a neighbour on each side.
    """
    inside = [at for at, score in enumerate(scores) if LOWEST_SCORE <= score <= HIGHEST_SCORE]
    return slice(max(0, inside[0] - 1), inside[-1] + 2) if inside else slice(0)


def curves_without_bd_rate(comparison: Comparison, rates: Iterable[BdSummary]) -> list[str]:
    """Returns the labels of curves from tables for which no BD-rate could be computed."""
    present = {rate.anchor for rate in rates if rate.kind != "codec"}
    return [curve.label for curve in comparison.curves if curve.label not in present]


def mean_curve(summaries: Iterable[TargetSummary], codec: str, metric: str) -> list[Point]:
    """Returns mean rate and metric of a codec, for each target that it reaches on all images."""
    points = []
    for summary in summaries:
        for found in summary.codecs:
            rate, value = found.mean["bpp"], found.mean[metric]
            is_complete = found.codec == codec and found.image_count == len(summary.rows)
            if is_complete and rate is not None and value is not None:
                points.append((rate, value))
    return points


def _against(
    curve: Curve, series: str, dfm_points: dict[str, list[Point]], dfm_mean_points: list[Point]
) -> list[BdSummary | None]:
    """Computes BD-rates against a curve from a table: for its images, and for its means."""
    images = {name: dfm_points[name] for name in dfm_points if name in curve.by_image}
    anchor_points = {name: list(curve.by_image[name]) for name in images}
    return [
        _bd_summary((series, DFM, curve.label, curve.label, "curve", PSNR.name), anchor_points, images),
        _bd_summary(
            (series, DFM, curve.label, curve.label, "mean curve", PSNR.name),
            {MEAN_CURVE: list(curve.mean)} if curve.mean else {},
            {MEAN_CURVE: dfm_mean_points},
        ),
    ]


def _bd_summary(
    what: tuple[str, str, str, str, Literal["codec", "curve", "mean curve"], str],
    anchor: dict[str, list[Point]],
    codec: dict[str, list[Point]],
) -> BdSummary | None:
    """Computes BD-rates by image; returns None if there are none."""
    rates, overlaps, without = {}, {}, []
    for name, points in anchor.items():
        difference = bd_rate(points, codec[name])
        if difference is None:
            without.append(name)
        else:
            rates[name], overlaps[name] = difference.percent, difference.overlap
    return BdSummary(*what, rates, overlaps, tuple(without)) if rates else None


def gap_mark(cell: Measurement) -> str:
    """Returns the mark of a file much smaller than the limit, "+" at the codec's last setting."""
    if cell.codec == DFM or (cell.gap or 0) <= LARGE_GAP:
        return ""
    return "+" if cell.next_setting is None else "*"


def has_curves(comparison: Comparison) -> bool:
    """Indicates whether some targets differ only in the rate."""
    series = [target.series for target in comparison.targets]
    return len(series) > len(set(series))


def _best_forms(measurements: Iterable[Measurement], measure: Measure) -> dict[str, dict[str, Measurement]]:
    """Returns image name -> codec -> measurement, of the form with the best value of a measure."""
    best: dict[str, dict[str, Measurement]] = defaultdict(dict)
    for measurement in measurements:
        cells = best[measurement.image]
        present = cells.get(measurement.codec)
        if present is None or _order(measurement, measure) > _order(present, measure):
            cells[measurement.codec] = measurement
    return best


def _order(measurement: Measurement, measure: Measure) -> tuple[float, float]:
    """Returns the sort key of forms: the measure, then PSNR for images without it."""
    if measurement.figures is None:
        return -inf, -inf
    value = measurement.figures.value(measure)
    return -inf if value is None else value, measurement.figures.psnr_db


def _codec_summary(codec: str, rows: tuple[Row, ...], measure: Measure) -> CodecSummary | None:
    """Returns the summary of a codec; None if it has no file for any image."""
    pairs = [
        (anchor, dfm)
        for row in rows
        if codec in row.cells
        and (anchor := row.cells[codec].figures) is not None
        and (dfm := row.cells[DFM].figures) is not None
    ]
    if not pairs:
        return None
    values = [(anchor.value(measure), dfm.value(measure)) for anchor, dfm in pairs]
    both = [(anchor, dfm) for anchor, dfm in values if anchor is not None and dfm is not None]
    return CodecSummary(
        codec,
        len(pairs),
        fmean(anchor.file_bytes / dfm.file_bytes for anchor, dfm in pairs),
        {name: _mean(name, [anchor for anchor, _ in pairs]) for name in FIGURES},
        sum(anchor.lossless for anchor, _ in pairs),
        measure.name,
        _mean(measure.name, [dfm for _, dfm in pairs]),
        sum(dfm > anchor for anchor, dfm in both),
        sum(dfm < anchor for anchor, dfm in both),
    )


def _mean(name: str, figures: list[Figures]) -> float | None:
    values = [getattr(f, name) for f in figures]
    return fmean(values) if all(value is not None and isfinite(value) for value in values) else None
