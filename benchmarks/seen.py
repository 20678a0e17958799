"""Compares dfm with AVIF and JPEG XL by metrics of visual quality, on eight photographs.

    python benchmarks/seen.py photographs UNPACKED PHOTOGRAPHS
    python benchmarks/seen.py files PHOTOGRAPHS/*.png --efforts 1,5,7 --out ROWS
    python benchmarks/seen.py rates
    python benchmarks/seen.py plot docs/seen_rates.png
    python benchmarks/seen.py plot-textures docs/texture_strengths.png

Debian's libavif-bin, libjxl-tools and libjxl-devtools have the other codecs and Butteraugli;
pycvvdp (with PyTorch) is ColorVideoVDP, and realism.py says what the realism needs. Each row is a
file; anchors have fixed settings, dfm some sizes. `rates` compares the curves, and `plot` draws how
far they are apart at each SSIMULACRA2. No codec here is tuned for MS-SSIM and PSNR-HVS-M (psnr-hvsm
of PyPI).
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product
from math import log10
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import numpy as np
import PIL.Image
from hues import lost_colour
from recording import Row, images_argument, load, out_option, read_rows, record, run_program

import dfmcodec
from dfmcodec.bench.summary import HIGHEST_SCORE, LOWEST_SCORE, slice_in_range
from dfmcodec.codecs.wavelet.colour import Luma
from dfmcodec.image import Image
from dfmcodec.perception import bd_rate, ms_ssim, psnr
from dfmcodec.perception.butteraugli import butteraugli
from dfmcodec.perception.ssimulacra2 import ssimulacra2

RESULTS = Path(__file__).parent / "results" / "seen.jsonl"
TEXTURES = RESULTS.with_name("textures.jsonl")  # of files that only differ by the strength of their texture
LONG_SIDE = 768  # of the reduced photographs, pixels
CROP = (1536, 1024)  # width and height of crops at camera resolution, pixels
FOLDER = "usr/share/backgrounds"  # of Debian's packages lomiri-wallpapers-16.04 and -20.04
PHOTOGRAPHS = (
    "life_by_Aitzol_Berasategi friends_by_Aitzol_Berasategi aitzgorri_by_Aitzol_Berasategi "
    "seeding_by_Clements_Engelhardt picosdeeuropa_by_Aitzol_Berasategi Kleiber_by_Lukas_Baubkus Dragonfly_by_Bolly "
    "sunset_by_Aitzol_Berasategi"
)
SETTINGS = {
    "AVIF tune=iq": (20, 30, 40, 50, 60, 68, 76, 84),
    "JPEG XL": (8.0, 5.0, 3.5, 2.5, 1.8, 1.3, 0.9),
}
FEW_SETTINGS = {"AVIF tune=iq": (30, 45, 52, 60, 76), "JPEG XL": (3.5, 1.8, 0.9)}  # for large photographs
AVIF_SPEED = 6  # the default
AVIF = "AVIF tune=iq"
LABELS = {
    "JPEG XL": "JPEG XL",
    "dfm effort 1 visual": "dfm, effort 1",
    "dfm effort 5 visual": "dfm, default",
    "dfm effort 7 visual": "dfm, effort 7",
}
MEASURES = {"ssimulacra2": "SSIMULACRA2", "butteraugli": "Butteraugli", "jod": "ColorVideoVDP"}
FURTHER = {"wd3": "wd3", "wd1": "wd1", "ms_ssim_db": "MS-SSIM", "psnr_hvs_m_db": "PSNR-HVS-M", "psnr_db": "PSNR"}
LOWER_IS_BETTER = ("butteraugli", "wd3", "wd1")
REALISM_AND_FIDELITY = MEASURES | {measure: FURTHER[measure] for measure in ("wd3", "wd1")}


@click.group(help=__doc__)
def main() -> None:
    """See the module."""


@main.command()
@click.argument("unpacked", type=click.Path(path_type=Path, exists=True))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--crops", is_flag=True, help="Cut the middle, 1536 x 1024 pixels, in place of reducing.")
def photographs(unpacked: Path, folder: Path, crops: bool) -> None:
    """Makes the photographs from the unpacked packages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PHOTOGRAPHS.split():
        with PIL.Image.open(unpacked / FOLDER / f"{name}.jpg") as opened:
            image = opened.convert("RGB")
            (_middle(image) if crops else _reduced(image)).save(folder / f"{name.partition('_')[0]}.png")


def _reduced(image: PIL.Image.Image) -> PIL.Image.Image:
    scale = LONG_SIDE / max(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), PIL.Image.Resampling.LANCZOS)


def _middle(image: PIL.Image.Image) -> PIL.Image.Image:
    left, top = ((side - part) // 2 for side, part in zip(image.size, CROP, strict=True))
    return image.crop((left, top, left + CROP[0], top + CROP[1]))


@main.command()
@images_argument
@click.option("--efforts", default="1,5", show_default=True, help="Those of dfm; none for the anchors alone.")
@click.option("--bpps", default="0.15,0.3,0.6,1.2", show_default=True, help="Sizes of dfm's files.")
@click.option("--tune", default="visual", show_default=True, help="That of dfm.")
@click.option("--textures", default="auto", show_default=True, help="Those of dfm: auto, or strengths such as 0,0.5.")
@click.option("--anchors/--no-anchors", default=True, help="Whether AVIF and JPEG XL are measured.")
@click.option("--few", is_flag=True, help="Measure AVIF and JPEG XL at fewer settings.")
@out_option
def files(
    images: tuple[str, ...],
    efforts: str,
    bpps: str,
    tune: str,
    textures: str,
    anchors: bool,
    few: bool,
    out: Path | None,
) -> None:
    """Encodes images by all codecs."""

    def rows() -> Iterator[Row]:
        for name in images:
            stem, image = load(name)
            for effort, texture in product(filter(None, efforts.split(",")), textures.split(",")):
                strength = None if texture == "auto" else float(texture)
                for bpp in map(float, bpps.split(",")):
                    started = time.perf_counter()
                    options: dict[str, Any] = {"bpp": bpp, "effort": int(effort), "tune": tune, "texture": strength}
                    data = dfmcodec.encode(image.pixels, **options).data
                    seconds = round(time.perf_counter() - started, 2)
                    codec = f"dfm effort {effort} {tune}" + ("" if strength is None else f", texture {texture}")
                    yield _row(stem, image, codec, bpp, len(data), np.asarray(dfmcodec.decode(data).pixels), seconds)
            for codec, settings in (FEW_SETTINGS if few else SETTINGS).items() if anchors else ():
                for setting in settings:
                    started = time.perf_counter()
                    size, pixels = _anchor(image, codec, setting)
                    seconds = round(time.perf_counter() - started, 2)
                    yield _row(stem, image, codec, setting, size, pixels, seconds)

    record(rows(), out)


def _further(original: np.ndarray, decoded: np.ndarray) -> Row:
    """Returns -10 log10(1 - MS-SSIM), PSNR-HVS-M of luma in complete blocks, and ColorVideoVDP on a
    Full HD display, in just-objectionable differences, and realism (`realism`); without metrics
    that are not installed.

    Sources: Ponomarenko et al., "On between-coefficient contrast masking of DCT basis functions",
    2007; Mantiuk et al., "ColorVideoVDP", 2024.
    """
    row = {}
    if (similarity := ms_ssim(original, decoded)) is not None:
        row["ms_ssim_db"] = round(-10 * log10(1 - similarity), 3)
    with suppress(ImportError):
        from psnr_hvsm import psnr_hvs_hvsm

        height, width = (side // 8 * 8 for side in original.shape[:2])
        lumas = (pixels[:height, :width] @ np.array(Luma.REC_601.weights) / 255 for pixels in (original, decoded))
        row["psnr_hvs_m_db"] = round(float(psnr_hvs_hvsm(*lumas)[1]), 3)
    with suppress(ImportError):
        import pycvvdp

        metric = pycvvdp.cvvdp(display_name="standard_fhd")
        row["jod"] = round(float(metric.predict(decoded, original, dim_order="HWC")[0]), 4)
    with suppress(ImportError):
        from realism import realism

        row |= realism(original, decoded)
    return row


def _row(
    name: str,
    image: Image,
    codec: str,
    setting: float,
    size: int,
    pixels: np.ndarray,
    seconds: float | None,
) -> Row:
    return {
        "picture": name,
        "codec": codec,
        "setting": setting,
        "bytes": size,
        "bpp": round(8 * size / image.pixel_count, 5),
        "ssimulacra2": round(ssimulacra2(image.pixels, pixels) or 0, 3),
        "butteraugli": butteraugli(image.pixels, pixels),
        "psnr_db": round(psnr(image.pixels, pixels, None), 3),
        "seconds": seconds,
        **_further(image.pixels, pixels),
        **lost_colour(image.pixels, pixels),
    }


def _anchor(image: Image, codec: str, setting: float) -> tuple[int, np.ndarray]:
    """Returns the size of an anchor's file of an image, and what it decodes to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        original, decoded = folder / "a.png", folder / "d.png"
        PIL.Image.fromarray(image.pixels).save(original)
        if codec == "JPEG XL":
            file = folder / "a.jxl"
            run_program("cjxl", "-e", 7, "-d", setting, original, file)
            run_program("djxl", file, decoded)
        else:
            file = folder / "a.avif"
            options = "-s", AVIF_SPEED, "-y", "444", "-q", int(setting), "-a", codec.removeprefix("AVIF ")
            run_program("avifenc", *options, original, file)
            run_program("avifdec", file, decoded)
        return file.stat().st_size, np.asarray(PIL.Image.open(decoded).convert("RGB"))


@main.command()
@click.option("--rows", type=click.Path(path_type=Path), default=RESULTS, help="What `files` has recorded.")
def rates(rows: Path) -> None:
    """Prints dfm's bits relative to those of the anchors."""
    recorded = read_rows(rows)
    click.echo(f"{rates_table(MEASURES, recorded)}\n\n{rates_table(FURTHER, recorded)}")


def rates_table(measures: Mapping[str, str] = MEASURES, rows: Sequence[Row] | None = None) -> str:
    """Returns bits at an equal measure, against the anchors: means over images, the least and the
    most.

    Args:
        measures: The names of the metrics, by key.
        rows: What `files` has recorded; None for what is kept of it.
    """
    rows = read_rows(RESULTS) if rows is None else rows
    ours = dict.fromkeys(row["codec"] for row in rows if row["codec"].startswith("dfm"))
    lines = [f"| | {' | '.join(f'{anchor}, {measure}' for anchor in SETTINGS for measure in measures.values())} |"]
    lines.append("|---" * (1 + len(SETTINGS) * len(measures)) + "|")
    for codec in ours:
        cells = []
        for anchor in SETTINGS:
            for measure in measures:
                found = list(bits_more(codec, anchor, measure, rows).values())
                text = f"{fmean(found):+.1f} % ({min(found):+.0f} .. {max(found):+.0f}, {len(found)})" if found else ""
                cells.append(text)
        lines.append(f"| {codec} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _by_strength() -> dict[float, dict[str, float]]:
    """Returns the mean bits relative to AVIF's in percent, by strength and measure."""
    rows = read_rows(TEXTURES)
    found = {}
    for codec in dict.fromkeys(row["codec"] for row in rows if ", texture " in row["codec"]):
        percents = {measure: bits_more(codec, AVIF, measure, rows).values() for measure in REALISM_AND_FIDELITY}
        found[float(codec.rpartition(" ")[2])] = {measure: fmean(of_images) for measure, of_images in percents.items()}
    return found


def texture_table() -> str:
    """Returns the bits at an equal measure, against AVIF, by the strength of the texture."""
    lines = [
        f"| strength | {' | '.join(REALISM_AND_FIDELITY.values())} | mean of the first four |",
        "|---" * (2 + len(REALISM_AND_FIDELITY)) + "|",
    ]
    for strength, percents in _by_strength().items():
        cells = [f"{percent:+.1f} %" for percent in (*percents.values(), fmean(list(percents.values())[:4]))]
        lines.append(f"| {strength:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def colour_table(codec: str = "dfm effort 5 visual, texture 0", anchor: str = AVIF) -> str:
    """Returns how much of each hue a codec loses, and an anchor at the same sizes: means over the
    images whose size is one of the anchor's.
    """
    curves = _curves()
    hues = [key for key in curves[anchor, next(name for _, name in curves)][0] if key.startswith("lost_")]
    lines = [
        f"| bpp | images | {' | '.join(key.removeprefix('lost_') for key in hues)} |",
        "|---" * (2 + len(hues)) + "|",
    ]
    losses: dict[float, list[tuple[Any, Any]]] = defaultdict(list)
    for row in (row for (of, _), rows in curves.items() if of == codec for row in rows):
        of_anchor = _at_size(row["bpp"], curves[anchor, row["picture"]], hues)
        if of_anchor is not None:
            losses[row["setting"]].append(([row[key] for key in hues], of_anchor))
    for setting, pairs in sorted(losses.items()):
        cells = [f"{ours:.2f}, {others:.2f}" for ours, others in np.mean(pairs, axis=0).T]
        lines.append(f"| {setting} | {len(pairs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _at_size(bpp: float, rows: Iterable[Row], keys: Sequence[str]) -> list[float] | None:
    """Returns a curve's values at a size, interpolated in its logarithm; None beyond the curve."""
    ordered = sorted(rows, key=lambda row: float(row["bpp"]))
    bpps = [row["bpp"] for row in ordered]
    if not bpps[0] <= bpp <= bpps[-1]:
        return None
    return [float(np.interp(np.log(bpp), np.log(bpps), [row[key] for row in ordered])) for key in keys]


def _curves(rows: Sequence[Row] | None = None) -> dict[tuple[str, str], list[Row]]:
    """Returns the recorded rows by codec and picture."""
    curves: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in read_rows(RESULTS) if rows is None else rows:
        curves[row["codec"], row["picture"]].append(row)
    return curves


def bits_more(codec: str, anchor: str, measure: str, rows: Sequence[Row] | None = None) -> dict[str, float]:
    """Returns a codec's bits at an equal measure relative to an anchor's in percent, by image.

    Only files with a SSIMULACRA2 in the range of the comparison count, and one beyond on each side.
    """
    curves, found = _curves(rows), {}
    for name in dict.fromkeys(picture for _, picture in curves):
        theirs, points = (_points(_of_interest(curves[of, name]), measure) for of in (anchor, codec))
        rate = bd_rate(theirs, points)
        if rate is not None:
            found[name] = rate.percent
    return found


def bpp_at(score: float, rows: Iterable[Row], picture: str, codec: str) -> float:
    """Returns a codec's bits per pixel for a SSIMULACRA2, interpolated in the logarithm."""
    of_codec = (row for row in rows if (row["picture"], row["codec"]) == (picture, codec))
    scores, bpps = np.array(sorted((row["ssimulacra2"], row["bpp"]) for row in of_codec)).T
    return float(np.exp(np.interp(score, scores, np.log(bpps))))


def bits_more_at(score: float, codec: str, anchor: str, rows: Sequence[Row]) -> dict[str, float]:
    """Returns a codec's bits for a SSIMULACRA2 relative to an anchor's in percent, by image."""
    return {
        picture: 100 * (bpp_at(score, rows, picture, codec) / bpp_at(score, rows, picture, anchor) - 1)
        for picture in dict.fromkeys(row["picture"] for row in rows)
    }


def _of_interest(rows: Iterable[Row]) -> list[Row]:
    """Returns rows by size, those of interest and a neighbour on each side."""
    ordered = sorted(rows, key=lambda row: row["bytes"])
    return ordered[slice_in_range([row["ssimulacra2"] for row in ordered])]


def _points(rows: Iterable[Row], measure: str) -> list[tuple[float, float]]:
    """Returns rate and measure; larger is better."""
    sign = -1 if measure in LOWER_IS_BETTER else 1
    return [(row["bpp"], sign * row[measure]) for row in rows if measure in row]


def bits_beside(codec: str, anchor: str, scores: Sequence[float]) -> list[float | None]:
    """Returns a codec's bits over an anchor's at each SSIMULACRA2: the geometric mean of the images
    for which both have it; None where fewer than half of them do.
    """
    curves = _curves()
    names = [picture for of, picture in curves if of == anchor]
    means: list[float | None] = []
    for score in scores:
        ratios = []
        for name in names:
            rows = curves[codec, name], curves[anchor, name]
            both = [np.array(sorted((row["ssimulacra2"], row["bpp"]) for row in of_codec)).T for of_codec in rows]
            if all(found[0] <= score <= found[-1] for found, _ in both):
                mine, theirs = (np.interp(score, found, np.log(bpp)) for found, bpp in both)
                ratios.append(float(mine - theirs))
        means.append(float(np.exp(fmean(ratios))) if 2 * len(ratios) >= len(names) else None)
    return means


@main.command("plot")
@click.argument("figure", type=click.Path(path_type=Path))
def draw_rates(figure: Path) -> None:
    """Draws by how much bits differ from AVIF's at each SSIMULACRA2."""
    scores = np.linspace(LOWEST_SCORE, HIGHEST_SCORE, 61).tolist()
    canvas, axes = _canvas()
    for codec, label in LABELS.items():
        percents = [np.nan if mean is None else 100 * mean - 100 for mean in bits_beside(codec, AVIF, scores)]
        axes.plot(scores, percents, label=label, linewidth=2 if "dfm" in label else 1.3)
    axes.set_xlabel("SSIMULACRA2")
    axes.set_title("Bits at equal SSIMULACRA2, mean of the photographs that have it: less is better")
    axes.legend()
    canvas.savefig(figure, dpi=110)


@main.command()
@click.argument("figure", type=click.Path(path_type=Path))
def plot_textures(figure: Path) -> None:
    """Draws bits beside those of AVIF along the strength of the texture."""
    canvas, axes = _canvas()
    found = _by_strength()
    for measure, label in REALISM_AND_FIDELITY.items():
        percents = [of_strength[measure] for of_strength in found.values()]
        axes.plot(list(found), percents, "--" if measure.startswith("wd") else "-", marker="o", label=label)
    axes.set_xlabel("strength of the texture")
    axes.set_title("Bits at an equal measure of fidelity (solid) or realism (dashed): less is better")
    axes.legend()
    canvas.savefig(figure, dpi=110)


def _canvas() -> tuple[Any, Any]:
    """Returns a figure of bits relative to AVIF's, and its axes."""
    from matplotlib.figure import Figure

    canvas = Figure((7.5, 4), layout="constrained")
    axes = canvas.add_subplot()
    axes.axhline(0, color="black", linewidth=1, label=AVIF)
    axes.set_ylabel("bits beside those of AVIF, %")
    axes.grid(alpha=0.3)
    return canvas, axes


if __name__ == "__main__":
    main()
