"""Short table of codecs: bits at equal quality, quality at equal size, and seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from dfmcodec.bench.butteraugli import ABSENT
from dfmcodec.bench.measurement import DFM, Figures
from dfmcodec.bench.measures import MEASURES, SSIMULACRA2, number_text
from dfmcodec.bench.runner import Comparison
from dfmcodec.bench.summary import (
    HIGHEST_SCORE,
    LOW_OVERLAP,
    LOWEST_SCORE,
    BdSummary,
    TargetSummary,
    bd_rates,
    by_series,
    by_target,
    labels,
)

_MISSING = "-"
_SCORES = {"ssimulacra2": ("SSIMULACRA2", "", 1), "butteraugli": ("Butteraugli", "", 2)}
_FIGURES = {  # name -> two lines of the heading, and decimals
    "psnr_db": ("PSNR", "dB", 2),
    "ssim": ("SSIM", "", 4),
    "encode_s": ("encode", "s", 3),
    "decode_s": ("decode", "s", 3),
}


@dataclass(frozen=True)
class Overview:
    """Table of dfm, with one choice of settings other than the rate, and the other codecs."""

    title: str
    head: list[tuple[str, str]]  # two lines for each column
    rows: list[list[str]]
    notes: list[str]


def overviews(comparison: Comparison) -> list[Overview]:
    """Returns a table for each series of the tune `visual`. Bits are relative to those of the first
    anchor; with too few rates for that, there are scores at equal size. Means of a column are over
    the same images and rates.
    """
    rates = [rate for rate in bd_rates(comparison) if rate.kind == "codec"]
    names = labels(comparison)
    return [
        _overview(series, names, summaries, [rate for rate in rates if rate.series == series])
        for series, summaries in by_series(by_target(comparison)).items()
        if summaries[0].target.measure == SSIMULACRA2 and any(summary.rows for summary in summaries)
    ]


def _overview(
    series: str, names: Mapping[str, str], summaries: Sequence[TargetSummary], rates: Sequence[BdSummary]
) -> Overview:
    reference = next((codec for codec in names if codec != DFM), "")
    bits = {(rate.codec, rate.measure): rate for rate in rates if rate.anchor == reference}
    measures = list(dict.fromkeys(measure for _, measure in bits))
    files, count = _common_files(summaries, names)
    figures = _FIGURES if bits else _SCORES | _FIGURES
    figures = {name: form for name, form in figures.items() if _mean(files[DFM], name) is not None}
    head = [("codec", ""), *(("bits, equal", MEASURES[name].label) for name in measures)]
    head += [(first, second) for first, second, _ in figures.values()]
    rows = []
    for codec, label in names.items():
        compared = ["reference" if codec == reference else _percent(bits.get((codec, name))) for name in measures]
        means = [number_text(_mean(files[codec], name), digits) for name, (_, _, digits) in figures.items()]
        rows.append([label, *compared, *(text or _MISSING for text in means)])
    image_count = len({row.image for summary in summaries for row in summary.rows})
    title = f"{series}; images: {image_count}, rates: {len(summaries)}"
    notes = [
        f"PSNR, SSIM and seconds are means of {len(files[DFM])} of {count} files, at equal size.",
        "dfm's seconds include the search for the size.",
    ]
    if bits:
        scores = f"from SSIMULACRA2 {LOWEST_SCORE:g} to {HIGHEST_SCORE:g}"
        notes.insert(0, f"Bits are relative to {names[reference]}'s: means over images, {scores}.")
        notes += [note for name in measures for note in _doubts(name, list(bits.values()), names)]
    elif reference:
        notes.append("No bits at equal quality: they need three rates that both codecs reach.")
    cells = [cell for summary in summaries for row in summary.rows for cell in row.cells.values()]
    if all(cell.figures is None or cell.figures.butteraugli is None for cell in cells):
        notes.append(ABSENT)
    return Overview(title, head, rows, notes)


def _common_files(summaries: Sequence[TargetSummary], names: Iterable[str]) -> tuple[dict[str, list[Figures]], int]:
    """Returns the files of each codec for the images and rates for which all codecs have a lossy
    file, and the number of all images and rates. A codec without any file has none.
    """
    rows = [row for summary in summaries for row in summary.rows]
    by_row = [{name: cell.figures for name, cell in row.cells.items() if cell.figures} for row in rows]
    present = [name for name in names if any(name in figures for figures in by_row)]
    common = [figures for figures in by_row if all(name in figures and not figures[name].lossless for name in present)]
    return {name: [figures[name] for figures in common if name in present] for name in names}, len(rows)


def _mean(files: Sequence[Figures], name: str) -> float | None:
    """Returns the mean of a figure; None if there is no file, or one without it."""
    values = [getattr(file, name) for file in files]
    return fmean(values) if values and None not in values else None


def _percent(rate: BdSummary | None) -> str:
    return _MISSING if rate is None else f"{rate.mean:+.1f} %"


def _doubts(measure: str, rates: Sequence[BdSummary], names: Mapping[str, str]) -> list[str]:
    """Returns which bits at an equal measure are unreliable, and for how many images, in lines."""
    found = [(names[rate.codec], rate) for rate in rates if rate.measure == measure]
    low = [f"{name} {rate.low_overlap_count}" for name, rate in found if rate.low_overlap_count]
    without = [f"{name} {len(rate.missing_images)}" for name, rate in found if rate.missing_images]
    label, percent = MEASURES[measure].label, f"{100 * LOW_OVERLAP:.0f} %"
    lines = {f"with under {percent} of the range of {label} in common": low, f"without bits at equal {label}": without}
    return [f"Number of images {kind}: {', '.join(counts)}." for kind, counts in lines.items() if counts]
