"""Measurements of the latent model: small crops, decoding by part, ablations.

python benchmarks/latent.py crops PICTURE...                     128x128 crops at 0.5 bpp
python benchmarks/latent.py decode FILE.dfm...                   seconds of decoding, by part
python benchmarks/latent.py ablate PICTURE...                    what each part is worth, at equal quality

Without files, `decode` and `ablate` only draw the rows that --out holds.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from matplotlib.figure import Figure
from recording import Row, jpeg_within, load, out_option, pictures_argument, plot_option, read_rows, record

import dfmcodec
from dfmcodec import bitstream
from dfmcodec.decoder import decode_image
from dfmcodec.image import Pixels


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command()
@pictures_argument
@click.option("--effort", type=int, default=5, show_default=True)
@out_option
def crops(pictures: tuple[str, ...], effort: int, out: Path | None) -> None:
    """128x128 from the middle, 0.5 bpp, beside JPEG of the same size."""

    def rows() -> Iterator[Row]:
        for name in pictures:
            stem, image = load(name)
            pixels = image.pixels
            top, left = (pixels.shape[0] - 128) // 2, (pixels.shape[1] - 128) // 2
            crop = np.ascontiguousarray(pixels[top : top + 128, left : left + 128])
            report = dfmcodec.encode(crop, bpp=0.5, effort=effort).report
            _, jpeg_db = jpeg_within(crop, report.budget_bytes or 0)
            sections = report.section_bytes
            yield {
                "picture": stem,
                "bytes": report.file_bytes,
                "container": sections["container"],
                "psnr_db": report.psnr_db,
                "jpeg_db": jpeg_db,
                "over_jpeg_db": None if jpeg_db is None else report.psnr_db - jpeg_db,
            }

    found = record(rows(), out)
    gains = [row["over_jpeg_db"] for row in found if row["over_jpeg_db"] is not None]
    click.echo(f"mean over JPEG {np.mean(gains):+.2f} dB")


@main.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True))
@out_option
@plot_option
def decode(files: tuple[Path, ...], out: Path | None, plot: Path | None) -> None:
    """Best of five, one process warm, by part; and the whole command."""
    from dfmcodec import decoder, picture_filter, pyramid_coding, scan, synthesis
    from dfmcodec.entropy import context
    from dfmcodec.prior import shipped

    spent: dict[str, float] = {}

    def timed(owner: Any, name: str, part: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def run(*args: Any, **options: Any) -> Any:
            started = time.perf_counter()
            result = function(*args, **options)
            spent[part] = spent.get(part, 0.0) + time.perf_counter() - started
            return result

        setattr(owner, name, run)

    timed(scan.Scan, "features", "contexts_s")
    timed(scan.Scan, "_enter", "contexts_s")
    timed(scan.Scan, "_leave", "wavelet_s")
    timed(context.ContextModel, "groups", "networks_s")
    timed(pyramid_coding._Reader, "symbols", "range_coder_s")
    timed(synthesis, "filter_change", "filter_s")
    timed(decoder, "render", "colours_s")

    def rows() -> Iterator[Row]:
        for path in files:
            data = path.read_bytes()
            header = bitstream.read_header(data)
            best: tuple[float, dict[str, float]] | None = None
            for _ in range(5):
                spent.clear()
                started = time.perf_counter()
                decode_image(data)
                seconds = time.perf_counter() - started
                if best is None or seconds < best[0]:
                    best = seconds, dict(spent)
            assert best is not None
            whole = min(_process_seconds(path) for _ in range(3))
            networks = shipped().context.networks
            of_symbols = sum(n.w1.size + n.w2.size + n.w3.size for n in networks) / 4 * header.architecture.channels
            yield {
                "file": path.stem,
                "bpp": 8 * len(data) / (header.width * header.height),
                "process_s": whole,
                "decode_s": best[0],
                **best[1],
                "megapixels_per_s": header.width * header.height / best[0] / 1e6,
                "context_macs_per_pixel": round(of_symbols),
                "machine_macs_per_pixel": round(shipped().machine.macs_per_pixel),
                "filter_macs_per_pixel": 9 * len(picture_filter.taps(picture_filter.MAX_RADIUS)),
            }

    record(rows(), out)
    if plot is not None:
        _draw_decode(read_rows(out), plot)


def _draw_decode(rows: list[Row], path: Path) -> None:
    """A stacked bar a file: seconds of each part of decoding, and what the whole command takes beside them."""
    parts = [name for name in rows[0] if name.endswith("_s") and name not in ("process_s", "decode_s")]
    figure = Figure(figsize=(8, 1.2 + 0.5 * len(rows)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(rows))
    labels = [f"{row['bpp']:.2f} bpp" for row in rows]
    for name in [*parts, "other", "start and output"]:
        if name == "other":
            widths = np.array([row["decode_s"] for row in rows]) - left
        elif name == "start and output":
            widths = np.array([row["process_s"] for row in rows]) - left
        else:
            widths = np.array([row[name] for row in rows])
        axes.barh(labels, widths, left=left, label=name.removesuffix("_s").replace("_", " "))
        left += widths
    axes.set_xlabel("seconds, 768x512")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False)
    figure.savefig(path, dpi=120)


def _process_seconds(path: Path) -> float:
    target = path.with_suffix(".decoded.ppm")
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "dfmcodec", "decode", str(path), "-o", str(target), "-f", "-q"], check=True)
    seconds = time.perf_counter() - started
    target.unlink()
    return seconds


@main.command()
@click.argument("pictures", nargs=-1)
@out_option
@plot_option
def ablate(pictures: tuple[str, ...], out: Path | None, plot: Path | None) -> None:
    """What each part is worth: the cost squared error + price of bits, in bits, against the whole at effort 5."""
    from dfmcodec.encoder import EncoderConfig, correction_fit, latent_fit
    from dfmcodec.encoder.config import BIT_PRICE
    from dfmcodec.encoder.job import Job
    from dfmcodec.image import Image
    from dfmcodec.prior.context_training import untrained_context

    walks, price = 5, BIT_PRICE
    correction_fit._STEPS = 400  # so that constants get as far as "no contexts" needs

    def cost_bits(pixels: Pixels, step: int, change: Callable[[Any], None]) -> float:
        job = Job(Image(pixels), EncoderConfig(effort=5), 0, lambda progress: None, lambda: False)
        encoder = latent_fit.LatentEncoder(job)
        change(encoder)
        best = np.inf
        for _ in range(walks):
            trial = encoder.walk(step, price)
            squared_steps = trial.mse * pixels.size / (step / 64) ** 2
            best = min(best, squared_steps / price + 8 * trial.file_bytes)
        return best

    def no_machine(encoder: Any) -> None:
        machine = encoder.prior.machine
        layers = (*machine.layers[:-1], tuple(0 * w for w in machine.layers[-1]))
        encoder.prior = replace(encoder.prior, machine=replace(machine, layers=layers, bypass=0 * machine.bypass))

    def no_filter(encoder: Any) -> None:
        encoder.effort = replace(encoder.effort, filter_radius=1)  # radii start at 2

    def no_corrections(encoder: Any) -> None:
        encoder.effort = replace(encoder.effort, corrections_after=())

    def no_contexts(encoder: Any) -> None:
        """Laplace tables, whose scales a file's corrections give for each band and phase."""
        encoder.prior = replace(encoder.prior, context=untrained_context())
        encoder._context = encoder.prior.context

    def no_prior(encoder: Any) -> None:
        no_contexts(encoder)
        no_machine(encoder)

    def no_influence(encoder: Any) -> None:
        walk = encoder.walk

        def forget(*args: Any, **options: Any) -> Any:
            for state in encoder._tiles:
                state.influence = None
            return walk(*args, **options)

        encoder.walk = forget

    def first_walk_only(encoder: Any) -> None:
        walk, pyramids = encoder.walk, [state.pyramid for state in encoder._tiles]

        def again(*args: Any, **options: Any) -> Any:
            for state, pyramid in zip(encoder._tiles, pyramids, strict=True):
                state.influence, state.pyramid = None, pyramid
            return walk(*args, **options)

        encoder.walk = again

    def no_rotation(encoder: Any) -> None:
        encoder.chroma_angle = 0
        analyse_again(encoder)

    def fewer_levels(encoder: Any) -> None:
        encoder.architecture = replace(encoder.architecture, levels=4)
        encoder.tiling = replace(encoder.tiling, levels=4)
        analyse_again(encoder)

    def analyse_again(encoder: Any) -> None:
        encoder._tiles = [latent_fit._TileState(tile, encoder._analysed(tile)) for tile in encoder.tiling.tiles]

    parts = {
        "all": lambda encoder: None,
        "no refinement (one walk)": first_walk_only,
        "no influence": no_influence,
        "no corrections of contexts": no_corrections,
        "no machine": no_machine,
        "no filter": no_filter,
        "no contexts": no_contexts,
        "no prior": no_prior,
        "no chroma rotation": no_rotation,
        "4 levels": fewer_levels,
    }

    def rows() -> Iterator[Row]:
        for name in pictures:
            stem, image = load(name)
            pixels = image.pixels
            for step in (420, 1060, 2640):
                whole = cost_bits(pixels, step, parts["all"])
                row: Row = {"picture": stem, "step": step / 64, "all_bpp": whole / pixels[:, :, 0].size}
                for part, change in parts.items():
                    if part != "all":
                        row[part + " %"] = 100 * (cost_bits(pixels, step, change) / whole - 1)
                yield row

    found = record(rows(), out)
    for part in parts:
        if part != "all" and found:
            click.echo(f"{part}: {np.mean([row[part + ' %'] for row in found]):+.2f} %")
    if plot is not None:
        _draw_ablations(read_rows(out), plot)


def _draw_ablations(rows: list[Row], path: Path) -> None:
    """A bar for each part left out and each step of quantisation; a logarithmic axis beyond 1 %."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    parts = [name for name in rows[0] if name.endswith(" %")]
    height = 0.8 / len(rows)
    for at, row in enumerate(rows):
        places = np.arange(len(parts)) + (at - (len(rows) - 1) / 2) * height
        bars = axes.barh(
            places, [row[part] for part in parts], height, label=f"{row['picture']}, {row['all_bpp']:.2f} bpp"
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
