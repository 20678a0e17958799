"""From single measurements to what a reader wants to know: tables at equal size, wins and losses, BD-rates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, median

from dfmcodec.bench.measurement import DFM, Figures, Measurement, Target
from dfmcodec.bench.runner import Comparison
from dfmcodec.metrics import Point, bd_rate

LARGE_GAP = 0.02  # a file that is smaller than allowed by more than this is marked
LOW_OVERLAP = 0.5  # of two curves' qualities; BD-rates below it are marked


@dataclass(frozen=True)
class Row:
    """A picture at one target: its measurement by codec, the better of an anchor's forms."""

    picture: str
    cells: dict[str, Measurement]


@dataclass(frozen=True)
class CodecSummary:
    """A codec at one target, over the pictures that it and dfm both have.

    Args:
        codec: Its name.
        pictures: How many.
        size: Mean of its files' sizes over dfm's.
        mean: Mean of each figure by name; None where a picture lacks it.
        dfm_psnr_db: dfm's mean PSNR over the same pictures.
        wins: Pictures where dfm has the higher PSNR.
        losses: Pictures where dfm has the lower.
    """

    codec: str
    pictures: int
    size: float
    mean: dict[str, float | None]
    dfm_psnr_db: float
    wins: int
    losses: int


@dataclass(frozen=True)
class TargetSummary:
    """All pictures at one target."""

    target: Target
    rows: tuple[Row, ...]
    codecs: tuple[CodecSummary, ...]


@dataclass(frozen=True)
class BdSummary:
    """BD-rate of dfm against an anchor, of PSNR, computed for each picture.

    Args:
        series: dfm's settings, without the rate.
        anchor: The codec's name.
        by_picture: Percent.
        overlaps: Part of the qualities that both curves reach, by picture.
        without: Pictures whose curves have too few points or share no quality.
    """

    series: str
    anchor: str
    by_picture: dict[str, float]
    overlaps: dict[str, float]
    without: tuple[str, ...]

    @property
    def mean(self) -> float:
        return fmean(self.by_picture.values())

    @property
    def median(self) -> float:
        return median(self.by_picture.values())

    @property
    def best(self) -> float:
        return min(self.by_picture.values())

    @property
    def worst(self) -> float:
        return max(self.by_picture.values())

    @property
    def low_overlap(self) -> int:
        """For how many pictures the figure says little."""
        return sum(overlap < LOW_OVERLAP for overlap in self.overlaps.values())


FIGURES = ("bpp", "psnr_db", "ssim", "ms_ssim", "ssimulacra2", "encode_s", "decode_s")


def by_target(comparison: Comparison) -> list[TargetSummary]:
    """What each target's table holds."""
    summaries = []
    for target in comparison.targets:
        best = _best_forms(m for m in comparison.measurements if m.target == target)
        rows = tuple(
            Row(picture.name, cells) for picture in comparison.pictures if DFM in (cells := best[picture.name])
        )
        names = [DFM, *comparison.codecs]
        codecs = tuple(summary for name in names if (summary := _codec_summary(name, rows)) is not None)
        summaries.append(TargetSummary(target, rows, codecs))
    return summaries


def bd_rates(comparison: Comparison) -> list[BdSummary]:
    """Of each series of targets that differ in the rate alone, against each anchor."""
    series: dict[str, list[Target]] = defaultdict(list)
    for target in comparison.targets:
        series[target.series].append(target)
    found = []
    for name, targets in series.items():
        best = {target: _best_forms(m for m in comparison.measurements if m.target == target) for target in targets}
        for anchor in comparison.codecs:
            rates, overlaps, without = {}, {}, []
            for picture in comparison.pictures:
                cells = [best[target][picture.name] for target in targets]
                difference = bd_rate(_curve(c.get(anchor) for c in cells), _curve(c.get(DFM) for c in cells))
                if difference is None:
                    without.append(picture.name)
                else:
                    rates[picture.name], overlaps[picture.name] = difference.percent, difference.overlap
            if rates:
                found.append(BdSummary(name, anchor, rates, overlaps, tuple(without)))
    return found


def gap_mark(cell: Measurement) -> str:
    """How tables mark a file much smaller than allowed: "*" for want of a finer knob, "+" at the knob's end."""
    if cell.codec == DFM or (cell.gap or 0) <= LARGE_GAP:
        return ""
    return "+" if cell.next_setting is None else "*"


def has_curves(comparison: Comparison) -> bool:
    """Whether some targets differ in the rate alone."""
    series = [target.series for target in comparison.targets]
    return len(series) > len(set(series))


def _curve(cells: Iterable[Measurement | None]) -> list[Point]:
    return [(cell.figures.bpp, cell.figures.psnr_db) for cell in cells if cell is not None and cell.figures is not None]


def _best_forms(measurements: Iterable[Measurement]) -> dict[str, dict[str, Measurement]]:
    """picture -> codec -> its measurement, of the form with the best PSNR where there are several."""
    best: dict[str, dict[str, Measurement]] = defaultdict(dict)
    for measurement in measurements:
        cells = best[measurement.picture]
        present = cells.get(measurement.codec)
        if present is None or _psnr(measurement) > _psnr(present):
            cells[measurement.codec] = measurement
    return best


def _psnr(measurement: Measurement) -> float:
    return float("-inf") if measurement.figures is None else measurement.figures.psnr_db


def _codec_summary(codec: str, rows: tuple[Row, ...]) -> CodecSummary | None:
    """None where no picture has a file of the codec."""
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
