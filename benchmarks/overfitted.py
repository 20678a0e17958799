"""Cold fits of the overfitted codec: how far a number of steps takes a crop.

    python benchmarks/overfitted.py ../shared/data/kodak/kodim05.png --crop 256 --steps 2000

Latents start at zero and networks at random; no file is written. J is MSE / lmbda + bpp with the
MSE of samples in [0, 1] and the bits of the symbols alone: the weights of the networks are not
counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import click
import jax
import numpy as np
from recording import Row, load, out_option, record

from dfmcodec.codecs.overfitted.encode.fit import Fit, FitSchedule
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.grids import code_of_lmbda
from dfmcodec.image import PEAK_CODE_VALUE


@click.command(help=__doc__)
@click.argument("image")
@click.option("--crop", type=int, default=256, help="The side of the crop in pixels.")
@click.option("--top", type=int, default=0, help="Its first row.")
@click.option("--left", type=int, default=0, help="Its first column.")
@click.option("--lmbda", type=float, default=1e-3, help="The Lagrange multiplier of bits in the loss.")
@click.option("--steps", type=int, default=2000)
@click.option("--measurements", type=int, default=4, help="How often the fit is measured.")
@click.option("--seed", type=int, default=0)
@click.option("--width", type=int, default=32, help="The dimensions that the machine lifts vectors to.")
@click.option("--context-width", type=int, default=24, help="The units of a layer of the context network.")
@out_option
def main(
    image: str,
    crop: int,
    top: int,
    left: int,
    lmbda: float,
    steps: int,
    measurements: int,
    seed: int,
    width: int,
    context_width: int,
    out: Path | None,
) -> None:
    """See the module."""
    name, whole = load(image)
    pixels = whole.pixels[top : top + crop, left : left + crop]
    colours = (pixels.astype(np.float32) * np.float32(1 / PEAK_CODE_VALUE)).transpose(2, 0, 1)
    networks = Networks.start(seed, width, context_width)
    fit = Fit(colours, lmbda, code_of_lmbda(lmbda), networks, FitSchedule.of(steps), seed=seed)
    every = max(1, steps // measurements)

    def rows() -> Iterator[Row]:
        seconds = 0.0
        state = fit.start()
        fit.step(state, 0)  # compiles
        for number in range(steps):
            started = time.perf_counter()
            state = fit.step(state, number)
            jax.block_until_ready(state.latents)  # type: ignore[no-untyped-call]
            seconds += time.perf_counter() - started
            if (number + 1) % every:
                continue
            measured = fit.measured(state)
            bpp = measured.bits / fit.pixel_count
            yield {
                "picture": name,
                "crop": crop,
                "lmbda": lmbda,
                "seed": seed,
                "weights": networks.weight_count,
                "steps": number + 1,
                "of": steps,
                "bpp": round(bpp, 4),
                "psnr_db": round(measured.psnr_db, 2),
                "J": round(measured.mse / lmbda + bpp, 4),
                "us_per_pixel_and_step": round(1e6 * seconds / (number + 1) / fit.pixel_count, 3),
            }

    record(rows(), out)


if __name__ == "__main__":
    main()
