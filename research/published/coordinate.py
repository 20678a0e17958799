"""Measurements of the coordinate network: recipes and quantisation.

    python -m research.published.coordinate recipes   IMAGE...   --seconds 60
    python -m research.published.coordinate quantised IMAGE...

An IMAGE is a path or the name of one of scikit-image's photographs. `recipes` and `quantised`
append their rows to --out as they go. Every command prints a Markdown table at the end.
`experiments.py` repeats the published experiments.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from recording import Row, images_argument, jpeg_within, load, out_option, record

import dfmcodec
from dfmcodec.codecs.coordinate.decode import render_weights
from dfmcodec.codecs.coordinate.encode.sizing import architecture_of
from dfmcodec.codecs.coordinate.encode.train import Budget, Trainer
from dfmcodec.fourier.network import CoordinateArchitecture, axis_positions
from dfmcodec.image import Image
from dfmcodec.perception import psnr
from dfmcodec.search.config import RECIPES, EncoderConfig


def float_bytes(arch: CoordinateArchitecture) -> int:
    """Returns the size of the weights as float32, including b_0, as in the publication."""
    return 4 * sum(2 * layer.frequency_count * layer.outputs for layer in arch.layers())


@click.group(help=__doc__)
def main() -> None:
    pass


rate_option = click.option("--rate", type=float, default=0.18, show_default=True, help="The size limit of a file.")


@main.command()
@images_argument
@click.option("--seconds", type=float, default=60.0, show_default=True, help="The seconds of each fit.")
@rate_option
@click.option("--depth", type=int, default=3, show_default=True, help="The number of Fourier layers.")
@click.option("--width", type=int, default=11, show_default=True, help="The dimension between layers.")
@out_option
def recipes(images: tuple[str, ...], seconds: float, rate: float, depth: int, width: int, out: Path | None) -> None:
    """Compares the default recipe with the published one: same network, seconds and size limit."""

    def rows() -> Iterable[Row]:
        for name in images:
            stem, image = load(name)
            reports = {
                recipe: dfmcodec.encode(
                    image,
                    model="coordinate",
                    rate=rate,
                    recipe=recipe,
                    depth=depth,
                    layer_width=width,
                    time_limit_s=seconds,
                ).report
                for recipe in ("default", "published")
            }
            ours, theirs = reports["default"], reports["published"]
            jpeg_bytes, jpeg_db = jpeg_within(image.pixels, ours.file_bytes)
            yield {
                "picture": stem,
                "depth x width": f"{depth} x {width}",
                "default dB": ours.psnr_db,
                "bytes": ours.file_bytes,
                "steps": ours.iterations,
                "published dB": theirs.psnr_db,
                "bytes (published)": theirs.file_bytes,
                "steps (published)": theirs.iterations,
                "gain dB": ours.psnr_db - theirs.psnr_db,
                "JPEG dB": jpeg_db,
                "JPEG bytes": jpeg_bytes,
            }

    record(rows(), out)


@main.command()
@images_argument
@rate_option
@click.option("--steps", type=int, help="The training steps of each fit.  [default: those of the recipe]")
@out_option
def quantised(images: tuple[str, ...], rate: float, steps: int | None, out: Path | None) -> None:
    """Measures the loss by quantisation.

    Compares a file with the same network fitted and kept in float32, and with a network whose
    float32 weights alone fill the same size, which is how the publication counts.
    """

    def float_psnr(image: Image, arch: CoordinateArchitecture) -> float:
        recipe = RECIPES["default"]
        budget = Budget(recipe.steps if steps is None else steps, float("inf"))
        fit = Trainer(image, arch, recipe, seed=0).run(budget, 0.0, 1.0, lambda *figures: None)
        rows, columns = axis_positions(image.height), axis_positions(image.width)
        return psnr(image.pixels, render_weights(fit.weights, arch, rows, columns))

    def largest_float(image: Image, limit_bytes: int) -> CoordinateArchitecture:
        config = EncoderConfig(model="coordinate")
        networks = [
            architecture_of(config, image.channels, depth, width) for depth in range(2, 7) for width in range(2, 13)
        ]
        return max(
            (network for network in networks if float_bytes(network) <= limit_bytes),
            key=float_bytes,
        )

    def rows() -> Iterable[Row]:
        for name in images:
            stem, image = load(name)
            report = dfmcodec.encode(image, model="coordinate", rate=rate, training_steps=steps).report
            arch = report.architecture
            assert isinstance(arch, CoordinateArchitecture)
            same_db = float_psnr(image, arch)
            small = largest_float(image, report.file_bytes)
            yield {
                "picture": stem,
                "network": f"{arch.depth} x {arch.width}",
                "weights": arch.weight_count,
                "bits a weight": report.codec["bits_per_weight"],
                "bytes": report.file_bytes,
                "file dB": report.psnr_db,
                "float32 dB": same_db,
                "lost dB": same_db - report.psnr_db,
                "float32 of that size": f"{small.depth} x {small.width}, {float_bytes(small)} bytes",
                "its dB": float_psnr(image, small),
            }

    record(rows(), out)


if __name__ == "__main__":
    main()
