"""BD-rates of dfm, and the files that all codecs have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from dfmcodec.bench.measurement import DFM, MEASURES, PSNR, Measure, Measurement, Target
from dfmcodec.bench.runner import Comparison
from dfmcodec.perception import Point, bd_rate

LOW_OVERLAP = 0.5  # BD-rates with a lower overlap are marked
# The range of SSIMULACRA2 in which bits at equal visual quality are compared.
LOWEST_SCORE, HIGHEST_SCORE = 30.0, 90.0

Files = dict[tuple[str, str], list[Measurement]]  # image name, codec -> files in order of size


@dataclass(frozen=True)
class BdSummary:
    """BD-rates of dfm against a codec, or against a curve from a table, one for each image."""

    series: str  # dfm's settings, without the rate
    anchor: str  # label of the codec or curve
    measure: str  # name of the measure of equal quality; PSNR for curves from tables
    by_image: dict[str, float]  # in per cent, by image name
    overlaps: dict[str, float]  # fraction of the quality range that both curves cover, by image name
    missing_images: tuple[str, ...]  # images whose curves have too few points or no common quality

    @property
    def mean(self) -> float:
        """Returns the mean over images."""
        return fmean(self.by_image.values())

    @property
    def low_overlap_count(self) -> int:
        """Returns the number of images whose BD-rate is unreliable because of a low overlap."""
        return sum(overlap < LOW_OVERLAP for overlap in self.overlaps.values())

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON (docs/benchmark.md)."""
        return {**asdict(self), "mean": self.mean, "low_overlap_count": self.low_overlap_count}


def by_series(comparison: Comparison) -> dict[str, list[Target]]:
    """Groups targets that differ only in the rate; they are the points of one curve of dfm."""
    series: dict[str, list[Target]] = defaultdict(list)
    for target in comparison.targets:
        series[target.series].append(target)
    return series


def bd_rates(comparison: Comparison) -> list[BdSummary]:
    """Computes the BD-rates of each series of dfm, against each codec by each measure, and against
    each curve from a table by PSNR. Comparisons without any BD-rate are left out.
    """
    images = [image.name for image in comparison.images]
    summaries = []
    for series, targets in by_series(comparison).items():
        files = _files(comparison, targets)
        for codec, description in comparison.codecs.items():
            for measure in MEASURES:
                pairs = {n: (_points(files[n, codec], measure), _points(files[n, DFM], measure)) for n in images}
                summaries.append(_bd_summary((series, description["label"], measure.name), pairs))
        for curve in comparison.curves:
            pairs = {name: (list(points), _points(files[name, DFM], PSNR)) for name, points in curve.by_image.items()}
            summaries.append(_bd_summary((series, curve.label, PSNR.name), pairs))
    return [summary for summary in summaries if summary.by_image]


def _files(comparison: Comparison, targets: Sequence[Target]) -> Files:
    files: Files = defaultdict(list)
    for measurement in sorted(comparison.measurements, key=lambda m: m.file_bytes):
        if measurement.target in targets:
            files[measurement.image, measurement.codec].append(measurement)
    return files


def _points(files: Sequence[Measurement], measure: Measure) -> list[Point]:
    """Returns rate and quality of the files that a BD-rate compares. For visual measures, these are
    the files in the range of SSIMULACRA2, and a neighbour on each side.
    """
    if measure != PSNR:
        scored = [file for file in files if file.ssimulacra2 is not None]
        files = scored[slice_in_range([file.ssimulacra2 or 0 for file in scored])]
    return [(file.bpp, quality) for file in files if (quality := file.quality(measure)) is not None]


def slice_in_range(scores: Sequence[float]) -> slice:
    """Returns the slice of SSIMULACRA2 values, in order of size, that are in the range of the
    comparison, with a neighbour on each side.
    """
    in_range = [at for at, score in enumerate(scores) if LOWEST_SCORE <= score <= HIGHEST_SCORE]
    return slice(max(0, in_range[0] - 1), in_range[-1] + 2) if in_range else slice(0)


def _bd_summary(names: tuple[str, str, str], pairs: dict[str, tuple[list[Point], list[Point]]]) -> BdSummary:
    """Computes BD-rates by image, from the points of the anchor and of dfm."""
    rates = {name: bd_rate(anchor, dfm) for name, (anchor, dfm) in pairs.items()}
    present = {name: rate for name, rate in rates.items() if rate is not None}
    return BdSummary(
        *names,
        {name: rate.percent for name, rate in present.items()},
        {name: rate.overlap for name, rate in present.items()},
        tuple(name for name, rate in rates.items() if rate is None),
    )


def common_files(comparison: Comparison, targets: Iterable[Target]) -> dict[str, list[Measurement]]:
    """Returns the files of each codec for the images and targets for which all codecs have a lossy
    file. Codecs without any file are left out.
    """
    cells: dict[tuple[str, Target], dict[str, Measurement]] = defaultdict(dict)
    for measurement in comparison.measurements:
        if measurement.target in targets:
            cells[measurement.image, measurement.target][measurement.codec] = measurement
    codecs = [codec for codec in (DFM, *comparison.codecs) if any(codec in cell for cell in cells.values())]
    complete = [
        cell for cell in cells.values() if all(codec in cell and not cell[codec].is_lossless for codec in codecs)
    ]
    return {codec: [cell[codec] for cell in complete] for codec in codecs}
