"""Measurements of the latent model: targets beside JPEG and AVIF, small crops, decoding, ablations, efforts.

python benchmarks/latent.py targets PICTURE... --effort 1        PSNR at five rates over JPEG of the same size
python benchmarks/latent.py crops PICTURE...                     128x128 crops at 0.5 bpp
python benchmarks/latent.py decode FILE.dfm...                   seconds of decoding, by part
python benchmarks/latent.py efforts PICTURE --bpp 1              PSNR and seconds by effort, at equal size
python benchmarks/latent.py ablate PICTURE...                    what each part is worth, at equal quality
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import PIL.Image
import skimage.data

import dfmcodec
from dfmcodec import bitstream
from dfmcodec.decoder import decode_image
from dfmcodec.metrics import psnr

RATES = (0.18, 0.08, 0.04, 0.02, 0.01)
Pixels = npt.NDArray[np.uint8]


def load(name: str) -> tuple[str, Pixels]:
    """A file, or one of scikit-image's photographs by name."""
    if hasattr(skimage.data, name):
        return name, np.ascontiguousarray(getattr(skimage.data, name)())
    with PIL.Image.open(name) as picture:
        return Path(name).stem, np.ascontiguousarray(np.asarray(picture.convert("RGB")))


def best_within(pixels: Pixels, budget: int, kind: str, qualities: range, **options: Any) -> tuple[float, int]:
    """PSNR and bytes of the best file of a codec of Pillow within a budget; by bisection of the quality."""
    picture = PIL.Image.fromarray(pixels)

    def encoded(quality: int) -> bytes:
        buffer = io.BytesIO()
        picture.save(buffer, kind, quality=quality, **options)
        return buffer.getvalue()

    low, high = qualities.start - 1, qualities.stop - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(encoded(middle)) <= budget else (low, middle - 1)
    if low < qualities.start:
        return 0.0, 0
    data = encoded(low)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        return psnr(pixels, np.asarray(opened.convert("RGB"))), len(data)


def jpeg_within(pixels: Pixels, budget: int) -> float:
    """The better of 4:4:4 and 4:2:0."""
    options = [{"optimize": True, "subsampling": subsampling} for subsampling in (0, 2)]
    return max(best_within(pixels, budget, "jpeg", range(1, 101), **option)[0] for option in options)


def rows_to(out: Path | None, rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Prints rows as a table while they come, and keeps them as JSON lines."""
    found: list[dict[str, Any]] = []
    for row in rows:
        if not found:
            click.echo("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
        click.echo("| " + " | ".join(f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
        found.append(row)
        if out is not None:
            with out.open("a") as file:
                file.write(json.dumps(row) + "\n")
    return found


out_option = click.option("--out", type=click.Path(path_type=Path), help="JSON lines to add the rows to.")


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command()
@click.argument("pictures", nargs=-1, required=True)
@click.option("--effort", type=int, default=5, show_default=True)
@click.option("--avif/--no-avif", default=False, help="AVIF of the same size too.")
@out_option
def targets(pictures: tuple[str, ...], effort: int, avif: bool, out: Path | None) -> None:
    """Five rates: budget, fill, PSNR, JPEG of the same size."""

    def rows() -> Iterator[dict[str, Any]]:
        for name in pictures:
            stem, pixels = load(name)
            for rate in RATES:
                report = dfmcodec.encode(pixels, rate=rate, effort=effort).report
                budget = report.budget_bytes or 0
                jpeg_db = jpeg_within(pixels, budget)
                row = {
                    "picture": stem,
                    "effort": effort,
                    "rate": rate,
                    "bytes": report.file_bytes,
                    "used_%": 100 * report.file_bytes / budget,
                    "estimate_off_%": 100 * abs(report.estimated_bytes / report.file_bytes - 1),
                    "psnr_db": report.psnr_db,
                    "jpeg_db": jpeg_db,
                    "over_jpeg_db": report.psnr_db - jpeg_db,
                    "s": report.total_s,
                }
                if avif:
                    options = {"subsampling": "4:4:4", "speed": 4}
                    row["avif_db"] = best_within(pixels, budget, "avif", range(1, 101), **options)[0]
                yield row

    found = rows_to(out, rows())
    for rate in RATES:
        gains = [row["over_jpeg_db"] for row in found if row["rate"] == rate and row["jpeg_db"] > 0]
        if gains:
            click.echo(f"rate {rate}: over JPEG {np.mean(gains):+.2f} dB mean, {min(gains):+.2f} worst, {len(gains)}")
        if avif:
            over = [row["psnr_db"] - row["avif_db"] for row in found if row["rate"] == rate and row["avif_db"] > 0]
            click.echo(f"rate {rate}: over AVIF {np.mean(over):+.2f} dB mean, {min(over):+.2f} worst")


@main.command()
@click.argument("pictures", nargs=-1, required=True)
@click.option("--effort", type=int, default=5, show_default=True)
@out_option
def crops(pictures: tuple[str, ...], effort: int, out: Path | None) -> None:
    """128x128 from the middle, 0.5 bpp, beside JPEG of the same size."""

    def rows() -> Iterator[dict[str, Any]]:
        for name in pictures:
            stem, pixels = load(name)
            top, left = (pixels.shape[0] - 128) // 2, (pixels.shape[1] - 128) // 2
            crop = np.ascontiguousarray(pixels[top : top + 128, left : left + 128])
            report = dfmcodec.encode(crop, bpp=0.5, effort=effort).report
            jpeg_db = jpeg_within(crop, report.budget_bytes or 0)
            sections = report.section_bytes
            yield {
                "picture": stem,
                "bytes": report.file_bytes,
                "container": sections["container"],
                "psnr_db": report.psnr_db,
                "jpeg_db": jpeg_db,
                "over_jpeg_db": report.psnr_db - jpeg_db,
            }

    found = rows_to(out, rows())
    click.echo(f"mean over JPEG {np.mean([row['over_jpeg_db'] for row in found]):+.2f} dB")


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@out_option
def decode(files: tuple[Path, ...], out: Path | None) -> None:
    """Best of five, one process warm, by part; and the whole command."""
    from dfmcodec import decoder, picture_filter, pyramid_coding, scan
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
    timed(decoder, "filter_correction", "filter_s")
    timed(decoder, "render", "colours_s")

    def rows() -> Iterator[dict[str, Any]]:
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

    rows_to(out, rows())


def _process_seconds(path: Path) -> float:
    target = path.with_suffix(".decoded.ppm")
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "dfmcodec", "decode", str(path), "-o", str(target), "-f", "-q"], check=True)
    seconds = time.perf_counter() - started
    target.unlink()
    return seconds


@main.command()
@click.argument("pictures", nargs=-1, required=True)
@click.option("--bpp", type=float, default=1.0, show_default=True)
@click.option("--effort", "efforts", type=int, multiple=True, default=tuple(range(1, 10)))
@out_option
def efforts(pictures: tuple[str, ...], bpp: float, efforts: tuple[int, ...], out: Path | None) -> None:
    """Equal size, all efforts."""

    def rows() -> Iterator[dict[str, Any]]:
        for name in pictures:
            stem, pixels = load(name)
            for effort in efforts:
                report = dfmcodec.encode(pixels, bpp=bpp, effort=effort).report
                yield {
                    "picture": stem,
                    "effort": effort,
                    "bpp": report.bpp,
                    "psnr_db": report.psnr_db,
                    "walks": report.steps,
                    "s": report.total_s,
                }

    rows_to(out, rows())


@main.command()
@click.argument("pictures", nargs=-1, required=True)
@out_option
def ablate(pictures: tuple[str, ...], out: Path | None) -> None:
    """What each part is worth: the cost squared error + price of bits, in bits, against the whole at effort 5."""
    from dfmcodec.encoder import EncoderConfig, correction_fit, latent_fit
    from dfmcodec.encoder.config import BIT_PRICE
    from dfmcodec.encoder.job import Job
    from dfmcodec.image import Image
    from dfmcodec.latents import Geometry
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
            encoder._influence = None
            return walk(*args, **options)

        encoder.walk = forget

    def first_walk_only(encoder: Any) -> None:
        walk, pyramid = encoder.walk, encoder._pyramid

        def again(*args: Any, **options: Any) -> Any:
            encoder._influence, encoder._pyramid = None, pyramid
            return walk(*args, **options)

        encoder.walk = again

    def no_rotation(encoder: Any) -> None:
        encoder.chroma_angle = 0
        encoder._planes = latent_fit.to_planes(encoder.image.pixels, 0)
        encoder._pyramid = latent_fit.analyse(encoder._planes, encoder.geometry.levels)

    def fewer_levels(encoder: Any) -> None:
        encoder.geometry = Geometry(encoder.image.height, encoder.image.width, encoder.image.channels, 4)
        encoder.architecture = replace(encoder.architecture, levels=4)
        encoder._pyramid = latent_fit.analyse(encoder._planes, 4)

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

    def rows() -> Iterator[dict[str, Any]]:
        for name in pictures:
            stem, pixels = load(name)
            for step in (420, 1060, 2640):
                whole = cost_bits(pixels, step, parts["all"])
                row: dict[str, Any] = {"picture": stem, "step": step / 64, "all_bpp": whole / pixels[:, :, 0].size}
                for part, change in parts.items():
                    if part != "all":
                        row[part + " %"] = 100 * (cost_bits(pixels, step, change) / whole - 1)
                yield row

    found = rows_to(out, rows())
    for part in parts:
        if part != "all":
            click.echo(f"{part}: {np.mean([row[part + ' %'] for row in found]):+.2f} %")


if __name__ == "__main__":
    main()
