"""Cold fits of the fitted model: how far a number of steps takes a crop.

    python benchmarks/fitted.py ../shared/data/kodak/kodim05.png --crop 256 --steps 2000

Latents start at zero and networks at random; no file is written. J is MSE / lmbda + bpp with the
MSE of samples in [0, 1] and the bits of the symbols alone: the weights of the networks are not
counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from recording import Row, load, out_option, record

from dfmcodec.encoder.fitted.fit import Fit, Networks, Optimizer
from dfmcodec.encoder.fitted.machine import Activation


@click.command(help=__doc__)
@click.argument("image")
@click.option("--crop", type=int, default=256, help="The side of the crop in pixels.")
@click.option("--top", type=int, default=0, help="Its first row.")
@click.option("--left", type=int, default=0, help="Its first column.")
@click.option("--lmbda", type=float, default=1e-3, help="The multiplier of bits in the loss.")
@click.option("--steps", type=int, default=2000)
@click.option("--measurements", type=int, default=4, help="How often the fit is measured.")
@click.option("--seed", type=int, default=0)
@click.option("--width", type=int, default=32, help="The dimensions that the machine lifts vectors to.")
@click.option("--context-width", type=int, default=24, help="The units of the context networks.")
@click.option("--activation", type=click.Choice(["fourier", "relu"]), default="fourier")
@click.option("--optimizer", type=click.Choice(["soap", "adam"]), default="soap", help="That of the networks.")
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
    activation: Activation,
    optimizer: Optimizer,
    out: Path | None,
) -> None:
    """See the module."""
    name, whole = load(image)
    pixels = whole.pixels[top : top + crop, left : left + crop]
    fit = Fit(pixels, lmbda, steps, seed, optimizer)
    networks = Networks.start(seed, width, context_width, activation)
    every = max(1, steps // measurements)

    def rows() -> Iterator[Row]:
        for _, measured in fit.run(networks, lambda step: step % every == 0):
            yield {
                "picture": name,
                "crop": crop,
                "lmbda": lmbda,
                "activation": activation,
                "optimizer": optimizer,
                "seed": seed,
                "weights": sum(networks.weight_counts()),
                "steps": measured.step,
                "of": steps,
                "bpp": round(measured.bpp, 4),
                "psnr_db": round(measured.psnr_db, 2),
                "J": round(measured.cost(lmbda), 4),
                "us_per_pixel_and_step": round(1e6 * measured.seconds / measured.step / fit.pixel_count, 3),
            }

    record(rows(), out)


if __name__ == "__main__":
    main()
