"""Summaries of measurements: tables at equal size, wins and losses, BD-rates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, median

from dfmcodec.bench.measurement import DFM, Figures, Measurement, Target
from dfmcodec.bench.runner import Comparison
from dfmcodec.metrics import Point, bd_rate

LARGE_GAP = 0.02  # a larger unused fraction of the limit is marked
LOW_OVERLAP = 0.5  # BD-rates of curves with less overlap are marked


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
        mean: Mean of each figure by name; None if an image lacks the figure.
        dfm_psnr_db: dfm's mean PSNR over the same images.
        wins: The number of images for which dfm has the higher PSNR.
        losses: The number of images for which dfm has the lower PSNR.
    """

    codec: str
    image_count: int
    size: float
    mean: dict[str, float | None]
    dfm_psnr_db: float
    wins: int
    losses: int


@dataclass(frozen=True)
class TargetSummary:
    """All images at one target."""

    target: Target
    rows: tuple[Row, ...]
    codecs: tuple[CodecSummary, ...]


@dataclass(frozen=True)
class BdSummary:
    """BD-rates of dfm against an anchor by PSNR, one for each image.

    Args:
        series: dfm's settings, without the rate.
        anchor: The codec's name.
        by_image: BD-rates in per cent, by image name.
        overlaps: The fraction of the span of qualities that both curves reach, by image name.
        without: Images without a BD-rate, as their curves have too few points or share no quality.
    """

    series: str
    anchor: str
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
        best = _best_forms(m for m in comparison.measurements if m.target == target)
        rows = tuple(Row(image.name, cells) for image in comparison.images if DFM in (cells := best[image.name]))
        names = [DFM, *comparison.codecs]
        codecs = tuple(summary for name in names if (summary := _codec_summary(name, rows)) is not None)
        summaries.append(TargetSummary(target, rows, codecs))
    return summaries


def bd_rates(comparison: Comparison) -> list[BdSummary]:
    """BD-rates of each series of targets that differ only in the rate, against each anchor."""
    series: dict[str, list[Target]] = defaultdict(list)
    for target in comparison.targets:
        series[target.series].append(target)
    summaries = []
    for name, targets in series.items():
        best = {target: _best_forms(m for m in comparison.measurements if m.target == target) for target in targets}
        for anchor in comparison.codecs:
            rates, overlaps, without = {}, {}, []
            for image in comparison.images:
                cells = [best[target][image.name] for target in targets]
                difference = bd_rate(_curve(c.get(anchor) for c in cells), _curve(c.get(DFM) for c in cells))
                if difference is None:
                    without.append(image.name)
                else:
                    rates[image.name], overlaps[image.name] = difference.percent, difference.overlap
            if rates:
                summaries.append(BdSummary(name, anchor, rates, overlaps, tuple(without)))
    return summaries


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


def _curve(cells: Iterable[Measurement | None]) -> list[Point]:
    return [(cell.figures.bpp, cell.figures.psnr_db) for cell in cells if cell is not None and cell.figures is not None]


def _best_forms(measurements: Iterable[Measurement]) -> dict[str, dict[str, Measurement]]:
    """Image name -> codec -> measurement, for the form with the best PSNR."""
    best: dict[str, dict[str, Measurement]] = defaultdict(dict)
    for measurement in measurements:
        cells = best[measurement.image_name]
        present = cells.get(measurement.codec)
        if present is None or _psnr(measurement) > _psnr(present):
            cells[measurement.codec] = measurement
    return best


def _psnr(measurement: Measurement) -> float:
    return float("-inf") if measurement.figures is None else measurement.figures.psnr_db


def _codec_summary(codec: str, rows: tuple[Row, ...]) -> CodecSummary | None:
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
    return CodecSummary(
        codec,
        len(pairs),
        fmean(theirs.bytes / ours.bytes for theirs, ours in pairs),
        {name: _mean(name, [theirs for theirs, _ in pairs]) for name in FIGURES},
        fmean(ours.psnr_db for _, ours in pairs),
        sum(ours.psnr_db > theirs.psnr_db for theirs, ours in pairs),
        sum(ours.psnr_db < theirs.psnr_db for theirs, ours in pairs),
    )


def _mean(name: str, figures: list[Figures]) -> float | None:
    values = [getattr(f, name) for f in figures]
    return fmean(values) if all(value is not None and isfinite(value) for value in values) else None
