"""Summaries of measurements: tables at equal size, wins and losses, BD-rates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite
from statistics import fmean, median
from typing import Literal

from dfmcodec.bench.curves import Curve
from dfmcodec.bench.measurement import DFM, Figures, Measurement, Target
from dfmcodec.bench.measures import PSNR, Measure
from dfmcodec.bench.runner import Comparison
from dfmcodec.metrics import Point, bd_rate

LARGE_GAP = 0.02  # a larger unused fraction of the limit is marked
LOW_OVERLAP = 0.5  # BD-rates of curves with less overlap are marked
MEAN_CURVE = "mean curve"


@dataclass(frozen=True)
class Row:
    """One image at one target.

    Args:
        image_name: Its name.
        cells: Measurements by codec; of an anchor's forms, the better one.
    """

    image_name: str
    cells: dict[str, Measurement]


@dataclass(frozen=True)
class CodecSummary:
    """A codec at one target, over the images for which both it and dfm have a file.

    Args:
        codec: Its name.
        image_count: The number of these images.
        size: Mean ratio of the size of its file to the size of dfm's.
        mean: Mean of each figure by name; None if an image lacks the figure or is lossless.
        lossless: The number of these images of which its file is lossless.
        measure: The name of the measure that codecs are compared by.
        dfm_mean: dfm's mean of this measure over the same images; None as in `mean`.
        wins: The number of images for which dfm has the larger value of the measure.
        losses: The number of images for which dfm has the smaller value.
    """

    codec: str
    image_count: int
    size: float
    mean: dict[str, float | None]
    lossless: int
    measure: str
    dfm_mean: float | None
    wins: int
    losses: int

    @property
    def gain(self) -> float | None:
        """How much larger dfm's mean of the measure is; None without one of the two means."""
        theirs = self.mean[self.measure]
        return None if theirs is None or self.dfm_mean is None else self.dfm_mean - theirs


@dataclass(frozen=True)
class TargetSummary:
    """All images at one target."""

    target: Target
    rows: tuple[Row, ...]
    codecs: tuple[CodecSummary, ...]


@dataclass(frozen=True)
class BdSummary:
    """BD-rates of dfm against an anchor, one for each image.

    Args:
        series: dfm's settings, without the rate.
        anchor: The codec's name, or the label of a curve that was given.
        label: Its name in tables.
        kind: Whether the anchor was run, or a curve of it was given. Against the "mean curve" of an
            anchor there is one BD-rate, that of the means over images.
        measure: The name of the measure at whose equal values rates are compared; that of given
            curves is PSNR, whatever the tune.
        by_image: BD-rates in per cent, by image name or `MEAN_CURVE`.
        overlaps: The fraction of the span of qualities that both curves reach, by image name.
        without: Images without a BD-rate, as their curves have too few points or share no quality.
    """

    series: str
    anchor: str
    label: str
    kind: Literal["codec", "curve", "mean curve"]
    measure: str
    by_image: dict[str, float]
    overlaps: dict[str, float]
    without: tuple[str, ...]

    @property
    def mean(self) -> float:
        """The mean over images."""
        return fmean(self.by_image.values())

    @property
    def median(self) -> float:
        """The median over images."""
        return median(self.by_image.values())

    @property
    def best(self) -> float:
        """The lowest BD-rate."""
        return min(self.by_image.values())

    @property
    def worst(self) -> float:
        """The highest BD-rate."""
        return max(self.by_image.values())

    @property
    def low_overlap(self) -> int:
        """The number of images for which the BD-rate says little."""
        return sum(overlap < LOW_OVERLAP for overlap in self.overlaps.values())


FIGURES = ("bpp", "psnr_db", "ssim", "ms_ssim", "ssimulacra2", "encode_s", "decode_s")


def by_target(comparison: Comparison) -> list[TargetSummary]:
    """The table of each target."""
    summaries = []
    for target in comparison.targets:
        best = _best_forms((m for m in comparison.measurements if m.target == target), target.measure)
        rows = tuple(Row(image.name, cells) for image in comparison.images if DFM in (cells := best[image.name]))
        names = [DFM, *comparison.codecs]
        codecs = tuple(summary for name in names if (summary := _codec_summary(name, rows, target.measure)))
        summaries.append(TargetSummary(target, rows, codecs))
    return summaries


def labels(comparison: Comparison) -> dict[str, str]:
    """What tables call dfm and each codec that was run, by name."""
    return {DFM: DFM} | {name: codec["label"] for name, codec in comparison.codecs.items()}


def by_series(summaries: Iterable[TargetSummary]) -> dict[str, list[TargetSummary]]:
    """Targets that differ only in the rate are points of one curve of dfm."""
    series: dict[str, list[TargetSummary]] = defaultdict(list)
    for summary in summaries:
        series[summary.target.series].append(summary)
    return series


def bd_rates(comparison: Comparison) -> list[BdSummary]:
    """BD-rates of each series of targets that differ only in the rate: against each anchor by the
    measure of the tune, and against each curve that was given by PSNR.
    """
    names = [image.name for image in comparison.images]
    found: list[BdSummary | None] = []
    for series, summaries in by_series(by_target(comparison)).items():
        measure = summaries[0].target.measure
        ours = {name: image_curve(summaries, DFM, name, measure) for name in names}
        for codec, label in labels(comparison).items():
            if codec != DFM:
                theirs = {name: image_curve(summaries, codec, name, measure) for name in names}
                found.append(_bd_summary((series, codec, label, "codec", measure.name), theirs, ours))
        psnrs = {name: image_curve(summaries, DFM, name, PSNR) for name in names}
        for curve in comparison.curves:
            whole = [summary for summary in summaries if len(summary.rows) == len(names)]
            found += _against(curve, series, psnrs, mean_curve(whole, DFM, PSNR.name))
    return [summary for summary in found if summary is not None]


def image_curve(summaries: Iterable[TargetSummary], codec: str, image_name: str, measure: Measure) -> list[Point]:
    """Rate and quality of a codec's files of one image, one for each target that it reaches."""
    cells = [row.cells.get(codec) for summary in summaries for row in summary.rows if row.image_name == image_name]
    figures = [cell.figures for cell in cells if cell is not None and cell.figures is not None]
    return [(found.bpp, value) for found in figures if (value := found.value(measure)) is not None]


def curves_without_bd_rate(comparison: Comparison, rates: Iterable[BdSummary]) -> list[str]:
    """The labels of curves that were given and have no BD-rate."""
    present = {rate.anchor for rate in rates if rate.kind != "codec"}
    return [curve.label for curve in comparison.curves if curve.label not in present]


def mean_curve(summaries: Iterable[TargetSummary], codec: str, metric: str) -> list[Point]:
    """Means over images of a codec's rate and a metric, one for each target that it reaches for all
    images.
    """
    points = []
    for summary in summaries:
        for found in summary.codecs:
            rate, value = found.mean["bpp"], found.mean[metric]
            is_complete = found.codec == codec and found.image_count == len(summary.rows)
            if is_complete and rate is not None and value is not None:
                points.append((rate, value))
    return points


def _against(curve: Curve, series: str, ours: dict[str, list[Point]], our_mean: list[Point]) -> list[BdSummary | None]:
    """BD-rates against a curve: for each image that it has, and of the means if it has these."""
    images = {name: ours[name] for name in ours if name in curve.by_image}
    theirs = {name: list(curve.by_image[name]) for name in images}
    return [
        _bd_summary((series, curve.label, curve.label, "curve", PSNR.name), theirs, images),
        _bd_summary(
            (series, curve.label, curve.label, "mean curve", PSNR.name),
            {MEAN_CURVE: list(curve.mean)} if curve.mean else {},
            {MEAN_CURVE: our_mean},
        ),
    ]


def _bd_summary(
    what: tuple[str, str, str, Literal["codec", "curve", "mean curve"], str],
    anchor: dict[str, list[Point]],
    ours: dict[str, list[Point]],
) -> BdSummary | None:
    """BD-rates by image; None if there is none."""
    rates, overlaps, without = {}, {}, []
    for name, points in anchor.items():
        difference = bd_rate(points, ours[name])
        if difference is None:
            without.append(name)
        else:
            rates[name], overlaps[name] = difference.percent, difference.overlap
    return BdSummary(*what, rates, overlaps, tuple(without)) if rates else None


def gap_mark(cell: Measurement) -> str:
    """The mark of a file much smaller than allowed: "*" if the next setting is too large, "+" if
    there is none.
    """
    if cell.codec == DFM or (cell.gap or 0) <= LARGE_GAP:
        return ""
    return "+" if cell.next_setting is None else "*"


def has_curves(comparison: Comparison) -> bool:
    """Whether some targets differ only in the rate."""
    series = [target.series for target in comparison.targets]
    return len(series) > len(set(series))


def _best_forms(measurements: Iterable[Measurement], measure: Measure) -> dict[str, dict[str, Measurement]]:
    """Image name -> codec -> measurement, for the form that is best by a measure."""
    best: dict[str, dict[str, Measurement]] = defaultdict(dict)
    for measurement in measurements:
        cells = best[measurement.image_name]
        present = cells.get(measurement.codec)
        if present is None or _order(measurement, measure) > _order(present, measure):
            cells[measurement.codec] = measurement
    return best


def _order(measurement: Measurement, measure: Measure) -> tuple[float, float]:
    """By what forms are compared: the measure, and PSNR for images that do not have it."""
    if measurement.figures is None:
        return -inf, -inf
    value = measurement.figures.value(measure)
    return -inf if value is None else value, measurement.figures.psnr_db


def _codec_summary(codec: str, rows: tuple[Row, ...], measure: Measure) -> CodecSummary | None:
    """The summary of a codec; None if it has no file for any image."""
    pairs = [
        (theirs, ours)
        for row in rows
        if codec in row.cells
        and (theirs := row.cells[codec].figures) is not None
        and (ours := row.cells[DFM].figures) is not None
    ]
    if not pairs:
        return None
    values = [(theirs.value(measure), ours.value(measure)) for theirs, ours in pairs]
    both = [(theirs, ours) for theirs, ours in values if theirs is not None and ours is not None]
    return CodecSummary(
        codec,
        len(pairs),
        fmean(theirs.bytes / ours.bytes for theirs, ours in pairs),
        {name: _mean(name, [theirs for theirs, _ in pairs]) for name in FIGURES},
        sum(theirs.lossless for theirs, _ in pairs),
        measure.name,
        _mean(measure.name, [ours for _, ours in pairs]),
        sum(ours > theirs for theirs, ours in both),
        sum(ours < theirs for theirs, ours in both),
    )


def _mean(name: str, figures: list[Figures]) -> float | None:
    values = [getattr(f, name) for f in figures]
    return fmean(values) if all(value is not None and isfinite(value) for value in values) else None
