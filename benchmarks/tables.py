"""The tables of the documents that come of recorded rows.

    python benchmarks/tables.py
    python benchmarks/tables.py --check

A page has `<!-- table: NAME -->` where a table begins, which ends at the next empty line. The first
command writes all of them anew, the second names those that differ from their rows; a test runs it.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean

import archive
import click
import first_page
import seen
from first_page import RESULTS, kodak_bd_rates, percent, span
from large import is_part
from rate_distortion import LOW_RATES, curves_of, rates_against
from recording import Row, read_rows

from dfmcodec.perception import bd_rate

ROOT = Path(__file__).parents[1]
FITS = ("kodim05", "kodim08", "kodim19", "kodim23")
EFFORTS = {"overfitted:7": "effort 7", "overfitted:9": "effort 9"}
KODAK = {"webp": "WebP", "avif": "AVIF", "dfm-1": "dfm, effort 1", "dfm-5": "dfm, effort 5 (default)"}
Table = Callable[[], str]


def table(headings: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Returns a table in Markdown."""
    rows = ["".join(f"| {cell} " if cell else "| " for cell in map(str, row)) + "|" for row in (headings, *lines)]
    return "\n".join([rows[0], "|---" * len(headings) + "|", *rows[1:]])


def rows_of(name: str) -> list[Row]:
    """Returns the recorded rows of a file."""
    return read_rows(RESULTS / f"{name}.jsonl")


def by(rows: Iterable[Row], *keys: str) -> dict[tuple[object, ...], list[Row]]:
    """Returns rows by some of their values, in the order in which they come first."""
    groups: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return groups


def mean(rows: Iterable[Row], key: str) -> float:
    """Returns the mean of a value of rows that have it."""
    return fmean(row[key] for row in rows if row.get(key) is not None)


# docs/install.md


def installations() -> str:
    """Returns the table of installations, with their sizes."""
    uses = {
        "": "encode, decode, check, view and compare photographs",
        "jax": "study the published network",
        "cuda": "fit on an NVIDIA GPU",
        "bench": "compare codecs: `dfm bench`, with JPEG XL",
        "heif": "read HEIC, and AVIF of 10 and 12 bits",
        "corpus": "encode many images into Parquet",
        "cloud": "the same in object stores",
        "dask": "the same on a cluster, by Dask",
        "all": "all of these but CUDA",
    }
    rows = {row["installation"]: row for row in rows_of("installations") if "MB" in row}
    lines = []
    for extra, use in uses.items():
        name = f"'dfmcodec[{extra}]'" if extra else "dfmcodec"
        row = rows[f"pip install .[{extra}]" if extra else "pip install ."]
        lines.append([use, f"`pip install {name}`", f"{row['MB']:,}"])
    return table(["use", "command", "MB"], lines)


# docs/results/overfitted.md


def overfitted_rates() -> str:
    """Returns BD-rates of fits, with their seconds and the bytes of their networks."""
    rows = rows_of("overfitted_anchors")
    anchors = {
        "the default": lambda setting: kodak_bd_rates(setting)["default"],
        "Cool-chic 5.0.1": lambda setting: kodak_bd_rates(setting)["Cool-chic 5.0.1"],
        "HM 16": lambda setting: kodak_bd_rates(setting)["HM 16"],
        "AVIF tuned for the eye": _against_avif,
    }
    lines: list[list[str]] = []
    for label, rates_of in anchors.items():
        cells = []
        for setting in EFFORTS:
            rates = rates_of(setting)
            each = ", ".join(f"{rates[picture]:+.1f}" for picture in FITS)
            cells.append(f"{percent(fmean(rates.values()))} ({each})")
        lines.append([f"against {label}", *cells])
    files = {setting: [row for row in rows if row["setting"] == setting] for setting in EFFORTS}
    times = [[row["encode_s"] for row in of if "encode_s" in row] for of in files.values()]
    lines.append(["seconds with little else at work", *(f"{min(of):,.0f} to {max(of):,.0f}" for of in times)])
    networks = [
        f"{min(row['networks'] for row in of)} to {max(row['networks'] for row in of):,}, "
        f"{span((100 * row['networks'] / row['bytes'] for row in of), 1)} % of a file"
        for of in files.values()
    ]
    lines.append(["bytes of networks", *networks])
    headings = [f"BD-rate, mean ({', '.join(name.replace('kodim', '') for name in FITS)})"]
    return table([*headings, *(EFFORTS[setting] for setting in EFFORTS)], lines)


def _against_avif(setting: str) -> dict[str, float]:
    curves = curves_of([{"codec": row["setting"], **row} for row in rows_of("overfitted_anchors")])
    anchor = curves_of(rows_of("kodak_anchors"))["avif"]
    rates = {picture: bd_rate(anchor[picture], points) for picture, points in curves[setting].items()}
    return {picture: rate.percent for picture, rate in rates.items() if rate is not None}


# docs/results/quality.md


def _kodak_curves() -> dict[str, dict[str, list[tuple[float, float]]]]:
    return curves_of([row for path in sorted(RESULTS.glob("kodak_*.jsonl")) for row in read_rows(path)])


def kodak_rates() -> str:
    """Returns BD-rates by PSNR on data/kodak."""
    curves = _kodak_curves()
    lines = []
    for codec, label in KODAK.items():
        cells = []
        for anchor in ("jpeg", "avif"):
            if codec == anchor:
                cells += ["0", "", ""]
                continue
            complete, low = (rates_against(curves, anchor, codec, span) for span in (None, LOW_RATES))
            cells += [percent(fmean(complete)), f"{min(complete):+.1f} .. {max(complete):+.1f}", percent(fmean(low))]
        lines.append([label, *cells])
    ends = "best .. worst", "0.1-1.4 bpp"
    return table(["codec", "BD-rate vs JPEG", *ends, "vs AVIF", *ends], lines)


def kodak_published() -> str:
    """Returns BD-rates against published curves of other codecs."""
    lines = []
    for codec, label in (*list(KODAK.items())[::-1], ("jpeg", "JPEG")):
        cells = []
        for anchor in first_page.PUBLISHED:
            rates = kodak_bd_rates(codec)[anchor]
            ends = (
                f"{rates[image]:+.1f} ({image})" for image in sorted(rates, key=rates.__getitem__)[:: len(rates) - 1]
            )
            cells += [percent(fmean(rates.values())), " .. ".join(ends)]
        lines.append([label, *cells])
    headings = [cell for anchor in first_page.PUBLISHED for cell in (f"vs {anchor}", "best .. worst")]
    return table(["", *headings], lines)


# docs/results/speed.md


def commands() -> str:
    """Returns seconds of complete commands, beside those of AVIF and JPEG XL."""
    rows = rows_of("commands")
    pictures = {row["picture"]: row["megapixels"] for row in rows}
    seconds: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        seconds[row["command"]][row["picture"]] = row["s"]
    anchors = seconds["AVIF, speed 6"]

    def cell(command: str, picture: str) -> str:
        if (s := seconds[command].get(picture)) is None:
            return ""
        text = f"{s:.{_digits(s)}f}"
        return text if "decode" in command else f"{text} ({s / anchors[picture]:.1f})"

    lines = [[command, *(cell(command, picture) for picture in pictures)] for command in seconds]
    return table(
        ["s (times AVIF, speed 6)", *(f"{name}, {size:.1f} megapixels" for name, size in pictures.items())], lines
    )


def _digits(seconds: float) -> int:
    return 2 if seconds < 10 else 1


def _decode_table(name: str, parts: Sequence[str], macs: Sequence[str], label: Callable[[Row], str]) -> str:
    """Returns the seconds of decoding by part, and the multiply-adds per pixel of some parts."""
    lines = [
        [
            label(row),
            *(f"{row[key]:.2f}" for key in ("process_s", "decode_s")),
            *(f"{row[f'{part}_s']:.3f}" for part in parts),
            f"{row['megapixels_per_s']:.1f}",
            ", ".join(f"{row[f'{part}_macs_per_pixel']:,}" for part in macs),
        ]
        for row in rows_of(name)
    ]
    names = [part.replace("_", " ") for part in parts]
    last = "megapixels/s", f"multiply-adds per pixel: {', '.join(macs)}"
    return table(["bpp", "command, s", "decode, s", *names, *last], lines)


def wavelet_decode() -> str:
    """Returns decoding of the wavelet codec by part."""
    parts = ("contexts", "networks", "range_coder", "wavelet", "filter", "correction", "colour_conversion")
    macs = ("context", "correction", "filter")
    return _decode_table("wavelet_decode", parts, macs, lambda row: f"{row['bpp']:.2f}")


def overfitted_decode() -> str:
    """Returns decoding of the overfitted codec by part."""
    parts = ("contexts", "networks", "range_coder", "synthesis")
    implementations = {"kernels": "", "numpy": ", NumPy"}
    return _decode_table(
        "overfitted_decode",
        parts,
        ("context", "synthesis"),
        lambda row: f"{row['bpp']:.2f}{implementations[row['by']]}",
    )


def large_efforts() -> str:
    """Returns seconds, memory and bytes of large photographs by effort, beside AVIF."""
    lines = []
    complete = [row for row in rows_of("large") if not is_part(row) and row["command"] != "AVIF decode"]
    for (megapixels,), rows in by(complete, "megapixels").items():
        anchor_s = next(row["s"] for row in rows if row["command"] == "AVIF encode")
        for row in rows:
            cells = [f"{megapixels:.1f}", row["command"], f"{row['s']:.1f}", f"{row['s'] / megapixels:.2f}"]
            cells += [f"{row['s'] / anchor_s:.2f}", f"{row['MB']:,}" if "MB" in row else ""]
            cells += [f"{row['bytes']:,}" if "bytes" in row else "", f"{row.get('ssimulacra2', '')}"]
            lines.append(cells)
    seconds = "s", "s per megapixel", "of AVIF's encoding"
    return table(["megapixels", "command", *seconds, "MB at most", "bytes", "SSIMULACRA2"], lines)


def large_parts() -> str:
    """Returns parts of large photographs."""
    rows = list(filter(is_part, rows_of("large")))
    sizes = list(dict.fromkeys(row["megapixels"] for row in rows))
    lines = [
        [command, *(f"{row['s']:.2f}" for row in size_rows)] for (command,), size_rows in by(rows, "command").items()
    ]
    return table(["s", *(f"{size:.1f} megapixels" for size in sizes)], lines)


# docs/viewer.md


def browser() -> str:
    """Returns seconds of the decoder in a browser, with workers and without."""
    lines = [
        [row["picture"], f"{row['megapixels']:.1f}", 1 + row["helpers"], row["first_s"], row["whole_s"], row["MB"]]
        for row in rows_of("browser")
    ]
    return table(["file", "megapixels", "workers", "first image, s", "complete image, s", "MB"], lines)


# docs/results/trust.md


def flipped_bytes() -> str:
    """Returns the effect of a flipped byte on files of several codecs."""
    lines: list[list[object]] = []
    for (picture, size), rows in by(rows_of("damage"), "picture", "size").items():
        for row in rows:
            middle = "no image" if row["median_db"] is None else f"{row['median_db']:.1f} dB"
            named = f"{str(picture).partition('-')[0]}, {size}" if row is rows[0] else ""
            counts = [row[key] for key in ("noticed", "lost", "below_20_db")]
            lines.append([named, row["codec"], f"{row['bytes']:,}", *counts, middle])
    return table(["image", "codec", "bytes", "noticed", "no image", "below 20 dB or no image", "median"], lines)


# docs/results/visual.md


def seen_further() -> str:
    """Returns bits at equal measures that no codec is tuned for."""
    return seen.rates_table(seen.FURTHER)


def seen_large() -> str:
    """Returns bits of large photographs relative to AVIF's and JPEG XL's, one by one: over the
    curves, and at one SSIMULACRA2.
    """
    ours, score, rows = "dfm effort 5 visual", 70.0, rows_of("seen_large")
    columns = {}
    for anchor in seen.SETTINGS:
        for measure, name in seen.MEASURES.items():
            columns[f"{anchor}, {name}"] = seen.bits_more(ours, anchor, measure, rows)
        columns[f"{anchor}, at SSIMULACRA2 {score:g}"] = seen.bits_more_at(score, ours, anchor, rows)
    pictures = dict.fromkeys(row["picture"] for row in rows)
    lines = [[picture, *(f"{column[picture]:+.1f} %" for column in columns.values())] for picture in pictures]
    return table(["", *columns], lines)


TABLES: dict[str, Table] = {
    "introduction": first_page.introduction,
    "all_measures": first_page.visual_table,
    "kodak": first_page.kodak_table,
    "archive": lambda: archive.table(archive.Prices()),
    "corpus": lambda: archive.corpus_table(0.02, archive.Prices.eur_per_gb_month),
    "seen_rates": seen.rates_table,
    "seen_colour": seen.colour_table,
    "textures": seen.texture_table,
}
TABLES |= {
    made.__name__: made
    for made in (
        *(overfitted_rates, overfitted_decode),
        *(kodak_rates, kodak_published, flipped_bytes),
        *(installations, commands, wavelet_decode, large_efforts, large_parts, browser),
        *(seen_further, seen_large),
    )
}
MARK = re.compile(r"(<!-- table: (\w+) -->\n+)((?:\|[^\n]*\n)*)")


def pages() -> list[Path]:
    """Returns the pages that may have tables."""
    return [
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "docs" / "results").glob("*.md")),
    ]


def renewed(text: str) -> str:
    """Returns a page with its tables made anew."""
    return MARK.sub(lambda mark: f"{mark[1]}{TABLES[mark[2]]()}\n", text)


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Name pages whose tables differ, and write nothing.")
def main(check: bool) -> None:
    differ = []
    used = set()
    for page in pages():
        text = page.read_text(encoding="utf-8")
        used |= {name for _, name, _ in MARK.findall(text)}
        if (new := renewed(text)) != text:
            differ.append(str(page.relative_to(ROOT)))
            if not check:
                page.write_text(new, encoding="utf-8")
    if unused := sorted(TABLES.keys() - used):
        click.echo(f"no page has: {', '.join(unused)}")
    if differ:
        click.echo(f"{'differ' if check else 'written'}: {', '.join(differ)}")
    sys.exit(bool(unused or (check and differ)))


if __name__ == "__main__":
    main()
