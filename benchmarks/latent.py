"""Measurements of the latent model: small crops, decoding by part, ablations.

    python benchmarks/latent.py crops IMAGE...       128x128 crops at 0.5 bpp
    python benchmarks/latent.py decode FILE.dfm...   seconds of decoding, by part
    python benchmarks/latent.py ablate IMAGE...      what each part is worth, at equal quality

Without files, `decode` and `ablate` only draw the rows that --out holds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from cProfile import Profile
from dataclasses import replace
from math import inf
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, cast

import click
import numpy as np
from matplotlib.figure import Figure
from recording import (
    Row,
    images_argument,
    jpeg_within,
    load,
    numbers,
    optional_images_argument,
    out_option,
    plot_option,
    read_rows,
    record,
)

import dfmcodec
from dfmcodec import bitstream
from dfmcodec.bitstream.sections.latents import SymbolReader
from dfmcodec.decoder import decode_image
from dfmcodec.encoder.config import BIT_PRICE
from dfmcodec.encoder.latent.efforts import EFFORT_LEVELS, LatentOptions
from dfmcodec.encoder.latent.encoding import Encoding
from dfmcodec.encoder.latent.iteration import first_state, iterate
from dfmcodec.entropy.context import ContextModel
from dfmcodec.entropy.neighbourhood import CausalContext
from dfmcodec.image import Image
from dfmcodec.latents.colour import planes_to_pixels
from dfmcodec.latents.quantizer import synthesise_fine
from dfmcodec.prior import shipped
from dfmcodec.synthesis.filter import MAX_RADIUS, filter_change, taps
from dfmcodec.synthesis.reconstruct import machine_change
from dfmcodec.threads import limit_threads, thread_count

COMMAND_RUNS = 3  # the largest number of runs of `dfm decode`, of which the best counts
ALL = "all"  # the name of the whole codec among the ablations


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command()
@images_argument
@click.option("--effort", type=int, default=5, show_default=True, help="The effort of all encodings.")
@out_option
def crops(images: tuple[str, ...], effort: int, out: Path | None) -> None:
    """Encodes 128x128 pixels from the middle at 0.5 bpp, and compares with JPEG of the same
    size.
    """

    def rows() -> Iterator[Row]:
        for name in images:
            stem, image = load(name)
            pixels = image.pixels
            top, left = (pixels.shape[0] - 128) // 2, (pixels.shape[1] - 128) // 2
            crop = np.ascontiguousarray(pixels[top : top + 128, left : left + 128])
            report = dfmcodec.encode(crop, bpp=0.5, effort=effort).report
            _, jpeg_db = jpeg_within(crop, report.budget_bytes or 0)
            yield {
                "picture": stem,
                "bytes": report.file_bytes,
                "container": report.section_bytes["container"],
                "psnr_db": report.psnr_db,
                "jpeg_db": jpeg_db,
                "over_jpeg_db": None if jpeg_db is None else report.psnr_db - jpeg_db,
            }

    gains = [row["over_jpeg_db"] for row in record(rows(), out) if row["over_jpeg_db"] is not None]
    if gains:
        click.echo(f"mean over JPEG {np.mean(gains):+.2f} dB")


@main.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--repeats", type=int, default=5, show_default=True, help="The best of so many decodings counts.")
@out_option
@plot_option
def decode(files: tuple[Path, ...], repeats: int, out: Path | None, plot: Path | None) -> None:
    """Measures the seconds of decoding in a warm process, those of its parts, and those of `dfm
    decode`.

    The seconds of the parts come from a profiler, which slows decoding: `decode_s` is measured
    without it, and `profiled_s` with it.
    """

    def rows() -> Iterator[Row]:
        for path in files:
            data = path.read_bytes()
            header = bitstream.read_header(data)
            decode_image(data)  # loads the prior
            seconds = min(_decoding_seconds(data) for _ in range(repeats))
            profiled_seconds, parts = min((_profiled_decoding(data) for _ in range(repeats)), key=lambda run: run[0])
            networks = shipped().context.networks
            macs_per_symbol = sum(n.w1.size + n.w2.size + n.w3.size for n in networks) / len(networks)
            yield {
                "file": path.stem,
                "bpp": 8 * len(data) / (header.width * header.height),
                "process_s": min(_command_seconds(path) for _ in range(min(repeats, COMMAND_RUNS))),
                "decode_s": seconds,
                "profiled_s": profiled_seconds,
                **parts,
                "megapixels_per_s": header.width * header.height / seconds / 1e6,
                "context_macs_per_pixel": round(macs_per_symbol * header.architecture.channels),
                "machine_macs_per_pixel": round(shipped().machine.macs_per_pixel),
                "filter_macs_per_pixel": 9 * len(taps(MAX_RADIUS)),
            }

    measured = record(rows(), out)
    if measured:
        change = np.mean([row["profiled_s"] / row["decode_s"] - 1 for row in measured])
        click.echo(f"one thread and the profiler change the time of decoding by {100 * change:+.1f} %")
    kept = read_rows(out)
    if plot is not None and kept:
        _draw_decode(kept, plot)


def _decoding_seconds(data: bytes) -> float:
    started = time.perf_counter()
    decode_image(data)
    return time.perf_counter() - started


def _profiled_decoding(data: bytes) -> tuple[float, dict[str, float]]:
    """Decodes a file under a profiler, in one thread.

    Returns:
        The seconds of the decoding, and those of its parts by the key of a row.
    """
    profile, threads = Profile(), thread_count()
    limit_threads(1)  # a profiler sees one thread
    try:
        started = time.perf_counter()
        profile.runcall(decode_image, data)
        seconds = time.perf_counter() - started
    finally:
        limit_threads(threads)
    spent = {entry.code: entry.totaltime for entry in profile.getstats() if isinstance(entry.code, CodeType)}

    def cumulative(*functions: Callable[..., Any]) -> float:
        return sum(spent.get(cast(FunctionType, function).__code__, 0.0) for function in functions)

    wavelet = cumulative(synthesise_fine)
    return seconds, {
        # `coding_passes` prepares the context of each level, and synthesises the level after its
        # last pass.
        "contexts_s": cumulative(CausalContext.coding_passes, CausalContext.accept) - wavelet,
        "networks_s": cumulative(ContextModel.choose_tables),
        "range_coder_s": cumulative(SymbolReader.symbols),
        "wavelet_s": wavelet,
        "filter_s": cumulative(filter_change),
        "machine_s": cumulative(machine_change),
        "colour_conversion_s": cumulative(planes_to_pixels),
    }


def _command_seconds(path: Path) -> float:
    """The seconds of `dfm decode` to PPM."""
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "decoded.ppm")
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "dfmcodec", "decode", str(path), "-o", target, "-f", "--quiet"], check=True
        )
        return time.perf_counter() - started


def _draw_decode(rows: list[Row], path: Path) -> None:
    """Draws a stacked bar for each file: the seconds of each part of decoding, and of the whole
    command.
    """
    no_part = ("process_s", "decode_s", "profiled_s", "megapixels_per_s")
    parts = list(dict.fromkeys(name for row in rows for name in row if name.endswith("_s") and name not in no_part))
    figure = Figure(figsize=(8, 1.2 + 0.5 * len(rows)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(rows))
    positions = range(len(rows))
    for name in [*parts, "other", "start and output"]:
        if name == "other":
            widths = np.maximum(0, np.array([row["decode_s"] for row in rows]) - left)
        elif name == "start and output":
            widths = np.array([row["process_s"] for row in rows]) - left
        else:
            widths = np.array([row.get(name, 0.0) for row in rows])
        axes.barh(positions, widths, left=left, label=name.removesuffix("_s").replace("_", " "))
        left += widths
    axes.set_yticks(positions, [f"{row['bpp']:.2f} bpp" for row in rows])
    axes.set_xlabel("seconds, 768x512")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False)
    figure.savefig(path, dpi=120)


def ablations(correction_steps: int) -> dict[str, LatentOptions]:
    """The whole codec at effort 5, and the codec without each of its parts, by name.

    The names are those of the recorded rows. Without contexts, there are Laplace tables, whose
    scales a file's corrections give for each band and phase.

    Args:
        correction_steps: The gradient steps of each fit of a correction. The constants of
            "no contexts" need more than an effort level has.
    """
    from dfmcodec.training.prior.contexts import untrained_context

    effort = replace(EFFORT_LEVELS[5], correction_steps=correction_steps)
    whole = LatentOptions(effort)
    no_contexts = replace(whole, prior=replace(shipped(), context=untrained_context()))
    return {
        ALL: whole,
        "no refinement (one walk)": replace(whole, uses_influence=False, uses_residual=False),
        "no influence": replace(whole, uses_influence=False),
        "no corrections of contexts": replace(whole, effort=replace(effort, corrections_after=())),
        "no machine": replace(whole, uses_machine=False),
        "no filter": replace(whole, effort=replace(effort, filter_radius=0)),
        "no contexts": no_contexts,
        "no prior": replace(no_contexts, uses_machine=False),
        "no chroma rotation": replace(whole, turns_chroma=False),
        "4 levels": replace(whole, levels=4),
    }


def cost_bits(image: Image, options: LatentOptions, q_step: int, iterations: int) -> float:
    """The least cost of an image over some iterations: squared error + price of bits, in bits.

    Args:
        image: The image.
        options: The parts of the codec that are used.
        q_step: The quantisation step in 1/64 code values.
        iterations: The number of iterations.
    """
    encoding = Encoding.of(image, options)
    state, least = first_state(encoding), inf
    for _ in range(iterations):
        trial, state = iterate(encoding, state, q_step, BIT_PRICE)
        squared_steps = trial.mse * image.pixels.size / (q_step / 64) ** 2
        least = min(least, squared_steps / BIT_PRICE + 8 * trial.file_bytes)
    return least


@main.command()
@optional_images_argument
@click.option("--q-steps", default="420,1060,2640", show_default=True, help="In 1/64 code values.")
@click.option("--iterations", type=int, default=5, show_default=True, help="The iterations of each encoding.")
@click.option(
    "--correction-steps", type=int, default=400, show_default=True, help="The gradient steps of each correction."
)
@out_option
@plot_option
def ablate(
    images: tuple[str, ...],
    q_steps: str,
    iterations: int,
    correction_steps: int,
    out: Path | None,
    plot: Path | None,
) -> None:
    """Measures by how many percent the cost rises without each part of the codec."""
    variants = ablations(correction_steps)
    parts = [name for name in variants if name != ALL]

    def rows() -> Iterator[Row]:
        for name in images:
            stem, image = load(name)
            for q_step in numbers(q_steps):
                whole = cost_bits(image, variants[ALL], q_step, iterations)
                row: Row = {"picture": stem, "step": q_step / 64, "all_bpp": whole / image.pixel_count}
                for part in parts:
                    row[part + " %"] = 100 * (cost_bits(image, variants[part], q_step, iterations) / whole - 1)
                yield row

    measured = record(rows(), out)
    for part in parts:
        if measured:
            click.echo(f"{part}: {np.mean([row[part + ' %'] for row in measured]):+.2f} %")
    kept = read_rows(out)
    if plot is not None and kept:
        _draw_ablations(kept, plot)


def _draw_ablations(rows: list[Row], path: Path) -> None:
    """Draws a bar for each part left out and each q_step; the axis is logarithmic beyond 1 %."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    parts = [name for name in rows[0] if name.endswith(" %")]
    height = 0.8 / len(rows)
    for at, row in enumerate(rows):
        positions = np.arange(len(parts)) + (at - (len(rows) - 1) / 2) * height
        bars = axes.barh(
            positions, [row[part] for part in parts], height, label=f"{row['picture']}, {row['all_bpp']:.2f} bpp"
        )
        axes.bar_label(bars, fmt="%+.2f", padding=2, fontsize=7)
    axes.set_yticks(range(len(parts)), [part.removesuffix(" %") for part in parts])
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(-1, 100)
    axes.set_xlabel("more rate-distortion cost without it, percent")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
