"""The tables of the documents that come of recorded rows.

    python benchmarks/tables.py
    python benchmarks/tables.py --check

A page has `<!-- table: NAME -->` where a table begins, which ends at the next empty line. The first
command writes all of them anew, the second names those that differ from their rows; a test runs it.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median

import archive
import click
import first_page
import numpy as np
import seen
from first_page import RESULTS, kodak_bd_rates, percent, span
from large import is_part
from rate_distortion import LOW_RATES, curves_of, rates_against
from recording import Row, read_rows

from dfmcodec.metrics import bd_rate

ROOT = Path(__file__).parents[1]
FITS = ("kodim05", "kodim08", "kodim19", "kodim23")
EFFORTS = {"wavelet:5": "effort 5", "overfitted:7": "effort 7", "overfitted:9": "effort 9"}
KODAK = {"webp": "WebP", "avif": "AVIF", "dfm-1": "dfm, effort 1", "dfm-5": "dfm, effort 5 (default)"}
KODAK_PIXELS = 768 * 512
Table = Callable[[], str]
BenchRows = dict[tuple[str, str, str, str], dict[str, str]]  # of a CSV file, by codec, effort, picture and rate


def table(headings: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Returns a table in Markdown."""
    rows = ["".join(f"| {cell} " if cell else "| " for cell in map(str, row)) + "|" for row in (headings, *lines)]
    return "\n".join([rows[0], "|---" * len(headings) + "|", *rows[1:]])


def rows_of(name: str) -> list[Row]:
    """Returns the recorded rows of a file."""
    return read_rows(RESULTS / f"{name}.jsonl")


def by(rows: Iterable[Row], *keys: str) -> dict[tuple[object, ...], list[Row]]:
    """Returns rows by some of their values, in the order in which they come first."""
    found: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(row[key] for key in keys)].append(row)
    return found


def mean(rows: Iterable[Row], key: str) -> float:
    """Returns the mean of a value of rows that have it."""
    return fmean(row[key] for row in rows if row.get(key) is not None)


# docs/install.md


def installations() -> str:
    """Returns the table of installations, with their sizes."""
    people = {
        "": "encode, decode, check, view and compare photographs",
        "jax": "study the published network, train models of kinds of images",
        "cuda": "fit on an NVIDIA GPU",
        "bench": "compare codecs: `dfm bench` with JPEG XL, HEIC and plots",
        "heif": "read HEIC, and AVIF of 10 and 12 bits",
        "zarr": "keep arrays in Zarr",
        "corpus": "encode many images into tars or Parquet",
        "cloud": "the same in object stores",
        "dask": "the same on a cluster, by Dask",
        "all": "all of these but CUDA",
    }
    rows = {row["installation"]: row for row in rows_of("installations") if "install_s" in row}
    lines = []
    for extra, who in people.items():
        name = f"'dfmcodec[{extra}]'" if extra else "dfmcodec"
        row = rows[f"pip install .[{extra}]" if extra else "pip install ."]
        further = f"{row['further']} of {row['of_further']}"
        lines.append([who, f"`pip install {name}`", f"{row['MB']:,}", f"{row['install_s']:.0f} s", further])
    return table(["use", "command", "MB", "installed in", "commands of extras that work"], lines)


# docs/results/overfitted.md


def overfitted_files() -> str:
    """Returns PSNR at the sizes of Cool-chic's files."""
    lines = []
    for (picture,), rows in by(rows_of("overfitted_anchors"), "picture").items():
        files = by(rows, "lmbda").values()
        limits = [f"{int(of[0]['anchor_bpp'] * KODAK_PIXELS / 8):,}" for of in files]
        found = [{row["setting"]: f"{row['psnr_db']:.2f}" for row in of} for of in files]
        ours = [", ".join(of[setting] for of in found) for setting in EFFORTS]
        lines.append([picture, "; ".join(limits), *ours, ", ".join(f"{of[0]['anchor_db']:.2f}" for of in files)])
    return table(["PSNR, dB", "limits, bytes", *EFFORTS.values(), "Cool-chic 5.0.1"], lines)


def overfitted_rates() -> str:
    """Returns BD-rates of fits, with their seconds and the bytes of their networks."""
    settings = [setting for setting in EFFORTS if setting.startswith("overfitted")]
    rows = rows_of("overfitted_anchors")
    anchors = {
        "effort 5 of the same day, with earlier weights": _same_day,
        "Cool-chic 5.0.1": lambda setting: kodak_bd_rates(setting)["Cool-chic 5.0.1"],
        "HM 16": lambda setting: kodak_bd_rates(setting)["HM 16"],
        "AVIF tuned for the eye": _against_avif,
    }
    lines: list[list[str]] = []
    for label, rates_of in anchors.items():
        cells = []
        for setting in settings:
            rates = rates_of(setting)
            each = ", ".join(f"{rates[picture]:+.1f}" for picture in FITS)
            cells.append(f"{percent(fmean(rates.values()))} ({each})")
        lines.append([f"against {label}", *cells])
    files = {setting: [row for row in rows if row["setting"] == setting] for setting in settings}
    times = [[row["encode_s"] for row in of if "encode_s" in row] for of in files.values()]
    lines.append(["seconds with little else at work", *(f"{min(of):,.0f} to {max(of):,.0f}" for of in times)])
    networks = [
        f"{min(row['networks'] for row in of)} to {max(row['networks'] for row in of):,}, "
        f"{span((100 * row['networks'] / row['bytes'] for row in of), 1)} % of a file"
        for of in files.values()
    ]
    lines.append(["bytes of networks", *networks])
    headings = [f"BD-rate, mean ({', '.join(name.replace('kodim', '') for name in FITS)})"]
    return table([*headings, *(EFFORTS[setting] for setting in settings)], lines)


def _fit_curves() -> dict[str, dict[str, list[tuple[float, float]]]]:
    return curves_of([{"codec": row["setting"], **row} for row in rows_of("overfitted_anchors")])


def _rates_against(anchor: Mapping[str, list[tuple[float, float]]], setting: str) -> dict[str, float]:
    found = {picture: bd_rate(anchor[picture], points) for picture, points in _fit_curves()[setting].items()}
    return {picture: rate.percent for picture, rate in found.items() if rate is not None}


def _same_day(setting: str) -> dict[str, float]:
    return _rates_against(_fit_curves()["wavelet:5"], setting)


def _against_avif(setting: str) -> dict[str, float]:
    return _rates_against(curves_of(rows_of("kodak_anchors"))["avif"], setting)


def overfitted_effort_6() -> str:
    """Returns effort 6 beside effort 7."""
    lines = []
    for (picture, _), rows in by(rows_of("overfitted_anchors"), "picture", "lmbda").items():
        found = {row["setting"]: row for row in rows}
        if "overfitted:6" not in found:
            continue
        fit = found["overfitted:6"]
        limit = f"{int(fit['anchor_bpp'] * KODAK_PIXELS / 8):,}"
        cells = [found[setting]["psnr_db"] for setting in ("wavelet:5", "overfitted:6", "overfitted:7")]
        before, after, longer = (f"{cell:.2f}" for cell in cells)
        lines.append([picture, limit, before, f"{after}, {fit['encode_s']:.0f} s", longer])
    headings = ["", "limit, bytes", "effort 5, dB", "1,000 steps, dB", "effort 7, dB"]
    return table(headings, lines)


def overfitted_decode() -> str:
    """Returns decoding of overfitted files by part."""
    parts = ("contexts", "networks", "range_coder", "synthesis")
    lines = [
        [
            {"kernels": "kernels", "numpy": "NumPy"}[row["by"]],
            f"{row['bpp']:.2f}",
            f"{row['process_s']:.2f}",
            f"{row['decode_s']:.2f}",
            *(f"{row[f'{part}_s']:.3f}" for part in parts),
            f"{row['megapixels_per_s']:.1f}",
            f"{row['context_macs_per_pixel']:,}, {row['synthesis_macs_per_pixel']}",
        ]
        for row in rows_of("overfitted_decode")
    ]
    names = [part.replace("_", " ") for part in parts]
    last = ["megapixels/s", "multiply-adds per pixel: contexts, synthesis"]
    return table(["", "bpp", "command, s", "decode, s", *names, *last], lines)


def overfitted_parts() -> str:
    """Returns the cost of fits without components of the overfitted codec."""
    labels = {
        "as it is": "as it is",
        "with refined networks": "with refined networks",
        "shipped synthesis network": "shipped synthesis network",
        "shipped context network": "shipped context network",
        "shipped networks": "both shipped networks",
        "no residual stages": "no residual stages",
        "no Fourier layer": "no Fourier layer",
        "no coordinate descent": "no coordinate descent over the finest grid",
    }
    rows = {(row["picture"], row["fit"]): row for row in rows_of("overfitted_ablations")}
    lines = [
        [label, *(f"{r['J']:.3f}, {r['J, networks']:.3f} ({r['networks']:,})" for r in of)]
        for fit, label in labels.items()
        for of in [[rows[picture, fit] for picture in ("kodim05", "kodim08")]]
    ]
    what = "J, with networks (bytes)"
    return table(["", f"kodim05, 1e-3: {what}", f"kodim08, 4e-3: {what}"], lines)


# docs/results/generative.md


def generative_models() -> str:
    """Returns the generative model and a VAE, means of the seeds."""
    sources = {"mixture": "mixture", "gaussian": "Gaussian", "prior": "N(0, 1)"}
    variants = {"encoder": "Fourier, encoder", "table": "Fourier, table", "vae": "VAE"}
    lines = []
    for (preset, variant, source), rows in by(rows_of("generative"), "preset", "variant", "samples_from").items():
        distances = [row["frechet_distance"] for row in rows]
        cells = [
            *(f"{mean(rows, key):.{digits}f}" for key, digits in (("precision", 3), ("recall", 3))),
            f"{mean(rows, 'classifier_score'):.2f}",
        ]
        for key, digits in (
            ("reconstruction_psnr_db", 2),
            ("between_pixels_psnr_db", 2),
            ("reconstruction_frechet_distance", 1),
        ):
            cells.append(f"{mean(rows, key):.{digits}f}" if rows[0].get(key) is not None else "")
        lines.append(
            [
                *(preset, variants[str(variant)], sources[str(source)]),
                f"{rows[0]['parameters'] / 1e6:.2f} M",
                f"{mean(rows, 'steps'):,.0f}",
                f"{fmean(distances):.1f} ({min(distances):.1f} to {max(distances):.1f})",
                *cells,
            ]
        )
    headings = ["data", "model", "codes from", "parameters", "training steps", "Fréchet distance", "precision"]
    headings += ["recall", "score", "reconstruction, dB", "between pixels, dB", "its Fréchet distance"]
    return table(headings, lines)


def generative_codes() -> str:
    """Returns files of codes beside those of other codecs."""
    lines = [
        [
            "digit" if "idx3" in row["data"] else "colour",
            *(f"{row[key]:.1f}" for key in ("payload", "dfm")),
            f"{row['psnr_db']:.2f} ({row['psnr_db_least']:.1f} to {row['psnr_db_most']:.1f})",
            *(f"{row[key]:.0f}" for key in ("jpeg", "webp", "avif", "wavelet")),
            f"{row['webp'] / row['payload']:.2f}, {row['webp_over_payload_least']:.2f}",
            f"{row['webp'] / row['dfm']:.2f}, {row['webp_over_dfm_least']:.2f}",
        ]
        for row in rows_of("generative_codes")
    ]
    headings = ["image", "payload, bytes", "complete file", "PSNR, dB (least to most)", "JPEG", "WebP", "AVIF"]
    return table([*headings, "wavelet codec", "WebP / payload, mean, least", "WebP / file, mean, least"], lines)


# docs/results/images.md


def image_kinds() -> str:
    """Returns images of several kinds at the default effort."""
    lines = [
        [
            row["picture"].replace(" (scikit-image)", ""),
            row["size"],
            row["bits"],
            f"{row['bytes']:,}",
            row["psnr_db"] if isinstance(row["psnr_db"], str) else f"{row['psnr_db']:.2f}",
            re.sub(r"(\d)(\d{3}) bytes", r"\1,\2 bytes", row["opacity"]),
        ]
        for row in rows_of("picture_kinds")
    ]
    return table(["image, default effort and rate 0.18", "size", "bits", "bytes", "PSNR, dB", "alpha"], lines)


def image_twice() -> str:
    """Returns images of half the size, enlarged."""
    keys = {"dfm --resize 200%, dB": 2, "bicubic, dB": 2, "SSIM": 3, "bicubic, SSIM": 3}
    keys |= {"gradients": 3, "bicubic, gradients": 3}
    lines = [
        [
            {"box": "box", "lanczos": "Lanczos"}[str(filtered)],
            *(f"{mean(rows, key):.{digits}f}" for key, digits in keys.items()),
        ]
        for (filtered,), rows in by(rows_of("picture_twice"), "halved by").items()
    ]
    headings = ["mean of 8, halved by", "dfm --resize 200%, dB", "bicubic", "SSIM", "bicubic"]
    return table([*headings, "gradients, share of the original's", "bicubic"], lines)


# docs/results/wavelet.md


def wavelet_layers() -> str:
    """Returns the table of layers for the correction network."""
    lines = [
        [
            {"ReLU": "ReLU (two maps per layer)", "Fourier, full {0,1}^m": "Fourier, all of {0,1}^m"}.get(
                row["layers"], row["layers"]
            ),
            f"{row['depth']}, {row['width']}",
            f"{row['steps']:,}",
            f"{row['error_db']:+.3f}",
        ]
        for row in rows_of("correction_layers")
    ]
    return table(["layers", "depth, width", "training steps in 200 s", "error, dB"], lines)


def wavelet_parts() -> str:
    """Returns the increase of the cost without components of the wavelet codec."""
    labels = {
        "no pretrained weights %": "pretrained weights (both networks)",
        "no contexts %": "context networks",
        "no correction network %": "correction network",
        "no RDO iteration (one pass) %": "RDO iteration (one pass)",
        "no filter %": "filter",
        "4 levels %": "two of the six decomposition levels",
        "no context adaptation %": "context adaptation",
        "no context-dependency costs %": "context-dependency costs",
        "no chroma rotation %": "chroma rotation",
    }
    rows = rows_of("wavelet_ablations")
    lines = []
    for key, label in labels.items():
        rises = [row[key] for row in rows]
        lines.append([label, *(percent(rise, 1 if abs(rise) >= 10 else 2) for rise in (*rises, fmean(rises)))])
    return table(["without", *(f"{row['all_bpp']:.2f} bpp" for row in rows), "mean"], lines)


# docs/results/published.md


def published_fixed() -> str:
    """Returns the published network and later codecs, means of the images."""
    labels = {"coordinate file": "coordinate file (3 x 11)"}
    lines = []
    for (way,), rows in by(rows_of("published_fixed"), "way").items():
        over = [row["psnr_db"] - row["jpeg_db"] for row in rows]
        lines.append(
            [
                labels.get(str(way), way),
                f"{mean(rows, 'percent'):.1f}",
                f"{mean(rows, 'psnr_db'):.2f}",
                f"{mean(rows, 'ssim'):.3f}",
                f"{mean(rows, 'jpeg_db'):.2f}",
                f"{mean(rows, 'jpeg_ssim'):.3f}",
                f"{min(over):+.1f} .. {max(over):+.1f} dB",
                f"{median(row['encode_s'] for row in rows):.0f}",
            ]
        )
    headings = ["", "% of raw", "PSNR, dB", "SSIM", "JPEG's PSNR", "SSIM", "over JPEG, worst .. best", "s, median"]
    return table(headings, lines)


def published_recipes() -> str:
    """Returns the default recipe and the published one."""
    lines = [
        [
            row["picture"],
            row["depth x width"],
            f"{row['default dB']:.2f}, {row['bytes']:,}, {row['steps']:,}",
            f"{row['published dB']:.2f}, {row['bytes (published)']:,}, {row['steps (published)']:,}",
            f"{row['gain dB']:.2f}",
            f"{row['JPEG dB']:.2f}, {row['JPEG bytes']:,}",
        ]
        for row in rows_of("coordinate_recipes")
    ]
    what = "dB, bytes, training steps"
    headings = ["image", "depth x width", f"default: {what}", f"published: {what}", "gain, dB", "JPEG: dB, bytes"]
    return table(headings, lines)


def published_quantised() -> str:
    """Returns the loss of a coordinate network by quantisation."""
    lines = [
        [
            row["picture"],
            row["network"],
            f"{row['weights']:,}",
            f"{row['bits a weight']:.2f}",
            f"{row['bytes']:,}",
            *(f"{row[key]:.2f}" for key in ("file dB", "float32 dB")),
            f"{row['lost dB']:+.3f}",
            row["float32 of that size"],
            f"{row['its dB']:.2f}",
        ]
        for row in rows_of("coordinate_quantised")
    ]
    headings = ["image", "network", "weights", "bits per weight", "bytes", "file, dB", "float32, dB", "lost, dB"]
    return table([*headings, "float32 of that size", "its dB"], lines)


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
    of_anchor = "best .. worst", "0.1-1.4 bpp"
    return table(["codec", "BD-rate vs JPEG", *of_anchor, "vs AVIF", *of_anchor], lines)


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


def _bench_rows(name: str) -> list[dict[str, str]]:
    with (RESULTS / f"bench_{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


BENCH = {"dfm": "dfm, effort 5", "jpeg": "JPEG", "webp": "WebP", "avif": "AVIF", "jxl": "JPEG XL"}


def _best_forms(rows: Iterable[dict[str, str]]) -> BenchRows:
    """Returns rows by codec, effort, picture and rate, if there is a file: the better of JPEG's
    forms.
    """
    found: BenchRows = {}
    for row in rows:
        key = row["codec"], row["effort"], row["picture"], row["rate"]
        if row["psnr_db"] and (key not in found or float(row["psnr_db"]) > float(found[key]["psnr_db"])):
            found[key] = row
    return found


def bench_images() -> str:
    """Returns the gains of dfm over other codecs on images not used for tuning."""
    rows = _best_forms(_bench_rows("imagenet_scikit"))
    sets = {"imagenet_subset": True, "scikit-image": False}
    rates = sorted({rate for *_, rate in rows}, key=float, reverse=True)
    others = [codec for codec in BENCH if codec != "dfm"]
    lines = []
    for name, is_imagenet in sets.items():
        pictures = {picture for _, _, picture, _ in rows if picture.startswith("n0") == is_imagenet}
        for rate in rates:
            cells = []
            for effort in ("1", "5"):
                for codec in others:
                    over = _gains(rows, effort, codec, pictures, rate)
                    cells.append(f"{fmean(over):+.2f} / {min(over):+.2f}")
            lines.append([name if rate == rates[0] else "", rate, *cells])
    headings = [f"effort {effort} over {BENCH[codec]}" for effort in (1, 5) for codec in others]
    return table(["mean / worst, dB", "rate", *headings], lines)


def _gains(
    rows: BenchRows,
    effort: str,
    codec: str,
    pictures: Iterable[str],
    rate: str,
) -> list[float]:
    """Returns the gains of dfm over a codec in dB, on the pictures that have a file of it."""
    return [
        float(rows["dfm", effort, picture, rate]["psnr_db"]) - float(rows[codec, effort, picture, rate]["psnr_db"])
        for picture in sorted(pictures)
        if (codec, effort, picture, rate) in rows
    ]


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


def wavelet_decode() -> str:
    """Returns decoding of the wavelet codec by part."""
    parts = ("contexts", "networks", "range_coder", "wavelet", "filter", "correction", "colour_conversion")
    lines = [
        [
            f"{row['bpp']:.2f}",
            *(f"{row[key]:.2f}" for key in ("process_s", "decode_s")),
            *(f"{row[f'{part}_s']:.3f}" for part in parts),
            f"{row['megapixels_per_s']:.1f}",
            ", ".join(f"{row[f'{part}_macs_per_pixel']:,}" for part in ("context", "correction", "filter")),
        ]
        for row in rows_of("wavelet_decode")
    ]
    names = [part.replace("_", " ") for part in parts]
    last = ["megapixels/s", "multiply-adds per pixel: networks (at most), correction, filter"]
    return table(["bpp", "command, s", "decode, s", *names, *last], lines)


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
    lines = [[command, *(f"{row['s']:.2f}" for row in of_size)] for (command,), of_size in by(rows, "command").items()]
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


SCORES = {"SSIMULACRA2": ("ssimulacra2", 1), "Butteraugli": ("butteraugli", 2), "ColorVideoVDP": ("jod", 2)}


def _at_equal_size(rows: Sequence[Row], codecs: Sequence[str], sizes: Sequence[float]) -> dict[float, list[list[Row]]]:
    """By size in bpp, each image's rows of all codecs at the size of the first one's file. Those of
    dfm have that setting; others are interpolated in the logarithm of the rate.
    """
    curves = {key: sorted(of, key=lambda row: row["bpp"]) for key, of in by(rows, "codec", "picture").items()}
    found: dict[float, list[list[Row]]] = {size: [] for size in sizes}
    for size in sizes:
        for _, picture in [key for key in curves if key[0] == codecs[0]]:
            beside: list[Row] = []
            for codec in codecs:
                theirs = curves[codec, picture]
                if codec.startswith("dfm"):
                    beside += [row for row in theirs if row["setting"] == size]
                    if not beside:
                        break
                    continue
                ours = beside[0]
                rates = [row["bpp"] for row in theirs]
                if not rates[0] <= ours["bpp"] <= rates[-1]:
                    break
                beside.append(
                    {
                        key: float(np.interp(np.log(ours["bpp"]), np.log(rates), [row[key] for row in theirs]))
                        for key, _ in SCORES.values()
                        if all(key in row for row in theirs)
                    }
                )
            else:
                found[size].append(beside)
    return found


def seen_means() -> str:
    """Returns means at equal size of the photographs."""
    codecs = {f"dfm effort {effort} visual": f"dfm, effort {effort}" for effort in (7, 5, 2, 1)}
    codecs |= {anchor: anchor for anchor in seen.SETTINGS}
    sizes = _at_equal_size(rows_of("seen"), list(codecs), (0.15, 0.3, 0.6, 1.2))
    found = {size: photographs for size, photographs in sizes.items() if photographs}
    lines = []
    for number, codec in enumerate(codecs.values()):
        cells = [
            ", ".join(f"{mean((rows[number] for rows in of), key):.{digits}f}" for of in found.values())
            for key, digits in SCORES.values()
        ]
        lines.append([codec, *cells])
    sizes_text = ", ".join(f"{size:g} bpp ({len(of)})" for size, of in found.items())
    return table([f"means at {sizes_text}", *SCORES], lines)


TABLES: dict[str, Table] = {
    "introduction": first_page.introduction,
    "all_measures": first_page.visual_table,
    "kodak": first_page.kodak_table,
    "archive": lambda: archive.table(archive.Prices()),
    "corpus": lambda: archive.corpus_table(0.02, archive.Prices.eur_per_gb_month),
    "seen_rates": seen.rates_table,
}
TABLES |= {
    made.__name__: made
    for made in (
        *(overfitted_files, overfitted_rates, overfitted_effort_6, overfitted_decode, overfitted_parts),
        *(generative_models, generative_codes, image_kinds, image_twice, wavelet_layers, wavelet_parts),
        *(published_fixed, published_recipes, published_quantised),
        *(kodak_rates, kodak_published, bench_images, flipped_bytes),
        *(installations, commands, wavelet_decode, large_efforts, large_parts, browser),
        *(seen_further, seen_large, seen_means),
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
    return MARK.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n", text)


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
